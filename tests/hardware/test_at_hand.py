"""The device at hand: a CPU is measured, and what it draws is called a rule of thumb."""

from __future__ import annotations

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
