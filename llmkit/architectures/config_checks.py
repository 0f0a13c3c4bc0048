"""Values of a config that no model can have, found before anything is built.

Some classes of transformers check their values, some round them down in silence, and none refuses a size that
would fill the machine's memory with empty modules.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from llmkit.architectures.build_errors import as_json
from llmkit.architectures.config_values import value_of
from llmkit.errors import UsageError
from llmkit.wanted import should_be

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

MOST_LAYERS = 10_000
MOST_EXPERTS = 100_000
MOST_LABELS = 1_000_000
MOST_ENTRIES = 10**9
MOST_POSITIONS = 10**9
WIDEST = 10**7
MOST_PARAMETERS = 10**15

# Names of values that count or measure, in any family's words: n_layer, encoder_layers, d_model, vocab_size.
_LAYERS = re.compile(r"(n|num)_?(\w+_)?layers?|(\w+_)?layers|depths?")
_EXPERTS = re.compile(r"(\w+_)?experts")
_LABELS = re.compile(r"num_labels")
_ENTRIES = re.compile(r"(\w+_)?vocab_size")
_POSITIONS = re.compile(r"(\w+_)?(position_embeddings|positions|n_ctx)")
_WIDTH = re.compile(
    r"(\w+_)?(hidden_size|intermediate_size|ffn_dim|hidden_dim|embed_dim|head_dim|mlp_dim|embedding_size)"
    r"|n_(embd|inner)|d_(model|ff|kv|head|inner|state)"
)
# An input is cut into patches of something, and has at least a pixel.
_FROM_ONE = re.compile(r"(image|patch)_size|num_channels")
_LABEL_TABLES = ("id2label", "label2id")
_EXPERTS_TO_CHOOSE = ("num_local_experts", "n_routed_experts", "num_experts")
# Its dense models are those without experts, whatever else their config says of them.
_DENSE_WITHOUT_EXPERTS = ("granitemoehybrid",)
_SIZE = re.compile(
    r"(n|num)_(layers?|heads?|head|embd|ctx|positions|inner)|d_(model|ff|kv|head|inner|state)"
    r"|(num_)?(\w+_)?(layers|heads|experts)|(\w+_)?(hidden_size|intermediate_size|vocab_size|ffn_dim|hidden_dim)"
    r"|num_(labels|channels)|max_position_embeddings|head_dim|embed_dim|depth"
)
_MOST: tuple[tuple[re.Pattern[str], int, str], ...] = (
    (_LAYERS, MOST_LAYERS, "layers"),
    (_EXPERTS, MOST_EXPERTS, "experts"),
    (_LABELS, MOST_LABELS, "labels"),
    (_ENTRIES, MOST_ENTRIES, "entries in a vocabulary"),
    (_POSITIONS, MOST_POSITIONS, "positions"),
    (_WIDTH, WIDEST, "numbers in width"),
)
# What a model has at least one of, in the names that every config answers to.
_AT_LEAST_ONE = (
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "vocab_size",
)
# A config that has one of these says how wide a head is: then the heads need not divide the width.
_HEAD_SIZES = (
    "head_dim",
    "d_kv",
    "d_head",
    "attention_head_size",
    "attention_head_dim",
    "kv_channels",
    "qk_head_dim",
    "qk_nope_head_dim",
    "v_head_dim",
    "swa_head_dim",
)
_HEADS_AND_WIDTH = (
    ("num_attention_heads", "hidden_size"),
    ("encoder_attention_heads", "d_model"),
    ("decoder_attention_heads", "d_model"),
)


def check_values(values: Mapping[str, Any], path: str = "") -> None:
    """Check the counts and sizes of a config.json, nested configs included, before it is made a config.

    Raises:
        UsageError: one is negative or 0 where it cannot be, not a whole number, or absurdly large.
    """
    for name, value in values.items():
        if isinstance(value, Mapping):
            check_values(value, f"{path}{name}.")
            continue
        if name in _LABEL_TABLES and value is not None:
            raise should_be(f"{path}{name} is {as_json(value)}", "an object, a label a number")
        for each in value if isinstance(value, list | tuple) else (value,):
            _check_value(name, each, path)


def _check_value(name: str, value: Any, path: str) -> None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return
    if _FROM_ONE.fullmatch(name) and value < 1:
        raise should_be(f"{path}{name} is {value:,}", "1 or more")
    if _SIZE.fullmatch(name):
        if value != value or value in (float("inf"), float("-inf")) or value != int(value):
            raise should_be(f"{path}{name} is {value}", "a whole number")
        if value < 0:
            least = "1 or more" if name in _AT_LEAST_ONE else "0 or more"
            raise should_be(f"{path}{name} is {value:,}", least)
    for pattern, most, what in _MOST:
        if pattern.fullmatch(name) and value > most:
            raise UsageError(
                f"{path}{name} is {value:,}: llmkit counts models of up to {most:,} {what}.",
                hint="Is it a mistake? No model has been that large.",
            )


def check_size(sizes: Iterable[int]) -> None:
    """Check the numbers in the tensors of a model that is built: sizes that are each in range may not be together.

    Raises:
        UsageError: they are more than `MOST_PARAMETERS`.
    """
    total = sum(sizes)
    if total > MOST_PARAMETERS:
        raise UsageError(
            f"the model would have {total:,} parameters: llmkit counts models of up to {MOST_PARAMETERS:,}.",
            hint="Is it a mistake? No model has been that large.",
        )


def check_config(config: PreTrainedConfig, values: Mapping[str, Any]) -> None:
    """Check what only the completed config shows, nested configs included.

    Args:
        values: the config.json it was made from: what it leaves out, transformers has filled in.

    Raises:
        UsageError: no layers or no width, heads that do not divide the hidden size, or key and value heads
            that do not divide the heads; or a token that meets more experts than there are.
    """
    for path, each, given in _with_nested(config, values, ""):
        for name in _AT_LEAST_ONE:
            if _number(each, name) == 0 and not _is_zero_by_default(each, name):
                raise should_be(f"{path}{_own_name(each, name)} is 0", "1 or more")
        _check_heads(each, given, path)
        _check_choice(each, path)


def _check_choice(config: PreTrainedConfig, path: str) -> None:
    """Check that a token meets at least one expert, and no more than there are."""
    chosen = _number(config, "num_experts_per_tok")
    counts = {name: _number(config, name) for name in _EXPERTS_TO_CHOOSE}
    for name, experts in counts.items():
        is_default = chosen == _default(config, "num_experts_per_tok") and experts == _default(config, name)
        if chosen is None or experts is None or is_default:
            continue
        chosen_name, experts_name = _own_name(config, "num_experts_per_tok"), _own_name(config, name)
        # Without any experts, most families' models are dense; Mixtral's have nothing else.
        is_dense = not experts and (
            name != "num_local_experts" or config.model_type in _DENSE_WITHOUT_EXPERTS or not chosen
        )
        if chosen < 0 or (not chosen and experts):
            raise should_be(f"{path}{chosen_name} is {chosen:,}", "1 or more")
        if chosen > experts and not is_dense:
            raise UsageError(
                f"{path}{chosen_name} is {chosen:,}: a token meets at most all experts, "
                f"and {path}{experts_name} is {experts:,}."
            )


def _check_heads(config: PreTrainedConfig, given: Mapping[str, Any], path: str) -> None:
    for heads_name, width_name in _HEADS_AND_WIDTH:
        heads, width = _number(config, heads_name), _number(config, width_name)
        # Some classes of transformers have defaults that do not divide: a config that only repeats them may pass.
        is_default = heads == _default(config, heads_name) and width == _default(config, width_name)
        if heads and width and width % heads and not is_default and not _has_own_head_size(config, given):
            raise UsageError(
                f"{path}{_own_name(config, heads_name)} ({heads:,}) does not divide "
                f"{_own_name(config, width_name)} ({width:,}): "
                f"each head would have {width / heads:,.2f} dimensions.",
                hint=f"Near it are {_near_divisors(width, heads)} heads.",
            )
    heads, shared = _number(config, "num_attention_heads"), _number(config, "num_key_value_heads")
    if heads and shared and heads % shared:
        raise UsageError(
            f"{path}num_key_value_heads ({shared:,}) does not divide "
            f"{_own_name(config, 'num_attention_heads')} ({heads:,}): "
            "each of them serves the same number of heads."
        )


def _with_nested(
    config: PreTrainedConfig, values: Mapping[str, Any], path: str
) -> Iterator[tuple[str, PreTrainedConfig, Mapping[str, Any]]]:
    yield path, config, values
    for name, inner in vars(config).items():
        if hasattr(inner, "to_diff_dict"):
            given = values.get(name)
            yield from _with_nested(inner, given if isinstance(given, Mapping) else {}, f"{path}{name}.")


def _number(config: PreTrainedConfig, name: str) -> int | None:
    value = value_of(config, name)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _own_name(config: PreTrainedConfig, name: str) -> str:
    return str(getattr(config, "attribute_map", {}).get(name, name))


def _default(config: PreTrainedConfig, name: str) -> Any:
    field = getattr(type(config), "__dataclass_fields__", {}).get(_own_name(config, name))
    return None if field is None else field.default


def _is_zero_by_default(config: PreTrainedConfig, name: str) -> bool:
    return bool(_default(config, name) == 0)


def _has_own_head_size(config: PreTrainedConfig, given: Mapping[str, Any]) -> bool:
    return any(given.get(name) is not None or isinstance(_default(config, name), int) for name in _HEAD_SIZES)


def _near_divisors(width: int, heads: int) -> str:
    fewer = next(number for number in range(min(heads, width), 0, -1) if width % number == 0)
    more = next(
        (number for number in range(heads + 1, min(width, 100 * heads) + 1) if width % number == 0), None
    )
    return f"{fewer:,}" if more is None else f"{fewer:,} or {more:,}"
