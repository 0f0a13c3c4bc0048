"""BLEU and chrF, from the statistics of sacrebleu."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import Any

from llmkit.errors import MissingExtraError, unknown
from llmkit.metrics.inputs import as_text, as_texts, paired
from llmkit.metrics.metric import Result
from llmkit.metrics.summed import SummedMetric, Totals

TOKENIZERS = ("13a", "intl", "zh", "char", "none")
"""Those of sacrebleu that need neither a download nor another package."""


class SacrebleuMetric(SummedMetric):
    """A metric of sacrebleu. Summed are its own statistics of each sentence, (numbers,).

    A prediction is a text, a reference a text or a list of texts. Texts are as they are read: detokenised.
    """

    scorer: Any

    def statistics(self, predictions: Any, references: Any) -> Iterable[Totals]:
        predictions, references = paired(predictions, references)
        hypotheses = [as_text(each, "predictions") for each in predictions]
        golds = [as_texts(each, "references") for each in references]
        if not hypotheses:
            return []
        most = max(map(len, golds))
        # sacrebleu wants the first references of all sentences, then the second ones; None where there is none.
        streams = [[texts[place] if place < len(texts) else None for texts in golds] for place in range(most)]
        # What sacrebleu's own bootstrap (sacrebleu.significance) is built on.
        sentences = self.scorer._extract_corpus_statistics(hypotheses, streams)
        return [dict(enumerate(sentence)) for sentence in sentences]

    def score(self, totals: Totals) -> Any:
        """Return sacrebleu's score of the totals."""
        return self.scorer._compute_score_from_stats([int(totals[place]) for place in range(len(totals))])

    @abstractmethod
    def result(self, totals: Totals, examples: int) -> Result:
        """See `SummedMetric.result`."""


class Bleu(SacrebleuMetric):
    """Corpus BLEU, as ``sacrebleu`` reports it; 0 to 100.

    Args:
        tokenize: 13a, intl, zh, char or none.
        lowercase: compare in lower case.
        smooth_method: exp, floor, add-k or none.
        smooth_value: for floor and add-k.
        max_ngram_order: the longest n-grams.
        effective_order: leave out orders without a match.

    Raises:
        UsageError: the tokenizer is not one of these.
        MissingExtraError: sacrebleu is not installed.
    """

    result_keys = ("bleu",)

    def __init__(
        self,
        *,
        tokenize: str = "13a",
        lowercase: bool = False,
        smooth_method: str = "exp",
        smooth_value: float | None = None,
        max_ngram_order: int = 4,
        effective_order: bool = False,
    ) -> None:
        super().__init__()
        if tokenize not in TOKENIZERS:
            raise unknown("tokenizer for BLEU", str(tokenize), TOKENIZERS)
        if smooth_method not in (methods := ("exp", "floor", "add-k", "none")):
            raise unknown("smoothing", str(smooth_method), methods)
        self.scorer = _sacrebleu("BLEU")(
            tokenize=tokenize,
            lowercase=lowercase,
            smooth_method=smooth_method,
            smooth_value=smooth_value,
            max_ngram_order=max_ngram_order,
            effective_order=effective_order,
            force=True,
        )

    def result(self, totals: Totals, examples: int) -> Result:
        return {"bleu": self.score(totals).score}

    def details(self) -> dict[str, Any]:
        if not self.examples:
            return {}
        score = self.score(self.totals)
        return {
            name: getattr(score, name)
            for name in ("score", "counts", "totals", "precisions", "bp", "sys_len", "ref_len")
        }


class Chrf(SacrebleuMetric):
    """Corpus chrF, as ``sacrebleu -m chrf`` reports it; 0 to 100. With ``word_order=2`` it is chrF++.

    Args:
        char_order: the longest character n-grams.
        word_order: the longest word n-grams; 0 for none.
        beta: how much more recall weighs than precision.
        lowercase: compare in lower case.
        whitespace: count spaces as characters.
        eps_smoothing: smooth as chrF++.py does, instead of leaving out orders without n-grams.

    Raises:
        MissingExtraError: sacrebleu is not installed.
    """

    result_keys = ("chrf",)

    def __init__(
        self,
        *,
        char_order: int = 6,
        word_order: int = 0,
        beta: int = 2,
        lowercase: bool = False,
        whitespace: bool = False,
        eps_smoothing: bool = False,
    ) -> None:
        super().__init__()
        self.scorer = _sacrebleu("CHRF")(char_order, word_order, beta, lowercase, whitespace, eps_smoothing)

    def result(self, totals: Totals, examples: int) -> Result:
        return {"chrf": self.score(totals).score}

    def details(self) -> dict[str, Any]:
        scorer = self.scorer
        return {"char_order": scorer.char_order, "word_order": scorer.word_order, "beta": scorer.beta}


def _sacrebleu(name: str) -> Any:
    try:
        import sacrebleu.metrics
    except ImportError:
        raise MissingExtraError(f"the metric {name.lower()}", "metrics") from None
    return getattr(sacrebleu.metrics, name)
