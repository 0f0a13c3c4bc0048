"""The tensors that activations are multiplied by, as matrices: what goes in, what comes out, and how often."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from llmkit.architectures.counted import Tensor

_OUTPUT = re.compile(r"^(o|out|o_proj|out_proj|out_lin|c_proj|dense|proj|wo|attn_out|output)$")
_ATTENTION = re.compile(r"att", re.IGNORECASE)
_SHARED_EXPERTS = re.compile(r"\.shared_(experts?|mlp)$")


@dataclass(frozen=True, slots=True)
class Matrix:
    """A tensor that activations are multiplied by, and how often a token meets it in one forward pass."""

    tensor: Tensor
    inputs: int
    outputs: int
    times: float

    @property
    def is_stacked(self) -> bool:
        """Whether it is a set of experts in one tensor, each token's results being weighted and added."""
        return self.tensor.is_stacked_experts

    @property
    def module(self) -> str:
        """The name of the module that holds it."""
        return self.tensor.name.removesuffix(".weight")

    @property
    def parent(self) -> str:
        """The name of the module around that one."""
        return self.module.rpartition(".")[0]

    @property
    def block(self) -> str:
        """The module whose matrices read one input: shared experts read that of the router beside them."""
        return _SHARED_EXPERTS.sub("", self.parent)

    @property
    def is_attention(self) -> bool:
        """Whether it belongs to an attention."""
        return bool(_ATTENTION.search(self.parent))

    @property
    def is_attention_output(self) -> bool:
        """Whether it leads from the heads back to the residual stream."""
        return self.is_attention and bool(_OUTPUT.match(self.module.rpartition(".")[2]))


def matrix(tensor: Tensor, hidden_size: int) -> Matrix:
    """Return a multiplied tensor of two or more dimensions as a matrix.

    Args:
        hidden_size: of the residual stream it is in.
    """
    times, sizes = tensor.copies * tensor.uses * tensor.active, tensor.sizes
    if tensor.module_class == "Conv1D":
        return Matrix(tensor, sizes[0], sizes[1], times)
    if tensor.module_class.startswith("Conv") or len(sizes) > 3:
        # A convolution of each channel by itself has one input channel only, and reads all of them.
        return Matrix(tensor, sizes[0] if sizes[1] == 1 else sizes[1], sizes[0], times)
    if tensor.is_stacked_experts:
        # Experts in one tensor lie one way or the other: what leads back to the residual stream is named so.
        wide = sizes[1] if sizes[2] == hidden_size else sizes[2]
        leads_back = re.search(r"down|w2|output", tensor.name)
        inputs, outputs = (wide, hidden_size) if leads_back else (hidden_size, wide)
        return Matrix(tensor, inputs, outputs, times * sizes[0])
    return Matrix(tensor, sizes[-1], sizes[-2], times)


def feed_forward(matrices: Sequence[Matrix]) -> Iterator[tuple[Matrix, bool]]:
    """Go through the matrices that lead back from a feed-forward block, and whether the block is gated.

    What leads into a block comes before it among a module's parameters; a gated block is led into twice.
    """
    inside = [each for each in matrices if not each.is_attention]
    for index, down in enumerate(inside):
        ups = [
            each
            for each in inside[:index]
            if (each.inputs, each.times) == (down.outputs, down.times)
            and each.outputs in (down.inputs, 2 * down.inputs)
        ]
        near = [each for each in ups if each.parent == down.parent] or ups
        if near:
            yield down, sum(each.outputs for each in near) >= 2 * down.inputs
