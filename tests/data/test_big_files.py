"""Big files, and rows of megabytes, are read in constant memory."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

READ_AND_MEASURE = """
import resource, sys, tracemalloc
from llmkit.data.sources import read_file
tracemalloc.start()
count = sum(1 for row in read_file(sys.argv[1]))
heavy = {"datasets", "pyarrow", "pandas", "torch", "numpy", "transformers"} & set(sys.modules)
print(count, tracemalloc.get_traced_memory()[1], sorted(heavy))
"""


def measure(path):
    run = subprocess.run(
        [sys.executable, "-c", READ_AND_MEASURE, path], capture_output=True, text=True, check=True
    )
    count, peak, heavy = run.stdout.split(maxsplit=2)
    return int(count), int(peak), heavy.strip()


ROW = json.dumps({"text": "a row of some length, " * 40, "label": 1})
BIG = {
    "txt": ("", ROW, "\n", "\n"),
    "csv": ("a,b\n", "some cells, ".replace(",", "") * 70 + ",1", "\n", "\n"),
    "jsonl": ("", ROW, "\n", "\n"),
    "json": ("[", ROW, ",\n", "]"),
}


@pytest.mark.parametrize("kind", BIG)
def test_a_big_file_is_read_in_constant_memory_and_without_heavy_modules(folder, kind):
    head, row, between, tail = BIG[kind]
    count = 50_000_000 // len(row)
    with Path(f"big.{kind}").open("w") as file:
        file.write(head)
        file.writelines(row + (between if number < count - 1 else tail) for number in range(count))
    read, peak, heavy = measure(f"big.{kind}")
    assert read == count
    assert peak < 4_000_000
    assert heavy == "[]"


@pytest.mark.parametrize(
    ("name", "head", "tail"),
    [("a.txt", "", ""), ("a.jsonl", '{"a": "', '"}'), ("a.json", '["', '"]'), ("a.csv", 'a\n"', '"')],
)
def test_a_row_of_fifty_megabytes_is_never_held(folder, name, head, tail):
    with Path(name).open("w") as file:
        file.write(head)
        file.writelines("x" * 1_000_000 for _ in range(50))
        file.write(tail)
    read, peak, _ = measure(name)
    assert read == 1
    assert peak < 12_000_000


def test_a_quote_never_closed_is_read_in_constant_memory(folder):
    with Path("a.csv").open("w") as file:
        file.write('a,b\n"open')
        file.writelines("x,1\n" for _ in range(600_000))
    read, peak, _ = measure("a.csv")
    assert read > 200_000
    assert peak < 12_000_000
