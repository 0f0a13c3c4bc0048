"""Which pieces of texts go through a model together, and how much at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from llmkit.batching import plan_batches, plan_least_work
from llmkit.embeddings.tokens import Piece

WINDOW_ROWS = 4096  # sorted in one go: 3.5 % of padding at a window of this size, 13 % at a quarter of it
UNIT_WINDOW_ROWS = 256  # where each token keeps its vector: 400 MB for 512 tokens of 768 numbers a text
_CPU_TOKENS = 2048  # larger batches fall out of the cache and are slower there
_CPU_OVERHEAD = 24  # tokens that could be computed in the time a batch costs beside its own
_ACCELERATOR_TOKENS = 32768
_ACCELERATOR_OVERHEAD = 1024
_MOST_ROWS = 1024


def batches(
    pieces: Sequence[Piece], *, on_cpu: bool, is_padded: bool = True, batch_size: int | None = None
) -> Iterator[list[int]]:
    """Go through batches of the numbers of pieces, each piece in one of them.

    Args:
        is_padded: pieces are padded to the longest of their batch.
        batch_size: most pieces a batch; None for a budget of tokens alone.
    """
    lengths = [len(piece.ids) for piece in pieces]
    tokens = _CPU_TOKENS if on_cpu else _ACCELERATOR_TOKENS
    max_tokens = tokens if batch_size is None else 1 << 40
    max_rows = _MOST_ROWS if batch_size is None else batch_size
    if not is_padded:
        yield from plan_batches(lengths, max_tokens=max_tokens, max_rows=max_rows, is_padded=False)
        return
    overhead = _CPU_OVERHEAD if on_cpu else _ACCELERATOR_OVERHEAD
    yield from plan_least_work(lengths, max_tokens=max_tokens, max_rows=max_rows, overhead_tokens=overhead)
