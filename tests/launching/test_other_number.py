"""A run begun by one process and gone on with by two: the same examples at the same rate, the same losses."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.fixtures.command import Command
from tests.launching.running import TWO, Launched, Tiny
from tests.training.test_sharding import assert_same, figures, write_config


@pytest.mark.slow
def test_resumed_by_two(llmkit: Command, tiny: Tiny, tmp_path: Path) -> None:
    write_config(tmp_path, tiny, "text-classification")
    environment = {"LLMKIT_CACHE": str(tmp_path / "cache")}
    call = ("finetune", "run.yaml", "--device", "cpu", "--set", "output=whole")
    assert llmkit(*call, cwd=tmp_path, env=environment).code == 0
    shutil.copytree(tmp_path / "whole", tmp_path / "out")
    shutil.rmtree(tmp_path / "out/checkpoints/step-00000006")  # as if killed before it was written

    code, _, errors = Launched(tmp_path, "finetune", "run.yaml", *TWO, "--resume").wait()

    assert code == 0, errors
    assert "going on after step 4." in errors
    assert "resumed on 2 devices, begun on 1: the same examples at the same rate" in errors
    assert len(figures(tmp_path / "out")) == len(figures(tmp_path / "whole"))
    assert_same(tmp_path, "out")
