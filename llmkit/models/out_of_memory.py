"""What an error looks like that says that there was no memory left."""

from __future__ import annotations

# What torch, its allocators and oneDNN say where there is no exception of its own for it.
_MESSAGES = (
    "out of memory",
    "can't allocate memory",
    "not enough memory",
    "bad_alloc",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "could not create a memory",
    "could not create a primitive",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error says that there was no memory left, on a GPU or on the CPU."""
    import torch

    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _MESSAGES)
