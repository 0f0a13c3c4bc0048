"""An image from an image: super-resolution, denoising, restoration.

Gives transformers 5 back the task `image-to-image`, which 4.57.6 still had
(https://github.com/huggingface/transformers/pull/43325). `docs/differences.md` lists where this differs on
purpose.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from transformers import Pipeline
from transformers.image_utils import load_image
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TO_IMAGE_MAPPING_NAMES
from transformers.utils import requires_backends

from llmkit.tasks.generation import reject_unknown


class ImageToImagePipeline(Pipeline):
    """Image to image with any `AutoModelForImageToImage`: a `PIL.Image` for each image."""

    _load_tokenizer = False
    _load_image_processor = True
    _load_feature_extractor = False
    _load_processor = False
    _load_video_processor = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        requires_backends(self, "vision")
        self.check_model_type(MODEL_FOR_IMAGE_TO_IMAGE_MAPPING_NAMES)

    def __call__(self, images: Any, **kwargs: Any) -> Any:
        """Run on an image (a path, a URL, a `PIL.Image`), a list of them, a data set or a generator.

        An image gives an image, a list a list, a data set or generator an iterator.
        """
        if isinstance(images, list | tuple) and not images:
            return []
        return super().__call__(images, **kwargs)

    def _sanitize_parameters(
        self, timeout: float | None = None, **unknown: Any
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        reject_unknown(self, unknown)
        return {} if timeout is None else {"timeout": timeout}, {}, {}

    def preprocess(self, image: Any, timeout: float | None = None) -> Any:
        """Return the model inputs of one image; `timeout` is in seconds, for an image from the web."""
        loaded = load_image(image, timeout=timeout)
        return self.image_processor(images=[loaded], return_tensors="pt").to(self.dtype)

    def _forward(self, model_inputs: Any) -> dict[str, torch.Tensor]:
        output = self.model(**model_inputs)
        if "reconstruction" not in output:
            raise ValueError(
                f"{type(self.model).__name__} gives no reconstructed image: it cannot do image-to-image"
            )
        return {"reconstruction": output["reconstruction"]}

    def postprocess(self, model_outputs: dict[str, torch.Tensor]) -> Any:
        """Return the image of one reconstruction (1, channels, height, width) with values in 0..1."""
        from PIL import Image

        values = model_outputs["reconstruction"][0].float().clamp(0, 1).permute(1, 2, 0).numpy()
        pixels = (values * 255.0).round().astype(np.uint8)
        return Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
