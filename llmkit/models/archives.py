"""A model in a tarball or zip, unpacked once into the cache: no links, nothing outside of it, no more than fits."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import stat
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from lzma import LZMAError
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, Any, Self

from llmkit.data.atomic import explained_write, reason_of
from llmkit.data.cache_folder import cache_folder
from llmkit.data.json_text import parse_json
from llmkit.errors import ModelError
from llmkit.models.local_folder import ARCHIVE_ENDINGS
from llmkit.wanted import should_be

SIZE_SETTING = "LLMKIT_ARCHIVE_GB"
MOST_GIGABYTES = 50.0
MOST_FILES = 10_000
MOST_TIMES = 100  # as large as the archive; weights hardly shrink
_SMALL = 100_000_000  # bytes that any archive may unpack to
_DEEPEST = 20  # folders inside each other
_LONGEST_HEADER = 1 << 20  # of a member: its names and what is said of it
_AT_ONCE = 1 << 20
_ORIGIN = ".llmkit-archive"


def is_archive(path: Path) -> bool:
    """Tell by the name whether a file is an archive that can be unpacked."""
    return path.name.lower().endswith(ARCHIVE_ENDINGS)


def unpacked(archive: Path, name: str) -> Path:
    """Return the folder in the cache with what is in an archive, unpacked now or before.

    Args:
        name: how the archive is called to the user.

    Raises:
        ModelError: it is damaged, too large, or has members that no model has: links, devices, paths that lead out.
        OutputError: the cache cannot be written.
    """
    state = archive.stat()
    key = f"{archive.resolve()}\0{state.st_size}\0{state.st_mtime_ns}"
    target = unpacked_folder() / hashlib.sha256(key.encode()).hexdigest()[:32]
    if _is_whole(target):
        return target
    with explained_write(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        # Beside the target and moved there when whole: what is cut short is never taken for a model.
        beside = Path(tempfile.mkdtemp(dir=target.parent, prefix=".unpacking-"))
        try:
            _unpack(archive, beside, name)
            _write_note(beside, archive)
            if not _is_whole(target):
                shutil.rmtree(target, ignore_errors=True)
            with _one_of_two_is_enough(target):
                beside.rename(target)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
    return target


def unpacked_folder() -> Path:
    """Return the folder of the cache in which each archive has one of its own; it need not exist."""
    return cache_folder() / "unpacked"


def origin_of(folder: Path) -> str | None:
    """Return which archive was unpacked into a folder; None where none was."""
    archive = _note(folder).get("archive")
    return archive if isinstance(archive, str) else None


def _write_note(folder: Path, archive: Path) -> None:
    """Write which archive was unpacked into a folder, and what files that gave."""
    sizes = {
        file.relative_to(folder).as_posix(): file.stat().st_size
        for file in folder.rglob("*")
        if file.is_file() and file != folder / _ORIGIN  # of an archive of such a folder: it is replaced
    }
    note = {"archive": str(archive.resolve()), "files": sizes}
    (folder / _ORIGIN).write_text(json.dumps(note), encoding="utf-8")


def _note(folder: Path) -> dict[str, Any]:
    try:
        value = parse_json((folder / _ORIGIN).read_bytes())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _is_whole(folder: Path) -> bool:
    """Tell whether each file that was unpacked into a folder is still there, and as large."""
    sizes = _note(folder).get("files")
    try:
        return isinstance(sizes, dict) and all(
            (folder / file).stat().st_size == size for file, size in sizes.items()
        )
    except OSError:
        return False


@contextmanager
def _one_of_two_is_enough(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError:
        if not _is_whole(target):  # or another process was faster
            raise


@dataclass(frozen=True, slots=True)
class _Member:
    """A file in an archive, with the stream of its content."""

    path: str
    stream: IO[bytes]


def _unpack(archive: Path, folder: Path, name: str) -> None:
    members = _in_zip if archive.name.lower().endswith(".zip") else _in_tar
    left = room = min(_most_bytes(), max(_SMALL, MOST_TIMES * archive.stat().st_size))
    try:
        for number, member in enumerate(members(archive, name)):
            if number >= MOST_FILES:
                raise ModelError(f"'{name}' has more than {MOST_FILES:,} files: that is no model.")
            target = folder / _inside(member.path, name)
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("xb") as file:
                # Counted as it comes: what an archive says of its size may be wrong.
                while block := member.stream.read(_AT_ONCE):
                    left -= len(block)
                    if left < 0:
                        raise _too_large(name, room)
                    file.write(block)
    except FileExistsError as error:
        raise ModelError(f"'{name}' has a file twice: {Path(error.filename).name}.") from error
    except _DAMAGE as error:
        raise _damaged(name, error) from error
    except (
        RuntimeError,
        NotImplementedError,
    ) as error:  # a password, a compression that Python does not know
        raise ModelError(f"'{name}' cannot be unpacked: {error}.") from error
    except OSError as error:
        if error.errno not in (None, *_NO_NAMES):
            raise
        # What gzip and bz2 say of damage has no number; or it was read, at a place that a file does not have.
        if error.filename is None:
            raise _damaged(name, error) from error
        raise ModelError(
            f"'{name}' has a member that no folder can hold: {reason_of(error)}.",
            hint="Nothing of it was kept.",
        ) from error


# What the two modules of Python raise over damage is not theirs alone: a size in words is a ValueError.
_DAMAGE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    LZMAError,
    struct.error,
    EOFError,
    ValueError,
    LookupError,
    OverflowError,
    MemoryError,
)


_NO_NAMES = (errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.EINVAL)


def _damaged(name: str, error: Exception) -> ModelError:
    reason = str(error).partition("\n")[0].rstrip(":.")
    return ModelError(f"'{name}' is damaged, or no archive of the kind that its ending says: {reason}.")


def _too_large(name: str, room: int) -> ModelError:
    if room < _most_bytes():
        return ModelError(
            f"'{name}' unpacks to more than {MOST_TIMES} times its size: that is no model.",
            hint="If it is one, unpack it yourself, and name the folder.",
        )
    return ModelError(
        f"'{name}' unpacks to more than {room / 1e9:g} GB.",
        hint=f"If that is right, {SIZE_SETTING} allows more.",
    )


def _most_bytes() -> int:
    setting = os.environ.get(SIZE_SETTING, "").strip()
    try:
        gigabytes = float(setting) if setting else MOST_GIGABYTES
    except ValueError:
        gigabytes = 0.0
    if not 0 < gigabytes < 1e6:
        raise should_be(f"{SIZE_SETTING} is '{setting}'", "a number of gigabytes, above 0")
    return int(gigabytes * 1e9)


def _inside(path: str, name: str) -> PurePosixPath:
    """Return a member's path, which may not lead out of the folder."""
    posix = PurePosixPath(path)
    windows = PureWindowsPath(path)
    if posix.is_absolute() or windows.drive or windows.root or ".." in (*posix.parts, *windows.parts):
        raise ModelError(
            f"'{name}' would write outside of its folder: {path}.", hint="Nothing of it was kept."
        )
    if not 0 < len(posix.parts) <= _DEEPEST:
        raise ModelError(
            f"'{name}' has a member in no folder that a model has.", hint="Nothing of it was kept."
        )
    if posix.parts[0].lower() == _ORIGIN and len(posix.parts) > 1:
        raise ModelError(
            f"'{name}' has a member where llmkit notes what it unpacked: {path}.",
            hint="Nothing of it was kept.",
        )
    return posix


class _MemberInfo(tarfile.TarInfo):
    """What a tarball says of a member.

    Python would read names of any length into the memory, and take damage between two members for the end.
    """

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """Return it from its block."""
        try:
            found = super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            if len(buf) == tarfile.BLOCKSIZE and not any(buf):  # the end
                raise
            raise tarfile.ReadError(str(error)) from error
        if found.type in _ABOUT_OTHERS and not 0 <= found.size <= _LONGEST_HEADER:
            raise tarfile.ReadError(f"a header of {found.size:,} bytes")
        if found.size < 0:
            raise tarfile.ReadError("a member is smaller than nothing")
        return found


_ABOUT_OTHERS = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)


def _in_tar(archive: Path, name: str) -> Iterator[_Member]:
    with tarfile.open(archive, tarinfo=_MemberInfo) as tar:
        for each in tar:
            if each.isdir():
                continue
            if not each.isreg():
                raise _odd(each.name, _LINKS.get(each.type, "a device"), name)
            stream = tar.extractfile(each)
            assert stream is not None  # of a regular file it is one
            yield _Member(each.name, stream)
        _read_to_end(tar)


_LINKS = {tarfile.SYMTYPE: "a link", tarfile.LNKTYPE: "a hard link"}


def _read_to_end(tar: tarfile.TarFile) -> None:
    """Read what follows the last member: a compressed stream is compared with its checksum at its end."""
    assert tar.fileobj is not None  # while it is open
    left = _SMALL
    while block := tar.fileobj.read(_AT_ONCE):
        left -= len(block)
        if left < 0:
            raise tarfile.ReadError("it goes on after its end")


def _in_zip(archive: Path, name: str) -> Iterator[_Member]:
    with zipfile.ZipFile(archive) as zipped:
        for each in zipped.infolist():
            if each.is_dir():
                continue
            kind = stat.S_IFMT(each.external_attr >> 16)  # 0 where it was made on Windows
            if kind not in (0, stat.S_IFREG):
                raise _odd(each.filename, "a link" if stat.S_ISLNK(kind) else "a device", name)
            with zipped.open(each) as stream:
                yield _Member(each.filename, stream)


_REMEDIES = {
    "a link": "Pack the files themselves, as tar --dereference and zip without -y do.",
    "a hard link": "Pack the files themselves, as tar --hard-dereference does.",
    "a device": "No model has one.",
}


def _odd(member: str, kind: str, name: str) -> ModelError:
    return ModelError(
        f"'{name}' has {kind} in it: {member}.", hint=f"{_REMEDIES[kind]} Nothing of it was kept."
    )
