"""Files that are whole or not there, and can be gone on with."""

import gc
import io
import json
import subprocess
import sys

import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmkit.data.formats import FORMATS
from llmkit.data.sinks import FileSink, RejectsSink, StreamSink, is_finished, refuse_existing
from llmkit.errors import DataError, OutputError, OutputExistsError, UsageError

CALL = {"task": "text-classification", "model": "m", "parameters": {"top_k": (1, 2)}}


class DiskFull(io.BytesIO):
    def write(self, data):
        raise OSError(28, "No space left on device")


def open_sink(path, name="jsonl", *, call=CALL, **options):
    return FileSink(path, FORMATS[name], call=call, **options)


def put(sink, rows, start, stop):
    for index in range(start, stop):
        if rows[index] is None:
            sink.reject({"line": index + 1, "reason": "it failed"})
        else:
            sink.write(rows[index], index)


def work(sink, rows, window, *, stop=None, beyond=0):
    """Write the rows in windows as a run does; `stop` before that window, after `beyond` rows of it."""
    begin = sink.progress.rows
    for number, start in enumerate(range(begin, len(rows), window)):
        if number == stop:
            put(sink, rows, start, min(start + beyond, len(rows)))
            return False
        put(sink, rows, start, min(start + window, len(rows)))
        sink.commit(min(start + window, len(rows)))
    sink.close(finished=True)
    return True


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


ROWS = st.lists(
    st.one_of(
        st.none(),
        st.fixed_dictionaries(
            {"label": st.text(st.characters(exclude_categories=["Cs"])), "score": st.floats(0, 1)}
        ),
        st.lists(
            st.fixed_dictionaries({"label": st.sampled_from("ab"), "score": st.floats(0, 1)}), max_size=3
        ),
    ),
    min_size=1,
    max_size=12,
)


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "parquet"])
@settings(max_examples=25, deadline=None)
@given(
    rows=ROWS,
    window=st.integers(1, 5),
    stops=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4), st.booleans()), max_size=4),
)
def test_stopped_anywhere_and_resumed_it_ends_with_the_same_bytes(
    tmp_path_factory, name, rows, window, stops
):
    """Killed (nothing is closed in order) or interrupted (closed, unfinished), and as often as you like."""
    whole, broken = tmp_path_factory.mktemp("whole"), tmp_path_factory.mktemp("broken")
    work(open_sink(whole / "out", name), rows, window)
    finished = False
    for stop, beyond, is_killed in stops:
        sink = open_sink(broken / "out", name, resume=True)
        finished = work(sink, rows, window, stop=stop, beyond=beyond)
        if finished:
            break
        if not is_killed:
            sink.close(finished=False)
        del sink
        gc.collect(0)
        assert not (broken / "out").exists()
    if not finished:
        assert work(open_sink(broken / "out", name, resume=True), rows, window)
    assert files(broken) == files(whole)


def test_a_real_kill(tmp_path):
    """A process that dies in the middle of writing leaves a file that is gone on with."""
    code = """
import os, sys
from pathlib import Path
from llmkit.data.formats import FORMATS
from llmkit.data.sinks import FileSink
sink = FileSink(Path(sys.argv[1]), FORMATS["json"], call={})
for index in range(10):
    sink.write({"n": index}, index)
    if index == 4:
        sink.commit(5)
sink._file.flush()
os._exit(137)
"""
    subprocess.run([sys.executable, "-c", code, tmp_path / "out.json"], check=False, timeout=60)
    assert sorted(files(tmp_path)) == ["out.json.partial", "out.json.progress", "out.json.rejects.jsonl"]
    sink = open_sink(tmp_path / "out.json", "json", call={}, resume=True)
    assert sink.progress.rows == 5
    work(sink, [{"n": index} for index in range(10)], 5)
    assert json.loads((tmp_path / "out.json").read_bytes()) == [{"n": index} for index in range(10)]
    assert sorted(files(tmp_path)) == ["out.json"]


class TestFinished:
    def test_the_file_alone_is_left(self, tmp_path):
        assert not is_finished(tmp_path / "a.jsonl")
        sink = open_sink(tmp_path / "a.jsonl")
        assert not (tmp_path / "a.jsonl").exists()
        work(sink, [{"a": 1}, {"a": 2}], 1)
        assert files(tmp_path) == {"a.jsonl": b'{"a": 1}\n{"a": 2}\n'}
        assert is_finished(tmp_path / "a.jsonl")

    def test_rejected_rows_have_a_file(self, tmp_path):
        work(open_sink(tmp_path / "a.csv", "csv"), [{"a": 1}, None], 1)
        assert json.loads((tmp_path / "a.csv.rejects.jsonl").read_text()) == {
            "line": 2,
            "reason": "it failed",
        }

    def test_or_the_one_that_was_named(self, tmp_path):
        sink = FileSink(tmp_path / "a.csv", FORMATS["csv"], call={}, rejects=tmp_path / "bad")
        work(sink, [{"a": 1}, None], 1)
        assert sorted(files(tmp_path)) == ["a.csv", "bad"]

    def test_parquet_is_made_at_the_end(self, tmp_path):
        work(open_sink(tmp_path / "a.parquet", "parquet"), [{"a": 1}, None, {"b": "x"}], 1)
        assert pyarrow.parquet.read_table(tmp_path / "a.parquet").to_pylist() == [
            {"a": 1, "b": None},
            {"a": None, "b": "x"},
        ]
        assert sorted(files(tmp_path)) == ["a.parquet", "a.parquet.rejects.jsonl"]

    def test_a_run_without_a_row(self, tmp_path):
        work(open_sink(tmp_path / "a.json", "json"), [], 1)
        assert files(tmp_path) == {"a.json": b"[\n]\n"}

    def test_in_a_folder_that_is_new(self, tmp_path):
        work(open_sink(tmp_path / "x" / "y" / "a.jsonl"), [{"a": 1}], 1)
        assert (tmp_path / "x" / "y" / "a.jsonl").exists()

    def test_with_the_rights_that_files_have_here(self, tmp_path):
        work(open_sink(tmp_path / "a.jsonl"), [{"a": 1}], 1)
        (tmp_path / "b").write_text("")
        assert (tmp_path / "a.jsonl").stat().st_mode == (tmp_path / "b").stat().st_mode


class TestUnfinished:
    def test_a_run_in_which_no_row_succeeded_leaves_nothing(self, tmp_path):
        sink = open_sink(tmp_path / "a.jsonl")
        work(sink, [None, None, None], 1, stop=2)
        sink.close(finished=False)
        assert files(tmp_path) == {}

    def test_one_that_was_not_committed_leaves_nothing(self, tmp_path):
        sink = open_sink(tmp_path / "a.jsonl")
        sink.write({"a": 1}, 0)
        sink.close(finished=False)
        assert files(tmp_path) == {}

    def test_rows_that_are_rejected_in_a_window_that_is_not_whole_count_for_nothing(self, tmp_path):
        sink = open_sink(tmp_path / "a.jsonl")
        work(sink, [{"a": 1}, {"a": 2}, None, None, {"a": 3}], 2, stop=1, beyond=2)
        sink.close(finished=False)
        assert sink.is_unfinished
        assert (tmp_path / "a.jsonl.partial").read_bytes().startswith(b'{"a": 1}\n{"a": 2}\n')

    def test_it_is_not_begun_anew_by_accident(self, tmp_path):
        sink = open_sink(tmp_path / "a.jsonl")
        work(sink, [{"a": 1}] * 4, 1, stop=2)
        sink.close(finished=False)
        before = files(tmp_path)
        with pytest.raises(
            OutputExistsError, match=r"(?s)an unfinished run of .*a\.jsonl is there.*--resume.*--overwrite"
        ):
            open_sink(tmp_path / "a.jsonl")
        assert files(tmp_path) == before
        assert not is_finished(tmp_path / "a.jsonl")

    def test_overwrite_begins_anew(self, tmp_path):
        sink = open_sink(tmp_path / "a.jsonl")
        work(sink, [{"a": 1}, None, {"a": 2}, {"a": 3}], 1, stop=3)
        sink.close(finished=False)
        work(open_sink(tmp_path / "a.jsonl", overwrite=True), [{"b": 1}], 1)
        assert files(tmp_path) == {"a.jsonl": b'{"b": 1}\n'}

    def test_resuming_what_never_began_begins(self, tmp_path):
        work(open_sink(tmp_path / "a.jsonl", resume=True), [{"b": 1}], 1)
        assert files(tmp_path) == {"a.jsonl": b'{"b": 1}\n'}

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ({"model": "other"}, r"model was 'm', is 'other'"),
            ({"new": 1}, r"new was None, is 1"),
            ({"parameters": {}}, r"parameters was \{'top_k': \[1, 2\]\}, is \{\}"),
        ],
    )
    def test_another_call_does_not_go_on_with_it(self, tmp_path, change, said):
        sink = open_sink(tmp_path / "a.jsonl")
        work(sink, [{"a": 1}] * 3, 1, stop=2)
        sink.close(finished=False)
        before = files(tmp_path)
        with pytest.raises(DataError, match=said):
            open_sink(tmp_path / "a.jsonl", call=CALL | change, resume=True)
        assert files(tmp_path) == before

    @pytest.mark.parametrize(
        "content", [b"", b"{", b"[]", b'{"rows": 1}', b'{"call": {}, "extra": 1}', b"\xff"]
    )
    def test_a_progress_that_cannot_be_read(self, tmp_path, content):
        sink = open_sink(tmp_path / "a.jsonl")
        work(sink, [{"a": 1}] * 3, 1, stop=2)
        sink.close(finished=False)
        (tmp_path / "a.jsonl.progress").write_bytes(content)
        with pytest.raises(OutputError, match=r"(?s)progress cannot be read.*--overwrite"):
            open_sink(tmp_path / "a.jsonl", resume=True)

    def test_a_partial_file_that_was_cut_off(self, tmp_path):
        """What the progress says is there must be there: a hole in the result would be worse than an error."""
        sink = open_sink(tmp_path / "a.jsonl")
        work(sink, [{"a": 1}] * 3, 1, stop=2)
        sink.close(finished=False)
        (tmp_path / "a.jsonl.partial").write_bytes(b'{"a"')
        with pytest.raises(OutputError, match="--overwrite"):
            open_sink(tmp_path / "a.jsonl", resume=True)


class TestExisting:
    def test_nothing_that_is_there_goes(self, tmp_path):
        (tmp_path / "a.jsonl").write_text("mine")
        with pytest.raises(OutputExistsError, match=r"(?s)a\.jsonl is there already.*--overwrite"):
            open_sink(tmp_path / "a.jsonl")
        assert files(tmp_path) == {"a.jsonl": b"mine"}

    def test_nor_rejects_of_another_run(self, tmp_path):
        (tmp_path / "a.jsonl.rejects.jsonl").write_text("mine")
        with pytest.raises(OutputExistsError, match="rejects"):
            open_sink(tmp_path / "a.jsonl")
        assert files(tmp_path) == {"a.jsonl.rejects.jsonl": b"mine"}

    def test_what_is_overwritten_stays_until_the_end(self, tmp_path):
        (tmp_path / "a.jsonl").write_text("old")
        sink = open_sink(tmp_path / "a.jsonl", overwrite=True)
        sink.write({"a": 1}, 0)
        sink.commit(1)
        assert (tmp_path / "a.jsonl").read_text() == "old"
        sink.close(finished=True)
        assert (tmp_path / "a.jsonl").read_text() == '{"a": 1}\n'

    def test_refuse_existing(self, tmp_path):
        refuse_existing(tmp_path / "new", overwrite=False)
        (tmp_path / "old").write_bytes(b"")
        refuse_existing(tmp_path / "old", overwrite=True)
        with pytest.raises(OutputExistsError):
            refuse_existing(tmp_path / "old", overwrite=False)

    def test_a_folder_is_never_replaced(self, tmp_path):
        with pytest.raises(UsageError, match="is a folder"):
            refuse_existing(tmp_path, overwrite=True)


class TestSecondWriter:
    @pytest.mark.parametrize("options", [{}, {"overwrite": True}, {"resume": True}], ids=str)
    @pytest.mark.parametrize("committed", [0, 1])
    def test_is_refused(self, tmp_path, options, committed):
        first = open_sink(tmp_path / "a.jsonl")
        first.write({"a": 1}, 0)
        if committed:
            first.commit(1)
        with pytest.raises(OutputError, match="another run is writing"):
            open_sink(tmp_path / "a.jsonl", **options)
        first.close(finished=True)
        assert files(tmp_path) == {"a.jsonl": b'{"a": 1}\n'}

    def test_in_another_process_too(self, tmp_path):
        first = open_sink(tmp_path / "a.jsonl")
        code = (
            "import sys; from pathlib import Path; from llmkit.data.sinks import FileSink;"
            "from llmkit.data.formats import FORMATS; FileSink(Path(sys.argv[1]), FORMATS['jsonl'], call={})"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, tmp_path / "a.jsonl"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert "another run is writing" in done.stderr
        first.close(finished=True)

    def test_two_files_are_nobodys_concern(self, tmp_path):
        first, second = open_sink(tmp_path / "a.jsonl"), open_sink(tmp_path / "b.jsonl")
        work(first, [{"a": 1}], 1)
        work(second, [{"b": 1}], 1)
        assert sorted(files(tmp_path)) == ["a.jsonl", "b.jsonl"]


class TestErrors:
    def test_a_full_disk_is_told_with_what_is_kept(self, tmp_path, monkeypatch):
        sink = open_sink(tmp_path / "a.jsonl")
        sink.write({"a": 1}, 0)
        sink.commit(1)
        real = sink._file
        sink._file = DiskFull()
        with pytest.raises(
            OutputError, match=r"(?s)no space left on the device.*1 rows are done and kept.*--resume"
        ):
            sink.write({"a": 2}, 1)
        sink._file = real
        sink.close(finished=False)
        work(open_sink(tmp_path / "a.jsonl", resume=True), [{"a": 1}, {"a": 2}], 1)
        assert files(tmp_path) == {"a.jsonl": b'{"a": 1}\n{"a": 2}\n'}

    def test_a_folder_in_the_way(self, tmp_path):
        (tmp_path / "a").write_text("")
        with pytest.raises(OutputError, match="cannot write"):
            open_sink(tmp_path / "a" / "b.jsonl")


class TestStream:
    def test_results_go_out_with_each_window(self):
        out = io.BytesIO()
        sink = StreamSink(io.BufferedWriter(out), FORMATS["json"].make(False))
        sink.write({"a": 1}, 0)
        assert out.getvalue() == b""
        sink.commit(1)
        assert out.getvalue() == b'[\n{"a": 1}'
        sink.close(finished=True)
        assert out.getvalue() == b'[\n{"a": 1}\n]\n'

    @pytest.mark.parametrize(("finished", "written"), [(True, b"[\n]\n"), (False, b"")])
    def test_a_run_that_failed_writes_nothing(self, finished, written):
        out = io.BytesIO()
        StreamSink(out, FORMATS["json"].make(False)).close(finished=finished)
        assert out.getvalue() == written

    def test_rejected_rows_go_to_their_file(self, tmp_path):
        sink = RejectsSink(StreamSink(io.BytesIO(), FORMATS["jsonl"].make(False)), tmp_path / "bad.jsonl")
        assert not (tmp_path / "bad.jsonl").exists()
        sink.reject({"line": 1, "reason": "é"})
        sink.reject({"line": 2})
        sink.close(finished=True)
        assert (tmp_path / "bad.jsonl").read_text() == '{"line": 1, "reason": "é"}\n{"line": 2}\n'

    def test_without_a_file_for_them_they_are_not_kept(self):
        out = io.BytesIO()
        sink = StreamSink(out, FORMATS["jsonl"].make(False))
        sink.reject({"line": 1})
        sink.close(finished=True)
        assert out.getvalue() == b""

    def test_a_full_disk(self):
        with pytest.raises(OutputError, match="cannot write standard output: no space left on the device"):
            StreamSink(DiskFull(), FORMATS["jsonl"].make(False)).write({"a": 1}, 0)

    def test_a_closed_pipe_is_no_error_of_ours(self):
        class Closed(io.BytesIO):
            def write(self, data):
                raise BrokenPipeError(32, "Broken pipe")

        with pytest.raises(BrokenPipeError):
            StreamSink(Closed(), FORMATS["jsonl"].make(False)).write({"a": 1}, 0)
