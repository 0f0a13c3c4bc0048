"""Texts, images, audio and tables, from a path to what a pipeline takes."""

from __future__ import annotations

import http.client
import io
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit._version import __version__
from llmkit.data.records import TEXT_COLUMN, BadRecord
from llmkit.data.sources import read_file
from llmkit.errors import DataError, MissingExtraError

if TYPE_CHECKING:
    import numpy
    from PIL.Image import Image

_PATIENCE_SECONDS = 30


def load_image(source: Any) -> Image:
    """Open an image as RGB, turned the way its EXIF data says.

    Raises:
        DataError: it is not there, or it is not an image.
        MissingExtraError: Pillow is not installed.
    """
    try:
        import PIL.Image
    except ImportError:
        raise MissingExtraError("Reading images", "vision") from None
    from transformers.image_utils import load_image as open_image

    try:
        if is_address(source):
            return open_image(PIL.Image.open(fetch(source)))
        if isinstance(source, str) and not source.startswith("data:"):
            _check_file(source, "image")
        return open_image(source)
    except (
        PIL.UnidentifiedImageError,
        OSError,
        ValueError,
        TypeError,
        SyntaxError,
        PIL.Image.DecompressionBombError,
    ) as error:
        reason = "it is damaged" if "truncated" in str(error).lower() else "its content is not an image"
        raise DataError(f"{_shown(source)} cannot be read as an image: {reason}.") from error


def load_audio(source: Any, sampling_rate: int) -> numpy.ndarray:
    """Read a recording as mono float32 samples at `sampling_rate` (Hz), shape ``(samples,)``.

    Args:
        source: a path, an address, or the bytes of a file; samples are returned as they are.

    Raises:
        DataError: it is not there, or it is not audio.
        MissingExtraError: soundfile or soxr is not installed.
    """
    try:
        import soundfile
        import soxr
    except ImportError:
        raise MissingExtraError("Reading audio", "audio") from None
    if not isinstance(source, str | bytes):
        return source
    if isinstance(source, str) and not is_address(source):
        _check_file(source, "audio file")
    try:
        opened = fetch(source) if is_address(source) else source
        opened = io.BytesIO(opened) if isinstance(opened, bytes) else opened
        samples, rate = soundfile.read(opened, dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, TypeError, ValueError) as error:
        reason = getattr(error, "error_string", None) or error
        raise DataError(f"{_shown(source)} cannot be read as audio: {reason}") from error
    if not len(samples):
        raise DataError(f"{_shown(source)} holds no sound.")
    mono = samples.mean(axis=1)
    return mono if rate == sampling_rate else soxr.resample(mono, rate, sampling_rate)


def check_video(source: Any) -> Any:
    """Return the path of a video that is there, or its address.

    Raises:
        DataError: it is not there, or it is not a video.
        MissingExtraError: PyAV is not installed.
    """
    try:
        import av
    except ImportError:
        raise MissingExtraError("Reading video", "video") from None
    if not isinstance(source, str):
        return source
    if is_address(source):  # the pipeline itself fetches it
        with _opened(source):
            return source
    _check_file(source, "video")
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
        DataError: it cannot be had.
    """
    with _opened(address) as answer:
        return io.BytesIO(answer.read())


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
    if not path.exists():
        raise DataError(f"no such {what}: {source}")
    if path.is_dir():
        raise DataError(f"{source} is a folder, not an {what}")
