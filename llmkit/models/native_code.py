"""C code that comes with llmkit, compiled for the processor that is here, once, and kept in the cache.

Nothing depends on it: without a compiler, without a place to keep the result, or with LLMKIT_NATIVE=0 there is
no library, and what would have used it takes its other way.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shlex
import shutil
import stat
import subprocess
import tempfile
import threading
from pathlib import Path

from llmkit.data.cache_folder import cache_folder
from llmkit.models.processor import processor

SETTING = "LLMKIT_NATIVE"
FLAGS = ("-O3", "-march=native", "-std=gnu11", "-fPIC", "-shared")
SOURCES = Path(__file__).with_name("native")
_COMPILERS = ("cc", "gcc", "clang")
_PATIENCE = 120  # seconds; a compiler takes one or two
_DIGEST_BYTES = 32


class NativeCode:
    """One C file as a library: compiled in the background if that is wanted, loaded from the cache if it is there."""

    def __init__(self, name: str) -> None:
        self.source = SOURCES / f"{name}.c"
        self._compiling: threading.Thread | None = None
        self._library: ctypes.CDLL | None = None

    def compile_ahead(self) -> None:
        """Begin to compile in a thread, if it has not been done; `load` will wait for it."""
        if self._compiling is None and is_wanted():
            self._compiling = threading.Thread(target=self._compile, daemon=True, name="llmkit-compiling")
            self._compiling.start()

    def load(self) -> ctypes.CDLL | None:
        """Return the library, or None where it is not in the cache and nobody asked for it to be compiled."""
        if not is_wanted():
            return None
        if self._compiling is not None:
            self._compiling.join()
        if self._library is None:
            try:
                path = self._path()
                self._library = ctypes.CDLL(str(path)) if path is not None and _is_whole(path) else None
            except OSError:
                return None
        return self._library

    def _compile(self) -> None:
        try:
            (cache_folder() / "native").mkdir(mode=0o700, parents=True, exist_ok=True)
            path, compiler = self._path(), find_compiler()
            if path is None or compiler is None or _is_whole(path):
                return
            with tempfile.TemporaryDirectory(dir=path.parent) as folder:
                made = Path(folder, path.name)
                call = [*compiler, *FLAGS, str(self.source), "-o", str(made)]
                subprocess.run(
                    call, check=True, timeout=_PATIENCE, stdin=subprocess.DEVNULL, capture_output=True
                )
                content = made.read_bytes()
                # What is loaded is run: a file that is cut short must not be. The loader ignores what follows.
                made.write_bytes(content + hashlib.sha256(content).digest())
                made.replace(path)
        except (OSError, subprocess.SubprocessError):
            pass  # there is no library then

    def _path(self) -> Path | None:
        """Return where the library is kept; None without a compiler, or where others can write there.

        The name follows from all that the library depends on.

        Raises:
            OSError: there is no such folder.
        """
        folder, compiler = cache_folder() / "native", find_compiler()
        if compiler is None:
            return None
        version = Path(compiler[0]).resolve().stat()
        parts = (*compiler, *FLAGS, str(version.st_size), str(version.st_mtime_ns), platform.machine())
        text = "\0".join((*parts, processor()[0], *sorted(processor()[1])))
        key = hashlib.sha256(self.source.read_bytes() + text.encode()).hexdigest()[:32]
        found = folder.stat()
        # Whoever can write there can have us run anything.
        if found.st_uid != os.getuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            return None
        return folder / f"{self.source.stem}-{key}.so"


def is_wanted() -> bool:
    """Tell whether the setting and the system allow for compiled code."""
    return os.environ.get(SETTING, "1") != "0" and platform.system() == "Linux"


def find_compiler() -> list[str] | None:
    """Return the call of the C compiler: $CC, else cc, gcc or clang; None where there is none."""
    chosen = shlex.split(os.environ.get("CC", ""))
    for call in ([chosen] if chosen else []) + [[name] for name in _COMPILERS]:
        found = shutil.which(call[0])
        if found is not None:
            return [found, *call[1:]]
    return None


def _is_whole(path: Path) -> bool:
    """Tell whether a library is there, and is what was written."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return False
    return hashlib.sha256(content[:-_DIGEST_BYTES]).digest() == content[-_DIGEST_BYTES:]
