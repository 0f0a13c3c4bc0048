"""What a run takes: each figure follows from the ones before it, with bounds where an input was assumed."""

from __future__ import annotations

import pytest

from llmkit.costs.choice import Choice, read_choice
from llmkit.costs.estimate import estimate
from llmkit.errors import UsageError
from llmkit.hardware import at_hand
from llmkit.units import UNITS, Amount


def choose(gpu="h100", **said) -> Choice:
    texts = {
        name: said.pop(name)
        for name in ("tokens", "mfu", "hfu", "price", "pue", "power", "memory")
        if name in said
    }
    return read_choice({"tokens": "15.6T", **texts}, gpu=gpu, **said)


def value(found, key, unit):
    return found.figure(key).amount.of(unit)


def test_from_tokens_to_money(count):
    choice = choose(mfu="0.41", gpus=16384, price="2.5", pue="1.1", power="700W", grid="0.385")
    found = estimate(count("llama-3.1-405b"), choice)
    assert found.figures[0].key == "training_flops"
    hours = value(found, "training_flops_with_attention", "FLOPs") / (989.4e12 * 0.41 * 3600)
    assert value(found, "device_hours", "device hours") == pytest.approx(hours)
    assert value(found, "training_time", "h") == pytest.approx(hours / 16384)
    assert value(found, "energy", "kWh") == pytest.approx(hours * 0.7 * 1.1)
    assert value(found, "emissions", "kg CO2e") == pytest.approx(hours * 0.7 * 1.1 * 0.385)
    assert value(found, "money", "USD") == pytest.approx(hours * 2.5)
    # Nothing was assumed, so nothing has bounds.
    assert all(each.low is None for each in found.figures)


def test_what_is_assumed_has_bounds_and_says_so(count):
    found = estimate(count("gpt2"), choose(price="2", gpus=8))
    for key in ("device_hours", "training_time", "energy", "emissions", "money"):
        each = found.figure(key)
        assert each.low.value < each.amount.value < each.high.value, key
    assert "assumed" in found.figure("device_hours").source
    assert "PUE 1.2" in found.figure("energy").source
    assert found.figure("training_flops").low is None


def test_recomputation_takes_time_unless_the_utilization_counts_it_out(count):
    def hours(**said):
        return value(estimate(count("gpt-3-175b"), choose(**said)), "device_hours", "device hours")

    assert hours(mfu="0.4", recompute="full") == hours(mfu="0.4")
    assert hours(hfu="0.4", recompute="full") / hours(hfu="0.4") == pytest.approx(4 / 3, rel=0.01)
    assert hours(recompute="full") / hours() == pytest.approx(4 / 3, rel=0.01)


def test_the_memory_is_dealt_out_over_the_devices(count):
    few, many = (estimate(count("llama-2-7b"), choose(gpus=number)) for number in (8, 64))
    states = 16 * 6_738_415_616
    assert value(few, "memory_per_device", "bytes") > states / 8
    assert value(many, "memory_per_device", "bytes") < value(few, "memory_per_device", "bytes")
    least = value(few, "devices_at_least", "devices")
    assert least == value(many, "devices_at_least", "devices") and 2 <= least <= 8


def test_too_few_devices_are_called_so(count):
    notes = {
        number: [
            each for each in estimate(count("llama-2-7b"), choose(gpus=number)).notes if "too few" in each
        ]
        for number in (1, 8)
    }
    assert notes[1] and notes[1][0].startswith("1 × h100: too few to hold it, at least ")
    assert not notes[8]


def test_what_does_not_fit_is_recomputed_and_then_split(count):
    found = estimate(count("gpt-3-175b"), choose(gpu="v100"))
    assert "recomputed" in found.figure("memory_per_device").formula
    assert any("--recompute full" in each for each in found.notes)
    found = estimate(count("llama-3.1-405b"), choose(gpu="t4"))
    least, each = (found.figure(key) for key in ("devices_at_least", "memory_per_device"))
    assert "split over" in each.formula and "Megatron" in least.source
    assert each.amount.of("bytes") < 16e9
    assert least.amount.of("devices") * 16e9 > 16 * 405_853_388_800
    assert any("split over the devices" in each for each in found.notes)


def test_another_memory_than_the_tables(count):
    least = [
        value(estimate(count("gpt2-xl"), choose(gpu="v100", memory=memory)), "devices_at_least", "devices")
        for memory in ("16GB", "32GB")
    ]
    assert least[0] > least[1]


def test_a_memory_that_holds_nothing(count):
    with pytest.raises(UsageError, match=r"--memory 1\.00 MB: nothing is left"):
        estimate(count("gpt2"), choose(gpu="t4", memory="1MB"))


def test_an_assumed_length_is_called_so(count):
    notes = estimate(count("t5-base"), choose()).notes
    assert any("8,192 are assumed" in each for each in notes)
    assert not any(
        "assumed" in each for each in estimate(count("t5-base"), choose(sequence_length=512)).notes
    )
    assert not any("assumed" in each for each in estimate(count("gpt2"), choose()).notes)


def test_adapters_need_less_of_everything(count):
    whole, adapted = (estimate(count("llama-2-7b", lora), choose()) for lora in (None, "r=8"))
    for key, unit in (
        ("training_flops", "FLOPs"),
        ("device_hours", "device hours"),
        ("memory_per_device", "bytes"),
    ):
        assert value(adapted, key, unit) < value(whole, key, unit)


def test_a_power_that_nobody_published_leaves_the_energy_out(count):
    found = estimate(count("gpt2"), choose(gpu="tpu-v5p"))
    assert found.figure("energy") is None and found.figure("device_hours") is not None
    assert any("nobody published" in each for each in found.notes)
    assert estimate(count("gpt2"), choose(gpu="tpu-v5p", power="400W")).figure("energy") is not None


def test_this_machines_cpu_is_measured(count, monkeypatch):
    monkeypatch.setattr(at_hand, "_SIDE", 64)
    found = estimate(count("gpt2"), choose(gpu="cpu"))
    assert "measured now" in found.figure("device_hours").source
    assert found.figure("devices_at_least") is None


def test_without_a_device_there_are_flops_alone(count):
    found = estimate(count("gpt2"), read_choice({"tokens": "1B"}))
    assert {each.key for each in found.figures} == {"training_flops", "training_flops_with_attention"}


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ({"gpus": 10**400}, "--gpus with so many digits: it should be from 1 to"),
        ({"batch_size": 10**400}, "--batch-size with so many digits: it should be from 1 to"),
        ({"sequence_length": 10**30}, "--sequence-length with so many digits: it should be from 1 to"),
        ({"pue": "110"}, "no data center draws 110 times"),
        ({"gpu": None, "batch_size": 4}, "--batch-size says nothing without a device"),
        ({"gpu": "cpu", "memory": "24GB"}, "a CPU's is its machine's"),
        ({"gpu": "cpu", "batch_size": 4}, "a CPU's is its machine's"),
    ],
)
def test_what_says_nothing_or_cannot_be_meant_is_refused(said, error):
    with pytest.raises(UsageError, match=error):
        choose(**said)


def test_the_largest_amounts_give_figures(count):
    found = estimate(
        count("gpt2"),
        read_choice({"tokens": "1e28T", "price": "1e40", "mfu": "1e-38%"}, gpu="t4", gpus=10**12),
    )
    assert all(str(each.amount) for each in found.figures)


def test_tokens_are_needed(count):
    with pytest.raises(UsageError, match="how many tokens"):
        estimate(count("gpt2"), read_choice({}))


def test_each_figure_has_a_unit_a_formula_and_mostly_a_source(count):
    for each in estimate(count("gpt2"), choose(gpus=8, price="1")).figures:
        assert each.amount.unit in UNITS and each.formula
        assert each.source or each.key in ("training_time", "money")
        for bound in (each.low, each.high):
            assert bound is None or (isinstance(bound, Amount) and bound.unit == each.amount.unit)
