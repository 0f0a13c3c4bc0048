"""At a terminal and in a pipe: tables, streaming, chats, progress, signals, closed pipes, live input."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pexpect
import pytest

from tests.fixtures.command import base_environment

COMMAND = [sys.executable, "-m", "llmkit"]
TIMEOUT = 60
ESCAPE = "\x1b"
COLOR = re.compile(r"\x1b\[[\d;]*m")


@pytest.fixture
def terminal(llmkit):
    """Start the command on a terminal of its own: as a new process if `fresh`, or by a line of the shell."""
    started = []

    def start(*arguments, env=None, shell=None, fresh=False):
        if shell is None and not fresh:
            started.append(llmkit.on_terminal(*arguments, env={"TERM": "xterm-256color"} | (env or {})))
            return started[-1]
        words = [str(argument) for argument in arguments]
        command = [*COMMAND, *words] if shell is None else ["bash", "-c", shell, "bash", *COMMAND, *words]
        settings = {key: value for key, value in base_environment().items() if key != "COLUMNS"}
        child = pexpect.spawn(
            command[0],
            command[1:],
            env=settings | {"TERM": "xterm-256color"} | (env or {}),
            timeout=TIMEOUT,
            dimensions=(30, 100),
            encoding="utf-8",
            codec_errors="replace",
        )
        started.append(child)
        return child

    yield start
    for child in started:
        child.close(force=True)


def rest(child):
    """Everything the terminal shows until the command ends."""
    child.expect(pexpect.EOF)
    child.close()
    return child.before.replace("\r\n", "\n")


def text_of(screen):
    return COLOR.sub("", screen)


# ---- what results look like


def test_results_are_a_table_on_a_terminal(terminal, tiny):
    child = terminal(
        "pipeline", "text-classification", "a good film", "a bad one", "-m", tiny("text-classification")
    )
    screen = rest(child)
    assert child.exitstatus == 0
    assert ESCAPE in screen
    rows = [line.split() for line in text_of(screen).splitlines() if line.strip()]
    assert rows[0] == ["input", "label", "score"]
    assert [row[:3] for row in rows[2:]] == [["a", "good", "film"], ["a", "bad", "one"]]
    assert "{" not in screen


def test_no_color_means_no_escape_codes(terminal, tiny):
    child = terminal(
        *("pipeline", "text-classification", "a good film", "-m", tiny("text-classification")),
        env={"NO_COLOR": "1"},
    )
    screen = rest(child)
    assert ESCAPE not in screen
    assert ["label", "score"] in [line.split() for line in screen.splitlines()]


def test_an_error_has_a_color_on_a_terminal_only(terminal, llmkit):
    assert rest(terminal("pipeline", "nope")).startswith(
        f"{ESCAPE}[31merror:{ESCAPE}[0m unknown task 'nope'.\n"
    )
    assert rest(terminal("pipeline", "nope", env={"NO_COLOR": "1"})).startswith("error: unknown task")
    assert llmkit("pipeline", "nope").stderr.startswith("error: unknown task")


def test_a_format_may_be_named_on_a_terminal(terminal, tiny):
    call = ("pipeline", "text-classification", "x", "-m", tiny("text-classification"), "--format", "jsonl")
    screen = rest(terminal(*call))
    assert set(json.loads(screen)) == {"label", "score"}


def test_a_redirected_result_is_json_lines_whatever_standard_error_is(terminal, tiny, tmp_path):
    out = tmp_path / "out"
    child = terminal(
        *("pipeline", "text-classification", "x", "y", "-m", tiny("text-classification")),
        shell=f'"$@" > {out}',
    )
    assert rest(child) == ""
    assert [set(json.loads(line)) for line in out.read_text().splitlines()] == [{"label", "score"}] * 2


def test_no_input_on_a_terminal(terminal, tiny):
    child = terminal("pipeline", "text-classification", "-m", tiny("text-classification"))
    assert "error: there is no input." in text_of(rest(child))
    assert child.exitstatus == 2


def test_typed_lines_are_answered_one_by_one(terminal, tiny):
    child = terminal(
        "pipeline", "text-classification", "-", "-m", tiny("text-classification"), "--format", "jsonl"
    )
    for text in ("a good film", "a bad one"):
        child.sendline(text)
        child.expect(r'\{"label": "\w+", "score": [\d.]+\}')
    child.sendeof()
    rest(child)
    assert child.exitstatus == 0


# ---- generation


def test_generated_text_streams(terminal, tiny):
    call = ("pipeline", "text-generation", "the film", "-m", tiny("text-generation"), "-p", "do_sample=false")
    streamed = rest(terminal(*call, "-p", "max_new_tokens=12"))
    listed = rest(terminal(*call, "-p", "max_new_tokens=12", "--format", "jsonl"))
    assert streamed.startswith("the film")
    assert "{" not in streamed.partition("\n")[0]
    assert printable(streamed) == printable(json.loads(listed)[0]["generated_text"])


def printable(text):
    return re.sub(r"[\W_]+", "", text)


def test_streaming_begins_before_the_end(terminal, tiny):
    child = terminal(
        *(
            "pipeline",
            "text-generation",
            "the film",
            "-m",
            tiny("text-generation"),
            "-p",
            "max_new_tokens=200",
        ),
        *("-p", "min_new_tokens=200"),
    )
    child.expect("the film.{20}")
    assert child.isalive()
    child.sendintr()
    assert text_of(rest(child)).endswith("warning: interrupted.\n")
    assert child.exitstatus == 130


# ---- chats


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


# ---- long runs: progress and signals


@pytest.fixture
def many_texts(tmp_path):
    file = tmp_path / "texts.txt"
    file.write_text("".join(f"the film number {number} was good\n" for number in range(3000)))
    return file


def test_progress_is_a_bar_on_standard_error(terminal, tiny, tmp_path):
    texts, out = tmp_path / "texts.txt", tmp_path / "out.jsonl"
    texts.write_text("good\n" * 100)
    call = ("pipeline", "text-classification", "-i", texts, "-m", tiny("text-classification"), "--overwrite")
    assert "100/100" in text_of(rest(terminal(*call, "-o", out)))
    redirected = terminal(*call, shell=f'"$@" > {tmp_path / "stdout"}')
    assert "100/100" in text_of(rest(redirected))
    assert len((tmp_path / "stdout").read_text().splitlines()) == 100
    quiet = terminal(*call, "-o", out, "--quiet")
    assert rest(quiet) == ""


def test_no_bar_gets_between_results_on_the_same_terminal(terminal, tiny, tmp_path):
    texts = tmp_path / "texts.txt"
    texts.write_text("good\n" * 3)
    call = ("pipeline", "text-classification", "-i", texts, "-m", tiny("text-classification"))
    screen = rest(terminal(*call, "--format", "jsonl"))
    assert [set(json.loads(line)) for line in screen.splitlines()] == [{"label", "score"}] * 3


def test_ctrl_c_says_how_to_resume(terminal, tiny, many_texts, tmp_path):
    out = tmp_path / "out.jsonl"
    child = terminal(
        *("pipeline", "text-classification", "-i", many_texts, "-m", tiny("text-classification"), "-o", out),
        *("--batch-size", "1"),
        fresh=True,
    )
    wait_for(out.with_name("out.jsonl.progress"), child.isalive)
    child.sendintr()
    last = text_of(rest(child)).splitlines()[-1]
    assert child.exitstatus == 130
    assert re.search(
        r"warning: interrupted: \d+ rows are done and kept; run the same command with --resume", last
    )
    assert not out.exists()


@pytest.mark.parametrize(
    ("number", "code", "says"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "told to stop")]
)
def test_a_signal_ends_a_run_with_one_line(tiny, many_texts, tmp_path, number, code, says):
    out = tmp_path / "out.csv"
    call = ["pipeline", "text-classification", "-i", many_texts, "-m", tiny("text-classification"), "-o", out]
    child = start(*call, "--batch-size", "1")
    wait_for(out.with_name("out.csv.progress"), lambda: child.poll() is None)
    child.send_signal(number)
    _, errors = child.communicate(timeout=TIMEOUT)
    assert child.returncode == code
    assert re.fullmatch(rf"warning: {says}: \d+ rows are done and kept; run the same command .*\n", errors)


def test_a_signal_while_everything_is_still_being_loaded(tiny):
    child = start("pipeline", "text-classification", "x", "-m", tiny("text-classification"))
    wait_for_import(child, "torch")
    child.send_signal(signal.SIGTERM)
    output, errors = child.communicate(timeout=TIMEOUT)
    assert (child.returncode, output, errors) == (143, "", "warning: told to stop.\n")


def start(*arguments, **options):
    return subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=base_environment(),
        text=True,
        # What a shell without job control passes on to a command in the background is not what a user has.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        **options,
    )


def wait_for(file, is_alive):
    while not file.exists():
        assert is_alive()
        time.sleep(0.01)


def wait_for_import(child, library):
    while f"/{library}/lib" not in Path(f"/proc/{child.pid}/maps").read_text():
        assert child.poll() is None
        time.sleep(0.01)


# ---- pipes


@pytest.mark.parametrize(
    ("form", "source"),
    [
        ("jsonl", "file"),
        ("csv", "stdin"),
        pytest.param("jsonl", "stdin", marks=pytest.mark.slow),
        pytest.param("csv", "file", marks=pytest.mark.slow),
    ],
)
def test_a_closed_pipe_ends_the_run_quietly(tiny, many_texts, source, form):
    given = f"-i {many_texts}" if source == "file" else f"< {many_texts}"
    line = f'set -o pipefail; "$@" {given} --format {form} | head -1'
    command = [*COMMAND, "pipeline", "text-classification", "-m", str(tiny("text-classification"))]
    done = subprocess.run(
        ["bash", "-c", line, "bash", *command],
        capture_output=True,
        env=base_environment(),
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 1


@pytest.mark.parametrize(
    "arguments", [["tasks"], ["tasks", "--format", "json"], [], ["--help"], ["--version"], ["pipeline", "-h"]]
)
def test_a_closed_pipe_ends_a_list_quietly(arguments):
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [*COMMAND, *arguments], stdout=write, stderr=subprocess.PIPE, env=base_environment(), check=False
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_a_line_of_a_live_source_is_answered_before_the_next_is_written(tiny, form):
    child = start(
        *("pipeline", "text-classification", "-m", tiny("text-classification"), "--format", form),
        stdin=subprocess.PIPE,
    )
    for number, text in enumerate(("a good film", "a bad film", "another")):
        child.stdin.write(f"{text}\n")
        child.stdin.flush()
        if form == "csv" and number == 0:
            assert child.stdout.readline() == "label,score\n"
        line = child.stdout.readline()
        assert line.startswith("{") if form == "jsonl" else re.fullmatch(r"\w+,[\d.]+\n", line)
    output, errors = child.communicate(timeout=TIMEOUT)
    assert (child.returncode, output, errors) == (0, "", "")


def test_live_rows_that_fail_are_named_at_once(tiny):
    child = start("pipeline", "text-classification", "-m", tiny("text-classification"), stdin=subprocess.PIPE)
    for text in ("good", "", "bad"):
        child.stdin.write(f"{text}\n")
        child.stdin.flush()
        if text:
            assert json.loads(child.stdout.readline())
        else:
            assert child.stderr.readline() == "warning: rejected: stdin:2: 'text' is empty\n"
    _, errors = child.communicate(timeout=TIMEOUT)
    assert (child.returncode, errors) == (3, "warning: 1 of 3 rows were rejected.\n")
