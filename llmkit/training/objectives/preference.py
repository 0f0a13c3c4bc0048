"""preference: of two answers to a prompt, the one that people chose becomes likelier than the other (DPO)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llmkit.data.records import Record
from llmkit.tasks.inputs import RowError
from llmkit.training.objectives.base import Objective, TaskField
from llmkit.training.objectives.batch import IGNORED, REFERENCE, Batch, Draw, Example
from llmkit.training.objectives.causal_lm import CausalLM, checked_text
from llmkit.training.objectives.cells import unpacked
from llmkit.training.objectives.chats import Rendered
from llmkit.training.objectives.target_logits import forward_at

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from llmkit.training.config import FinetuneConfig
    from llmkit.training.evaluation import Judged

_ANSWERS = ("chosen", "rejected")


class Preference(CausalLM):
    """Direct preference optimization (Rafailov et al. 2023, arXiv 2305.18290).

    The reward of an answer is β times how much likelier than at the start it has become; the loss of a pair is
    −log σ(reward of the chosen − reward of the rejected). With label smoothing ε it is taken that a share ε of the
    pairs is the wrong way round (conservative DPO, Mitchell 2023). The reference is the model as it is at the start:
    its log-probabilities are computed once, before the first step, so no second model is in memory.

    Answers are tokenized as causal-lm does it: the model reads the prompt, and the answer alone counts.
    """

    task = "preference"
    fields = (
        TaskField("prompt", ("question", "instruction", "input"), required=False),
        TaskField("chosen", ("preferred", "accepted")),
        TaskField("rejected", ("dispreferred",)),
    )
    metrics = ("reward",)
    gives = ("rewards",)
    packs = False
    joins_texts = False
    has_reference = True
    in_equal_steps = False

    def __init__(self, config: FinetuneConfig, tokenizer: PreTrainedTokenizerBase) -> None:
        super().__init__(config, tokenizer)
        self.packed = False

    # -- from rows to examples

    def values_of(self, record: Record) -> dict[str, Any]:
        """Return prompt, chosen and rejected; the prompt may be missing where the answers are whole chats."""
        return Objective.values_of(self, record)

    def encode(self, values: Mapping[str, Any]) -> list[Example]:
        """Return the example of a row: `input_ids` and `labels` are lists of two lists, the chosen one first."""
        prompt, *answers = (_as_chat(values.get(name)) for name in ("prompt", *_ANSWERS))
        if any(isinstance(each, list) for each in (prompt, *answers)):
            chats = [_chat(prompt, answer, name) for answer, name in zip(answers, _ANSWERS, strict=True)]
            if chats[0][:-1] != chats[1][:-1]:
                raise RowError("chosen and rejected are answers to different prompts")
            samples = [self._of_chat(chat) for chat in chats]
        else:
            samples = [
                self._of_texts(prompt, each, name) for each, name in zip(answers, _ANSWERS, strict=True)
            ]
        if samples[0]["input_ids"] == samples[1]["input_ids"]:
            kept = f" in the {self.max_length:,} tokens that are kept" if answers[0] != answers[1] else ""
            raise RowError(f"chosen and rejected are the same{kept}")
        return [{name: [sample[name] for sample in samples] for name in ("input_ids", "labels")}]

    def _of_texts(self, prompt: Any, answer: Any, name: str) -> Example:
        if prompt is None:
            raise RowError(
                "there is no prompt", hint="Only where the answers are whole chats is none needed."
            )
        sample = self._of_completion(
            {"prompt": prompt, "completion": checked_text(f"{name} answer", answer)}
        )[0]
        return {**sample, "labels": [IGNORED, *sample["labels"][1:]]}

    def _of_chat(self, chat: list[Any]) -> Example:
        """Return the sample of a chat's last turn; the turns of the assistant before it are part of the prompt."""
        last = self._rendered(chat)[-1]
        return self._of_rendered(Rendered(last.text, last.spans[-1:]))

    def encode_all(self, records: Iterable[Record]) -> Iterator[Example]:
        return Objective.encode_all(self, records)

    # -- from examples to a loss

    def collate(self, examples: Sequence[Example], draws: Sequence[Draw]) -> Batch:
        """Make a batch in which the chosen and the rejected answer of a pair are neighbours."""
        answers = [
            {"input_ids": ids, "labels": labels}
            for example in examples
            for ids, labels in zip(example["input_ids"], example["labels"], strict=True)
        ]
        batch = super().collate(answers, draws)
        batch.targets, batch.examples = float(len(examples)), tuple(examples)
        return batch

    def loss(self, model: PreTrainedModel, batch: Batch) -> torch.Tensor:
        return self._loss_of(self._rewards(model, batch))

    def _loss_of(self, rewards: torch.Tensor) -> torch.Tensor:
        """Return the sum of the losses of pairs with these rewards, (pairs, 2)."""
        from torch.nn import functional

        smoothing = self.config.training.label_smoothing
        margin = rewards[:, 0] - rewards[:, 1]
        right, wrong = -functional.logsigmoid(margin), -functional.logsigmoid(-margin)
        return ((1 - smoothing) * right + smoothing * wrong).sum()

    def _rewards(self, model: PreTrainedModel, batch: Batch) -> torch.Tensor:
        """Return β (log π − log π of the start) of each answer, (pairs, 2).

        Where the start is not known, as when a model is evaluated later, β log π itself.
        """
        found = self._log_probabilities(model, batch)
        start = found.new_tensor([example.get(REFERENCE, (0.0, 0.0)) for example in batch.examples])
        return self.config.training.beta * (found - start)

    def _log_probabilities(self, model: PreTrainedModel, batch: Batch) -> torch.Tensor:
        """Return log π of each answer, summed over its tokens, (pairs, 2)."""
        import torch
        from torch.nn import functional

        at = torch.zeros_like(batch.labels, dtype=torch.bool)
        at[:, :-1] = batch.labels[:, 1:] != IGNORED
        logits, _ = forward_at(model, batch.inputs, at, use_cache=False)
        targets = batch.labels[batch.labels != IGNORED]
        each = -functional.cross_entropy(logits.float(), targets, reduction="none")
        rows = at.nonzero()[:, 0]
        return each.new_zeros(len(batch.labels)).index_add(0, rows, each).view(-1, 2)

    def reference(self, model: PreTrainedModel, batch: Batch) -> list[list[float]]:
        found: list[list[float]] = self._log_probabilities(model, batch).tolist()
        return found

    def shown_label(self, example: Example, batch: Batch) -> Any:
        return self.named_targets(example["labels"])

    # -- judging

    def judge(self, model: PreTrainedModel, batch: Batch) -> tuple[torch.Tensor, list[Any], list[Any]]:
        rewards = self._rewards(model, batch)
        return self._loss_of(rewards), rewards[:, 0].tolist(), rewards[:, 1].tolist()

    def for_metric(self, takes: str, judged: Judged) -> Judged:
        return judged


def _as_chat(value: Any) -> Any:
    """Return the messages that a value or a cell has; anything else as it is."""
    found = unpacked(value)
    return found if isinstance(found, list) and all(isinstance(each, Mapping) for each in found) else value


def _chat(prompt: Any, answer: Any, name: str) -> list[Any]:
    """Return a chat that ends with an answer.

    Args:
        prompt: messages, a text that the user says, or None.
        answer: the assistant's message, in a list or as a text; or a whole chat with it at the end.
    """
    if not isinstance(answer, list):
        answer = [{"role": "assistant", "content": checked_text(f"{name} answer", answer)}]
    if not answer:
        raise RowError(f"the {name} answer is empty")
    if isinstance(prompt, str):
        prompt = [{"role": "user", "content": prompt}]
    # A whole chat has the prompt in it, and some sets give that in a column beside it too.
    return answer if len(answer) > 1 or not prompt else [*prompt, *answer]
