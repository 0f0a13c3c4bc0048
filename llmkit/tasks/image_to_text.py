"""A text for an image: captions, and reading what is written in it.

Gives transformers 5 back the task `image-to-text`, which 4.57.6 still had
(https://github.com/huggingface/transformers/pull/43306). `docs/differences.md` lists where this differs on
purpose.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers.image_utils import load_image
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

from llmkit.tasks.generation import GeneratingPipeline


class ImageToTextPipeline(GeneratingPipeline):
    """Image to text with any `AutoModelForImageTextToText`: a list of `{"generated_text": str}` for each
    image.

    Where neither the model nor the caller says otherwise, at most 256 new tokens.
    """

    _load_tokenizer = True
    _load_image_processor = True
    _load_feature_extractor = False
    _load_processor = False
    _load_video_processor = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.check_model_type(MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES)

    def __call__(self, inputs: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Run on an image (a path, a URL, a `PIL.Image`), a list of them, a data set or a generator.

        An image gives a list of records, a list a list of such lists, a data set or generator an iterator of
        them. Raises ValueError without an image.
        """
        inputs = kwargs.pop("images", inputs)
        if inputs is None:
            raise ValueError("image-to-text needs an image")
        return super().__call__(inputs, *args, **kwargs)

    def _sanitize_parameters(
        self,
        max_new_tokens: int | None = None,
        generate_kwargs: dict[str, Any] | None = None,
        prompt: str | None = None,
        timeout: float | None = None,
        **model_kwargs: Any,
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        if max_new_tokens is not None:
            model_kwargs["max_new_tokens"] = max_new_tokens
        twice = model_kwargs.keys() & (generate_kwargs or {}).keys()
        if twice:
            raise ValueError(
                f"{min(twice)} is given both as an option and inside generate_kwargs: give it once"
            )
        preprocess = {"prompt": prompt, "timeout": timeout}
        return (
            {name: value for name, value in preprocess.items() if value is not None},
            self._checked_settings({**(generate_kwargs or {}), **model_kwargs}),
            {},
        )

    def preprocess(self, image: Any, prompt: str | None = None, timeout: float | None = None) -> Any:
        """Return the model inputs of one image and, where the model continues a prompt, of its tokens.

        Raises ValueError for a prompt that is no string, or that the model cannot take; `timeout` is in
        seconds.
        """
        loaded = load_image(image, timeout=timeout)
        if prompt is None:
            return self._pixels(loaded)
        if not isinstance(prompt, str):
            raise ValueError(f"the prompt should be a string, not {type(prompt).__name__}")
        model_type = self.model.config.model_type
        if model_type == "vision-encoder-decoder":
            raise ValueError(f"a {model_type} model takes no prompt: its text comes from the image alone")
        if model_type == "pix2struct":
            # It reads the prompt from the image, as a line written above it.
            return self._pixels(loaded, header_text=prompt)
        features = self._pixels(loaded)
        if model_type == "git":
            # A caption that has begun, not a finished one: the end token must not follow the prompt.
            ids = self.tokenizer(prompt, add_special_tokens=False).input_ids
            features.update({"input_ids": torch.tensor([[self.tokenizer.cls_token_id, *ids]])})
        else:
            features.update(self.tokenizer(prompt, return_tensors="pt"))
        return features

    def _pixels(self, image: Any, **options: Any) -> Any:
        return self.image_processor(images=image, return_tensors="pt", **options).to(self.dtype)

    def _forward(self, model_inputs: Any, settings: dict[str, Any] | None = None) -> dict[str, torch.Tensor]:
        return self._generate(model_inputs, settings)

    def postprocess(self, model_outputs: dict[str, torch.Tensor]) -> list[dict[str, str]]:
        """Return one record for each text generated from one image."""
        return [
            {"generated_text": self.tokenizer.decode(ids, skip_special_tokens=True)}
            for ids in model_outputs["output_ids"][0]
        ]
