"""Small files that stand for large ones: what reading them takes, measured in a process of its own.

docs/security.md states the bounds. A process that hangs ends by its limit of processor time.
"""

from __future__ import annotations

import gzip
import io
import itertools
import json
import struct
import subprocess
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.fixtures.command import base_environment

MOST_SECONDS = 30  # of processor time; none of them takes a tenth of that
MEGABYTE = 1_000_000

READ = "from llmkit.data.sources import read_file\nseen = sum(1 for row in read_file(path))"
CONFIG = "from llmkit.training.config_file import load_config\nload_config(path)"
VALUE = "from llmkit.data.yaml_text import parse_value\nparse_value(open(path).read(), '--set a')"
PARAMS = "from llmkit.architectures.naming import name_model\nname_model(path)"
HEADERS = "from llmkit.architectures.headers import read_headers\nread_headers(path)"
VECTORS = "from llmkit.embeddings.vector_files import open_vectors\nseen = sum(map(len, open_vectors(path).blocks()))"
UNPACK = "from pathlib import Path\nfrom llmkit.models.archives import unpacked\nunpacked(Path(path), 'it')"
IMAGE = "from llmkit.data.media import load_image\nseen = load_image(path).size"
SOUND = "from llmkit.data.media import load_audio\nseen = len(load_audio(path, 16000))"

MEASURED = """
import json, resource, sys
resource.setrlimit(resource.RLIMIT_CPU, (int(sys.argv[1]),) * 2)
path, seen, said = sys.argv[2], None, None
from llmkit.errors import LlmkitError
try:
    exec(sys.argv[3])
except LlmkitError as error:
    said = error.message
# Not ru_maxrss, which a process has from the one that started it.
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(json.dumps({"peak": int(status["VmHWM"].split()[0]) * 1024, "said": said, "seen": seen}))
"""


@dataclass(frozen=True)
class Bomb:
    """A file, what reads it, and what that may take.

    Attributes:
        make: its content, or what writes it.
        says: what the message has in it; None where it can be read.
        most: bytes that the process may hold at a time, Python and its libraries included.
    """

    name: str
    file: str
    make: Callable[[], bytes]
    read: str
    says: str | None
    most: int
    env: tuple[tuple[str, str], ...] = ()


def aliases(first: str, rows: int, line: Callable[[str, str], str]) -> bytes:
    names = [f"a{number}" for number in range(rows)]
    lines = [first, *(line(before, name) for before, name in itertools.pairwise(names))]
    return "\n".join(lines).encode()


def laughs() -> bytes:
    return aliases(
        "a0: &a0 [x, x, x]", 40, lambda before, name: f"{name}: &{name} [*{before}, *{before}, *{before}]"
    )


def merges() -> bytes:
    return aliases(
        "a0: &a0 {x: 1}",
        40,
        lambda before, name: f"{name}: &{name} {{<<: [*{before}, *{before}, *{before}]}}",
    )


def flow_laughs() -> bytes:
    return b"{" + laughs().replace(b"\n", b", ") + b"}"


def columns(count: int) -> bytes:
    header = ",".join(f"c{number}" for number in range(count))
    return f"{header}\n{',' * (count - 1)}\n".encode()


def keys(count: int) -> bytes:
    return json.dumps({f"k{number}": 1 for number in range(count)}).encode()[:-1] + b', "k0": 2}\n'


def tensors(count: int) -> bytes:
    header = json.dumps(
        {f"layer.{n}.weight": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]} for n in range(count)}
    ).encode()
    return len(header).to_bytes(8, "little") + header + bytes(4)


def parquet(**table: object) -> bytes:
    import pyarrow
    import pyarrow.parquet

    packed = io.BytesIO()
    pyarrow.parquet.write_table(
        pyarrow.table(table), packed, compression="zstd", store_schema=False, write_statistics=False
    )
    return packed.getvalue()


def varint(number: int) -> bytes:
    number <<= 1
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def page_of_two_gigabytes() -> bytes:
    """A file whose page says that it has two gigabytes: the field after the kind is the size."""
    import pyarrow
    import pyarrow.parquet

    whole = parquet(text=[f"{number}" * 40_000 for number in range(8)])
    chunk = pyarrow.parquet.ParquetFile(io.BytesIO(whole)).metadata.row_group(0).column(0)
    begin = end = chunk.dictionary_page_offset + 3  # behind a field's head, the kind, and a field's head
    while whole[end] & 128:
        end += 1
    return whole[:begin] + varint(2**31 - 1) + whole[end + 1 :]


def one_text_in_every_row() -> bytes:
    import pyarrow

    number = pyarrow.array([0] * 200, pyarrow.int32())
    return parquet(text=pyarrow.DictionaryArray.from_arrays(number, ["x" * 8 * MEGABYTE]))


def one_row_of_millions() -> bytes:
    import numpy
    import pyarrow

    values = pyarrow.array(numpy.zeros(20 * MEGABYTE, numpy.int8))
    return parquet(
        text=pyarrow.ListArray.from_arrays(pyarrow.array([0, len(values)], pyarrow.int32()), values)
    )


def npy(shape: str) -> bytes:
    head = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode() + bytes(256)


def zipped() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", bytes(300 * MEGABYTE))
    return packed.getvalue()


def tar_with_long_name(kind: bytes) -> Callable[[], bytes]:
    def make() -> bytes:
        member = tarfile.TarInfo("x")
        member.type, member.size = kind, 300 * MEGABYTE
        return gzip.compress(member.tobuf(tarfile.GNU_FORMAT) + b"n" * member.size + bytes(1024), 1)

    return make


def png(width: int, height: int, rows: bytes = b"") -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(rows, 1))
        + chunk(b"IEND", b"")
    )


def wav(rate: int, samples: int) -> bytes:
    data = bytes(2 * samples)
    head = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, rate, 2 * rate, 2, 16)
    return (
        b"RIFF"
        + struct.pack("<I", 28 + len(data))
        + b"WAVE"
        + head
        + b"data"
        + struct.pack("<I", len(data))
        + data
    )


def flac() -> bytes:
    about = (16_000 << 44) | (7 << 41) | (15 << 36) | (2**36 - 1)
    return (
        b"fLaC\x80"
        + struct.pack(">I", 34)[1:]
        + struct.pack(">HH6xQ16x", 4096, 4096, about)
        + b"\xff\xf8"
        + bytes(40)
    )


# They take more than a second, most of it to be made.
SLOW = (
    "a line in gz",
    "zeros in gz",
    "a zip",
    "a name in a tarball",
    "a header in a tarball",
    "a million columns",
    "tensors",
    "a sentence",
    "fifty megapixels",
)
SMALL, MIDDLE, LARGE = 150 * MEGABYTE, 400 * MEGABYTE, 1500 * MEGABYTE
BOMBS = (
    Bomb("aliases of aliases", "a.yaml", laughs, CONFIG, "more than 100,000 values", SMALL),
    Bomb("merges of merges", "a.yaml", merges, CONFIG, "more than 100,000 values", SMALL),
    Bomb("aliases in a value", "a.yaml", flow_laughs, VALUE, "more than 100,000 values", SMALL),
    Bomb("lists in lists", "a.yaml", lambda: b"a: " + b"[" * 900_000, CONFIG, "nested too deeply", SMALL),
    Bomb("a long config", "a.yaml", lambda: b"# long\n" * MEGABYTE, CONFIG, "too large", SMALL),
    Bomb("a nested config", "config.json", lambda: b"[" * 30 * MEGABYTE, PARAMS, "nested too deeply", MIDDLE),
    Bomb("a line in gz", "a.txt.gz", lambda: gzip.compress(b"x" * 300 * MEGABYTE, 1), READ, None, SMALL),
    Bomb(
        "zeros in gz", "a.txt.gz", lambda: gzip.compress(bytes(300 * MEGABYTE), 1), READ, "NUL bytes", SMALL
    ),
    Bomb("a line", "a.txt", lambda: b"x" * 10 * MEGABYTE, READ, None, SMALL),
    Bomb("a line of csv", "a.csv", lambda: b"a,b\n" + b"x" * 10 * MEGABYTE, READ, None, SMALL),
    Bomb("a line of json", "a.json", lambda: b'[{"a": "' + b"x" * 10 * MEGABYTE + b'"}]', READ, None, SMALL),
    Bomb("a quote", "a.csv", lambda: b'a,b\n"' + (b"x" * 50 + b"\n") * 100_000, READ, None, SMALL),
    Bomb("a nested line", "a.jsonl", lambda: b"[" * 900_000, READ, None, SMALL),
    Bomb("a nested row", "a.json", lambda: b"[" * 5 * MEGABYTE, READ, "not closed", SMALL),
    Bomb("a number", "a.jsonl", lambda: b'{"a": ' + b"9" * 900_000 + b"}\n", READ, None, SMALL),
    Bomb("a number of json", "a.json", lambda: b'[{"a": ' + b"9" * 5 * MEGABYTE + b"}]", READ, None, SMALL),
    Bomb("keys", "a.jsonl", lambda: keys(60_000), READ, None, SMALL),
    Bomb("a sentence", "a.conll", lambda: b"word TAG\n" * 300_000, READ, None, SMALL),
    Bomb("columns", "a.csv", lambda: columns(120_000), READ, None, SMALL),
    Bomb(
        "a million columns",
        "a.csv",
        lambda: columns(MEGABYTE),
        READ,
        None,
        MIDDLE,
        (("LLMKIT_MAX_ROW_CHARS", "10000000"),),
    ),
    Bomb("a page of two gigabytes", "a.parquet", page_of_two_gigabytes, READ, "2,147,483,647 bytes", SMALL),
    Bomb("a text in every row", "a.parquet", one_text_in_every_row, READ, None, LARGE),
    Bomb("a row of millions", "a.parquet", one_row_of_millions, READ, "values", SMALL),
    Bomb(
        "a header of 2**63 bytes",
        "a.safetensors",
        lambda: bytes(7) + b"\x80{}",
        HEADERS,
        "not a safetensors",
        SMALL,
    ),
    Bomb(
        "a header of 100 megabytes",
        "a.safetensors",
        lambda: (100 * MEGABYTE).to_bytes(8, "little") + b"{}",
        HEADERS,
        "cut off",
        SMALL,
    ),
    Bomb("tensors", "a.safetensors", lambda: tensors(200_000), HEADERS, None, MIDDLE),
    Bomb(
        "rows that are not there", "a.npy", lambda: npy("(99999999999, 4096)"), VECTORS, "no .npy file", SMALL
    ),
    Bomb("a zip", "a.zip", zipped, UNPACK, "100 times its size", SMALL),
    Bomb(
        "a name in a tarball",
        "a.tar.gz",
        tar_with_long_name(tarfile.GNUTYPE_LONGNAME),
        UNPACK,
        "damaged",
        SMALL,
    ),
    Bomb("a header in a tarball", "a.tar.gz", tar_with_long_name(tarfile.XHDTYPE), UNPACK, "damaged", SMALL),
    Bomb("a sound that is stretched", "a.wav", lambda: wav(1, 100_000), SOUND, "too long", SMALL),
    Bomb("a sound of 2**36 samples", "a.flac", flac, SOUND, "cannot be read", SMALL),
    Bomb("a gigapixel", "a.png", lambda: png(40_000, 40_000), IMAGE, "too many pixels", LARGE),
    Bomb("fifty megapixels", "a.png", lambda: png(10_000, 5_000, bytes(10_001 * 5_000)), IMAGE, None, LARGE),
)


def with_marks() -> list[pytest.param]:
    return [
        pytest.param(bomb, id=bomb.name, marks=[pytest.mark.slow] if bomb.name in SLOW else [])
        for bomb in BOMBS
    ]


@pytest.mark.parametrize("bomb", with_marks())
def test_what_it_takes(bomb: Bomb, tmp_path: Path) -> None:
    path = tmp_path / bomb.file
    path.write_bytes(bomb.make())
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", MEASURED, str(MOST_SECONDS), str(path), bomb.read],
        capture_output=True,
        text=True,
        env=base_environment() | {"LLMKIT_CACHE": str(tmp_path / "cache"), **dict(bomb.env)},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    assert (found["said"] is None) == (bomb.says is None), found
    assert (bomb.says or "") in (found["said"] or ""), found
    assert found["peak"] < bomb.most, f"{found['peak'] / MEGABYTE:.0f} MB"
