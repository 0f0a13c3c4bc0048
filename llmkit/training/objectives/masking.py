"""Which tokens a masked language model has to find, and what it sees in their place.

Devlin et al. 2018, BERT, section 3.1 (https://arxiv.org/abs/1810.04805): of the tokens that are chosen, 80 % become
[MASK], 10 % a random token, and 10 % stay.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmkit.errors import ModelError
from llmkit.training.objectives.batch import IGNORED

if TYPE_CHECKING:
    import torch

_AS_MASK = 0.8
_AS_RANDOM = 0.1


@dataclass(frozen=True, slots=True)
class Masking:
    """How tokens are masked.

    Attributes:
        share: of the tokens of a text that are chosen; at least one is.
        mask: the id of [MASK].
        special: ids that are never chosen, and never put in place of another.
        words: (ids,), all the others.
    """

    share: float
    mask: int
    special: frozenset[int]
    words: torch.Tensor

    def apply(self, ids: list[int], generator: torch.Generator) -> tuple[list[int], list[int]]:
        """Return the ids that the model sees, and the labels: `IGNORED` but for the tokens that were chosen."""
        import torch

        candidates = [index for index, token in enumerate(ids) if token not in self.special]
        seen, labels = list(ids), [IGNORED] * len(ids)
        if not candidates:
            return seen, labels
        count = max(1, round(len(candidates) * self.share))
        chosen = torch.randperm(len(candidates), generator=generator)[:count].tolist()
        fates = torch.rand(count, generator=generator).tolist()
        others = self.words[torch.randint(len(self.words), (count,), generator=generator)].tolist()
        for candidate, fate, other in zip(chosen, fates, others, strict=True):
            index = candidates[candidate]
            labels[index] = ids[index]
            if fate < _AS_MASK:
                seen[index] = self.mask
            elif fate < _AS_MASK + _AS_RANDOM:
                seen[index] = other
        return seen, labels

    def has_words(self, ids: list[int]) -> bool:
        """Tell whether there is a token to choose."""
        return any(token not in self.special for token in ids)


def masking_of(tokenizer: Any, share: float, name: str, task: str) -> Masking:
    """Return how a tokenizer's tokens are masked.

    Raises:
        ModelError: it has no [MASK].
    """
    import torch

    if tokenizer.mask_token_id is None:
        raise ModelError(
            f"the tokenizer of {name} has no mask token, which {task} needs.",
            hint="Choose an encoder such as BERT, or train causal-lm.",
        )
    special = frozenset(tokenizer.all_special_ids)
    words = [number for number in range(len(tokenizer)) if number not in special]
    return Masking(share, tokenizer.mask_token_id, special, torch.tensor(words))
