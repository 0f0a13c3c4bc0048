"""The table: a row for each component of each part of the model, with its formula, that add up to the whole."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import prod

from llmkit.architectures import components
from llmkit.architectures.algebra import number
from llmkit.architectures.config_numbers import value_of
from llmkit.architectures.counted import Counted, Dimension, Tensor
from llmkit.architectures.parts import part_of, stage_of
from llmkit.architectures.terms import Term, collect, show_terms, term_of, value_of_terms
from llmkit.architectures.tree import Node as Node
from llmkit.architectures.tree import tree as tree

# One component of one part may have this many rows, of different numbers of layers; more are shown as one.
MOST_ROWS = 3
MOST_NAMES = 3


@dataclass(frozen=True, slots=True)
class Row:
    """A component of a part of the model.

    Attributes:
        component: its name, the part's before it where there are several: ``decoder attention``.
        part: of the model: ``encoder``, ``vision``, ``stage 2``; "" where there is only one.
        formula: of one layer, in the config's names: ``4 × (hidden_size × hidden_size + hidden_size)``.
        numbers: the same with numbers: ``4 × (1,024 × 1,024 + 1,024)``.
        per_layer: the value of both.
        layers: in how many layers it is, 1 outside of any; times `per_layer`, it is `total`.
        layers_formula: `layers` in the config's names: ``num_hidden_layers``.
        share: of the model's total, from 0 to 1.
        is_head: it belongs to the head, not to the bare model.
        note: what the numbers do not say: tied, used again, or met by some tokens only; "" for nothing.
    """

    component: str
    part: str
    formula: str
    numbers: str
    per_layer: int
    layers: int
    layers_formula: str
    total: int
    share: float
    is_head: bool
    note: str


def table_rows(counted: Counted) -> list[Row]:
    """Return the rows of the table, in the order of the model; their totals add up to the model's."""
    groups = _grouped(counted.tensors)
    rows = [_row(counted, title, group) for title, group in groups]
    parts = list(dict.fromkeys(title.part for title, _ in groups))
    placed = [
        (title.is_head, not title.part and not _is_early(title), parts.index(title.part), _place(title), at)
        for at, (title, _) in enumerate(groups)
    ]
    return [rows[place[-1]] for place in sorted(placed)]


# Rows within a part stand in this order; what is not named stands between the layers and the end.
_ORDER = (
    components.TOKEN_EMBEDDINGS,
    components.PATCH_EMBEDDING,
    components.LEARNED_TOKENS,
    components.POSITION_EMBEDDINGS,
    components.SEGMENT_EMBEDDINGS,
    components.OTHER_EMBEDDINGS,
    components.EMBEDDING_PROJECTION,
    components.EMBEDDING_NORM,
    components.CONVOLUTION,
    components.ATTENTION,
    components.CROSS_ATTENTION,
    components.RELATIVE_POSITIONS,
    components.STATE_SPACE,
    components.RECURRENT,
    components.FEED_FORWARD,
    components.ROUTER,
    components.EXPERTS,
    components.SHARED_EXPERTS,
    components.LAYER_NORMS,
    components.BATCH_NORMS,
    components.LAYER_SCALE,
    components.DOWNSAMPLING,
)
_LATE = (
    components.OTHER_NORMS,
    components.FINAL_NORM,
    components.POOLER,
    components.PROJECTION,
    components.PREDICTION_HEADS,
    components.CLASSIFIER,
    components.OUTPUT_LAYER,
)


@dataclass(frozen=True, slots=True)
class _Title:
    """What the tensors of a row have in common; `layers` None for tensors of different numbers of layers."""

    part: str
    component: str
    is_head: bool
    layers: Dimension | None


def _place(title: _Title) -> int:
    if title.component in _LATE:
        return len(_ORDER) + 1 + _LATE.index(title.component)
    return _ORDER.index(title.component) if title.component in _ORDER else len(_ORDER)


def _is_early(title: _Title) -> bool:
    """Whether a component that no part has for itself stands before the parts."""
    return _place(title) <= _ORDER.index(components.CONVOLUTION)


def _grouped(tensors: Sequence[Tensor]) -> list[tuple[_Title, list[Tensor]]]:
    """Group the tensors into rows, in the order of the model."""
    part, stage = part_of(tensors), stage_of(tensors)
    by_component: dict[tuple[str, str, bool], list[Tensor]] = defaultdict(list)
    for tensor in tensors:
        where = " ".join(filter(None, (part(tensor), stage(tensor))))
        by_component[where, tensor.component or "other", tensor.is_head].append(tensor)
    groups = []
    for (where, component, is_head), members in by_component.items():
        by_layers: dict[Dimension, list[Tensor]] = defaultdict(list)
        for tensor in members:
            by_layers[_layers(tensor)].append(tensor)
        # The blocks of one stage are rarely all alike: a row a stage says more than a row a block.
        if len(by_layers) > (1 if "stage" in where else MOST_ROWS):
            groups.append((_Title(where, component, is_head, None), members))
        else:
            groups += [
                (_Title(where, component, is_head, layers), same) for layers, same in by_layers.items()
            ]
    return groups


_ONE = Dimension(1, "1")


def _layers(tensor: Tensor) -> Dimension:
    return tensor.repeats[0] if tensor.repeats else _ONE


def _row(counted: Counted, title: _Title, tensors: Sequence[Tensor]) -> Row:
    layers = title.layers or _ONE
    within = [_inner(tensor, title) for tensor in tensors]
    per_layer = sum(
        tensor.each * prod(dimension.size for dimension in inner)
        for tensor, inner in zip(tensors, within, strict=True)
    )
    terms = collect(
        _term([*inner, *_shown_shape(tensor)]) for tensor, inner in zip(tensors, within, strict=True)
    )

    def known(name: str) -> int | float:
        return value_of(counted.config, name)

    formula = show_terms(terms)
    numbers = show_terms(terms, lambda name: number(known(name)))
    if not _holds(terms, known, per_layer):
        formula = numbers = f"{per_layer:,}"
    return Row(
        component=" ".join(filter(None, (title.part, title.component))),
        part=title.part,
        formula=formula,
        numbers=numbers,
        per_layer=per_layer,
        layers=layers.size,
        layers_formula=layers.formula,
        total=per_layer * layers.size,
        share=per_layer * layers.size / counted.total if counted.total else 0.0,
        is_head=title.is_head,
        note="; ".join(dict.fromkeys(_notes(tensors))),
    )


def _inner(tensor: Tensor, title: _Title) -> list[Dimension]:
    """Return what a tensor's copies run over within a layer: its experts, or all where layers are not apart."""
    inner = tensor.repeats if title.layers is None else tensor.repeats[1:]
    return [dimension for dimension in inner if dimension.size > 1]


def _term(dimensions: Sequence[Dimension]) -> Term:
    try:
        return term_of(dimension.formula for dimension in dimensions)
    except ValueError:
        return term_of(number(dimension.size) for dimension in dimensions)


def _shown_shape(tensor: Tensor) -> tuple[Dimension, ...]:
    """Return the dimensions as a slide has them: what goes in before what comes out."""
    is_matrix = len(tensor.shape) == 2 and "Linear" in tensor.module_class
    return tensor.shape[::-1] if is_matrix else tensor.shape


def _holds(terms: Sequence[Term], known: Callable[[str], int | float], value: int) -> bool:
    try:
        return value_of_terms(terms, known) == value
    except (KeyError, ZeroDivisionError):
        return False


def _notes(tensors: Sequence[Tensor]) -> Iterator[str]:
    for tensor in tensors:
        if tensor.active < 1:
            experts = tensor.shape[0].size if len(tensor.shape) > 2 else tensor.repeats[-1].size
            yield f"a token meets {round(tensor.active * experts):,} of {experts:,} experts"
        if tensor.uses > 1 and tensor.stack:
            yield f"one set of weights, used {tensor.uses:,} times"
        if tensor.tied:
            names = [each.removesuffix(".weight") for each in tensor.tied]
            more = [f"{len(names) - MOST_NAMES} more"] if len(names) > MOST_NAMES else []
            yield f"tied with {', '.join([*names[-MOST_NAMES:], *more])}"
