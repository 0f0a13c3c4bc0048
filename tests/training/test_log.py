"""``log.jsonl``: a line a logging step, one an evaluation; a resumed run takes its lines back."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmkit.training.log import RunLog, finite, log_of, read_log, summary
from llmkit.training.loop import StepResult
from llmkit.training.state import LOG, Listener, Run
from llmkit.training.steps import Step
from tests.training.stepping import config_for, ready, write_rows

TEN_STEPS = {"max_steps": 10, "batch_size": 2}


class Heard(Listener):
    """What the log passes on."""

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []
        self.evaluations: list[dict[str, float]] = []

    def logged(self, line: dict[str, Any], run: Run) -> None:
        self.lines.append(line)

    def evaluated(self, figures: dict[str, float], run: Run) -> None:
        self.evaluations.append(figures)


@pytest.fixture
def run(tmp_path: Path, tiny: Callable[[str], Path]) -> Run:
    """A run before its first step: ten steps, two an epoch."""
    rows = [{"text": text, "label": text} for text in ("good", "bad")] * 2
    train = write_rows(tmp_path / "rows.jsonl", rows)
    run = ready(
        config_for("text-classification", tiny("text-classification"), tmp_path, train, training=TEN_STEPS)
    )
    run.output.mkdir()
    return run


def result(loss: float, *, tokens: int = 30, padded: int = 40, seconds: float = 0.5) -> StepResult:
    return StepResult(Step(0, 0, [[0]], False), loss, 2.0, 1e-3, tokens, padded, seconds)


def lines_of(run: Run) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run.output / LOG).read_text().splitlines()]


def take(log: RunLog, run: Run, losses: list[float]) -> None:
    for loss in losses:
        run.progress.step += 1
        log.step(result(loss), run)


def test_a_line_is_about_the_steps_since_the_last(run: Run) -> None:
    heard = Heard()
    log = RunLog(run.output / LOG, heard, every=4)
    log.begin(run)

    take(log, run, [float(step) for step in range(1, 11)])

    assert [(line["step"], line["loss"]) for line in lines_of(run)] == [(4, 2.5), (8, 6.5), (10, 9.5)]
    assert heard.lines == lines_of(run)


def test_a_run_that_stops_between_two_lines_leaves_out_no_step(run: Run) -> None:
    log = RunLog(run.output / LOG, Listener(), every=4)
    log.begin(run)

    take(log, run, [float(step) for step in range(1, 7)])
    log.end(run)

    assert [(line["step"], line["loss"]) for line in lines_of(run)] == [(4, 2.5), (6, 5.5)]


def test_what_a_line_says(run: Run) -> None:
    run.progress.step, run.progress.tokens, run.progress.flops = 3, 90, 5e9

    line = summary([result(1.0), result(3.0, tokens=10, padded=10, seconds=1.5)], run)

    assert line == {
        "step": 3,
        "epoch": 1.5,
        "loss": 2.0,
        "grad_norm": 2.0,
        "learning_rate": 1e-3,
        "tokens_per_second": 20.0,
        "padding": pytest.approx(0.2),
        "tokens": 90,
        "flops": 5e9,
    }


def test_an_evaluation_is_a_line_with_its_figures(run: Run) -> None:
    heard = Heard()
    log = RunLog(run.output / LOG, heard, every=4)
    log.begin(run)
    run.progress.step = 2

    log.evaluated({"eval_loss": 0.5, "eval_f1": math.nan}, run)

    assert lines_of(run) == [{"step": 2, "epoch": 1.0, "eval_loss": 0.5, "eval_f1": None}]
    assert heard.evaluations[0]["eval_loss"] == 0.5


def test_a_resumed_run_drops_the_lines_of_steps_it_takes_again(run: Run) -> None:
    log = RunLog(run.output / LOG, Listener(), every=1)
    log.begin(run)
    take(log, run, [3.0, 2.0, 1.0])
    with (run.output / LOG).open("a") as file:
        file.write('{"step": 4, "lo')  # cut off by a kill
    run.progress.step = 2

    again = RunLog(run.output / LOG, Listener(), every=1)
    again.begin(run)
    take(again, run, [7.0])

    assert [(line["step"], line["loss"]) for line in lines_of(run)] == [(1, 3.0), (2, 2.0), (3, 7.0)]


def test_a_log_is_read_without_the_lines_that_are_none(tmp_path: Path) -> None:
    (tmp_path / LOG).write_text('{"step": 1}\n[1]\n{"loss": 2}\n\n{"step": "x"}\n{"step": 2}\n{"ste')

    assert [line["step"] for line in log_of(tmp_path)] == [1, 2]
    assert read_log(tmp_path / "missing.jsonl") == []


def test_json_has_no_word_for_infinity() -> None:
    found = finite({"a": math.inf, "b": math.nan, "c": 1.5, "d": 2, "e": "x"})

    assert found == {"a": None, "b": None, "c": 1.5, "d": 2, "e": "x"}
