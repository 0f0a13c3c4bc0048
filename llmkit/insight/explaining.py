"""One token's attention step by step, recomputed from a model's weights and held against the model's own output.

The formula is softmax(Q·Kᵀ/√d)·V (Vaswani et al. 2017, https://arxiv.org/abs/1706.03762), with what each family adds.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmkit.errors import ModelError, UsageError
from llmkit.insight.attention import CROSS, DECODER, ENCODER, chosen, is_causal_model, model_inputs
from llmkit.insight.blocks import Block, FeedForward, layers_of, linear, norm, read_block
from llmkit.insight.prepared import PreparedText, Side, side_of
from llmkit.insight.watching import Looked, Watched, watched

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import PreTrainedModel

TOLERANCE = 1e-5


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the calculation.

    Attributes:
        formula: what is computed, of what, with the shapes of the weights.
        shape: of the whole result.
        values: the row of the token that is explained, of the head that is shown.
    """

    name: str
    formula: str
    shape: tuple[int, ...]
    values: list[float]


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
    import torch

    kind, stack = _stack(model, where.kind, name)
    layers = layers_of(stack)
    if layers is None:
        raise _unknown_family(model, name)
    (index,) = _one(where.layer, len(layers), "layer", name)
    block = read_block(layers, index, is_cross=kind == CROSS)
    if block.output.weight.shape[0] != block.heads * block.head_size:
        raise _unknown_family(model, name)
    (head,) = _one(where.head, block.heads, "head", name)
    arguments = model_inputs(model, prepared)
    text = prepared.side
    decoder = (
        side_of(tokenizer, arguments["decoder_input_ids"][0].tolist())
        if "decoder_input_ids" in arguments
        else text
    )
    queries, keys = (text if kind == ENCODER else decoder), (decoder if kind == DECODER else text)
    position = find_token(where.token, queries)
    with torch.no_grad(), watched(stack, layers[index], block) as seen:
        model(**arguments)
    with torch.no_grad():
        calculation = _Calculation(block, seen, index, head, position, is_cross=kind == CROSS)
        steps = list(calculation.steps())
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
        f"{name} (model type '{model.config.model_type}'): --explain knows layers like those of BERT, GPT-2, Llama "
        "and T5, and these are others.",
        hint="The weights can be seen all the same: leave out --explain.",
    )


def find_token(named: str, side: Side) -> int:
    """Return where a token is: by its spelling, the first of several, or by its number, #5.

    Raises:
        UsageError: it is not there.
    """
    if named.startswith("#") and named[1:].isdecimal() and 1 <= int(named[1:]) <= len(side):
        return int(named[1:]) - 1
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


class _Calculation:
    """The steps of one token, each kept for the next."""

    def __init__(
        self, block: Block, seen: Watched, index: int, head: int, position: int, *, is_cross: bool
    ) -> None:
        assert seen.entry is not None
        self.block, self.seen = block, seen
        self.index, self.head, self.position, self.is_cross = index, head, position, is_cross
        self.entry: Tensor = seen.entry
        self.result: Tensor = self.entry[position]
        self.whole = False
        self.off_at_entry = 0.0

    def steps(self) -> Iterator[Step]:
        yield from self._entry()
        yield from self._attention()
        yield from self._after_attention()
        if self.block.feed_forward is not None:
            yield from self._feed_forward(self.block.feed_forward)

    def check(self) -> tuple[str, float, float]:
        """Hold the last line, and the sum of the embeddings, against what the model's own modules gave."""
        own = self.seen.layer if self.whole else self.seen.attended
        assert own is not None
        what = f"output of layer {self.index + 1}" if self.whole else f"attention of layer {self.index + 1}"
        row = own[self.position]
        off = float((row - self.result).abs().max())
        return what, max(off, self.off_at_entry), float(row.abs().max())

    def _step(self, name: str, formula: str, whole: Tensor | Sequence[int], row: Tensor) -> Step:
        shape = tuple(whole.shape) if hasattr(whole, "shape") else tuple(whole)
        return Step(name, formula, shape, [float(each) for each in row.flatten().tolist()])

    def _entry(self) -> Iterator[Step]:
        place, x = self.position, self.entry
        if self.is_cross:
            yield self._step("x", "what self-attention of this layer gave", x, x[place])
            return
        if self.index:
            yield self._step("x", f"output of layer {self.index}", x, x[place])
            return
        total = None
        names = []
        for looked in self.seen.embeddings:
            number = int(looked.ids[place] if looked.ids.numel() > 1 or place == 0 else looked.ids[0])
            row, name = looked.table[number], _name_of_table(looked)
            rows, width = looked.table.shape
            names.append(name)
            total = row if total is None else total + row
            yield self._step(f"{name} embedding", f"row {number:,} of {rows:,} × {width:,}", row, row)
        if total is None:
            return
        if len(names) > 1:
            yield self._step("sum", " + ".join(names), total, total)
        if self.seen.embedding_norm is not None:
            after = norm(self.seen.embedding_norm)
            total = after(total)
            yield self._step(f"x = {after.name}", after.formula, (len(x), len(total)), total)
        if self.seen.embedding_projection is not None:
            wider = linear(self.seen.embedding_projection)
            total = wider(total)
            yield self._step("x projected", wider.formula("x", "W_E"), x, total)
        is_as_wide = total.shape == x[place].shape
        self.off_at_entry = float((total - x[place]).abs().max()) if is_as_wide else math.inf

    def _attention(self) -> Iterator[Step]:
        block, place, head = self.block, self.position, self.head
        x, z = self.entry, "x"
        if not block.is_normed_after:
            x, z = block.norm(x), "z"
            yield self._step(f"z = {block.norm.name}", block.norm.formula, x, x[place])
        source, of_keys = (self.seen.memory, "encoder") if self.is_cross else (x, z)
        assert source is not None
        q = self._heads(block.query(x), block.heads)
        k = self._heads(block.key(source), block.shared_heads)
        v = self._heads(block.value(source), block.shared_heads)
        own = head // (block.heads // block.shared_heads)
        key_row = 0 if self.is_cross else place
        yield self._step("Q", block.query.formula(z, "W_Q"), q, q[head, place])
        yield self._step("K", block.key.formula(of_keys, "W_K") + self._sharing(), k, k[own, key_row])
        yield self._step("V", block.value.formula(of_keys, "W_V") + self._sharing(), v, v[own, key_row])
        for name, each in (("Q", block.query_norm), ("K", block.key_norm)):
            if each is not None:
                q, k = (each(q), k) if name == "Q" else (q, each(k))
                row = q[head, place] if name == "Q" else k[own, key_row]
                yield self._step(f"{name} {each.name}", each.formula, q if name == "Q" else k, row)
        if self.seen.rotation is not None:
            q, k = (_rotated(each, *self.seen.rotation) for each in (q, k))
            rule = f"{{}}·cos(θ·{place}) + rotate({{}})·sin(θ·{place})"
            yield self._step("Q rotated", rule.format("Q", "Q"), q, q[head, place])
            yield self._step("K rotated", rule.format("K", "K"), k, k[own, key_row])
        k, v = (each.repeat_interleave(block.heads // block.shared_heads, 0) for each in (k, v))
        yield from self._weights(q[:, place], k, v)

    def _weights(self, q: Tensor, k: Tensor, v: Tensor) -> Iterator[Step]:
        """Go on with one query (heads, size) and all keys and values (heads, key, size)."""
        block, place, head = self.block, self.position, self.head
        queries, keys = len(self.entry), k.shape[1]
        shape = (block.heads, queries, keys)
        scores = (k @ q[:, :, None])[:, :, 0]
        yield self._step("scores", "Q·Kᵀ", shape, scores[head])
        scores = scores * block.scaling
        yield self._step("scaled", _scaling_rule(block), shape, scores[head])
        if block.bias is not None:
            bias = block.bias(queries, keys)[:, place]
            scores = scores + bias
            yield self._step("+ position bias", "a number for each distance and head", shape, bias[head])
        if self.seen.mask is not None:
            mask = self.seen.mask[min(place, len(self.seen.mask) - 1)]
            hidden = int((mask < -1e30).sum()) if mask.dtype.is_floating_point else int((~mask).sum())
            scores = (
                scores + mask if mask.dtype.is_floating_point else scores.masked_fill(~mask, float("-inf"))
            )
            shown = scores[head].masked_fill(scores[head] < -1e30, float("-inf"))
            yield self._step("+ mask", f"−∞ for {hidden} of {keys} keys", shape, shown)
        else:
            yield self._step("+ mask", "none: every key is seen", shape, scores[head])
        weights = scores.softmax(-1)
        rule = f"exp(s) / Σ exp(s); they sum to {float(weights[head].sum()):.3f}"
        yield self._step("softmax", rule, shape, weights[head])
        context = (weights[:, None] @ v)[:, 0]
        yield self._step("· V", "weights·V", (block.heads, queries, block.head_size), context[head])
        joined = context.flatten()
        rule = f"{block.heads} heads of {block.head_size} side by side"
        yield self._step("concatenated", rule, (queries, len(joined)), joined)
        out = block.output(joined)
        yield self._step("projected", block.output.formula("heads", "W_O"), (queries, len(out)), out)
        self.result = out

    def _after_attention(self) -> Iterator[Step]:
        self.result = self.result + self.entry[self.position]
        yield self._step("+ residual", "x + projected", self.entry, self.result)
        if self.block.is_normed_after:
            self.result = self.block.norm(self.result)
            yield self._step(self.block.norm.name, self.block.norm.formula, self.entry, self.result)

    def _feed_forward(self, part: FeedForward) -> Iterator[Step]:
        y, queries = self.result, len(self.entry)
        x, name = y, "y"
        if not self.block.is_normed_after:
            x, name = part.norm(y), "n"
            yield self._step(f"n = {part.norm.name}", part.norm.formula, self.entry, x)
        up = part.up(x)
        wide = (queries, len(up))
        yield self._step("up", part.up.formula(name, "W_1"), wide, up)
        if part.gate is not None:
            gate = part.gate(x)
            yield self._step("gate", part.gate.formula(name, "W_G"), wide, gate)
            inner = part.activation(gate) * up
            yield self._step("activation", f"{_activation(part)}(gate) × up", wide, inner)
        else:
            inner = part.activation(up)
            yield self._step("activation", f"{_activation(part)}(up)", wide, inner)
        down = part.down(inner)
        yield self._step("down", part.down.formula("activation", "W_2"), self.entry, down)
        self.result = y + down
        yield self._step("+ residual", "y + down", self.entry, self.result)
        if self.block.is_normed_after:
            self.result = part.norm(self.result)
            yield self._step(part.norm.name, part.norm.formula, self.entry, self.result)
        self.whole = True

    def _heads(self, x: Tensor, heads: int) -> Tensor:
        """Return (sequence, heads × size) as (heads, sequence, size)."""
        return x.view(len(x), heads, -1).transpose(0, 1)

    def _sharing(self) -> str:
        each = self.block.heads // self.block.shared_heads
        return "" if each == 1 else f"; a head for {each} of Q"


def _rotated(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Rotate each pair of numbers of (heads, sequence, size) by an angle that grows with the position."""
    import torch

    half = x.shape[-1] // 2
    turned = torch.cat((-x[..., half:], x[..., :half]), -1)
    return x * cosine + turned * sine


def _scaling_rule(block: Block) -> str:
    if block.scaling == 1.0:
        return "as they are: T5 does not divide" if block.family == "T5" else "as they are"
    if abs(block.scaling - block.head_size**-0.5) < 1e-9:
        return f"÷ √{block.head_size}"
    return f"× {block.scaling:.6g}"


def _activation(part: FeedForward) -> str:
    named = type(part.activation).__name__
    return getattr(part.activation, "__name__", named.removesuffix("Activation"))


def _name_of_table(looked: Looked) -> str:
    name = looked.name.lower()
    if "position" in name or name == "wpe":
        return "position"
    return "segment" if "type" in name or "segment" in name else "token"
