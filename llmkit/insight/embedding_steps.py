"""From a token to what the first layer begins with: its embedding, its position and its segment."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from llmkit.insight.blocks import Linear, linear, norm
from llmkit.insight.steps import Step, step
from llmkit.insight.watching import Looked, Watched

if TYPE_CHECKING:
    from torch import Tensor


class Embedded:
    """The steps of one token's embeddings, each kept for the next.

    Attributes:
        result: (width), what the first layer begins with; None where no table was looked into.
    """

    def __init__(self, seen: Watched, place: int, count: int) -> None:
        """Prepare the steps of the token at `place`, from 0, of `count` tokens."""
        self.seen, self.place, self.count = seen, place, count
        self.result: Tensor | None = None
        projection = seen.embedding_projection
        self._wider: Linear | None = None if projection is None else linear(projection)

    def steps(self) -> Iterator[Step]:
        """Go through the steps."""
        names: list[str] = []
        for looked in self.seen.embeddings:
            row, rule, name = self._looked_up(looked)
            names.append(name)
            yield step(f"{name} embedding", rule, row, row)
            if self.result is not None and len(self.result) != len(row):  # OPT of 350M widens before the sum
                yield from self._widened("e")
                names[:-1] = [" + ".join(names[:-1]) + " projected"]
            self.result = row if self.result is None else self.result + row
        if self.result is None:
            return
        if len(names) > 1:
            yield step("sum", " + ".join(names), self.result, self.result)
        if self.seen.embedding_norm is not None:
            after = norm(self.seen.embedding_norm)
            self.result = after(self.result)
            yield step(f"x = {after.name}", after.formula, (self.count, len(self.result)), self.result)
        yield from self._widened("x")

    def _looked_up(self, looked: Looked) -> tuple[Tensor, str, str]:
        """Return a token's row of a table, what it is, and the table's name."""
        number = int(looked.ids[self.place] if looked.ids.numel() > 1 or self.place == 0 else looked.ids[0])
        rows, width = looked.table.shape
        rule = f"row {number:,} of {rows:,} × {width:,}"
        if looked.scale == 1.0:
            return looked.table[number], rule, _name_of_table(looked)
        return looked.table[number] * looked.scale, f"{rule}, × {_root(looked.scale)}", _name_of_table(looked)

    def _widened(self, what: str) -> Iterator[Step]:
        """Make the embedding as wide as the layers, once, where a model does that."""
        if self._wider is None or self.result is None:
            return
        self.result = self._wider(self.result)
        rule = self._wider.formula(what, "W_E")
        yield step(f"{what} projected", rule, (self.count, len(self.result)), self.result)
        self._wider = None


def _root(scale: float) -> str:
    square = round(scale * scale)
    return f"√{square}" if abs(scale * scale - square) < 1e-6 * square else f"{scale:.6g}"


def _name_of_table(looked: Looked) -> str:
    name = looked.name.lower()
    if "position" in name or name == "wpe":
        return "position"
    return "segment" if "type" in name or "segment" in name else "token"
