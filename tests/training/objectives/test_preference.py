"""preference: DPO against PyTorch written out, the reference kept with the run, bad rows."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

from llmkit.errors import DataError
from llmkit.training.run import figures_of, finetune
from llmkit.training.state import CHECKPOINTS, Run
from tests.training.objectives.test_resumed_masks import StopAt
from tests.training.stepping import (
    SPLITS,
    assert_same_step,
    config_for,
    first_step,
    plain_step,
    ready,
    write_rows,
)

TASK = "preference"
Tiny = Callable[[str], Path]
NO_GPT_DROPOUT = {"config": {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}}
GPT_DROPOUT = {"config": {"resid_pdrop": 0.1, "embd_pdrop": 0.1, "attn_pdrop": 0.1}}

ROWS = [
    {"prompt": "The capital of France is", "chosen": " Paris", "rejected": " a dog barking in the city"},
    {"prompt": "Is the meal cold?", "chosen": " Yes, cold and tasteless.", "rejected": " No"},
    {"prompt": "Hello", "chosen": " How are you today?", "rejected": " What?"},
    {"prompt": "1", "chosen": " 2 3", "rejected": " 9"},
    {"prompt": "I want", "chosen": " a refund", "rejected": " a refund for my order in 10 years"},
]
SHIFT = 0.05


def run_on(start: Path, folder: Path, rows: list[dict[str, Any]], **sections: Any) -> Run:
    sections = {"model": NO_GPT_DROPOUT, **sections}
    return ready(config_for(TASK, start, folder, write_rows(folder / "train.jsonl", rows), **sections))


def log_probability(run: Run, before: list[int], answer: list[int]) -> torch.Tensor:
    """Of an answer, token by token, the prompt and it alone in the model."""
    logits = run.model(input_ids=torch.tensor([[*before, *answer]])).logits[0]
    each = logits.log_softmax(-1)
    return sum(each[len(before) - 1 + place, token] for place, token in enumerate(answer))


def texts_of(run: Run, row: dict[str, Any]) -> list[tuple[list[int], list[int]]]:
    tokenizer = run.objective.tokenizer
    return [
        (tokenizer(row["prompt"]).input_ids, [*tokenizer(row[name]).input_ids, tokenizer.eos_token_id])
        for name in ("chosen", "rejected")
    ]


def moved(run: Run) -> None:
    """Change the weights as training would, so that the model is no longer its own reference."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in run.model.parameters():
            parameter.add_(SHIFT * torch.randn(parameter.shape, generator=generator))


def expected_step(run: Run, answers: list[list[tuple[list[int], list[int]]]], **settings: float) -> Any:
    """Equation 7 of Rafailov et al. 2023, with the smoothing of Mitchell 2023; leaves the model `moved`."""
    beta, smoothing = settings.get("beta", 0.1), settings.get("label_smoothing", 0.0)
    with torch.no_grad():
        start = [[log_probability(run, *each) for each in pair] for pair in answers]
    moved(run)
    losses = []
    for pair, (chosen, rejected) in zip(answers, start, strict=True):
        now = [log_probability(run, *each) for each in pair]
        margin = beta * ((now[0] - chosen) - (now[1] - rejected))
        losses.append(
            -(1 - smoothing) * functional.logsigmoid(margin) - smoothing * functional.logsigmoid(-margin)
        )
    return plain_step(run.model, torch.stack(losses).mean())


class TestStep:
    @pytest.mark.parametrize("split", SPLITS)
    def test_equals_plain_pytorch(self, tiny: Tiny, tmp_path: Path, split: str) -> None:
        run = run_on(tiny("text-generation"), tmp_path, ROWS, training=SPLITS[split])
        expected = expected_step(run, [texts_of(run, row) for row in ROWS])
        assert_same_step(first_step(run), expected)

    @pytest.mark.parametrize("settings", [{"beta": 0.5}, {"label_smoothing": 0.2}])
    def test_settings(self, tiny: Tiny, tmp_path: Path, settings: dict[str, float]) -> None:
        run = run_on(tiny("text-generation"), tmp_path, ROWS, training={"micro_batch_size": 2, **settings})
        expected = expected_step(run, [texts_of(run, row) for row in ROWS], **settings)
        assert_same_step(first_step(run), expected)

    def test_the_first_loss_is_that_of_no_preference(self, tiny: Tiny, tmp_path: Path) -> None:
        """log 2, because the model is its own reference: computed in other batches, without dropout."""
        run = run_on(tiny("text-generation"), tmp_path, ROWS, training={"micro_batch_size": 1})
        assert first_step(run)[0] == pytest.approx(0.6931472, abs=1e-6)

    def test_with_an_adapter(self, tiny: Tiny, tmp_path: Path) -> None:
        run = run_on(tiny("text-generation"), tmp_path, ROWS, adapter={"type": "lora", "r": 2})
        loss, gradients = first_step(run)
        assert loss == pytest.approx(0.6931472, abs=1e-6)
        assert all("lora" in name for name in gradients)


def message(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


USER = message("user", "Is it cold?")
TURNS = [USER, message("assistant", "Yes"), message("user", "And the fox?")]
CHOSEN, REJECTED = message("assistant", "No"), message("assistant", "How many?")


class TestChats:
    @pytest.mark.parametrize(
        "row",
        [
            {"prompt": TURNS, "chosen": [CHOSEN], "rejected": [REJECTED]},
            {"chosen": [*TURNS, CHOSEN], "rejected": [*TURNS, REJECTED]},
            {"prompt": "And the fox?", "chosen": [*TURNS, CHOSEN], "rejected": [*TURNS, REJECTED]},
            {"prompt": TURNS, "chosen": "No", "rejected": "How many?"},
        ],
    )
    def test_the_last_answer_counts(self, tiny: Tiny, tmp_path: Path, row: dict[str, Any]) -> None:
        run = run_on(tiny("conversational"), tmp_path, [row], model={"config": {}})
        tokenizer = run.objective.tokenizer
        begin = tokenizer(
            "".join(f"<|im_start|>{each['role']}\n{each['content']}<|im_end|>\n" for each in TURNS)
            + "<|im_start|>assistant\n"
        ).input_ids
        answers = [
            (begin, tokenizer(f"{each['content']}<|im_end|>").input_ids) for each in (CHOSEN, REJECTED)
        ]
        expected = expected_step(run, [answers])
        assert_same_step(first_step(run), expected)

    def test_a_prompt_of_one_text(self, tiny: Tiny, tmp_path: Path) -> None:
        rows = [
            {"prompt": "Is it cold?", "chosen": [CHOSEN], "rejected": [REJECTED]},
            {"prompt": [USER], "chosen": [CHOSEN], "rejected": [REJECTED]},
        ]
        run = run_on(tiny("conversational"), tmp_path, rows, model={"config": {}})
        one, other = run.data.train.take([0, 1])
        assert (one["input_ids"], one["labels"]) == (other["input_ids"], other["labels"])


def preferred(folder: Path) -> dict[str, str]:
    """Rows in which an answer with a word of thanks is chosen, and others of the same shape to judge by."""
    things = [
        "order",
        "invoice",
        "meal",
        "photo",
        "house",
        "film",
        "dog",
        "cat",
        "city",
        "fox",
        "total",
        "date",
    ]
    rows = [
        {
            "prompt": f"Where is my {thing}?",
            "chosen": f" Hello, the {thing} is {place} today.",
            "rejected": f" No, the {thing} is {place}, what a lazy question.",
        }
        for thing in things
        for place in ("in Rome", "in Berlin", "in New York")
    ]
    return {
        "train": write_rows(folder / "train.jsonl", rows[:24]),
        "validation": write_rows(folder / "validation.jsonl", rows[24:]),
    }


def config_of(tiny: Tiny, folder: Path, files: dict[str, str], **training: Any) -> Any:
    return config_for(
        TASK,
        tiny("text-generation"),
        folder,
        files["train"],
        model=GPT_DROPOUT,
        data={"validation": files["validation"]},
        training={"epochs": 3, "learning_rate": 1e-3, "batch_size": 8, "micro_batch_size": 3, **training},
    )


def test_learning(tiny: Tiny, tmp_path: Path) -> None:
    config = config_of(tiny, tmp_path, preferred(tmp_path))
    before = ready(config)
    untrained = figures_of(before, before.data.validation, "eval")
    assert untrained["eval_reward_accuracy"] <= 0.5
    assert untrained["eval_reward_margin"] == pytest.approx(0.0, abs=1e-5)
    run = finetune(config, device="cpu", overwrite=True)
    assert run.figures["eval_reward_accuracy"] >= 0.9
    assert run.figures["eval_reward_margin"] > 0.1


class TestReference:
    def test_stopped_and_resumed(self, tiny: Tiny, tmp_path: Path) -> None:
        files = preferred(tmp_path)
        found = {}
        for name in ("whole", "stopped"):
            config = config_of(tiny, tmp_path / name, files)
            if name == "stopped":
                assert finetune(config, device="cpu", listener=StopAt(4)).stopped == "SIGTERM"
            run = finetune(config, device="cpu", resume=name == "stopped")
            weights = (run.output / "model.safetensors").read_bytes()
            found[name] = (hashlib.sha256(weights).hexdigest(), run.figures)
        assert found["stopped"] == found["whole"]

    def test_what_is_kept_is_taken(self, tiny: Tiny, tmp_path: Path) -> None:
        """Not computed again, by which a model that was changed since would be its own reference."""
        config = config_of(tiny, tmp_path, preferred(tmp_path))
        column = ready(config).data.train.table.column("reference").to_pylist()
        kept = tmp_path / "run" / CHECKPOINTS / "reference.safetensors"
        stamp = kept.stat().st_mtime_ns
        assert ready(config).data.train.table.column("reference").to_pylist() == column
        assert kept.stat().st_mtime_ns == stamp

    @pytest.mark.parametrize("damage", [b"", b"\x08"])
    def test_what_is_damaged_is_computed_again(self, tiny: Tiny, tmp_path: Path, damage: bytes) -> None:
        config = config_of(tiny, tmp_path, preferred(tmp_path))
        column = ready(config).data.train.table.column("reference").to_pylist()
        (tmp_path / "run" / CHECKPOINTS / "reference.safetensors").write_bytes(damage)
        assert ready(config).data.train.table.column("reference").to_pylist() == column

    def test_of_other_data_is_computed_again(self, tiny: Tiny, tmp_path: Path) -> None:
        files = preferred(tmp_path)
        ready(config_of(tiny, tmp_path, files))
        run = run_on(tiny("text-generation"), tmp_path, ROWS)
        assert run.data.train.table.column("reference").length() == len(ROWS)

    def test_a_share_for_validation(self, tiny: Tiny, tmp_path: Path) -> None:
        run = run_on(tiny("text-generation"), tmp_path, ROWS, data={"validation": 0.4})
        for examples in (run.data.train, run.data.validation):
            for example in examples.take(range(len(examples))):
                (row,) = (row for row in ROWS if example["place"].endswith(f":{ROWS.index(row) + 1}"))
                with torch.no_grad():
                    expected = [float(log_probability(run, *each)) for each in texts_of(run, row)]
                assert example["reference"] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("start", "row", "message"),
    [
        ("text-generation", {"prompt": "", "chosen": "a", "rejected": "b"}, "the prompt is empty"),
        ("text-generation", {"prompt": None, "chosen": "a", "rejected": "b"}, "there is no prompt"),
        ("text-generation", {"prompt": "a", "chosen": "", "rejected": "b"}, "the chosen answer is empty"),
        ("text-generation", {"prompt": "a", "chosen": "b", "rejected": None}, "the rejected answer is empty"),
        (
            "text-generation",
            {"prompt": "a", "chosen": "b", "rejected": 7},
            "the rejected answer 7 is no text",
        ),
        (
            "text-generation",
            {"prompt": "a", "chosen": "b", "rejected": "b"},
            "chosen and rejected are the same",
        ),
        (
            "text-generation",
            {"prompt": "a", "chosen": "fox " * 300, "rejected": "fox " * 310},
            "chosen and rejected are the same in the 256 tokens that are kept",
        ),
        (
            "text-generation",
            {"prompt": "fox " * 300, "chosen": "b", "rejected": "c"},
            "the prompt fills all of",
        ),
        (
            "conversational",
            {"chosen": [CHOSEN, USER], "rejected": [CHOSEN, USER]},
            "message 1 has the role assistant, but at the beginning comes",
        ),
        (
            "conversational",
            {"chosen": [USER, CHOSEN], "rejected": [message("user", "No?"), REJECTED]},
            "chosen and rejected are answers to different prompts",
        ),
        (
            "conversational",
            {"prompt": [USER], "chosen": [USER], "rejected": [REJECTED]},
            "message 2 has the role",
        ),
        (
            "conversational",
            {"prompt": [USER], "chosen": [], "rejected": [REJECTED]},
            "the chosen answer is empty",
        ),
    ],
)
def test_bad_rows(tiny: Tiny, tmp_path: Path, start: str, row: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError) as caught:
        run_on(tiny(start), tmp_path, [row], model={"config": {}})
    assert caught.value.message.startswith(f"{tmp_path / 'train.jsonl'}:1: {message}")


def test_a_column_that_is_not_there(tiny: Tiny, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no column 'rejected' in .*; its columns are: prompt, chosen"):
        run_on(tiny("text-generation"), tmp_path, [{"prompt": "a", "chosen": "b"}])
