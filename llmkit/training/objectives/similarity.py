"""Losses over cosine similarities: which text belongs to which, and which pair is more alike than which."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llmkit.training.objectives.weighting import choice_loss

if TYPE_CHECKING:
    import torch

ANCHOR, POSITIVE, NEGATIVE = 0, 1, 2
_ANCHORS_AT_ONCE = 1024


@dataclass(frozen=True, slots=True)
class Choices:
    """Some anchors, and the candidates among which each one's positive is to be found.

    Attributes:
        cosines: (anchors, candidates).
        right: (anchors,), the number of each one's positive.
        allowed: (anchors, candidates), false for one that is no negative though it is not the anchor's positive:
            it is the same text as the positive or the anchor, or the positive of a row with the same anchor.
        own: (anchors, candidates), true for the positive and the negatives of the anchor's own row.
    """

    cosines: torch.Tensor
    right: torch.Tensor
    allowed: torch.Tensor
    own: torch.Tensor


def choices(vectors: torch.Tensor, labels: torch.Tensor) -> Iterator[Choices]:
    """Go through the anchors of rows, a thousand at a time, so that large sets fit in memory.

    Args:
        vectors: (texts, width); a row's anchor comes first, then its positive, then its negatives.
        labels: (texts, 3): number of the row, `ANCHOR`, `POSITIVE` or `NEGATIVE`, and what equal texts share.
    """
    import torch

    unit = torch.nn.functional.normalize(vectors.float(), dim=-1)
    is_anchor = labels[:, 1] == ANCHOR
    candidates, candidate = unit[~is_anchor], labels[~is_anchor]
    anchors, anchor = unit[is_anchor], labels[is_anchor]
    is_positive = candidate[:, 1] == POSITIVE
    row, text = candidate[:, 0], candidate[:, 2]
    # Anchors and positives are in the same order of rows, a row's number aside.
    place_of_row = (is_anchor.cumsum(0) - 1)[~is_anchor]
    text_of_anchor = anchor[place_of_row, 2]
    right = is_positive.nonzero().squeeze(1)
    for part in torch.arange(len(anchors), device=labels.device).split(_ANCHORS_AT_ONCE):
        same_anchor = anchor[part, 2, None] == text_of_anchor
        allowed = ~(
            (text == text[right[part], None]) | (text == anchor[part, 2, None]) | (same_anchor & is_positive)
        )
        allowed.scatter_(1, right[part, None], True)
        own = anchor[part, 0, None] == row
        yield Choices(anchors[part] @ candidates.T, right[part], allowed, own)


def ranking_loss(
    vectors: torch.Tensor, labels: torch.Tensor, temperature: float, smoothing: float = 0.0
) -> torch.Tensor:
    """Return the mean cross entropy of each anchor's positive among all candidates, by cosine / temperature.

    Multiple negatives ranking: Henderson et al. 2017, "Efficient Natural Language Response Suggestion for Smart
    Reply", section 4.4; as sentence-transformers has it, with its scale of 20 for a temperature of 0.05. A candidate
    that is no negative (`Choices.allowed`) is left out.

    Args:
        vectors, labels: as for `choices`.
        smoothing: share of the target that is spread over all candidates.
    """
    parts = [
        choice_loss(each.cosines / temperature, each.right, each.allowed, smoothing)
        for each in choices(vectors, labels)
    ]
    return sum(parts[1:], start=parts[0]) / (labels[:, 1] == ANCHOR).sum()


def cosent_loss(
    first: torch.Tensor, second: torch.Tensor, scores: torch.Tensor, temperature: float
) -> torch.Tensor:
    """Return log(1 + Σ exp((cos_k − cos_i) / temperature)) over all i, k where pair i has the higher score.

    CoSENT: Huang et al. 2024, "CoSENT: Consistent Sentence Embedding via Similarity Ranking", IEEE/ACM TASLP. Only
    the order of the scores counts, so they may be on any scale.

    Args:
        first, second: (pairs, width), the vectors of each pair.
        scores: (pairs,).
    """
    import torch

    scores, order = scores.sort()
    alike = (torch.cosine_similarity(first.float(), second.float()) / temperature)[order]
    # Of each pair the sum over those behind it in the order, from the first that has a higher score.
    behind = torch.cat([(-alike.flip(0)).logcumsumexp(0).flip(0), alike.new_full((1,), -torch.inf)])
    each = alike + behind[torch.searchsorted(scores, scores, right=True)]
    return torch.cat([each, each.new_zeros(1)]).logsumexp(0)


@dataclass(frozen=True, slots=True)
class Ranked:
    """Where a row's positive stands among the candidates of its set, and whether before its own negatives."""

    rank: int
    beats_own: bool


def ranks(vectors: torch.Tensor, labels: torch.Tensor) -> tuple[list[Ranked], list[int]]:
    """Rank each row's positive by cosine, from 1; those as alike stand before it.

    Returns:
        The rank of each row's positive, and among how many candidates.
    """
    ranked, counts = [], []
    for each in choices(vectors, labels):
        right = each.right.unsqueeze(1)
        rivals = (each.cosines >= each.cosines.gather(1, right)) & each.allowed
        rivals.scatter_(1, right, False)
        beats = ~(rivals & each.own).any(1)
        pairs = zip((rivals.sum(1) + 1).tolist(), beats.tolist(), strict=True)
        ranked += [Ranked(rank, beats_own) for rank, beats_own in pairs]
        counts += each.allowed.sum(1).tolist()
    return ranked, counts
