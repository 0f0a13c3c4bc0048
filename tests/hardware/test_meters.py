"""Meters: RAPL read from a folder like the kernel's; nothing where nothing can be read."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from llmkit.hardware.meters import EnergyMeter, NvmlMeter, RaplMeter, open_meter

FULL = 262_143_328_850


def package(folder: Path, name: str, microjoules: int) -> Path:
    place = folder / name
    place.mkdir(exist_ok=True)
    (place / "max_energy_range_uj").write_text(f"{FULL}\n")
    (place / "energy_uj").write_text(f"{microjoules}\n")
    return place


def test_packages_are_added_and_their_parts_are_not(tmp_path):
    for name in ("intel-rapl:0", "intel-rapl:1", "intel-rapl:0:0"):
        package(tmp_path, name, 1_000_000)
    meter = EnergyMeter(RaplMeter(tmp_path))
    assert meter.lap() == 0
    for name, microjoules in (
        ("intel-rapl:0", 3_000_000),
        ("intel-rapl:1", 4_000_000),
        ("intel-rapl:0:0", 9_000_000),
    ):
        package(tmp_path, name, microjoules)
    assert meter.lap() == pytest.approx(5.0)
    assert meter.lap() == 0


def test_a_counter_that_begins_anew(tmp_path):
    package(tmp_path, "intel-rapl:0", FULL - 1_000_000)
    meter = EnergyMeter(RaplMeter(tmp_path))
    package(tmp_path, "intel-rapl:0", 500_000)
    assert meter.lap() == pytest.approx(1.5)
    package(tmp_path, "intel-rapl:0", 700_000)
    assert meter.lap() == pytest.approx(0.2)


def test_a_counter_that_can_no_longer_be_read_ends_the_measuring(tmp_path):
    place = package(tmp_path, "intel-rapl:0", 1)
    meter = EnergyMeter(RaplMeter(tmp_path))
    (place / "energy_uj").unlink()
    assert meter.lap() is None
    assert meter.name == "" and meter.lap() is None


def test_nothing_to_read(tmp_path, monkeypatch):
    with pytest.raises(OSError, match="no counters"):
        RaplMeter(tmp_path)
    monkeypatch.setattr("llmkit.hardware.meters.RAPL_FOLDER", tmp_path)
    monkeypatch.setattr(RaplMeter.__init__, "__defaults__", (tmp_path,))
    meter = open_meter(torch.device("cpu"))
    assert (meter.name, meter.lap()) == ("", None)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU with a counter here")
def test_no_gpu_no_counter():
    with pytest.raises(OSError):
        NvmlMeter("GPU-none")
