"""Whether a config asks for a model that its weights can be for, found before the model is built.

What the weights lack is made new before anybody says that it is lacking: a config of a few bytes with a large number
in it would fill the memory.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.errors import ModelError
from llmkit.models.local_folder import WEIGHTS_FILE, WEIGHTS_INDEX, header_of, weight_files
from llmkit.models.resolved import ResolvedModel

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

MOST_TIMES = 40  # as large in float32 as the files of the weights: those in 4 bits and less are a tenth of it
SMALL = 1_000_000_000  # bytes that any model may have
_PLAIN = 1024  # what no number of a config has to be explained for
# What the sides of tensors are called, in any family's words.
_SIDES = re.compile(
    r"(\w+_)?(vocab_size|hidden_size|intermediate_size|embedding_size|num_labels|hidden_dim|inner_dim|ffn_dim|"
    r"d_model|d_ff|d_inner|n_embd|n_inner|dim)"
)
_POSITIONS = re.compile(r"max_position_embeddings|n_positions|n_ctx")
_LAYERS = re.compile(r"(n|num)_?(\w+_)?(layers?|blocks?)|(\w+_)?(layers|blocks)")
_TENSORS_OF_A_LAYER = 2


def check_sizes(model: ResolvedModel, config: PreTrainedConfig, head: Any) -> None:
    """Refuse a config of a local model that asks for far more numbers than its weights have.

    Args:
        head: the class that is to be loaded.

    Raises:
        ModelError: it does.
    """
    files = _files(model)
    # A GGUF file has its config inside, and what it does not say there is that of a model of billions.
    if not files or (not model.is_gguf and _is_explained(config.to_dict(), _shapes(files))):
        return
    import torch

    try:
        with torch.device("meta"):
            built = head.from_config(config) if hasattr(head, "from_config") else head(config)
    except Exception:  # loading it will tell
        return
    numbers = sum(parameter.numel() for parameter in built.parameters())
    size = sum(file.stat().st_size for file in files)
    if 4 * numbers > max(SMALL, MOST_TIMES * size):
        raise ModelError(
            f"the config of {model} asks for {numbers:,} numbers, and its weights have {size:,} bytes.",
            hint="They are not of one model: copy or download both again.",
        )


def _files(model: ResolvedModel) -> list[Path]:
    folder = Path(model.location)
    if not model.is_local:
        return []
    if model.is_gguf and model.weights is not None:
        return [folder / model.weights]
    for name in (model.weights, WEIGHTS_FILE, WEIGHTS_INDEX):
        if name is not None and (folder / name).is_file():
            return weight_files(folder / name, model.name)
    return []


def _shapes(files: list[Path]) -> Mapping[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {}
    for file in files:
        found |= {
            name: tuple(tensor.get("shape", ()))
            for name, tensor in header_of(file).items()
            if name != "__metadata__"
        }
    return found


def _is_explained(values: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]) -> bool:
    """Tell whether every large number of a config is the side of a tensor, or nearly."""
    sides = {side for shape in shapes.values() for side in shape}
    has_positions = any("position" in name or "wpe" in name for name in shapes)
    for key, value in _numbers(values):
        is_side = _SIDES.fullmatch(key) or (has_positions and _POSITIONS.fullmatch(key))
        if is_side and value > _PLAIN and not _is_near(value, sides):
            return False
        if _LAYERS.fullmatch(key) and value * _TENSORS_OF_A_LAYER > max(len(shapes), _TENSORS_OF_A_LAYER):
            return False
    return True


def _is_near(value: int, sides: set[int]) -> bool:
    """Tell whether a number is a side of a tensor, or of two or three that are kept as one; or a little less."""
    return any(times * value in sides for times in (1, 2, 3)) or any(
        value <= side <= value + value // 50 for side in sides
    )


def _numbers(values: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _numbers(value)
        elif isinstance(value, int) and not isinstance(value, bool):
            yield str(key), value
