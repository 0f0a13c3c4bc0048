"""One token's way through one layer, computed from the layer's own weights."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from llmkit.insight.blocks import Block, FeedForward
from llmkit.insight.embedding_steps import Embedded
from llmkit.insight.steps import Step, step
from llmkit.insight.watching import Watched

if TYPE_CHECKING:
    from torch import Tensor


class Calculation:
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

    def all_steps(self) -> list[Step]:
        """Go through all steps: what the layer begins with, the attention, what follows it."""
        import torch

        with torch.no_grad():
            return list(self._steps())

    def _steps(self) -> Iterator[Step]:
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

    def _entry(self) -> Iterator[Step]:
        place, x = self.position, self.entry
        if self.is_cross:
            yield step("x", "what self-attention of this layer gave", x, x[place])
            return
        if self.index:
            yield step("x", f"output of layer {self.index}", x, x[place])
            return
        embedded = Embedded(self.seen, place, len(x))
        yield from embedded.steps()
        if embedded.result is not None:
            is_as_wide = embedded.result.shape == x[place].shape
            self.off_at_entry = float((embedded.result - x[place]).abs().max()) if is_as_wide else math.inf

    def _attention(self) -> Iterator[Step]:
        block, place, head = self.block, self.position, self.head
        x, z = self.entry, "x"
        if block.norm is not None and not block.is_normed_after:
            x, z = block.norm(x), "z"
            yield step(f"z = {block.norm.name}", block.norm.formula, x, x[place])
        source, of_keys = (self.seen.memory, "encoder") if self.is_cross else (x, z)
        assert source is not None
        q = self._heads(block.query(x), block.heads)
        k = self._heads(block.key(source), block.shared_heads)
        v = self._heads(block.value(source), block.shared_heads)
        own = head // (block.heads // block.shared_heads)
        # A token of a decoder has no key in the encoder: the first that is there is shown.
        key_row, whose = (0, "; here of the first token") if self.is_cross else (place, "")
        whose = self._sharing() + whose
        yield step("Q", block.query.formula(z, "W_Q"), q, q[head, place])
        yield step("K", block.key.formula(of_keys, "W_K") + whose, k, k[own, key_row])
        yield step("V", block.value.formula(of_keys, "W_V") + whose, v, v[own, key_row])
        for name, each in (("Q", block.query_norm), ("K", block.key_norm)):
            if each is not None:
                q, k = (each(q), k) if name == "Q" else (q, each(k))
                row = q[head, place] if name == "Q" else k[own, key_row]
                yield step(f"{name} {each.name}", each.formula, q if name == "Q" else k, row)
        if self.seen.rotation is not None:
            q, k = (_rotated(each, *self.seen.rotation) for each in (q, k))
            rule = f"{{}}·cos(θ·{place}) + rotate({{}})·sin(θ·{place})"
            yield step("Q rotated", rule.format("Q", "Q"), q, q[head, place])
            yield step("K rotated", rule.format("K", "K"), k, k[own, key_row])
        k, v = (each.repeat_interleave(block.heads // block.shared_heads, 0) for each in (k, v))
        yield from self._weights(q[:, place], k, v)

    def _weights(self, q: Tensor, k: Tensor, v: Tensor) -> Iterator[Step]:
        """Go on with one query (heads, size) and all keys and values (heads, key, size)."""
        block, place, head = self.block, self.position, self.head
        queries, keys = len(self.entry), k.shape[1]
        shape = (block.heads, queries, keys)
        scores = (k @ q[:, :, None])[:, :, 0]
        yield step("scores", "Q·Kᵀ", shape, scores[head])
        scores = scores * block.scaling
        yield step("scaled", _scaling_rule(block), shape, scores[head])
        if block.bias is not None:
            bias = block.bias(queries, keys)[:, place]
            scores = scores + bias
            yield step("+ position bias", "a number for each distance and head", shape, bias[head])
        if self.seen.mask is not None:
            mask = self.seen.mask[min(place, len(self.seen.mask) - 1)]
            hidden = int((mask < -1e30).sum()) if mask.dtype.is_floating_point else int((~mask).sum())
            scores = (
                scores + mask if mask.dtype.is_floating_point else scores.masked_fill(~mask, float("-inf"))
            )
            shown = scores[head].masked_fill(scores[head] < -1e30, float("-inf"))
            yield step("+ mask", f"−∞ for {hidden} of {keys} keys", shape, shown)
        else:
            yield step("+ mask", "none: every key is seen", shape, scores[head])
        weights = scores.softmax(-1)
        rule = f"exp(s) / Σ exp(s); they sum to {float(weights[head].sum()):.3f}"
        yield step("softmax", rule, shape, weights[head])
        context = (weights[:, None] @ v)[:, 0]
        yield step("· V", "weights·V", (block.heads, queries, block.head_size), context[head])
        joined = context.flatten()
        rule = f"{block.heads} heads of {block.head_size} side by side"
        yield step("concatenated", rule, (queries, len(joined)), joined)
        out = block.output(joined)
        yield step("projected", block.output.formula("heads", "W_O"), (queries, len(out)), out)
        self.result = out

    def _after_attention(self) -> Iterator[Step]:
        self.result = self.result + self.entry[self.position]
        yield step("+ residual", "x + projected", self.entry, self.result)
        if self.block.norm is not None and self.block.is_normed_after:
            self.result = self.block.norm(self.result)
            yield step(self.block.norm.name, self.block.norm.formula, self.entry, self.result)

    def _feed_forward(self, part: FeedForward) -> Iterator[Step]:
        y, queries = self.result, len(self.entry)
        x, name = y, "y"
        if not self.block.is_normed_after:
            x, name = part.norm(y), "n"
            yield step(f"n = {part.norm.name}", part.norm.formula, self.entry, x)
        up = part.up(x)
        wide = (queries, len(up))
        yield step("up", part.up.formula(name, "W_1"), wide, up)
        if part.gate is not None:
            gate = part.gate(x)
            yield step("gate", part.gate.formula(name, "W_G"), wide, gate)
            inner = part.activation(gate) * up
            yield step("activation", f"{_activation(part)}(gate) × up", wide, inner)
        else:
            inner = part.activation(up)
            yield step("activation", f"{_activation(part)}(up)", wide, inner)
        down = part.down(inner)
        yield step("down", part.down.formula("activation", "W_2"), self.entry, down)
        self.result = y + down
        yield step("+ residual", "y + down", self.entry, self.result)
        if self.block.is_normed_after:
            self.result = part.norm(self.result)
            yield step(part.norm.name, part.norm.formula, self.entry, self.result)
        self.whole = True

    def _heads(self, x: Tensor, heads: int) -> Tensor:
        """Return (sequence, heads × size) as (heads, sequence, size)."""
        return x.view(len(x), heads, -1).transpose(0, 1)

    def _sharing(self) -> str:
        each = self.block.heads // self.block.shared_heads
        return "" if each == 1 else f"; a head for {each} of Q"


def _rotated(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Rotate pairs of numbers of (heads, sequence, size) by an angle that grows with the position.

    Where the angles are for fewer numbers (StableLM), the others stay as they are.
    """
    import torch

    size = cosine.shape[-1]
    x, rest = x[..., :size], x[..., size:]
    half = size // 2
    turned = torch.cat((-x[..., half:], x[..., :half]), -1)
    return torch.cat((x * cosine + turned * sine, rest), -1)


def _scaling_rule(block: Block) -> str:
    if block.scaling == 1.0:
        return "as they are: T5 does not divide" if block.family == "T5" else "as they are"
    if abs(block.scaling - block.head_size**-0.5) < 1e-9:
        return f"÷ √{block.head_size}"
    return f"× {block.scaling:.6g}"


def _activation(part: FeedForward) -> str:
    named = type(part.activation).__name__
    return getattr(part.activation, "__name__", named.removesuffix("Activation"))
