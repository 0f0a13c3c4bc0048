"""sentence-embedding: texts that belong together get vectors that are alike."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from llmkit.data.records import Record
from llmkit.errors import ModelError
from llmkit.models.pooling import PoolingConfig, pool
from llmkit.models.resolved import ResolvedModel
from llmkit.models.sentence_modules import SentenceModules, read_sentence_modules, sentence_files
from llmkit.tasks.inputs import RowError
from llmkit.training.objectives.base import TaskField
from llmkit.training.objectives.batch import Batch, Draw, Example, Verdict
from llmkit.training.objectives.cells import unpacked
from llmkit.training.objectives.similarity import cosent_loss, ranking_loss, ranks
from llmkit.training.objectives.whole_step import WholeStepObjective

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from llmkit.training.config import FinetuneConfig
    from llmkit.training.evaluation import Judged

PAIRS, TRIPLETS, SCORED = "pairs", "triplets", "scored pairs"
_SAID = {
    PAIRS: "the rows are pairs: a text's negatives are those of the other rows in a step.",
    TRIPLETS: "the rows have negatives of their own, beside the texts of the other rows in a step.",
    SCORED: "the rows are scored pairs: learned is which pair is more alike than which.",
}
_METRICS = {
    PAIRS: ("mrr", "recall_at_1", "recall_at_10"),
    TRIPLETS: ("mrr", "recall_at_1", "recall_at_10", "accuracy"),
    SCORED: ("spearman", "pearson"),
}
_GIVES = {PAIRS: ("ranks",), TRIPLETS: ("ranks", "classes"), SCORED: ("numbers",)}
_OPTIONAL = ("negative", "score")
_NEGATIVE_COLUMN = re.compile(r"(?:negative|neg)_?(\d+)")


class SentenceEmbedding(WholeStepObjective):
    """A text and one that is like it: alone, with others that are not (negatives), or with a score of how alike.

    Which of the three is told by the columns. Pairs and rows with negatives are learned by ranking among all texts
    of the optimizer step (`ranking_loss`), scored pairs by the order of their scores (`cosent_loss`).
    """

    task = "sentence-embedding"
    fields = (
        TaskField("anchor", ("query", "question", "sentence1", "sentence_A", "text", "text1")),
        TaskField("positive", ("pos", "answer", "passage", "sentence2", "sentence_B", "text_pair", "text2")),
        TaskField("negative", ("negatives", "neg", "hard_negative"), required=False),
        TaskField("score", ("similarity", "similarity_score", "relatedness_score", "label"), required=False),
    )
    heads = ("AutoModel",)
    metrics = _METRICS[PAIRS]
    gives = ("ranks", "classes", "numbers")
    new_head = False
    kind = PAIRS

    def __init__(self, config: FinetuneConfig, tokenizer: PreTrainedTokenizerBase) -> None:
        super().__init__(config, tokenizer)
        found = self._own_modules()
        if config.data.max_length is None and found.pooling.max_tokens:
            self.max_length = min(self.max_length, found.pooling.max_tokens)
        self.left_out = found.dense
        self.pooling = config.training.pooling or found.pooling.mode
        self.modules = replace(found, pooling=PoolingConfig(self.pooling, self.max_length))

    def _own_modules(self) -> SentenceModules:
        """Read what the model's own sentence-transformers files say."""
        model = self.config.model
        if model.from_scratch:
            return SentenceModules(PoolingConfig())
        location = ResolvedModel(model.name, self.tokenizer.name_or_path, model.revision)
        try:
            return read_sentence_modules(location)
        except ModelError as error:
            if self.config.training.pooling is not None:
                return SentenceModules(PoolingConfig())
            hint = "training.pooling: mean leaves the model's own modules out."
            raise ModelError(error.message, hint=hint) from None

    # -- from rows to examples

    def values_of(self, record: Record) -> dict[str, Any]:
        """Return what the task takes from a row; the columns negative_1, negative_2, … are its negatives."""
        named = self.config.data.columns
        found = super().values_of(record)
        if named:  # what the config names is meant, whatever other columns there are
            found = {name: value for name, value in found.items() if name in named or name not in _OPTIONAL}
        elif numbered := {
            int(match[1]): value
            for name, value in record.values.items()
            if (match := _NEGATIVE_COLUMN.fullmatch(name))
        }:
            first = found.get("negative")
            found["negative"] = [*([first] if first else []), *(each for _, each in sorted(numbered.items()))]
        return found

    def study(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Tell by the first row which kind the rows are of."""
        self.kind = next((_kind_of(row) for row in rows), PAIRS)

    def facts(self) -> dict[str, Any]:
        return {"kind": self.kind, "pooling": self.pooling}

    def notes(self) -> list[str]:
        lost = "the model's own linear layers are left out: its vectors are those of the pooling."
        return [_SAID[self.kind], *([lost] if self.left_out else [])]

    def metrics_for(self) -> tuple[str, ...]:
        return _METRICS[self.kind]

    def gives_here(self) -> tuple[str, ...]:
        return _GIVES[self.kind]

    def encode(self, values: Mapping[str, Any]) -> list[Example]:
        """Return the example of a row: `input_ids` and its like are lists of lists, one for each text."""
        kind = _kind_of(values)
        if kind != self.kind and SCORED in (kind, self.kind):
            raise RowError(f"a row of {kind}, and the first training row is one of {self.kind}")
        texts = [(name, values[name]) for name in ("anchor", "positive")]
        texts += [("negative", text) for text in _negatives(values)]
        for name, text in texts:
            if not isinstance(text, str) or not text.strip():
                raise RowError(f"the {name} is {'empty' if not text else f'no text: {text!r}'}")
        encoded = [self.tokenize(text) for _, text in texts]
        example: Example = {name: [each[name] for each in encoded] for name in encoded[0]}
        if self.kind == SCORED:
            return [{**example, "score": _score(values["score"])}]
        identity = [_identity(each["input_ids"]) for each in encoded]
        if identity[1] in identity[2:]:
            raise RowError("a negative is the positive")
        return [{**example, "identity": identity}]

    # -- from examples to a loss

    def collate(self, examples: Sequence[Example], draws: Sequence[Draw]) -> Batch:
        """Make a batch of all texts of all rows.

        Its labels are (texts, 3): the number of the row, 0 for its anchor, 1 for its positive, 2 for a negative,
        and a number that equal texts share. Of scored pairs they are (texts, 2): the row's number and score.
        """
        import torch

        names = [name for name in self.tokenizer.model_input_names if name in examples[0]]
        texts, labels = [], []
        for example, draw in zip(examples, draws, strict=True):
            for place, ids in enumerate(example["input_ids"]):
                texts.append({name: example[name][place] for name in names} | {"input_ids": ids})
                labels.append(
                    (draw.index, example["score"])
                    if self.kind == SCORED
                    else (draw.index, min(place, 2), example["identity"][place])
                )
        inputs, tokens, padded = self.padded(texts)
        kind = torch.float64 if self.kind == SCORED else torch.int64
        return Batch(inputs, torch.tensor(labels, dtype=kind), float(len(examples)), tokens, padded)

    def set_up(self, model: PreTrainedModel) -> None:
        """Leave a pooler alone, which the vectors do not come from."""
        if model.config.is_encoder_decoder:
            raise ModelError(
                f"{self.config.model.name} has an encoder and a decoder; sentence-embedding takes one of both.",
                hint="Choose an encoder such as BERT, or a decoder with training.pooling: last-token.",
            )
        for name, parameter in model.named_parameters():
            if name.startswith("pooler."):
                parameter.requires_grad_(False)

    def represent(self, model: PreTrainedModel, batch: Batch) -> torch.Tensor:
        hidden_states = model(**batch.inputs)[0]
        return pool(hidden_states.float(), batch.inputs["attention_mask"], self.pooling)

    def step_loss(self, representations: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        settings = self.config.training
        if self.kind == SCORED:
            return cosent_loss(
                representations[0::2], representations[1::2], labels[0::2, 1], settings.temperature
            )
        return ranking_loss(representations, labels, settings.temperature, settings.label_smoothing)

    def output_files(self, model: PreTrainedModel) -> dict[str, str]:
        return sentence_files(self.modules, model.config.hidden_size)

    # -- judging

    def judge(self, model: PreTrainedModel, batch: Batch) -> tuple[torch.Tensor, list[Any], list[Any]]:
        """Return no loss, for it is one of the whole set; and of each row its vectors and labels."""
        import torch

        vectors = self.represent(model, batch).cpu()
        labels = batch.labels.cpu()
        _, counts = labels[:, 0].unique_consecutive(return_counts=True)
        sizes = counts.tolist()
        return torch.zeros(()), list(vectors.split(sizes)), list(labels.split(sizes))

    def judge_closely(self, model: PreTrainedModel, batch: Batch) -> Verdict:
        """Judge a batch; how wrong the model is on a row, only the whole set tells: `settle`."""
        loss, vectors, labels = self.judge(model, batch)
        return Verdict(loss, vectors, labels, [0.0] * len(vectors))

    def settle(self, judged: Judged) -> Judged:
        """Return the cosine and the score of each scored pair; of other rows the rank of the positive in the set."""
        import torch

        vectors, labels = torch.cat(judged.predictions), torch.cat(judged.references)
        loss = float(self.step_loss(vectors, labels))
        if self.kind == SCORED:
            alike = torch.cosine_similarity(vectors[0::2], vectors[1::2])
            scores = labels[0::2, 1]
            return replace(
                judged,
                loss=loss,
                predictions=alike.tolist(),
                references=scores.tolist(),
                losses=(_standardized(alike) - _standardized(scores)).abs().tolist(),
            )
        ranked, counts = ranks(vectors, labels)
        far = [math.log(each.rank) for each in ranked]
        return replace(judged, loss=loss, predictions=ranked, references=counts, losses=far)

    def for_metric(self, takes: str, judged: Judged) -> Judged:
        if self.kind == SCORED:
            return judged
        if takes == "classes":
            beaten = [int(each.beats_own) for each in judged.predictions]
            return replace(judged, predictions=beaten, references=[1] * len(beaten))
        return replace(judged, predictions=[each.rank for each in judged.predictions])


def _kind_of(values: Mapping[str, Any]) -> str:
    if "negative" in values and "score" in values:
        raise RowError(
            "the row has negatives and a score, and only one of them can be learned from",
            hint="Name what is meant in data.columns: {anchor: …, positive: …, score: …}",
        )
    return SCORED if "score" in values else TRIPLETS if "negative" in values else PAIRS


def _negatives(values: Mapping[str, Any]) -> Iterator[Any]:
    """Go through the negatives of a row; cells that a csv leaves empty are none."""
    found = unpacked(values.get("negative"))
    yield from (each for each in (found if isinstance(found, list) else [found]) if each not in (None, ""))


def _standardized(values: torch.Tensor) -> torch.Tensor:
    """Return numbers, (pairs,), less their mean and over their standard deviation."""
    return (values - values.mean()) / values.std(correction=0).clamp(min=1e-9)


def _score(value: Any) -> float:
    try:
        score = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        score = math.nan
    if not math.isfinite(score):
        raise RowError(
            f"the score {value!r} is no number",
            hint="If the rows are pairs, name their columns: data.columns: {anchor: …, positive: …}.",
        )
    return score


def _identity(ids: Sequence[int]) -> int:
    """Return a number for a text that is, but for one chance in 2^63, that of no other."""
    digest = hashlib.blake2b(",".join(map(str, ids)).encode(), digest_size=8).digest()
    return int.from_bytes(digest) >> 1
