"""llmkit's image-to-image against 4.57.6, and where it means to differ."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import Swin2SRForImageSuperResolution
from transformers.models.auto.image_processing_auto import AutoImageProcessor

from llmkit.tasks import image_to_image
from llmkit.tasks.image_to_image import ImageToImagePipeline
from tests.tasks.golden.running import HERE, IMAGES, MODELS, call, load

CASES = json.loads((HERE / "image_to_image.json").read_text(encoding="utf-8"))["cases"]
FILES = [str(IMAGES / f"{name}.png") for name in "abc"]


@pytest.fixture(scope="module")
def pipe():
    folder = MODELS / "swin2sr"
    return ImageToImagePipeline(
        model=Swin2SRForImageSuperResolution.from_pretrained(folder).eval(),
        image_processor=AutoImageProcessor.from_pretrained(folder),
        device="cpu",
    )


def assert_same(image, size, pixels):
    assert list(image.size) == size
    # A value on the edge between two shades may round either way.
    assert np.abs(np.asarray(image).reshape(-1).astype(int) - np.array(pixels)).max() <= 1


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_same_as_4_57_6(case):
    result, expected = call(load(case, image_to_image), case), case["expected"]
    assert isinstance(result, list) == isinstance(expected, list)
    pairs = zip(result, expected, strict=True) if isinstance(result, list) else [(result, expected)]
    for image, recorded in pairs:
        assert_same(image, **recorded)


@pytest.mark.parametrize("batch_size", [1, 2, 3])
def test_batching_does_not_change_images(pipe, batch_size):
    alone = [pipe(file) for file in FILES]
    for given, wanted in zip(pipe(FILES, batch_size=batch_size), alone, strict=True):
        assert_same(given, list(wanted.size), np.asarray(wanted).reshape(-1))


def test_shapes_of_inputs(pipe):
    one = pipe(FILES[0])
    assert isinstance(one, Image.Image)
    assert pipe(FILES[:1]) == [one]
    assert pipe([]) == []
    assert list(pipe(file for file in FILES[:1])) == [one]


def test_one_channel_gives_a_grey_image_the_right_way_round(pipe):
    """4.57.6 turned it on its side."""
    values = torch.tensor([[[[0.0, 0.5, 1.0], [0.25, 2.0, -1.0]]]])
    image = pipe.postprocess({"reconstruction": values})
    assert (image.mode, image.size) == ("L", (3, 2))
    assert np.asarray(image).tolist() == [[0, 128, 255], [64, 255, 0]]


def test_options_and_models_that_cannot_do_it_are_refused(pipe, monkeypatch):
    with pytest.raises(TypeError, match=r"timeot.*did you mean timeout"):
        pipe(FILES[0], timeot=3)
    monkeypatch.setattr(pipe.model, "forward", lambda **inputs: {"logits": inputs["pixel_values"]})
    with pytest.raises(ValueError, match="gives no reconstructed image"):
        pipe(FILES[0])
