"""At a terminal: tables, colors, typed lines, text that streams, progress."""

from __future__ import annotations

import json
import re

from tests.cli.running import ESCAPE, rest, text_of

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


def test_rejected_rows_are_kept_beside_a_table_too(terminal, tiny, tmp_path):
    (tmp_path / "in.txt").write_text("good\n\nbad\n")
    call = ("pipeline", "text-classification", "-i", tmp_path / "in.txt", "-m", tiny("text-classification"))
    child = terminal(*call, "--rejects", tmp_path / "bad.jsonl")
    assert "label" in text_of(rest(child))
    assert child.exitstatus == 3
    assert json.loads((tmp_path / "bad.jsonl").read_text())["line"] == 2


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
        f"{ESCAPE}[31merror:{ESCAPE}[0m no such task: 'nope'.\n"
    )
    assert rest(terminal("pipeline", "nope", env={"NO_COLOR": "1"})).startswith("error: no such task")
    assert llmkit("pipeline", "nope").stderr.startswith("error: no such task")


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


# ---- progress


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
