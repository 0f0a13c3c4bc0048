"""llmkit's visual question answering against 4.57.6, and where it means to differ."""

import json

import pytest
from PIL import Image
from transformers import AutoTokenizer, BlipForQuestionAnswering, ViltForQuestionAnswering
from transformers.models.auto.image_processing_auto import AutoImageProcessor
from transformers.pipelines.pt_utils import KeyDataset

from llmkit.tasks import visual_question_answering
from llmkit.tasks.visual_question_answering import VisualQuestionAnsweringPipeline
from tests.tasks.golden.running import HERE, IMAGES, MODELS, call, load

CASES = json.loads((HERE / "visual_question_answering.json").read_text(encoding="utf-8"))["cases"]
SQUARE, WIDE = (str(IMAGES / f"{name}.png") for name in ("square", "wide"))
QUESTIONS = ["How old are you?", "What is the capital of France, and who wrote the book?", "Why?"]


def pipeline_of(name, cls, **options):
    folder = MODELS / name
    return VisualQuestionAnsweringPipeline(
        model=cls.from_pretrained(folder).eval(),
        tokenizer=AutoTokenizer.from_pretrained(folder),
        image_processor=AutoImageProcessor.from_pretrained(folder),
        device="cpu",
        **options,
    )


@pytest.fixture(scope="module")
def vilt():
    return pipeline_of("vilt-vqa", ViltForQuestionAnswering)


@pytest.fixture(scope="module")
def blip():
    return pipeline_of("blip-vqa", BlipForQuestionAnswering, max_new_tokens=6)


def assert_same(given, expected):
    if isinstance(expected, list):
        assert isinstance(given, list) and len(given) == len(expected)
        for one, wanted in zip(given, expected, strict=True):
            assert_same(one, wanted)
    else:
        assert given == {
            key: pytest.approx(v, abs=1e-5) if key == "score" else v for key, v in expected.items()
        }


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_same_as_4_57_6(case):
    assert_same(call(load(case, visual_question_answering), case), case["expected"])


@pytest.mark.parametrize("batch_size", [1, 2, 3])
@pytest.mark.parametrize("name", ["vilt", "blip"])
def test_batching_does_not_change_answers(name, batch_size, request):
    pipe = request.getfixturevalue(name)
    alone = [pipe(image=SQUARE, question=asked) for asked in QUESTIONS]
    assert_same(pipe(image=SQUARE, question=QUESTIONS, batch_size=batch_size), alone)


def test_shapes_of_inputs(vilt):
    one = vilt(SQUARE, QUESTIONS[0])
    assert len(one) == 5
    record = {"image": Image.open(SQUARE), "question": QUESTIONS[0]}
    assert_same(vilt(record), one)
    assert_same(vilt([record]), [one])
    assert_same(vilt(image=[SQUARE], question=QUESTIONS[0]), [one])
    assert_same(list(vilt(r for r in [record])), [one])
    assert_same(vilt(image=KeyDataset([{"x": SQUARE}], "x"), question=QUESTIONS[:1]), [one])
    crossed = vilt(image=[SQUARE, WIDE], question=QUESTIONS[:2])
    assert_same(crossed, [vilt(image, asked) for asked in QUESTIONS[:2] for image in (SQUARE, WIDE)])


def test_a_generative_model_gives_every_answer_asked_for(blip):
    answers = blip(SQUARE, QUESTIONS, num_beams=3, num_return_sequences=2, batch_size=2)
    assert [len(found) for found in answers] == [2, 2, 2]
    assert answers[0] == blip(SQUARE, QUESTIONS[0], num_beams=3, num_return_sequences=2)


def test_generation_options_of_a_call_are_used(blip):
    """4.57.6 dropped them without a word."""
    longest = blip(SQUARE, QUESTIONS[0], min_new_tokens=6)[0]["answer"]
    assert len(blip(SQUARE, QUESTIONS[0], max_new_tokens=1, min_new_tokens=1)[0]["answer"]) < len(longest)


def test_calls_that_cannot_be_meant_are_refused(vilt, blip):
    with pytest.raises(ValueError, match="needs a question"):
        vilt(SQUARE)
    with pytest.raises(ValueError, match="top_k is 0: it should be 1 or more"):
        vilt(SQUARE, QUESTIONS[0], top_k=0)
    with pytest.raises(TypeError, match=r"topk.*did you mean top_k"):
        vilt(SQUARE, QUESTIONS[0], topk=2)
    with pytest.raises(TypeError, match="no option 'max_new_tokens'"):
        vilt(SQUARE, QUESTIONS[0], max_new_tokens=2)
    with pytest.raises(TypeError, match="did you mean max_new_tokens"):
        blip(SQUARE, QUESTIONS[0], max_new_token=2)
