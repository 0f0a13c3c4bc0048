"""A disk that is full in the middle of a run: one message, whole checkpoints, and the same weights in the end."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from llmkit.errors import OutputError
from llmkit.training.checkpoints import newest_whole
from llmkit.training.loop import StepResult
from llmkit.training.run import finetune
from llmkit.training.state import Listener, Run
from tests.fixtures.disk import small_disk
from tests.training.stepping import config_for, write_rows

ROWS = [{"text": f"the film was {('funny', 'cold')[n % 2]}", "label": "ab"[n % 2]} for n in range(12)]


class Filling(Listener):
    """Fills the disk after the second step but for a few kilobytes, which take a line of the log and no more."""

    def __init__(self, filler: Path) -> None:
        self.filler = filler

    def step(self, result: StepResult, run: Run) -> None:
        if run.progress.step == 3:
            free = os.statvfs(self.filler.parent)
            with self.filler.open("wb") as file:
                file.write(bytes(max(0, free.f_bavail * free.f_frsize - 16_384)))


def test_it_goes_on_when_there_is_room_again(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    train = write_rows(tmp_path / "train.jsonl", ROWS)
    training = {"max_steps": 6, "save_steps": 2, "batch_size": 4, "learning_rate": 1e-3, "logging_steps": 1}
    start = tiny("text-classification")
    here, there = (
        config_for("text-classification", start, folder, train, training=training)
        for folder in (tmp_path, disk)
    )
    whole = finetune(here, device="cpu")
    with small_disk(disk, "64m") as mounted:
        if not mounted:
            pytest.skip("a small file system cannot be mounted here")

        with pytest.raises(OutputError, match="no space left on the device") as caught:
            finetune(there, device="cpu", listener=Filling(disk / "filler"))

        assert caught.value.hint == "The checkpoints before it are whole."
        checkpoint, passed = newest_whole(disk / "run" / "checkpoints")
        assert checkpoint is not None
        assert (checkpoint.step, passed) == (2, [])
        (disk / "filler").unlink()
        resumed = finetune(there, device="cpu", resume=True)
        expected = dict(whole.model.named_parameters())
        for name, each in resumed.model.named_parameters():
            assert torch.equal(each, expected[name]), name
