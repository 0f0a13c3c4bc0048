"""Language-model losses: logits at the targets alone, and the negative log-likelihood of each.

A head multiplies each position with the whole vocabulary. In masked-LM training six of seven positions are no
targets, and in chats most are not: to leave them out saves more than half of the work of a small model.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from llmkit.training.objectives.batch import IGNORED
from llmkit.training.objectives.packing import inner_model

if TYPE_CHECKING:
    import torch


def forward_at(
    model: Any, inputs: dict[str, torch.Tensor], at: torch.Tensor, **options: Any
) -> tuple[torch.Tensor, Any]:
    """Run a model, its vocabulary head at some positions alone.

    Args:
        at: (batch, sequence), true where logits are wanted.
        options: further arguments of forward.

    Returns:
        Logits (wanted, vocabulary) in the order of the positions, and all that the model gave.
    """
    with _hidden_states_at(model, at):
        outputs = model(**inputs, **options)
    # A model with a second head beside it calls them so.
    logits = outputs.prediction_logits if "prediction_logits" in outputs else outputs.logits
    if logits.shape[:2] == at.shape:  # the model has no body of its own, or gives no last hidden state
        return logits[at], outputs
    return logits.flatten(0, -2), outputs


@contextmanager
def _hidden_states_at(model: Any, at: torch.Tensor) -> Iterator[None]:
    """Let the head of a model see the hidden states of some positions alone, as one row."""
    inner = inner_model(model)
    body = getattr(inner, "base_model", inner)
    if body is inner:
        yield
        return

    def keep(module: Any, arguments: Any, outputs: Any) -> Any:
        if getattr(outputs, "last_hidden_state", None) is not None:
            outputs.last_hidden_state = outputs.last_hidden_state[at].unsqueeze(0)
        return outputs

    hook = body.register_forward_hook(keep)
    try:
        yield
    finally:
        hook.remove()


def smoothed_loss(logits: torch.Tensor, targets: torch.Tensor, smoothing: float) -> torch.Tensor:
    """Return the sum of the cross entropies of targets (wanted,), with label smoothing."""
    from torch.nn import functional

    return functional.cross_entropy(logits.float(), targets, label_smoothing=smoothing, reduction="sum")


def judged_tokens(logits: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, list[Any], list[Any]]:
    """Judge the targets of a batch.

    Args:
        logits: (targets, vocabulary), as `forward_at` gives them.
        labels: (batch, sequence), `IGNORED` where there is no target.

    Returns:
        The sum of the negative log-likelihoods in nats; of each row ``{"loss": their sum, "tokens": [found, …]}``
        and ``{"loss": their number, "tokens": [right, …]}``.
    """
    import torch
    from torch.nn import functional

    at = labels != IGNORED
    targets = labels[at]
    losses = functional.cross_entropy(logits.float(), targets, reduction="none")
    rows = at.nonzero()[:, 0]
    sums = torch.zeros(len(labels), dtype=torch.float64, device="cpu")
    sums = sums.index_add(0, rows.cpu(), losses.double().cpu())
    counts = at.sum(1).tolist()
    found = logits.argmax(-1).cpu().split(counts)
    right = targets.cpu().split(counts)
    predictions = [
        {"loss": loss, "tokens": row.tolist()} for loss, row in zip(sums.tolist(), found, strict=True)
    ]
    references = [{"loss": count, "tokens": row.tolist()} for count, row in zip(counts, right, strict=True)]
    return losses.sum(), predictions, references


def tokens_for(takes: str, rows: list[Any]) -> list[Any]:
    """Return what a metric takes of the rows of `judged_tokens`: all tokens, or for losses a number a row."""
    if takes == "losses":
        return [row["loss"] for row in rows]
    return [token for row in rows for token in row["tokens"]]


def row_losses(predictions: list[Any], references: list[Any]) -> list[float]:
    """Return the mean loss of a target of each row, from what `judged_tokens` gave."""
    return [
        found["loss"] / max(1, right["loss"]) for found, right in zip(predictions, references, strict=True)
    ]


def readable_tokens(tokenizer: Any, row: Any) -> str:
    """Return the tokens of a row of `judged_tokens` as text."""
    return str(tokenizer.decode(row["tokens"]))
