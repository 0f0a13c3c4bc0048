"""A row, where it came from, and the column it does not have."""

import pytest

from llmkit.data.records import TEXT_COLUMN, BadRecord, Record, columns_of, missing_column, text_record
from llmkit.errors import DataError


def test_place_names_the_source_and_the_line():
    assert Record({"a": 1}, "data.csv", 17).place == "data.csv:17"
    assert BadRecord("stdin", 3, "not JSON").place == "stdin:3"


def test_a_bare_text_has_the_one_column():
    assert text_record("hello", "argument", 1) == Record({TEXT_COLUMN: "hello"}, "argument", 1)


def test_columns_keep_the_order_of_the_input():
    assert columns_of(Record({"b": 1, "a": 2}, "x", 1)) == ["b", "a"]


def test_a_missing_column_is_told_with_the_ones_there_are():
    error = missing_column("txet", Record({"text": "x", "label": "y"}, "data.csv", 2))
    assert isinstance(error, DataError)
    assert str(error) == "no column 'txet' in data.csv; its columns are: text, label\ndid you mean text?"


def test_a_row_without_columns_says_so():
    assert "the row has no columns" in str(missing_column("a", Record({}, "x.jsonl", 1)))


def test_a_table_without_a_header_is_told():
    row = {"A girl is styling her hair.": "x", "2.5": "3.6"}
    assert "put a line with the columns' names above" in missing_column("text", Record(row, "a.csv", 2)).hint
    assert missing_column("text", Record(row, "a.jsonl", 2)).hint is None
    assert missing_column("text", Record({"id": "1"}, "a.csv", 2)).hint is None


def test_records_do_not_change():
    with pytest.raises(AttributeError):
        Record({}, "x", 1).line = 2
