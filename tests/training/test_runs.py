"""``llmkit runs``: what the files of a run tell, whatever state they are in."""

from __future__ import annotations

import fcntl
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from llmkit.errors import UsageError
from llmkit.training.run import finetune
from llmkit.training.runs import RunSummary, differing_settings, find_runs, read_run, sorted_runs
from tests.fixtures.command import Command
from tests.training.stepping import config_for, write_rows

Tiny = Callable[[str], Path]
ROWS = [
    {"text": f"the film was {('good', 'bad')[n % 2]} {n}", "label": ("good", "bad")[n % 2]} for n in range(16)
]


@pytest.fixture(scope="module")
def made(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished run."""
    folder = tmp_path_factory.mktemp("runs")
    train = write_rows(folder / "train.jsonl", ROWS)
    training = {"max_steps": 4, "eval_steps": 2, "save_steps": 2, "logging_steps": 1, "batch_size": 4}
    config = config_for(
        "text-classification",
        tiny("text-classification"),
        folder,
        train,
        data={"validation": 0.25},
        training=training | {"max_grad_norm": 1.0},
    )
    finetune(config, device="cpu")
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "runs")
    return tmp_path / "runs"


def copied(folder: Path, name: str) -> Path:
    shutil.copytree(folder / "run", folder / name)
    return folder / name


def test_a_finished_run(folder: Path) -> None:
    run = read_run(folder / "run")

    log = [json.loads(line) for line in (folder / "run/log.jsonl").read_text().splitlines()]
    metrics = json.loads((folder / "run/metrics.json").read_text())
    assert (run.name, run.state, run.why, run.task) == ("run", "finished", None, "text-classification")
    assert (run.steps, run.total_steps) == (4, 4)
    assert run.best_metric == "accuracy"
    assert run.best == max(line["eval_accuracy"] for line in log if "eval_accuracy" in line)
    assert run.loss == [line["loss"] for line in log if "loss" in line][-1]
    assert run.figures == {key: value for key, value in metrics.items() if key.startswith("eval_")}
    assert run.seconds is not None
    assert run.tokens_per_second == pytest.approx(metrics["tokens"] / run.seconds)
    assert run.begun is not None
    assert run.settings["training.batch_size"] == 4
    json.dumps(run.as_object(), allow_nan=False)


def test_a_run_that_goes_on_and_one_that_stopped(folder: Path) -> None:
    stopped = copied(folder, "stopped")
    (stopped / "metrics.json").unlink()

    with (folder / "run/.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        states = {run.name: run.state for run in find_runs(folder)}

    assert states == {"run": "running", "stopped": "stopped"}
    assert read_run(stopped).why is None
    shutil.rmtree(stopped / "checkpoints")
    assert read_run(stopped).why == "no checkpoint to go on from"


def test_the_best_is_by_the_figure_that_the_run_chose_by(folder: Path) -> None:
    run = copied(folder, "chosen")
    start = json.loads((run / "run.json").read_text())
    assert (start["best_by"], start["best_sign"]) == ("accuracy", 1)
    (run / "run.json").write_text(json.dumps(start | {"best_by": "loss", "best_sign": -1}))

    found = read_run(run)

    log = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert found.best_metric == "loss"
    assert found.best == min(line["eval_loss"] for line in log if "eval_loss" in line)


def test_a_finished_run_that_was_gone_on_with_and_stopped(folder: Path) -> None:
    run = copied(folder, "further")
    newest = max((run / "checkpoints").glob("step-*"))
    state = json.loads((newest / "state.json").read_text())
    state["progress"]["step"] += 2
    (newest / "state.json").write_text(json.dumps(state))

    found = read_run(run)

    log = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert (found.state, found.steps) == ("stopped", 6)
    assert found.figures["eval_loss"] == [line["eval_loss"] for line in log if "eval_loss" in line][-1]


BROKEN = {
    "foreign": (lambda run: [shutil.rmtree(run), run.mkdir()], "there is no run in it"),
    "metrics": (lambda run: (run / "metrics.json").write_text('{"eval_loss": 0.'), "metrics.json is damaged"),
    "a list": (lambda run: (run / "metrics.json").write_text("[1]"), "metrics.json is damaged"),
    "config": (lambda run: (run / "config.yaml").write_text("task: [text"), "config.yaml"),
    "empty config": (lambda run: (run / "config.yaml").write_text(""), "config.yaml is no config"),
    "other config": (lambda run: (run / "config.yaml").write_text("a: 1"), "config.yaml is no config"),
    "run": (lambda run: (run / "run.json").write_bytes(b"\xff\x00"), "run.json is damaged"),
    "model": (lambda run: (run / "model.safetensors").unlink(), "its model is gone"),
    "state": (lambda run: (max(run.glob("checkpoints/step-*")) / "state.json").write_text("{"), "state.json"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_one_gets_a_row_that_says_why(case: str, folder: Path) -> None:
    change, why = BROKEN[case]
    change(copied(folder, "broken"))

    broken, whole = find_runs(folder)

    assert (broken.name, broken.state) == ("broken", "broken")
    assert broken.why is not None
    assert why in broken.why
    assert whole.state == "finished"


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("config.yaml", "task: [text-classification]"),
        ("metrics.json", '{"steps": null}'),
        ("metrics.json", '{"steps": "many"}'),
        ("run.json", '{"total_steps": "many"}'),
        ("run.json", '{"begun": 3}'),
        ("checkpoints/step-00000004/state.json", '{"progress": {"step": "last", "seconds": []}}'),
        ("log.jsonl", '{"step": 1, "loss": 1, "tokens_per_second": "many"}'),
    ],
)
def test_a_file_of_something_else_spoils_no_list(file: str, text: str, llmkit: Command, folder: Path) -> None:
    other = copied(folder, "other")
    (other / file).write_text(text)

    listed = llmkit("runs", str(folder), "--format", "table")

    assert listed.code == 0
    assert "run " in listed.text
    assert "other" in listed.text


def test_the_folder_where_one_stands_has_its_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder / "run")

    assert [run.name for run in find_runs(Path())] == ["run"]


def test_a_log_that_a_kill_cut_off(folder: Path) -> None:
    log = folder / "run/log.jsonl"
    log.write_bytes(log.read_bytes()[:-7])

    assert read_run(folder / "run").state == "finished"


def test_sorted() -> None:
    runs = [
        RunSummary("b", "finished", best=0.5, loss=0.1, figures={"eval_accuracy": 0.5, "eval_mse": 3.0}),
        RunSummary("a", "finished", best=0.9, loss=0.3, figures={"eval_accuracy": 0.9, "eval_mse": 2.0}),
        RunSummary("c", "broken"),
    ]

    def order(by: str) -> str:
        return "".join(run.name for run in sorted_runs(runs, by))

    assert [order(by) for by in ("name", "best", "loss", "eval_accuracy", "eval_mse")] == [
        "abc", "abc", "bac", "abc", "abc",
    ]  # fmt: skip
    runs[:2] = [replace(run, best_metric="perplexity") for run in runs[:2]]
    assert order("best") == "bac", "less of it is better"
    with pytest.raises(UsageError, match="--sort eval_acuracy") as caught:
        sorted_runs(runs, "eval_acuracy")
    assert "no such figure; did you mean eval_accuracy?" in str(caught.value)


def test_settings_that_differ() -> None:
    runs = [RunSummary("a", "", settings={"x": 1, "y": 2}), RunSummary("b", "", settings={"x": 1, "z": 3})]

    assert differing_settings(runs) == {"y": [2, None], "z": [None, 3]}


class TestCommand:
    def test_list(self, llmkit: Command, folder: Path) -> None:
        (copied(folder, "broken") / "metrics.json").write_text("{")

        done = llmkit("runs", folder)
        shown = llmkit("runs", folder, "--format", "table", env={"COLUMNS": "200"}).text

        assert done.code == 0
        assert [row["state"] for row in done.lines] == ["finished", "broken"]
        assert list(done.lines[0]) == list(RunSummary.__dataclass_fields__)
        assert "broken: metrics.json is damaged" in shown
        assert "4/4" in shown
        assert llmkit("runs", folder / "run").lines[0]["name"] == "run"

    @pytest.mark.parametrize("written", ["export.json", "config.json"])
    def test_an_export_is_no_run(self, written: str, llmkit: Command, folder: Path) -> None:
        (folder / "run-exported").mkdir()
        (folder / "run-exported" / written).write_text("{}")

        assert [row["name"] for row in llmkit("runs", folder).lines] == ["run"]
        assert "There are: run.\n" in llmkit("runs", folder, "run", "x").stderr

    def test_side_by_side(self, llmkit: Command, folder: Path) -> None:
        other = copied(folder, "other") / "config.yaml"
        config = yaml.safe_load(other.read_text())
        config["training"]["learning_rate"] = 0.5
        other.write_text(yaml.safe_dump(config))

        found = llmkit("runs", folder, "run", "other", "--format", "json").json

        assert found["runs"] == ["run", "other"]
        assert found["settings"] == {"training.learning_rate": {"run": 5e-5, "other": 0.5}}
        assert set(found["figures"]["eval_loss"]) == {"run", "other"}
        shown = llmkit("runs", folder, "run", "other", "--format", "markdown").text
        assert "| training.learning\\_rate | 5e-05 | 0.5 |" in shown

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["missing"], "no folder missing."),
            (["{folder}", "rnu", "x"], "did you mean run?"),
            (["{folder}", "run"], "one run is not compared"),
            (["{folder}", "nowhere"], "'nowhere'"),
            (["{folder}", "--sort", "lost"], "did you mean loss?"),
            (["{folder}", "--format", "xml"], "no such format"),
        ],
    )
    def test_wrong_calls(self, arguments: list[str], said: str, llmkit: Command, folder: Path) -> None:
        done = llmkit("runs", *(each.replace("{folder}", str(folder)) for each in arguments))

        assert done.code == 2
        assert said in done.stderr
        assert done.text == ""
