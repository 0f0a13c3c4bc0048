"""The parts of a transformer's layer under the names of the paper, for each family that has its own names for them.

What differs between families: where the normalization stands (after the residual in BERT and BART, before the
attention in GPT-2, Llama and T5), which one it is (LayerNorm, Ba et al. 2016, https://arxiv.org/abs/1607.06450;
RMSNorm, Zhang and Sennrich 2019, https://arxiv.org/abs/1910.07467), and how positions get in: added (BERT, GPT-2,
BART), as rotations of queries and keys (Llama, ModernBERT; Su et al. 2021, https://arxiv.org/abs/2104.09864), as a bias
on the scores (T5; Raffel et al. 2019, https://arxiv.org/abs/1910.10683). Llama-like models may share a key and a value
among several queries (Ainslie et al. 2023, https://arxiv.org/abs/2305.13245).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class Linear:
    """A linear map x·W + b, with W (in, out)."""

    weight: Tensor
    bias: Tensor | None

    def __call__(self, x: Tensor) -> Tensor:
        """Return x·W + b for x (…, in)."""
        out = x @ self.weight
        return out if self.bias is None else out + self.bias

    def formula(self, x: str, name: str) -> str:
        """Return it as a formula of `x`, with the shape of its weights."""
        rows, columns = self.weight.shape
        return f"{x}·{name} {rows:,} × {columns:,}{'' if self.bias is None else ' + b'}"


@dataclass(frozen=True, slots=True)
class Norm:
    """A LayerNorm, or an RMSNorm where `is_centered` is False; either may have no weights of its own."""

    weight: Tensor | None
    bias: Tensor | None
    eps: float
    is_centered: bool

    def __call__(self, x: Tensor) -> Tensor:
        """Return x (…, size) normalized over its last axis."""
        centered = x - x.mean(-1, keepdim=True) if self.is_centered else x
        out = centered / (centered.pow(2).mean(-1, keepdim=True) + self.eps).sqrt()
        out = out if self.weight is None else out * self.weight
        return out if self.bias is None else out + self.bias

    @property
    def name(self) -> str:
        """What it is called."""
        return "LayerNorm" if self.is_centered else "RMSNorm"

    @property
    def formula(self) -> str:
        """Return it as a formula of x."""
        top = "(x − mean)" if self.is_centered else "x"
        under = "√(variance + ε)" if self.is_centered else "√(mean of x² + ε)"
        scaled = (
            f"{top} / {under}{'' if self.weight is None else ' · γ'}{'' if self.bias is None else ' + β'}"
        )
        return f"{scaled}, ε = {self.eps:g}"


@dataclass(frozen=True, slots=True)
class FeedForward:
    """The two layers after the attention: down(activation(up(x))), or down(activation(gate(x)) · up(x)).

    Attributes:
        norm: after the residual where the block's own is, else before `up`.
    """

    norm: Norm
    up: Linear
    gate: Linear | None
    down: Linear
    activation: Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class Block:
    """One layer's attention, and what follows it.

    Attributes:
        family: which it is like.
        query, key, value: (width, heads × head_size); key and value fewer columns where heads share them.
        heads: of queries.
        shared_heads: of keys and values.
        scaling: what the scores are multiplied with.
        query_norm, key_norm: over each head, before the rotation.
        norm: of the attention; None where there is none (the first layer of ModernBERT).
        bias: (heads, query, key), added to the scores; from the numbers of queries and keys.
        is_normed_after: the normalization stands after the residual.
        attention: the module that is given the mask, and where positions rotate their cosine and sine.
        entry: the module whose input is the residual.
        attended: the module, and whether its input or output is what the attention and the residual gave.
        feed_forward: None where something else follows, or something that these steps do not know.
    """

    family: str
    query: Linear
    key: Linear
    value: Linear
    output: Linear
    heads: int
    shared_heads: int
    scaling: float
    norm: Norm | None
    is_normed_after: bool
    attention: nn.Module
    entry: nn.Module
    attended: tuple[nn.Module, str]
    feed_forward: FeedForward | None
    query_norm: Norm | None = None
    key_norm: Norm | None = None
    bias: Callable[[int, int], Tensor] | None = None

    @property
    def head_size(self) -> int:
        """Numbers of a query or key."""
        return int(self.query.weight.shape[1]) // self.heads


def linear(module: Any) -> Linear:
    """Return a linear module, or one of GPT-2's transposed ones, as x·W + b."""
    is_transposed = type(module).__name__ == "Conv1D"
    weight = module.weight.detach()
    bias = getattr(module, "bias", None)
    return Linear(weight if is_transposed else weight.T, None if bias is None else bias.detach())


def parts_of(joined: Linear, count: int) -> tuple[Linear, ...]:
    """Return the equal parts of linear maps that a model keeps side by side in one: (width, count × size)."""
    weights = joined.weight.chunk(count, dim=1)
    biases = [None] * count if joined.bias is None else joined.bias.chunk(count)
    return tuple(Linear(weight, bias) for weight, bias in zip(weights, biases, strict=True))


def norm(module: Any) -> Norm:
    """Return a normalization of either kind."""
    from torch import nn

    bias = getattr(module, "bias", None)
    eps = module.eps if hasattr(module, "eps") else module.variance_epsilon
    return Norm(
        None if module.weight is None else module.weight.detach(),
        None if bias is None else bias.detach(),
        float(eps),
        isinstance(module, nn.LayerNorm),
    )
