"""The table of accelerators: each row whole, with its data sheet, and found by the names people and torch give."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from llmkit.errors import UsageError
from llmkit.hardware import accelerators as module
from llmkit.hardware.accelerators import accelerator_of, accelerators, find_accelerator, peak_of

ROWS = accelerators()
FILE = json.loads(Path(module.__file__).with_name("accelerators.json").read_bytes())
NEEDED = {"name", "aliases", "kind", "peak_tflops", "memory_gb", "bandwidth_gb_per_s", "power_w", "source"}


@pytest.mark.parametrize("row", FILE, ids=lambda row: row["name"])
def test_a_row_is_whole(row):
    assert NEEDED <= set(row) <= NEEDED | {"torch_name", "power_is", "url", "from_memory", "note"}
    assert row["source"]
    assert row["peak_tflops"] and set(row["peak_tflops"]) <= {"bfloat16", "float16", "float32"}
    assert ("power_is" in row) == (row["power_w"] is not None)
    assert row["power_w"] is not None or "never published" in row["note"]
    assert set(row.get("from_memory", ())) <= NEEDED


def test_no_name_stands_for_two():
    names = [name for row in ROWS.values() for name in (row.name, *row.aliases)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    "name",
    [
        "v100",
        "a100-40gb",
        "a100-80gb",
        "h100",
        "h200",
        "b200",
        "mi300x",
        "l4",
        "t4",
        "rtx-3090",
        "rtx-4090",
        "rtx-5090",
        "tpu-v3",
        "tpu-v4",
        "tpu-v5e",
        "tpu-v5p",
        "trainium",
    ],
)
def test_those_that_people_ask_for_are_there(name):
    assert find_accelerator(name).memory is not None


@pytest.mark.parametrize(
    ("typed", "name"),
    [("H100", "h100"), ("a100", "a100-80gb"), ("RTX 4090", "rtx-4090"), ("tpuv4", "tpu-v4"), (" t4 ", "t4")],
)
def test_by_the_names_people_type(typed, name):
    assert find_accelerator(typed).name == name


def test_a_slip_is_told_of():
    with pytest.raises(UsageError, match="did you mean h100"):
        find_accelerator("h10")


@pytest.mark.parametrize(
    ("name", "dtype", "peak"),
    [
        ("NVIDIA A100-SXM4-80GB", "bfloat16", 312e12),
        ("NVIDIA A100 80GB PCIe", "float32", 19.5e12),
        ("NVIDIA A100-PCIE-40GB", "bfloat16", 312e12),
        ("NVIDIA H100 80GB HBM3", "bfloat16", 989.4e12),
        ("NVIDIA H100 PCIe", "float16", 756e12),
        ("NVIDIA H100 NVL", "bfloat16", 835.5e12),
        ("NVIDIA H200", "bfloat16", 989.4e12),
        ("NVIDIA B200", "bfloat16", 2250e12),
        ("NVIDIA L40S", "bfloat16", 362.05e12),
        ("NVIDIA L40", "bfloat16", 181.05e12),
        ("NVIDIA L4", "bfloat16", 121e12),
        ("NVIDIA GeForce RTX 4090", "bfloat16", 165.2e12),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", "bfloat16", None),
        ("Tesla T4", "float16", 65e12),
        ("Tesla T4", "bfloat16", None),
        ("Tesla V100-SXM2-16GB", "float32", 15.7e12),
        ("NVIDIA A10G", "bfloat16", None),
        ("NVIDIA GeForce GTX 1080", "float32", None),
    ],
)
def test_the_peak_by_the_name_that_torch_gives(name, dtype, peak):
    assert peak_of(name, dtype) == peak


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("NVIDIA A100-SXM4-40GB", "a100-40gb"),
        ("NVIDIA A100-SXM4-80GB", "a100-80gb"),
        ("NVIDIA A100 80GB PCIe", "a100-pcie-80gb"),
        ("NVIDIA A100-PCIE-40GB", "a100-pcie-40gb"),
    ],
)
def test_which_of_its_kin_a_device_is(name, row):
    found = accelerator_of(name)
    assert found is not None and found.name == row


def test_half_precision_where_there_is_no_bfloat16():
    assert find_accelerator("v100").training_dtype == "float16"
    assert find_accelerator("tpu-v3").training_dtype == "bfloat16"
