"""What fits in a device's memory: what does not is cut into smaller micro-batches, and the same step taken again."""

from __future__ import annotations

import ctypes
import gc
import heapq
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from llmkit.errors import ModelError
from llmkit.models.out_of_memory import is_out_of_memory
from llmkit.training.steps import Step, Steps

if TYPE_CHECKING:
    import torch
    from accelerate import Accelerator

    from llmkit.training.loop import Loop, Progress

_NEEDS_LESS = (
    "training.gradient_checkpointing: true, an adapter (adapter: {type: lora}) or a shorter data.max_length "
    "needs less."
)
# A larger micro-batch makes no GPU faster.
_MOST_MEASURED = 65_536
# Of a GPU's memory: what its allocator loses between blocks of other sizes.
_RESERVE = 0.05


class TooLargeError(Exception):
    """A micro-batch did not fit, on this device or another: it had so many rows, each of so many tokens."""

    def __init__(self, rows: int, length: int) -> None:
        super().__init__(f"{rows} × {length} tokens")
        self.rows = rows
        self.length = length


@contextmanager
def memory_explained(what: str) -> Iterator[None]:
    """Say in one message what a memory is too small for.

    Raises:
        ModelError: there is no memory left for it.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise ModelError(f"out of memory: there is no room for {what}.", hint=_NEEDS_LESS) from None


@contextmanager
def agreed_to_fit(accelerator: Accelerator, step: Step, lengths: Sequence[int]) -> Iterator[None]:
    """Add up a step's gradients on each device, none waiting for another; then go on only if it fitted on all.

    Raises:
        TooLargeError: it did not, here or elsewhere, with the largest micro-batch that can be halved.
    """
    import torch

    failed = (0, 0)
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        failed = _largest_of(step, lengths)
    found = [failed]
    if accelerator.num_processes > 1:
        mine = torch.tensor([failed], device=accelerator.device)
        found = [(rows, length) for rows, length in accelerator.gather(mine).tolist()]
    found = [each for each in found if each[0]]
    if found:
        raise TooLargeError(*min(found, key=lambda each: (each[0] > 1, each[0] * each[1])))


def _largest_of(step: Step, lengths: Sequence[int]) -> tuple[int, int]:
    """Return rows and length of the micro-batch with the most tokens among those of several rows, or of all."""
    sizes = [(len(rows), max(lengths[row] for row in rows)) for rows in step.micro_batches]
    return max(sizes, key=lambda size: (size[0] > 1, size[0] * size[1]))


def cut_smaller(steps: Steps, progress: Progress, error: TooLargeError, places: str) -> str:
    """Halve the micro-batches of the steps to come, and return what to tell of it.

    Args:
        places: where the rows of the step came from.

    Raises:
        ModelError: there was one row in it.
    """
    number = progress.step + 1
    if error.rows == 1:
        raise ModelError(
            f"step {number:,}: one example of {error.length:,} tokens does not fit in the memory ({places}).",
            hint=_NEEDS_LESS,
        )
    half = error.rows // 2
    if steps.sort:
        progress.most_tokens = half * error.length
        limit = f"{progress.most_tokens:,} tokens"
    else:
        progress.most_rows = half
        limit = f"{half:,} rows"
    return f"out of memory in step {number:,}: going on with micro-batches of at most {limit}; the step is the same."


def within_limits(steps: Steps, progress: Progress) -> Steps:
    """Return the steps, cut as what was found to fit says."""
    rows = steps.max_rows if progress.most_rows is None else progress.most_rows
    tokens = steps.max_tokens if progress.most_tokens is None else progress.most_tokens
    return replace(steps, max_rows=rows, max_tokens=tokens)


@contextmanager
def same_random_numbers(device: torch.device) -> Iterator[Callable[[], None]]:
    """Give what draws again, from the device and the CPU, the numbers that come from here on."""
    import torch

    on_cpu = torch.get_rng_state()
    on_device = torch.cuda.get_rng_state(device) if device.type == "cuda" else None

    def restore() -> None:
        torch.set_rng_state(on_cpu)
        if on_device is not None:
            torch.cuda.set_rng_state(on_device, device)

    yield restore


def free_memory(loop: Loop) -> None:
    """Drop gradients, and give back what the allocator keeps."""
    import torch

    loop.optimizer.zero_grad(set_to_none=True)
    gc.collect()
    if loop.accelerator.device.type == "cuda":
        torch.cuda.empty_cache()
    elif sys.platform == "linux":
        with suppress(AttributeError):  # musl has no such thing
            ctypes.CDLL(None).malloc_trim(0)


# ---- measuring


def measure(loop: Loop, most: int = _MOST_MEASURED) -> None:
    """Find out how many tokens, padding included, a micro-batch may have: as many as fit, on every device.

    The longest examples go forward and backward through the real model, twice as many each time, while a tensor
    takes the place of the optimizer's states that are still to come and of a reserve. Nothing is learned, and the
    random numbers are those from before.

    Raises:
        ModelError: not one example fits.
    """
    import torch

    device = loop.accelerator.device
    lengths = loop.steps.lengths
    longest = heapq.nlargest(loop.steps.batch_size, range(len(lengths)), key=lambda row: lengths[row])
    length = max(1, lengths[longest[0]])
    with same_random_numbers(device) as restore:
        with memory_explained("the optimizer's states"):
            reserve = torch.empty(_bytes_to_come(loop), dtype=torch.uint8, device=device)
        rows = _largest(loop, longest, max(1, most // length))
        rows -= rows // 8  # other shapes leave other gaps
        del reserve
        free_memory(loop)
        restore()
    rows = min(loop.accelerator.gather(torch.tensor([rows], device=device)).tolist())
    if rows == 0:
        place = loop.examples.place(longest[0])
        raise ModelError(
            f"one example of {length:,} tokens does not fit in the memory of {device} ({place}).",
            hint=_NEEDS_LESS,
        )
    loop.progress.most_tokens = rows * length
    if not loop.steps.sort:
        loop.progress.most_rows = rows
    loop.note(f"micro-batches of at most {rows * length:,} tokens: {rows} of the longest examples fit.")


def _largest(loop: Loop, longest: list[int], most: int) -> int:
    """Return the largest number of rows that fit, up to half of it exact; 0 for none."""
    most = min(most, len(longest))
    fits, tried = 0, 1
    while tried <= most and _does_fit(loop, longest[:tried]):
        fits, tried = tried, tried * 2 if tried * 2 <= most or tried == most else most
        if fits == most:
            return most
    between = fits + fits // 2
    return between if fits < between < tried and _does_fit(loop, longest[:between]) else fits


def _does_fit(loop: Loop, rows: list[int]) -> bool:
    alone = loop.accelerator.no_sync(loop.model) if loop.accelerator.num_processes > 1 else nullcontext()
    try:
        with alone:
            batch = loop.batch(rows, 0)
            loop.objective.loss(loop.model, batch).sum().backward()
            return True
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
    free_memory(loop)
    return False


def _bytes_to_come(loop: Loop) -> int:
    """Return the bytes of AdamW's two moments, and of a reserve."""
    import torch

    trained = [each for group in loop.optimizer.param_groups for each in group["params"]]
    states = 0 if loop.optimizer.state else 2 * sum(each.numel() * each.element_size() for each in trained)
    device = loop.accelerator.device
    reserve = torch.cuda.mem_get_info(device)[1] * _RESERVE if device.type == "cuda" else 0
    return states + round(reserve)
