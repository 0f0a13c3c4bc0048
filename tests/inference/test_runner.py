"""A task over windows of rows: the pipeline's own results, whatever goes through the model together."""

import functools

import pytest
import torch
import transformers

from llmkit.inference.items import RunSettings
from llmkit.inference.runner import window_rows
from llmkit.tasks.catalogue import find_task
from tests.inference.running import GREEDY, ROWS, TEXTS, assert_close, results, run, runner, window

LABELS = ["politics", "sports", "music"]
SAMPLED = {"do_sample": True, "max_new_tokens": 8, "temperature": 2.0}
each_size = pytest.mark.parametrize("batch_size", [None, 1, 3, 64])


@pytest.fixture(scope="module")
def reference(tiny):
    """transformers' own pipeline on the same model."""

    @functools.cache
    def loaded(task):
        return transformers.pipeline(task, model=str(tiny(task)), device="cpu")

    return loaded


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


@pytest.mark.parametrize("parameters", [{}, {"truncation": True, "max_length": 6}], ids=str)
def test_several_threads_give_the_same(load, four_threads, parameters):
    pipe = load("text-classification")
    found = results(run(pipe, ROWS, batch_size=2, parameters=parameters))
    assert_close(found, [pipe(text, **parameters)[0] for text in TEXTS])


def test_a_window_of_images_is_small():
    assert window_rows(find_task("image-classification").task) == 16
    assert window_rows(find_task("text-classification").task) == 2048
