"""Words as they were typed in bash, out of the pieces that it cuts them into."""

from __future__ import annotations

import pytest

from llmkit.cli.bash_words import together


@pytest.mark.parametrize(
    ("pieces", "words", "before"),
    [
        ([""], [""], ""),
        (["finetune", "run"], ["finetune", "run"], ""),
        (["--set", "task", "=", "causal"], ["--set", "task=causal"], "task="),
        (["--set", "task", "="], ["--set", "task="], "task="),
        (["--set", "=", "task", "="], ["--set=task="], "--set=task="),
        (["--set", "task", "=", "causal-lm", ""], ["--set", "task=causal-lm", ""], ""),
        (["--set", "task", "=", ""], ["--set", "task=", ""], ""),  # a blank was typed after it
        (["-i", "hub", ":", "a", ":", "b"], ["-i", "hub:a:b"], "hub:a:"),
        (["-i", "https", ":", "//x", "-f", "js"], ["-i", "https://x", "-f", "js"], ""),
        (["a", "=", "b", "c", "=", "d"], ["a=b", "c=d"], "c="),
        (["="], ["="], "="),
        (["--set", "task=causal"], ["--set", "task=causal"], ""),  # bash was told not to cut
    ],
)
def test_pieces_are_put_together(pieces: list[str], words: list[str], before: str) -> None:
    assert together(pieces) == (words, before)
