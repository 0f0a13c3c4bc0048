"""What a language model would write: the next token of a text, or the words in its blanks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmkit.insight.labels import readable_tokens
from llmkit.insight.prepared import Side

if TYPE_CHECKING:
    import numpy
    from transformers import PreTrainedModel

    Array = numpy.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A token that may stand somewhere.

    Attributes:
        token: as the vocabulary has it; None for a place of the output layer that no token has.
        label: as a person reads it.
        probability: softmax over the whole vocabulary.
    """

    id: int
    token: str | None
    label: str
    logit: float
    probability: float


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a model expects at one place.

    Attributes:
        position: of the token whose output this is: the last one, or a blank; from 0.
        is_blank: it is a blank that is filled, not the token after `position`.
        logits: (vocabulary), float32.
        tokenizer: what the ids stand for.
    """

    position: int
    is_blank: bool
    logits: Array
    tokenizer: Any

    def top(self, count: int) -> list[Candidate]:
        """Return the most probable tokens, best first; equal ones in the order of their ids."""
        import numpy

        best = numpy.argsort(-self.logits, kind="stable")[:count].tolist()
        spread = numpy.exp(self.logits.astype(numpy.float64) - self.logits.max())
        probabilities = spread / spread.sum()
        tokens = self.tokenizer.convert_ids_to_tokens(best)
        labels = readable_tokens(self.tokenizer, ["" if each is None else str(each) for each in tokens])
        return [
            Candidate(
                number, token, label or f"#{number}", float(self.logits[number]), float(probabilities[number])
            )
            for number, token, label in zip(best, tokens, labels, strict=True)
        ]


def predictions_of(model: PreTrainedModel, tokenizer: Any, out: Any, side: Side) -> list[Prediction]:
    """Return what a language model expects: after the last token, or for BERT and its like in each blank.

    Args:
        out: what the model gave.
        side: the tokens that its output stands for: of the decoder, where there is one.

    Returns:
        Nothing for a model without a language modelling head, or a masked one without a blank.
    """
    import transformers

    logits = getattr(out, "logits", None)
    if logits is None:
        return []
    if _is_a(model, transformers.AutoModelForMaskedLM) and tokenizer.mask_token_id is not None:
        places = [place for place, each in enumerate(side.ids) if each == tokenizer.mask_token_id]
        return [
            Prediction(place, True, logits[0, place].float().cpu().numpy(), tokenizer) for place in places
        ]
    if _is_a(model, transformers.AutoModelForCausalLM) or _is_a(model, transformers.AutoModelForSeq2SeqLM):
        last = len(side) - 1
        return [Prediction(last, False, logits[0, last].float().cpu().numpy(), tokenizer)]
    return []


def _is_a(model: PreTrainedModel, auto_class: Any) -> bool:
    found = auto_class._model_mapping.get(type(model.config), ())
    return isinstance(model, tuple(found) if isinstance(found, (tuple, list)) else (found,))
