"""How results are written, read back by the libraries that others read them with."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmkit.data.formats import FORMATS, check_format, format_of
from llmkit.errors import UsageError

NUMBERS = st.one_of(st.integers(-(2**60), 2**60), st.floats(allow_nan=False, allow_infinity=False))
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
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
