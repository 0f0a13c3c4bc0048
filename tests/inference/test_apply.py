"""Rows in, a sink filled, a count given back."""

import io
import itertools
import json

import pytest

import llmkit
from llmkit.data.encoding import ResultEncoder
from llmkit.data.formats import FORMATS
from llmkit.data.records import BadRecord, Record
from llmkit.data.row_run import failure_of
from llmkit.data.sinks import FileSink, RejectsSink, StreamSink
from llmkit.errors import DataError, ModelError, UsageError
from llmkit.inference.apply import InputChoice, PipelineRun, fingerprint, read_rows
from llmkit.inference.items import RunSettings
from llmkit.inference.rows import RowMapper, mapped
from llmkit.models.loading import LoadOptions
from llmkit.models.resolving import ResolvedModel
from llmkit.tasks.catalogue import find_task
from llmkit.tasks.inputs import RowError

CALL = find_task("text-classification")


@pytest.fixture(scope="module")
def pipe(tiny):
    return llmkit.pipeline("text-classification", model=str(tiny("text-classification")), device="cpu")


def choice(**given):
    return InputChoice(**{"stdin": io.BytesIO(b"from stdin\n"), **given})


def rows_of(task="text-classification", **given):
    return [values for _, values in read_rows(find_task(task).task, choice(**given))]


def running(tmp_path, sink, **more):
    return PipelineRun(
        CALL, more.pop("settings", RunSettings()), sink, ResultEncoder(tmp_path / "files"), **more
    )


def records(*texts):
    rows = [
        BadRecord("in.jsonl", number, "not JSON")
        if text is None
        else Record({"text": text, "id": number}, "in.jsonl", number)
        for number, text in enumerate(texts, 1)
    ]
    return mapped(rows, RowMapper(CALL.task))


class TestSource:
    def test_each_way_to_give_rows(self, tmp_path):
        (tmp_path / "a.txt").write_text("one\ntwo\n")
        (tmp_path / "b.csv").write_text("id,review\n1,three\n")
        assert rows_of(arguments=("a", "b")) == [{"text": "a"}, {"text": "b"}]
        assert rows_of(files=(str(tmp_path / "a.txt"),)) == [{"text": "one"}, {"text": "two"}]
        assert rows_of(files=(str(tmp_path / "b.csv"),), column="review") == [{"text": "three"}]
        assert rows_of() == rows_of(arguments=("-",)) == rows_of(files=("-",)) == [{"text": "from stdin"}]

    def test_a_file_of_what_the_task_takes_is_a_row_itself(self, tmp_path):
        for name in ("a.png", "b.JPG"):
            (tmp_path / name).write_bytes(b"")
        (tmp_path / "c.txt").write_text("d.png\n")
        files = (f"{tmp_path}/*",)
        a, b = str(tmp_path / "a.png"), str(tmp_path / "b.JPG")
        assert rows_of("image-classification", files=files) == [
            {"image": a},
            {"image": b},
            {"image": "d.png"},
        ]
        asked = rows_of("visual-question-answering", files=(a,), constants={"question": "q"})
        assert asked == [{"question": "q", "image": a}]
        with pytest.raises(DataError, match="tells no format"):
            rows_of("audio-classification", files=(a,))

    @pytest.mark.parametrize("more", [{"arguments": ("a", "-")}, {"files": ("-", "a.txt")}])
    def test_standard_input_goes_with_no_other(self, more):
        with pytest.raises(UsageError, match="- stands for standard input"):
            rows_of(**more)

    def test_options_that_give_all_are_one_row(self):
        given = {"question": "q", "context": "c"}
        assert rows_of("question-answering", constants=given) == [given]

    @pytest.mark.parametrize(
        "given", [{"arguments": ("a",), "files": ("b",)}, {"arguments": ("a",), "dataset": "d"}], ids=str
    )
    def test_two_ways_at_once(self, given):
        with pytest.raises(UsageError, match="the input is given twice: by arguments and by --"):
            rows_of(**given)

    def test_a_terminal_is_no_input(self):
        class Terminal(io.BytesIO):
            def isatty(self):
                return True

        with pytest.raises(UsageError, match=r"(?s)there is no input.*For example: llmkit pipeline"):
            rows_of(stdin=Terminal())

    def test_a_wrong_column_shows_before_anything_is_loaded(self, tmp_path):
        (tmp_path / "b.csv").write_text("id,review\n1,three\n")
        with pytest.raises(DataError, match="no column 'text'"):
            read_rows(CALL.task, choice(files=(str(tmp_path / "b.csv"),)))

    @pytest.mark.parametrize(
        ("given", "live"),
        [
            ({}, True),
            ({"arguments": ("a",)}, False),
            ({"arguments": ("-",)}, True),
            ({"files": ("a",)}, False),
            ({"files": ("-",)}, True),
            ({"dataset": "d"}, False),
        ],
        ids=str,
    )
    def test_what_is_live(self, given, live):
        assert choice(**given).is_live is live


class TestRun:
    def written(self, tmp_path, pipe, rows, **more):
        out = io.BytesIO()
        sink = RejectsSink(StreamSink(out, FORMATS["jsonl"].make(False)), tmp_path / "bad.jsonl")
        summary = running(tmp_path, sink, **more).run(pipe, rows)
        return summary, [json.loads(line) for line in out.getvalue().decode().splitlines()]

    def test_results_in_the_rows_order(self, tmp_path, pipe):
        texts = ["a film " * (1 + number % 7) for number in range(150)]
        summary, results = self.written(tmp_path, pipe, records(*texts))
        assert (summary.done, summary.rejected) == (150, 0)
        wanted = [pipe(text)[0] for text in texts[:10]]
        assert [each["label"] for each in results[:10]] == [each["label"] for each in wanted]
        assert [each["score"] for each in results[:10]] == pytest.approx(
            [each["score"] for each in wanted], abs=1e-5
        )

    def test_rejected_rows_are_named(self, tmp_path, pipe):
        said = []
        summary, results = self.written(tmp_path, pipe, records("a", None, "", "b"), rejected=said.append)
        assert (summary.done, summary.rejected, len(results)) == (2, 2, 2)
        assert said == ["in.jsonl:2: not JSON", "in.jsonl:3: 'text' is empty"]
        assert [json.loads(line) for line in (tmp_path / "bad.jsonl").read_text().splitlines()] == [
            {"source": "in.jsonl", "line": 2, "reason": "not JSON", "input": None},
            {"source": "in.jsonl", "line": 3, "reason": "'text' is empty", "input": {"text": "", "id": 3}},
        ]

    def test_the_input_beside_the_result(self, tmp_path, pipe):
        rows = mapped([Record({"text": "a", "label": "gold"}, "x", 1)], RowMapper(CALL.task))
        _, (result,) = self.written(tmp_path, pipe, rows, keep_input=True)
        assert list(result) == ["text", "input_label", "label", "score"]
        assert (result["text"], result["input_label"]) == ("a", "gold")

    def test_no_row_that_succeeds_is_an_error(self, tmp_path, pipe):
        with pytest.raises(DataError, match=r"in\.jsonl:1: 'text' is empty"):
            self.written(tmp_path, pipe, records("", ""))

    def test_rows_that_all_fail_alike_are_not_at_fault(self, tmp_path, pipe, monkeypatch):
        def broken(*_, **__):
            raise RuntimeError("no kernel image")

        monkeypatch.setattr(pipe, "_forward", broken)
        taken = itertools.count()
        rows = (next(records("a")) for _ in iter(lambda: next(taken) < 10_000, False))
        with pytest.raises(ModelError, match="every row fails in the same way: no kernel image"):
            self.written(tmp_path, pipe, rows)
        assert next(taken) < 200

    def test_a_parameter_that_is_refused(self, tmp_path, tiny):
        tagger = llmkit.pipeline(
            "token-classification", model=str(tiny("token-classification")), device="cpu"
        )
        settings = RunSettings({"aggregation_strategy": "smple"})
        run = PipelineRun(
            find_task("ner"),
            settings,
            StreamSink(io.BytesIO(), FORMATS["json"].make(False)),
            ResultEncoder(tmp_path),
        )
        with pytest.raises(UsageError, match="aggregation_strategy"):
            run.run(tagger, records("a"))

    def test_stopped_in_any_window_and_resumed_it_ends_with_the_same_bytes(self, tmp_path, pipe):
        texts = [None if number % 41 == 0 else "a film " * (1 + number % 9) for number in range(220)]

        def go(name, *, resume=False, stop=None):
            sink = FileSink(tmp_path / name, FORMATS["csv"], call={}, resume=resume)
            run = running(tmp_path, sink, rows_done=sink.progress.rows, keep_input=True)
            rows = records(*texts)
            if stop is not None:
                rows = itertools.chain(itertools.islice(rows, stop), interrupted())
            return run.run(pipe, rows)

        def interrupted():
            raise KeyboardInterrupt
            yield

        go("whole.csv")
        for stop in (70, 150, 200):
            with pytest.raises(KeyboardInterrupt):
                go("cut.csv", resume=True, stop=stop)
        go("cut.csv", resume=True)
        for ending in ("", ".rejects.jsonl"):
            assert (tmp_path / f"cut.csv{ending}").read_bytes() == (
                tmp_path / f"whole.csv{ending}"
            ).read_bytes()


@pytest.mark.parametrize(
    ("failures", "kind", "said"),
    [
        ([("argument:1", RowError("'text' is empty"))], DataError, "'text' is empty"),
        ([("a.csv:2", RowError("empty")), ("a.csv:3", RowError("x"))], DataError, "a.csv:2: empty"),
        ([("a.csv:2", RowError("empty")), ("a.csv:3", RuntimeError("x"))], ModelError, "a.csv:2: empty"),
    ],
)
def test_whose_fault_it_is(failures, kind, said):
    error = failure_of(failures)
    assert (type(error), error.message) == (kind, said)


class TestFingerprint:
    @staticmethod
    def of(folder, text="a", *, settings=None, options=None, **given):
        (folder / "in.txt").write_text(text)
        return fingerprint(
            CALL, ResolvedModel("m", "m"), options or LoadOptions(), settings or RunSettings(),
            InputChoice(files=(str(folder / "in.txt"),), **given), format="csv",
        )  # fmt: skip

    def test_the_same_call_is_the_same(self, tmp_path):
        first = self.of(tmp_path)
        again = fingerprint(
            CALL,
            ResolvedModel("m", "m"),
            LoadOptions(),
            RunSettings(),
            InputChoice(files=(str(tmp_path / "in.txt"),)),
            format="csv",
        )
        assert first == again
        json.dumps(first)

    @pytest.mark.parametrize(
        "change",
        [
            {"text": "longer"},
            {"settings": RunSettings({"top_k": 2})},
            {"settings": RunSettings(seed=1)},
            {"settings": RunSettings(long="truncate")},
            {"settings": RunSettings(max_length=9)},
            {"options": LoadOptions(dtype="bfloat16")},
            {"options": LoadOptions(arguments={"a": 1})},
            {"column": "review"},
            {"constants": {"text_pair": "b"}},
        ],
        ids=str,
    )
    def test_what_changes_the_result_changes_it(self, tmp_path, change):
        assert self.of(tmp_path, **change) != self.of(tmp_path)
