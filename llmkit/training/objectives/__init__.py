"""The training tasks: a file each, and the table of them. To add a task is to add a file and a row."""

from __future__ import annotations

import importlib

from llmkit.errors import did_you_mean, unknown
from llmkit.plugins import Table
from llmkit.training.objectives.base import Objective

_OWN = {
    "text-classification": "text_classification.TextClassification",
    "token-classification": "token_classification.TokenClassification",
    "question-answering": "question_answering.QuestionAnswering",
    "multiple-choice": "multiple_choice.MultipleChoice",
    "masked-lm": "masked_lm.MaskedLM",
    "next-sentence": "next_sentence.NextSentence",
    "causal-lm": "causal_lm.CausalLM",
    "seq2seq": "seq2seq.Seq2Seq",
    "sentence-embedding": "sentence_embedding.SentenceEmbedding",
    "preference": "preference.Preference",
}
OBJECTIVES: Table[str | type[Objective]] = Table("llmkit.objectives", _OWN, type)

# What pipelines and other programs call them.
_OTHER_NAMES = {
    "sentiment-analysis": "text-classification",
    "regression": "text-classification",
    "ner": "token-classification",
    "pos-tagging": "token-classification",
    "squad": "question-answering",
    "swag": "multiple-choice",
    "fill-mask": "masked-lm",
    "mlm": "masked-lm",
    "nsp": "next-sentence",
    "text-generation": "causal-lm",
    "language-modeling": "causal-lm",
    "clm": "causal-lm",
    "sft": "causal-lm",
    "translation": "seq2seq",
    "summarization": "seq2seq",
    "text2text-generation": "seq2seq",
    "sentence-similarity": "sentence-embedding",
    "feature-extraction": "sentence-embedding",
    "dpo": "preference",
}


def nearest_task(name: str) -> str | None:
    """Return ``did you mean X?`` for the training task that `name` may stand for, or None when nothing is near."""
    usual = _OTHER_NAMES.get(name.lower().replace("_", "-"))
    return f"did you mean {usual}?" if usual else did_you_mean(name, OBJECTIVES)


def check_task(task: str | None) -> None:
    """Check the name of a training task.

    Raises:
        UsageError: there is none of this name.
    """
    if task is not None and task not in OBJECTIVES:
        raise unknown("training task", task, OBJECTIVES, near=nearest_task(task))


def objective_class(task: str) -> type[Objective]:
    """Return the objective of a task."""
    row = OBJECTIVES[task]
    if not isinstance(row, str):
        return row
    module, _, name = row.rpartition(".")
    found: type[Objective] = getattr(importlib.import_module(f"{__name__}.{module}"), name)
    return found
