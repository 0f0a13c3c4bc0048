"""A language-model run that was stopped in the middle ends in the same weights, its random masks and pairs included."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from llmkit.training.loop import StepResult
from llmkit.training.run import finetune
from llmkit.training.state import Listener, Run
from tests.fixtures.tiny.vocabulary import CORPUS
from tests.training.stepping import config_for

Tiny = Callable[[str], Path]


class StopAt(Listener):
    """Sends SIGTERM to the run after a step."""

    def __init__(self, number: int) -> None:
        self.number = number

    def step(self, result: StepResult, run: Run) -> None:
        if run.progress.step == self.number:
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize(
    ("task", "start", "batching"),
    [
        ("masked-lm", "fill-mask", "sorted"),
        ("masked-lm", "fill-mask", "packed"),
        ("next-sentence", "fill-mask", "sorted"),
        ("causal-lm", "conversational", "packed"),
    ],
)
def test_weights(tiny: Tiny, tmp_path: Path, task: str, start: str, batching: str) -> None:
    train = tmp_path / "train.txt"
    train.write_text(
        "\n".join(f"{text}\n\n" if number % 4 == 3 else text for number, text in enumerate(CORPUS))
    )
    weights = {}
    for name in ("whole", "stopped"):
        config = config_for(
            task,
            tiny(start),
            tmp_path / name,
            str(train),
            # dropout too has to be the same after a resume
            model={"config": {"attention_dropout": 0.1} if task == "causal-lm" else {}},
            data={"max_length": 32},
            training={"batch_size": 3, "epochs": 2, "learning_rate": 1e-3, "batching": batching},
        )
        if name == "stopped":
            run = finetune(config, device="cpu", listener=StopAt(3))
            assert run.stopped == "SIGTERM"
        run = finetune(config, device="cpu", resume=name == "stopped")
        assert run.progress.step == run.loop.steps.total > 3
        weights[name] = (Path(config.output) / "model.safetensors").read_bytes()
    assert weights["whole"] == weights["stopped"]
