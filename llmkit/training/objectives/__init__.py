"""The training tasks: a file each, and the table of them. To add a task is to add a file and a row."""

from __future__ import annotations

import importlib

from llmkit.training.objectives.base import Objective

OBJECTIVES = {
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


def objective_class(task: str) -> type[Objective]:
    """Return the objective of a task."""
    module, _, name = OBJECTIVES[task].rpartition(".")
    found: type[Objective] = getattr(importlib.import_module(f"{__name__}.{module}"), name)
    return found
