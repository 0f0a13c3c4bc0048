"""From a pipeline's result to plain JSON values, and the files beside it for what does not fit in a line."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from llmkit.data.atomic import explained_write
from llmkit.errors import MissingExtraError, OutputExistsError

# Longer arrays go to a file; a box, a point or a class vector stays in the line.
_MAX_INLINE_ELEMENTS = 256
_NOT_IN_NAMES = re.compile(r"[^\w.-]+")
# Unicode's other line ends, at which many readers cut, and the controls that some terminals obey.
_ESCAPED = re.compile("[\x80-\x9f\u2028\u2029]")
_OF_A_RESULT = re.compile(r"\d{6,}(-.*)?\.(npy|png|wav)")
_MAX_STEM = 60  # characters, of up to four bytes; a name ends at 255 bytes
_PNG_MODES = {"1", "L", "LA", "P", "RGB", "RGBA", "I", "I;16"}
_ARRAY_MODES = {"F", "LAB"}  # a picture would lose their values


class ResultEncoder:
    """Makes results JSON: arrays, images and audio go to files under a folder, and the JSON names them.

    Args:
        numbered: where the folder is there already, make another: ``NAME-2``, ``NAME-3`` …

    Attributes:
        folder: where the files go; made when the first one is written.
        files_written: how many there are so far.
    """

    def __init__(self, folder: Path, *, numbered: bool = False) -> None:
        self.folder = folder
        self.files_written = 0
        self._numbered = numbered

    def plain(self, value: Any, stem: str) -> Any:
        """Return `value` made of dicts, lists, strings, numbers, booleans and None only.

        Args:
            stem: begins the names of the files that belong to this result, as in ``000017``.
        """
        if value is None or isinstance(value, str | bool | int):
            return value
        if isinstance(value, float):
            return float(value) if math.isfinite(value) else None
        if isinstance(value, Mapping):
            return self._plain_mapping(value, stem)
        if isinstance(value, list | tuple):
            if _is_nested_floats(value):  # vectors of a text: thousands of floats, no need to look at each
                return value
            return [self.plain(each, f"{stem}-{number}") for number, each in enumerate(value)]
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return self.plain(dataclasses.asdict(value), stem)
        if hasattr(value, "detach"):
            value = value.detach().cpu()
            value = (value.float() if value.dtype.is_floating_point else value).numpy()
        if hasattr(value, "dtype") and hasattr(value, "tolist"):
            return self._plain_array(value, stem)
        if hasattr(value, "save") and hasattr(value, "getpixel"):
            return self._save_image(value, stem)
        return str(value)

    def _plain_mapping(self, value: Mapping[Any, Any], stem: str) -> dict[str, Any]:
        if "audio" in value and "sampling_rate" in value:
            path = self._save_audio(value["audio"], int(value["sampling_rate"]), f"{stem}-audio")
            return {"audio": path, "sampling_rate": int(value["sampling_rate"])}
        return {str(key): self.plain(each, f"{stem}-{key}") for key, each in value.items()}

    def _plain_array(self, array: Any, stem: str) -> Any:
        if array.size <= _MAX_INLINE_ELEMENTS:
            return self.plain(array.tolist(), stem)
        return self._save_array(array, stem)

    def _save_array(self, array: Any, stem: str) -> Any:
        import numpy

        return self._keep(f"{stem}.npy", lambda file: numpy.save(file, array, allow_pickle=False))

    def _save_image(self, image: Any, stem: str) -> Any:
        if image.mode in _ARRAY_MODES:
            import numpy

            return self._save_array(numpy.asarray(image), stem)
        if image.mode not in _PNG_MODES:
            image = image.convert("RGBA" if image.mode.lower().endswith("a") else "RGB")
        return self._keep(f"{stem}.png", lambda file: image.save(file, format="PNG"))

    def _save_audio(self, audio: Any, sampling_rate: int, stem: str) -> Any:
        import numpy

        try:
            import soundfile
        except ImportError:
            raise MissingExtraError("writing audio", "audio") from None
        samples = numpy.asarray(audio, dtype="float32").squeeze()
        samples = samples.T if samples.ndim > 1 else samples
        return self._keep(
            f"{stem}.wav", lambda file: soundfile.write(file, samples, sampling_rate, format="WAV")
        )

    def _keep(self, name: str, write: Callable[[BinaryIO], object]) -> Any:
        """Write a file of a result, and return what the JSON says in its place: its path."""
        path = self._path(name)
        with explained_write(path), path.open("wb") as file:
            write(file)
        return str(path)

    def _path(self, name: str) -> Path:
        with explained_write(self.folder):
            if self._numbered and not self.files_written:
                self.folder = _new_folder(self.folder)
            self.folder.mkdir(parents=True, exist_ok=True)
        self.files_written += 1
        # Keys of the result are part of the name, and could be anything.
        stem, _, ending = name.rpartition(".")
        return self.folder / f"{_NOT_IN_NAMES.sub('_', stem)[:_MAX_STEM]}.{ending}"


def plain_value(value: Any) -> Any:
    """Return an input's value made of what JSON has words for; what it has none for, a day or bytes, as text."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain_value(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain_value(each) for each in value]
    return str(value)


def _new_folder(wanted: Path) -> Path:
    """Make a folder that was not there; of two runs that want one at the same time, each gets its own."""
    folder, number = wanted, 1
    while True:
        try:
            folder.mkdir()
        except FileExistsError:
            number += 1
            folder = wanted.with_name(f"{wanted.name}-{number}")
        else:
            return folder


def refuse_files_of_another_run(folder: Path) -> None:
    """Raise OutputExistsError where a folder holds files that an earlier run's results name."""
    if folder.is_dir() and any(_OF_A_RESULT.fullmatch(path.name) for path in folder.iterdir()):
        raise OutputExistsError(
            f"{folder} holds the files of an earlier run.",
            hint="Add --overwrite to replace them, or name another folder with --output-dir.",
        )


def _is_nested_floats(value: Any) -> bool:
    """Tell whether a list is vectors of finite floats all the way down (as feature extraction gives)."""
    while isinstance(value, list) and value and isinstance(value[0], list):
        if len(value) > 1 and not all(isinstance(each, list) for each in value):
            return False
        if isinstance(value[0], list) and value[0] and isinstance(value[0][0], float):
            return all(
                type(number) is float and math.isfinite(number) for vector in value for number in vector
            )
        if len(value) > 1:
            return all(_is_nested_floats(each) for each in value)
        value = value[0]
    return False


def dump_json(value: Any) -> str:
    """Return compact JSON on one line, floats unrounded, characters as they are.

    What is escaped beyond JSON's own rules is what would end the line for a reader that goes by Unicode
    (Python's ``splitlines``: U+0085, U+2028, U+2029), the other C1 controls, and lone surrogates.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair has no bytes of its own
        return json.dumps(value, allow_nan=False)
    return _ESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
