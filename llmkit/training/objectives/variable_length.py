"""Attention over texts of any length side by side: nothing is padded, and none sees another.

Flash attention takes the texts of a batch as one row and the places where each begins (Dao 2023, arXiv 2307.08691).
It is used where it is installed and the device is a CUDA one; elsewhere nothing here changes anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from llmkit.models.side_by_side import places_of
from llmkit.training.objectives.batch import Batch
from llmkit.training.objectives.packing import check_isolation, inner_model

if TYPE_CHECKING:
    import torch

FLASH = "flash_attention_2"


def attention_for(device_type: str, precision: str, *, is_installed: bool) -> str | None:
    """Return the attention to train with, by transformers' name; None for what the model comes with.

    Args:
        device_type: ``cuda``, ``cpu``, …
        precision: what is computed in; flash attention knows bfloat16 and float16.
        is_installed: flash attention is.
    """
    return FLASH if device_type == "cuda" and precision in ("bfloat16", "float16") and is_installed else None


def use_variable_length(model: Any, device_type: str, precision: str) -> bool:
    """Give a model attention over texts of any length, where it can have that; tell whether it has it now."""
    from transformers.utils import is_flash_attn_2_available

    found = attention_for(device_type, precision, is_installed=bool(is_flash_attn_2_available()))
    base = model.get_base_model() if hasattr(model, "peft_config") else model
    if found is None or not getattr(base, "_supports_flash_attn", False):
        return False
    base.set_attn_implementation(found)
    return True


def has_variable_length(model: Any) -> bool:
    """Tell whether a model's attention takes texts side by side."""
    return "flash" in str(getattr(inner_model(model).config, "_attn_implementation", None))


def samples_of(batch: Batch) -> tuple[list[list[int]], torch.Tensor]:
    """Return the lengths of the samples in each row of a batch, and where its real tokens are, (batch, longest).

    A packed row has several samples, and its padding on the right.
    """
    import torch

    if batch.examples:
        samples = [list(example["lengths"]) for example in batch.examples]
        lengths = torch.tensor([sum(row) for row in samples], device=batch.labels.device)
        longest = torch.arange(batch.labels.shape[1], device=batch.labels.device)
        return samples, longest < lengths.unsqueeze(1)
    is_real = batch.inputs["attention_mask"].bool()
    return [[length] for length in is_real.sum(1).tolist()], is_real


def side_by_side(
    inputs: dict[str, torch.Tensor],
    at: torch.Tensor,
    samples: Sequence[Sequence[int]],
    *,
    is_real: torch.Tensor,
    first_position: int = 0,
) -> tuple[dict[str, Any], torch.Tensor]:
    """Return padded inputs as one row without the padding, and where logits are wanted in it.

    Args:
        inputs: each (batch, longest); masks and positions among them are made anew.
        at: (batch, longest), true where logits are wanted; their order is kept.
        samples: the lengths of the samples of each row.
        is_real: (batch, longest), false at padding.
        first_position: of a sample's first token.

    Returns:
        Inputs, each (1, tokens), with the samples' places as transformers' flash attention takes them; and `at`,
        (1, tokens).
    """
    lengths = [length for row in samples for length in row]
    names = [name for name in inputs if name not in ("attention_mask", "position_ids")]
    row: dict[str, Any] = {name: inputs[name][is_real].unsqueeze(0) for name in names}
    return row | places_of(lengths, at.device, first_position=first_position), at[is_real].unsqueeze(0)


def check_side_by_side(model: Any, row: dict[str, Any], task: str) -> None:
    """Check on the first texts of a row that none sees another: a layer that is no attention may not heed the places.

    Raises:
        ModelError: one does.
    """
    places = row["cu_seq_lens_q"][:4].tolist()
    pieces = [_piece(row, begin, end) for begin, end in pairwise(places)]
    together = _piece(row, 0, places[-1]) | {
        "cu_seq_lens_q": row["cu_seq_lens_q"][:4],
        "cu_seq_lens_k": row["cu_seq_lens_k"][:4],
    }
    check_isolation(model, together, pieces, task, in_run_precision=True)


def _piece(row: dict[str, Any], begin: int, end: int) -> dict[str, Any]:
    """Return some tokens of a row as a text of its own."""
    import torch

    piece = {
        name: value[:, begin:end] if getattr(value, "ndim", 0) == 2 else value for name, value in row.items()
    }
    places = torch.tensor([0, end - begin], dtype=torch.int32, device=row["cu_seq_lens_q"].device)
    return piece | {"cu_seq_lens_q": places, "cu_seq_lens_k": places}
