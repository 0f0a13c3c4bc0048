"""Texts longer than the model takes, and the room that they leave for new tokens, as a task runs over them."""

import re

import pytest

from llmkit.errors import UsageError
from tests.inference.running import DRAW, GREEDY, WORDS, assert_close, results, run, runner, window


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
            with pytest.raises(UsageError, match=f"--max-length {least - 1}: it should be {least} or more"):
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
        wanted = load("text-generation")("a film", do_sample=False, **{"max_new_tokens": None, **asked})
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
