"""llmkit's image-to-text against 4.57.6, and where it means to differ."""

import json

import pytest
from PIL import Image
from transformers import AutoTokenizer, VisionEncoderDecoderModel
from transformers.models.auto.image_processing_auto import AutoImageProcessor

from llmkit.tasks import image_to_text
from llmkit.tasks.image_to_text import ImageToTextPipeline
from tests.tasks.golden.running import HERE, IMAGES, MODELS, call, load

CASES = json.loads((HERE / "image_to_text.json").read_text(encoding="utf-8"))["cases"]
FILES = [str(IMAGES / f"{name}.png") for name in "abc"]


@pytest.fixture(scope="module")
def parts():
    folder = MODELS / "vit-gpt2"
    return {
        "model": VisionEncoderDecoderModel.from_pretrained(folder).eval(),
        "tokenizer": AutoTokenizer.from_pretrained(folder),
        "image_processor": AutoImageProcessor.from_pretrained(folder),
        "device": "cpu",
    }


@pytest.fixture(scope="module")
def pipe(parts):
    return ImageToTextPipeline(**parts, max_new_tokens=8)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_same_as_4_57_6(case):
    assert call(load(case, image_to_text), case) == case["expected"]


@pytest.mark.parametrize("batch_size", [1, 2, 3])
def test_batching_does_not_change_texts(pipe, batch_size):
    options = {"num_return_sequences": 2, "num_beams": 3}
    alone = [pipe(file, **options) for file in FILES]
    assert all(len(records) == 2 for records in alone)
    assert pipe(FILES, batch_size=batch_size, **options) == alone


def test_shapes_of_inputs(pipe):
    one = pipe(FILES[0])
    assert pipe(Image.open(FILES[0])) == pipe(images=FILES[0]) == one
    assert pipe(FILES[:1]) == [one]
    assert pipe([]) == []
    assert list(pipe(file for file in FILES[:1])) == [one]
    with pytest.raises(ValueError, match="needs an image"):
        pipe()


def test_length_of_the_caller_wins(pipe):
    short = pipe(FILES[0], max_new_tokens=2)[0]["generated_text"]
    assert pipe(FILES[0])[0]["generated_text"].startswith(short)
    assert pipe(FILES[0], max_length=3) == pipe(FILES[0], max_new_tokens=2)
    assert pipe(FILES[0], generate_kwargs={"max_length": 3}) == pipe(FILES[0], max_new_tokens=2)


def test_without_a_length_it_ends_where_the_decoder_has_no_more_positions(parts):
    model = VisionEncoderDecoderModel.from_pretrained(MODELS / "vit-gpt2").eval()
    model.generation_config.max_length = model.generation_config.max_new_tokens = None
    pipe = ImageToTextPipeline(**{**parts, "model": model})
    positions = model.config.decoder.max_position_embeddings
    assert positions < 256, "the default would be an error"
    assert pipe(FILES[0]) == pipe(FILES[0], max_new_tokens=positions - 1)


def test_options_that_cannot_be_meant_are_refused(pipe):
    with pytest.raises(ValueError, match="max_new_tokens is given both"):
        pipe(FILES[0], max_new_tokens=2, generate_kwargs={"max_new_tokens": 3})
    with pytest.raises(TypeError, match=r"max_new_token'.*did you mean max_new_tokens"):
        pipe(FILES[0], max_new_token=2)
    with pytest.raises(TypeError, match="did you mean num_beams"):
        pipe(FILES[0], generate_kwargs={"num_beam": 2})
    with pytest.raises(ValueError, match="takes no prompt"):
        pipe(FILES[0], prompt="a photo of")
    with pytest.raises(ValueError, match="should be a string, not int"):
        pipe(FILES[0], prompt=3)
