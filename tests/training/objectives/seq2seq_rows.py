"""A few sources and targets, and a run on them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from llmkit.training.state import Run
from tests.training.stepping import config_for, ready, write_rows

TASK = "seq2seq"
Tiny = Callable[[str], Path]
ROWS = [
    {"source": "The quick brown fox jumps over the lazy dog.", "target": "The fox jumps."},
    {"source": "Paris is the capital of France.", "target": "Paris"},
    {"source": "Yes", "target": "I was charged twice and want a refund."},
    {"source": "How many people live in the city?", "target": "2019"},
    {"source": "This film was a delight.", "target": "Yes"},
]


def run_on(start: Path, folder: Path, rows: list[dict[str, Any]], **sections: Any) -> Run:
    sections = {"model": {"config": {}}} | sections
    return ready(config_for(TASK, start, folder, write_rows(folder / "train.jsonl", rows), **sections))
