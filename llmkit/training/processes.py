"""The processes of a run, one a device, as `llmkit.launching`, torchrun or ``accelerate launch`` start them.

What one does for all, what all agree on, and how their gradients meet. A run of one process asks nobody.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from llmkit.errors import LlmkitError, LostProcessError
from llmkit.launching.watch import Watch, is_loss, silence_allowed

if TYPE_CHECKING:
    import torch

_A_LOOK = 60  # seconds
_BUCKET = 1 << 24
"""Numbers that are sent together: many small tensors would each wait for the network."""


def process_count() -> int:
    """Return the number of processes of the run."""
    return int(os.environ.get("WORLD_SIZE", 1))


def is_first() -> bool:
    """Tell whether this process is the one that speaks and writes."""
    return int(os.environ.get("RANK", 0)) == 0


_watch: Watch | None = None
_store: torch.distributed.Store | None = None
_ready = 0
_alone: LlmkitError | None = None
"""What failed in this process while others waited for it: the first of those that fail says it."""


def meet(*, on_cpu: bool, said: Callable[[str], None] = lambda text: None) -> None:
    """Join the other processes of the run, if there are any, and begin to look after them.

    Args:
        said: takes the message on a process that was lost.

    Raises:
        UsageError: after how many seconds one is lost is said wrongly.
    """
    global _watch, _store
    if process_count() == 1:
        return
    with said_once():
        silence_allowed()
    from accelerate import PartialState
    from torch.distributed import PrefixStore, TCPStore, rendezvous

    store, rank, count = next(rendezvous("env://"))
    # A store is a connection: what one thread waits for must not keep another.
    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    own = TCPStore(address, port, is_master=False, wait_for_workers=False)
    _watch = Watch(PrefixStore("watch", own), rank, count, said=said)
    _watch.start()
    _store = PrefixStore("ready", store)
    PartialState(cpu=on_cpu, store=PrefixStore("group", store), rank=rank, world_size=count)


def part() -> None:
    """Leave the other processes, after the last that is done together."""
    global _watch
    if process_count() > 1:
        from accelerate import PartialState

        if _watch is not None:
            _watch.stop()
            _watch = None
        PartialState().destroy_process_group()


def wait_for_others(at_most: float | None = None) -> bool:
    """Wait until all processes have come here, however long one of them takes, or `at_most` so many seconds.

    A collective has to end within a time; one process may tokenize for hours. One that is lost ends all meanwhile.

    Returns:
        Whether all have come.
    """
    global _ready
    if _store is None:
        return True
    from torch.distributed import DistError, DistStoreError

    _ready += 1
    with suppress(DistError):  # the launcher is gone: all are saving now, and none takes long
        if _store.add(f"{_ready}", 1) == process_count():
            _store.set(f"{_ready} all", "")
        while True:
            with suppress(DistStoreError):  # not yet
                _store.wait([f"{_ready} all"], timedelta(seconds=at_most or _A_LOOK))
                return True
            if at_most is not None:
                return False
    return at_most is None


@contextmanager
def agreed() -> Iterator[None]:
    """Do something in every process, or in the first alone; where it fails in one it fails in all.

    It may take as long as it likes. Where the others wait within it for the one that fails, as they do while a model
    is sharded, that one says its error by itself after a while, and the launcher ends the others.

    Raises:
        LlmkitError: in the first process, whatever process failed; or in the first of those that others wait for.
        SystemExit: in the others, with the error's exit code.
    """
    global _alone
    failed: LlmkitError | None = None
    try:
        yield
    except LlmkitError as error:
        failed = error
    if process_count() > 1:
        if not wait_for_others(None if failed is None else silence_allowed()):
            assert failed is not None
            assert _store is not None
            if _store.add("said alone", 1) > 1:  # another has
                raise SystemExit(failed.exit_code)
            _alone = failed
            raise failed
        failed = _first_of(failed)
    if failed is not None:
        with said_once():
            raise failed


@contextmanager
def said_once() -> Iterator[None]:
    """Let an error that every process has be raised in the first alone; the others end without a word.

    Raises:
        SystemExit: in the others, with the error's exit code.
        LostProcessError: in each that finds another not answering.
    """
    try:
        yield
    except RuntimeError as error:
        if process_count() == 1 or not is_loss(error):
            raise
        rank, reason = os.environ.get("RANK", 0), str(error).strip().partition("\n")[0]
        raise LostProcessError(f"process {rank} gets no answer from another: {reason}") from None
    except LlmkitError as error:
        if is_first() or error is _alone:
            raise
        raise SystemExit(error.exit_code) from None


def _first_of(failed: LlmkitError | None) -> LlmkitError | None:
    """Return this process's error, or else one of another."""
    mine = None if failed is None else (failed.message, failed.hint, failed.exit_code)
    found = next((each for each in gathered(mine) if each is not None), None)
    if failed is not None or found is None:
        return failed
    error = LlmkitError(found[0], hint=found[1])
    error.exit_code = found[2]
    return error


def gathered(value: Any) -> list[Any]:
    """Return what each process has, in the order of their ranks."""
    if process_count() == 1:
        return [value]
    from accelerate.utils import gather_object

    return list(gather_object([value]))


def largest(value: int, device: torch.device) -> int:
    """Return the largest of the processes' numbers."""
    if process_count() == 1:
        return value
    import torch

    found = torch.tensor(value, device=device)
    torch.distributed.all_reduce(found, op=torch.distributed.ReduceOp.MAX)
    return int(found)


def average_gradients(parameters: Iterable[torch.nn.Parameter]) -> None:
    """Replace each gradient by its mean over the processes; one that no process has stays away.

    Not by DistributedDataParallel: it wants every process to have a micro-batch, every parameter a part in the
    loss, and every forward to go through its wrapper. Here a device may be without examples in the last step of
    an epoch, and an objective may run the parts of a model as it likes.
    """
    import torch

    if process_count() == 1:
        return
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    present = torch.tensor([each.grad is not None for each in trained], dtype=torch.int32)
    present = present.to(trained[0].device)
    torch.distributed.all_reduce(present, op=torch.distributed.ReduceOp.MAX)
    wanted = [each for each, has_gradient in zip(trained, present.tolist(), strict=True) if has_gradient]
    for each in wanted:
        if each.grad is None:
            each.grad = torch.zeros_like(each)
    for bucket in _buckets(each.grad for each in wanted if each.grad is not None):
        together = torch.cat([gradient.flatten() for gradient in bucket]) / process_count()
        torch.distributed.all_reduce(together)
        pieces = together.split([gradient.numel() for gradient in bucket])
        for gradient, piece in zip(bucket, pieces, strict=True):
            gradient.copy_(piece.view_as(gradient))


def _buckets(gradients: Iterable[torch.Tensor]) -> Iterator[list[torch.Tensor]]:
    """Go through gradients of one type, as many at a time as are sent together."""
    bucket: list[torch.Tensor] = []
    size = 0
    for gradient in gradients:
        if bucket and (size + gradient.numel() > _BUCKET or gradient.dtype != bucket[0].dtype):
            yield bucket
            bucket, size = [], 0
        bucket.append(gradient)
        size += gradient.numel()
    if bucket:
        yield bucket
