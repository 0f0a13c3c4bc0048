"""Each format: what it reads, what it refuses, and in what words."""

import codecs
import collections
import csv
import gzip
import io
import json
import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmkit.data import readers
from llmkit.data.readers import FORMATS, format_named, format_of_ending, max_row_chars
from llmkit.data.records import BadRecord, Record
from llmkit.errors import DataError, UsageError


def rows(kind, data):
    return list(FORMATS[kind].read(io.BytesIO(data), "in"))


def values(kind, data):
    found = rows(kind, data)
    assert all(isinstance(row, Record) for row in found), found
    return [row.values for row in found]


def places(kind, data):
    return [(row.line, row.values if isinstance(row, Record) else row.reason) for row in rows(kind, data)]


def texts(data, kind="txt"):
    return [row["text"] for row in values(kind, data)]


def until_error(kind, data):
    """The rows before the error, and its message."""
    found = collections.deque()
    with pytest.raises(DataError) as caught:
        found.extend(FORMATS[kind].read(io.BytesIO(data), "in"))
    return list(found), str(caught.value)


@pytest.fixture
def limit(monkeypatch):
    return lambda characters: monkeypatch.setenv("LLMKIT_MAX_ROW_CHARS", str(characters))


# A busy machine is no failure.
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

# Text as UTF-8 can hold it.
characters = st.characters(exclude_categories=["Cs"], exclude_characters="\0")


class TestTxt:
    def test_line_ends(self):
        assert texts(b"a\r\n\nb\n") == ["a", "", "b"]
        assert texts(b"a\nlast") == ["a", "last"]

    def test_only_a_newline_ends_a_line(self):
        assert texts("a\u2028b\u0085c\x0bd\re\n".encode()) == ["a\u2028b\u0085c\x0bd\re"]

    def test_a_return_that_ends_the_file_is_text(self):
        assert texts(b"a\r") == ["a\r"]

    @patient
    @given(st.lists(st.text(characters.filter(lambda c: c != "\n")), min_size=1))
    def test_round_trip(self, lines):
        data = "".join(f"{line}\n" for line in lines).encode()
        data = codecs.BOM_UTF8 + data
        assert texts(data) == [line.removesuffix("\r") for line in lines]

    @pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
    def test_byte_order_marks(self, encoding):
        assert texts("\ufeffé\U0001f600\u0a05\nb\n".encode(encoding)) == ["é\U0001f600\u0a05", "b"]

    def test_utf16_over_many_blocks(self):
        lines = ["\U0001f600é" * 50] * 3000
        assert texts("\n".join(lines).encode("utf-16")) == lines

    def test_damaged_utf16(self):
        _, message = until_error("txt", "ab\n".encode("utf-16") + b"\x00\xd8a")
        assert "begins as UTF-16 and is damaged" in message

    def test_a_line_that_is_not_utf8_is_refused_and_the_next_is_read(self):
        reason = "not UTF-8: byte 0xe9 at column 4; convert with: iconv -f latin1 -t utf-8"
        assert places("txt", b"ok\n\xc3\xbcaf\xe9 x\nend\n") == [
            (1, {"text": "ok"}),
            (2, reason),
            (3, {"text": "end"}),
        ]

    def test_binary_is_refused_at_once(self):
        found, message = until_error("txt", b"fine\n\x89PNG\r\n\x1a\n\0\0\0\rIHDR")
        assert found == []
        assert "in is not a text file: it holds NUL bytes" in message

    @pytest.mark.parametrize("kind", FORMATS)
    def test_empty(self, kind):
        assert until_error(kind, b"") == ([], "in is empty")

    def test_empty_but_for_a_mark(self):
        assert until_error("txt", b"\xef\xbb\xbf") == ([], "in is empty")


class TestLongRows:
    def test_a_longer_line_is_refused_and_the_next_is_read(self, limit):
        limit(10)
        reason = "line is {} characters long, the limit is 10 (LLMKIT_MAX_ROW_CHARS sets it)"
        data = "ü" * 10 + "\r\n" + "ü" * 11 + "\n" + "x" * 200_000 + "\nlast"
        assert places("txt", data.encode()) == [
            (1, {"text": "ü" * 10}),
            (2, reason.format("11")),
            (3, reason.format("200,000")),
            (4, {"text": "last"}),
        ]

    def test_the_limit_is_a_million(self):
        found = rows("txt", b"x" * 1_000_000 + b"\n" + b"x" * 10_000_000 + b"\nlast")
        assert len(found[0].values["text"]) == 1_000_000
        assert found[1].reason.startswith("line is 10,000,000 characters long, the limit is 1,000,000")
        assert found[2].values == {"text": "last"}

    def test_a_long_csv_cell_is_read(self):
        assert values("csv", b"a,b\n" + b"x" * 900_000 + b",1\n")[0]["a"] == "x" * 900_000

    def test_a_long_csv_line_is_refused(self, limit):
        limit(10)
        assert [
            row.line
            for row in rows("csv", b"a,b\n1,2\n" + b"x" * 20 + b",1\n3,4\n")
            if isinstance(row, BadRecord)
        ] == [3]

    def test_an_open_quote_does_not_swallow_the_file(self, limit):
        limit(12)
        reason = "row is longer than 12 characters: is a quote in it never closed?"
        assert places("csv", b'a,b\n"x,1\ny,2\nz,3\nw,4\nv,5\nu,6\n') == [
            (2, f"{reason}; lines 2 to 5 are lost"),
            (6, {"a": "v", "b": "5"}),
            (7, {"a": "u", "b": "6"}),
        ]

    @pytest.mark.parametrize("element", ['"' + 'x\\"]' * 100_000 + '"', "[" + '{"a":"}"},' * 60_000 + "1]"])
    def test_a_long_json_row_is_passed_over(self, limit, element):
        limit(1000)
        found = places("json", f'[{{"a":1}}, {element}, "ok"]'.encode())
        assert found[0] == (1, {"a": 1})
        assert found[1][1].startswith(f"row is {len(element):,} characters long, the limit is 1,000")
        assert found[2] == (3, {"text": "ok"})

    @pytest.mark.parametrize("given", ["0", "-1", "many"])
    def test_the_limit_is_a_positive_number(self, limit, given):
        limit(given)
        with pytest.raises(UsageError, match="LLMKIT_MAX_ROW_CHARS"):
            max_row_chars()


class TestCsv:
    def test_rows(self):
        assert places("csv", b'a,b\r\n1,x y\r\n\r\n,"q ""w"""\r\n') == [
            (2, {"a": "1", "b": "x y"}),
            (4, {"a": "", "b": 'q "w"'}),
        ]

    def test_a_row_over_two_lines_is_at_its_first(self):
        assert places("csv", b'a,b\n"x\r\ny",1\nz,2\n') == [
            (2, {"a": "x\r\ny", "b": "1"}),
            (4, {"a": "z", "b": "2"}),
        ]

    def test_a_header_over_two_lines(self):
        assert places("csv", b'"a\nb",c\n1,2\n') == [(3, {"a\nb": "1", "c": "2"})]

    def test_a_return_in_a_cell_is_text(self):
        assert values("csv", b'a,b\nx\ry,"p\rq"\n') == [{"a": "x\ry", "b": "p\rq"}]

    def test_mark_before_the_header(self):
        assert values("csv", b"\xef\xbb\xbfa,b\n1,2\n") == [{"a": "1", "b": "2"}]

    @pytest.mark.parametrize(
        ("data", "row"),
        [(b"a;b\n1,5;2\n", {"a": "1,5", "b": "2"}), (b"a;b,c\n1;2,3\n", {"a;b": "1;2", "c": "3"})],
    )
    def test_semicolons_where_the_header_has_no_comma(self, data, row):
        assert values("csv", data) == [row]

    def test_ragged_rows_are_refused(self):
        reason = "expected 2 cells, as in the header, and found {}"
        assert places("csv", b"a,b\n1\n1,2,3\n1,2\n") == [
            (2, reason.format(1)),
            (3, reason.format(3)),
            (4, {"a": "1", "b": "2"}),
        ]

    def test_a_quote_never_closed(self):
        assert places("csv", b'a,b\n1,2\n"x,3\ny,4\n') == [
            (2, {"a": "1", "b": "2"}),
            (3, "a quote opened in this row is never closed; lines 3 to 4 are lost"),
        ]

    def test_text_after_a_closing_quote(self):
        found = places("csv", b'a,b\n"x"y,1\n2,3\n')
        assert found[0][1].startswith("a closing quote must end its cell")
        assert found[1] == (3, {"a": "2", "b": "3"})

    def test_bad_bytes_inside_quotes(self):
        found = places("csv", b'a,b\n"x\n\xe9y",1\n3,4\n')
        assert found[0][0] == 2
        assert "byte 0xe9 at column 1" in found[0][1]
        assert "(in line 3)" in found[0][1]
        assert found[1] == (4, {"a": "3", "b": "4"})

    @pytest.mark.parametrize(
        ("data", "message"),
        [
            (b"a,b,a\n1,2,3\n", "in:1: the header names the column 'a' twice"),
            (b",a\n1,2\n", "in:1: column 1 of the header has no name"),
            (b"\xe9,a\n1,2\n", "in:1: the header cannot be read: not UTF-8"),
            (b"a,b\n", "in is empty: it has a header and no rows"),
            (b'"a,b\n1,2\n', "in:1: the header cannot be read: a quote opened in this row is never closed"),
        ],
    )
    def test_headers_that_cannot_be(self, data, message):
        found, said = until_error("csv", data)
        assert found == []
        assert said.startswith(message)

    @patient
    @given(st.lists(st.tuples(*[st.text(characters, min_size=1)] * 2), min_size=1))
    def test_round_trip(self, table):
        written = io.StringIO(newline="")
        writer = csv.writer(written, quoting=csv.QUOTE_ALL, lineterminator="\n")
        writer.writerows([("a", "b"), *table])
        assert [tuple(row.values()) for row in values("csv", written.getvalue().encode())] == table


class TestTsv:
    def test_quotes_are_text(self):
        assert places("tsv", b'a\tb\n"x\t1\n5" disk\t2\r\n') == [
            (2, {"a": '"x', "b": "1"}),
            (3, {"a": '5" disk', "b": "2"}),
        ]

    cell = st.text(characters.filter(lambda c: c not in "\t\n\r"), min_size=1)

    @patient
    @given(st.lists(st.tuples(cell, cell), min_size=1))
    def test_round_trip(self, table):
        data = "a\tb\n" + "".join("\t".join(row) + "\n" for row in table)
        assert [tuple(row.values()) for row in values("tsv", data.encode())] == table


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
        data = '{"a": 1, "b": [1, {"c": null}]}\r\n\n  \n"é"\n{"a": 2, "a": 3}'
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
            (b'{"a": NaN}', "NaN is not JSON; write null for a number that is not there"),
            (b'{"a": -Infinity}', "-Infinity is not JSON"),
            (b'{"a": "\\ud800"}', "half of a surrogate pair"),
            (b'{"a": "\xe9"}', "not UTF-8: byte 0xe9 at column 8"),
            (b"[" * 100_000, "nested too deeply to be read"),
            (b'{"a": ' + b"9" * 5000 + b"}", "Exceeds the limit"),
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
            (b'{"a": ' + b"9" * 5000 + b"}", "Exceeds the limit"),
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
            patch.setattr(readers, "_BLOCK", block)
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
            patch.setattr(readers, "_BLOCK", block)
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


class TestParquet:
    @pytest.fixture
    def parquet(self):
        import pyarrow
        import pyarrow.parquet

        def write(table):
            written = io.BytesIO()
            pyarrow.parquet.write_table(pyarrow.Table.from_pylist(table), written, row_group_size=100)
            return written.getvalue()

        return write

    def test_nested_values(self, parquet):
        table = [{"id": number, "tags": ["a", "b"], "who": {"name": "é"}} for number in range(300)]
        found = rows("parquet", parquet(table))
        assert [row.values for row in found] == table
        assert [found[0].line, found[-1].line] == [1, 300]

    def test_no_rows(self):
        import pyarrow
        import pyarrow.parquet

        written = io.BytesIO()
        pyarrow.parquet.write_table(pyarrow.table({"a": pyarrow.array([], "int64")}), written)
        assert until_error("parquet", written.getvalue()) == ([], "in is empty")

    def test_cut_off(self, parquet):
        data = parquet([{"a": "x" * 50}] * 1000)
        assert until_error("parquet", data[:-20])[1].startswith("in is damaged, after 0 rows: ")

    def test_damaged_inside(self, parquet):
        data = bytearray(parquet([{"a": f"{number}" * 50} for number in range(1000)]))
        data[2000:6000] = b"\xff" * 4000
        _, message = until_error("parquet", bytes(data))
        assert "is damaged" in message
        assert message.count("\n") == 0

    def test_not_parquet(self):
        assert until_error("parquet", b"a,b\n1,2\n") == ([], "in is not a parquet file")

    def test_from_a_pipe(self, parquet):
        class Pipe(io.BytesIO):
            def seekable(self):
                return False

            def seek(self, *_):
                raise io.UnsupportedOperation

        found = list(FORMATS["parquet"].read(Pipe(parquet([{"a": 1}])), "stdin"))
        assert found == [Record({"a": 1}, "stdin", 1)]


class TestRegistry:
    @pytest.mark.parametrize(
        ("path", "name"),
        [
            ("a.txt", "txt"),
            ("A.TXT", "txt"),
            ("a.b.csv", "csv"),
            ("d/a.tsv.gz", "tsv"),
            ("a.ndjson", "jsonl"),
            ("a.json.GZ", "json"),
            ("a.parquet", "parquet"),
        ],
    )
    def test_endings(self, path, name):
        assert format_of_ending(path) is FORMATS[name]

    @pytest.mark.parametrize("path", ["a", "a.md", "a.gz", "a.parquet.gz", "csv"])
    def test_no_format(self, path):
        assert format_of_ending(path) is None

    def test_names(self):
        assert format_named("ndjson") is FORMATS["jsonl"]
        assert format_named(".CSV") is FORMATS["csv"]
        with pytest.raises(DataError, match="no input format 'jsonn'; there are: txt, csv") as caught:
            format_named("jsonn")
        assert "did you mean json" in str(caught.value)


def test_floats_keep_their_digits():
    assert values("jsonl", b'{"a": 0.1, "b": 1e-320}') == [{"a": 0.1, "b": 1e-320}]
    assert math.isfinite(values("json", b'[{"a": 1.7976931348623157e308}]')[0]["a"])


def test_gzip_is_a_stream_like_any():
    data = gzip.compress(b"a,b\n1,2\n")
    stream = gzip.GzipFile(fileobj=io.BytesIO(data))
    assert [row.values for row in FORMATS["csv"].read(stream, "in")] == [{"a": "1", "b": "2"}]


@pytest.mark.parametrize("kind", FORMATS)
@patient
@given(
    st.binary(min_size=1)
    | st.text('[]{}:,"\\\\tu0dé\r\n\t;x 1-.eNaltrf', min_size=1).map(str.encode)
    | st.binary().map(lambda data: b"PAR1" + data + b"PAR1")
)
def test_whatever_the_bytes_there_are_rows_or_one_message(kind, data):
    try:
        found = rows(kind, data)
    except DataError as error:
        assert "in" in error.message
        assert "\n" not in error.message
    else:
        assert found
        assert [row.line for row in found] == sorted({row.line for row in found})


@patient
@given(st.lists(st.text(characters.filter(lambda c: c != "\n"), max_size=60), min_size=1), st.integers(1, 40))
def test_lines_over_the_limit_wherever_a_block_ends(lines, limit):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(readers, "_BLOCK", 8)
        patch.setenv("LLMKIT_MAX_ROW_CHARS", str(limit))
        found = rows("txt", codecs.BOM_UTF8 + "".join(f"{line}|\n" for line in lines).encode())
    assert [row.values["text"] if isinstance(row, Record) else None for row in found] == [
        f"{line}|" if len(line) < limit else None for line in lines
    ]
