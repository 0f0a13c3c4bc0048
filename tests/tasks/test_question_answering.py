"""llmkit's question answering against the answers of transformers 4.57.6, and where it means to differ."""

import json
import types
import warnings

import pytest
import torch
from transformers import AutoTokenizer, BertForQuestionAnswering
from transformers.pipelines.pt_utils import KeyDataset

from llmkit.tasks import answer_spans, question_answering
from llmkit.tasks.question_answering import QuestionAnsweringPipeline
from tests.tasks.golden.running import HERE, MODELS, call, load
from tests.tasks.golden.texts import STORY

CASES = json.loads((HERE / "question_answering.json").read_text(encoding="utf-8"))["cases"]
SHORT = "My name is Wolfgang and I live in Berlin."
ASK = "Where does Wolfgang live?"


@pytest.fixture(scope="module")
def parts():
    folder = MODELS / "bert-qa"
    model = BertForQuestionAnswering.from_pretrained(folder).eval()
    return {"model": model, "tokenizer": AutoTokenizer.from_pretrained(folder), "device": "cpu"}


@pytest.fixture(scope="module")
def pipe(parts):
    return QuestionAnsweringPipeline(**parts, task="question-answering")


def top_k_of(case):
    return case["kwargs"].get("top_k", case["init"].get("top_k", 1))


def best_of_chunks(chunks, with_null):
    """What 4.57.6 says of each chunk alone, put together by llmkit's rule: the likeliest of all chunks."""
    answers = list(chunks["best"])
    if with_null:
        answers.append({"score": chunks["null"], "start": 0, "end": 0, "answer": ""})
    return max(answers, key=lambda answer: answer["score"])


def assert_same(answer, expected):
    assert {**answer, "score": None} == {**expected, "score": None}
    assert answer["score"] == pytest.approx(expected["score"], abs=1e-5)


def padded_left(case):
    return case["tokenizer"].get("padding_side") == "left"


@pytest.mark.parametrize("case", [c for c in CASES if not padded_left(c)], ids=lambda case: case["id"])
def test_answers_as_4_57_6_does_chunk_by_chunk(case):
    result = call(load(case, question_answering), case)
    many = isinstance(case["kwargs"].get("question"), list) or isinstance((case["args"] or [""])[0], list)
    results = result if many else [result]
    with_null = case["kwargs"].get("handle_impossible_answer", False)
    for given, chunks in zip(results, case["chunks"], strict=True):
        assert isinstance(given, dict) == (top_k_of(case) == 1)
        assert_same(given if top_k_of(case) == 1 else given[0], best_of_chunks(chunks, with_null))
        known = {(0, 0): chunks["null"]}
        for one in sorted((a for found in chunks["answers"] for a in found), key=lambda a: a["score"]):
            known[one["start"], one["end"]] = one["score"]
        shared = [a for a in given if (a["start"], a["end"]) in known] if top_k_of(case) > 1 else []
        assert len(shared) >= min(top_k_of(case) - 1, 3)
        for answer in shared:
            # 4.57.6 pools more spans the more answers it is asked for, so its score is as high or higher.
            assert answer["score"] <= known[answer["start"], answer["end"]] + 1e-5


def single_chunk(case):
    return all(len(chunks["best"]) == 1 for chunks in case["chunks"]) and top_k_of(case) == 1


@pytest.mark.parametrize(
    "case", [c for c in CASES if single_chunk(c) and not padded_left(c)], ids=lambda case: case["id"]
)
def test_whole_result_is_that_of_4_57_6_where_chunks_do_not_overlap(case):
    result, expected = call(load(case, question_answering), case), case["expected"]
    if isinstance((case["args"] or [""])[0], list) and isinstance(expected, dict):
        expected = [expected]
    assert type(result) is type(expected)
    pairs = [(result, expected)] if isinstance(result, dict) else zip(result, expected, strict=True)
    for given, wanted in pairs:
        assert_same(given, wanted)


@pytest.mark.parametrize("case", [c for c in CASES if padded_left(c)], ids=lambda case: case["id"])
def test_a_tokenizer_that_pads_left_never_answers_from_the_question(case):
    """4.57.6 forgot the mask of the question there; with it the same spans score higher, never lower."""
    pipe = load(case, question_answering)
    result = call(pipe, case)
    answers = [a for given in result for a in (given if isinstance(given, list) else [given])]
    contexts = (
        [STORY] * len(answers) if isinstance((case["args"] or [""])[0], list) else [SHORT] * len(answers)
    )
    for answer, context in zip(answers, contexts, strict=True):
        assert answer["answer"] and context[answer["start"] : answer["end"]] == answer["answer"]
    by_hand = best_by_hand(pipe, {"question": ASK, "context": SHORT})
    assert pipe(question=ASK, context=SHORT, align_to_words=False, top_k=1)["score"] == pytest.approx(
        by_hand, abs=1e-6
    )


def best_by_hand(pipe, example):
    """The likeliest span of a one-chunk example, from the model's logits by the definition."""
    left = pipe.tokenizer.padding_side == "left"
    pair = (example["context"], example["question"]) if left else (example["question"], example["context"])
    encoded = pipe.tokenizer(*pair, return_tensors="pt", return_token_type_ids=True)
    sequence = encoded.sequence_ids(0)
    context = torch.tensor([s == (0 if left else 1) for s in sequence])
    among = context | (encoded["input_ids"][0] == pipe.tokenizer.cls_token_id)
    with torch.no_grad():
        output = pipe.model(**encoded)
    start, end = (
        torch.where(among, logits[0].double(), -torch.inf).softmax(-1) * context
        for logits in (output.start_logits, output.end_logits)
    )
    spans = [(i, j) for i in range(len(start)) for j in range(i, min(i + 15, len(start)))]
    return max((start[i] * end[j]).item() for i, j in spans)


def test_a_score_is_never_above_one_and_a_span_of_two_chunks_counts_once(pipe, monkeypatch):
    """4.57.6 added the probabilities of two chunks that overlap: a sure answer scored 2.0."""

    def sure_of(text):
        def forward(inputs):
            first = inputs["char_start"] == STORY.index(text)
            last = inputs["char_end"] == STORY.index(text) + len(text)
            return {"start": torch.where(first, 50.0, 0.0), "end": torch.where(last, 50.0, 0.0), **inputs}

        return forward

    monkeypatch.setattr(pipe, "_forward", sure_of("Wolfgang"))
    chunks = list(pipe.preprocess({"question": ASK, "context": STORY}, max_seq_len=60, doc_stride=40))
    seen = [c for c in chunks if (c["char_end"] == STORY.index("Wolfgang") + len("Wolfgang")).any()]
    assert len(seen) > 1
    answer = pipe(question=ASK, context=STORY, max_seq_len=60, doc_stride=40)
    assert answer["answer"] == "Wolfgang"
    assert 0.99 < answer["score"] <= 1.0


def test_the_same_text_at_two_places_is_one_answer_at_the_likelier_one(pipe, monkeypatch):
    context = "Berlin is far. " * 30 + "berlin"
    last = context.rindex("berlin")

    def forward(inputs):
        logits = torch.where(
            inputs["word_start"] == last, 9.0, torch.where(inputs["word_start"] == 0, 2.0, 0.0)
        )
        return {"start": logits, "end": logits, **inputs}

    monkeypatch.setattr(pipe, "_forward", forward)
    answers = pipe(question=ASK, context=context, max_seq_len=60, doc_stride=10, top_k=5)
    assert [a["answer"].lower() for a in answers].count("berlin") == 1
    assert (answers[0]["start"], answers[0]["answer"]) == (last, "berlin")


@pytest.mark.parametrize("context", [SHORT, STORY])
def test_the_best_answer_does_not_depend_on_top_k(pipe, context):
    best = pipe(question=ASK, context=context)
    for top_k in (2, 5, 30):
        assert pipe(question=ASK, context=context, top_k=top_k)[0] == best


def test_top_k_gives_that_many_different_answers_and_no_filler(pipe):
    answers = pipe(question=ASK, context=SHORT, top_k=20)
    assert len(answers) == len({a["answer"].lower() for a in answers}) == 20
    assert all(a["score"] > 0 and a["answer"].strip() for a in answers)
    assert [a["score"] for a in answers] == sorted((a["score"] for a in answers), reverse=True)
    few = pipe(question=ASK, context="Berlin", top_k=20)
    assert isinstance(few, list)
    assert all(a["score"] > 0 and a["answer"] for a in few)


def test_the_shape_follows_the_call_and_not_the_data(pipe):
    record = {"question": ASK, "context": SHORT}
    one, two = pipe(record), pipe(record, top_k=2)
    assert isinstance(one, dict)
    assert pipe(ASK, SHORT) == pipe(question=ASK, context=SHORT) == one
    assert (
        pipe([record])
        == pipe(question=[ASK], context=SHORT)
        == pipe(question=[ASK], context=[SHORT])
        == [one]
    )
    assert pipe([record], top_k=2) == [two] and len(two) == 2
    assert pipe([]) == []
    stream = pipe(item for item in [record])
    assert not isinstance(stream, list | dict)
    assert list(stream) == [one]
    assert list(pipe(KeyDataset([{"x": record}], "x"))) == [one]
    assert pipe(question=ASK, context=[SHORT, SHORT]) == [one, one]
    squad = types.SimpleNamespace(question_text=ASK, context_text=SHORT)
    assert pipe(squad) == one and pipe([squad, record]) == [one, one]
    assert pipe(pipe.create_sample(ASK, SHORT)) == one
    assert pipe(pipe.create_sample([ASK, ASK], [SHORT, SHORT])) == [one, one]


@pytest.mark.parametrize("batch_size", [1, 2, 3])
@pytest.mark.parametrize("padding_side", ["right", "left"])
def test_batching_does_not_change_answers(parts, batch_size, padding_side):
    tokenizer = AutoTokenizer.from_pretrained(MODELS / "bert-qa", padding_side=padding_side)
    pipe = QuestionAnsweringPipeline(**{**parts, "tokenizer": tokenizer})
    records = [
        {"question": q, "context": c} for q in (ASK, "Why?") for c in (SHORT, STORY, "Berlin, or Paris.")
    ]
    alone = [pipe(record, top_k=3, handle_impossible_answer=True) for record in records]
    for given, wanted in zip(
        pipe(records, top_k=3, handle_impossible_answer=True, batch_size=batch_size), alone, strict=True
    ):
        for answer, expected in zip(given, wanted, strict=True):
            assert_same(answer, expected)


@pytest.mark.parametrize(
    ("inputs", "error", "words"),
    [
        ({"question": ASK, "context": ""}, ValueError, "context is empty"),
        ({"question": ASK, "context": " \n\t"}, ValueError, "context is empty"),
        ({"question": "", "context": SHORT}, ValueError, "question is empty"),
        ({"question": None, "context": SHORT}, ValueError, "question is missing"),
        ({"question": ASK, "context": 3}, ValueError, "context should be a string, not int"),
        ({"question": ASK}, KeyError, "'context' is missing"),
        ("a lone string", ValueError, "question= and context="),
    ],
)
def test_inputs_that_cannot_be_answered_are_named(pipe, inputs, error, words):
    with pytest.raises(error, match=words):
        pipe(inputs)


def test_lists_of_different_lengths_are_refused(pipe):
    with pytest.raises(ValueError, match="2 questions and 1 contexts"):
        pipe(question=[ASK, ASK], context=[SHORT])


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"topp_k": 3}, TypeError, "topp_k.*did you mean top_k"),
        ({"max_seq_length": 3}, TypeError, "did you mean max_seq_len"),
        ({"top_k": 0}, ValueError, "top_k is 0: it should be 1 or more"),
        ({"max_answer_len": 0}, ValueError, "max_answer_len is 0: it should be 1 or more"),
        (
            {"doc_stride": 70, "max_seq_len": 60},
            ValueError,
            "doc_stride .70. is larger than max_seq_len .60.",
        ),
        ({"doc_stride": 55, "max_seq_len": 60}, ValueError, "doc_stride=55 is too large.*leaves 4. tokens"),
        ({"max_seq_len": 9}, ValueError, "take all of max_seq_len=9"),
    ],
)
def test_options_that_cannot_work_are_named(pipe, options, error, words):
    with pytest.raises(error, match=words):
        pipe(question=ASK, context=STORY, **options)


def test_a_misspelt_option_is_refused_at_construction(parts):
    with pytest.raises(TypeError, match="did you mean align_to_words"):
        QuestionAnsweringPipeline(**parts, align_to_word=False)


def test_a_default_stride_that_does_not_fit_is_made_smaller(pipe):
    """4.57.6 passed it on, and the tokenizer panicked."""
    question = "Where is the Eiffel Tower, and when did Wolfgang live in Berlin with the dog?"
    answer = pipe(question=question, context=STORY, max_seq_len=50)
    assert STORY[answer["start"] : answer["end"]] == answer["answer"]


def test_max_seq_len_above_the_model_is_the_model_s(pipe, parts):
    with pytest.warns(UserWarning, match="max_seq_len=999 .* using 128"):
        answer = pipe(question=ASK, context=STORY, max_seq_len=999)
    assert answer == pipe(question=ASK, context=STORY, max_seq_len=128)
    # A tokenizer that does not say how much its model takes.
    unlimited = AutoTokenizer.from_pretrained(MODELS / "bert-qa", model_max_length=10**30)
    assert (
        QuestionAnsweringPipeline(**{**parts, "tokenizer": unlimited})(question=ASK, context=STORY) == answer
    )


def test_a_long_question_is_cut_to_max_question_len(pipe):
    long = "Where does Wolfgang live? " * 20
    with pytest.warns(UserWarning, match="cut to max_question_len=6"):
        answer = pipe(question=long, context=SHORT, max_question_len=6)
    kept = pipe.tokenizer(long, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"][5][1]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert pipe(question=long[:kept], context=SHORT) == answer


def test_probability_goes_to_context_tokens_only_however_low_their_logits(pipe, monkeypatch):
    """4.57.6 masked with -10000, which a context logit can be below."""

    def forward(inputs):
        logits = torch.where(inputs["in_context"] == 1, -1e6, 0.0)
        logits[inputs["is_cls"] == 1] = -1e9
        logits[:, -2] += 100.0
        return {"start": logits, "end": logits, **inputs}

    monkeypatch.setattr(pipe, "_forward", forward)
    assert pipe(question=ASK, context=SHORT)["score"] == pytest.approx(1.0)


def test_the_cls_is_the_special_token_and_not_its_name_in_the_text(pipe, parts):
    example = {"question": ASK, "context": "Berlin [CLS] Paris"}
    (chunk,) = pipe.preprocess(example)
    assert (chunk["input_ids"] == pipe.tokenizer.cls_token_id).sum() == 2
    assert chunk["is_cls"].nonzero().tolist() == [[0, 0]]
    # Padded in front to a fixed length, the first token is padding and the CLS is not.
    tokenizer = AutoTokenizer.from_pretrained(MODELS / "bert-qa", padding_side="left")
    left = QuestionAnsweringPipeline(**{**parts, "tokenizer": tokenizer})
    options = {"handle_impossible_answer": True, "top_k": 50, "max_answer_len": 1}
    plain = left(question=ASK, context=SHORT, **options)
    padded = left(question=ASK, context=SHORT, padding="max_length", max_seq_len=90, **options)
    null, padded_null = ([a["score"] for a in found if a["answer"] == ""] for found in (plain, padded))
    assert len(null) == 1 and null[0] > 0
    assert padded_null == pytest.approx(null, rel=1e-3)


def test_a_slow_tokenizer_is_refused(parts):
    slow = types.SimpleNamespace(is_fast=False)
    with pytest.raises(ValueError, match="fast tokenizer"):
        QuestionAnsweringPipeline(**{**parts, "tokenizer": slow})


def test_scores_of_spans_that_pool_add_up_within_a_chunk(pipe):
    """The score of the best answer is the sum of the likeliest 12 token spans that give its text."""
    example = {"question": ASK, "context": SHORT}
    chunk = answer_spans.Chunk(pipe.forward(next(iter(pipe.preprocess(example)))), align_to_words=True)
    spans = [span for _, span in zip(range(answer_spans.POOLED_SPANS), chunk._spans(15), strict=False)]
    by_text = {}
    for first, last, score in spans:
        start, end = chunk._offsets(first, last)
        by_text[SHORT[start:end].lower()] = by_text.get(SHORT[start:end].lower(), 0.0) + score
    assert pipe(**example)["score"] == pytest.approx(max(by_text.values()))
    assert max(by_text.values()) > max(score for _, _, score in spans)
