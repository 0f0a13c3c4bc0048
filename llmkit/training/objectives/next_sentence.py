"""next-sentence: BERT's pretraining, masked tokens and whether one text follows the other, from plain documents."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from llmkit.data.records import Record
from llmkit.errors import ModelError, UsageError
from llmkit.tasks.inputs import RowError
from llmkit.training.objectives.base import Objective, TaskField, errors_placed
from llmkit.training.objectives.batch import IGNORED, Batch, Draw, Example, Verdict
from llmkit.training.objectives.documents import documents, passages
from llmkit.training.objectives.masking import masking_of
from llmkit.training.objectives.target_logits import (
    forward_at,
    judged_tokens,
    readable_tokens,
    row_losses,
    smoothed_loss,
    tokens_for,
)

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from llmkit.training.config import FinetuneConfig
    from llmkit.training.evaluation import Judged

FOLLOWS, RANDOM = 0, 1
"""The classes of BertForPreTraining's second head."""

_SPECIAL_TOKENS = 3  # [CLS] A [SEP] B [SEP]


class NextSentence(Objective):
    """The mean cross entropy of the masked tokens, and that of the pairs; the sum of the two is the loss.

    A passage is split between two of its sentences. Half of the time its end stays, the other half it gives way
    to sentences of another document. In each epoch the split, the half and the masks are drawn anew; in an
    evaluation they are always the same (Devlin et al. 2018, https://arxiv.org/abs/1810.04805, appendix A.2).
    """

    task = "next-sentence"
    fields = (TaskField("text", ("sentence", "content")),)
    heads = ("AutoModelForPreTraining",)
    metrics = ("perplexity", "accuracy")
    gives = ("losses", "classes")
    loss_parts = 2
    new_head = False
    head_at_targets = True

    def __init__(self, config: FinetuneConfig, tokenizer: PreTrainedTokenizerBase) -> None:
        super().__init__(config, tokenizer)
        self.masking = masking_of(tokenizer, config.training.masking, config.model.name, self.task)
        if tokenizer.cls_token_id is None or tokenizer.sep_token_id is None:
            raise ModelError(f"the tokenizer of {config.model.name} has no [CLS] and [SEP], as BERT's has.")
        self.room = self.max_length - _SPECIAL_TOKENS
        if self.room < 2:
            raise UsageError(f"data.max_length: {self.max_length} leaves no room for two sentences.")

    # -- from rows to examples

    def facts(self) -> dict[str, Any]:
        return {"seed": self.config.training.seed}

    def encode(self, values: Mapping[str, Any]) -> list[Example]:
        """Return a sentence, cut to half of the room, so that each pair fits; none for an empty line."""
        text = values["text"]
        if not isinstance(text, str):
            raise RowError(f"{text!r} is no text")
        ids = self.tokenizer(text.strip(), add_special_tokens=False, verbose=False)["input_ids"]
        if len(ids) > self.room // 2 and not self.config.data.truncate:
            raise RowError(f"{len(ids):,} tokens, {self.room // 2:,} are allowed for each of two sentences")
        return [{"input_ids": list(ids[: self.room // 2])}] if ids else []

    def encode_all(self, records: Iterable[Record]) -> Iterator[Example]:
        return passages(documents(self._sentences(records)), self.room, self.config.training.seed)

    def _sentences(self, records: Iterable[Record]) -> Iterator[tuple[str, str, list[int]]]:
        for record in records:
            with errors_placed(record):
                found = self.encode(self.values_of(record))
            yield record.source, record.place, found[0]["input_ids"] if found else []

    def length_of(self, example: Example) -> int:
        return len(example["input_ids"]) + _SPECIAL_TOKENS

    # -- from examples to a loss

    def collate(self, examples: Sequence[Example], draws: Sequence[Draw]) -> Batch:
        """Make a batch; labels are (batch, 1 + sequence), those of the pairs in the first column."""
        import torch

        pairs, rows, kinds = [], [], []
        for example, draw in zip(examples, draws, strict=True):
            generator = draw.generator()
            first, second, kind = self._pair(example, generator)
            ids, types = self._joined(first, second)
            seen, labels = self.masking.apply(ids, generator)
            pairs.append({"input_ids": seen, "token_type_ids": types, "attention_mask": [1] * len(ids)})
            rows.append(labels)
            kinds.append([kind])
        inputs, tokens, padded = self.padded(pairs)
        tokens_of = torch.tensor(self.aligned(rows, inputs["input_ids"].shape[1], IGNORED))
        masked = float((tokens_of != IGNORED).sum())
        labels_of = torch.cat([torch.tensor(kinds), tokens_of], dim=1)
        return Batch(inputs, labels_of, (masked, float(len(rows))), tokens, padded)

    def _pair(self, example: Example, generator: torch.Generator) -> tuple[list[int], list[int], int]:
        """Return the two texts of a pair, and whether the second follows the first."""
        import torch

        lengths = example["lengths"]
        split = sum(lengths[: 1 + int(torch.randint(len(lengths) - 1, (), generator=generator))])
        first, second = example["input_ids"][:split], example["input_ids"][split:]
        if float(torch.rand((), generator=generator)) < 0.5:
            return first, second, FOLLOWS
        return first, self._start_of(example, len(second)), RANDOM

    def _start_of(self, example: Example, room: int) -> list[int]:
        """Return as many whole sentences of the other document as there is room for, at least part of one."""
        taken = 0
        for length in example["other_lengths"]:
            if taken and taken + length > room:
                break
            taken += length
        return list(example["other"][: min(taken, room)])

    def _joined(self, first: list[int], second: list[int]) -> tuple[list[int], list[int]]:
        """Return [CLS] A [SEP] B [SEP], and which of the two each token is of."""
        begin, end = self.tokenizer.cls_token_id, self.tokenizer.sep_token_id
        ids = [begin, *first, end, *second, end]
        return ids, [0] * (len(first) + 2) + [1] * (len(second) + 1)

    def loss(self, model: PreTrainedModel, batch: Batch) -> torch.Tensor:
        """Return the summed losses of the masked tokens and of the pairs, (2,)."""
        import torch

        logits, kinds = self._logits(model, batch)
        tokens = batch.labels[:, 1:]
        smoothing = self.config.training.label_smoothing
        return torch.stack(
            [
                smoothed_loss(logits, tokens[tokens != IGNORED], smoothing),
                smoothed_loss(kinds, batch.labels[:, 0], smoothing),
            ]
        )

    def _logits(self, model: PreTrainedModel, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Return logits (masked tokens, vocabulary) and (batch, 2)."""
        logits, outputs = forward_at(model, batch.inputs, batch.labels[:, 1:] != IGNORED)
        kinds = getattr(outputs, "seq_relationship_logits", None)
        if kinds is None:
            raise ModelError(
                f"{self.config.model.name} has no head that tells whether one text follows another.",
                hint="Take a BERT, or masked-lm for this model.",
            )
        return logits, kinds

    def shown_label(self, example: Example, batch: Batch) -> Any:
        """Return the masked tokens, and in the place of the first token whether the second text follows."""
        kind, _, *rest = batch.labels[0].tolist()
        return ["follows" if kind == FOLLOWS else "random", *self.named_targets(rest)]

    # -- judging

    def judge(self, model: PreTrainedModel, batch: Batch) -> tuple[torch.Tensor, list[Any], list[Any]]:
        """Judge both parts; of each row ``{"loss", "tokens", "kind"}``, as `judged_tokens` has it and the class."""
        return self._judged(*self._logits(model, batch), batch)

    def _judged(
        self, logits: torch.Tensor, kinds: torch.Tensor, batch: Batch
    ) -> tuple[torch.Tensor, list[Any], list[Any]]:
        import torch

        loss, predictions, references = judged_tokens(logits, batch.labels[:, 1:])
        right = batch.labels[:, 0]
        for rows, classes in ((predictions, kinds.argmax(-1)), (references, right)):
            for row, kind in zip(rows, classes.tolist(), strict=True):
                row["kind"] = kind
        return torch.stack([loss, smoothed_loss(kinds, right, 0.0)]), predictions, references

    def judge_closely(self, model: PreTrainedModel, batch: Batch) -> Verdict:
        """Judge a batch; a row's probability is that of the class that was predicted of the pair."""
        from torch.nn import functional

        logits, kinds = self._logits(model, batch)
        loss, predictions, references = self._judged(logits, kinds, batch)
        of_pairs = functional.cross_entropy(kinds.float(), batch.labels[:, 0], reduction="none").tolist()
        losses = [
            each + pair for each, pair in zip(row_losses(predictions, references), of_pairs, strict=True)
        ]
        sure = kinds.float().softmax(-1).amax(-1).tolist()
        return Verdict(loss, predictions, references, losses, sure)

    def readable(self, value: Any) -> str:
        kind = "follows" if value["kind"] == FOLLOWS else "random"
        return f"{kind}: {readable_tokens(self.tokenizer, value)}"

    def for_metric(self, takes: str, judged: Judged) -> Judged:
        """Losses are of the masked tokens; classes are of the pairs."""

        def taken(rows: list[Any]) -> list[Any]:
            return tokens_for(takes, rows) if takes == "losses" else [row["kind"] for row in rows]

        return replace(judged, predictions=taken(judged.predictions), references=taken(judged.references))
