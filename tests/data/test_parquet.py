"""parquet: what is read, and what is said of a damaged file."""

import io

import pytest

from llmkit.data.readers import READ_FORMATS
from llmkit.data.records import Record
from tests.data.reading import rows, until_error


@pytest.fixture
def parquet():
    import pyarrow
    import pyarrow.parquet

    def write(table):
        written = io.BytesIO()
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(table), written, row_group_size=100)
        return written.getvalue()

    return write


def test_nested_values(parquet):
    table = [{"id": number, "tags": ["a", "b"], "who": {"name": "é"}} for number in range(300)]
    found = rows("parquet", parquet(table))
    assert [row.values for row in found] == table
    assert [found[0].line, found[-1].line] == [1, 300]


def test_no_rows():
    import pyarrow
    import pyarrow.parquet

    written = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table({"a": pyarrow.array([], "int64")}), written)
    assert until_error("parquet", written.getvalue()) == ([], "in is empty")


def test_cut_off(parquet):
    data = parquet([{"a": "x" * 50}] * 1000)
    assert until_error("parquet", data[:-20])[1].startswith("in is damaged, after 0 rows: ")


def test_damaged_inside(parquet):
    data = bytearray(parquet([{"a": f"{number}" * 50} for number in range(1000)]))
    data[2000:6000] = b"\xff" * 4000
    _, message = until_error("parquet", bytes(data))
    assert "is damaged" in message
    assert message.count("\n") == 0


def test_not_parquet():
    assert until_error("parquet", b"a,b\n1,2\n") == ([], "in is not a parquet file")


def test_from_a_pipe(parquet):
    class Pipe(io.BytesIO):
        def seekable(self):
            return False

        def seek(self, *_):
            raise io.UnsupportedOperation

    found = list(READ_FORMATS["parquet"].read(Pipe(parquet([{"a": 1}])), "stdin"))
    assert found == [Record({"a": 1}, "stdin", 1)]
