"""seq2seq: one text from another by an encoder-decoder: translation, summarization, rewriting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llmkit.data.records import Record
from llmkit.errors import ModelError
from llmkit.tasks.inputs import RowError
from llmkit.training.objectives.base import Objective, TaskField
from llmkit.training.objectives.batch import IGNORED, Batch, Draw, Example
from llmkit.training.objectives.cells import checked_text, unpacked
from llmkit.training.objectives.generating import decoder_inputs, generate, set_generation
from llmkit.training.objectives.languages import generation_values, set_languages
from llmkit.training.objectives.target_logits import forward_at, smoothed_loss

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from llmkit.training.config import FinetuneConfig

_NESTED = "translation"
"""The column of translation sets that holds a text by language: ``{"en": …, "es": …}``."""

_DEFAULT_TARGET_LENGTH = 128


class Seq2Seq(Objective):
    """Cross entropy over the tokens of the target, the one that ends it always among them.

    The decoder reads the target shifted to the right. Padding is no target, whatever its id: T5 starts the decoder
    with it and other models end a text with it. It is judged by what it generates, beside the loss of the targets.
    """

    task = "seq2seq"
    fields = (
        TaskField("source", ("input", "src", "document", "article", "dialogue", "text")),
        TaskField("target", ("output", "tgt", "summary", "highlights", "translation")),
    )
    heads = ("AutoModelForSeq2SeqLM",)
    metrics = ("chrf", "bleu", "rouge")
    gives = ("texts", "texts with several references")
    place_of_column = "data.columns: {{source: en, target: es}}"
    new_head = False
    start = "google-t5/t5-small"
    in_equal_steps = False
    sections = ("generation",)

    def __init__(self, config: FinetuneConfig, tokenizer: PreTrainedTokenizerBase) -> None:
        super().__init__(config, tokenizer)
        end = tokenizer.eos_token_id if tokenizer.eos_token_id is not None else tokenizer.sep_token_id
        if end is None:
            raise ModelError(f"the tokenizer of {config.model.name} has no token that ends a text.")
        self.end = int(end)
        wanted = config.data.max_target_length or _DEFAULT_TARGET_LENGTH
        self.max_target_length = min(wanted, tokenizer.model_max_length)
        set_languages(tokenizer, config.data)

    # -- from rows to examples

    @classmethod
    def opened(cls, record: Record) -> Record:
        """Return a row whose nested column of translations is a column for each language."""
        nested = unpacked(record.values.get(_NESTED))
        if not isinstance(nested, Mapping):
            return record
        others = {name: value for name, value in record.values.items() if name != _NESTED}
        return Record({**others, **nested}, record.source, record.line)

    @classmethod
    def names_of(cls, field: TaskField, config: FinetuneConfig) -> list[str]:
        """Return the columns that a field may be in; a language that the config names is one: es, or es of es_XX."""
        names = super().names_of(field, config)
        language = getattr(config.data, f"{field.name}_language")
        if language is None or field.name in config.data.columns:
            return names
        return [names[0], language, language.partition("_")[0], *names[1:]]

    def encode(self, values: Mapping[str, Any]) -> list[Example]:
        """Return the example of a row: `labels` are the target's tokens, and `target` its text to judge by."""
        source, target = (checked_text(name, values[name]) for name in ("source", "target"))
        example = self.tokenize((self.config.data.prefix or "") + source)
        example.pop("token_type_ids", None)  # some tokenizers make these, and no encoder-decoder takes them
        labels = self._target_ids(target)
        was_cut = len(example["input_ids"]) >= self.max_length or len(labels) >= self.max_target_length
        return [{**example, "labels": labels, "target": target.strip(), "cut": was_cut}]

    def _target_ids(self, text: str) -> list[int]:
        """Return the tokens of a target, cut to the longest it may have, its end token never cut off.

        Raises:
            RowError: it is longer, and the config says not to cut.
        """
        room = self.max_target_length
        ids = list(self.tokenizer(text_target=text, verbose=False)["input_ids"])
        if self.end not in ids[-2:]:  # the first mBART puts the language behind it
            ids.append(self.end)
        if len(ids) <= room:
            return ids
        if not self.config.data.truncate:
            raise RowError(
                f"the target has {len(ids):,} tokens, {room:,} are allowed",
                hint="Raise data.max_target_length.",
            )
        cut = self.tokenizer(text_target=text, truncation=True, max_length=room)["input_ids"]
        return list(cut) if self.end in cut[-2:] else [*cut[: room - 1], self.end]

    def length_of(self, example: Example) -> int:
        """Return the number of tokens of source and target together."""
        return len(example["input_ids"]) + len(example["labels"])

    def shown_label(self, example: Example, batch: Batch) -> Any:
        """Return the tokens of the target."""
        return self.tokenizer.convert_ids_to_tokens(example["labels"])

    # -- from examples to a loss

    def set_up(self, model: PreTrainedModel) -> None:
        """Let the model keep its languages, its prefix and how it generates: the pipeline takes them from it."""
        values = generation_values(self.tokenizer, self.config.data.target_language)
        set_generation(model, self.config.generation, values)
        config: Any = model.config
        if "decoder_start_token_id" in values:
            config.decoder_start_token_id = values["decoder_start_token_id"]
        # What an earlier training set for tasks of its own, prefixes among it, does not hold for this one.
        if getattr(config, "task_specific_params", None):
            config.task_specific_params = None
        if self.config.data.prefix or getattr(config, "prefix", None):
            config.prefix = self.config.data.prefix

    def collate(self, examples: Sequence[Example], draws: Sequence[Draw]) -> Batch:
        """Make a batch; labels are (batch, longest target), padded on the right whatever side the sources are."""
        import torch

        inputs, tokens, padded = self.padded(examples)
        counts = [len(example["labels"]) for example in examples]
        longest = max(counts)
        labels = torch.tensor(
            [
                [*example["labels"], *[IGNORED] * (longest - count)]
                for example, count in zip(examples, counts, strict=True)
            ]
        )
        return Batch(
            inputs,
            labels,
            float(sum(counts)),
            tokens + sum(counts),
            padded + longest * len(examples),
            examples=tuple(examples),
        )

    def loss(self, model: PreTrainedModel, batch: Batch) -> torch.Tensor:
        return self._loss_of(model, batch, self.config.training.label_smoothing)

    def judged_loss(self, model: PreTrainedModel, batch: Batch) -> torch.Tensor:
        return self._loss_of(model, batch, 0.0)

    def _loss_of(self, model: PreTrainedModel, batch: Batch, smoothing: float) -> torch.Tensor:
        at = batch.labels != IGNORED
        inputs = {**batch.inputs, "decoder_input_ids": decoder_inputs(model, batch.labels)}
        logits, _ = forward_at(model, inputs, at, use_cache=False)
        return smoothed_loss(logits, batch.labels[at], smoothing)

    # -- judging

    def judge(self, model: PreTrainedModel, batch: Batch) -> tuple[torch.Tensor, list[Any], list[Any]]:
        """Return the sum of the negative log-likelihoods in nats, what the model writes, and the targets."""
        loss = self.judged_loss(model, batch)
        ids = generate(model, batch.inputs, self.max_target_length)
        found = self.tokenizer.batch_decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return loss, [text.strip() for text in found], [example["target"] for example in batch.examples]
