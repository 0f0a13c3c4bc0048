"""The registry of formats, and what holds for every one of them."""

import gzip
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmkit.data.readers import READ_FORMATS, format_named, format_of_ending
from llmkit.errors import DataError
from tests.data.reading import patient, rows, until_error


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
        assert format_of_ending(path) is READ_FORMATS[name]

    @pytest.mark.parametrize("path", ["a", "a.md", "a.gz", "a.parquet.gz", "csv"])
    def test_no_format(self, path):
        assert format_of_ending(path) is None

    def test_names(self):
        assert format_named("ndjson") is READ_FORMATS["jsonl"]
        assert format_named(".CSV") is READ_FORMATS["csv"]
        with pytest.raises(DataError, match="no such input format: 'jsonn'; did you mean") as caught:
            format_named("jsonn")
        assert "did you mean json" in str(caught.value)


@pytest.mark.parametrize("kind", READ_FORMATS)
def test_empty(kind):
    assert until_error(kind, b"") == ([], "in is empty")


def test_gzip_is_a_stream_like_any():
    data = gzip.compress(b"a,b\n1,2\n")
    stream = gzip.GzipFile(fileobj=io.BytesIO(data))
    assert [row.values for row in READ_FORMATS["csv"].read(stream, "in")] == [{"a": "1", "b": "2"}]


@pytest.mark.parametrize("kind", READ_FORMATS)
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
