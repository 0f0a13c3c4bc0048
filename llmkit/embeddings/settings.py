"""What vectors are wanted: of what, from which layers, pooled and finished how."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from llmkit.errors import UsageError, no_such
from llmkit.wanted import at_least

LEVELS = ("sentence", "token", "word")
POOLINGS = ("mean", "cls", "max", "pooler", "last-token", "weighted-mean", "mean-sqrt-length", "none")
MERGES = ("mean", "sum", "concat")
SUBWORDS = ("mean", "first", "max")
LONG_CHOICES = ("truncate", "split-mean", "error")

_LAYER = re.compile(r"-?\d+")
_RANGE = re.compile(r"(-?\d+)?:(-?\d+)?")


@dataclass(frozen=True, slots=True)
class EmbedSettings:
    """Which vectors are wanted.

    Attributes:
        level: sentence, one vector a text; token; or word.
        pooling: from token vectors to a text's; None for what the model's own files say, else the mean.
        layers: as `layer_numbers` reads them; 0 is the embedding, -1 the last layer.
        layers_merge: how several layers become one: mean, sum or concat.
        normalize: to length 1; None for what the model's own files say.
        dim: keep the first so many numbers (Matryoshka representations, Kusupati et al. 2022).
        prompt: put before each text: the name of one of the model's own prompts, or the words themselves.
        long: what becomes of a text that is longer than the model takes.
        max_length: tokens, special ones included; a lower limit than the model's own.
        word: the vector of this word in each text, whatever subwords it is split into.
        subwords: how the vectors of a word's tokens become one.
    """

    level: str = "sentence"
    pooling: str | None = None
    layers: str = "-1"
    layers_merge: str = "mean"
    normalize: bool | None = None
    dim: int | None = None
    prompt: str | None = None
    long: str = "truncate"
    max_length: int | None = None
    word: str | None = None
    subwords: str = "mean"

    @property
    def by_token(self) -> bool:
        """Whether what comes out of the model is wanted token by token."""
        return self.level != "sentence" or self.pooling == "none" or self.word is not None

    @property
    def effective_level(self) -> str:
        """The level after what the other settings say of it: a word's vector, or nothing pooled."""
        if self.word is not None:
            return "word"
        return "token" if self.level == "sentence" and self.pooling == "none" else self.level


def check_settings(settings: EmbedSettings) -> None:
    """Check what can be checked without a model.

    Raises:
        UsageError: a choice that is none, a number out of range, or settings that do not go together.
    """
    choices: dict[str, tuple[str | None, Sequence[str]]] = {
        "--level": (settings.level, LEVELS),
        "--pooling": (settings.pooling, POOLINGS),
        "--layers-merge": (settings.layers_merge, MERGES),
        "--subwords": (settings.subwords, SUBWORDS),
        "--long": (settings.long, LONG_CHOICES),
    }
    for option, (value, known) in choices.items():
        if value is not None and value not in known:
            raise no_such(option, value, "choice", known)
    for option, number in (("--dim", settings.dim), ("--max-length", settings.max_length)):
        at_least(1, number, option)
    if settings.word is not None and not settings.word.strip():
        raise UsageError("--word is empty.")
    if settings.word is not None and settings.level == "token":
        raise UsageError("--word gives one vector a text, and --level token one a token: use one of them.")
    pools = settings.pooling not in (None, "none")
    if settings.by_token and pools:
        raise UsageError(
            f"--pooling {settings.pooling} makes one vector of a text; with --level {settings.effective_level} "
            "nothing is pooled.",
            hint="--subwords says how the tokens of a word become one vector.",
        )
    if settings.subwords != "mean" and settings.effective_level != "word":
        raise UsageError(
            f"--subwords {settings.subwords} makes one vector of a word's tokens: it needs --level word or --word."
        )
    if settings.pooling == "pooler" and settings.layers != "-1":
        raise UsageError("--pooling pooler is computed from the last layer: leave --layer out.")
    if settings.by_token and settings.long == "split-mean":
        raise UsageError("--long split-mean is the mean of a text's parts: it needs --level sentence.")
    layer_parts(settings.layers)


def layer_parts(text: str) -> list[str]:
    """Split ``1,2,3`` or ``-4:`` at the commas.

    Raises:
        UsageError: a part is neither a number nor a range of them.
    """
    parts = [part.strip() for part in text.split(",")]
    for part in parts:
        if not (_LAYER.fullmatch(part) or (_RANGE.fullmatch(part) and part)):
            raise UsageError(
                f"--layer {text}: '{part}' is no layer.",
                hint="Use numbers (0 is the embedding, -1 the last layer) and ranges: -1, or 1,2,3, or -4:",
            )
    return parts


def layer_numbers(text: str, layers: int) -> list[int]:
    """Return the numbers of the hidden states that ``1,2,3`` or ``-4:`` stands for.

    Args:
        layers: of the model; there is one hidden state more, the embedding, number 0.

    Raises:
        UsageError: the model has no such layer.
    """
    found: list[int] = []
    for part in layer_parts(text):
        if ":" in part:
            first, last = (int(each) if each else None for each in part.split(":"))
            numbers = list(range(layers + 1))[first:last]
            if not numbers:
                raise UsageError(f"--layer {part}: there is no layer in it; the model has 0 to {layers}.")
            found += numbers
            continue
        number = int(part)
        if not -layers - 1 <= number <= layers:
            raise UsageError(
                f"--layer {number}: there is no such layer.",
                hint=f"The model has {layers}: 0 (the embedding) to {layers}, or -1 (the last) to -{layers + 1}.",
            )
        found.append(number % (layers + 1))
    return found
