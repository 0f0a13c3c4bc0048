"""What a run computes in: the wanted precision, where the device can do it; and the accelerator for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmkit.errors import UsageError
from llmkit.models.loading import choose_device, has_native_bfloat16
from llmkit.training.processes import process_count

if TYPE_CHECKING:
    import torch
    from accelerate import Accelerator

    from llmkit.training.config import FinetuneConfig

_ACCELERATES_NAMES = {"float32": "no", "bfloat16": "bf16", "float16": "fp16"}


def precision_name(config: FinetuneConfig, device: str) -> str:
    """Return what is computed in; auto is bfloat16 where the device computes in it natively.

    Raises:
        UsageError: the device cannot compute in it.
    """
    wanted, chosen = config.training.precision, choose_device(device)
    found = precision_on(chosen, wanted)
    if found is None:
        raise UsageError(
            f"training.precision: {wanted}: {chosen} does not train in it.",
            hint="Take auto, which is what is fast there, or float32.",
        )
    return found


def precision_on(device: torch.device, wanted: str) -> str | None:
    """Return what a device computes in where `wanted` is asked for; None where it cannot.

    On a CPU accelerate would take float32 for float16 without a word.
    """
    import torch

    if wanted == "auto":
        return "bfloat16" if has_native_bfloat16(device) else "float32"
    if wanted == "float16" and device.type == "cpu":
        return None
    if wanted == "bfloat16" and device.type == "cuda" and not torch.cuda.is_bf16_supported():
        return None
    return wanted


def make_accelerator(precision: str, device: torch.device, **arguments: Any) -> Accelerator:
    """Return an accelerator, whatever an earlier run in this process computed in and on.

    accelerate keeps the first answer for good, and refuses another.
    """
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=process_count() == 1)
    on_cpu = device.type == "cpu"
    return Accelerator(mixed_precision=_ACCELERATES_NAMES[precision], cpu=on_cpu, **arguments)


def precision_of(accelerator: Accelerator) -> str:
    """Return what an accelerator has computed in."""
    return next(name for name, own in _ACCELERATES_NAMES.items() if own == accelerator.mixed_precision)
