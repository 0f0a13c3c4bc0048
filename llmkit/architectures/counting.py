"""Counting: from a config.json to every tensor of the model, folded, and the facts that costs follow from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from llmkit.architectures.building import build_class, configure, find_class
from llmkit.architectures.counted import Counted
from llmkit.architectures.folding import fold_buffers, fold_parameters
from llmkit.architectures.heads import (
    CHECKPOINT_HEAD,
    NO_HEAD,
    default_head,
    heads_of,
    name_of_head,
    usual_head,
)
from llmkit.architectures.kinds import kind_of
from llmkit.architectures.places import Place, places
from llmkit.architectures.sharing import describe_sharing
from llmkit.architectures.stacks import context_of, stacks_of, vocabulary_of
from llmkit.errors import UsageError

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel


def count_architecture(
    values: Mapping[str, Any], head: str | None = None, *, formulas: bool = True
) -> Counted:
    """Count what a config.json describes, without weights.

    Args:
        values: the config.json; its `model_type` says the architecture.
        head: a name of `heads.HEADS`, ``checkpoint`` for the class its `architectures` name, or None for
            the model as its paper counts it.
        formulas: work out the formula of each dimension; without, each is its number.

    Raises:
        UsageError: the config is not one that a model can have, the type has no such head, or
            transformers cannot build it.
    """
    config = configure(values)
    head = head or default_head(config)
    built = find_class(config, head)
    head = name_of_head(config, built) if head == CHECKPOINT_HEAD else head
    counted = count_model(build_class(built, config), config, head=head)
    if formulas:
        from llmkit.architectures.formulas import explain

        def rebuild(changed: PreTrainedConfig) -> tuple[Any, ...]:
            return fold_parameters(build_class(built, changed))

        counted = replace(counted, tensors=explain(counted.tensors, config, rebuild))
    usual, adds = _usual(config, head, counted.total)
    return replace(counted, usual_head=usual, usual_head_adds=adds)


def count_model(model: PreTrainedModel, config: PreTrainedConfig, *, head: str) -> Counted:
    """Count a model that is built: its unique parameters and its buffers, folded over its layers.

    Args:
        config: what the model was made of; the model's own may have been changed while it was built.
        head: the name of its head.
    """
    tensors = fold_parameters(model, is_head=_head_test(model, config, head))
    stacks = stacks_of(model, config)
    return Counted(
        model_type=str(config.model_type),
        model_class=type(model).__name__,
        kind=kind_of(model, config, stacks),
        head=head,
        tensors=tensors,
        buffers=fold_buffers(model),
        stacks=stacks,
        config=_plain(config.to_dict()),
        context=context_of(model, config),
        vocabulary=vocabulary_of(config),
        shared_layers=describe_sharing(tensors),
    )


def _head_test(model: PreTrainedModel, config: PreTrainedConfig, head: str) -> Callable[[Place], bool]:
    """Return what tells the head's parameters: those that the bare model inside, or beside, does not have."""
    if head == NO_HEAD or NO_HEAD not in heads_of(config):
        return lambda place: False
    bare = model.base_model
    if bare is not model:
        inside = {id(parameter) for parameter in bare.parameters()}
        return lambda place: id(place.tensor) not in inside
    try:
        beside = build_class(find_class(config, NO_HEAD), config)
    except UsageError:
        return lambda place: False
    names = {place.name for place in places(beside)}
    return lambda place: place.name not in names


def _usual(config: PreTrainedConfig, head: str, total: int) -> tuple[str | None, int | None]:
    """Return the head that this type usually has and what it adds to the bare model; None where it is this one."""
    usual = usual_head(config) if NO_HEAD in heads_of(config) else None
    if usual is None or usual == head:
        return None, None
    try:
        bare = total if head == NO_HEAD else _total(config, NO_HEAD)
        return usual, _total(config, usual) - bare
    except UsageError:
        return None, None


def _total(config: PreTrainedConfig, head: str) -> int:
    model = build_class(find_class(config, head), config)
    return sum(parameter.numel() for parameter in model.parameters())


def _plain(value: Any) -> Any:
    """Return a config's values as JSON has them: what JSON cannot say is written as text."""
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(each) for each in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value).removeprefix("torch.")
