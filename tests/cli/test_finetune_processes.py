"""``llmkit finetune`` in two processes, as torchrun starts it: one writes and speaks, both stop and go on together."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.fixtures.command import Command, base_environment
from tests.training.rows import TRIALS
from tests.training.torture import ROOT, Tiny, Torture

TWO = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "llmkit"]


def write_config(folder: Path, tiny: Tiny, **training: object) -> None:
    sections = TRIALS["text-classification"].sections(tiny, folder)
    config = {
        "task": "text-classification",
        **sections,
        "training": {"batch_size": 3, "precision": "float32", "logging_steps": 1, **training},
        "output": "out",
    }
    (folder / "run.yaml").write_text(yaml.safe_dump(config))


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*TWO, "finetune", "run.yaml", *arguments],
        cwd=folder,
        env=base_environment() | {"LLMKIT_CACHE": str(folder / "cache"), "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture(scope="module")
def dying() -> Iterator[Command]:
    with Command("tests.training.dying") as command:
        yield command


@pytest.mark.slow  # a launcher's own losses: tests/launching/test_agent.py
def test_killed_it_goes_on_to_the_same_model(dying: Command, tiny: Tiny, tmp_path: Path) -> None:
    torture = Torture(dying, tiny, tmp_path, "masked-lm", processes=2)
    log = [json.loads(line) for line in (tmp_path / "whole/log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in log if "loss" in line] == list(range(1, 7)), "one of the two writes"
    assert [line["step"] for line in log if "eval_loss" in line] == [2, 4, 6]
    event = "os.rename /checkpoints/.writing-step-00000004"

    done = torture.end_and_resume(torture.events.index(event) + 1)

    assert done.stderr.count("going on after step 2.") == 1
    assert len(done.lines) == 1
    assert done.stderr.count("the model is in ") == 1


def test_told_to_stop_both_stop_after_the_same_step(tiny: Tiny, tmp_path: Path) -> None:
    write_config(tmp_path, tiny, epochs=1000, save_steps=5)
    child = start(tmp_path)
    while not list(tmp_path.glob("out/checkpoints/step-*")):
        assert child.poll() is None, child.communicate()[1]
        time.sleep(0.05)

    child.send_signal(signal.SIGTERM)
    output, errors = child.communicate(timeout=120)

    assert output == ""
    saved = max(int(path.name.removeprefix("step-")) for path in tmp_path.glob("out/checkpoints/step-*"))
    said = f"warning: told to stop: saved after step {saved:,}; go on with: llmkit finetune run.yaml --resume"
    assert errors.count("warning: told to stop") == errors.count(said) == 1


@pytest.mark.slow  # as of every launch: tests/launching/test_agent.py
def test_an_error_is_said_once(tiny: Tiny, tmp_path: Path) -> None:
    write_config(tmp_path, tiny)
    with (tmp_path / "train.jsonl").open("a") as file:
        file.write('{"text": 3, "label": "a"}\n')
    child = start(tmp_path)

    output, errors = child.communicate(timeout=120)

    assert (child.returncode, output) == (1, "")  # torchrun's own code
    assert errors.count("train.jsonl:8: 3 is no text.") == 1
    assert [path.name for path in (tmp_path / "out").glob("*")] == [".lock"]
