"""``--check --pretend-gpus N``: a run as the first of N devices; the process group only pretends there are others.

torch's fake process group hands each collective back as if every device had what this one has. So a step runs whole,
at that size, on one machine; what the others would have computed is not known, and no figure of it is told.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from typing_extensions import TypedDict

from llmkit.errors import UsageError
from llmkit.training.sharding import is_sharded

if TYPE_CHECKING:
    from llmkit.training.state import Run

_NAMES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
_STEPS_LOOKED_AT = 20


@contextmanager
def pretended(devices: int) -> Iterator[None]:
    """Be the first of so many devices.

    Raises:
        UsageError: this process is one of several already.
    """
    if int(os.environ.get("WORLD_SIZE", 1)) > 1:
        raise UsageError("--pretend-gpus is for one process: this is one of several.")
    import torch
    from accelerate.state import AcceleratorState
    from torch.testing._internal.distributed.fake_pg import FakeStore

    said = dict(zip(_NAMES, ("0", str(devices), "0", str(devices)), strict=True))
    # accelerate would divide this machine's cores among the devices.
    if not os.environ.get("OMP_NUM_THREADS"):
        said["OMP_NUM_THREADS"] = str(torch.get_num_threads())
    os.environ.update(said)
    os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
    torch.distributed.init_process_group("fake", store=FakeStore(), rank=0, world_size=devices)
    try:
        yield
    finally:
        torch.distributed.destroy_process_group()
        AcceleratorState._reset_state(reset_partial_state=True)
        for name in said:
            os.environ.pop(name, None)


class EachDevice(TypedDict):
    """How a step is shared out to devices (--pretend-gpus): the fewest and the most of each."""

    examples_a_step: list[int]
    tokens_a_step: list[int]
    micro_batches_a_step: list[int]
    idle_devices: int
    sharded: bool
    own_parameters: int


def rehearsed(run: Run) -> dict[str, Any]:
    """Take one whole step as the first of the pretended devices; return how the data is shared out.

    Returns:
        Examples, tokens and micro-batches of a device in a step: the fewest and the most over all devices, of the
        first steps; how many devices have nothing to do; whether the model is sharded, and this device's parameters.

    Raises:
        ModelError: the step does not fit in the memory.
    """
    from dataclasses import replace

    steps, lengths = run.loop.steps, run.data.train.lengths
    rows, tokens, passes, idle = [], [], [], 0
    for rank in range(steps.devices):
        mine = replace(steps, rank=rank)
        for number in range(min(_STEPS_LOOKED_AT, steps.total)):
            batches = mine.at(number).micro_batches
            rows.append(sum(map(len, batches)))
            tokens.append(sum(lengths[row] for batch in batches for row in batch))
            passes.append(len(batches))
            idle += number == 0 and not batches
    run.loop.is_rehearsal = True
    next(run.loop.run())
    return {
        "examples_a_step": [min(rows), max(rows)],
        "tokens_a_step": [min(tokens), max(tokens)],
        "micro_batches_a_step": [min(passes), max(passes)],
        "idle_devices": idle,
        "sharded": is_sharded(run.model),
        "own_parameters": sum(_own(parameter).numel() for parameter in run.model.parameters()),
    }


def _own(parameter: Any) -> Any:
    return parameter.to_local() if hasattr(parameter, "to_local") else parameter
