"""``llmkit finetune``: it learns, what it leaves can be used, and nothing that was done is lost."""

from __future__ import annotations

import hashlib
import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.fixtures.command import Command, base_environment
from tests.fixtures.ended import ended

WORDS = {"good": ["delight", "warm", "funny"], "bad": ["worst", "cold", "tasteless"]}


@pytest.fixture
def folder(tmp_path: Path, tiny: Callable[[str], Path]) -> Path:
    """A folder with data, a config and a tiny model to train."""
    rng = random.Random(0)
    with (tmp_path / "train.jsonl").open("w") as file:
        for number in range(96):
            label = ("good", "bad")[number % 2]
            rest = " ".join(
                rng.choice(["this", "film", "was", "the", "a", "of", "and"])
                for _ in range(rng.randint(2, 12))
            )
            file.write(json.dumps({"review": f"{rest} {rng.choice(WORDS[label])}", "stars": label}) + "\n")
    write_config(tmp_path, {"model": str(tiny("text-classification"))})
    return tmp_path


def write_config(folder: Path, changes: dict[str, object]) -> None:
    config = {
        "task": "text-classification",
        "data": {"train": "train.jsonl", "validation": 0.25, "columns": {"text": "review", "label": "stars"}},
        "training": {"epochs": 10, "batch_size": 8, "learning_rate": 5e-3, "precision": "float32"},
        "output": "out",
        **changes,
    }
    (folder / "run.yaml").write_text(yaml.safe_dump(config))


def environment(folder: Path) -> dict[str, str]:
    return {"LLMKIT_CACHE": str(folder / "cache")}


def train(llmkit: Command, folder: Path, *arguments: str) -> tuple[int, str, str]:
    done = llmkit("finetune", "run.yaml", *arguments, cwd=folder, env=environment(folder))
    return done.code, done.text, done.stderr


def test_the_format_is_checked_before_anything_is_trained(llmkit: Command, folder: Path) -> None:
    code, printed, said = train(llmkit, folder, "--format", "parquet")
    assert (code, printed) == (2, "")
    assert "There are: table, jsonl, json, csv, tsv, markdown, latex." in said
    assert not (folder / "out").exists()

    code, printed, _ = train(llmkit, folder, "--format", "markdown", "--set", "training.max_steps=1")
    assert code == 0
    assert "| steps | 1 |" in printed


def weights_of(output: Path) -> str:
    return hashlib.sha256((output / "model.safetensors").read_bytes()).hexdigest()


def start(folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "llmkit", "finetune", "run.yaml", *arguments],
        cwd=folder,
        env=base_environment() | environment(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def wait_for(path: Path, child: subprocess.Popen[bytes]) -> None:
    while not path.exists():
        assert child.poll() is None, child.stderr and child.stderr.read()
        time.sleep(0.01)


def test_it_learns_and_the_pipeline_runs_what_it_leaves(llmkit: Command, folder: Path) -> None:
    code, text, errors = train(llmkit, folder)

    assert code == 0, errors
    figures = json.loads(text)
    assert figures["steps"] == 90
    assert figures["eval_accuracy"] >= 0.9
    assert "evaluation after step 9:" in errors
    answer = llmkit("pipeline", "text-classification", "the film was funny", "--model", folder / "out").json
    assert answer["label"] == "good"


def test_what_is_in_the_output_folder(llmkit: Command, folder: Path) -> None:
    code, _, errors = train(llmkit, folder, "--set", "training.logging_steps=9")

    output = folder / "out"
    assert code == 0, errors
    log = [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]
    steps = [line for line in log if "loss" in line]
    assert [line["step"] for line in steps] == list(range(9, 91, 9))
    assert {"step", "epoch", "loss", "grad_norm", "learning_rate", "tokens_per_second"} <= set(steps[0])
    assert [line["step"] for line in log if "eval_loss" in line] == list(range(9, 91, 9))
    assert json.loads((output / "metrics.json").read_text())["steps"] == 90
    assert (output / "loss.png").read_bytes().startswith(b"\x89PNG")
    assert "--model out" in (output / "README.md").read_text()
    resolved = yaml.safe_load((output / "config.yaml").read_text())
    assert resolved["training"]["weight_decay"] == 0.01
    assert json.loads((output / "config.json").read_text())["id2label"] == {"0": "bad", "1": "good"}


def test_the_resolved_config_gives_the_same_model_again(llmkit: Command, folder: Path) -> None:
    assert train(llmkit, folder)[0] == 0
    first = weights_of(folder / "out")
    (folder / "run.yaml").write_bytes((folder / "out" / "config.yaml").read_bytes())

    code, _, errors = train(llmkit, folder, "--set", "output=again")

    assert code == 0, errors
    assert weights_of(folder / "again") == first


def test_a_run_killed_half_way_ends_in_the_same_weights(llmkit: Command, folder: Path) -> None:
    assert train(llmkit, folder, "--set", "output=whole")[0] == 0
    child = start(folder)
    wait_for(folder / "out/checkpoints/step-00000018", child)
    child.send_signal(signal.SIGKILL)
    child.communicate()
    assert not (folder / "out/model.safetensors").exists()

    code, _, errors = train(llmkit, folder, "--resume")

    assert code == 0, errors
    assert "going on after step" in errors
    with ended("kill half way"):
        assert weights_of(folder / "out") == weights_of(folder / "whole")
    logs = [(folder / name / "log.jsonl").read_text().splitlines() for name in ("out", "whole")]
    steps = [[json.loads(line)["step"] for line in log] for log in logs]
    assert steps[0] == steps[1]


@pytest.mark.parametrize(
    ("sent", "code"), [pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow), (signal.SIGINT, 130)]
)
def test_told_to_stop_it_saves_and_says_how_to_go_on(
    llmkit: Command, folder: Path, sent: signal.Signals, code: int
) -> None:
    child = start(folder, "--set", "training.epochs=200")
    wait_for(folder / "out/checkpoints/step-00000009", child)

    child.send_signal(sent)
    output, errors = child.communicate(timeout=60)

    assert child.returncode == code, errors
    assert output == b""
    assert b"go on with: llmkit finetune run.yaml --set training.epochs=200 --resume" in errors
    saved = max(int(path.name.removeprefix("step-")) for path in (folder / "out/checkpoints").glob("step-*"))
    assert f"saved after step {saved:,}".encode() in errors


def test_a_folder_with_a_run_in_it_is_left_alone(llmkit: Command, folder: Path) -> None:
    assert train(llmkit, folder)[0] == 0
    before = weights_of(folder / "out")

    code, _, errors = train(llmkit, folder)

    assert code == 2
    assert "out has a run in it already" in errors
    assert weights_of(folder / "out") == before


@pytest.mark.parametrize("wrong", ["metrics=squad", "metrics=[pearson]", "training.best_metric=acuracy"])
def test_a_refused_run_does_not_block_the_corrected_one(llmkit: Command, folder: Path, wrong: str) -> None:
    code, _, errors = train(llmkit, folder, "--set", wrong)
    assert code == 2, errors
    assert not (folder / "out").exists() or {each.name for each in (folder / "out").iterdir()} == {".lock"}

    code, _, errors = train(llmkit, folder, "--set", "training.max_steps=1")
    assert code == 0, errors


@pytest.mark.parametrize("metric", ["squad", "perplexity", "pearson"])
def test_check_finds_a_metric_that_does_not_fit(llmkit: Command, folder: Path, metric: str) -> None:
    code, _, errors = train(llmkit, folder, "--check", "--set", f"metrics={metric}")
    assert code == 2
    assert f"the metric {metric} does not fit text-classification: it takes " in errors


def test_a_resumed_run_must_be_the_same_run(llmkit: Command, folder: Path) -> None:
    assert train(llmkit, folder)[0] == 0

    code, _, errors = train(llmkit, folder, "--resume", "--set", "training.learning_rate=1e-4")

    assert code == 2
    assert "training.learning_rate: 0.005 before, 0.0001 now" in errors


def test_there_must_be_something_to_resume(llmkit: Command, folder: Path) -> None:
    code, _, errors = train(llmkit, folder, "--resume")

    assert code == 2
    assert "out has no run to go on with" in errors


def test_the_config_is_not_written_over_by_its_script(llmkit: Command, folder: Path) -> None:
    config = (folder / "run.yaml").read_bytes()

    done = llmkit("finetune", "run.yaml", "--slurm", "./run.yaml", "--overwrite", cwd=folder)

    assert (done.code, (folder / "run.yaml").read_bytes()) == (2, config)
    assert done.stderr.startswith("error: --slurm ./run.yaml is the input.")


def test_a_job_that_slurm_begins_again_may_have_had_no_time_to_begin(llmkit: Command, folder: Path) -> None:
    call = ("finetune", "run.yaml", "--resume", "--set", "training.max_steps=1")
    done = llmkit(*call, cwd=folder, env=environment(folder) | {"SLURM_RESTART_COUNT": "1"})

    assert done.code == 0, done.stderr
    assert "beginning anew" in done.stderr


def test_check_shows_what_would_be_learned_and_writes_nothing(llmkit: Command, folder: Path) -> None:
    code, text, errors = train(llmkit, folder, "--check")

    found = json.loads(text)
    assert code == 0, errors
    assert found["sets"]["train"]["labels"] == {"bad": 36, "good": 36}
    assert found["sets"]["validation"]["examples"] == 24
    assert (found["steps"], found["steps_an_epoch"]) == (90, 9)
    assert found["examples"][0]["tokens"][0] == "[CLS]"
    assert not (folder / "out").exists()


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ('{"review": "a", "stars": "good"}\n{"review": "b"}', "no column 'stars' in train.jsonl"),
        (
            '{"review": "a", "stars": "good"}\n{"review": "", "stars": "bad"}',
            "train.jsonl:2: the text is empty",
        ),
        ('{"review": "a", "stars": "good"}\n{"review": 3, "stars": "bad"}', "train.jsonl:2: 3 is no text"),
        ('{"review": "a", "stars": "good"}\n{"review": "b", "stars": null}', "the label is missing"),
        ('{"review": "a", "stars": "good"}\nnot json', "train.jsonl:2: "),
        (
            '{"review": "a", "stars": "good"}',
            "every training row has the label 'good': there is nothing to learn",
        ),
        ("", "train.jsonl is empty"),
    ],
)
def test_bad_rows_are_named_with_their_place(llmkit: Command, folder: Path, rows: str, said: str) -> None:
    (folder / "train.jsonl").write_text(rows)

    code, text, errors = train(llmkit, folder)

    assert (code, text) == (2, "")
    assert said in errors
    assert "Traceback" not in errors


def test_a_label_that_training_lacks_is_named(llmkit: Command, folder: Path) -> None:
    (folder / "valid.jsonl").write_text('{"review": "a", "stars": "goood"}\n')

    code, _, errors = train(llmkit, folder, "--set", "data.validation=valid.jsonl")

    assert code == 2
    assert "valid.jsonl:1: the label 'goood' is none of the training rows'" in errors
    assert "did you mean good?" in errors


def test_an_infinite_loss_names_the_rows_and_keeps_the_checkpoints(llmkit: Command, folder: Path) -> None:
    code, _, errors = train(
        llmkit, folder, "--set", "training.learning_rate=1e30", "--set", "training.max_grad_norm=null"
    )

    assert code == 1
    assert "is not a finite number. The rows of the step: train.jsonl:" in errors
