"""The device at hand: a CPU is measured, and what it draws is called a rule of thumb."""

from __future__ import annotations

import os

import pytest
import torch

from llmkit.hardware import at_hand
from llmkit.hardware.accelerators import CPU


def test_a_cpu_is_measured(monkeypatch):
    monkeypatch.setattr(at_hand, "_SIDE", 64)
    found = at_hand.measured_cpu()
    assert found.name == CPU and found.training_dtype == "float32"
    assert found.peaks["float32"].of("FLOP/s") > 0
    assert "measured now" in found.source and "rule of thumb" in found.power_is


def test_no_table_knows_its_peak():
    assert at_hand.peak_of_device(torch.device("cpu"), "float32") is None


def test_what_it_draws_is_no_measurement():
    power = at_hand.power_of_device(torch.device("cpu"))
    assert power is not None
    amount, source = power
    assert amount.of("W") == 15 * torch.get_num_threads()
    assert "not measured" in source
    assert at_hand.power_of_device(torch.device("meta")) is None


@pytest.mark.parametrize(("a_core", "is_said"), [(0.9, False), (2.5, True)])
def test_a_busy_cpu_is_called_so(monkeypatch, a_core, is_said):
    load = a_core * len(os.sched_getaffinity(0))
    monkeypatch.setattr(os, "getloadavg", lambda: (load, 0.0, 0.0))
    said = at_hand.load_of_device(torch.device("cpu"))
    assert (f"{load:.1f} processes" in said) is is_said and bool(said) is is_said
    assert at_hand.load_of_device(torch.device("meta")) == ""
