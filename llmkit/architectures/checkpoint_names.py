"""The names of a checkpoint's tensors, and the names that the model has for the same ones.

A checkpoint of a model with a head has ``bert.`` before the names of the bare model; old ones say ``gamma`` for a
norm's weight; and what transformers joins or renames while loading, only transformers knows.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

# How old checkpoints call what transformers renames when it loads them (`modeling_utils`, `conversion_mapping`).
_OLD_NAMES = (
    (re.compile(r"\.gamma$"), ".weight"),
    (re.compile(r"\.beta$"), ".bias"),
    (re.compile(r"\.weight_g$"), ".parametrizations.weight.original0"),
    (re.compile(r"\.weight_v$"), ".parametrizations.weight.original1"),
)
_NUMBER = re.compile(r"(?<=\.)\d+(?=\.|$)|^\d+(?=\.)")


def folded(name: str) -> str:
    """Return a name with ``*`` for each number in it: ``h.0.mlp.bias`` is ``h.*.mlp.bias``."""
    return _NUMBER.sub("*", name)


def with_new_words(name: str) -> str:
    """Return a name of an old checkpoint in today's words."""
    for old, new in _OLD_NAMES:
        name = old.sub(new, name)
    return name


def without_prefix(names: Collection[str], wanted: Collection[str]) -> dict[str, str]:
    """Return each name as the model has it: with a prefix more, or less, if most of them fit then.

    Args:
        names, wanted: folded names, of the checkpoint and of the model.
    """
    changes = [{name: name for name in names}]
    for prefix in _prefixes(names):
        changes.append({name: name.removeprefix(prefix) for name in names})
    for prefix in _prefixes(wanted):
        changes.append({name: prefix + name if prefix + name in wanted else name for name in names})
    return max(changes, key=lambda change: sum(new in wanted for new in change.values()))


def _prefixes(names: Iterable[str]) -> set[str]:
    return {f"{name.partition('.')[0]}." for name in names if "." in name}


def as_loaded(names: Iterable[str], config: Mapping[str, Any], head: str) -> dict[str, str]:
    """Return, by the name in the checkpoint, the name that transformers gives the tensor when it loads it.

    Several names may become one: experts that are joined. A release whose loading works in another way leaves
    them as they are.

    Args:
        config: a config.json, complete.
        head: a name of `heads.HEADS`.
    """
    names = list(names)
    try:
        return _renamed_by_transformers(names, config, head)
    except Exception:  # not a public part of transformers: it may change with any release
        return {name: name for name in names}


def _renamed_by_transformers(names: list[str], config: Mapping[str, Any], head: str) -> dict[str, str]:
    from transformers.conversion_mapping import get_model_conversion_mapping
    from transformers.core_model_loading import WeightConverter, WeightRenaming, rename_source_key

    from llmkit.architectures.building import build
    from llmkit.architectures.heads import HEADS

    model = build(config, head if head in HEADS else None)
    changes = get_model_conversion_mapping(model)
    renamings = [change for change in changes if isinstance(change, WeightRenaming)]
    converters = [change for change in changes if isinstance(change, WeightConverter)]
    state = model.state_dict()
    return {
        name: rename_source_key(name, renamings, converters, model.base_model_prefix, state)[0]
        for name in names
    }
