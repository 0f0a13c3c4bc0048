"""Images, sound and videos as requests carry them: in base64, or as the body itself; never a path or an address.

A request is checked when it comes, and its bytes are opened when its turn has come, so that what waits is as large as
what was sent. What opened would fill the memory is refused by what its head says of its size.
"""

from __future__ import annotations

import base64
import binascii
import importlib.util
import io
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.data.media import check_video, load_audio, load_image
from llmkit.errors import DataError, MissingExtraError
from llmkit.tasks.catalogue import Field, Kind, Shape, Task
from llmkit.tasks.inputs import RowError

if TYPE_CHECKING:
    import numpy
    from PIL.Image import Image

MEDIA = (Kind.IMAGE, Kind.AUDIO, Kind.VIDEO)
MOST_PIXELS = 50_000_000
MOST_SAMPLES = 100_000_000  # of all channels: a quarter of an hour in stereo as on a disc
_ASSETS = "assets"
_DATA_ADDRESS = re.compile(r"data:[\w.+/-]*(;[\w=.+-]+)*;base64,", re.ASCII)
# Those that need no other program to be read.
_IMAGE_FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
# How files begin that are one video: a playlist would name others, to be opened.
_VIDEO_BEGINNINGS = (
    re.compile(rb"....(ftyp|moov|mdat|free|wide)", re.DOTALL),
    re.compile(rb"\x1a\x45\xdf\xa3"),
    re.compile(rb"RIFF....AVI ", re.DOTALL),
    re.compile(rb"OggS"),
)
_PACKAGES = {
    Kind.IMAGE: (("PIL",), "reading images", "vision"),
    Kind.AUDIO: (("soundfile", "soxr"), "reading audio", "audio"),
    Kind.VIDEO: (("av",), "reading video", "video"),
}


def takes_media(task: Task) -> bool:
    """Tell whether an input of a task has a part that is no text."""
    return any(field.kind in MEDIA or field.name == _ASSETS for field in task.fields)


def field_of_body(task: Task) -> Field | None:
    """Return the field that the bytes of a request can stand for, None where they cannot be all of it."""
    required = task.required_fields
    return required[0] if len(required) == 1 and required[0].kind in MEDIA else None


def check_packages(task: Task) -> None:
    """Raise MissingExtraError for a task whose inputs could not be read here."""
    for kind in {field.kind for field in task.fields if field.required} & set(_PACKAGES):
        packages, what, extra = _PACKAGES[kind]
        if not all(importlib.util.find_spec(package) for package in packages):
            raise MissingExtraError(what, extra)


def bytes_of(field: Field, given: Any) -> bytes:
    """Return what a request says for an image, a recording or a video.

    Raises:
        RowError: it is not in base64.
    """
    if isinstance(given, str):
        head = _DATA_ADDRESS.match(given)
        try:
            given = base64.b64decode(given[head.end() if head else 0 :], validate=True)
        except (binascii.Error, ValueError):
            raise RowError(f"'{field.name}' is not in base64; paths and addresses are not opened") from None
    if not isinstance(given, bytes):
        raise RowError(f"'{field.name}' is a text in base64, not {type(given).__name__}")
    if not given:
        raise RowError(f"'{field.name}' is empty")
    return given


def checked_assets(assets: Any) -> dict[str, Any]:
    """Return the images of a decision, each by its name: in base64, where a pipeline would open a path too.

    Raises:
        RowError: one of them is not.
    """
    if not isinstance(assets, Mapping):
        raise RowError(f"'{_ASSETS}' is an object with an image for each name")
    return {
        name: bytes_of(
            Field(f"{_ASSETS}: {name}", Kind.IMAGE),
            asset.get("data_base64") if isinstance(asset, Mapping) else asset,
        )
        for name, asset in assets.items()
    }


@contextmanager
def opened(task: Task, rows: list[dict[str, Any]], sampling_rate: int | None) -> Iterator[list[Any]]:
    """Open what rows carry, for as long as they are worked on.

    Args:
        rows: name of a field -> value; media as bytes.
        sampling_rate: in Hz, of the sound that the model takes.

    Yields:
        For each row the same with what the pipeline takes, or the DataError that it ended in.
    """
    kinds = {field.name: field.kind for field in task.fields}
    with tempfile.TemporaryDirectory(prefix="llmkit-") as folder:

        def open_one(name: str, value: Any, number: int) -> Any:
            if name == _ASSETS:
                return {key: _image(each) for key, each in value.items()}
            if not isinstance(value, bytes):
                return value
            if kinds[name] is Kind.IMAGE:
                image = _image(value)
                # The result of a chat repeats the chat: as text, as it was sent.
                return _as_address(value) if task.shape is Shape.CHAT else image
            if kinds[name] is Kind.AUDIO:
                return _audio(value, sampling_rate or 16_000)
            return _video(value, Path(folder, f"{number}-{name}"))

        yield [_all_of(row, number, open_one) for number, row in enumerate(rows)]


def _all_of(row: dict[str, Any], number: int, open_one: Any) -> Any:
    try:
        return {name: open_one(name, value, number) for name, value in row.items()}
    except DataError as error:
        return error


def _image(data: bytes) -> Image:
    import PIL.Image

    PIL.Image.init()
    try:
        formats = [name for name in _IMAGE_FORMATS if name in PIL.Image.OPEN]
        image = PIL.Image.open(io.BytesIO(data), formats=formats)
        if image.width * image.height > MOST_PIXELS:
            raise RowError(
                f"the image has {image.width:,} x {image.height:,} pixels, at most {MOST_PIXELS:,} are taken"
            )
        image.load()
    except (OSError, ValueError, TypeError, SyntaxError, PIL.Image.DecompressionBombError) as error:
        reason = "it is damaged" if "truncated" in str(error).lower() else "its content is not an image"
        raise RowError(f"the image cannot be read: {reason}") from error
    return load_image(image)


def _as_address(data: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(data).decode()}"


def _audio(data: bytes, sampling_rate: int) -> numpy.ndarray:
    import soundfile

    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            frames, channels, rate = file.frames, file.channels, file.samplerate
    except (soundfile.SoundFileError, TypeError, ValueError) as error:
        reason = getattr(error, "error_string", None) or error
        raise RowError(f"the recording cannot be read: {reason}") from error
    if max(frames * channels, frames * sampling_rate // max(rate, 1)) > MOST_SAMPLES:
        raise RowError(f"the recording has {frames:,} samples at {rate:,} Hz, which is too long")
    return load_audio(data, sampling_rate)


def _video(data: bytes, path: Path) -> str:
    import av

    if not any(beginning.match(data) for beginning in _VIDEO_BEGINNINGS):
        raise RowError("the video is none of these: MP4, QuickTime, Matroska, WebM, AVI, Ogg")
    path.write_bytes(data)
    try:
        check_video(str(path))
    except DataError as error:
        raise RowError(error.message.replace(str(path), "the video").rstrip(".")) from error
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        if stream.width * stream.height > MOST_PIXELS:
            raise RowError(f"the video has {stream.width:,} x {stream.height:,} pixels, which is too many")
    return str(path)
