"""What a run is planned to take: exact where it follows from the data, and beside what it took in the end."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmkit.hardware.meters import EnergyMeter
from llmkit.training import planning
from llmkit.training.config import FinetuneConfig
from llmkit.training.log import log_of
from llmkit.training.planning import Pace, probe, workload_of
from llmkit.training.run import finetune
from llmkit.training.state import COST, Run
from llmkit.units import Amount
from tests.training.stepping import config_for, ready, write_rows

Tiny = Callable[[str], Path]
WORDS = "the quick brown fox jumps over a lazy dog and wants to live in Berlin or Rome".split()  # noqa: SIM905
ROWS = [
    {"text": " ".join(WORDS[place % 16] for place in range(2 + number % 9)), "label": number % 2}
    for number in range(23)
]
MODELS = {
    "text-classification": "text-classification",
    "masked-lm": "fill-mask",
    "causal-lm": "text-generation",
}


def config_of(tiny: Tiny, folder: Path, task: str = "text-classification", **sections: Any) -> FinetuneConfig:
    folder.mkdir(exist_ok=True, parents=True)
    train = write_rows(folder / "train.jsonl", ROWS)
    model = sections.pop("model", {"config": {}})
    return config_for(task, tiny(MODELS[task]), folder, train, model=model, **sections)


EPOCHS = [{"epochs": 2}, {"epochs": 1.5}, {"max_steps": 2}, {"max_steps": 9}]


class TestWorkload:
    @pytest.mark.parametrize("training", EPOCHS, ids=str)
    def test_it_is_what_the_runs_log_has(self, tiny: Tiny, tmp_path: Path, training: dict[str, Any]) -> None:
        config = config_of(tiny, tmp_path, training={"batch_size": 5, "logging_steps": 1, **training})
        planned = workload_of(ready(config))
        finetune(config, device="cpu")
        last = [line for line in log_of(Path(config.output)) if "flops" in line][-1]
        assert (planned.steps, planned.tokens) == (last["step"], last["tokens"])
        assert planned.flops == pytest.approx(last["flops"], rel=1e-12)

    @pytest.mark.parametrize(
        ("task", "batching"), [("masked-lm", "sorted"), ("causal-lm", "sorted"), ("causal-lm", "packed")]
    )
    def test_where_the_head_runs_at_the_targets_they_are_expected(
        self, tiny: Tiny, tmp_path: Path, task: str, batching: str
    ) -> None:
        config = config_of(
            tiny, tmp_path, task, training={"batch_size": 8, "epochs": 2, "batching": batching}
        )
        run = ready(config)
        planned = workload_of(run)
        results = list(run.loop.run())
        assert planned.tokens == sum(each.tokens for each in results)
        assert planned.flops == pytest.approx(run.progress.flops, rel=0.15)


class TestPace:
    def test_all_steps_by_those_that_were_taken(self, tiny: Tiny, tmp_path: Path) -> None:
        """As if each padded token, and each micro-batch as so many, took a millisecond."""
        run = ready(config_of(tiny, tmp_path, training={"batch_size": 4, "epochs": 3}))
        pace, total = Pace(run.loop), 0.0
        for result in run.loop.run():
            seconds = planning._work(result.step, run.loop.steps) / 1000
            total += seconds
            pace.add(with_seconds(result, seconds))
        assert pace.seconds().middle == pytest.approx(total)
        assert pace.seconds().low <= pace.seconds().middle <= pace.seconds().high

    def test_the_first_step_is_not_gone_by(self, tiny: Tiny, tmp_path: Path) -> None:
        run = ready(config_of(tiny, tmp_path, training={"batch_size": 4, "epochs": 3}))
        pace = Pace(run.loop)
        for number, result in enumerate(run.loop.run()):
            pace.add(with_seconds(result, 1000.0 if number == 0 else 2.0))
        assert pace.seconds().middle < 1000
        assert pace.is_settled and len(pace.results) == 6

    def test_a_run_of_one_step_goes_by_it(self, tiny: Tiny, tmp_path: Path) -> None:
        run = ready(config_of(tiny, tmp_path, training={"max_steps": 1}))
        pace = probe(run)
        assert len(pace.counted) == 1 and pace.seconds().middle == pytest.approx(pace.results[0].seconds)

    def test_a_probe_writes_nothing(self, tiny: Tiny, tmp_path: Path) -> None:
        config = config_of(tiny, tmp_path, training={"batch_size": 4, "epochs": 3})
        before = sorted(tmp_path.rglob("*"))
        run = ready(config)
        cache = {path for path in tmp_path.rglob("*") if "cache" in path.parts}
        pace = probe(run)
        assert pace.results
        assert not Path(config.output).exists()
        assert set(tmp_path.rglob("*")) == {*before, *cache}


def with_seconds(result: Any, seconds: float) -> Any:
    from dataclasses import replace

    return replace(result, seconds=seconds)


class Counter:
    """A meter that draws three joules a look."""

    name = "a counter"

    def __init__(self) -> None:
        self.drawn = 0.0

    def joules(self) -> float:
        self.drawn += 3.0
        return self.drawn


class TestBesideWhatItTook:
    def test_a_runs_folder_has_both(self, tiny: Tiny, tmp_path: Path) -> None:
        config = config_of(tiny, tmp_path, training={"batch_size": 4, "epochs": 2})
        finetune(config, device="cpu")
        found = json.loads((Path(config.output) / COST).read_text())
        for key in ("steps", "tokens", "training_flops"):
            assert found[key]["planned"]["value"] == pytest.approx(found[key]["actual"]["value"]), key
        for pair in found.values():
            assert Amount(**pair["planned"]) and Amount(**pair["actual"])  # each has its unit
        assert found["training_time"]["planned"]["value"] > 0
        card = (Path(config.output) / "README.md").read_text()
        assert "| | planned | actual | |" in card and "| training flops |" in card

    def test_energy_is_called_estimated_where_nothing_measures_it(self, tiny: Tiny, tmp_path: Path) -> None:
        run = ready(config_of(tiny, tmp_path, training={"max_steps": 2, "batch_size": 4}))
        run.loop.meter = EnergyMeter()
        took(run)
        energy = planning.actual_energy(run)
        assert run.progress.joules is None
        assert energy is not None and "not measured" in energy.label and energy.source.startswith("estimated")

    def test_energy_is_the_counters_where_there_is_one(self, tiny: Tiny, tmp_path: Path) -> None:
        run = ready(config_of(tiny, tmp_path, training={"max_steps": 4, "batch_size": 4}))
        run.loop.meter = EnergyMeter(Counter())
        took(run)
        energy = planning.actual_energy(run)
        assert energy is not None and energy.label == "energy, measured"
        assert energy.amount.of("Wh") == pytest.approx(4 * 3 / 3600)  # between the steps is not counted
        assert "a counter" in energy.source
        found = planning.planned_and_actual(run)
        assert found is not None and found["energy"]["is"].startswith("measured")

    def test_one_step_that_was_not_measured_leaves_no_measured_sum(self, tiny: Tiny, tmp_path: Path) -> None:
        run = ready(config_of(tiny, tmp_path, training={"max_steps": 4, "batch_size": 4}))
        run.loop.meter = EnergyMeter(Counter())
        for number, _ in enumerate(run.loop.run()):
            if number == 1:
                run.loop.meter = EnergyMeter()
        assert run.progress.joules is None


def took(run: Run) -> None:
    """Take all steps of a run, planned before."""
    run.plan = planning.Plan(workload_of(run), Pace(run.loop))
    for result in run.loop.run():
        run.plan.pace.add(result)
