"""One token's attention step by step, recomputed from a model's weights and held against the model's own output.

The formula is softmax(Q·Kᵀ/√d)·V (Vaswani et al. 2017, https://arxiv.org/abs/1706.03762), with what each family adds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmkit.data.numerals import whole_number
from llmkit.errors import ModelError, UsageError
from llmkit.insight.attention import CROSS, DECODER, ENCODER, chosen, computing, is_causal_model, model_inputs
from llmkit.insight.calculation import Calculation
from llmkit.insight.families import known_families, layers_of, read_block
from llmkit.insight.prepared import PreparedText, Side, side_of
from llmkit.insight.steps import Step
from llmkit.insight.watching import watched

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel

TOLERANCE = 1e-5


@dataclass(frozen=True, slots=True)
class Explanation:
    """All steps of one token in one layer.

    Attributes:
        kind: encoder, decoder or cross.
        layer, head: from 1.
        position: of the token, from 0.
        checked: what the last line was held against.
        difference: the largest difference of it from the model's own output.
        largest: the largest number in that output.
    """

    family: str
    kind: str
    layer: int
    head: int
    position: int
    queries: Side
    keys: Side
    steps: list[Step]
    checked: str
    difference: float
    largest: float

    @property
    def tolerance(self) -> float:
        """How far apart the two may be: 1e-5, or that share of the largest number where it is above 1."""
        return TOLERANCE * max(1.0, self.largest)


@dataclass(frozen=True, slots=True)
class Where:
    """Which token is explained, where.

    Attributes:
        token: as it is written, or #5 for the fifth.
        kind: encoder, decoder, cross; None for the first that the model has.
        layer, head: as named.
    """

    token: str
    kind: str | None
    layer: str
    head: str


def explain(
    model: PreTrainedModel, tokenizer: Any, prepared: PreparedText, where: Where, name: str
) -> Explanation:
    """Recompute one token's way through one layer.

    Raises:
        UsageError: there is no such token, layer, head or kind of attention.
        ModelError: the model's layers are of a family that is not known here, or what was computed is not what the
            model gives.
    """
    kind, stack = _stack(model, where.kind, name)
    layers = layers_of(stack, model.config)
    if layers is None:
        raise _unknown_family(model, name)
    (index,) = _one(where.layer, len(layers), "layer", name)
    try:
        block = read_block(layers, index, is_cross=kind == CROSS)
    except AttributeError as error:  # built like a family but for a part of it (MobileBERT)
        raise _unknown_family(model, name) from error
    if block.output.weight.shape[0] != block.heads * block.head_size:
        raise _unknown_family(model, name)
    (head,) = _one(where.head, block.heads, "head", name)
    with computing(model, name):
        arguments = model_inputs(model, prepared)
    text = prepared.side
    decoder = (
        side_of(tokenizer, arguments["decoder_input_ids"][0].tolist())
        if "decoder_input_ids" in arguments
        else text
    )
    queries, keys = (text if kind == ENCODER else decoder), (decoder if kind == DECODER else text)
    position = find_token(where.token, queries)
    with computing(model, name), watched(stack, layers.modules[index], block, layers.call_of(index)) as seen:
        model(**arguments)
    if seen.entry is None or seen.attended is None:  # not gone through: a decoder's layer without its encoder
        raise _unknown_family(model, name)
    calculation = Calculation(block, seen, index, head, position, is_cross=kind == CROSS)
    steps = calculation.all_steps()
    checked, difference, largest = calculation.check()
    found = Explanation(
        block.family, kind, index + 1, head + 1, position, queries, keys, steps, checked, difference, largest
    )
    if not difference <= found.tolerance:
        raise ModelError(
            f"{name} (model type '{model.config.model_type}') does something in layer {index + 1} that these steps do "
            f"not have: they give another output, by up to {difference:.2g}.",
            hint="The weights themselves are right: leave out --explain.",
        )
    return found


def _stack(model: PreTrainedModel, kind: str | None, name: str) -> tuple[str, nn.Module]:
    """Return the kind of attention and the part of the model that has it."""
    if not getattr(model.config, "is_encoder_decoder", False):
        with computing(model, name):
            own = DECODER if is_causal_model(model) else ENCODER
        if kind not in (None, own):
            raise UsageError(f"--which {kind}: {name} has only {own} attention.")
        return own, model
    kind = kind or ENCODER
    found: nn.Module = model.get_encoder() if kind == ENCODER else model.get_decoder()
    return kind, found


def _one(named: str, count: int, what: str, model: str) -> tuple[int, ...]:
    places = chosen(named, range(1, count + 1), what, model)
    if len(places) != 1:
        raise UsageError(f"--{what} {named}: --explain is of one {what}.")
    return places


def _unknown_family(model: PreTrainedModel, name: str) -> ModelError:
    return ModelError(
        f"{name} (model type '{model.config.model_type}'): --explain knows layers like those of "
        f"{known_families()}, and these are others.",
        hint="Without --explain its weights are shown, where it has any.",
    )


def find_token(named: str, side: Side) -> int:
    """Return where a token is: by its spelling, the first of several, or by its number, #5.

    Raises:
        UsageError: it is not there.
    """
    number = whole_number(named[1:]) if named.startswith("#") else None
    if number is not None and 1 <= number <= len(side):
        return number - 1
    spellings = (
        lambda number: named in (side.tokens[number], side.labels[number]),
        lambda number: _bare(side.labels[number]) == named.strip(),
        lambda number: _bare(side.labels[number]).lower() == named.strip().lower(),
    )
    for fits in spellings:
        for number in range(len(side)):
            if fits(number):
                return number
    raise UsageError(
        f"--explain {named}: no such token is there.",
        hint="There are: " + " ".join(f"#{number} {label}" for number, label in enumerate(side.labels, 1)),
    )


def _bare(label: str) -> str:
    return label.removeprefix("##").strip("␣▁")
