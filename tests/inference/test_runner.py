"""A task over windows of rows: the pipeline's own results, whatever goes through the model together."""

import functools
import random
import re

import pytest
import torch
import transformers

import llmkit
from llmkit.data.records import Record
from llmkit.errors import LlmkitError, MissingExtraError, UsageError
from llmkit.inference.items import RunSettings
from llmkit.inference.runner import Runner, window_rows
from llmkit.tasks.catalogue import find_task
from llmkit.tasks.inputs import RowError

DRAW = random.Random(3)
WORDS = [
    "angela",
    "merkel",
    "lives",
    "in",
    "berlin",
    "and",
    "paris",
    "is",
    "the",
    "capital",
    "of",
    "france",
    "this",
    "film",
    "was",
    "funny",
    "cold",
    "meal",
]
TEXTS = [" ".join(DRAW.choices(WORDS, k=DRAW.randint(1, 60))) for _ in range(24)] + ["a", "naïve 東京 🎉"]
LABELS = ["politics", "sports", "music"]
GREEDY = {"do_sample": False, "max_new_tokens": 5}
SAMPLED = {"do_sample": True, "max_new_tokens": 8, "temperature": 2.0}
ROWS = [{"text": text} for text in TEXTS]
each_size = pytest.mark.parametrize("batch_size", [None, 1, 3, 64])


@pytest.fixture(scope="module")
def load(tiny):
    """A llmkit pipeline on a tiny model; loaded once a module."""

    @functools.cache
    def loaded(task, name=None):
        return llmkit.pipeline(task, model=str(tiny(name or task)), device="cpu")

    return loaded


@pytest.fixture(scope="module")
def reference(tiny):
    """transformers' own pipeline on the same model."""

    @functools.cache
    def loaded(task):
        return transformers.pipeline(task, model=str(tiny(task)), device="cpu")

    return loaded


def window(*rows):
    return [
        (Record(row if isinstance(row, dict) else {}, "rows", number), row)
        for number, row in enumerate(rows, 1)
    ]


def runner(pipe, *, settings=None, **hooks):
    return Runner(pipe, find_task(pipe.task), settings or RunSettings(), **hooks)


def run(pipe, rows, *, notes=lambda text: None, **settings):
    return runner(pipe, settings=RunSettings(**settings), notes=notes).run_window(window(*rows))


def results(outcomes):
    for outcome in outcomes:
        if outcome.error is not None:
            raise outcome.error
    return [outcome.value for outcome in outcomes]


def assert_close(found, wanted, where=""):
    """The same values, types and shape; floats to 1e-5."""
    assert type(found) is type(wanted) or isinstance(wanted, float), (where, found, wanted)
    if isinstance(wanted, dict):
        assert list(found) == list(wanted), where
        for key in wanted:
            assert_close(found[key], wanted[key], f"{where}.{key}")
    elif isinstance(wanted, list):
        assert len(found) == len(wanted), where
        for number, (one, other) in enumerate(zip(found, wanted, strict=True)):
            assert_close(one, other, f"{where}[{number}]")
    elif isinstance(wanted, float):
        assert found == pytest.approx(wanted, abs=1e-5), where
    else:
        assert found == wanted, where


class TestSameAsThePipelineOneByOne:
    @each_size
    @pytest.mark.parametrize(
        "parameters", [{}, {"top_k": None}, {"top_k": 1}, {"function_to_apply": "none"}], ids=str
    )
    def test_text_classification(self, load, reference, batch_size, parameters):
        found = run(
            load("text-classification"),
            [{"text": t} for t in TEXTS],
            batch_size=batch_size,
            parameters=parameters,
        )
        wanted = [reference("text-classification")([text], **parameters)[0] for text in TEXTS]
        assert_close(results(found), wanted)

    def test_text_pairs(self, load, reference):
        pairs = [{"text": one, "text_pair": two} for one, two in zip(TEXTS, reversed(TEXTS), strict=True)]
        wanted = [reference("text-classification")(dict(pair)) for pair in pairs]
        assert_close(results(run(load("text-classification"), pairs)), wanted)

    @each_size
    def test_feature_extraction_has_the_texts_own_tokens_only(self, load, reference, batch_size):
        pipe = load("feature-extraction")
        found = results(run(pipe, [{"text": text} for text in TEXTS], batch_size=batch_size))
        assert [len(each[0]) for each in found] == [len(pipe.tokenizer(text)["input_ids"]) for text in TEXTS]
        assert_close(found, [reference("feature-extraction")(text) for text in TEXTS])

    def test_feature_extraction_padded_on_the_left(self, load, reference, monkeypatch):
        pipe = load("feature-extraction")
        monkeypatch.setattr(pipe.tokenizer, "padding_side", "left")
        found = results(run(pipe, [{"text": text} for text in TEXTS]))
        assert [len(each[0]) for each in found] == [len(pipe.tokenizer(text)["input_ids"]) for text in TEXTS]

    @each_size
    @pytest.mark.parametrize("parameters", [{}, {"aggregation_strategy": "simple"}], ids=str)
    def test_token_classification(self, load, reference, batch_size, parameters):
        found = run(
            load("token-classification"),
            [{"text": t} for t in TEXTS],
            batch_size=batch_size,
            parameters=parameters,
        )
        for each, text in zip(results(found), TEXTS, strict=True):
            wanted = reference("token-classification")(text, **parameters)
            for span, other in zip(each, wanted, strict=True):
                assert float(span.pop("score")) == pytest.approx(float(other.pop("score")), abs=1e-5)
                assert span == other

    @each_size
    def test_zero_shot_classification(self, load, reference, batch_size):
        rows = [
            {"text": text, "candidate_labels": LABELS[: 2 + number % 2]} for number, text in enumerate(TEXTS)
        ]
        wanted = [
            reference("zero-shot-classification")(row["text"], candidate_labels=row["candidate_labels"])
            for row in rows
        ]
        assert_close(results(run(load("zero-shot-classification"), rows, batch_size=batch_size)), wanted)

    @each_size
    def test_fill_mask(self, load, reference, batch_size):
        texts = [f"{text} [MASK] ." for text in TEXTS]
        found = results(run(load("fill-mask"), [{"text": text} for text in texts], batch_size=batch_size))
        assert_close(found, [reference("fill-mask")(text) for text in texts])

    @each_size
    def test_question_answering(self, load, batch_size):
        pipe = load("question-answering")
        rows = [{"question": f"who {text[:12]}?", "context": text} for text in TEXTS[:12]]
        assert_close(results(run(pipe, rows, batch_size=batch_size)), [pipe(**row) for row in rows])

    @each_size
    def test_greedy_generation(self, load, reference, batch_size):
        texts = [" ".join(text.split()[:8]) for text in TEXTS]
        found = run(
            load("text-generation"), [{"text": t} for t in texts], batch_size=batch_size, parameters=GREEDY
        )
        assert_close(results(found), [reference("text-generation")(text, **GREEDY) for text in texts])

    @each_size
    def test_text_to_text(self, load, batch_size):
        pipe = load("text2text-generation")
        found = results(
            run(pipe, [{"text": text} for text in TEXTS[:8]], batch_size=batch_size, parameters=GREEDY)
        )
        assert_close(found, [pipe(text, **GREEDY)[0] for text in TEXTS[:8]])

    def test_sentence_similarity(self, load):
        pipe = load("sentence-similarity")
        rows = [
            {"source_sentence": text, "sentences": TEXTS[: 1 + n % 5]} for n, text in enumerate(TEXTS[:6])
        ]
        assert_close(results(run(pipe, rows)), [pipe(dict(row)) for row in rows])

    def test_what_goes_together_is_sorted_by_length(self, load, monkeypatch):
        pipe, seen = load("text-classification"), []
        preprocess = pipe.preprocess

        def watched(text, **options):
            seen.append(len(pipe.tokenizer(text)["input_ids"]))
            return preprocess(text, **options)

        monkeypatch.setattr(pipe, "preprocess", watched)
        run(pipe, [{"text": text} for text in TEXTS])
        assert seen == sorted(seen, reverse=True)
        assert len(seen) == len(TEXTS)


class TestBlanks:
    @pytest.mark.parametrize("blank", ["[MASK]", "<mask>", "___", "____", "__________"])
    def test_any_blank_is_the_tokenizers_own(self, load, blank):
        pipe = load("fill-mask")
        found = run(pipe, [{"text": f"Paris is the {blank} of France."}])
        assert_close(results(found), [pipe("Paris is the [MASK] of France.")])

    def test_two_blanks(self, load):
        pipe = load("fill-mask")
        found = run(pipe, [{"text": "Paris ___ the _____ of France."}])
        assert_close(results(found), [pipe("Paris [MASK] the [MASK] of France.")])

    def test_none_is_the_rows_fault(self, load):
        one, two = run(load("fill-mask"), [{"text": "Paris __ France"}, {"text": "Paris ___"}])
        assert "write ___ where the word is missing" in one.reason
        assert two.error is None


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
            "'text' must be a text, not list",
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
        self.failing(monkeypatch, pipe, TEXTS, MissingExtraError("Reading images", "vision"))
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


class TestSeed:
    def sampled(self, pipe, seed, number=0, before=0):
        torch.rand(before)
        running = runner(pipe, settings=RunSettings(SAMPLED, seed=seed))
        return results(running.run_window(window(*({"text": t} for t in ["the fox", "a cat is"])), number))

    def test_the_same_seed_gives_the_same(self, load):
        pipe = load("text-generation")
        assert self.sampled(pipe, 1) == self.sampled(pipe, 1, before=7)
        assert self.sampled(pipe, 1) != self.sampled(pipe, 2)

    def test_each_window_has_its_own(self, load):
        pipe = load("text-generation")
        assert self.sampled(pipe, 1, number=0) != self.sampled(pipe, 1, number=1)
        assert self.sampled(pipe, 1, number=1) == self.sampled(pipe, 1, number=1, before=3)


class TestLongTexts:
    LONG = " ".join(DRAW.choices(WORDS, k=300))

    def limited(self, load):
        return load("text-classification", "long_limit")

    def test_in_parts_and_said_once(self, load):
        pipe, notes = self.limited(load), []
        running = runner(pipe, notes=notes.append)
        for _ in range(2):
            outcomes = running.run_window(window({"text": self.LONG}, {"text": "short"}, {"text": self.LONG}))
            assert_close(results(outcomes)[1], pipe("short")[0])
        assert notes == [
            "texts of more than 64 tokens are worked through in parts (--long truncate cuts them)"
        ]

    def test_the_same_text_over_and_over_scores_as_once(self, load):
        pipe = self.limited(load)
        (outcome,) = run(pipe, [{"text": "film " * 500}], parameters={"top_k": None})
        once = pipe("film " * 62, top_k=None)
        assert {each["label"]: each["score"] for each in outcome.value} == pytest.approx(
            {each["label"]: each["score"] for each in once}, abs=0.05
        )

    @pytest.mark.parametrize(("max_length", "limit"), [(None, 64), (20, 20), (900, 64)])
    def test_cut(self, load, max_length, limit):
        pipe, notes = self.limited(load), []
        found = run(pipe, [{"text": self.LONG}], long="truncate", max_length=max_length, notes=notes.append)
        assert_close(results(found), pipe([self.LONG], truncation=True, max_length=limit))
        assert len(notes) == 1
        assert f"more than {limit} tokens are cut" in notes[0]

    def test_refused(self, load):
        long, short = run(self.limited(load), [{"text": self.LONG}, {"text": "short"}], long="error")
        assert "tokens, the model takes 64" in long.reason
        assert short.error is None
        assert (
            "--max-length takes 20"
            in run(self.limited(load), [{"text": self.LONG}], long="error", max_length=20)[0].reason
        )

    @pytest.mark.parametrize("long", ["chunk", "truncate"])
    @pytest.mark.parametrize("words", [(40, 40), (200, 5), (5, 200), (200, 200), (31, 31)])
    def test_a_pair_that_is_too_long_together(self, load, words, long):
        one, two = (" ".join(["film"] * count) for count in words)
        (outcome,) = run(self.limited(load), [{"text": one, "text_pair": two}], long=long)
        assert outcome.reason == ""

    def test_of_a_pair_the_longer_gives_way(self, load):
        pipe = self.limited(load)
        (outcome,) = run(pipe, [{"text": "film " * 200, "text_pair": "cold meal"}])
        wanted = pipe({"text": " ".join(["film"] * (64 - 3 - 2)), "text_pair": "cold meal"})
        assert_close(outcome.value, wanted)

    @pytest.mark.parametrize(
        "text", ["🎉" * 60, "東京" * 31, "ﷺ" * 60, "é" * 62, "a" * 62, "," * 62, ",", "," * 63]
    )
    def test_a_text_of_few_characters_and_many_tokens(self, load, tiny, text):
        for name in ("text-classification", "summarization"):
            pipe = self.limited(load) if name == "text-classification" else load(name)
            (outcome,) = run(pipe, [{"text": text}], parameters=GREEDY if name == "summarization" else {})
            assert outcome.reason == ""

    def test_entities_keep_their_place(self, load):
        pipe = load("token-classification")
        text = self.LONG
        (outcome,) = run(pipe, [{"text": text}], max_length=100)
        words = [(span["start"], span["end"]) for span in outcome.value]
        assert words == sorted(set(words))
        assert all(
            text[span["start"] : span["end"]] == span["word"].removeprefix("##") for span in outcome.value
        )

    def test_sections_are_joined(self, load):
        pipe = load("summarization")
        text = "the film was funny. the meal was cold! " * 20
        (outcome,) = run(pipe, [{"text": text}], parameters=GREEDY)
        assert list(outcome.value) == ["summary_text"]
        (cut,) = run(pipe, [{"text": text}], parameters=GREEDY, long="truncate")
        assert len(outcome.value["summary_text"]) > len(cut.value["summary_text"])

    def test_each_of_several_sentences_is_cut_to_a_limit_of_ones_own(self, load):
        pipe = load("sentence-similarity")
        row = {"source_sentence": "a funny film", "sentences": ["a funny film that went on", "a cold meal"]}
        (cut,) = run(pipe, [row], max_length=5)
        (short,) = run(pipe, [{**row, "sentences": ["a funny film", "a cold meal"]}])
        assert_close([cut.value], [short.value])
        (refused,) = run(pipe, [row], max_length=5, long="error")
        assert re.fullmatch(r"a sentence has \d+ tokens, --max-length takes 5", refused.reason)

    def test_a_limit_in_which_a_pair_does_not_fit(self, load):
        (outcome,) = run(load("text-classification"), [{"text": "a", "text_pair": "b"}], max_length=4)
        assert outcome.reason == "2 texts and 3 tokens of the model's own are more than 4"

    @pytest.mark.parametrize(
        ("task", "least"), [("text-classification", 3), ("question-answering", 5), ("text-generation", 1)]
    )
    def test_a_limit_in_which_nothing_fits(self, load, task, least):
        if least > 1:
            with pytest.raises(UsageError, match=f"(?s)--max-length {least - 1}: nothing fits.*from {least}"):
                run(load(task), [], max_length=least - 1)
        run(load(task), [], max_length=least)

    def test_a_blank_that_is_cut_off(self, load):
        (outcome,) = run(load("fill-mask"), [{"text": "film " * 40 + "[MASK]"}], max_length=20)
        assert outcome.reason == "the blank lies beyond what the model takes"


class TestRoomForNewTokens:
    """A tiny GPT-2 with 256 positions: one more would be an index out of its table."""

    def generated(self, load, text, notes=lambda text: None, **parameters):
        (outcome,) = run(
            load("text-generation"),
            [{"text": text}],
            notes=notes,
            parameters={"do_sample": False, **parameters},
        )
        return outcome

    @pytest.mark.parametrize("words", [5, 20, 60])
    def test_what_the_text_leaves(self, load, words):
        pipe, notes = load("text-generation"), []
        prompt = " ".join((WORDS * 10)[:words])
        room = 256 - len(pipe.tokenizer(prompt)["input_ids"])
        assert 0 < room < 256
        wanted = pipe(prompt, do_sample=False, max_new_tokens=room)
        assert_close(results([self.generated(load, prompt, notes.append)]), [wanted])
        assert notes == []

    def test_the_end_of_a_text_that_leaves_none(self, load):
        notes = []
        outcome = self.generated(load, "film " * 300, notes.append)
        assert outcome.error is None, outcome.error
        assert notes == ["of texts of more than 256 tokens, the last are taken that leave room for new ones"]

    @pytest.mark.parametrize("asked", [{"max_new_tokens": 4}, {"max_length": 12}])
    def test_what_was_asked_for_stands(self, load, asked):
        wanted = load("text-generation")("a film", do_sample=False, **asked)
        assert_close(results([self.generated(load, "a film", **asked)]), [wanted])

    def test_more_than_there_is_is_refused(self, load):
        outcome = self.generated(load, "a film", max_new_tokens=256)
        assert outcome.reason == "256 new tokens are asked for, and the model takes 256 with the text"

    @pytest.mark.parametrize(("text", "length"), [("a film", 257), ("film " * 300, 200)])
    def test_a_whole_length_that_does_not_fit_is_refused(self, load, text, length):
        tokens = len(load("text-generation").tokenizer(text)["input_ids"])
        outcome = self.generated(load, text, max_length=length)
        said = (
            f"max_length {length} is asked for and the text has {tokens} tokens, the model takes 256 in all"
        )
        assert outcome.reason == said


@pytest.mark.parametrize("parameters", [{}, {"truncation": True, "max_length": 6}], ids=str)
def test_several_threads_give_the_same(load, four_threads, parameters):
    pipe = load("text-classification")
    found = results(run(pipe, ROWS, batch_size=2, parameters=parameters))
    assert_close(found, [pipe(text, **parameters)[0] for text in TEXTS])


def test_a_window_of_images_is_small():
    assert window_rows(find_task("image-classification").task) == 16
    assert window_rows(find_task("text-classification").task) == 2048
