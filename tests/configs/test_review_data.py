"""The reviews in configs/data: as many as they say, balanced, each of them once."""

from __future__ import annotations

import csv
import re
from collections import Counter
from pathlib import Path

import pytest

DATA = Path(__file__).parents[2] / "configs" / "data"
LEAST = {"train": 400, "test": 100}


def rows_of(name: str) -> list[dict[str, str]]:
    with (DATA / f"reviews.{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def words_of(text: str) -> str:
    """What is left of a text that was copied with another comma or capital."""
    return " ".join(re.findall(r"\w+", text.lower()))


@pytest.mark.parametrize("name", LEAST)
def test_there_are_enough_rows_and_as_many_of_each_label(name: str) -> None:
    rows = rows_of(name)
    counts = Counter(row["label"] for row in rows)

    assert len(rows) >= LEAST[name]
    assert counts == {"positive": len(rows) // 2, "negative": len(rows) // 2}
    assert all(row.keys() == {"text", "label"} and row["text"] == row["text"].strip() for row in rows)
    assert f"| `reviews.{name}.csv` | {len(rows)} | {len(rows) // 2} |" in (DATA / "README.md").read_text()


def test_no_text_is_there_twice_in_a_file_or_in_both() -> None:
    texts = Counter(words_of(row["text"]) for name in LEAST for row in rows_of(name))

    assert [text for text, count in texts.items() if count > 1] == []


def test_the_texts_are_sentences_and_not_one_frame_filled_in() -> None:
    texts = [words_of(row["text"]).split() for name in LEAST for row in rows_of(name)]
    beginnings = Counter(" ".join(words[:4]) for words in texts)

    assert min(map(len, texts)) >= 3
    assert beginnings.most_common(1)[0][1] <= 0.02 * len(texts)


def test_some_turn_on_a_negation_or_a_contrast() -> None:
    turning = re.compile(r"\b(not|never|nothing|but|although|yet)\b|n't", re.IGNORECASE)
    rows = [row for name in LEAST for row in rows_of(name)]
    held = Counter(row["label"] for row in rows if turning.search(row["text"]))

    assert min(held.values()) >= 0.1 * len(rows) / 2
