"""The tables of keys in docs/finetune.md are those of the schema.

Where one is not, the message is the table as it should be, to be put in its place.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from llmkit.training import config
from llmkit.training.objectives import OBJECTIVES

PAGE = (Path(__file__).parents[2] / "docs" / "finetune.md").read_text(encoding="utf-8")
SECTIONS = {
    name: getattr(config, f"{name.capitalize()}Section")
    for name in ("model", "data", "training", "adapter", "sharding", "tokenizer", "generation")
}


def default_of(field: Any) -> str:
    if field.is_required():
        return "needed"
    value = field.get_default(call_default_factory=True)
    return "–" if value is None else f"`{value if isinstance(value, str) else json.dumps(value)}`"


def meaning_of(field: Any) -> str:
    words, meaning = ", ".join(config.words_of(field)), " ".join((field.description or "").split())
    return ". ".join(filter(None, (words, meaning))).replace("|", "\\|")


def table_of(section: Any) -> str:
    fields = section.model_fields.items()
    rows = [f"| `{name}` | {default_of(field)} | {meaning_of(field)} |" for name, field in fields]
    return "\n".join(["| key | default | |", "|---|---|---|", *rows])


@pytest.mark.parametrize("name", SECTIONS)
def test_the_table_of_a_section_is_that_of_the_schema(name: str) -> None:
    table = table_of(SECTIONS[name])
    assert table in PAGE, f"\n### `{name}:`\n\n{table}\n"


def test_the_tasks_of_the_page_are_those_there_are() -> None:
    described = re.findall(
        r"^\| `([a-z0-9-]+)` \|[^|]*\|[^|]*\|$",
        PAGE.partition("## Tasks")[2].partition("\n## ")[0],
        re.MULTILINE,
    )
    assert described == list(OBJECTIVES)
