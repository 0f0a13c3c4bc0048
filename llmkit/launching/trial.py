"""A real all-reduce over all processes, and copies between each two neighbours, before a long run counts on them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

from typing_extensions import TypedDict

_SIZES = (1 << 16, 1 << 20, 1 << 24)  # numbers of float32
_ROUNDS = 5
_WARMING = 2


class Tried(TypedDict):
    """A link, tried with so many bytes; `right` tells whether the numbers arrived as they were."""

    bytes: int
    seconds: float
    bytes_per_second: float
    right: bool


class Trial(TypedDict):
    """Sums over all processes, and copies from each to the next."""

    processes: int
    backend: str
    device: str
    all_reduce: list[Tried]
    copies: list[Tried]


def tried(*, on_cpu: bool, said: Callable[[str], None]) -> dict[str, Any]:
    """Try the links of the processes of this call; each of them must do so.

    The bandwidth of an all-reduce is what each device sends in the ring, 2·(n − 1)/n of the bytes, a second, as
    nccl-tests counts it (its doc/PERFORMANCE.md: "bus bandwidth"). That of a copy is bytes a second, one way.

    Args:
        said: takes the message on a process that was lost.

    Returns:
        For each size its seconds and bytes a second, the best of some rounds; and whether the sums were right.
    """
    import torch
    from accelerate import PartialState
    from torch.distributed import PrefixStore, TCPStore, rendezvous

    from llmkit.launching.watch import Watch

    store, rank, count = next(rendezvous("env://"))
    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    own = TCPStore(address, port, is_master=False, wait_for_workers=False)
    watch = Watch(PrefixStore("watch", own), rank, count, said=said)
    watch.start()
    state = PartialState(cpu=on_cpu, store=PrefixStore("group", store), rank=rank, world_size=count)
    try:
        found = {
            "processes": count,
            "backend": torch.distributed.get_backend(),
            "device": state.device.type,
            "all_reduce": [_all_reduce(size, state.device, count) for size in _SIZES],
            "copies": [_copies(size, state.device, rank, count) for size in _SIZES],
        }
    finally:
        watch.stop()
    state.destroy_process_group()
    return found


def _all_reduce(size: int, device: Any, count: int) -> dict[str, Any]:
    import torch

    numbers = torch.empty(size, device=device)
    right = True

    def once() -> None:
        nonlocal right
        numbers.fill_(float(torch.distributed.get_rank() + 1))
        torch.distributed.all_reduce(numbers)
        right = right and bool((numbers == count * (count + 1) / 2).all())

    seconds = _best(once, device)
    sent = numbers.nbytes * 2 * (count - 1) / count
    return {"bytes": numbers.nbytes, "seconds": seconds, "bytes_per_second": sent / seconds, "right": right}


def _copies(size: int, device: Any, rank: int, count: int) -> dict[str, Any]:
    """Hand numbers round the ring of processes, all at once; each takes from the one before it."""
    import torch

    mine = torch.full((size,), float(rank), device=device)
    taken = torch.empty_like(mine)
    before, after = (rank - 1) % count, (rank + 1) % count
    right = True

    def once() -> None:
        nonlocal right
        operations = [
            torch.distributed.P2POp(torch.distributed.isend, mine, after),
            torch.distributed.P2POp(torch.distributed.irecv, taken, before),
        ]
        for request in torch.distributed.batch_isend_irecv(operations):
            request.wait()
        right = right and bool((taken == before).all())

    seconds = _best(once, device)
    return {
        "bytes": mine.nbytes,
        "seconds": seconds,
        "bytes_per_second": mine.nbytes / seconds,
        "right": right,
    }


def _best(once: Callable[[], None], device: Any) -> float:
    """Return the seconds of the fastest of some rounds, of the slowest process."""
    import torch

    seconds = []
    for _ in range(_WARMING + _ROUNDS):
        torch.distributed.barrier()
        begin = time.perf_counter()
        once()
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - begin)
    slowest = torch.tensor(min(seconds[_WARMING:]), dtype=torch.float64, device=device)
    torch.distributed.all_reduce(slowest, op=torch.distributed.ReduceOp.MAX)
    return float(slowest)
