"""Text of others on a terminal: no character of it is a command."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmkit.cli.channels import ResultStream, warn
from llmkit.cli.drawing import rendered
from llmkit.cli.printable import escaped, without_commands

COMMANDS = ("\x1b[2J", "\x1b]0;title\x07", "\x9b31m", "\b\b", "\r", "\x7f", "\u202e", "\u2066", "\0")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_is_written_out_or_left_out(command: str) -> None:
    text = f"before {command} after"
    shown = escaped(text)
    assert command[0] not in shown
    assert command.encode("unicode_escape").decode()[:4] in shown
    assert command[0] not in without_commands(text)


@given(st.text(st.characters(blacklist_categories=("Cc", "Cf", "Cs"))))
def test_other_text_stays_as_it_is(text: str) -> None:
    assert escaped(f"{text}\t\n") == without_commands(f"{text}\t\n") == f"{text}\t\n"


def test_a_message_is_escaped_and_not_without_end(capsys: pytest.CaptureFixture[str]) -> None:
    warn(f"the column '\x1b[31m{'x' * 100_000}' is the last")
    said = capsys.readouterr().err
    assert said.startswith("warning: the column '\\x1b[31mxxx")
    assert said.endswith("xxx' is the last\n")
    assert len(said) < 2100


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_drawing_has_no_commands_but_its_own(
    monkeypatch: pytest.MonkeyPatch, is_terminal: bool, tmp_path
) -> None:
    from rich.table import Table
    from rich.text import Text

    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    table = Table()
    table.add_column(Text("a\x1b[31mb"))
    table.add_row(Text("c\x1b]0;owned\x07d", style="bold"))
    with (tmp_path / "out").open("wb") as file:
        shown = rendered(table, ResultStream(file, is_terminal)).decode()
    assert "\x1b[31m" not in shown and "\x1b]" not in shown and "\x07" not in shown
    assert "a[31mb" in shown and "c]0;ownedd" in shown
    assert ("\x1b[" in shown) == is_terminal
