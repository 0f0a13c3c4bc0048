"""Runs a case on a pipeline: on that of transformers 4.57.6 when it is recorded, on llmkit's own in the tests."""

import json
from pathlib import Path

import numpy as np
import torch
import transformers
from PIL import Image
from transformers import AutoTokenizer, GenerationConfig
from transformers.models.auto.image_processing_auto import AutoImageProcessor
from transformers.pipelines.pt_utils import KeyDataset

HERE = Path(__file__).parent
MODELS = HERE / "models"
IMAGES = HERE / "images"


def resolved(value):
    """Return the value with every "image:NAME" opened."""
    if isinstance(value, str) and value.startswith("image:"):
        return Image.open(IMAGES / value.removeprefix("image:"))
    if isinstance(value, list):
        return [resolved(item) for item in value]
    if isinstance(value, dict):
        return {key: resolved(item) for key, item in value.items()}
    return value


def call(pipe, one):
    """Run one case on a pipeline; a stream is used up into a list."""
    args, kwargs = resolved(one["args"]), resolved(one["kwargs"])
    if "generation_config" in kwargs:
        kwargs["generation_config"] = GenerationConfig(**kwargs["generation_config"])
    if one["stream"] == "generator":
        args[0] = (item for item in args[0])
    elif one["stream"] == "dataset":
        args[0] = KeyDataset([{"column": item} for item in args[0]], "column")
    result = pipe(*args, **kwargs)
    return list(result) if one["stream"] else result


def load(one, classes):
    folder = MODELS / one["model"]
    config = json.loads((folder / "config.json").read_text())
    parts = {"model": getattr(transformers, config["architectures"][0]).from_pretrained(folder).eval()}
    if (folder / "tokenizer.json").exists():
        parts["tokenizer"] = AutoTokenizer.from_pretrained(folder, **one["tokenizer"])
    if (folder / "preprocessor_config.json").exists():
        parts["image_processor"] = AutoImageProcessor.from_pretrained(folder)
    return getattr(classes, one["class"])(**parts, task=one["task"], device="cpu", **one["init"])


def plain(value):
    """Return the result with tensors as lists and images as {"size", "pixels"}."""
    if isinstance(value, torch.Tensor):
        return value.tolist()
    if isinstance(value, Image.Image):
        return {"size": list(value.size), "pixels": np.asarray(value).reshape(-1).tolist()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value
