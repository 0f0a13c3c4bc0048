"""Texts side by side in one row: nothing is padded, and none sees another.

An attention that takes texts of any length (flash attention, Dao 2023, arXiv 2307.08691; on a CPU our own,
`native_attention.py`) is told where each begins. What else a model does with a row, no name or version tells: so it
is tried.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from llmkit.models.cpu_attention import NAME, SideBySideError

if TYPE_CHECKING:
    import torch

_ALIKE = 1e-3  # of the largest number
_ALIKE_REDUCED = 50e-3
_TRIAL_LENGTHS = (7, 3, 19)


def places_of(lengths: Sequence[int], device: torch.device, *, first_position: int = 0) -> dict[str, Any]:
    """Return what a model is told of texts in one row, in the names of transformers' flash attention.

    Args:
        lengths: tokens of each text.
        first_position: of a text's first token.

    Returns:
        ``position_ids`` (1, tokens), which begin anew with each text; ``cu_seq_lens_q`` and ``_k``, (texts + 1,),
        where each begins and the last ends; ``max_length_q`` and ``_k``, the longest.
    """
    import torch

    places = torch.tensor([0, *accumulate(lengths)], dtype=torch.int32, device=device)
    begins = torch.repeat_interleave(places[:-1], torch.tensor(lengths, device=device))
    positions = torch.arange(len(begins), device=device) - begins + first_position
    longest = max(lengths)
    return {
        "position_ids": positions.unsqueeze(0),
        "cu_seq_lens_q": places,
        "cu_seq_lens_k": places,
        "max_length_q": longest,
        "max_length_k": longest,
    }


def first_position(model: Any) -> int:
    """Return the position of a text's first token: RoBERTa and its kin begin behind that of padding."""
    for module in model.modules():
        if hasattr(module, "create_position_ids_from_input_ids"):
            return int(module.padding_idx) + 1
    return 0


def are_alike(found: torch.Tensor, wanted: torch.Tensor, *, is_exact: bool) -> bool:
    """Tell whether two results differ by no more than two ways of computing them do.

    Args:
        is_exact: both were computed in float32.
    """
    difference = float((found.float() - wanted.float()).abs().max())
    return difference <= (_ALIKE if is_exact else _ALIKE_REDUCED) * float(wanted.float().abs().max())


def takes_side_by_side(model: Any) -> bool:
    """Tell whether an encoder has an attention for texts side by side and computes for them as for each alone."""
    import torch

    has_attention = getattr(model.config, "_attn_implementation", None) == NAME
    if not has_attention or "position_ids" not in inspect.signature(model.forward).parameters:
        return False
    vocabulary = model.get_input_embeddings().weight.shape[0]
    usual = [number for number in range(vocabulary) if number != model.config.pad_token_id][-64:]
    ids = torch.tensor([[usual[place * 7 % len(usual)] for place in range(sum(_TRIAL_LENGTHS))]])
    places = places_of(_TRIAL_LENGTHS, model.device, first_position=first_position(model))
    with torch.inference_mode():
        try:
            together = model(input_ids=ids, **places)[0]
        except SideBySideError:
            return False
        alone = [model(input_ids=each)[0] for each in ids.split(_TRIAL_LENGTHS, dim=1)]
    return are_alike(together, torch.cat(alone, dim=1), is_exact=model.dtype is torch.float32)
