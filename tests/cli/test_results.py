"""Results on a terminal and elsewhere."""

import io
import json

import pytest

from llmkit.cli.channels import ResultStream
from llmkit.cli.results import StreamedSink, TableSink, format_for, rows_writer, write_rows
from llmkit.errors import UsageError

ROWS = [{"task": "ner", "aliases": ["a", "b"]}, {"task": "summarization", "aliases": []}]


@pytest.fixture(autouse=True)
def plain_terminal(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")


def stream(*, terminal=False):
    return ResultStream(io.BytesIO(), terminal)


def text(results):
    return results.file.getvalue().decode()


class InterruptedOnce(io.BytesIO):
    """Ctrl-C comes when what was written is flushed."""

    pressed = False

    def flush(self):
        if not self.pressed:
            self.pressed = True
            raise KeyboardInterrupt


def drawn(*results):
    out = stream(terminal=True)
    sink = TableSink(out)
    for index, result in enumerate(results):
        sink.write(result, index, f"input {index}")
    sink.commit(len(results))
    return text(out)


def test_the_format_is_the_one_named_else_the_places():
    assert format_for(stream(terminal=True), None) == "table"
    assert format_for(stream(), None) == "jsonl"
    assert format_for(stream(terminal=True), "csv") == "csv"
    with pytest.raises(UsageError):
        format_for(stream(), "xml")


class TestRows:
    @pytest.mark.parametrize(
        ("name", "read"),
        [("json", json.loads), ("jsonl", lambda text: [json.loads(line) for line in text.splitlines()])],
    )
    def test_as_json(self, name, read):
        out = stream()
        write_rows(out, ROWS, name, title="Tasks")
        assert read(text(out)) == ROWS

    def test_one_alone_is_bare(self):
        out = stream()
        write_rows(out, ROWS[:1], "json", title="ner", single=True)
        assert json.loads(text(out)) == ROWS[0]

    def test_as_a_table(self):
        out = stream(terminal=True)
        write_rows(out, ROWS, None, title="Tasks")
        assert [line.split() for line in text(out).splitlines() if "ner" in line or "summ" in line] == [
            ["ner", "a,", "b"], ["summarization"],
        ]  # fmt: skip

    def test_parquet_wants_a_file(self):
        with pytest.raises(UsageError, match="needs a file"):
            rows_writer("parquet", None, overwrite=False)


class TestTable:
    def test_a_row_each_with_the_input_beside_it(self):
        lines = (
            drawn({"label": "POSITIVE", "score": 0.98765}, {"label": "NEGATIVE", "score": 0.5})
            .strip()
            .splitlines()
        )
        assert lines[0].split() == ["input", "label", "score"]
        assert ["input", "0", "POSITIVE", "0.9877"] in [line.split() for line in lines]
        assert ["input", "1", "NEGATIVE", "0.5000"] in [line.split() for line in lines]

    def test_lists_of_objects_one_after_the_other(self):
        table = drawn([{"word": "Paris"}], [{"word": "Rome"}, {"word": "Milan"}])
        assert table.index("input 0") < table.index("Paris") < table.index("input 1") < table.index("Milan")

    def test_vectors_show_their_shape(self):
        assert "shape (1, 3, 8): [0.5000, 0.5000, 0.5000, 0.5000, …]" in drawn([[[0.5] * 8] * 3])

    def test_markup_in_a_text_is_text(self):
        assert "[bold]x[/bold] [/]" in drawn({"generated_text": "[bold]x[/bold] [/]"})

    def test_messages(self):
        table = drawn(
            {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}
        )
        assert [line.split() for line in table.splitlines() if "Hello" in line] == [["assistant", "Hello"]]

    @pytest.mark.parametrize(
        "result",
        [
            [],
            {},
            None,
            "text",
            5,
            [None],
            [[]],
            {"a": None},
            {"a": []},
            [1, "a"],
            [{"a": 1}, 5],
            [[1, [2]]],
            [[1, "x"], [2, "y"]],
            {"box": {"x": [1, 2]}},
            [[], [1]],
            [[1.0], []],
            [[1.0, None, 2.0]],
            [[None]],
        ],
        ids=repr,
    )
    def test_whatever_the_result_it_is_drawn(self, result):
        assert drawn(result).strip() or result in ([], {}, None)
        drawn(result, result)

    def test_each_window_is_drawn_once(self):
        out = stream(terminal=True)
        sink = TableSink(out)
        sink.write({"label": "ONE"}, 0)
        sink.commit(1)
        sink.write({"label": "TWO"}, 1)
        sink.commit(2)
        sink.close(finished=True)
        assert text(out).count("ONE") == text(out).count("TWO") == 1

    def test_nor_again_after_an_interruption(self):
        out = ResultStream(InterruptedOnce(), True)
        sink = TableSink(out)
        sink.write({"label": "ONE"}, 0)
        with pytest.raises(KeyboardInterrupt):
            sink.commit(1)
        sink.close(finished=False)
        assert text(out).count("ONE") == 1


def test_streamed_text_ends_its_line():
    out = stream(terminal=True)
    sink = StreamedSink(out)
    for part in ("Once ", "upon", " a time"):
        sink.show(part)
    sink.write({"generated_text": "…"}, 0)
    sink.close(finished=True)
    assert text(out) == "Once upon a time\n"
