"""zero-shot-classification without a model of entailment: by how alike a text and each labelled hypothesis are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from transformers import ZeroShotClassificationPipeline

from llmkit.models.pooling import pool, read_pooling

SCALE = 20.0
"""What cosines are multiplied by before the softmax: as the encoder was trained, so that scores are probabilities
(https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2, training parameters)."""


TEMPLATES = ("This is about {}.", "{} article.", "{} report.")
"""The hypotheses of a label where none is said; the mean of their vectors is its own (docs/offline.md has figures)."""

_MOST_KEPT, _OF_VECTOR = 100_000_000, 2000  # characters, as many as a vector takes bytes for each

Alternative = tuple[str, ...]
"""What a label may mean, put into each template."""


class ZeroShotSimilarityPipeline(ZeroShotClassificationPipeline):
    """Cosines of a text's vector with those of the hypotheses, a softmax over the labels.

    A label of several words with a slash, as ``Sci/Tech``, is as near as the nearest of them. With
    ``multi_label`` (and for one label) each label stands for itself: its hypothesis against the template with
    nothing in it. The parameters and results are those of the pipeline of transformers, but for another
    default of ``hypothesis_template``.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.pooling = read_pooling(self.model.name_or_path)
        self._vectors: dict[Alternative, torch.Tensor] = {}
        self._kept = 0

    @property
    def entailment_id(self) -> int:
        """There is no such class; any number but -1 keeps transformers from warning of that."""
        return 0

    def preprocess(
        self,
        inputs: str,
        candidate_labels: Sequence[str] | None = None,
        hypothesis_template: str | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Yield the text, with the hypotheses beside it."""
        labels = list(candidate_labels or ())
        templates = TEMPLATES if hypothesis_template is None else (hypothesis_template,)
        self._args_parser(inputs, labels, templates[0])  # refuses what is wrong with them
        empty = tuple(template.format("").replace(" .", ".").strip() for template in templates)
        yield {
            "candidate_label": labels,
            "hypotheses": [*(_alternatives(label, templates) for label in labels), (empty,)],
            "sequence": inputs,
            "is_last": True,
            **self._tokenized([inputs]),
        }

    def _tokenized(self, texts: list[str]) -> Any:
        limit = min(self.pooling.max_tokens or 512, self.tokenizer.model_max_length)
        return self.tokenizer(texts, truncation=True, max_length=limit, padding=True, return_tensors="pt")

    def _forward(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        tokens = {name: inputs[name] for name in self.tokenizer.model_input_names}
        names = ("candidate_label", "sequence", "is_last", "hypotheses")
        kept = {name: inputs[name] for name in names}
        several = isinstance(kept["hypotheses"][0], list)
        rows = kept["hypotheses"] if several else [kept["hypotheses"]]
        vectors = self._embed(tokens)
        cosines = [self._cosines(labels, vector) for labels, vector in zip(rows, vectors, strict=True)]
        return {**kept, "cosines": torch.stack(cosines)}

    def _cosines(self, labels: Sequence[Sequence[Alternative]], vector: torch.Tensor) -> torch.Tensor:
        """Return how near each label is to a text's vector, (labels,): as near as its nearest alternative."""
        self._learn({each for alternatives in labels for each in alternatives})
        cosines = (
            torch.stack([self._vectors[each] for alternatives in labels for each in alternatives]) @ vector
        )
        return torch.stack([each.max() for each in cosines.split([len(found) for found in labels])])

    def _learn(self, alternatives: set[Alternative]) -> None:
        """Compute the vectors of alternatives that were not met before, the mean over the templates, of length 1."""
        new = sorted(alternatives - self._vectors.keys())
        self._kept += sum(_OF_VECTOR + sum(map(len, each)) for each in new)
        if new and self._kept > _MOST_KEPT:
            self._vectors, self._kept, new = {}, 0, sorted(alternatives)
        if new:
            texts = [text for each in new for text in each]
            found = self._embed(self._tokenized(texts).to(self.device))
            means = found.unflatten(0, (len(new), -1)).mean(dim=1)
            self._vectors |= dict(zip(new, torch.nn.functional.normalize(means, dim=-1), strict=True))

    def _embed(self, tokens: Mapping[str, Any]) -> torch.Tensor:
        """Return vectors of length 1, (texts, hidden), on the CPU in float32."""
        hidden_states = self.model(**tokens)[0]
        pooled = pool(hidden_states, tokens["attention_mask"], self.pooling.mode)
        return torch.nn.functional.normalize(pooled.float().cpu(), dim=-1)

    def postprocess(
        self, model_outputs: Sequence[Mapping[str, Any]], multi_label: bool = False
    ) -> dict[str, Any]:
        """Return the labels and their scores, the likeliest first."""
        output = model_outputs[0]
        labels = output["candidate_label"]
        logits = SCALE * output["cosines"].reshape(-1)  # (labels + 1,): the last is of the empty hypothesis
        if multi_label or len(labels) == 1:
            scores = torch.sigmoid(logits[:-1] - logits[-1])
        else:
            scores = torch.softmax(logits[:-1], dim=-1)
        order = scores.argsort(descending=True, stable=True).tolist()
        return {
            "sequence": output["sequence"],
            "labels": [labels[index] for index in order],
            "scores": scores[order].tolist(),
        }


def _alternatives(label: str, templates: Sequence[str]) -> tuple[Alternative, ...]:
    """Return what a label may mean, each in all templates: the words that slashes part, or itself."""
    parts = [part.strip() for part in label.split("/")]
    if not all(any(map(str.isalpha, part)) for part in parts):  # 24/7
        parts = [label]
    return tuple(tuple(template.format(part) for template in templates) for part in parts)
