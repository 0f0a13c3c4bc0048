"""Memory: bytes for the weights by dtype, for training, and for the cache of a generation, from a count alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from llmkit.architectures import activations
from llmkit.architectures.activations import BFLOAT16, FLOAT32, MIXED, Attention, Precision
from llmkit.architectures.counted import Counted, Quantity, Tensor
from llmkit.architectures.generation_cache import kv_cache as kv_cache
from llmkit.architectures.lora import LoraCount, LoraSpec, apply
from llmkit.errors import UsageError

INT8_SOURCE = "Dettmers et al. 2022 (LLM.int8()), arXiv 2208.07339; as bitsandbytes loads it"
INT4_SOURCE = "Dettmers et al. 2023 (QLoRA: NF4, double quantization), arXiv 2305.14314, section 3"
ADAMW_SOURCE = (
    "Rajbhandari et al. 2020 (ZeRO), arXiv 1910.02054, section 3.1; Loshchilov & Hutter 2019 (AdamW)"
)

# NF4 with double quantization: half a byte, an 8-bit scale for 64 numbers, a float32 one for 256 of those.
_NF4_BYTES = 0.5 + 1 / 64 + 4 / (64 * 256)
_SCALE = 4


def weights(counted: Counted) -> list[Quantity]:
    """Return the bytes of the weights in float32, bfloat16, int8 and int4.

    The integer formats are those of bitsandbytes as transformers loads them: the matrices of linear modules
    are quantized, the output layer, what is tied to it, embeddings, norms, biases and experts that are kept
    in one tensor stay in bfloat16. int8 has a float32 scale for each row, int4 is NF4 with double quantization.
    """
    numbers, rows = _quantized(counted)
    rest = counted.total - numbers
    int8 = f"{numbers:,} × 1 + {rows:,} × {_SCALE} + {rest:,} × 2"
    int4 = f"{numbers:,} × {_NF4_BYTES:.6f} + {rest:,} × 2"
    return [
        _plain_weights(counted, "float32", 4),
        _plain_weights(counted, "bfloat16", 2),
        Quantity(
            "weights_int8",
            "weights, int8",
            numbers + rows * _SCALE + rest * 2,
            "bytes",
            "linear × 1 byte + rows × 4 bytes (scales) + the rest × 2 bytes (bfloat16)",
            int8,
            INT8_SOURCE,
        ),
        Quantity(
            "weights_int4",
            "weights, int4 (NF4)",
            round(numbers * _NF4_BYTES) + rest * 2,
            "bytes",
            "linear × (1/2 + 1/64 + 4/(64 × 256)) bytes + the rest × 2 bytes (bfloat16)",
            int4,
            INT4_SOURCE,
        ),
    ]


def _plain_weights(counted: Counted, dtype: str, size: int) -> Quantity:
    return Quantity(
        f"weights_{dtype}",
        f"weights, {dtype}",
        counted.total * size,
        "bytes",
        f"parameters × {size} bytes",
        f"{counted.total:,} × {size}",
    )


def _quantized(counted: Counted) -> tuple[int, int]:
    """Return the numbers in the matrices that bitsandbytes quantizes, and the rows these have."""
    numbers = rows = 0
    for tensor in counted.tensors:
        if is_quantized(tensor, counted):
            # The rows of a Conv1D are its columns: it is transposed before.
            rows += tensor.copies * tensor.sizes[tensor.module_class == "Conv1D"]
            numbers += tensor.total
    return numbers, rows


def is_quantized(tensor: Tensor, counted: Counted) -> bool:
    """Whether bitsandbytes, as transformers calls it, quantizes the tensor.

    It takes the weights of `nn.Linear` and `Conv1D`, and leaves out the output embeddings, what is tied to
    them, and a weight that is the model's last parameter.
    """
    if tensor.module_class not in ("Linear", "Conv1D") or not tensor.name.endswith(".weight") or tensor.tied:
        return False
    is_output = not tensor.stack and tensor.sizes[0] == counted.vocabulary
    is_last = tensor is counted.tensors[-1] and tensor.copies == 1
    return not is_output and not is_last


def joined_experts(counted: Counted) -> int:
    """Return the numbers in experts that are kept in one tensor of three dimensions: these are not quantized."""
    return sum(
        tensor.total
        for tensor in counted.tensors
        if tensor.is_stacked_experts and not is_quantized(tensor, counted)
    )


@dataclass(frozen=True, slots=True)
class Regime:
    """A way to train: what is kept for each parameter, and in what the activations are.

    Attributes:
        states: bytes of weights, gradients and optimizer states.
        formula: how `states` is made up; `numbers` is the same with numbers.
        adapted: as of `activations.saved`.
    """

    key: str
    label: str
    precision: Precision
    states: int
    formula: str
    numbers: str
    source: str
    adapted: Mapping[str, int] | None = None


def regimes(counted: Counted, lora: LoraSpec | None = None) -> list[Regime]:
    """Return the ways to train the model with AdamW, from the one that needs the most.

    Args:
        lora: the adapters of the last two ways; None for rank 8 on the modules that peft would choose, without
            those two ways where there are none.

    Raises:
        UsageError: `lora` does not fit the model.
    """
    total, cast = counted.total, _autocast_numbers(counted)
    found = [
        Regime(
            "mixed",
            "full, mixed precision",
            MIXED,
            16 * total + 2 * cast,
            "(weights 4 + gradients 4 + moments 8) bytes × parameters + matrices × 2 bytes (bfloat16 copies)",
            f"16 × {total:,} + 2 × {cast:,}",
            ADAMW_SOURCE,
        ),
        Regime(
            "float32",
            "full, float32",
            FLOAT32,
            16 * total,
            "(weights 4 + gradients 4 + moments 8) bytes × parameters",
            f"16 × {total:,}",
            ADAMW_SOURCE,
        ),
        Regime(
            "bfloat16",
            "full, pure bfloat16",
            BFLOAT16,
            8 * total,
            "(weights 2 + gradients 2 + moments 4) bytes × parameters",
            f"8 × {total:,}",
            ADAMW_SOURCE,
        ),
    ]
    adapters = adapters_of(counted, lora)
    return found if adapters is None else [*found, *_adapter_regimes(counted, adapters)]


def adapters_of(counted: Counted, lora: LoraSpec | None) -> LoraCount | None:
    """Return the adapters asked for, or those of rank 8 where nothing was; None where there are no modules for them.

    Raises:
        UsageError: `lora` does not fit the model.
    """
    try:
        return apply(counted, lora or LoraSpec())
    except UsageError:
        if lora is not None:
            raise
        return None


def _adapter_regimes(counted: Counted, adapters: LoraCount) -> list[Regime]:
    total, trainable, r = counted.total, adapters.trainable, adapters.spec.r
    # Beside experts in one tensor peft makes whole matrices of its adapters, which are no input that is kept.
    adapted = {row.tensor: row.rank for row in adapters.rows if row.experts == 1}
    quantized, _ = _quantized(counted)
    rest = total - quantized
    name = f"r={r} on {', '.join(adapters.targets)}"
    return [
        Regime(
            "lora",
            f"LoRA {name}",
            BFLOAT16,
            2 * total + 16 * trainable,
            "frozen × 2 bytes (bfloat16) + adapters × 16 bytes (float32, gradients, moments)",
            f"2 × {total:,} + 16 × {trainable:,}",
            "Hu et al. 2021, arXiv 2106.09685, section 4.2",
            adapted,
        ),
        Regime(
            "qlora",
            f"QLoRA {name}",
            MIXED,
            round(_NF4_BYTES * quantized) + 4 * rest + 16 * trainable,
            "linear × (1/2 + 1/64 + 4/(64 × 256)) bytes (NF4) + the rest × 4 bytes (float32, as "
            "peft.prepare_model_for_kbit_training makes it) + adapters × 16 bytes",
            f"{_NF4_BYTES:.6f} × {quantized:,} + 4 × {rest:,} + 16 × {trainable:,}",
            INT4_SOURCE,
            adapted,
        ),
    ]


def _autocast_numbers(counted: Counted) -> int:
    """Return the numbers in the matrices that autocast casts to bfloat16, and keeps until the backward pass."""
    return sum(each.total for each in counted.tensors if each.multiplies and _is_cast(each))


def _is_cast(tensor: Tensor) -> bool:
    # The grouped multiplication of experts in one tensor is none that autocast knows.
    return len(tensor.sizes) > 1 and not tensor.is_stacked_experts


def training(
    counted: Counted,
    *,
    batch_size: int,
    sequence_length: int,
    lora: LoraSpec | None = None,
    attention: Attention = "sdpa",
) -> list[Quantity]:
    """Return the bytes that training needs, for each regime without and with gradient checkpointing.

    Weights, gradients and AdamW's two moments (the fused kind, which makes no copies), the activations that
    wait for the backward pass, and the logits. Gradients are counted beside the activations, as they are
    when gradients are accumulated. Activations alone follow as quantities of their own. Left out are what the
    CUDA context takes and what the allocator loses. Of a model whose activations do not follow from matrices
    and attention (a state-space model), the states alone are given, and the formula says so.

    Raises:
        UsageError: `lora` does not fit the model.
    """
    found: list[Quantity] = []
    for regime in regimes(counted, lora):
        kept = activations_of(counted, regime, sequence_length=sequence_length, attention=attention)
        found += training_quantities(regime, kept, batch_size)
    return found


def activations_of(
    counted: Counted, regime: Regime, *, sequence_length: int, attention: Attention = "sdpa"
) -> activations.Saved | None:
    """Return what one input leaves for the backward pass in a regime; None where it is not known."""
    return activations.saved(
        counted,
        sequence_length=sequence_length,
        precision=regime.precision,
        attention=attention,
        adapted=regime.adapted,
    )


def training_quantities(regime: Regime, kept: activations.Saved | None, batch_size: int) -> list[Quantity]:
    """Return the bytes of one regime without and with gradient checkpointing: in all, and the activations'."""
    key, label = f"training_{regime.key}", f"training, {regime.label}"
    if kept is None:
        formula = regime.formula + "; without activations, which are not known for these layers"
        return [Quantity(key, label, regime.states, "bytes", formula, regime.numbers, regime.source)]
    found = []
    for checkpointing in (False, True):
        ending, how = ("_checkpointing", ", gradient checkpointing") if checkpointing else ("", "")
        held = batch_size * kept.total(checkpointing=checkpointing)
        formula, numbers = _activation_formula(kept, batch_size, checkpointing)
        activations_source = activations.CHECKPOINTING_SOURCE if checkpointing else activations.SOURCE
        found += [
            Quantity(
                key + ending,
                label + how,
                regime.states + held,
                "bytes",
                f"{regime.formula} + activations",
                f"{regime.numbers} + {held:,.0f}",
                regime.source,
            ),
            Quantity(
                f"activations_{regime.key}{ending}",
                f"activations, {regime.label}{how}",
                held,
                "bytes",
                formula,
                numbers,
                activations_source,
            ),
        ]
    return found


def _activation_formula(kept: activations.Saved, batch_size: int, checkpointing: bool) -> tuple[str, str]:
    ends, logits = f"{kept.ends:,.0f}", f"{kept.logits:,.0f}"
    if checkpointing:
        return (
            "batch × (inputs of the layers + embeddings and head + the larger of one layer with its gradients, "
            "and the logits × 12 bytes)",
            f"{batch_size:,} × ({kept.inputs:,.0f} + {ends} + "
            f"max({kept.largest_layer:,.0f} + {kept.passing:,.0f}, {logits}))",
        )
    return (
        "batch × (what the layers keep + embeddings and head + logits × 12 bytes)",
        f"{batch_size:,} × ({kept.layers:,.0f} + {ends} + {logits})",
    )
