"""A chat at a terminal: answers, what is kept of it, and how it ends."""

from __future__ import annotations

import io
import json
import os

import pytest

from llmkit.cli.channels import ResultStream
from tests.cli.running import rest, text_of


@pytest.fixture
def chat(terminal, tiny, tmp_path):
    def start(*options):
        child = terminal("pipeline", "conversational", "-m", tiny("chat"), "-p", "max_new_tokens=8", *options)
        child.expect("ends the chat.*\n> ")
        return child

    return start


def test_a_chat_goes_on_until_exit(chat):
    child = chat()
    child.sendline("hello")
    child.expect("hello\r\n(.*)\r\n> ")
    assert child.match[1].strip()
    child.sendline("")  # nothing said, nothing answered
    child.expect_exact("> ")
    child.sendline("/exit")
    rest(child)
    assert child.exitstatus == 0


def test_a_chat_is_saved_and_gone_on_with(chat, tmp_path):
    save = tmp_path / "chat.json"
    first = chat("--save", save)
    first.sendline("hello")
    first.expect("\n> ")
    first.sendeof()
    rest(first)
    messages = json.loads(save.read_text())["messages"]
    assert first.exitstatus == 0
    assert [message["role"] for message in messages] == ["user", "assistant"]

    second = chat("--save", save)
    assert "2 messages" in second.before + second.after
    second.sendline("again")
    second.expect("\n> ")
    second.sendeof()
    rest(second)
    assert json.loads(save.read_text())["messages"][:3] == [*messages, {"role": "user", "content": "again"}]


@pytest.mark.parametrize(
    "option",
    [
        ["-o", "talk.jsonl"],
        ["--format", "jsonl"],
        ["--keep-input"],
        ["--column", "text"],
        ["--long", "error"],
        ["--max-length", "9"],
    ],
)
def test_what_is_for_rows_is_refused(terminal, tiny, option):
    child = terminal("pipeline", "conversational", "-m", tiny("chat"), *option)
    said = text_of(rest(child))
    assert child.exitstatus == 2
    name = {"-o": "--output"}.get(option[0], option[0])
    assert f"error: {name} is not for a chat at the terminal" in said
    assert "--save FILE keeps a chat." in said


def test_what_a_model_says_gives_the_terminal_no_commands(monkeypatch):
    from llmkit.cli import chat

    class Said:
        def __init__(self, messages, **parameters):
            self.messages = [*messages, {"role": "assistant", "content": "red: \x1b[31m\ud800!"}]

    monkeypatch.setattr(chat, "can_stream", lambda *given: False)
    shown = ResultStream(io.BytesIO(), True)
    chat._answer(Said, [{"role": "user", "content": "hello"}], shown, {})
    assert shown.file.getvalue().endswith(b"!\n")
    assert b"\x1b" not in shown.file.getvalue()


def test_a_line_that_is_no_text_is_left_out_and_the_chat_goes_on(chat, tmp_path):
    save = tmp_path / "chat.json"
    child = chat("--save", save)
    os.write(child.child_fd, b"hi\xff\xfe there\n")
    child.expect("that line is not UTF-8")
    child.expect("\n> ")
    child.sendline("hello")
    child.expect("\n> ")
    child.sendeof()
    rest(child)
    assert child.exitstatus == 0
    assert json.loads(save.read_text())["messages"][0] == {"role": "user", "content": "hello"}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ('{"messages": "abc"}', "holds no conversation ('messages' should be a list"),
        ('{"messages": [1, {"role": 3}]}', "holds no conversation (message 1 needs 'role' and 'content')"),
        ('{"messages": [{"role": 3, "content": "a"}]}', "message 1: its role is a text"),
        ('{"messages": [{"role": "user", "content": "\\ud800"}]}', "holds no conversation."),
        ("[1]", "holds no conversation."),
    ],
)
def test_a_file_without_a_conversation_is_not_gone_on_with(terminal, tiny, tmp_path, content, says):
    save = tmp_path / "t.json"
    save.write_text(content)
    check_refused(terminal, tiny, save, 2, f"error: --save {save}: it is there and ", says)
    assert save.read_text() == content


def check_refused(terminal, tiny, save, code, *says):
    child = terminal("pipeline", "conversational", "-m", tiny("chat"), "--save", save)
    said = text_of(rest(child))
    assert child.exitstatus == code
    for words in says:
        assert words in said
    assert "> " not in said


def test_a_place_where_no_chat_can_be_kept_is_told_before_it_begins(terminal, tiny, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for place in ("/dev/zero", tmp_path / "pipe"):
        check_refused(terminal, tiny, place, 2, f"--save {place} is not a regular file.")
    check_refused(terminal, tiny, tmp_path, 2, "holds no conversation")
    nowhere = tmp_path / "no" / "t.json"
    check_refused(terminal, tiny, nowhere, 1, f"cannot write {nowhere}: No such file or directory.")


def test_what_was_said_is_kept_when_a_chat_is_interrupted(chat, tmp_path):
    save = tmp_path / "chat.json"
    child = chat("--save", save)
    child.sendline("hello")
    child.expect("\n> ")
    child.sendintr()
    assert text_of(rest(child)).endswith("warning: interrupted.\n")
    assert child.exitstatus == 130
    assert len(json.loads(save.read_text())["messages"]) == 2


def test_ctrl_c_stops_an_answer_and_not_the_chat(chat, tmp_path):
    save = tmp_path / "chat.json"
    child = chat("--save", save, "-p", "max_new_tokens=400", "-p", "min_new_tokens=400")
    child.sendline("hello")
    child.expect(r"hello\r\n(.{5})")
    begins = child.match[1]
    child.sendintr()
    child.expect("the answer is kept as far as it came.*\n> ")
    kept = json.loads(save.read_text())["messages"]
    assert [message["role"] for message in kept] == ["user", "assistant"]
    assert begins.lstrip() in kept[1]["content"]
    child.sendeof()
    rest(child)
    assert child.exitstatus == 0


def test_a_file_that_is_no_conversation_is_not_overwritten(terminal, tiny, tmp_path):
    save = tmp_path / "thesis.txt"
    save.write_text("my thesis")
    child = terminal("pipeline", "conversational", "-m", tiny("chat"), "--save", save)
    assert "thesis.txt: it is there and holds no conversation" in rest(child)
    assert child.exitstatus == 2
    assert save.read_text() == "my thesis"
