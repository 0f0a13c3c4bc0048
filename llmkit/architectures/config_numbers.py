"""The numbers of a config under the names that formulas call them by, to be read and to be changed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

MOST_ELEMENTS = 16  # a longer list holds a number a layer: nothing that a reader wants to see by its index
LABELS = "num_labels"

# Numbers that no shape comes from: identities of tokens and layers, ways to train and to generate.
_NOT_A_SIZE = re.compile(
    r"(_id|_ids|_idx|_index|_indices|_indexes|_token|_dropout|_prob|_eps|_epsilon|_std|_range|_theta|_loss_weight|_cost"
    r"|_penalty|_temperature|_weight|_coefficient|_coef|_threshold|_init_value|_distance)$"
    r"|^(chunk_size_feed_forward|pretraining_tp|transformers_version|seed|num_beams|out_indices|id2label|label2id"
    r"|rope_parameters|rope_scaling|task_specific_params|quantization_config|generation_config|stage_names"
    r"|begin_suppress_tokens|suppress_tokens|mask_time_.*|mask_feature_.*|max_length|min_length)$"
)
_FACTOR = re.compile(r"ratio|factor|expan|mult")
_PART = re.compile(r"([^.\[\]]+)|\[(\d+)\]")


def numbers_of(config: Mapping[str, Any] | PreTrainedConfig) -> dict[str, int | float]:
    """Return the numbers that sizes can come from, by name, in the config's order; nested ones after a dot.

    The elements of a short list have their index: ``depths[0]``. The number of labels is `num_labels`.
    """
    return dict(_walk(_mapping(config), ""))


def value_of(config: Mapping[str, Any], name: str) -> int | float:
    """Return one number of a config by its name in a formula.

    Raises:
        KeyError: the config has no such number.
    """
    if name == LABELS and LABELS not in config:
        return len(config["id2label"])
    value: Any = config
    try:
        for key, index in _PART.findall(name):
            value = value[int(index)] if index else value[key]
    except (TypeError, IndexError, KeyError):
        raise KeyError(name) from None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise KeyError(name)
    return value


def put(config: PreTrainedConfig, name: str, value: int | float) -> None:
    """Change one number of a config object, or of a config nested in it.

    Raises:
        Exception: whatever the config says to the value.
    """
    if name == LABELS:
        config.num_labels = value
        return
    *path, last = _steps(name)
    holder: Any = config
    for step in path:
        holder = _get(holder, step)
    if isinstance(holder, list | tuple) and isinstance(last, int):
        # A list may be shared, or be a tuple: its place is taken by a changed copy.
        changed = [value if at == last else each for at, each in enumerate(holder)]
        put_any(config, path, type(holder)(changed))
    else:
        put_any(config, [*path, last], value)


def put_any(config: Any, path: Sequence[str | int], value: Any) -> None:
    """Put a value of any kind at a path of a config object."""
    holder = config
    for step in path[:-1]:
        holder = _get(holder, step)
    last = path[-1]
    if isinstance(holder, dict) or isinstance(last, int):
        holder[last] = value
    else:
        setattr(holder, last, value)


def _steps(name: str) -> list[str | int]:
    return [int(index) if index else key for key, index in _PART.findall(name)]


def get(config: PreTrainedConfig, path: str) -> Any:
    """Return what is at a path such as ``text_config.layer_types`` of a config object."""
    holder: Any = config
    for step in _steps(path):
        holder = _get(holder, step)
    return holder


def _get(holder: Any, step: str | int) -> Any:
    return getattr(holder, step) if isinstance(step, str) and not isinstance(holder, dict) else holder[step]


def lists_of(config: Mapping[str, Any], length: int, prefix: str = "") -> Iterator[str]:
    """Yield the paths of the lists with that many elements, in the part of the config that `prefix` names."""
    part = config
    for step in filter(None, prefix.split(".")):
        part = part[step]
    for key, value in part.items():
        if isinstance(value, list | tuple) and len(value) == length:
            yield f"{prefix}.{key}" if prefix else key


def prefix_of(name: str) -> str:
    """Return the nested config a name is in: ``vision_config`` of ``vision_config.depths[0]``, else ""."""
    return name.rpartition(".")[0]


def _walk(values: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, int | float]]:
    if not prefix and LABELS not in values and "id2label" in values:
        yield LABELS, len(values["id2label"] or {})
    for key, value in values.items():
        if not isinstance(key, str) or _NOT_A_SIZE.search(key) or key.startswith("_"):
            continue
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _walk(value, f"{name}.") if "." not in prefix[:-1] else ()
        elif isinstance(value, list | tuple):
            if len(value) <= MOST_ELEMENTS:
                yield from ((f"{name}[{at}]", each) for at, each in enumerate(value) if _is_size(key, each))
        elif _is_size(key, value):
            yield name, value


def _is_size(key: str, value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    if isinstance(value, int):
        return value > 0
    return bool(_FACTOR.search(key)) and 1 < value <= 64 and Fraction(value).denominator <= 64


def _mapping(config: Mapping[str, Any] | PreTrainedConfig) -> Mapping[str, Any]:
    return config if isinstance(config, Mapping) else config.to_dict()
