"""Results as answers carry them: everything in the JSON itself, and in the shape that the hub gives a task."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, get_args, get_origin

from llmkit.data.encoding import ResultEncoder
from llmkit.data.shapes import find_shape
from llmkit.tasks.catalogue import Task
from llmkit.tasks.results import LABELS

# The hub gives a list of these for one input.
_LISTED = ("summarization", "translation", "text2text-generation", "text-generation")
_CLASSIFIED = "text-classification"
_RANKED = "zero-shot-classification"
# Of one input, the hub gives the picture or the sound itself.
KIND_OF_ANSWER = {"image-to-image": "image/png", "text-to-audio": "audio/wav"}


@dataclass(frozen=True, slots=True)
class MediaAnswer:
    """An answer that is a file, of a kind such as ``image/png``."""

    data: bytes
    kind: str


class InlineEncoder(ResultEncoder):
    """Makes results JSON with all that is in them: pictures as PNG and sound as WAV in base64, arrays as lists.

    A mask, an array of truth values in two dimensions, is a picture in black and white. No file is written.
    """

    def __init__(self) -> None:
        super().__init__(Path())

    def _save_array(self, array: Any, stem: str) -> Any:
        if array.dtype == bool and array.ndim == 2:
            import PIL.Image

            return self._save_image(PIL.Image.fromarray(array), stem)
        return _finite(array.tolist())

    def _keep(self, name: str, write: Callable[[BinaryIO], object]) -> Any:
        file = io.BytesIO()
        write(file)
        return base64.b64encode(file.getvalue()).decode()


def _finite(value: Any) -> Any:
    """Return nested lists of numbers with None for what JSON has no word for."""
    if isinstance(value, list):
        return [_finite(each) for each in value]
    return value if not isinstance(value, float) or value - value == 0 else None


def shaped(task: str, value: Any) -> Any:
    """Return one input's result, made of plain values, in the shape that the hub gives it."""
    if task in (*_LISTED, _CLASSIFIED) and isinstance(value, dict):
        return [value]
    if task == _RANKED and isinstance(value, dict):
        pairs = zip(value["labels"], value["scores"], strict=True)
        return [{"label": label, "score": score} for label, score in pairs]
    return value


def answer_shape(task: Task) -> Any:
    """Return the shape of what `answer_of` gives, of one input or of a list of them."""
    if not task.result:
        return Any
    one = LABELS if task.name == _RANKED else find_shape(task.result)
    if task.name in (*_LISTED, _CLASSIFIED):
        one = next((each for each in get_args(one) if get_origin(each) is list), one)
    return list[one] if task.name == _CLASSIFIED else one | list[one]  # type: ignore[valid-type]


def answer_of(task: str, results: list[Any], *, is_list: bool, as_file: bool) -> Any:
    """Return the answer to a request of one input or of a list of them.

    Args:
        results: each input's, shaped.
        as_file: where one result is a picture or a sound and nothing else, give that itself: a MediaAnswer.
    """
    if is_list or task == _CLASSIFIED:
        return results
    (result,) = results
    if task in KIND_OF_ANSWER and as_file:
        data = result["audio"] if isinstance(result, dict) else result
        if isinstance(data, str):
            return MediaAnswer(base64.b64decode(data), KIND_OF_ANSWER[task])
    return result
