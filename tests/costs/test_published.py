"""llmkit's formulas against what published runs took: the proof of `llmkit cost`, over its own table."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from llmkit.costs import published as module
from llmkit.costs.published import KINDS, PublishedRun, published_runs
from llmkit.hardware.accelerators import accelerators

FILE = json.loads(Path(module.__file__).with_name("runs.json").read_bytes())
RUN_KEYS = {
    "name",
    "published",
    "model",
    "tokens",
    "sequence_length",
    "gpu",
    "mfu",
    "hfu",
    "mfu_source",
    "mfu_note",
}
RUN_KEYS |= {"tokens_per_second", "recompute", "power_w", "pue", "kg_co2e_per_kwh", "tokens_note"}
RUN_KEYS |= {"undisclosed", "undisclosed_source"}


@pytest.fixture(scope="module")
def runs() -> dict[str, PublishedRun]:
    return {run.name: run for run in published_runs()}


@pytest.mark.parametrize("row", FILE["runs"], ids=lambda row: row["name"])
def test_each_figure_has_its_source_and_what_kind_it_is(row):
    assert set(row) <= RUN_KEYS
    assert row["published"]
    for figure in row["published"]:
        assert figure["kind"] in KINDS
        assert FILE["sources"][figure["source"]]["url"].startswith("https://")
    if {"mfu", "hfu", "tokens_per_second"} & set(row):
        assert row["mfu_source"] in FILE["sources"]
    assert "gpu" not in row or row["gpu"] in accelerators()
    assert "model" in row or "published neither" in row["undisclosed"]


def test_no_source_is_idle():
    used = {figure["source"] for row in FILE["runs"] for figure in row["published"]}
    used |= {row[key] for row in FILE["runs"] for key in ("mfu_source", "undisclosed_source") if key in row}
    assert used == set(FILE["sources"])


@pytest.mark.parametrize(
    ("run", "flops"),
    [
        ("GPT-3 175B", 3.14e23),
        ("PaLM 540B", 2.53e24),
        ("Llama 3.1 405B", 3.8e25),
        ("Chinchilla 70B", 5.76e23),
    ],
)
def test_flops_within_5_percent(runs, run, flops):
    figure = runs[run].figure("training_flops")
    assert figure.amount.of("FLOPs") == pytest.approx(flops, rel=0.002)
    assert figure.ratio.value == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize(
    ("run", "hours"),
    [("BLOOM 176B", 1_082_990), ("Llama 2 70B", 1_720_320), ("Llama 3.1 405B", 30_840_000)],
)
def test_device_hours_within_25_percent_at_the_stated_utilization(runs, run, hours):
    figure = runs[run].figure("device_hours")
    assert figure.amount.of("device hours") == hours
    assert runs[run].utilization is not None
    assert figure.ratio.value == pytest.approx(1, abs=0.25)


@pytest.mark.parametrize(("run", "megawatt_hours"), [("BLOOM 176B", 433.196), ("GPT-3 175B", 1287)])
def test_energy_within_30_percent_on_the_stated_hardware(runs, run, megawatt_hours):
    figure = runs[run].figure("energy")
    assert figure.amount.of("MWh") == pytest.approx(megawatt_hours)
    assert figure.ratio.value == pytest.approx(1, abs=0.30)


def test_the_utilization_is_of_another_source_than_the_hours():
    """Hours at a utilization that was worked out of these hours would prove nothing."""
    for row in FILE["runs"]:
        hours = [each for each in row["published"] if each["figure"] == "device_hours"]
        if hours and "mfu_source" in row and hours[0]["source"] == row["mfu_source"]:
            # PaLM's own paper; BLOOM's and LLaMA's throughput was read off while the run was under way.
            assert row["name"] in ("PaLM 540B", "BLOOM 176B", "LLaMA 65B")


@pytest.mark.parametrize("run", ["GPT-4", "Gemini 1.0 Ultra"])
def test_what_was_never_disclosed_says_so(runs, run):
    found = runs[run]
    assert "published neither" in found.undisclosed
    assert {each.kind for each in found.figures} == {"third party"}
    assert all(each.ours is None and each.ratio is None for each in found.figures)


def test_an_assumed_utilization_is_called_so(runs):
    assert runs["Llama 2 7B"].utilization is None
    assert runs["Llama 2 7B"].utilization_is.startswith("assumed")
    assert "MFU" in runs["Llama 3.1 405B"].utilization_is and "HFU" in runs["BLOOM 176B"].utilization_is
