"""Texts side by side: the same loss and gradient as padded, with an attention that takes places as flash's does.

There is no GPU here: what is tried is the choice, the row and its places, and that the models of transformers hand
these on to the attention. The kernel itself is not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AttentionInterface

from llmkit.errors import ModelError
from llmkit.training.objectives.variable_length import (
    attention_for,
    check_side_by_side,
    has_variable_length,
    side_by_side,
    use_variable_length,
)
from llmkit.training.state import Run
from tests.training.stepping import assert_same_step, config_for, first_step, ready, write_rows

Tiny = Callable[[str], Path]
REFERENCE = "flash_attention_reference"
WORDS = "the quick brown fox jumps over a lazy dog and wants to live in Berlin or Rome".split()  # noqa: SIM905
ROWS = [{"text": " ".join(WORDS[: 2 + (5 * number) % 13])} for number in range(10)]
seen: list[tuple[int, ...]] = []


def reference(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """Attention of each text alone, told by the places: what flash attention computes; (1, heads, tokens, size)."""
    assert attention_mask is None and query.shape[0] == 1
    places = options["cu_seq_lens_q"].tolist()
    assert options["max_length_q"] >= max(end - begin for begin, end in pairwise(places))
    seen.append(tuple(places))
    groups = query.shape[1] // key.shape[1]
    key, value = (each.repeat_interleave(groups, 1) for each in (key, value))
    parts = [
        torch.nn.functional.scaled_dot_product_attention(
            *(each[:, :, begin:end] for each in (query, key, value)),
            scale=scaling,
            is_causal=module.is_causal,
        )
        for begin, end in pairwise(places)
    ]
    return torch.cat(parts, 2).transpose(1, 2), None


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    AttentionInterface.register(REFERENCE, reference)
    seen.clear()
    yield
    del AttentionInterface._global_mapping[REFERENCE]


def run_on(tiny: Tiny, folder: Path, task: str, **training: Any) -> Run:
    folder.mkdir()
    train = write_rows(folder / "train.jsonl", ROWS)
    model = (
        {"config": dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0)}
        if task == "causal-lm"
        else {}
    )
    config = config_for(
        task, tiny(MODELS[task]), folder, train, training=training, model=model, data={"max_length": 24}
    )
    return ready(config)


MODELS = {"masked-lm": "fill-mask", "causal-lm": "text-generation"}


@pytest.mark.parametrize("task", MODELS)
@pytest.mark.parametrize("batching", ["sorted", "packed"])
def test_the_same_step_as_padded(tiny: Tiny, tmp_path: Path, task: str, batching: str) -> None:
    plain = first_step(run_on(tiny, tmp_path / "plain", task, batching=batching, micro_batch_tokens=100))
    run = run_on(tiny, tmp_path / "row", task, batching=batching, micro_batch_tokens=100)
    run.model.config._attn_implementation = REFERENCE
    assert has_variable_length(run.model)
    assert_same_step(first_step(run), plain)
    assert any(len(places) > 2 for places in seen)  # several texts in a row, and no padding among them
    assert sum(places[-1] for places in set(seen)) >= sum(run.data.train.lengths)


def test_a_row_of_what_was_padded() -> None:
    ids = torch.tensor([[5, 6, 7, 0], [8, 9, 0, 0]])
    at = torch.tensor([[False, True, False, False], [True, False, False, False]])
    row, wanted = side_by_side({"input_ids": ids, "attention_mask": ids > 0}, at, [[3], [2]], is_real=ids > 0)
    assert row["input_ids"].tolist() == [[5, 6, 7, 8, 9]]
    assert row["position_ids"].tolist() == [[0, 1, 2, 0, 1]]
    assert row["cu_seq_lens_q"].tolist() == row["cu_seq_lens_k"].tolist() == [0, 3, 5]
    assert (row["max_length_q"], row["max_length_k"]) == (3, 3)
    assert wanted.tolist() == [[False, True, False, True, False]]
    assert "attention_mask" not in row


def test_a_model_that_does_not_heed_the_places(tiny: Tiny, tmp_path: Path) -> None:
    run = run_on(tiny, tmp_path / "run", "masked-lm")
    batch = run.loop.batch([0, 1, 2], 0)
    is_real = batch.inputs["attention_mask"].bool()
    samples = [[int(length)] for length in is_real.sum(1)]
    row, _ = side_by_side(batch.inputs, batch.labels != -100, samples, is_real=is_real)
    with pytest.raises(ModelError, match="sees the ones beside it"):
        check_side_by_side(run.model, row, "masked-lm")  # sdpa: all see all


@pytest.mark.parametrize(
    ("device", "precision", "is_installed", "chosen"),
    [
        ("cuda", "bfloat16", True, "flash_attention_2"),
        ("cuda", "float16", True, "flash_attention_2"),
        ("cuda", "float32", True, None),
        ("cuda", "bfloat16", False, None),
        ("cpu", "bfloat16", True, None),
        ("mps", "float16", True, None),
    ],
)
def test_the_choice(device: str, precision: str, is_installed: bool, chosen: str | None) -> None:
    assert attention_for(device, precision, is_installed=is_installed) == chosen


def test_a_cpu_keeps_what_it_has(tiny: Tiny, tmp_path: Path) -> None:
    run = run_on(tiny, tmp_path / "run", "masked-lm")
    assert not use_variable_length(run.model, "cpu", "bfloat16")
    assert run.model.config._attn_implementation == "sdpa"
