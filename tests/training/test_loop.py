"""The loop: one gradient however a step is split, exact resuming, and what stops it."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from llmkit.errors import UsageError
from llmkit.training.keeping import resume_run, save
from llmkit.training.loop import NotFiniteError, StepResult
from llmkit.training.run import finetune
from llmkit.training.state import Listener, Run
from tests.training.stepping import assert_same_step, config_for, first_step, ready, write_rows

Tiny = Callable[[str], Path]

SENTENCE = "the quick brown fox jumps over a lazy dog and wants to live in Berlin or Rome for 10 years"
WORDS = SENTENCE.split()
LENGTHS = [(7 * number) % 29 + 1 for number in range(32)]
TEXTS = [
    " ".join(WORDS[(number + place) % len(WORDS)] for place in range(length))
    for number, length in enumerate(LENGTHS)
]

ROWS = {
    "text-classification": [{"text": text, "label": "abc"[number % 3]} for number, text in enumerate(TEXTS)],
    "token-classification": [
        {"words": text.split(), "tags": ["O" if word in "a the" else "B-x" for word in text.split()]}
        for text in TEXTS
    ],
    "question-answering": [
        {"question": "Which?", "context": text, "answer": text.split()[0], "answer_start": 0}
        for text in TEXTS
    ],
}
WHOLE = {"micro_batch_size": 32, "batching": "padded"}
SPLITS = [
    {"micro_batch_size": 8, "batching": "padded"},
    {"micro_batch_size": 8, "batching": "sorted"},
    {"micro_batch_tokens": 128},
    {"micro_batch_size": 1},
]
SHORT_STEPS = {
    "batch_size": 12,
    "epochs": 2,
    "learning_rate": 1e-3,
    "micro_batch_size": 5,
    "max_grad_norm": 1.0,
}
WITH_DROPOUT = {"config": {"hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1}}


def run_on(tiny: Tiny, folder: Path, task: str = "text-classification", **sections: Any) -> Run:
    folder.mkdir(exist_ok=True)
    train = folder.parent / f"{task}.jsonl"
    if not train.exists():
        write_rows(train, ROWS[task])
    return ready(config_for(task, tiny(task), folder, str(train), **sections))


def weights(run: Run) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in run.model.state_dict().items()}


def assert_identical(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    assert [name for name, tensor in one.items() if not torch.equal(tensor, other[name])] == []


@pytest.mark.parametrize("task", ROWS)
def test_the_gradient_is_the_same_for_any_split(tiny: Tiny, tmp_path: Path, task: str) -> None:
    whole = first_step(run_on(tiny, tmp_path / "whole", task, training=WHOLE))
    for split in SPLITS:
        run = run_on(tiny, tmp_path / "split", task, training=split)
        assert len(run.loop.steps.at(0).micro_batches) >= 4
        assert_same_step(first_step(run), whole)


class TestSteps:
    def test_the_weights_follow_the_whole_step(self, tiny: Tiny, tmp_path: Path) -> None:
        found = []
        for split in SPLITS[:2]:
            training = {**split, "batch_size": 16, "epochs": 2, "learning_rate": 1e-3}
            run = run_on(tiny, tmp_path / "run", training=training)
            assert [result.step.number for result in run.loop.run()] == [0, 1, 2, 3]
            found.append(weights(run))
        for name, tensor in found[0].items():
            if name.endswith("key.bias"):  # its gradient is zero but for rounding, which Adam blows up
                continue
            torch.testing.assert_close(found[1][name], tensor, atol=2e-4, rtol=0, msg=name)

    def test_rate_and_clipping(self, tiny: Tiny, tmp_path: Path) -> None:
        training = {
            "batch_size": 8,
            "max_steps": 4,
            "learning_rate": 1e-3,
            "schedule": "linear",
            "warmup_steps": 2,
            "max_grad_norm": 1e-3,
        }
        run = run_on(tiny, tmp_path / "run", training=training)
        results = list(run.loop.run())
        assert [round(result.learning_rate / 1e-3, 6) for result in results] == [
            round(run.loop.rate_at(number), 6) for number in range(4)
        ]
        assert all(result.gradient_norm > 1e-3 for result in results)  # as it was before clipping

    def test_clipped_gradient(self, tiny: Tiny, tmp_path: Path) -> None:
        free = first_step(run_on(tiny, tmp_path / "free"))
        clipped = first_step(run_on(tiny, tmp_path / "clipped", training={"max_grad_norm": 0.5}))
        norm = torch.sqrt(sum((gradient**2).sum() for gradient in free[1].values()))
        assert norm > 0.5
        for name, gradient in free[1].items():
            torch.testing.assert_close(clipped[1][name], gradient * 0.5 / norm, atol=1e-5, rtol=1e-4)

    def test_tokens_are_counted(self, tiny: Tiny, tmp_path: Path) -> None:
        run = run_on(tiny, tmp_path / "run", training=WHOLE)
        result = next(run.loop.run())
        assert result.tokens == sum(run.data.train.lengths)
        assert result.padded == 32 * max(run.data.train.lengths)


class TestResuming:
    @pytest.mark.parametrize("task", ROWS)
    @pytest.mark.parametrize("after", [1, 3, 4])
    def test_bit_for_bit(self, tiny: Tiny, tmp_path: Path, task: str, after: int) -> None:
        sections = {"training": SHORT_STEPS, "model": WITH_DROPOUT}
        straight = run_on(tiny, tmp_path / "straight", task, **sections)
        losses = [result.loss for result in straight.loop.run()]

        broken = run_on(tiny, tmp_path / "broken", task, **sections)
        steps = broken.loop.run()
        before = [next(steps).loss for _ in range(after)]
        save(broken)
        next(steps)  # what came after the checkpoint is lost

        resumed = run_on(tiny, tmp_path / "broken", task, **sections)
        resume_run(resumed)
        assert resumed.progress.step == after
        assert before + [result.loss for result in resumed.loop.run()] == losses
        assert_identical(weights(resumed), weights(straight))
        assert (resumed.progress.tokens, resumed.progress.padded) == (
            straight.progress.tokens,
            straight.progress.padded,
        )

    def test_dropout_is_random(self, tiny: Tiny, tmp_path: Path) -> None:
        """Or the tests above would show little."""
        losses = [
            first_step(run_on(tiny, tmp_path / "run", training={"seed": seed}, model=WITH_DROPOUT))[0]
            for seed in (1, 2)
        ]
        assert losses[0] != losses[1]

    def test_refuses_another_config(self, tiny: Tiny, tmp_path: Path) -> None:
        first = run_on(tiny, tmp_path / "run", training=SHORT_STEPS)
        next(first.loop.run())
        save(first)
        other = run_on(tiny, tmp_path / "run", training={**SHORT_STEPS, "learning_rate": 2e-3})
        with pytest.raises(UsageError, match=r"training\.learning_rate: 0\.001 before, 0\.002 now"):
            resume_run(other)

    def test_refuses_other_data(self, tiny: Tiny, tmp_path: Path) -> None:
        first = run_on(tiny, tmp_path / "run", training=SHORT_STEPS)
        next(first.loop.run())
        save(first)
        write_rows(tmp_path / "text-classification.jsonl", ROWS["text-classification"][1:])
        with pytest.raises(UsageError, match="the training data: 32 examples before, 31 now"):
            resume_run(run_on(tiny, tmp_path / "run", training=SHORT_STEPS))


class TestStopping:
    def test_a_loss_that_is_not_finite(self, tiny: Tiny, tmp_path: Path) -> None:
        rows = [
            {"text": text, "label": 1e30 if number == 2 else 0.5} for number, text in enumerate(TEXTS[:4])
        ]
        train = write_rows(tmp_path / "train.jsonl", rows)
        config = config_for("text-classification", tiny("text-classification"), tmp_path, train)
        run = ready(config)
        before = weights(run)
        with pytest.raises(NotFiniteError) as caught:
            list(run.loop.run())
        assert caught.value.message.startswith("step 1: the loss is not a finite number.")
        assert f"{train}:3" in caught.value.message
        assert_identical(weights(run), before)

    def test_stopped_and_resumed(self, tiny: Tiny, tmp_path: Path) -> None:

        class Interrupting(Listener):
            def step(self, result: StepResult, run: Run) -> None:
                if result.step.number == 1:
                    signal.raise_signal(signal.SIGTERM)

        train = write_rows(tmp_path / "train.jsonl", ROWS["text-classification"])
        sections = {"training": SHORT_STEPS, "model": WITH_DROPOUT, "data": {"validation": 0.25}}
        configs = [
            config_for("text-classification", tiny("text-classification"), tmp_path / name, train, **sections)
            for name in ("straight", "broken")
        ]
        straight = finetune(configs[0], device="cpu")
        broken = finetune(configs[1], device="cpu", listener=Interrupting())
        assert (broken.stopped, broken.progress.step) == ("SIGTERM", 2)
        resumed = finetune(configs[1], device="cpu", resume=True)
        assert resumed.figures == straight.figures
        assert_identical(weights(resumed), weights(straight))
