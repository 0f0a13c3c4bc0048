"""csv and tsv: what they read, what they refuse, and in what words."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmkit.data.records import BadRecord
from tests.data.reading import characters, patient, places, rows, until_error, values


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
            (b"\xe9,a\n1,2\n", "in:1: the header cannot be read: not UTF-8"),
            (b"a,b\n", "in is empty: it has a header and no rows"),
            (b'"a,b\n1,2\n', "in:1: the header cannot be read: a quote opened in this row is never closed"),
        ],
    )
    def test_headers_that_cannot_be(self, data, message):
        found, said = until_error("csv", data)
        assert found == []
        assert said.startswith(message)

    def test_a_column_without_a_name_is_called_as_pandas_calls_it(self):
        assert values("csv", b",a,\n1,2,3\n") == [{"Unnamed: 0": "1", "a": "2", "Unnamed: 2": "3"}]

    @patient
    @given(st.lists(st.tuples(*[st.text(characters, min_size=1)] * 2), min_size=1))
    def test_round_trip(self, table):
        written = io.StringIO(newline="")
        writer = csv.writer(written, quoting=csv.QUOTE_ALL, lineterminator="\n")
        writer.writerows([("a", "b"), *table])
        assert [tuple(row.values()) for row in values("csv", written.getvalue().encode())] == table


class TestLongRows:
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
