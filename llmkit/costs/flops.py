"""The FLOPs of a training run, from a count: 6·N·D, with attention, with LoRA, and with what is computed again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from llmkit.architectures.compute import attention_flops, layer_flops
from llmkit.architectures.count import ModelCount
from llmkit.architectures.counted import Counted
from llmkit.architectures.streams import streams
from llmkit.errors import UsageError
from llmkit.figures import Figure, Span, figure
from llmkit.units import Amount

Recompute = Literal["none", "selective", "full"]
SIX_SOURCE = "Kaplan et al. 2020, arXiv 2001.08361, section 2.1"
ATTENTION_SOURCE = "Chowdhery et al. 2022 (PaLM), arXiv 2204.02311, appendix B"
RECOMPUTE_SOURCE = "Korthikanti et al. 2022, arXiv 2205.05198, section 5"
HALF_SOURCE = (
    "Brown et al. 2020 (GPT-3), arXiv 2005.14165, appendix D: a token meets the encoder or the decoder"
)
LORA_SOURCE = (
    "Kaplan et al. 2020, arXiv 2001.08361, section 2.1, without the gradients of frozen matrices; "
    "Hu et al. 2021, arXiv 2106.09685, section 4"
)
_TEXT_KINDS = ("encoder-only", "decoder-only", "encoder-decoder")
MOST_ASSUMED_LENGTH = 8192


@dataclass(frozen=True, slots=True)
class TokenFlops:
    """What one token of training takes.

    Attributes:
        met: parameters that a token meets: the experts that it is sent to, a shared layer as often as it is run.
        model: FLOPs of the model itself by 6·N, or 4·N + 6·adapters; `attention` what attention adds.
        again: FLOPs of what is computed a second time to save memory.
        sequence_length: tokens that attention looks at.
    """

    met: float
    adapters: int
    model: float
    attention: float
    again: float
    sequence_length: int
    recompute: Recompute
    is_halved: bool

    @property
    def with_attention(self) -> float:
        """FLOPs of the model itself, attention included."""
        return self.model + self.attention

    @property
    def computed(self) -> float:
        """FLOPs that the hardware does."""
        return self.with_attention + self.again


def check_text(counted: Counted, label: str) -> None:
    """Refuse a model whose training is not counted in tokens of text.

    Raises:
        UsageError: it is one of images, sound, or several.
    """
    if counted.kind not in _TEXT_KINDS:
        raise UsageError(
            f"{label} is a model of another kind ({counted.kind}): its training is not counted in tokens of text.",
            hint=f"`llmkit params {label}` has the FLOPs of one input.",
        )


def token_flops(count: ModelCount, sequence_length: int | None, recompute: Recompute = "none") -> TokenFlops:
    """Return what a token of training takes.

    Args:
        sequence_length: None for what the model takes, `MOST_ASSUMED_LENGTH` at most.

    Raises:
        UsageError: the model is none of text, or it is trained on fewer tokens at once.
    """
    counted = count.counted
    check_text(counted, count.label)
    length = sequence_length or min(counted.context or MOST_ASSUMED_LENGTH, MOST_ASSUMED_LENGTH)
    kinds = max(1, len(streams(counted)))  # source and target tokens are two
    met = sum(each.total * each.active * each.uses for each in counted.tensors) / kinds
    adapters = count.lora.trainable if count.lora else 0
    inputs = kinds * length
    attention = (attention_flops(counted, sequence_length=length) or 0.0) / inputs
    again = {
        "none": 0.0,
        "selective": attention,
        "full": layer_flops(counted, sequence_length=length) / inputs,
    }
    model = 6 * met if count.lora is None else 4 * met + 6 * adapters
    return TokenFlops(met, adapters, model, 3 * attention, again[recompute], length, recompute, kinds > 1)


def flops_figures(count: ModelCount, each: TokenFlops, tokens: Span) -> list[Figure]:
    """Return the FLOPs of a run over some tokens: `training_flops`, then with attention, then all that is computed."""
    shown = Amount(tokens.middle, "tokens")
    met = f"{Amount(each.met, 'parameters')}"
    name = "parameters that a token meets" if _is_partial(count, each) else "parameters"
    formula, numbers, source = f"6 × {name} × tokens", f"6 × {met} × {shown}", SIX_SOURCE
    if count.lora is not None:
        adapters = Amount(each.adapters, "parameters")
        formula = f"(4 × {name} + 6 × adapters) × tokens"
        numbers, source = f"(4 × {met} + 6 × {adapters}) × {shown}", LORA_SOURCE
    if each.is_halved:
        source = f"{source}; {HALF_SOURCE}"
    found = [
        figure(
            "training_flops", "training FLOPs", tokens * each.model, "FLOPs",
            formula=formula, numbers=numbers, source=source,
        )
    ]  # fmt: skip
    if each.attention:
        found.append(_with_attention(each, tokens))
    if each.again:
        found.append(_computed(each, tokens))
    return found


def _is_partial(count: ModelCount, each: TokenFlops) -> bool:
    return abs(each.met - count.counted.total) > 0.5


def _with_attention(each: TokenFlops, tokens: Span) -> Figure:
    of_one = Amount(each.attention, "FLOPs")
    return figure(
        "training_flops_with_attention",
        f"with attention over {each.sequence_length:,} tokens",
        tokens * each.with_attention,
        "FLOPs",
        formula="training FLOPs + 12 × layers × heads × head size × sequence length × tokens",
        numbers=f"{Amount(tokens.middle * each.model, 'FLOPs')} + {of_one} a token × {Amount(tokens.middle, 'tokens')}",
        source=ATTENTION_SOURCE,
    )


def _computed(each: TokenFlops, tokens: Span) -> Figure:
    again = Amount(each.again * tokens.middle, "FLOPs")
    what = "the layers' forward pass" if each.recompute == "full" else "attention's forward pass"
    return figure(
        "computed_flops",
        f"computed, with {each.recompute} recomputation",
        tokens * each.computed,
        "FLOPs",
        formula=f"with attention + {what} again",
        numbers=f"{Amount(each.with_attention * tokens.middle, 'FLOPs')} + {again}",
        source=RECOMPUTE_SOURCE,
    )
