"""Rows that fail, and memory that ends: no other row is lost by it."""

import contextlib
import threading
import time

import pytest
import torch

from llmkit.errors import LlmkitError, MissingExtraError
from llmkit.tasks.inputs import RowError
from tests.inference.running import ROWS, TEXTS, assert_close, results, run, runner, window


class TestRowsThatFail:
    def failing(self, monkeypatch, pipe, wrong, error):
        preprocess = pipe.preprocess

        def picky(text, **options):
            if text in wrong:
                raise error
            return preprocess(text, **options)

        monkeypatch.setattr(pipe, "preprocess", picky)

    @pytest.mark.parametrize(
        "wrong", [[0], [3, 17], list(range(len(TEXTS) - 1)), list(range(len(TEXTS)))], ids=len
    )
    def test_they_take_no_others_with_them(self, load, monkeypatch, wrong):
        pipe = load("text-classification")
        wanted = [pipe(text)[0] for text in TEXTS]
        self.failing(monkeypatch, pipe, [TEXTS[number] for number in wrong], ValueError("this one is cursed"))
        outcomes = run(pipe, ROWS)
        assert [number for number, outcome in enumerate(outcomes) if outcome.error] == wrong
        assert {outcome.reason for outcome in outcomes if outcome.error} == {"this one is cursed"}
        for number, outcome in enumerate(outcomes):
            if number not in wrong:
                assert_close(outcome.value, wanted[number])

    def test_rows_without_values_or_fields(self, load):
        rows = [{"text": "a"}, RowError("not JSON"), {"text": ""}, {"text": ["a"]}, {}, {"text": 42}]
        reasons = [outcome.reason for outcome in run(load("text-classification"), rows)]
        assert reasons == [
            "",
            "not JSON",
            "'text' is empty",
            "'text' should be a text, not list",
            "no value for 'text'",
            "",
        ]

    def test_of_a_long_text_one_part_that_fails_fails_all_of_it(self, load, monkeypatch):
        pipe = load("text-classification", "long_limit")
        preprocess = pipe.preprocess

        def picky(text, **options):
            if "cursed" in text:
                raise ValueError("a cursed part")
            return preprocess(text, **options)

        monkeypatch.setattr(pipe, "preprocess", picky)
        long, cursed = "the film " * 90, "the film " * 60 + "cursed " + "the film " * 30
        outcomes = run(pipe, [{"text": long}, {"text": cursed}, {"text": "short"}])
        assert [outcome.reason for outcome in outcomes] == ["", "a cursed part", ""]

    def test_every_finished_row_is_counted_once(self, load, monkeypatch):
        pipe = load("text-classification", "long_limit")
        done = []
        rows = [{"text": "the film " * 90}, {"text": ""}, RowError("no"), {"text": "short"}, {"text": "b"}]
        runner(pipe, advance=done.append).run_window(window(*rows))
        assert sum(done) == len(rows)

    @pytest.mark.parametrize(
        ("task", "row"),
        [
            ("image-classification", {"image": 5}),
            ("image-classification", {"image": "nowhere.png"}),
            ("image-classification", {"image": {"a": 1}}),
            ("table-question-answering", {"table": [1, 2], "query": "how many?"}),
            ("table-question-answering", {"table": {"a": "word"}, "query": "how many?"}),
            ("table-question-answering", {"table": 5, "query": "how many?"}),
            ("conversational", {"messages": [{"role": "user"}]}),
            ("sentence-similarity", {"source_sentence": "a", "sentences": {"b": 1}}),
            ("zero-shot-classification", {"text": "a", "candidate_labels": []}),
        ],
        ids=lambda value: value if isinstance(value, str) else str(next(iter(value.values())))[:12],
    )
    def test_values_of_the_wrong_kind_are_the_rows_fault(self, load, task, row):
        (outcome,) = run(load(task), [row])
        assert outcome.error is not None
        assert outcome.reason

    def test_a_package_that_is_missing_is_not_a_rows_fault(self, load, monkeypatch):
        pipe = load("text-classification")
        self.failing(
            monkeypatch, pipe, TEXTS, ImportError("this needs the sacremoses library; pip install sacremoses")
        )
        with pytest.raises(LlmkitError, match="sacremoses"):
            run(pipe, ROWS)

    def test_nor_is_an_extra_that_is_missing(self, load, monkeypatch):
        pipe = load("text-classification")
        self.failing(monkeypatch, pipe, TEXTS, MissingExtraError("reading images", "vision"))
        with pytest.raises(MissingExtraError):
            run(pipe, ROWS)


class TestOutOfMemory:
    @pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError()], ids=type)
    def test_batches_are_halved_until_they_fit(self, load, monkeypatch, error):
        pipe, sizes, notes = load("text-classification"), [], []
        wanted = [pipe(text)[0] for text in TEXTS]
        forward = pipe._forward

        def small(inputs, **options):
            sizes.append(len(inputs["input_ids"]))
            if sizes[-1] > 3:
                raise error
            return forward(inputs, **options)

        monkeypatch.setattr(pipe, "_forward", small)
        assert_close(results(run(pipe, [{"text": t} for t in TEXTS], notes=notes.append)), wanted)
        assert notes == ["out of memory: going on with smaller batches"]
        assert max(sizes) > 3

    def test_the_next_window_begins_smaller(self, load, monkeypatch):
        pipe, sizes = load("text-classification"), []
        forward = pipe._forward

        def small(inputs, **options):
            sizes.append(inputs["input_ids"].numel())
            if sizes[-1] > 150:
                raise torch.OutOfMemoryError
            return forward(inputs, **options)

        monkeypatch.setattr(pipe, "_forward", small)
        running = runner(pipe)
        rows = window(*({"text": text} for text in TEXTS))
        running.run_window(rows)
        first, sizes[:] = max(sizes), []
        assert all(outcome.error is None for outcome in running.run_window(rows))
        assert max(sizes) < first

    def test_a_row_that_never_fits_fails_alone(self, load, monkeypatch):
        pipe = load("text-classification")
        forward = pipe._forward
        most = sorted(len(pipe.tokenizer(text)["input_ids"]) for text in TEXTS)[-2]

        def small(inputs, **options):
            if inputs["input_ids"].shape[1] > most:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")
            return forward(inputs, **options)

        monkeypatch.setattr(pipe, "_forward", small)
        outcomes = run(pipe, [{"text": text} for text in TEXTS])
        assert [outcome.reason for outcome in outcomes if outcome.error] == [
            "CUDA out of memory. Tried to allocate 9 GiB"
        ]

    @pytest.mark.parametrize(
        ("error", "reason"),
        [
            (RuntimeError("could not create a primitive"), "out of memory: could not create a primitive"),
            (MemoryError(), "out of memory"),
        ],
        ids=type,
    )
    def test_the_reason_says_memory_whoever_had_none(self, load, monkeypatch, error, reason):
        pipe = load("text-classification")

        def none(inputs, **options):
            raise error

        monkeypatch.setattr(pipe, "_forward", none)
        assert [outcome.reason for outcome in run(pipe, ROWS[:2])] == [reason] * 2

    def test_a_row_gets_another_chance_when_other_threads_hold_no_memory(self, load, monkeypatch):
        pipe, holding = load("text-classification"), threading.Semaphore(1)
        forward, met, cores = pipe._forward, threading.Barrier(2), torch.get_num_threads()

        def alone(inputs, **options):
            if not met.broken and threading.current_thread() is not threading.main_thread():
                with contextlib.suppress(threading.BrokenBarrierError):
                    met.wait(0.5)
            if not holding.acquire(blocking=False):
                raise RuntimeError("could not create a primitive")  # oneDNN without memory
            try:
                time.sleep(0.02)
                return forward(inputs, **options)
            finally:
                holding.release()

        monkeypatch.setattr(pipe, "_forward", alone)
        torch.set_num_threads(2)
        notes = []
        try:
            outcomes = run(pipe, ROWS, notes=notes.append, batch_size=1)
        finally:
            torch.set_num_threads(cores)
        assert [outcome.reason for outcome in outcomes if outcome.error] == []
        assert notes == ["out of memory: going on with smaller batches"]
