"""A chat at a terminal: answers, what is kept of it, and how it ends."""

from __future__ import annotations

import json

import pytest

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
