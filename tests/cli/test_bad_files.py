"""Files that cannot be read, and rows that cannot be used: each is named, and the rest goes on."""

from __future__ import annotations

import pytest

from tests.cli.bad_input import CLASSIFY, Case, check_message, named

FILES = (
    Case(
        "missing",
        f"{CLASSIFY} -i {{/}}/reviws.txt",
        ("reviws.txt", "reviews.txt"),
        files={"reviews.txt": b"x"},
    ),
    Case("no-folder", f"{CLASSIFY} -i {{/}}/no/a.txt", ("a.txt", "no folder")),
    Case("no-match", f"{CLASSIFY} -i {{/}}/*.txt", ("no file matches", "*.txt")),
    Case("folder", f"{CLASSIFY} -i {{/}}", ("is a folder", "*.csv"), files={"a.csv": b"a\n1\n"}),
    Case("empty", f"{CLASSIFY} -i {{/}}/a.txt", ("a.txt is empty",), files={"a.txt": b""}),
    Case("empty-csv", f"{CLASSIFY} -i {{/}}/a.csv", ("a.csv", "no rows"), files={"a.csv": b"text\n"}),
    Case("empty-json", f"{CLASSIFY} -i {{/}}/a.json", ("a.json is empty",), files={"a.json": b"[]"}),
    Case(
        "binary",
        f"{CLASSIFY} -i {{/}}/a.txt",
        ("a.txt", "not a text file"),
        files={"a.txt": bytes(range(256))},
    ),
    Case("unknown-ending", f"{CLASSIFY} -i {{/}}/a.doc", ("a.doc", "--input-format"), files={"a.doc": b"x"}),
    Case("not-gzip", f"{CLASSIFY} -i {{/}}/a.txt.gz", ("a.txt.gz is damaged",), files={"a.txt.gz": b"plain"}),
    Case("not-parquet", f"{CLASSIFY} -i {{/}}/a.parquet", ("not a parquet",), files={"a.parquet": b"plain"}),
    Case("json-cut-off", f"{CLASSIFY} -i {{/}}/a.json", ("a.json", "line 1"), files={"a.json": b'{"a": ['}),
    Case(
        "missing-column",
        f"{CLASSIFY} -i {{/}}/a.csv",
        ("no column 'text'", "review, stars", "--column"),
        files={"a.csv": b"review,stars\ngood,1\n"},
    ),
    Case(
        "misspelt-column",
        f"{CLASSIFY} -i {{/}}/a.csv --column reveiw",
        ("no column 'reveiw'", "review, stars", "did you mean review?"),
        files={"a.csv": b"review,stars\ngood,1\n"},
    ),
    Case(
        "misspelt-field",
        f"{CLASSIFY} -i {{/}}/a.csv --map txt=review",
        ("--map txt", "did you mean text?"),
        files={"a.csv": b"review,stars\ngood,1\n"},
    ),
    Case("map-without-column", f"{CLASSIFY} -i {{/}}/a.csv --map text", ("--map text", "field=column")),
    Case(
        "unknown-input-format",
        f"{CLASSIFY} -i {{/}}/a --input-format xml",
        ("'xml'", "csv"),
        files={"a": b"x"},
    ),
    Case(
        "only-bad-rows",
        f"{CLASSIFY} -i {{/}}/a.jsonl -q",
        ("a.jsonl:1", "not JSON"),
        files={"a.jsonl": b"{oops\n"},
    ),
)


@pytest.mark.parametrize("case", FILES, ids=named)
def test_a_file_that_cannot_be_read(call, case):
    done = call(case)
    if case.name == "only-bad-rows":  # each row is named, and then that there is none left
        assert (done.code, done.stdout) == (2, b"")
        assert "Traceback" not in done.stderr
        assert all(word in done.stderr for word in case.says)
        return
    check_message(done, case.code, *case.says)


@pytest.mark.parametrize(
    ("name", "content", "results", "place", "reason"),
    [
        ("not-utf8.txt", b"good\ncaf\xe9\nbad\n", 2, ":2", "not UTF-8: byte 0xe9 at column 4"),
        ("ragged.csv", b"text,n\ngood,1\nbad,2,3\nfine,4\n", 2, ":3", "expected 2 cells"),
        ("long-line.txt", b"good\n" + b"x" * 10_000_000 + b"\nbad\n", 2, ":2", "10,000,000 characters"),
        (
            "bad.jsonl",
            b'{"text":"a"}\n{"text": oops}\n"b"\n',
            2,
            ":2",
            "not JSON: Expecting value at column 10",
        ),
        ("empty-line.txt", b"good\n\nbad\n", 2, ":2", "'text' is empty"),
        ("sole.csv", b'body\ngood\n""\nfine\n', 2, ":3", "'body' is empty"),
        ("number.jsonl", b'{"text":"a"}\n3\n{"text":null}\n', 1, ":3", "no value for 'text'"),
        ("list.jsonl", b'{"text":"a"}\n{"text":["b"]}\n', 1, ":2", "'text' should be a text, not list"),
        ("twice.jsonl", b'{"text":"a"}\n{"text":"b","text":"c"}\n', 1, ":2", "the key 'text' is there twice"),
        ("columns.jsonl", b'{"text":"a"}\n{"txt":"b","n":1}\n', 1, ":2", "no column 'text'"),
    ],
)
def test_a_row_that_cannot_be_used_is_named_and_the_rest_goes_on(
    llmkit, tiny, tmp_path, name, content, results, place, reason
):
    file = tmp_path / name
    file.write_bytes(content)
    done = llmkit("pipeline", "text-classification", "-i", file, "-m", tiny("text-classification"))
    assert done.code == 3, done.stderr
    assert [set(line) for line in done.lines] == [{"label", "score"}] * results
    assert f"rejected: {file}{place}: " in done.stderr
    assert reason in done.stderr
    assert "rows were rejected" in done.stderr.splitlines()[-1]


def test_rejected_rows_are_kept_with_their_line_and_reason(llmkit, tiny, tmp_path):
    file, rejects = tmp_path / "a.csv", tmp_path / "rejects.jsonl"
    file.write_text("text,n\ngood,1\nbad,2,3\n,4\n")
    call = ("pipeline", "text-classification", "-i", file, "-m", tiny("text-classification"))
    done = llmkit(*call, "--rejects", rejects)
    assert (done.code, len(done.lines)) == (3, 1)
    rows = [line.split('"line": ')[1][0] for line in rejects.read_text().splitlines()]
    assert rows == ["3", "4"]
    again = llmkit(*call, "--rejects", rejects)
    check_message(again, 2, "rejects.jsonl is there already", "--overwrite")
    assert llmkit(*call, "--rejects", rejects, "--overwrite").code == 3


@pytest.mark.parametrize("start", [b"\xef\xbb\xbf", b""])
def test_a_byte_order_mark_is_no_part_of_the_text(llmkit, tiny, tmp_path, start):
    file = tmp_path / "a.csv"
    file.write_bytes(start + b"text\ngood\n")
    done = llmkit("pipeline", "text-classification", "-i", file, "-m", tiny("text-classification"))
    plain = llmkit("pipeline", "text-classification", "good", "-m", tiny("text-classification"))
    assert (done.code, done.stderr) == (0, "")
    assert done.lines == plain.lines
