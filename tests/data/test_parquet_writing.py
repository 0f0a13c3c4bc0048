"""From JSON Lines to parquet: late columns, types that change, types that do not go together."""

import json

import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmkit.data.encoding import dump_json
from llmkit.data.parquet_writing import lines_to_parquet
from tests.data.test_formats import JSON


def table(tmp_path, results):
    lines = tmp_path / "results.jsonl"
    lines.write_bytes(b"".join(f"{dump_json(value)}\n".encode() for value in results))
    lines_to_parquet(lines, tmp_path / "results.parquet")
    return pyarrow.parquet.read_table(tmp_path / "results.parquet")


def test_a_row_a_result(tmp_path):
    results = [
        {"label": "é", "score": 0.1, "box": {"x": [1, 2]}},
        {"label": None, "score": 2.5, "box": {"x": []}},
    ]
    assert table(tmp_path, results).to_pylist() == results


def test_what_is_no_object_is_one_column(tmp_path):
    written = table(tmp_path, [[[{"label": "a"}]], [[{"label": "b"}]]])
    assert written.to_pydict() == {"result": [[[{"label": "a"}]], [[{"label": "b"}]]]}


@pytest.mark.parametrize("late", [1, 2500])
def test_a_column_that_comes_late(tmp_path, late):
    results = [{"a": index} for index in range(late)] + [{"a": 0, "b": "late"}, {"b": "alone"}]
    written = table(tmp_path, results)
    assert written.column_names == ["a", "b"]
    assert written["b"].to_pylist() == [None] * late + ["late", "alone"]
    assert written["a"].to_pylist() == [*range(late), 0, None]


@pytest.mark.parametrize("late", [1, 2500])
def test_whole_numbers_that_become_fractions(tmp_path, late):
    written = table(tmp_path, [{"a": 1}] * late + [{"a": 0.5}])
    assert written["a"].to_pylist() == [1.0] * late + [0.5]


@pytest.mark.parametrize("late", [1, 2500])
@pytest.mark.parametrize("early", [None, []])
def test_a_type_that_shows_late(tmp_path, early, late):
    value = ["x"] if early == [] else {"x": 1}
    written = table(tmp_path, [{"a": early}] * late + [{"a": value}])
    assert written["a"].to_pylist() == [early] * late + [value]


@pytest.mark.parametrize("late", [1, 2500])
@pytest.mark.parametrize("odd", ["text", [1], {"x": 1}, True, 2**70], ids=repr)
def test_types_that_do_not_go_together_are_written_as_json(tmp_path, late, odd):
    """After hours of work, a column of numbers and words is no reason to lose the file."""
    written = table(tmp_path, [{"a": 5, "b": 1}] * late + [{"a": odd, "b": 2}])
    values = written["a"].to_pylist()
    assert [json.loads(value) for value in values] == [5] * late + [odd]
    assert written["b"].to_pylist() == [1] * late + [2]


def test_objects_without_keys(tmp_path):
    written = table(tmp_path, [{"a": {}}, {"a": {}}])
    assert [json.loads(value) for value in written["a"].to_pylist()] == [{}, {}]


@settings(max_examples=60, deadline=None)
@given(results=st.lists(st.dictionaries(st.sampled_from("ab"), JSON, min_size=1), max_size=5))
def test_whatever_comes_is_there_again(tmp_path_factory, results):
    written = table(tmp_path_factory.mktemp("p"), results)
    if not results:
        assert written.num_rows == 0
    for row, wanted in zip(written.to_pylist(), results, strict=True):
        for name, value in wanted.items():
            assert same(row[name], value), (row[name], value)


def test_no_result(tmp_path):
    assert table(tmp_path, []).num_rows == 0


def same(found, wanted):
    """Equal, as JSON text if need be; an object may have got keys that others in the column have."""
    if isinstance(found, str) and found != wanted:
        return json.loads(found) == wanted
    if isinstance(wanted, dict) and isinstance(found, dict):
        return all(same(found[key], wanted.get(key)) for key in {*found, *wanted})
    if isinstance(wanted, list) and isinstance(found, list):
        return len(found) == len(wanted) and all(map(same, found, wanted))
    return found == wanted
