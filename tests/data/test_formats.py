"""How results are written, read back by the libraries that others read them with."""

import csv
import io
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmkit.data.formats import FORMATS, check_format, format_of
from llmkit.errors import UsageError

NUMBERS = st.one_of(st.integers(-(2**60), 2**60), st.floats(allow_nan=False, allow_infinity=False))
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
CELLS = st.one_of(st.none(), NUMBERS, TEXTS)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=8,
)


def written(name, results, *, bare=False):
    formatter = FORMATS[name].make(bare)
    body = b"".join(formatter.encode(value, index) for index, value in enumerate(results))
    return formatter.begin() + body + formatter.end()


class TestJson:
    @given(st.lists(JSON, max_size=5))
    def test_lines(self, results):
        text = written("jsonl", results).decode()
        assert text.count("\n") == len(results)
        assert [json.loads(line) for line in text.split("\n")[:-1]] == results

    @given(st.lists(JSON, max_size=5))
    def test_an_array_whatever_there_is_in_it(self, results):
        assert json.loads(written("json", results)) == results

    @given(JSON)
    def test_bare(self, value):
        assert json.loads(written("json", [value], bare=True)) == value

    def test_the_shape_is_the_calls_not_the_datas(self):
        assert written("json", []) == b"[\n]\n"
        assert written("json", [{"a": 1}]) == b'[\n{"a": 1}\n]\n'
        assert written("json", [{"a": 1}], bare=True) == b'{"a": 1}\n'


@pytest.mark.parametrize(("name", "delimiter"), [("csv", ","), ("tsv", "\t")])
class TestDelimited:
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

    def test_a_resumed_run_goes_on_under_the_same_head(self, name, delimiter):
        first, second = FORMATS[name].make(False), FORMATS[name].make(False)
        begun = first.encode({"a": 1, "b": 2}, 0)
        second.state = json.loads(json.dumps(first.state))
        rest = second.encode({"b": 4, "a": 3}, 1)
        assert begun + rest == written(name, [{"a": 1, "b": 2}, {"b": 4, "a": 3}])


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("a.jsonl", "jsonl"),
        ("a.NDJSON", "jsonl"),
        ("a.json", "json"),
        ("b/a.csv", "csv"),
        ("a.tab", "tsv"),
        ("a.parquet", "parquet"),
        ("a.csv.json", "json"),
    ],
)
def test_the_ending_tells_the_format(path, name):
    assert format_of(path) == name


def test_an_ending_that_tells_none():
    with pytest.raises(UsageError, match=r"(?s)--output a\.xlsx: no format.*\.parquet.*--format"):
        format_of("a.xlsx")


def test_a_format_there_is_not():
    assert check_format("table") == "table"
    with pytest.raises(UsageError, match=r"did you mean jsonl\?"):
        check_format("jsonll")
