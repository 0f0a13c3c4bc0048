"""A run over rows: what is done already, and what is the rows' fault."""

from __future__ import annotations

import io

import pytest

from llmkit.data.formats import FORMATS
from llmkit.data.records import Record
from llmkit.data.row_run import Outcome, RowRun
from llmkit.data.sinks import StreamSink
from llmkit.errors import ModelError


def run_over(out: io.BytesIO, done: int = 0) -> RowRun:
    sink = StreamSink(out, FORMATS["jsonl"].make(False))
    return RowRun(sink, lambda outcome, index: outcome.value, lambda row, index: None, rows_done=done)


def row(number: int) -> Record:
    return Record({"n": number}, "rows", number)


@pytest.mark.parametrize("done", range(9))
def test_a_window_that_begins_among_rows_that_are_done_is_cut(done: int) -> None:
    out = io.BytesIO()
    with run_over(out, done) as run:
        for window in run.pending([[0, 1, 2], [3, 4], [5, 6, 7]]):
            assert window.rows[0] == window.start
            run.put(window, [Outcome(row(number), {"n": number}) for number in window.rows])
    assert out.getvalue().decode().split("\n")[:-1] == [f'{{"n": {number}}}' for number in range(done, 8)]


@pytest.mark.parametrize(("done", "stops"), [(0, True), (3, False)])
def test_rows_that_fail_alike_stop_a_run_in_which_none_has_succeeded(done: int, stops: bool) -> None:
    run = run_over(io.BytesIO(), done)
    (window,) = run.pending([list(range(20))])
    outcomes = [Outcome(row(number), error=RuntimeError("it fails")) for number in window.rows]
    if stops:
        with pytest.raises(ModelError, match=r"every row fails in the same way: it fails$"):
            run.put(window, outcomes)
    else:
        run.put(window, outcomes)
        assert run.summary.rejected == 17
