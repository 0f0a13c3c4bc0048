"""causal-lm: the next token of plain texts, of completions to prompts, or of the assistant's turns in chats."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar

from llmkit.data.records import Record, columns_of
from llmkit.errors import DataError, ModelError
from llmkit.tasks.inputs import RowError
from llmkit.training.objectives.base import TaskField
from llmkit.training.objectives.batch import IGNORED, Batch, Draw, Example
from llmkit.training.objectives.cells import checked_text
from llmkit.training.objectives.chats import Rendered, checked_messages, rendered_chats
from llmkit.training.objectives.language_modeling import LanguageModeling
from llmkit.training.objectives.packing import (
    check_isolation,
    inner_model,
    position_ids,
    takes_positions,
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


class CausalLM(LanguageModeling):
    """Cross entropy over the next tokens: all of a plain text, the completion alone, or the assistant's turns.

    What is learned is told by the place in the row, not by token ids: so the token that ends a text is learned
    too where it is the padding token as well. The first token of a sample is no target. Plain texts that are too
    long are cut into several samples. With ``training.batching: packed`` samples stand side by side in rows of
    `max_length` tokens, and none sees another.
    """

    task = "causal-lm"
    fields: ClassVar[tuple[TaskField, ...]] = (
        TaskField("messages", ("conversations", "conversation"), required=False),
        TaskField("prompt", ("instruction", "question"), required=False),
        TaskField("completion", ("response", "output", "answer"), required=False),
        TaskField("text", ("content", "document"), required=False),
    )
    heads = ("AutoModelForCausalLM",)
    start = "HuggingFaceTB/SmolLM2-135M"

    def __init__(self, config: FinetuneConfig, tokenizer: PreTrainedTokenizerBase) -> None:
        super().__init__(config, tokenizer)
        end = tokenizer.eos_token_id if tokenizer.eos_token_id is not None else tokenizer.sep_token_id
        if end is None:
            raise ModelError(f"the tokenizer of {config.model.name} has no token that ends a text.")
        self.end = int(end)
        before, _ = special_tokens_around(tokenizer)
        self.before = tuple(before)
        # The last part alone ends with the end token, for which room is kept.
        self.cutter = Cutter(tokenizer, self.max_length - 1 - len(before), config.data.truncate)

    # -- from rows to examples

    def values_of(self, record: Record) -> dict[str, Any]:
        """Return messages, or prompt and completion, or a text: the first of these that the row has.

        Raises:
            DataError: it has none, or a prompt without a completion.
        """
        named = self.config.data.columns
        found = super().values_of(record)
        if named:  # what the config names is meant, whatever other columns there are
            found = {name: value for name, value in found.items() if name in named}
        for form in _FORMS:
            if all(name in found for name in form):
                return {name: found[name] for name in form}
        for given, lacking in (("prompt", "completion"), ("completion", "prompt")):
            if given in found:
                raise self._no_column(lacking, record)
        raise DataError(
            f"no column text, messages, or prompt and completion in {record.source}; "
            f"its columns are: {', '.join(columns_of(record))}",
            hint=self._remedy("text"),
        )

    def facts(self) -> dict[str, Any]:
        return {"packed": self.packed}

    def encode(self, values: Mapping[str, Any]) -> list[Example]:
        """Return the samples of a row, `labels` as long as `input_ids`; none for an empty line of plain text."""
        form = next(form for form in _FORMS if form[0] in values)
        samples = _FORMS[form](self, values)
        for sample in samples:
            sample["labels"][0] = IGNORED  # nothing comes before it
        return [sample for sample in samples if len(sample["input_ids"]) > 1]

    def _of_text(self, values: Mapping[str, Any]) -> list[Example]:
        parts = self.cutter.parts(values["text"])
        samples = []
        for number, part in enumerate(parts):
            ids = [*self.before, *part] if number == 0 else list(part)
            if number == len(parts) - 1:
                ids.append(self.end)
            samples.append({"input_ids": ids, "labels": list(ids)})
        return samples

    def _of_completion(self, values: Mapping[str, Any]) -> list[Example]:
        """Tokenize prompt and completion one by one: as they meet when the model answers."""
        prompt, completion = (checked_text(name, values[name]) for name in ("prompt", "completion"))
        begin = [*self.before, *self._ids(prompt)]
        answer = [*self._ids(completion), self.end]
        return [self._cut([*begin, *answer], [IGNORED] * len(begin) + answer)]

    def _of_messages(self, values: Mapping[str, Any]) -> list[Example]:
        return [self._of_rendered(chat) for chat in self._rendered(values["messages"])]

    def _rendered(self, messages: Any) -> list[Rendered]:
        if not self.tokenizer.chat_template or not self.tokenizer.is_fast:
            raise ModelError(
                f"{self.config.model.name} has no chat template, which messages need."
                if not self.tokenizer.chat_template
                else f"{self.config.model.name}: messages need a fast tokenizer, one that tells where tokens stand.",
                hint="Choose a chat model, or give prompt and completion columns.",
            )
        return rendered_chats(self.tokenizer, checked_messages(messages))

    def _of_rendered(self, chat: Rendered) -> Example:
        encoded = self.tokenizer(
            chat.text, add_special_tokens=False, return_offsets_mapping=True, verbose=False
        )
        ids, labels = list(encoded["input_ids"]), []
        for token, (begin, end) in zip(ids, encoded["offset_mapping"], strict=True):
            learned = any(begin < last and end > first for first, last in chat.spans)
            labels.append(token if learned and end > begin else IGNORED)
        last = max((index for index, label in enumerate(labels) if label != IGNORED), default=-1)
        if labels[last] != self.end:  # the template ends a turn in a way of its own
            ids, labels = [*ids[: last + 1], self.end], [*labels[: last + 1], self.end]
        return self._cut(ids, labels)

    def _cut(self, ids: list[int], labels: list[int]) -> Example:
        """Return a sample, cut at its end if it must be.

        Raises:
            RowError: it is too long and may not be cut, or nothing to learn would be left.
        """
        room = self.max_length
        if len(ids) > room and not self.config.data.truncate:
            raise RowError(f"{len(ids):,} tokens, {room:,} are allowed")
        ids, labels = ids[:room], labels[:room]
        if all(label == IGNORED for label in labels[1:]):
            raise RowError(
                f"the prompt fills all of the {room:,} tokens, so there is no answer to learn",
                hint="Raise data.max_length, if the model takes more.",
            )
        return {"input_ids": ids, "labels": labels}

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        return ids

    # -- from examples to a loss

    def set_up(self, model: PreTrainedModel) -> None:
        """Check that no position sees the tokens after it, which it is to predict."""
        if sees_ahead(model):
            raise ModelError(
                f"{self.config.model.name} ({type(model).__name__}) sees the tokens that {self.task} lets it guess.",
                hint="Make it a decoder, model.config: {is_decoder: true}, or train it by task: masked-lm.",
            )

    def collate(self, examples: Sequence[Example], draws: Sequence[Draw]) -> Batch:
        """Make a batch, padded on the right, where no token sees the padding."""
        import torch

        longest = max(len(example["input_ids"]) for example in examples)
        pad = self.tokenizer.pad_token_id if self.tokenizer.pad_token_id is not None else self.end
        inputs = {"input_ids": _padded(examples, "input_ids", longest, pad)}
        labels = _padded(examples, "labels", longest, IGNORED)
        if self.packed:
            # Without a mask, transformers takes positions that begin anew for the beginning of another sample.
            inputs["position_ids"] = position_ids(examples, longest)
        else:
            lengths = torch.tensor([len(example["input_ids"]) for example in examples])
            inputs["attention_mask"] = (torch.arange(longest) < lengths.unsqueeze(1)).long()
        tokens = sum(len(example["input_ids"]) for example in examples)
        return Batch(
            inputs,
            labels,
            float((labels != IGNORED).sum()),
            tokens,
            longest * len(examples),
            examples=tuple(examples) if self.packed else (),
        )

    def _logits(self, model: PreTrainedModel, batch: Batch) -> torch.Tensor:
        """Return logits (targets, vocabulary): of each target from the token before it."""
        import torch

        at = torch.zeros_like(batch.labels, dtype=torch.bool)
        at[:, :-1] = batch.labels[:, 1:] != IGNORED
        if has_variable_length(model):
            row, at = self._row(model, batch, at)
            return forward_at(model, row, at, use_cache=False)[0]
        if self.packed and not self._is_checked:
            self._is_checked = True
            self._check(model, batch)
        return forward_at(model, batch.inputs, at, use_cache=False)[0]

    def _row(
        self, model: PreTrainedModel, batch: Batch, at: torch.Tensor
    ) -> tuple[dict[str, Any], torch.Tensor]:
        """Return a batch as one row without padding."""
        samples, is_real = samples_of(batch)
        row, at = side_by_side(batch.inputs, at, samples, is_real=is_real)
        if not self._is_checked:
            self._is_checked = True
            check_side_by_side(model, {**row, "use_cache": False}, self.task)
        return row, at

    def _check(self, model: PreTrainedModel, batch: Batch) -> None:
        """Try the first row of a batch, packed and alone."""
        import torch

        if not takes_positions(model):
            raise ModelError(
                f"causal-lm: a {inner_model(model).config.model_type} model takes no positions, and cannot be told "
                "where a packed sample begins.",
                hint="Take training.batching: sorted, which pads little.",
            )
        begins = torch.tensor([0, *batch.examples[0]["lengths"]]).cumsum(0).tolist()
        ids = batch.inputs["input_ids"][:1]
        alone = [{"input_ids": ids[:, begin:end], "use_cache": False} for begin, end in pairwise(begins)]
        packed = {name: tensor[:1] for name, tensor in batch.inputs.items()} | {"use_cache": False}
        check_isolation(model, packed, alone, self.task)


_FORMS: dict[tuple[str, ...], Callable[[CausalLM, Mapping[str, Any]], list[Example]]] = {
    ("messages",): CausalLM._of_messages,
    ("prompt", "completion"): CausalLM._of_completion,
    ("text",): CausalLM._of_text,
}


def sees_ahead(model: PreTrainedModel) -> bool:
    """Tell whether what a model says at a position depends on the token after it: tried on three tokens."""
    import torch

    was_training = model.training
    model.eval()
    with torch.no_grad():
        ids = (
            torch.tensor([[5, 6, 7], [5, 6, 8]], device=model.device)
            % model.config.get_text_config().vocab_size
        )
        one, other = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[:, :2].float()
    model.train(was_training)
    return not torch.allclose(one, other, atol=1e-3, rtol=1e-2)


def _padded(examples: Sequence[Example], name: str, longest: int, fill: int) -> torch.Tensor:
    import torch

    return torch.tensor([[*each[name], *[fill] * (longest - len(each[name]))] for each in examples])
