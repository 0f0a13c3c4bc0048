"""A config's steps on the device at hand, and on one of the table."""

from __future__ import annotations

from dataclasses import replace

import pytest

from llmkit.costs.choice import read_choice
from llmkit.costs.finetuning import Measured, Steps, on_device_at_hand, on_device_of_table
from llmkit.errors import UsageError
from llmkit.figures import Span
from llmkit.units import Amount

WORK = Steps("run.yaml", steps=100, tokens=50_000, flops=1e15, epochs="1,000 examples", needed=1e9, free=8e9)
POWER = (Amount(30.0, "W"), "a rule of thumb")


def measured(power=POWER):
    return Measured("1 × CPU", 1, Span(7200.0, 3600.0, 10800.0), 6, power)


def test_at_hand_it_is_what_the_probe_says():
    found = on_device_at_hand(WORK, measured(), read_choice({"price": "2"}, grid="0.5", at_hand=True))
    assert found.figure("training_flops").amount == Amount(1e15, "FLOPs")
    time = found.figure("training_time")
    assert (time.low.of("h"), time.amount.of("h"), time.high.of("h")) == (1, 2, 3)
    assert found.figure("throughput").amount.of("tokens/s") == pytest.approx(50_000 / 7200)
    energy = found.figure("energy")
    assert energy.amount.of("Wh") == pytest.approx(60) and "the device alone" in energy.source
    assert "estimated" in energy.label
    assert found.figure("emissions").amount.of("g CO2e") == pytest.approx(30)
    assert found.figure("money").amount == Amount(4, "USD")


def test_that_others_use_the_machine_is_said():
    busy = replace(measured(), load="The machine is busy.")
    choice = read_choice({}, at_hand=True)
    assert any(
        "The machine is busy. The time holds" in each for each in on_device_at_hand(WORK, busy, choice).notes
    )
    assert len(on_device_at_hand(WORK, measured(), choice).notes) == 1


def test_where_nobody_knows_what_it_draws():
    found = on_device_at_hand(WORK, measured(None), read_choice({}, at_hand=True))
    assert found.figure("energy") is None
    said = read_choice({"power": "100W", "pue": "1.5"}, at_hand=True)
    assert on_device_at_hand(WORK, measured(None), said).figure("energy").amount.of("Wh") == pytest.approx(
        300
    )


def test_by_the_table():
    found = on_device_of_table(WORK, read_choice({"mfu": "0.5"}, gpu="a100", at_hand=True))
    assert found.figure("device_hours").amount.of("device hours") == pytest.approx(1e15 / 312e12 / 0.5 / 3600)
    assert any("not measured" in each for each in found.notes)


def test_the_utilization_of_the_device_at_hand_is_not_said():
    with pytest.raises(UsageError, match="--mfu says nothing"):
        read_choice({"mfu": "0.5"}, at_hand=True)
