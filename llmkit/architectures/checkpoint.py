"""A checkpoint held against the architecture: what its headers say is there, and what the config says should be.

Tensors are compared by name and shape, every number of a layer or an expert as ``*``, so that a hundred layers are
one line.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import prod

from llmkit.architectures.checkpoint_names import as_loaded, folded, with_new_words, without_prefix
from llmkit.architectures.counted import Counted
from llmkit.architectures.headers import DTYPE_BITS, Headers, read_headers
from llmkit.data.shapes import also

Shape = tuple[int, ...]
Shapes = Counter[Shape]
Named = Mapping[str, Shapes]

PLAIN, ADAPTER, PACKED = "plain", "adapter", "packed"
BUFFER, TIED = "buffer", "tied"
# What packed and quantized weights have beside their numbers: GPTQ, AWQ, bitsandbytes, compressed-tensors, MXFP4.
_PACKED = re.compile(
    r"[._](qweight|qzeros|g_idx|SCB|absmax|quant_map|quant_state|weight_packed|weight_scale(_inv)?|\w+_scales)"
    r"([._]|$)"
)
_QUANTIZED_DTYPES = {"I8", "U8", "F8_E4M3", "F8_E5M2", "F4"}


@dataclass(frozen=True, slots=True)
class Difference:
    """Tensors of one name that the checkpoint and the architecture do not have alike.

    Attributes:
        copies: how many of them.
        shape: of each; `expected` is the architecture's where both have them.
        reason: why the checkpoint may have more: ``buffer``, ``tied``; else "".
    """

    name: str
    copies: int
    shape: Shape
    expected: Shape | None = None
    reason: str = ""

    @property
    def numbers(self) -> int:
        """Numbers in all of them."""
        return self.copies * prod(self.shape)


@also(agrees=bool)
@dataclass(frozen=True, slots=True)
class Report:
    """A checkpoint beside the architecture.

    Attributes:
        place: where it is; `files` are the names of its files.
        total: the numbers in it, all dtypes; `expected`, the parameters of the architecture; `size`, in bytes.
        dtypes: numbers by dtype, the most first.
        kind: ``adapter`` or ``packed`` where the numbers are not the model's own; else ``plain``.
        missing, extra: what only the architecture, or only the checkpoint, has.
        reshaped: what both have, in other shapes.
        duplicates: kept, though the config ties them to a tensor that is there too.
        converted: how many tensors transformers makes others of when it loads them: experts it joins.
    """

    place: str
    files: tuple[str, ...]
    total: int
    expected: int
    size: int
    dtypes: Mapping[str, int]
    kind: str = PLAIN
    missing: tuple[Difference, ...] = ()
    extra: tuple[Difference, ...] = ()
    reshaped: tuple[Difference, ...] = ()
    duplicates: tuple[Difference, ...] = ()
    converted: int = 0

    @property
    def agrees(self) -> bool:
        """Whether it has each parameter of the architecture once, and nothing else but buffers."""
        others = [each for each in self.extra if each.reason != BUFFER]
        return self.kind == PLAIN and not (self.missing or self.reshaped or self.duplicates or others)


def check_checkpoint(counted: Counted, location: str, revision: str | None = None) -> Report:
    """Read the headers of a checkpoint and hold them against a count.

    Args:
        location: a file, an index, a folder, or a model on the hub, of `revision`.

    Raises:
        ModelError, HubError: as of `headers.read_headers`.
    """
    return compare(counted, read_headers(location, revision))


def compare(counted: Counted, headers: Headers) -> Report:
    """Hold a checkpoint's headers against a count.

    Only where names are left over on both sides is transformers asked what it makes of them.
    """
    differences = _compare(counted, headers, {name: with_new_words(name) for name in headers.tensors})
    kind = ADAPTER if headers.is_adapter else PACKED if _is_packed(headers) else PLAIN
    if kind == PLAIN and differences.missing and differences.extra:
        names = as_loaded(headers.tensors, counted.config, counted.head)
        again = _compare(counted, headers, names, joins=True)
        if again.left_over < differences.left_over:
            differences = again
    return Report(
        headers.place,
        headers.files,
        total=sum(each.size for each in headers.tensors.values()),
        expected=counted.total,
        size=sum(each.size * DTYPE_BITS[each.dtype] for each in headers.tensors.values()) // 8,
        dtypes=_dtypes(headers),
        kind=kind,
        missing=tuple(differences.missing),
        extra=tuple(differences.extra),
        reshaped=tuple(differences.reshaped),
        duplicates=tuple(differences.duplicates),
        converted=differences.converted,
    )


@dataclass(slots=True)
class _Differences:
    missing: list[Difference] = field(default_factory=list)
    extra: list[Difference] = field(default_factory=list)
    reshaped: list[Difference] = field(default_factory=list)
    duplicates: list[Difference] = field(default_factory=list)
    converted: int = 0

    @property
    def left_over(self) -> int:
        return sum(each.numbers for each in (*self.missing, *self.extra, *self.reshaped))


def _compare(
    counted: Counted, headers: Headers, names: Mapping[str, str], *, joins: bool = False
) -> _Differences:
    expected = _expected(counted)
    stored = _stored(headers, names, expected, dict(_aliases(counted)))
    found = _Differences()
    for name, shapes in expected.items():
        have = stored.get(name, Counter())
        if joins and have != shapes and _numbers(have) == _numbers(shapes):
            found.converted += sum(have.values())
        else:
            _hold(name, shapes, have, found)
    tied = dict(_aliases(counted))
    buffers = {folded(buffer.name) for buffer in counted.buffers}
    for name, shapes in stored.items():
        if name not in expected:
            reason = TIED if name in tied else BUFFER if name in buffers else ""
            place = found.duplicates if reason == TIED else found.extra
            place += [Difference(name, copies, shape, reason=reason) for shape, copies in shapes.items()]
    return found


def _expected(counted: Counted) -> dict[str, Shapes]:
    expected: defaultdict[str, Shapes] = defaultdict(Counter)
    for tensor in counted.tensors:
        expected[folded(tensor.name)][tensor.sizes] += tensor.copies
    return expected


def _aliases(counted: Counted) -> Iterator[tuple[str, str]]:
    for tensor in counted.tied():
        for alias in tensor.tied:
            yield folded(alias), folded(tensor.name)


def _stored(
    headers: Headers, names: Mapping[str, str], expected: Named, aliases: Mapping[str, str]
) -> dict[str, Shapes]:
    """Return the checkpoint's shapes by the model's names; a tied tensor under its first name, once."""
    wanted = {*expected, *aliases}
    change = without_prefix({folded(name) for name in names.values()}, wanted)
    stored: defaultdict[str, Shapes] = defaultdict(Counter)
    for name, tensor in headers.tensors.items():
        stored[change[folded(names[name])]][tensor.shape] += 1
    for alias, name in aliases.items():
        if name not in stored and alias in stored:
            stored[name] = stored.pop(alias)
    return stored


def _hold(name: str, expected: Shapes, have: Shapes, found: _Differences) -> None:
    lacking, surplus = expected - have, have - expected
    for shape, other in zip(sorted(lacking.elements()), sorted(surplus.elements()), strict=False):
        found.reshaped.append(Difference(name, 1, other, shape))
        lacking[shape] -= 1
        surplus[other] -= 1
    found.reshaped = _summed(found.reshaped)
    found.missing += [Difference(name, copies, shape) for shape, copies in lacking.items() if copies > 0]
    found.extra += [Difference(name, copies, shape) for shape, copies in surplus.items() if copies > 0]


def _summed(differences: list[Difference]) -> list[Difference]:
    copies: Counter[tuple[str, Shape, Shape | None]] = Counter()
    for each in differences:
        copies[each.name, each.shape, each.expected] += each.copies
    return [Difference(name, count, shape, expected) for (name, shape, expected), count in copies.items()]


def _numbers(shapes: Shapes) -> int:
    return sum(prod(shape) * copies for shape, copies in shapes.items())


def _is_packed(headers: Headers) -> bool:
    by_name = any(_PACKED.search(name) for name in headers.tensors)
    # A bfloat16 model may keep a small table of integers; weights in them are quantized.
    quantized = sum(each.size for each in headers.tensors.values() if each.dtype in _QUANTIZED_DTYPES)
    return by_name or 2 * quantized > sum(each.size for each in headers.tensors.values())


def _dtypes(headers: Headers) -> dict[str, int]:
    numbers: Counter[str] = Counter()
    for each in headers.tensors.values():
        numbers[each.dtype] += each.size
    return dict(numbers.most_common())
