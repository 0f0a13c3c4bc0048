"""Texts, images, audio and tables, from a path to what a pipeline takes."""

from __future__ import annotations

import base64
import http.client
import io
import struct
import urllib.error
import urllib.request
import warnings
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit._version import __version__
from llmkit.data.atomic import reason_of
from llmkit.data.records import TEXT_COLUMN, BadRecord
from llmkit.data.sources import read_file
from llmkit.errors import DataError, MissingExtraError

if TYPE_CHECKING:
    import numpy
    from PIL.Image import Image

MOST_SAMPLES = 400_000_000  # of a recording on one channel, as it is and as a model takes it: 1.6 GB
MOST_FETCHED = 1 << 30  # bytes from an address
_PATIENCE_SECONDS = 30
_BLOCK_SAMPLES = 1 << 22
# Read by a program that is told what to do by the file itself: EPS by Ghostscript.
_PROGRAMS = ("EPS",)
# How lists of other files and addresses begin, which would be opened in their turn.
_PLAYLISTS = (b"#EXTM3U", b"ffconcat", b"<?xml", b"<MPD", b"v=0", b"[playlist]", b"[Reference]")


def load_image(source: Any) -> Image:
    """Open an image as RGB, turned the way its EXIF data says.

    Raises:
        DataError: it is not there, it is not an image, or it has more pixels than Pillow reads: 179 million.
        MissingExtraError: Pillow is not installed.
    """
    try:
        import PIL.Image
    except ImportError:
        raise MissingExtraError("reading images", "vision") from None
    from transformers.image_utils import load_image as open_image

    try:
        return open_image(_opened_image(source))
    except PIL.Image.DecompressionBombError:
        raise DataError(f"{_shown(source)} cannot be read as an image: it has too many pixels.") from None
    except (
        PIL.UnidentifiedImageError,
        OSError,
        ValueError,
        TypeError,
        LookupError,
        SyntaxError,
        OverflowError,
        MemoryError,
        struct.error,
        zlib.error,
    ) as error:
        reason = "it is damaged" if "truncated" in str(error).lower() else "its content is not an image"
        raise DataError(f"{_shown(source)} cannot be read as an image: {reason}.") from error


def _opened_image(source: Any) -> Any:
    """Return what Pillow makes of a source; what the file itself would be a program for is not run."""
    import PIL.Image

    if not isinstance(source, str):
        return source
    if is_address(source):
        file: Any = fetch(source)
    elif source.startswith("data:"):
        file = io.BytesIO(base64.b64decode(source.partition(",")[2]))
    else:
        _check_file(source, "image")
        file = source
    PIL.Image.init()
    formats = [name for name in PIL.Image.OPEN if name not in _PROGRAMS]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PIL.Image.DecompressionBombWarning)  # half of what is refused
        return PIL.Image.open(file, formats=formats)


def load_audio(source: Any, sampling_rate: int) -> numpy.ndarray:
    """Read a recording as mono float32 samples at `sampling_rate` (Hz), shape ``(samples,)``.

    Args:
        source: a path, an address, or the bytes of a file; samples are returned as they are.

    Raises:
        DataError: it is not there, it is not audio, or it is longer than `MOST_SAMPLES`.
        MissingExtraError: soundfile or soxr is not installed.
    """
    try:
        import soundfile
        import soxr
    except ImportError:
        raise MissingExtraError("reading audio", "audio") from None
    if not isinstance(source, str | bytes):
        return source
    if isinstance(source, str) and not is_address(source):
        _check_file(source, "audio file")
    try:
        opened = fetch(source) if is_address(source) else source
        opened = io.BytesIO(opened) if isinstance(opened, bytes) else opened
        mono, rate = _mono(opened, _shown(source), sampling_rate)
    except (soundfile.SoundFileError, OSError, TypeError, ValueError) as error:
        reason = getattr(error, "error_string", None) or error
        raise DataError(f"{_shown(source)} cannot be read as audio: {reason}") from error
    return mono if rate == sampling_rate else soxr.resample(mono, rate, sampling_rate)


def _mono(opened: Any, name: str, wanted_rate: int) -> tuple[numpy.ndarray, int]:
    """Return the mean of a recording's channels, block by block: what its head says of its length may be wrong."""
    import numpy
    import soundfile

    parts: list[numpy.ndarray] = []
    with soundfile.SoundFile(opened) as file:
        rate, frames = file.samplerate, 0
        while len(block := file.read(_BLOCK_SAMPLES // file.channels, "float32", always_2d=True)):
            frames += len(block)
            if max(frames, frames * wanted_rate // max(rate, 1)) > MOST_SAMPLES:
                raise DataError(
                    f"{name} is too long: more than {MOST_SAMPLES:,} samples at {wanted_rate:,} Hz."
                )
            parts.append(block.mean(axis=1))
    if not frames:
        raise DataError(f"{name} holds no sound.")
    return (parts[0] if len(parts) == 1 else numpy.concatenate(parts)), rate


def check_video(source: Any) -> Any:
    """Return the path of a video that is there, or its address.

    Raises:
        DataError: it is not there, or it is not a video.
        MissingExtraError: PyAV is not installed.
    """
    try:
        import av
    except ImportError:
        raise MissingExtraError("reading video", "video") from None
    if not isinstance(source, str):
        return source
    if is_address(source):  # the pipeline itself fetches it
        with _opened(source):
            return source
    _check_file(source, "video")
    try:
        with Path(source).open("rb") as file:
            is_list = file.read(64).lstrip().startswith(_PLAYLISTS)
    except OSError as error:
        raise DataError(f"{source} cannot be read: {reason_of(error)}") from error
    if is_list:
        raise DataError(f"{source} is a list of other files, not a video.")
    try:
        with av.open(source) as container:
            is_image = container.format.name == "image2" or container.format.name.endswith("_pipe")
            has_pictures = bool(container.streams.video)
    except (av.FFmpegError, OSError, ValueError) as error:
        raise DataError(f"{source} cannot be read as a video: its content is none.") from error
    if is_image:
        raise DataError(f"{source} is an image, not a video.")
    if not has_pictures:
        raise DataError(f"{source} has sound and no pictures: it is not a video.")
    return source


def is_address(source: Any) -> bool:
    """Tell whether a file lies on the web."""
    return isinstance(source, str) and source.startswith(("http://", "https://"))


def fetch(address: str) -> io.BytesIO:
    """Return a file from the web.

    Raises:
        DataError: it cannot be had, or has more than `MOST_FETCHED` bytes.
    """
    with _opened(address) as answer:
        data = answer.read(MOST_FETCHED + 1)
    if len(data) > MOST_FETCHED:
        raise DataError(f"{_shown(address)} is too large: more than {MOST_FETCHED:,} bytes.")
    return io.BytesIO(data)


@contextmanager
def _opened(address: str) -> Iterator[http.client.HTTPResponse]:
    try:
        # Some sites turn away what calls itself Python.
        request = urllib.request.Request(address, headers={"User-Agent": f"llmkit/{__version__}"})
        with urllib.request.urlopen(request, timeout=_PATIENCE_SECONDS) as answer:
            yield answer
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        status = f"{error.code} " if isinstance(error, urllib.error.HTTPError) else ""
        said = getattr(reason, "strerror", None) or reason
        raise DataError(f"cannot fetch {_shown(address)}: {status}{said}") from error


def load_table(source: Any) -> dict[str, list[str]]:
    """Read a table as column -> cells, all as text, the way table models want it.

    Raises:
        DataError: the file cannot be read, or a row is ragged.
    """
    if not isinstance(source, str):
        if not isinstance(source, Mapping) or not all(isinstance(cells, list) for cells in source.values()):
            raise DataError(
                "a table is an object of columns, each with a list of cells, or the name of a file"
            )
        return {str(name): [str(cell) for cell in cells] for name, cells in source.items()}
    table: dict[str, list[str]] = {}
    for record in read_file(source):
        if isinstance(record, BadRecord):
            raise DataError(f"{record.place}: {record.reason}")
        for name, cell in record.values.items():
            table.setdefault(name, []).append(str(cell))
    return table


def load_text(path: str) -> str:
    """Read a whole text file.

    Raises:
        DataError: the file cannot be read, or a line of it is not text.
    """
    lines = []
    for record in read_file(path, format="txt"):
        if isinstance(record, BadRecord):
            raise DataError(f"{record.place}: {record.reason}")
        lines.append(record.values[TEXT_COLUMN])
    return "\n".join(lines)


def _shown(source: Any) -> str:
    """Return a source short enough for a line; of a long path the end, where the file's name is."""
    text = "the recording" if isinstance(source, bytes) else str(source)
    if len(text) <= 80:
        return text
    return f"…{text[-79:]}" if "/" in text and "\n" not in text else f"{text[:79]}…"


def _check_file(source: str, what: str) -> None:
    path = Path(source)
    try:
        is_there, is_folder = path.exists(), path.is_dir()
    except OSError as error:  # a name that is too long, a folder that is closed
        raise DataError(f"{_shown(source)} cannot be read: {reason_of(error)}") from error
    if not is_there:
        raise DataError(f"no such {what}: {source}")
    if is_folder:
        raise DataError(f"{source} is a folder, and no {what}")
