"""What the tests of the readers share: a format's rows, read from bytes."""

import collections
import io

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from llmkit.data.readers import READ_FORMATS
from llmkit.data.records import Record
from llmkit.errors import DataError


def rows(kind, data):
    return list(READ_FORMATS[kind].read(io.BytesIO(data), "in"))


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
        found.extend(READ_FORMATS[kind].read(io.BytesIO(data), "in"))
    return list(found), str(caught.value)


# A busy machine is no failure.
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

# Text as UTF-8 can hold it.
characters = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
