"""Which of several names to take for a size when all of them fit: what such tensors' sizes usually go by."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from llmkit.architectures.config_numbers import prefix_of

FAR = 20  # the preference of names of another nested config, and above
UNUSUAL = 9  # the preference of names that such sizes rarely go by

# In the order they are preferred in.
_OF_TABLES = ("vocab", "position", "type_vocab", "buckets", "labels", "experts")
_OF_WIDTHS = (
    r"^(hidden_sizes?|d_model|n_embd|dim|embed_dim|embedding_size|hidden_dim|n_embed)$",
    r"^(intermediate_size|d_ff|n_inner|ffn_dim|encoder_ffn_dim|decoder_ffn_dim|mlp_dim|hidden_dim)$",
    r"heads?$|head",
    r"experts",
    r"hidden|embed|dim|width|channels",
)
_OF_REPEATS = (r"^(num_hidden_layers|n_layers?|num_layers)$", r"layers|depths|blocks", r"experts", r"stages")

# What the modules of a nested config are called in a model, for configs that are not called the same.
_CALLED = {
    "text": ("text", "language"),
    "vision": ("vision", "visual", "image"),
    "audio": ("audio", "speech"),
}


@dataclass(frozen=True, slots=True)
class Context:
    """Where a size stands.

    Attributes:
        path: the name of its tensor.
        is_table: it is the number of entries of an embedding.
        is_repeat: it is a number of copies rather than a dimension.
    """

    path: str
    is_table: bool = False
    is_repeat: bool = False
    key: tuple[object, ...] = field(init=False)

    def __post_init__(self) -> None:
        """Set `key`: sizes with the same key have the same formula if they are the same."""
        outer = ".".join(self.path.split(".")[:3])
        object.__setattr__(self, "key", (outer, self.is_table, self.is_repeat))


def preference(name: str, context: Context) -> int:
    """Return the place of a name in the order of preference, 0 for the first."""
    place = _place(name, context)
    return (UNUSUAL if place is None else place) + FAR // 2 * _distance(prefix_of(name), context.path)


def is_usual(name: str, context: Context) -> bool:
    """Whether a size there usually goes by this name, so that it may be taken for its value alone."""
    return _place(name, context) is not None


def _place(name: str, context: Context) -> int | None:
    own = name.rpartition(".")[2].partition("[")[0]
    wanted = _OF_TABLES if context.is_table else _OF_REPEATS if context.is_repeat else _OF_WIDTHS
    return next((at for at, pattern in enumerate(wanted) if re.search(pattern, own)), None)


def _distance(prefix: str, path: str) -> int:
    """Return how far a config is from a tensor: 0 for its own, 2 for that of another part, 1 where that is open."""
    part = prefix.rpartition(".")[2].removesuffix("_config")
    if not part:
        return 1
    if any(word in path for word in _CALLED.get(part, (part,))):
        return 0
    parts = {other for other, words in _CALLED.items() if any(word in path for word in words)}
    return 2 if parts and part in _CALLED else 1
