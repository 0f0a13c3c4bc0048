"""llmkit's text-to-text pipelines against 4.57.6, and where they mean to differ."""

import copy
import json
import math

import pytest
import torch
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer, GenerationConfig
from transformers.pipelines.pt_utils import KeyDataset

from llmkit.tasks import text_to_text
from llmkit.tasks.text_to_text import (
    ReturnType,
    SummarizationPipeline,
    Text2TextGenerationPipeline,
    TranslationPipeline,
)
from tests.tasks.golden.running import HERE, MODELS, call, load, plain
from tests.tasks.golden.texts import STORY

CASES = json.loads((HERE / "text_to_text.json").read_text(encoding="utf-8"))["cases"]
TEXTS = ["The quick brown fox jumps over the lazy dog.", "How old are you?", STORY[:80]]


def parts(name):
    folder = MODELS / name
    model = AutoModelForSeq2SeqLM.from_pretrained(folder).eval()
    return {"model": model, "tokenizer": AutoTokenizer.from_pretrained(folder), "device": "cpu"}


@pytest.fixture
def t5():
    return parts("t5")


@pytest.fixture
def bart():
    return parts("bart")


@pytest.fixture
def mbart():
    return parts("mbart50")


def generate_calls(pipe, monkeypatch):
    """Record the keyword arguments of every `generate()` of the pipeline's model."""
    calls, generate = [], pipe.model.generate

    def recorded(*args, **kwargs):
        calls.append(kwargs)
        return generate(*args, **kwargs)

    monkeypatch.setattr(pipe.model, "generate", recorded)
    return calls


def ids_of(pipe, text=TEXTS[0], **options):
    return pipe(text, return_tensors=True, **options)[0][f"{pipe.return_name}_token_ids"]


def unpadded(value, pad):
    """Recorded token ids without the padding that 4.57.6 left behind the shorter ones of a batch."""
    if isinstance(value, dict):
        return {key: unpadded(item, pad) for key, item in value.items()}
    if isinstance(value, list) and value and isinstance(value[0], int):
        while value[-1] == pad and len(value) > 1:
            value = value[:-1]
        return value
    return [unpadded(item, pad) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_same_as_4_57_6(case):
    pipe = load(case, text_to_text)
    assert plain(call(pipe, case)) == unpadded(case["expected"], pipe.tokenizer.pad_token_id)


@pytest.mark.parametrize("batch_size", [1, 2, 3])
@pytest.mark.parametrize("name", ["t5", "bart"])
def test_batching_does_not_change_results(name, batch_size, request):
    pipe = Text2TextGenerationPipeline(**request.getfixturevalue(name), max_new_tokens=8)
    options = {"return_scores": True, "return_tensors": True, "return_text": True}
    alone = [pipe(text, **options)[0] for text in TEXTS]
    for given, wanted in zip(pipe(TEXTS, batch_size=batch_size, **options), alone, strict=True):
        assert given["generated_text"] == wanted["generated_text"]
        assert given["generated_token_ids"].tolist() == wanted["generated_token_ids"].tolist()
        assert given["score"] == pytest.approx(wanted["score"], abs=1e-5)


def test_shapes_of_inputs(t5):
    pipe = Text2TextGenerationPipeline(**t5, max_new_tokens=5)
    alone = [pipe(text) for text in TEXTS]
    assert all(list(records[0]) == ["generated_text"] and len(records) == 1 for records in alone)
    assert pipe(TEXTS) == [records[0] for records in alone]
    assert pipe([]) == []
    stream = pipe(text for text in TEXTS)
    assert not isinstance(stream, list)
    assert list(stream) == alone
    assert list(pipe(KeyDataset([{"x": text} for text in TEXTS], "x"))) == alone
    with pytest.raises(TypeError, match="a string, not int"):
        pipe(3)
    with pytest.raises(TypeError, match="a string, not list"):
        list(pipe(texts for texts in [TEXTS]))


def test_max_length_of_the_caller_is_honoured(t5, monkeypatch, caplog):
    """4.57.6 let the pipeline's own max_new_tokens=256 win over it."""
    pipe = Text2TextGenerationPipeline(**t5)
    calls = generate_calls(pipe, monkeypatch)
    with caplog.at_level("WARNING"):
        ids = ids_of(pipe, max_length=5, min_length=5)
    assert len(ids) == 5
    assert calls[0]["max_length"] == 5 and calls[0]["max_new_tokens"] is None
    assert len(ids_of(Text2TextGenerationPipeline(**t5, max_length=4, min_length=4))) == 4
    assert "max_new_tokens" not in caplog.text


def test_max_new_tokens_of_a_call_wins_over_other_lengths(bart, caplog):
    """Over the model's max_length=24, over one given at construction, and no library warns of a conflict."""
    pipe = Text2TextGenerationPipeline(**bart, max_length=9)
    assert len(ids_of(pipe, max_new_tokens=3, min_new_tokens=3)) == 4
    assert len(ids_of(pipe, min_length=9)) == 9
    assert "Both `max_new_tokens`" not in caplog.text


def test_the_models_own_settings_win_over_the_pipelines_defaults(mbart, monkeypatch):
    """4.57.6 said so, and did the opposite where the pipeline had a default."""
    mbart["model"].generation_config.num_beams = 2
    pipe = TranslationPipeline(**mbart, task="translation_en_XX_to_fr_XX", src_lang="en_XX", tgt_lang="fr_XX")
    calls = generate_calls(pipe, monkeypatch)
    pipe(TEXTS[0])
    assert "num_beams" not in calls[0] and "max_new_tokens" not in calls[0]
    assert len(ids_of(pipe, min_new_tokens=12)) == 13


def test_a_max_length_of_the_task_is_honoured(t5):
    pipe = SummarizationPipeline(**t5, task="summarization")
    assert 4 <= len(ids_of(pipe, STORY[:80])) <= 14
    assert len(ids_of(pipe, STORY[:80], max_length=6, min_length=6)) == 6


def test_construction_wins_over_task_specific_params(t5, monkeypatch):
    pipe = SummarizationPipeline(**t5, task="summarization", num_beams=1, max_new_tokens=5)
    calls = generate_calls(pipe, monkeypatch)
    pipe(TEXTS[0])
    assert (calls[0]["num_beams"], calls[0]["max_new_tokens"], calls[0]["max_length"]) == (1, 5, None)
    assert calls[0]["no_repeat_ngram_size"] == 3


def test_a_generation_config_stands_for_itself(t5, monkeypatch):
    config = GenerationConfig(max_new_tokens=4, num_beams=2)
    pipe = SummarizationPipeline(**t5, task="summarization", generation_config=config)
    calls = generate_calls(pipe, monkeypatch)
    pipe(TEXTS[0])
    pipe(TEXTS[0], max_new_tokens=3)
    pipe(TEXTS[0], generation_config=GenerationConfig(max_new_tokens=2))
    assert [(c["max_new_tokens"], c.get("num_beams")) for c in calls] == [(4, 2), (3, 2), (2, None)]
    assert "no_repeat_ngram_size" not in calls[0]


def test_a_second_pipeline_on_the_same_model_keeps_its_prefix(t5):
    """4.57.6 took the prefix out of the model's config."""
    before = copy.deepcopy(t5["model"].config.to_dict())
    generation = copy.deepcopy(t5["model"].generation_config.to_dict())
    first, second = (TranslationPipeline(**t5, task="translation_en_to_fr") for _ in range(2))
    assert first.prefix == second.prefix == "translate English to French: "
    assert first(TEXTS[0], max_new_tokens=5) == second(TEXTS[0], max_new_tokens=5)
    assert t5["model"].config.to_dict() == before
    assert t5["model"].generation_config.to_dict() == generation


def test_the_prefix_is_read_by_the_model(t5, bart):
    prefixed = TranslationPipeline(**t5, task="translation_en_to_fr")
    ids = prefixed.preprocess(TEXTS[1])["input_ids"]
    assert ids.tolist()[0] == t5["tokenizer"]("translate English to French: " + TEXTS[1])["input_ids"]
    ids = Text2TextGenerationPipeline(**bart).preprocess(TEXTS[1])["input_ids"]
    assert ids.tolist()[0] == bart["tokenizer"]("context: " + TEXTS[1])["input_ids"]


def test_a_bare_translation_takes_the_first_pair_and_says_so(t5):
    # Saved configs have their keys in alphabetical order.
    with pytest.warns(UserWarning, match="taking 'translation_en_to_de'"):
        pipe = TranslationPipeline(**t5, task="translation")
    assert pipe.prefix == "translate English to German: "


@pytest.mark.parametrize(
    ("option", "near"),
    [("max_new_token", "max_new_tokens"), ("num_beam", "num_beams"), ("stop_sequences", "stop_sequence")],
)
def test_a_misspelt_option_is_refused(t5, option, near):
    with pytest.raises(TypeError, match=f"{option}.*did you mean {near}"):
        Text2TextGenerationPipeline(**t5)(TEXTS[0], **{option: 2})
    with pytest.raises(TypeError, match=f"{option}.*did you mean {near}"):
        Text2TextGenerationPipeline(**t5, **{option: 2})


def test_arguments_of_generate_that_are_no_settings_are_taken(t5):
    pipe = Text2TextGenerationPipeline(**t5, max_new_tokens=4, num_beams=1)
    allowed = pipe.tokenizer.convert_tokens_to_ids("▁the")
    ids = ids_of(pipe, prefix_allowed_tokens_fn=lambda batch, sequence: [allowed])
    assert ids.tolist() == [0, allowed, allowed, allowed, allowed]
    start = torch.tensor([[0, allowed]])
    assert ids_of(pipe, decoder_input_ids=start).tolist()[:2] == [0, allowed]


def test_stop_sequence_is_the_whole_sequence(t5):
    """4.57.6 stopped at the first token of it."""
    pipe = Text2TextGenerationPipeline(**t5, num_beams=1, max_new_tokens=14, no_repeat_ngram_size=1)
    whole = pipe(TEXTS[0], min_new_tokens=14)[0]["generated_text"]
    ids = ids_of(pipe, min_new_tokens=14)
    stop = pipe.tokenizer.decode(ids[1:6])[len(pipe.tokenizer.decode(ids[1:3])) :].strip()
    stopped = pipe(TEXTS[0], min_new_tokens=14, stop_sequence=stop)[0]["generated_text"]
    first = pipe.tokenizer(stop, add_special_tokens=False)["input_ids"][0]
    assert stopped == whole[: whole.index(stop) + len(stop)] != whole
    assert len(stopped) > len(pipe.tokenizer.decode([*ids[1:3], first]))
    several = pipe(TEXTS[0], min_new_tokens=14, stop_sequence=["never there", stop])
    assert several[0]["generated_text"] == stopped


def test_return_parts(t5):
    pipe = Text2TextGenerationPipeline(**t5, max_new_tokens=4)
    assert list(pipe("a", return_tensors=True)[0]) == ["generated_token_ids"]
    assert list(pipe("a", return_type=ReturnType.TENSORS)[0]) == ["generated_token_ids"]
    assert list(pipe("a", return_tensors=True, return_text=True)[0]) == [
        "generated_text",
        "generated_token_ids",
    ]
    assert list(pipe("a", return_tensors=False)[0]) == ["generated_text"]
    with pytest.raises(ValueError, match="return_text=False needs return_tensors=True"):
        pipe("a", return_text=False)


def log_probs_by_hand(pipe, text, ids):
    """Mean log-probability of the ids behind the start token, by one teacher-forced forward pass."""
    inputs = pipe.preprocess(text)
    with torch.no_grad():
        logits = pipe.model(**inputs, decoder_input_ids=ids[None, :-1]).logits[0]
    return logits.double().log_softmax(-1).gather(1, ids[1:, None]).mean().item()


@pytest.mark.parametrize("name", ["t5", "bart"])
@pytest.mark.parametrize(
    "options", [{"num_beams": 1}, {"num_beams": 4}, {"num_beams": 3, "num_return_sequences": 3}]
)
def test_score_is_exp_of_the_mean_log_probability(name, options, request):
    pipe = Text2TextGenerationPipeline(**request.getfixturevalue(name), max_new_tokens=9)
    for text in TEXTS:
        for record in pipe(text, return_tensors=True, return_scores=True, **options):
            by_hand = math.exp(log_probs_by_hand(pipe, text, record["generated_token_ids"]))
            assert 0 < record["score"] <= 1
            assert record["score"] == pytest.approx(by_hand, abs=1e-5)


def test_scores_can_be_asked_for_at_construction(t5):
    pipe = SummarizationPipeline(**t5, task="summarization", return_scores=True)
    assert list(pipe(TEXTS[0])[0]) == ["summary_text", "score"]
    assert list(pipe(TEXTS[0], return_scores=False)[0]) == ["summary_text"]


def test_languages_given_at_construction_win_over_the_task(mbart):
    """4.57.6 went back to those of the task at the first call that named none."""
    pipe = TranslationPipeline(**mbart, task="translation_en_to_fr", src_lang="de_DE", tgt_lang="ro_RO")
    ids = ids_of(pipe)
    assert ids[1] == pipe.tokenizer.convert_tokens_to_ids("ro_RO")


@pytest.mark.parametrize(
    ("languages", "words"),
    [
        ({"src_lang": "en_XX", "tgt_lang": "fr"}, "tgt_lang='fr' is no language.*did you mean fr_XX"),
        ({"src_lang": "en_XY", "tgt_lang": "fr_XX"}, "src_lang='en_XY' is no language.*did you mean en_XX"),
        ({"src_lang": "en_XX"}, "tgt_lang is needed"),
    ],
)
def test_an_unknown_language_is_named(mbart, languages, words):
    """4.57.6 took the unknown token for it, and translated into nothing in particular."""
    with pytest.raises(ValueError, match=words):
        TranslationPipeline(**mbart, task="translation")(TEXTS[0], **languages)


def test_warnings_about_lengths(t5, caplog):
    SummarizationPipeline(**t5)("How old?", max_length=50, num_beams=1, min_length=60)
    assert "min_length=60 is more than max_length=50" in caplog.text
    assert "a lower max_length" in caplog.text
    caplog.clear()
    TranslationPipeline(**t5)(TEXTS[0], max_length=5)
    assert "a higher max_length" in caplog.text
    caplog.clear()
    TranslationPipeline(**t5)(TEXTS[0], max_new_tokens=5)
    assert caplog.text == ""
