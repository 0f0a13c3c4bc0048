"""The texts that a run has embedded, with their vectors, so that an equal text is not computed again.

They lie in a SQLite file beside the output: memory stays flat however many there are, and a run that was killed
finds them again. What belongs to windows that were not made to last is forgotten then, so that the run which goes
on knows just what the first one knew at that place, and gives the same bytes.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from llmkit.embeddings.embedding import Embedding, Units
from llmkit.embeddings.words import Word
from llmkit.errors import OutputError

_TABLE = """
CREATE TABLE IF NOT EXISTS seen (
    key BLOB PRIMARY KEY, start INTEGER NOT NULL, about TEXT NOT NULL, dimension INTEGER NOT NULL, vectors BLOB NOT NULL
)
"""


def seen_path(output: Path) -> Path:
    """Return where the texts of a run into `output` are kept while it lasts."""
    return output.with_name(f"{output.name}.seen")


def forget(path: Path) -> None:
    """Remove what a run has kept, where it has."""
    for each in (path, path.with_name(f"{path.name}-journal")):
        each.unlink(missing_ok=True)


class SeenTexts:
    """Embeddings by their texts.

    Args:
        path: the file; None for one that is gone with the run.
        rows_done: rows of the input that an earlier run has done; what it kept of later ones is forgotten.

    Raises:
        OutputError: the file cannot be written.
    """

    def __init__(self, path: Path | None = None, rows_done: int = 0) -> None:
        if path is not None and not rows_done:
            forget(path)
        self._place = path or "the temporary folder"
        with self._explained():
            self._database = sqlite3.connect("" if path is None else path, isolation_level="IMMEDIATE")
            self._database.execute("PRAGMA synchronous = NORMAL")
            self._database.execute(_TABLE)
            self._database.execute("DELETE FROM seen WHERE start >= ?", (rows_done,))
            self._database.commit()

    def find(self, texts: Sequence[str]) -> dict[str, Embedding]:
        """Return the embeddings of those of the texts that were met before."""
        found = {}
        with self._explained():
            for text in texts:
                row = self._database.execute(
                    "SELECT about, dimension, vectors FROM seen WHERE key = ?", (_key(text),)
                ).fetchone()
                if row is not None:
                    found[text] = _embedding(text, *row)
        return found

    def add(self, start: int, embeddings: Iterable[Embedding]) -> None:
        """Keep the embeddings of texts that were not met before, from the window that begins at row `start`."""
        rows = (
            (_key(each.text), start, _about(each), each.vectors.shape[-1], each.vectors.tobytes())
            for each in embeddings
        )
        with self._explained():
            self._database.executemany("INSERT OR IGNORE INTO seen VALUES (?, ?, ?, ?, ?)", rows)
            self._database.commit()

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise OutputError(
                f"--dedupe cannot keep the texts it has met in {self._place}: {error}."
            ) from error


def _key(text: str) -> bytes:
    # 128 bits: among a thousand million texts, two that differ share a key with a chance of 1e-21.
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _about(embedding: Embedding) -> str:
    """Return all but the text and its vectors as JSON."""
    about = {
        "tokens": embedding.tokens,
        "cut": embedding.cut,
        "units": asdict(embedding.units) if embedding.units is not None else None,
        "word": asdict(embedding.word) if embedding.word is not None else None,
    }
    return json.dumps(about)


def _embedding(text: str, about: str, dimension: int, vectors: bytes) -> Embedding:
    import numpy

    given = json.loads(about)
    units, word = given["units"], given["word"]
    array = numpy.frombuffer(vectors, numpy.float32)
    return Embedding(
        text,
        array if units is None else array.reshape(-1, dimension),
        given["tokens"],
        given["cut"],
        None if units is None else Units(**{**units, "offsets": [tuple(each) for each in units["offsets"]]}),
        None if word is None else Word(**{**word, "tokens": tuple(word["tokens"])}),
    )
