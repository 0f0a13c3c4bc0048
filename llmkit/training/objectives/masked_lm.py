"""masked-lm: the tokens of plain text that were hidden, each found from all the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from llmkit.errors import ModelError
from llmkit.models.side_by_side import first_position
from llmkit.training.objectives.base import TaskField
from llmkit.training.objectives.batch import IGNORED, Batch, Draw, Example
from llmkit.training.objectives.language_modeling import LanguageModeling
from llmkit.training.objectives.masking import masking_of
from llmkit.training.objectives.packing import (
    check_isolation,
    inner_model,
    position_ids,
    takes_positions,
    within_samples,
)
from llmkit.training.objectives.parts import Cutter, special_tokens_around
from llmkit.training.objectives.target_logits import (
    forward_at,
)
from llmkit.training.objectives.variable_length import (
    check_side_by_side,
    has_variable_length,
    samples_of,
    side_by_side,
)

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from llmkit.training.config import FinetuneConfig


class MaskedLM(LanguageModeling):
    """Cross entropy over the masked tokens.

    Each row is a sample; a longer one is cut into several, and nothing is thrown away. With
    ``training.batching: packed`` samples stand side by side in rows of `max_length` tokens, and none sees
    another. Other tokens are masked in each epoch, in an evaluation always the same.
    """

    task = "masked-lm"
    fields = (TaskField("text", ("content", "sentence", "review", "document")),)
    heads = ("AutoModelForMaskedLM",)

    def __init__(self, config: FinetuneConfig, tokenizer: PreTrainedTokenizerBase) -> None:
        super().__init__(config, tokenizer)
        self.masking = masking_of(tokenizer, config.training.masking, config.model.name, self.task)
        before, after = special_tokens_around(tokenizer)
        self.cutter = Cutter(tokenizer, self.max_length, config.data.truncate, before, after)

    # -- from rows to examples

    def facts(self) -> dict[str, Any]:
        return {"packed": self.packed}

    def encode(self, values: Mapping[str, Any]) -> list[Example]:
        """Return the samples of a row; none for an empty line."""
        parts = self.cutter.parts(values["text"])
        return [self._example(ids) for ids in parts if self.masking.has_words(ids)]

    def _example(self, ids: list[int]) -> Example:
        extra = {"token_type_ids": 0, "attention_mask": 1}
        names = [name for name in self.tokenizer.model_input_names if name in extra]
        return {"input_ids": ids, **{name: [extra[name]] * len(ids) for name in names}}

    # -- from examples to a loss

    def collate(self, examples: Sequence[Example], draws: Sequence[Draw]) -> Batch:
        import torch

        masked = [self._masked(example, draw) for example, draw in zip(examples, draws, strict=True)]
        inputs, tokens, padded = self.padded([example for example, _ in masked])
        longest = inputs["input_ids"].shape[1]
        labels = torch.tensor(self.aligned([row for _, row in masked], longest, IGNORED))
        if self.packed:
            inputs["attention_mask"] = within_samples(examples, longest)
            inputs["position_ids"] = position_ids(examples, longest)
        count = float((labels != IGNORED).sum())
        return Batch(inputs, labels, count, tokens, padded, examples=tuple(examples) if self.packed else ())

    def _masked(self, example: Example, draw: Draw) -> tuple[Example, list[int]]:
        """Return an example as the model sees it, and its labels.

        A packed sample is drawn for by its own number, so that it is masked as it would be alone.
        """
        ids = example["input_ids"]
        if not self.packed:
            seen, labels = self.masking.apply(ids, draw.generator())
            return {**example, "input_ids": seen}, labels
        seen, labels, begin = [], [], 0
        for number, length in zip(example["samples"], example["lengths"], strict=True):
            own = replace(draw, index=number).generator()
            part = self.masking.apply(ids[begin : begin + length], own)
            seen, labels, begin = seen + part[0], labels + part[1], begin + length
        return {**example, "input_ids": seen}, labels

    def _logits(self, model: PreTrainedModel, batch: Batch) -> torch.Tensor:
        """Return logits (targets, vocabulary)."""
        at = batch.labels != IGNORED
        if has_variable_length(model):
            row, at = self._row(model, batch, at)
            return forward_at(model, row, at)[0]
        inputs = self._packed_inputs(model, batch) if self.packed else batch.inputs
        return forward_at(model, inputs, at)[0]

    def _row(
        self, model: PreTrainedModel, batch: Batch, at: torch.Tensor
    ) -> tuple[dict[str, Any], torch.Tensor]:
        """Return a batch as one row without padding."""
        samples, is_real = samples_of(batch)
        first = first_position(inner_model(model))
        row, at = side_by_side(batch.inputs, at, samples, is_real=is_real, first_position=first)
        if not takes_positions(model):
            del row["position_ids"]
        if not self._is_checked:
            self._is_checked = True
            check_side_by_side(model, row, self.task)
        return row, at

    def _packed_inputs(self, model: PreTrainedModel, batch: Batch) -> dict[str, torch.Tensor]:
        inputs = _for_attention(inner_model(model), batch.inputs)
        if not self._is_checked:
            self._is_checked = True
            self._check(model, inputs, batch.examples[0])
        return inputs

    def _check(self, model: PreTrainedModel, inputs: dict[str, torch.Tensor], example: Example) -> None:
        """Try the first row of a batch, packed and alone."""
        import torch

        begins = torch.tensor([0, *example["lengths"]]).cumsum(0).tolist()
        names = [name for name in inputs if name not in ("attention_mask", "position_ids")]
        alone = [{name: inputs[name][:1, begin:end] for name in names} for begin, end in pairwise(begins)]
        check_isolation(model, {name: tensor[:1] for name, tensor in inputs.items()}, alone, self.task)


def _for_attention(model: Any, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return packed inputs as a model's attention takes them.

    Raises:
        ModelError: it cannot be told which tokens see each other.
    """
    import torch

    how = getattr(model.config, "_attn_implementation", None)
    if how not in ("sdpa", "eager") or not takes_positions(model):
        raise ModelError(
            f"masked-lm: a {model.config.model_type} model cannot be told which packed tokens see each other.",
            hint="Take training.batching: sorted, which pads little.",
        )
    inputs = {**inputs, "position_ids": inputs["position_ids"] + first_position(model)}
    if how == "eager":  # it adds the mask to the scores
        mask = torch.zeros(inputs["attention_mask"].shape, device=inputs["attention_mask"].device)
        inputs["attention_mask"] = mask.masked_fill(~inputs["attention_mask"], torch.finfo(mask.dtype).min)
    return inputs
