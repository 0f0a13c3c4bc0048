"""The headers of parquet's pages: all of them found, whatever wrote them, and those that lie refused."""

from __future__ import annotations

import io

import pytest

from llmkit.data import parquet_pages
from llmkit.data.parquet_pages import PageError, check_pages, pages_of, read_groups
from tests.data.reading import rows, until_error

TEXTS = [f"row {number} " * 20 for number in range(3000)]


def written(**options: object) -> bytes:
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.table(
        {
            "text": TEXTS,
            "number": list(range(3000)),
            "list": [[number] * 3 for number in range(3000)],
            "struct": [{"a": number, "b": ["x"]} for number in range(3000)],
            "nothing": pyarrow.nulls(3000),
        }
    )
    packed = io.BytesIO()
    pyarrow.parquet.write_table(table, packed, row_group_size=1000, data_page_size=4096, **options)
    return packed.getvalue()


@pytest.mark.parametrize("page_version", ["1.0", "2.0"])
@pytest.mark.parametrize("compression", ["none", "snappy", "zstd"])
@pytest.mark.parametrize("dictionary", [True, False])
def test_every_value_is_in_a_page(page_version: str, compression: str, dictionary: bool) -> None:
    import pyarrow.parquet

    data = written(data_page_version=page_version, compression=compression, use_dictionary=dictionary)
    stream = io.BytesIO(data)
    file = pyarrow.parquet.ParquetFile(stream)
    groups = read_groups(file, stream)
    assert len(groups) == file.num_row_groups
    for place, group in enumerate(groups):
        assert group.rows == file.metadata.row_group(place).num_rows
        for number, chunk in enumerate(group.chunks):
            there = file.metadata.row_group(place).column(number)
            assert (chunk.path, chunk.size) == (there.path_in_schema, there.total_compressed_size)
            pages = list(pages_of(stream, chunk))
            assert sum(page.values for page in pages if not page.is_dictionary) == there.num_values
            assert sum(page.is_dictionary for page in pages) == bool(there.dictionary_page_offset)
        assert (check_pages(stream, group) > 0) == dictionary
    assert [row.values["text"] for row in rows("parquet", data)] == TEXTS


def test_a_column_that_is_not_read_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow.parquet

    stream = io.BytesIO(written())
    file = pyarrow.parquet.ParquetFile(stream)
    first = read_groups(file, stream)[0]
    monkeypatch.setattr(parquet_pages, "LARGEST_PAGE", 4)
    with pytest.raises(PageError, match="a page of text says that it has"):
        check_pages(stream, first)
    check_pages(stream, first, frozenset())


@pytest.mark.parametrize(
    ("limit", "value", "said"),
    [
        ("LARGEST_PAGE", 100, "a page of text says that it has"),
        ("MOST_VALUES", 100, "a page of list.list.element says that it has"),
        ("MOST_VALUES_OF_A_ROW", 2, "1,000 rows of list.list.element have 3,000 values"),
    ],
)
def test_what_is_too_large_is_refused_before_it_is_read(
    monkeypatch: pytest.MonkeyPatch, limit: str, value: int, said: str
) -> None:
    monkeypatch.setattr(parquet_pages, limit, value)
    found, message = until_error("parquet", written())
    assert found == []
    assert said in message


def test_a_large_value_of_a_dictionary_is_taken_in_few_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow

    from llmkit.data import parquet

    packed = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table({"text": ["x" * 1000] * 300}), packed)
    monkeypatch.setattr(parquet, "_BATCH_BYTES", 10_000)
    sizes = [batch.num_rows for batch in parquet.parquet_batches(packed, 128)]
    assert max(sizes) <= 10
    assert sum(sizes) == 300


def test_rows_without_a_form_in_python_stand_alone() -> None:
    import pyarrow

    days = pyarrow.array([0, 2**31 - 1, 1], pyarrow.date32())
    packed = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table({"day": days}), packed)
    good, bad, last = rows("parquet", packed.getvalue())
    assert (good.line, bad.line, last.line) == (1, 2, 3)
    assert "magnitude" in bad.reason
    assert str(last.values["day"]) == "1970-01-02"


def test_a_column_twice() -> None:
    import pyarrow

    packed = io.BytesIO()
    table = pyarrow.Table.from_arrays([pyarrow.array(["a"]), pyarrow.array(["b"])], names=["x", "x"])
    pyarrow.parquet.write_table(table, packed)
    assert until_error("parquet", packed.getvalue()) == ([], "in has the column 'x' twice")
