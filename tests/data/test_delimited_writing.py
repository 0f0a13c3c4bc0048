"""Results as CSV and TSV, read back by the csv module: streams, and files that know every column."""

import csv
import io
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmkit.data.formats import FORMATS
from llmkit.data.sinks import FileSink, StreamSink
from tests.data.test_formats import NUMBERS, TEXTS, written

CELLS = st.one_of(st.none(), NUMBERS, TEXTS)


@pytest.mark.parametrize(("name", "delimiter"), [("csv", ","), ("tsv", "\t")])
class TestStream:
    @staticmethod
    def rows(name, delimiter, results):
        text = written(name, results).decode()
        return list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))

    @settings(max_examples=200)
    @given(st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=6))
    def test_cells_come_back(self, name, delimiter, cells):
        results = [{"first, one": one, "second\tone": two} for one, two in cells]
        head, *rows = self.rows(name, delimiter, results)
        assert head == ["first, one", "second\tone"]
        assert len(rows) == len(cells)
        for row, wanted in zip(rows, cells, strict=True):
            for cell, value in zip(row, wanted, strict=True):
                if isinstance(value, float):
                    assert float(cell) == value
                else:
                    assert cell == ("" if value is None else str(value))

    def test_a_list_of_objects_is_a_line_each(self, name, delimiter):
        results = [[{"label": "a"}, {"label": "b"}], [], [{"label": "c"}]]
        assert self.rows(name, delimiter, results) == [["row", "label"], ["0", "a"], ["0", "b"], ["2", "c"]]

    def test_what_is_no_object_is_one_cell(self, name, delimiter):
        rows = self.rows(name, delimiter, [[0.5, 0.25], [1, 2], "text"])
        assert rows == [["row", "result"], ["0", "[0.5, 0.25]"], ["1", "[1, 2]"], ["2", "text"]]

    @pytest.mark.parametrize("value", [{"xmin": 1}, [1, "a"], True, False, [], {"a": {"b": None}}], ids=repr)
    def test_what_is_no_number_and_no_text_is_json(self, name, delimiter, value):
        _, (cell, _) = self.rows(name, delimiter, [{"box": value, "x": 1}])
        assert json.loads(cell) == value
        assert type(json.loads(cell)) is type(value)

    def test_the_columns_are_the_first_results(self, name, delimiter):
        rows = self.rows(name, delimiter, [{"a": 1, "b": 2}, {"b": 3, "c": 4}])
        assert rows == [["a", "b"], ["1", "2"], ["", "3"]]

    def test_what_has_no_column_is_named_once(self, name, delimiter):
        said = []
        sink = StreamSink(io.BytesIO(), FORMATS[name].make(False), warn=said.append)
        for index, value in enumerate([{"a": 1}, {"a": 1, "b": 2}, [{"c": 3}]]):
            sink.write(value, index)
        assert [text.partition(":")[0] for text in said] == ["no column for b"]

    def test_a_resumed_run_goes_on_under_the_same_head(self, name, delimiter):
        first, second = FORMATS[name].make(False), FORMATS[name].make(False)
        begun = first.encode({"a": 1, "b": 2}, 0)
        second.state = json.loads(json.dumps(first.state))
        rest = second.encode({"b": 4, "a": 3}, 1)
        assert begun + rest == written(name, [{"a": 1, "b": 2}, {"b": 4, "a": 3}])


@pytest.mark.parametrize(("name", "delimiter"), [("csv", ","), ("tsv", "\t")])
class TestFile:
    @staticmethod
    def written(path, name, results):
        sink = FileSink(path / f"out.{name}", FORMATS[name], call={})
        for index, value in enumerate(results):
            sink.write(value, index)
        sink.close(finished=True)
        return (path / f"out.{name}").read_bytes()

    def test_every_key_has_a_column(self, tmp_path, name, delimiter):
        data = self.written(tmp_path, name, [{"a": 1, "b": 2}, {"b": 3, "c": "x\ny"}, {"d": [1]}])
        rows = csv.reader(io.StringIO(data.decode(), newline=""), delimiter=delimiter)
        assert list(rows) == [
            ["a", "b", "c", "d"],
            ["1", "2", "", ""],
            ["", "3", "x\ny", ""],
            ["", "", "", "[1]"],
        ]

    @settings(max_examples=100)
    @given(st.lists(st.fixed_dictionaries({"a": CELLS, "b": CELLS}), max_size=5))
    def test_it_has_the_bytes_of_the_stream(self, tmp_path_factory, name, delimiter, results):
        """Where every result has the same keys."""
        assert self.written(tmp_path_factory.mktemp("d"), name, results) == written(name, results)

    @pytest.mark.parametrize("results", [[], [[]], [[], [{"label": "a"}]], [[0.5]]], ids=repr)
    def test_lists(self, tmp_path, name, delimiter, results):
        assert self.written(tmp_path, name, results) == written(name, results)
