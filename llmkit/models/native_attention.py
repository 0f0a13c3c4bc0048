"""Attention by our own C code (`native/attention.c`) for encoders on a CPU: texts of any length, nothing copied.

It takes what it knows: float32, or bfloat16 where the processor multiplies that, no gradients, and masks that leave
a run of keys. All else goes where it went before.
"""

from __future__ import annotations

import ctypes
import functools
from typing import TYPE_CHECKING

from llmkit.models.native_code import NativeCode
from llmkit.models.processor import processor

if TYPE_CHECKING:
    import torch

CODE = NativeCode("attention")
_MOST_SIZE = 256  # MOST_SIZE of the C file
_TEXTS = "_llmkit_texts"


def compile_ahead(device: str) -> None:
    """Have the code compiled, in the background, if it never was: for a run that may be long.

    Args:
        device: where the model will be, as of `LoadOptions`; ``auto`` may turn out to be a CPU.
    """
    if device in ("auto", "cpu"):
        CODE.compile_ahead()


class _Call(ctypes.Structure):
    """``struct call`` of the C file."""

    _fields_ = (
        ("tensors", ctypes.c_void_p * 4),
        ("token_bytes", ctypes.c_int64 * 4),
        ("head_bytes", ctypes.c_int64 * 4),
        ("texts", ctypes.c_void_p),
        ("count", ctypes.c_int32),
        ("heads", ctypes.c_int32),
        ("size", ctypes.c_int32),
        ("is_half", ctypes.c_int32),
        ("scale", ctypes.c_float),
        ("next", ctypes.c_int32),
    )


def has_native_attention(dtype: torch.dtype) -> bool:
    """Tell whether the compiled code is there and computes in a dtype.

    Processors with AMX multiply bfloat16 in tiles, which this code does not: there PyTorch's way is left alone.
    """
    import torch

    found = CODE.load()
    if found is None or dtype not in (torch.float32, torch.bfloat16):
        return False
    return dtype is torch.float32 or (found.llmkit_has_bfloat16() and "amx_bf16" not in processor()[1])


def attend(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, texts: torch.Tensor, scale: float
) -> torch.Tensor:
    """Compute softmax(QKᵀ · scale) · V of each text.

    Args:
        query, key, value: (rows, heads, tokens, size), each that `takes`.
        texts: (texts, 4), int32, of the rows one after the other: first query, queries, first key, keys. A query
            that looks at no key gets zeros; one that is in no text gets nothing.

    Returns:
        (rows, tokens, heads, size)
    """
    import torch

    rows, heads, tokens, size = query.shape
    output = query.new_empty(rows, tokens, heads, size)
    call = _Call(
        texts=texts.data_ptr(),
        count=len(texts),
        heads=heads,
        size=size,
        is_half=query.dtype is torch.bfloat16,
        scale=scale,
    )
    for number, tensor in enumerate((query, key, value, output.transpose(1, 2))):
        call.tensors[number] = tensor.data_ptr()
        call.head_bytes[number] = tensor.stride(1) * tensor.element_size()
        call.token_bytes[number] = tensor.stride(2) * tensor.element_size()
    found = CODE.load()
    assert found is not None
    found.llmkit_attention(ctypes.byref(call), torch.get_num_threads())
    return output


def takes(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> bool:
    """Tell whether `attend` takes these, each (rows, heads, tokens, size)."""
    import torch

    if torch.is_grad_enabled() or query.shape[1] != key.shape[1] or key.shape != value.shape:
        return False
    if query.shape[0] != key.shape[0] or query.shape[3] != key.shape[3]:
        return False
    size = query.shape[3]
    alike = all(
        tensor.device.type == "cpu" and tensor.dtype is query.dtype and _is_even(tensor)
        for tensor in (query, key, value)
    )
    return alike and size % 16 == 0 and size <= _MOST_SIZE and has_native_attention(query.dtype)


def _is_even(tensor: torch.Tensor) -> bool:
    """Tell whether tokens follow each other by one step through all rows, as a projection leaves them."""
    one_row = tensor.shape[0] == 1 or tensor.stride(0) == tensor.shape[2] * tensor.stride(2)
    return one_row and tensor.stride(3) == 1 and tensor.stride(1) % 2 == 0 and tensor.stride(2) % 2 == 0


@functools.lru_cache(maxsize=64)
def whole_rows(rows: int, queries: int, keys: int) -> torch.Tensor:
    """Return the texts of a batch without a mask, (rows, 4)."""
    import torch

    numbers = torch.arange(rows)
    columns = (
        numbers * queries,
        torch.full_like(numbers, queries),
        numbers * keys,
        torch.full_like(numbers, keys),
    )
    return torch.stack(columns, dim=1).int()


def first_queries(texts: torch.Tensor) -> torch.Tensor:
    """Return texts, (texts, 4), of which only the first query looks; the others get nothing."""
    found = texts.clone()
    found[:, 1] = 1
    return found


def texts_of_mask(mask: torch.Tensor, rows: int, queries: int) -> torch.Tensor | None:
    """Return the texts of a batch, (rows, 4), where every query of a row may look at the same run of keys, else None.

    Args:
        mask: (rows or 1, 1, 1 or queries, keys), True where a query may look.
    """
    if not hasattr(mask, _TEXTS):  # every layer asks
        setattr(mask, _TEXTS, _runs(mask, rows, queries))
    found: torch.Tensor | None = getattr(mask, _TEXTS)
    return found


def _runs(mask: torch.Tensor, rows: int, queries: int) -> torch.Tensor | None:
    import torch

    if mask.dtype is not torch.bool or mask.ndim != 4 or mask.shape[1:3] != (1, 1):
        return None
    seen = mask[:, 0, 0].expand(rows, -1)
    keys = seen.shape[1]
    lengths = seen.sum(dim=1)
    first = seen.int().argmax(dim=1)
    places = torch.arange(keys)
    if not torch.equal(seen, (places >= first[:, None]) & (places < (first + lengths)[:, None])):
        return None
    texts = whole_rows(rows, queries, keys).clone()
    texts[:, 2] += first
    texts[:, 3] = lengths
    return texts


def texts_side_by_side(places: torch.Tensor) -> torch.Tensor:
    """Return the texts that stand side by side in one row, (texts, 4).

    Args:
        places: (texts + 1,), where each begins and the last ends.
    """
    import torch

    if not hasattr(places, _TEXTS):
        begins, lengths = places[:-1], places.diff()
        setattr(places, _TEXTS, torch.stack((begins, lengths, begins, lengths), dim=1).int().contiguous())
    found: torch.Tensor = getattr(places, _TEXTS)
    return found
