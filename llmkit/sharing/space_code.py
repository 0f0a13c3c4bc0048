"""The files of llmkit that the page of a Space needs: found by following imports, to be copied beside its app.py.

A Space installs packages by their names, and one that is not to be had there under its name could not be. A copy runs
with the code that it was tried with.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from llmkit._version import __version__
from llmkit.sharing.contents import SharedFile

_PACKAGE = Path(__file__).parents[1]
_START = ("llmkit.sharing.demo.space_page",)
# A class or a module that is named in a text, to be imported later.
_NAMED = re.compile(r"llmkit(\.\w+)+")
_C_CODE = "models/native/attention.c"
_LICENSE = "LICENSE"
# The Python API is not copied: it leads to the whole of llmkit.
_INIT = f'''"""What a page of llmkit {__version__} needs of it. Apache-2.0: https://www.apache.org/licenses/LICENSE-2.0"""

__version__ = "{__version__}"
'''


def code_files() -> list[SharedFile]:
    """Return the modules that a page needs, each with what it needs in turn, and what they read beside them."""
    modules = sorted(_needed())
    files = [SharedFile("llmkit/__init__.py", content=_INIT.encode())]
    files += [SharedFile(_named(path), path) for path in modules if path != _PACKAGE / "__init__.py"]
    files.append(SharedFile(f"llmkit/{_C_CODE}", _PACKAGE / _C_CODE))
    license_text = _license()
    if license_text is not None:
        files.append(SharedFile(f"llmkit/{_LICENSE}", content=license_text.encode()))
    return files


def adapter_files(folder: Path) -> list[SharedFile]:
    """Return the files of an adapter that comes with llmkit."""
    return [SharedFile(_named(path), path) for path in sorted(folder.iterdir()) if path.is_file()]


def _named(path: Path) -> str:
    return path.relative_to(_PACKAGE.parent).as_posix()


def _needed() -> set[Path]:
    found: set[Path] = set()
    waiting = [path for name in _START for path in _files_of(name)]
    while waiting:
        path = waiting.pop()
        if path in found:
            continue
        found.add(path)
        if path == _PACKAGE / "__init__.py":
            continue
        for name in _names_in(ast.parse(path.read_text(encoding="utf-8"))):
            waiting += [each for each in _files_of(name) if each not in found]
    return found


def _files_of(name: str) -> list[Path]:
    """Return a module's file and those of the packages that it is in; the longest part of a name that is one."""
    parts = name.split(".")[1:]
    files = [_PACKAGE / "__init__.py"]
    place = _PACKAGE
    for part in parts:
        if (place / part / "__init__.py").is_file():
            place /= part
            files.append(place / "__init__.py")
        elif (place / f"{part}.py").is_file():
            files.append(place / f"{part}.py")
            break
        else:  # a name in the module
            break
    return files


def _names_in(tree: ast.Module) -> Iterator[str]:
    """Give every name that may be a module of llmkit: imported, in functions too, or named in a text."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "llmkit")
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "llmkit":
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and _NAMED.fullmatch(node.value):
            yield node.value


def _license() -> str | None:
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        return distribution("hf-llmkit").read_text(f"licenses/{_LICENSE}")
    except PackageNotFoundError:
        return None
