"""jsonl and json: what they read, what they refuse, and in what words."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmkit.data import json_rows, lines
from llmkit.data.records import Record
from tests.data.reading import characters, patient, places, rows, texts, until_error, values

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(10**18), 10**18)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(characters)
)
objects = st.dictionaries(
    st.text(characters),
    st.recursive(
        scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(characters), inner), max_leaves=8
    ),
)


class TestJsonl:
    def test_objects_and_strings(self):
        data = '{"a": 1, "b": [1, {"c": null}]}\r\n\n  \n"é"\n{"a": 3}'
        assert places("jsonl", data.encode()) == [
            (1, {"a": 1, "b": [1, {"c": None}]}),
            (4, {"text": "é"}),
            (5, {"a": 3}),
        ]

    @pytest.mark.parametrize(
        ("line", "reason"),
        [
            (b'{"a": }', "not JSON: Expecting value at column 7"),
            (b'  {"a" 1}', "not JSON: Expecting ':' delimiter at column 8"),
            (b'{"a": 1} {', "not JSON: Extra data at column 10"),
            (b"[1, 2]", "a row is an object or a string, and this is an array"),
            (b"1.5", "a row is an object or a string, and this is a number"),
            (b"true", "a row is an object or a string, and this is a truth value"),
            (b"null", "a row is an object or a string, and this is null"),
            (b'{"a": 2, "a": 3}', "the key 'a' is there twice in one object"),
            (b'{"b": {"a": 2, "c": 1, "a": 2}}', "the key 'a' is there twice in one object"),
            (b'{"a": NaN}', "NaN is not JSON; write null for a number that is not there"),
            (b'{"a": -Infinity}', "-Infinity is not JSON"),
            (b'{"a": "\\ud800"}', "half of a surrogate pair"),
            (b'{"a": "\xe9"}', "not UTF-8: byte 0xe9 at column 8"),
            (b"[" * 100_000, "nested too deeply to be read"),
            (b'{"a": ' + b"9" * 5000 + b"}", "a whole number has thousands"),
        ],
    )
    def test_a_bad_line_is_refused_and_the_next_is_read(self, line, reason):
        found = places("jsonl", b'{"a": 1}\n' + line + b'\n{"a": 2}\n')
        assert found[0] == (1, {"a": 1})
        assert found[1][0] == 2
        assert found[1][1].startswith(reason)
        assert found[2] == (3, {"a": 2})

    def test_a_whole_surrogate_pair_is_a_character(self):
        assert texts(b'"\\ud83d\\ude00"', "jsonl") == ["\U0001f600"]

    def test_a_separator_inside_a_string_does_not_split(self):
        assert texts('"a\u2028b"\n'.encode(), "jsonl") == ["a\u2028b"]

    @patient
    @given(st.lists(objects, min_size=1), st.booleans())
    def test_round_trip(self, table, escaped):
        data = "".join(json.dumps(row, ensure_ascii=escaped) + "\n" for row in table)
        assert values("jsonl", data.encode()) == table


class TestJson:
    def test_an_array(self):
        assert places("json", b' [ {"a": 1} ,\n "s" , 3, {"b": [1, {"c": "]"}]} ] \n') == [
            (1, {"a": 1}),
            (2, {"text": "s"}),
            (3, "a row is an object or a string, and this is a number"),
            (4, {"b": [1, {"c": "]"}]}),
        ]

    def test_the_one_list_of_an_object(self):
        assert values("json", b'{"version": "1", "data": [{"a": 1}, {"a": 2}], "more": {}}') == [
            {"a": 1},
            {"a": 2},
        ]

    def test_an_object_without_a_list_is_a_row(self):
        assert values("json", b'{"text": "x",\n "n": {"a": [1]}}') == [{"text": "x", "n": {"a": [1]}}]

    @pytest.mark.parametrize("data", ['{"a": 1, "b": 2, "a": 3}', '{"a": [{"x": 1}], "a": 3}'])
    def test_a_key_that_is_there_twice(self, data):
        _, message = until_error("json", data.encode())
        assert message.endswith("the key 'a' is there twice in one object")

    def test_two_lists(self):
        found, message = until_error("json", b'{"a": [{"x": 1}], "b": [1]}')
        assert len(found) == 1
        assert message == "in holds two lists, 'a' and 'b': which one are the rows?"

    def test_json_lines_called_json(self):
        assert places("json", b'{"a": [1]}\n{"a": 2}\n{"a"\n') == [
            (1, {"a": [1]}),
            (2, {"a": 2}),
            (3, "not JSON: Expecting ':' delimiter at column 5"),
        ]

    @pytest.mark.parametrize("data", [b"[]", b" [ ] ", b'{"data": []}', b"  \n"])
    def test_no_rows(self, data):
        assert until_error("json", data) == ([], "in is empty")

    @pytest.mark.parametrize(
        ("data", "count", "where"),
        [
            (b'[{"a": 1},\n {"a": 2} {"a"', 2, "line 2, column 11: Expecting ','"),
            (b'[{"a": 1},\n {"a": ', 1, "line 2, column 8: Expecting value, and the file ends"),
            (b'[{"a": 1}', 1, "line 1, column 10: Expecting ',', and the file ends"),
            (b'[{"a": 1}] x', 1, "line 1, column 12: something follows the end"),
            (b"plain text", 0, "line 1, column 1: expecting an array of rows"),
            (b'{"a": 1, 2}', 0, "line 1, column 10: Expecting '\"'"),
            (b'["' + b"x" * 300_000 + b'\n"', 0, "Invalid control character"),
            (b'["' + b"x" * 3_000_000, 0, "a row is not closed"),
            (b'{"\xe9": 1}', 0, "a name that cannot be read"),
        ],
    )
    def test_a_syntax_error_comes_after_the_rows_before_it(self, data, count, where):
        found, message = until_error("json", data)
        assert len(found) == count
        assert message.startswith("in is not valid JSON at line ")
        assert where in message

    def test_the_place_of_an_error_far_down(self):
        data = "[" + ",\n".join(['{"a": "éé"}'] * 50_000) + ",\n {oops}]"
        found, message = until_error("json", data.encode())
        assert len(found) == 50_000
        assert "at line 50001, column 3:" in message

    @pytest.mark.parametrize(
        ("element", "reason"),
        [
            (b'{"a": NaN}', "NaN is not JSON"),
            (b'{"a": "\\ud800"}', "half of a surrogate pair"),
            (b'{"a":\n "\xe9"}', "not UTF-8: byte 0xe9 at line 2, column 3"),
            (b"[" * 100_000 + b"]" * 100_000, "nested too deeply"),
            (b'{"a": ' + b"9" * 5000 + b"}", "a whole number has thousands"),
        ],
    )
    def test_a_bad_row_is_refused_and_the_next_is_read(self, element, reason):
        found = places("json", b'[{"a": 1}, ' + element + b', {"a": 2}]')
        assert [found[0], found[2]] == [(1, {"a": 1}), (3, {"a": 2})]
        assert found[1][1].startswith(reason)

    @patient
    @given(
        st.lists(objects | st.text(characters), min_size=1),
        st.booleans(),
        st.sampled_from([None, 1]),
        st.integers(65_500, 65_540),
    )
    def test_round_trip_across_blocks(self, table, escaped, indent, blanks):
        data = " " * blanks + json.dumps(table, ensure_ascii=escaped, indent=indent)
        expected = [row if isinstance(row, dict) else {"text": row} for row in table]
        assert values("json", data.encode()) == expected

    @patient
    @given(
        st.lists(objects | st.text(characters) | st.floats(allow_nan=False), min_size=1),
        st.booleans(),
        st.sampled_from([None, 1]),
        st.integers(1, 40),
    )
    def test_wherever_a_block_ends(self, table, escaped, indent, block):
        with pytest.MonkeyPatch.context() as patch:
            for module in (lines, json_rows):
                patch.setattr(module, "BLOCK", block)
            data = json.dumps(table, ensure_ascii=escaped, indent=indent).encode()
            found = rows("json", data)
        expected = [{"text": row} if isinstance(row, str) else row for row in table]
        assert [row.values for row in found if isinstance(row, Record)] == [
            row for row in expected if isinstance(row, dict)
        ]
        assert len(found) == len(table)

    @patient
    @given(st.lists(objects, min_size=1), st.integers(1, 40), st.integers(1, 30))
    def test_rows_over_the_limit_wherever_a_block_ends(self, table, block, limit):
        with pytest.MonkeyPatch.context() as patch:
            for module in (lines, json_rows):
                patch.setattr(module, "BLOCK", block)
            patch.setenv("LLMKIT_MAX_ROW_CHARS", str(limit))
            found = rows("json", json.dumps(table).encode())
        assert [row.values if isinstance(row, Record) else None for row in found] == [
            row if len(json.dumps(row)) <= limit else None for row in table
        ]

    @pytest.mark.parametrize("at", range(65_515, 65_540))
    def test_a_number_cut_in_two_by_a_block(self, at):
        head = '["' + "x" * at + '", '
        found = rows("json", f'{head}123456789, "\\ud83d\\ude00", {{"n": -12.5e-3}}]'.encode())
        assert found[1].reason.endswith("a number")
        assert [row.values for row in found[2:]] == [{"text": "\U0001f600"}, {"n": -0.0125}]

    @pytest.mark.parametrize("element", ['"' + 'x\\"]' * 100_000 + '"', "[" + '{"a":"}"},' * 60_000 + "1]"])
    def test_a_long_json_row_is_passed_over(self, limit, element):
        limit(1000)
        found = places("json", f'[{{"a":1}}, {element}, "ok"]'.encode())
        assert found[0] == (1, {"a": 1})
        assert found[1][1].startswith(f"row is {len(element):,} characters long, the limit is 1,000")
        assert found[2] == (3, {"text": "ok"})


def test_floats_keep_their_digits():
    assert values("jsonl", b'{"a": 0.1, "b": 1e-320}') == [{"a": 0.1, "b": 1e-320}]
    assert math.isfinite(values("json", b'[{"a": 1.7976931348623157e308}]')[0]["a"])
