"""Questions about an image, answered by choosing among known answers or by writing one.

Gives transformers 5 back the task `visual-question-answering`, which 4.57.6 still had
(https://github.com/huggingface/transformers/pull/43325). `docs/differences.md` lists where this differs on
purpose.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch.nn.functional import pad
from transformers.image_utils import load_image
from transformers.models.auto.modeling_auto import MODEL_FOR_VISUAL_QUESTION_ANSWERING_MAPPING_NAMES
from transformers.pipelines.pt_utils import KeyDataset

from llmkit.tasks.generation import GeneratingPipeline, reject_unknown


class VisualQuestionAnsweringPipeline(GeneratingPipeline):
    """Answers about images with any `AutoModelForVisualQuestionAnswering`.

    A model that classifies gives `[{"score": float, "answer": str}]`, the best first, each score a sigmoid of
    its own in 0..1; a model that writes gives `[{"answer": str}]`, of at most 256 new tokens where nothing
    else is said.
    """

    _load_tokenizer = True
    _load_image_processor = True
    _load_feature_extractor = False
    _load_processor = False
    _load_video_processor = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.check_model_type(MODEL_FOR_VISUAL_QUESTION_ANSWERING_MAPPING_NAMES)

    def __call__(self, image: Any, question: Any = None, **kwargs: Any) -> Any:
        """Answer `question` about `image`; lists of either are crossed, all images for each question in turn.

        `image` may instead be a dict with both keys, a list of such dicts, a data set or a generator of them.
        One pair gives a list of answers, a list a list of such lists, a data set or generator an iterator of
        them. Raises ValueError when an image comes without a question.
        """
        if question is None:
            if _is_image(image) or _is_list_of_images(image):
                raise ValueError("visual-question-answering needs a question for the image")
            return super().__call__(image, **kwargs)
        images = image if isinstance(image, KeyDataset) or _is_list_of_images(image) else [image]
        questions = question if isinstance(question, list | tuple) else [question]
        pairs = [{"image": one, "question": asked} for asked in questions for one in images]
        return super().__call__(pairs if images is image or questions is question else pairs[0], **kwargs)

    def _sanitize_parameters(
        self,
        top_k: int | None = None,
        padding: bool | str | None = None,
        truncation: bool | str | None = None,
        timeout: float | None = None,
        **generate_kwargs: Any,
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        if top_k is not None and top_k < 1:
            raise ValueError(f"top_k is {top_k}: it should be 1 or more")
        if self.model.can_generate():
            forward = self._checked_settings(generate_kwargs)
        else:
            reject_unknown(self, generate_kwargs)
            forward = {}
        preprocess = {"padding": padding, "truncation": truncation, "timeout": timeout}
        return (
            {name: value for name, value in preprocess.items() if value is not None},
            forward,
            {} if top_k is None else {"top_k": top_k},
        )

    def preprocess(
        self,
        inputs: dict[str, Any],
        padding: bool | str = False,
        truncation: bool | str = False,
        timeout: float | None = None,
    ) -> Any:
        """Return the model inputs of one image and question; `timeout` is in seconds, for an image from the web."""
        image = load_image(inputs["image"], timeout=timeout)
        encoded = self.tokenizer(
            inputs["question"], return_tensors="pt", padding=padding, truncation=truncation
        )
        encoded.update(self.image_processor(images=image, return_tensors="pt").to(self.dtype))
        return encoded

    def _forward(self, model_inputs: Any, settings: dict[str, Any] | None = None) -> Any:
        if self.model.can_generate():
            return self._generate_unpadded(model_inputs, settings)
        return {"logits": self.model(**model_inputs).logits}

    def _generate_unpadded(
        self, model_inputs: Mapping[str, Any], settings: dict[str, Any] | None
    ) -> dict[str, torch.Tensor]:
        """Run `generate()` on the whole batch, or on each question alone where a shorter one was padded.

        BLIP drops the attention mask between reading a question and writing the answer, so padding would be read.
        """
        mask = model_inputs.get("attention_mask")
        if mask is None or mask.all():
            return self._generate(model_inputs, settings)
        results = []
        for row, kept in enumerate(mask.bool()):
            inputs = {name: value[row : row + 1] for name, value in model_inputs.items()}
            inputs |= {name: v[:, kept] for name, v in inputs.items() if v.shape[1:] == mask.shape[1:]}
            results.append(self._generate(inputs, settings)["output_ids"])
        longest = max(ids.shape[2] for ids in results)
        pad_id = self.tokenizer.pad_token_id
        padded = [pad(ids, (0, longest - ids.shape[2]), value=pad_id) for ids in results]
        return {"output_ids": torch.cat(padded)}

    def postprocess(self, model_outputs: dict[str, torch.Tensor], top_k: int = 5) -> list[dict[str, Any]]:
        """Return the answers to one question: written ones, or the `top_k` likeliest labels."""
        if "output_ids" in model_outputs:
            return [
                {"answer": self.tokenizer.decode(ids, skip_special_tokens=True).strip()}
                for ids in model_outputs["output_ids"][0]
            ]
        scores = model_outputs["logits"].float().sigmoid()[0]
        best = scores.topk(min(top_k, self.model.config.num_labels))
        return [
            {"score": score, "answer": self.model.config.id2label[label]}
            for score, label in zip(best.values.tolist(), best.indices.tolist(), strict=True)
        ]


def _is_image(value: Any) -> bool:
    return isinstance(value, str) or hasattr(value, "getbands")


def _is_list_of_images(value: Any) -> bool:
    return isinstance(value, list | tuple) and bool(value) and all(_is_image(item) for item in value)
