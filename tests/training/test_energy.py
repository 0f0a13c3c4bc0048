"""The energy of a run: time by power, where the power is known."""

from __future__ import annotations

import pytest
import torch

from llmkit.training.energy import WATTS_A_CORE, energy_line, watts_of_board

NAMES = {
    "NVIDIA B200": 1000,
    "NVIDIA H200": 700,
    "NVIDIA H100 80GB HBM3": 700,
    "NVIDIA H100 PCIe": 350,
    "NVIDIA A100-SXM4-80GB": 400,
    "NVIDIA A100 80GB PCIe": 300,
    "NVIDIA A100-PCIE-40GB": 250,
    "NVIDIA L4": 72,
    "NVIDIA L40S": 350,
    "Tesla T4": 70,
    "Tesla V100-SXM2-16GB": 300,
    "NVIDIA GeForce RTX 4090 Laptop GPU": None,
    "NVIDIA A10G": None,
    "Some other board": None,
}


@pytest.mark.parametrize(("name", "watts"), NAMES.items())
def test_a_board_is_told_by_its_name(name: str, watts: float | None) -> None:
    assert watts_of_board(name) == watts


def test_of_a_processor_the_cores_in_use_count() -> None:
    line = energy_line(torch.device("cpu"), seconds=7200, processes=3)
    watts = WATTS_A_CORE * torch.get_num_threads() * 3
    assert line == (
        f"Energy, estimated and not measured: {2 * watts:.1f} Wh, at {watts:,.0f} W, 15 W a core in use."
    )


def test_of_a_board_it_is_the_most_that_it_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    names = iter(["NVIDIA L4", "Some other board"])
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: next(names))
    line = energy_line(torch.device("cuda"), seconds=1800, processes=2)
    assert line is not None
    assert "72.0 Wh, at 144 W, the most that the board draws" in line
    assert energy_line(torch.device("cuda"), seconds=1800, processes=2) is None
