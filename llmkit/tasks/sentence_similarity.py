"""sentence-similarity: how alike sentences are to a source sentence, as the hub's widget computes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from transformers import Pipeline

from llmkit.batching import plan_batches
from llmkit.models.pooling import pool
from llmkit.models.resolved import ResolvedModel
from llmkit.models.sentence_modules import load_dense, read_sentence_modules
from llmkit.models.tokenizing import token_limit

_TOKENS_A_BATCH = 2048


class SentenceSimilarityPipeline(Pipeline):
    """Cosine similarity of sentence embeddings.

    The embeddings are those that the model's own sentence-transformers files say, with their pooling, their dense
    layers and their default prompt; without such files the mean over the real tokens.

    Example::

        pipeline("sentence-similarity")({"source_sentence": "a cat", "sentences": ["a kitten", "a truck"]})
        # [0.766…, 0.322…]
    """

    _load_processor = False
    _load_image_processor = False
    _load_feature_extractor = False
    _load_tokenizer = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        commit = getattr(self.model.config, "_commit_hash", None)
        place = self.model.name_or_path
        found = ResolvedModel(place, place, commit)
        modules = read_sentence_modules(found)
        self.pooling = modules.pooling
        self.prompt = modules.prompts.get(modules.default_prompt or "", "")
        self.dense = [load_dense(found, folder).to(torch.float32) for folder in modules.dense]

    def __call__(self, inputs: Any = None, sentences: list[str] | None = None, **kwargs: Any) -> Any:
        """Score sentences against a source sentence.

        Args:
            inputs: ``{"source_sentence": str, "sentences": [str, …]}``, a list of those, or the source
                sentence itself with `sentences` beside it.

        Returns:
            A list of floats in -1..1, one a sentence; for a list of inputs, a list of such lists.

        Raises:
            ValueError: a key is missing, or there are no sentences to compare with.
        """
        if inputs is None and "source_sentence" in kwargs:
            inputs = kwargs.pop("source_sentence")
        if isinstance(inputs, str):
            inputs = {"source_sentence": inputs, "sentences": sentences}
        return super().__call__(inputs, **kwargs)

    def _sanitize_parameters(self) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        return {}, {}, {}

    def preprocess(self, inputs: Mapping[str, Any]) -> dict[str, list[str]]:
        for key in ("source_sentence", "sentences"):
            if not inputs.get(key):
                raise ValueError(f"sentence-similarity needs `{key}`, and it is missing or empty")
        sentences = inputs["sentences"]
        texts = [inputs["source_sentence"], *([sentences] if isinstance(sentences, str) else sentences)]
        return {"texts": texts}

    def _forward(self, model_inputs: Mapping[str, Any]) -> dict[str, Any]:
        texts = model_inputs["texts"]
        if isinstance(texts[0], list):  # a batch: no tensor to stack, each row on its own
            return {"scores": [self._similarities(row) for row in texts]}
        return {"scores": self._similarities(texts)}

    def postprocess(self, model_outputs: Mapping[str, Any]) -> list[float]:
        # Out of a batch it comes as (1, sentences).
        scores: list[float] = model_outputs["scores"].reshape(-1).tolist()
        return scores

    def _similarities(self, texts: list[str]) -> torch.Tensor:
        """Return the cosine of the first text with each of the others, shape (texts - 1,)."""
        vectors = torch.nn.functional.normalize(self._embed(texts), dim=-1)
        return vectors[1:] @ vectors[0]

    def _embed(self, texts: list[str]) -> torch.Tensor:
        """Return one vector a text, shape (texts, hidden), on the CPU in float32."""
        limit = self.max_tokens
        texts = [self.prompt + text for text in texts]
        encodings = self.tokenizer(texts, truncation=limit is not None, max_length=limit, verbose=False)
        lengths = [len(ids) for ids in encodings["input_ids"]]
        vectors: list[torch.Tensor] = [torch.empty(0)] * len(texts)
        for batch in plan_batches(lengths, max_tokens=_TOKENS_A_BATCH, max_rows=64):
            rows = self.tokenizer.pad(
                {name: [values[index] for index in batch] for name, values in encodings.items()},
                return_tensors="pt",
            ).to(self.device)
            hidden_states = self.model(**rows)[0]  # (batch, sequence, hidden)
            pooled = pool(hidden_states, rows["attention_mask"], self.pooling.mode).float().cpu()
            for layer in self.dense:
                pooled = layer(pooled)
            for index, vector in zip(batch, pooled, strict=True):
                vectors[index] = vector
        return torch.stack(vectors)

    @property
    def max_tokens(self) -> int | None:
        """How many tokens of a sentence count, special ones included; None where there is no limit."""
        limits = (self.pooling.max_tokens, token_limit(self.model.config, self.tokenizer))
        return min((limit for limit in limits if limit), default=None)
