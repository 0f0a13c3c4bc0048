"""Rows that cannot be learned from: one message with the file, the line and the way out, for every task."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from llmkit.errors import LlmkitError
from llmkit.training.run import finetune
from tests.cli.test_finetune_bad_input import STARTS, content
from tests.training.bad_rows import ANSWERS, CHATS, FILES, PLAIN, TEXTS, WORDS, Bad
from tests.training.stepping import config_for

Tiny = Callable[[str], Path]


@pytest.mark.parametrize(
    "case",
    [*FILES, *TEXTS, *WORDS, *ANSWERS, *PLAIN, *CHATS],
    ids=lambda case: f"{case.task}: {case.name}",
)
def test_one_message(tiny: Tiny, tmp_path: Path, case: Bad) -> None:
    files = {case.file: case.train, **case.files}
    for name, value in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content(value))
    data = {
        key: str(tmp_path / value) if key in ("train", "validation") and isinstance(value, str) else value
        for key, value in case.data.items()
    }

    with pytest.raises(LlmkitError) as caught:
        start = tiny(case.start or STARTS.get(case.task, case.task))
        train = str(tmp_path / case.file)
        finetune(config_for(case.task, start, tmp_path, train, model={"config": {}}, data=data), device="cpu")

    message = caught.value.message.replace(f"{tmp_path}/", "")
    assert caught.value.exit_code == case.code
    assert message.startswith(case.said[0]), message
    for part in case.said[1:]:
        assert part in f"{message}\n{caught.value.hint}"
    assert sorted(each.name for each in (tmp_path / "run").glob("*")) in ([], [".lock"])
