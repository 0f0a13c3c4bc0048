"""An encoder that is loaded, as requests for vectors reach it."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

from llmkit.serving.engine import Job, Part
from llmkit.serving.served_tasks import ModelFailedError
from llmkit.serving.task_requests import MOST_INPUTS, BadRequestError


class ServedEncoder:
    """One encoder: a vector for each text."""

    def __init__(self, name: str, encoder: Any) -> None:
        self.name = name
        self._encoder = encoder

    def job(self, body: Any) -> Job:
        """Return the work that a request in the shape of OpenAI's asks for.

        Raises:
            BadRequestError: the request is none.
        """
        if not isinstance(body, dict) or "input" not in body:
            raise BadRequestError('a request is an object with "input".')
        if body.get("encoding_format", "float") not in ("float", "base64"):
            raise BadRequestError('"encoding_format" should be "float" or "base64".')
        texts = body["input"] if isinstance(body["input"], list) else [body["input"]]
        if not 0 < len(texts) <= MOST_INPUTS:
            raise BadRequestError(f'"input" should hold from 1 to {MOST_INPUTS} texts.')
        if not all(isinstance(text, str) and text.strip() for text in texts):
            raise BadRequestError('"input" should be a text or a list of texts, none of them empty.')
        dimensions = body.get("dimensions")
        if dimensions is not None and (
            not isinstance(dimensions, int)
            or isinstance(dimensions, bool)
            or not 0 < dimensions <= self._encoder.dimension
        ):
            raise BadRequestError(
                f'"dimensions" should be a whole number from 1 to {self._encoder.dimension}.'
            )
        return Job(self._run, texts, key=("embeddings", self.name))

    def answer(self, body: Any, values: Sequence[Any]) -> dict[str, Any]:
        """Return the answer in the shape of OpenAI's; vectors that are cut are made of length 1 again."""
        import numpy

        vectors, tokens = [vector for vector, _ in values], sum(count for _, count in values)
        if (dimensions := body.get("dimensions")) is not None:
            cut = [vector[:dimensions] for vector in vectors]
            vectors = [each / max(float(numpy.linalg.norm(each)), 1e-12) for each in cut]
        encode = _in_base64 if body.get("encoding_format") == "base64" else lambda vector: vector.tolist()
        data = [
            {"object": "embedding", "index": number, "embedding": encode(vector)}
            for number, vector in enumerate(vectors)
        ]
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return {"object": "list", "data": data, "model": self.name, "usage": usage}

    def _run(self, jobs: Sequence[Part]) -> list[Any]:
        """Return for each job its texts' vectors with their tokens, or what went wrong with one."""
        from llmkit.embeddings.embedding import Embedding, embed_texts

        texts = [text for job in jobs for text in job.items]
        tokenized = self._encoder.tokenizer.tokenize(texts)
        found = iter(zip(embed_texts(self._encoder, texts, tokenized), tokenized, strict=True))
        results: list[Any] = []
        for job in jobs:
            mine = [next(found) for _ in job.items]
            embedded = [
                (each.vectors, _tokens(pieces)) for each, pieces in mine if isinstance(each, Embedding)
            ]
            wrong = next((each for each, _ in mine if not isinstance(each, Embedding)), None)
            results.append(
                embedded if wrong is None else ModelFailedError(f"the model fails on this: {wrong}")
            )
        return results


def _tokens(tokenized: Any) -> int:
    return sum(len(piece.ids) for piece in tokenized.pieces)


def _in_base64(vector: Any) -> str:
    return base64.b64encode(vector.astype("<f4").tobytes()).decode()
