"""Bytes to lines: encodings, line ends, and the limit on one row."""

import codecs
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmkit.data import lines
from llmkit.data.lines import max_row_chars
from llmkit.data.records import Record
from llmkit.errors import DataError, UsageError
from tests.data.reading import characters, patient, places, rows, texts, until_error


class TestTxt:
    def test_line_ends(self):
        assert texts(b"a\r\n\nb\n") == ["a", "", "b"]
        assert texts(b"a\nlast") == ["a", "last"]

    def test_only_a_newline_ends_a_line(self):
        assert texts("a\u2028b\u0085c\x0bd\re\n".encode()) == ["a\u2028b\u0085c\x0bd\re"]

    def test_a_return_that_ends_the_file_is_text(self):
        assert texts(b"a\r") == ["a\r"]
        assert texts(b"a\rb\nc\rd") == ["a\rb", "c\rd"]

    @pytest.mark.parametrize("data", [b"a\rb\rc\r", b"a\rb", b"text\r" * 300_000, b"\xe9\r\r\xe9"])
    @pytest.mark.parametrize("kind", ["txt", "csv", "tsv", "conll"])
    def test_lines_that_end_in_a_carriage_return_alone_are_told(self, kind, data):
        rows, message = until_error(kind, data)
        assert rows == []
        assert message == (
            "in: its lines end in a carriage return alone (CR), and a newline ends a line\n"
            "Convert it: tr '\\r' '\\n' < FILE"
        )

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

    @pytest.mark.parametrize("given", ["0", "-1", "many"])
    def test_the_limit_is_a_positive_number(self, limit, given):
        limit(given)
        with pytest.raises(UsageError, match="LLMKIT_MAX_ROW_CHARS"):
            max_row_chars()


@patient
@given(st.lists(st.text(characters.filter(lambda c: c != "\n"), max_size=60), min_size=1), st.integers(1, 40))
def test_lines_over_the_limit_wherever_a_block_ends(table, limit):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "BLOCK", 8)
        patch.setenv("LLMKIT_MAX_ROW_CHARS", str(limit))
        found = rows("txt", codecs.BOM_UTF8 + "".join(f"{line}|\n" for line in table).encode())
    assert [row.values["text"] if isinstance(row, Record) else None for row in found] == [
        f"{line}|" if len(line) < limit else None for line in table
    ]


class TestBeginning:
    @patient
    @given(st.text(characters.filter(lambda c: c != "\0")), st.integers(0, 40))
    def test_what_is_cut_through_is_left_out(self, text, most):
        data = text.encode()
        found = lines.read_beginning(io.BytesIO(data), "in", most)
        assert text.startswith(found)
        assert len(data[:most]) - 4 < len(found.encode()) <= most

    @patient
    @given(st.text(characters.filter(lambda c: c not in "\0\ufeff")), st.binary(max_size=3))
    def test_the_first_wrong_byte_is_named(self, before, after):
        data = before.encode() + b"\xff" + after.replace(b"\0", b"")
        before_it = before.split("\n")
        with pytest.raises(
            DataError, match=rf"0xff at line {len(before_it)}, column {len(before_it[-1]) + 1};"
        ):
            lines.read_beginning(io.BytesIO(data), "in", 1000)
