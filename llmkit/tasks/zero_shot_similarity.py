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


TEMPLATE = "This is an article about {}."
"""What the encoder tells topics by better than by the template that suits models of entailment."""


class ZeroShotSimilarityPipeline(ZeroShotClassificationPipeline):
    """Cosines of a text's vector with those of the hypotheses, a softmax over the labels.

    With ``multi_label`` (and for one label) each label stands for itself: its hypothesis against the template with
    nothing in it. The parameters and results are those of the pipeline of transformers, but for another
    default of ``hypothesis_template``.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.pooling = read_pooling(self.model.name_or_path)
        self._vectors: dict[str, torch.Tensor] = {}

    @property
    def entailment_id(self) -> int:
        """There is no such class; any number but -1 keeps transformers from warning of that."""
        return 0

    def preprocess(
        self,
        inputs: str,
        candidate_labels: Sequence[str] | None = None,
        hypothesis_template: str = TEMPLATE,
    ) -> Iterator[dict[str, Any]]:
        """Yield the text, with the hypotheses beside it."""
        labels = list(candidate_labels or ())
        pairs, _ = self._args_parser(inputs, labels, hypothesis_template)
        empty = hypothesis_template.format("").replace(" .", ".").strip()
        yield {
            "candidate_label": labels,
            "hypotheses": [*(hypothesis for _, hypothesis in pairs), empty],
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
        cosines = [self._of(hypotheses) @ vector for hypotheses, vector in zip(rows, vectors, strict=True)]
        return {**kept, "cosines": torch.stack(cosines)}

    def _of(self, hypotheses: Sequence[str]) -> torch.Tensor:
        """Return the vectors of hypotheses, (hypotheses, hidden); each is computed once."""
        new = [text for text in hypotheses if text not in self._vectors]
        if new:
            found = self._embed(self._tokenized(new).to(self.device))
            self._vectors |= dict(zip(new, found, strict=True))
        return torch.stack([self._vectors[text] for text in hypotheses])

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
