"""squad: the nested JSON of SQuAD 1.1 and 2.0, a question a row.

``{"data": [{"title", "paragraphs": [{"context", "qas": [{"id", "question", "answers"}]}]}]}`` becomes the flat
rows that data sets on the hub have: ``{"id", "title", "context", "question", "answers": {"text": […],
"answer_start": […]}}``; a question without an answer has empty lists (https://arxiv.org/abs/1806.03822).
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from llmkit.data.json_rows import read_json
from llmkit.data.records import BadRecord, Record, Row


def read_squad(stream: io.BufferedReader, source: str) -> Iterator[Row]:
    """The questions of every article; `line` is the number of the question.

    A paragraph or a question that is not as it should be is a `BadRecord` with the article's title.
    """
    return _questions(read_json(stream, source), source)


def read_json_or_squad(stream: io.BufferedReader, source: str) -> Iterator[Row]:
    """The rows of a JSON file; the questions, where its first row is an article of SQuAD."""
    rows = read_json(stream, source)
    first = next(rows, None)
    if first is None:
        return
    everything = itertools.chain([first], rows)
    yield from _questions(everything, source) if _is_article(first) else everything


def _is_article(row: Row) -> bool:
    paragraphs = row.values.get("paragraphs") if isinstance(row, Record) else None
    return isinstance(paragraphs, list) and any(
        isinstance(paragraph, Mapping) and "qas" in paragraph for paragraph in paragraphs
    )


def _questions(articles: Iterable[Row], source: str) -> Iterator[Row]:
    """Number what is found: several rows come of one article, and each has a place of its own."""
    found = itertools.chain.from_iterable(map(_of_article, articles))
    for number, each in enumerate(found, start=1):
        yield BadRecord(source, number, each) if isinstance(each, str) else Record(each, source, number)


def _of_article(row: Row) -> Iterator[dict[str, Any] | str]:
    """Go through the questions of an article; a text in place of one says why it cannot be read."""
    if isinstance(row, BadRecord):
        yield f"article {row.line}: {row.reason}"
        return
    title = row.values.get("title", "")
    paragraphs = row.values.get("paragraphs")
    if not isinstance(paragraphs, list):
        yield f"article {row.line} has no list of paragraphs"
        return
    for number, paragraph in enumerate(paragraphs, start=1):
        where = f"paragraph {number} of {title or f'article {row.line}'}"
        if not isinstance(paragraph, Mapping) or not isinstance(paragraph.get("context"), str):
            yield f"{where} has no context"
        elif not isinstance(paragraph.get("qas"), list):
            yield f"{where} has no list of questions (qas)"
        else:
            for each in paragraph["qas"]:
                yield _flat(each, title, paragraph["context"], where)


def _flat(entry: Any, title: Any, context: str, where: str) -> dict[str, Any] | str:
    if not isinstance(entry, Mapping) or not isinstance(entry.get("question"), str):
        return f"a question in {where} has no text"
    answers = entry.get("answers") or []
    whole = isinstance(answers, list) and all(
        isinstance(each, Mapping) and {"text", "answer_start"} <= each.keys() for each in answers
    )
    if not whole:
        return (
            f"question {entry.get('id', '')} in {where}: each of its answers needs a text and an answer_start"
        )
    return {
        "id": entry.get("id", ""),
        "title": title,
        "context": context,
        "question": entry["question"],
        "answers": {key: [each[key] for each in answers] for key in ("text", "answer_start")},
    }
