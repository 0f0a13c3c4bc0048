"""Rows that cannot be learned from, of every task, and what is said of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.cli.test_finetune_bad_input import GOOD


@dataclass(frozen=True)
class Bad:
    """Rows, or the text of a file, and what is said of them.

    Attributes:
        train: content of the training file; rows are written as JSON Lines.
        said: the message, after the folder; then parts of the hint.
        files: further files.
        data: values of the config's data section; a file's name stands for its path.
    """

    name: str
    task: str
    train: Any
    said: tuple[str, ...]
    file: str = "train.jsonl"
    files: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    start: str | None = None
    code: int = 2


CLASSES, TAGS, SPANS = "text-classification", "token-classification", "question-answering"
CHOICES, MASKED, NEXT, CAUSAL = "multiple-choice", "masked-lm", "next-sentence", "causal-lm"


def quoted(text: str, start: Any, answer: Any = "John") -> list[dict[str, Any]]:
    return [{"question": "Who?", "context": text, "answers": {"text": [answer], "answer_start": [start]}}]


def chat(*turns: tuple[str, str]) -> list[dict[str, Any]]:
    return [{"messages": [{"role": role, "content": content} for role, content in turns]}]


FILES = [
    Bad("empty", CLASSES, "", ("train.jsonl is empty",)),
    Bad("a header alone", CLASSES, "text,label\n", ("train.csv is empty: it has a header",), "train.csv"),
    Bad(
        "a row too long",
        CLASSES,
        "text,label\na,pos\nb,neg,7\n",
        ("train.csv:3: expected 2 cells, as in the header, and found 3.",),
        "train.csv",
    ),
    Bad(
        "a row too short",
        CLASSES,
        "text,label\na,pos\nb\n",
        ("train.csv:3: expected 2 cells, as in the header, and found 1.",),
        "train.csv",
    ),
    Bad(
        "an open quote",
        CLASSES,
        'text,label\n"a,pos\nb,neg\n',
        ("train.csv:2: a quote opened in this row is never closed",),
        "train.csv",
    ),
    Bad(
        "a column twice",
        CLASSES,
        "text,text\na,b\n",
        ("train.csv:1: the header names the column",),
        "train.csv",
    ),
    Bad("NUL bytes", CLASSES, "text,label\na\0,b\n", ("train.csv is not a text file", "UTF-16"), "train.csv"),
    Bad(
        "Latin-1",
        CLASSES,
        "text,label\nm\u00f6bel,b\n".encode("latin-1"),
        ("train.csv:2: not UTF-8: byte 0xf6 at column 2",),
        "train.csv",
    ),
    Bad("half a line of JSON", CLASSES, '{"text": "a", "label": "x"}\n{"te', ("train.jsonl:2: not JSON",)),
    Bad("a row that is a number", CLASSES, "3\n4\n", ("train.jsonl:1: a row is an object",)),
    Bad(
        "NaN",
        CLASSES,
        '{"text":"a","label":0.5}\n{"text":"b","label":NaN}\n',
        ("train.jsonl:2: NaN is not JSON",),
    ),
    Bad(
        "half of a parquet file",
        CLASSES,
        b"PAR1" + bytes(50),
        ("train.parquet is damaged, after 0 rows",),
        "train.parquet",
    ),
    Bad("an ending that says nothing", CLASSES, "x", ("the ending of ", "data.format"), "train.docx"),
    Bad("another format", CLASSES, GOOD, ("train.jsonl is not a parquet file",), data={"format": "parquet"}),
    Bad(
        "an unknown format",
        CLASSES,
        GOOD,
        ("test.yaml: data.format: no such input format: 'exel'",),
        data={"format": "exel"},
    ),
    Bad("no such file", CLASSES, GOOD, ("no file ",), data={"train": "none.csv"}),
    Bad(
        "a folder of nothing",
        CLASSES,
        GOOD,
        ("the folder ", "has no files"),
        files={"d/s/a.csv": ""},
        data={"train": "d"},
    ),
    Bad(
        "a hub dataset, offline",
        CLASSES,
        GOOD,
        ("cannot read the dataset imdb", "Offline"),
        data={"train": ["hub:imdb"]},
        code=1,
    ),
]

TEXTS = [
    Bad(
        "a wrong column",
        CLASSES,
        GOOD,
        ("no column 'txt' in ", "its columns are: text, label", "did you mean text?"),
        data={"columns": {"text": "txt"}},
    ),
    Bad(
        "a wrong field",
        CLASSES,
        GOOD,
        ("test.yaml: data.columns.txt: text-classification takes no such field; did you mean text?",),
        data={"columns": {"txt": "text"}},
    ),
    Bad(
        "a column that is missing",
        CLASSES,
        [{"text": "a", "y": 1}],
        ("no column 'label' in ", "columns are: text, y"),
    ),
    Bad(
        "one class",
        CLASSES,
        [{"text": "a", "label": "x"}] * 4,
        ("every training row has the label 'x'", "data.columns"),
    ),
    Bad(
        "no class at all",
        CLASSES,
        [{"text": "a", "label": []}] * 4,
        ("no training row has a label: there is nothing to learn.", "data.columns"),
    ),
    Bad(
        "one class named",
        CLASSES,
        GOOD,
        ("test.yaml: data.labels: ", "two or more classes"),
        data={"labels": ["pos"]},
    ),
    Bad(
        "a class twice",
        CLASSES,
        GOOD,
        ("test.yaml: data.labels: ", "'pos' is there twice"),
        data={"labels": ["pos"] * 2},
    ),
    Bad(
        "a class that is not named",
        CLASSES,
        GOOD,
        ("train.jsonl:2: the label 'neg' is none of data.labels",),
        data={"labels": ["pos", "negative"]},
    ),
    Bad(
        "a class that training lacks",
        CLASSES,
        GOOD,
        ("v.jsonl:1: the label 'posi' is none of the training rows': did you mean pos?",),
        files={"v.jsonl": [{"text": "a", "label": "posi"}]},
        data={"validation": "v.jsonl"},
    ),
    Bad(
        "a text that is a number",
        CLASSES,
        [*GOOD, {"text": 3, "label": "neg"}],
        ("train.jsonl:13: 3 is no text.",),
    ),
    Bad(
        "a label that is an object",
        CLASSES,
        [*GOOD, {"text": "a", "label": {"a": 1}}],
        ("train.jsonl:13: the label {'a': 1} is neither a name nor a number.",),
    ),
    Bad(
        "a label of several that is an object",
        CLASSES,
        [{"text": "a", "label": ["x", "y"]}, {"text": "b", "label": [{"a": 1}]}],
        ("train.jsonl:2: the label {'a': 1} is neither a name nor a number.",),
    ),
    Bad(
        "a word among numbers",
        CLASSES,
        "text,label\na,0.5\nb,1.5\nc,many\n",
        ("train.csv:4: the label 'many' is no number, unlike those of rows before it.", "data.labels"),
        "train.csv",
    ),
    Bad(
        "an infinite number",
        CLASSES,
        "text,label\na,0.5\nb,inf\n",
        ("train.csv:3: the label 'inf' is no number.",),
        "train.csv",
    ),
    Bad(
        "too small a share",
        CLASSES,
        GOOD[:2],
        ("data.validation: 0.001 of 2 rows leaves nothing", "Give a file"),
        data={"validation": 0.001},
    ),
    Bad(
        "a text that may not be cut",
        CLASSES,
        GOOD,
        ("train.jsonl:1: ", "4 are allowed"),
        data={"truncate": False, "max_length": 4},
    ),
]

WORDS = [
    Bad(
        "a line too short",
        TAGS,
        "John\tB-PER\nlives\n",
        ("t.conll:2: a word and its tag are expected",),
        "t.conll",
    ),
    Bad("blank lines", TAGS, "\n\n", ("t.conll is empty",), "t.conll"),
    Bad(
        "tags that are missing",
        TAGS,
        [{"words": ["a", "b"], "tags": ["O"]}],
        ("train.jsonl:1: 2 words and 1 tags.",),
    ),
    Bad(
        "words that are a text",
        TAGS,
        [{"words": "a b", "tags": "O O"}],
        ("train.jsonl:1: words is no list", "JSON"),
    ),
    Bad(
        "a tag that training lacks",
        TAGS,
        "John\tB-PER\nin\tO\n",
        ("v.conll:1: the tag 'B-LOK' of the word 'Rome' is none of the training rows'", "They are: O, B-PER"),
        "t.conll",
        files={"v.conll": "Rome\tB-LOK\n"},
        data={"validation": "v.conll"},
    ),
]

ANSWERS = [
    Bad(
        "elsewhere",
        SPANS,
        quoted("John Smith", 2, "Smith"),
        ("train.jsonl:1: the answer 'Smith' does not", "stands at 5"),
    ),
    Bad(
        "beyond the context",
        SPANS,
        quoted("John", 99),
        ("train.jsonl:1: the answer 'John' does not stand at character 99",),
    ),
    Bad("no text", SPANS, quoted("John", 0, 3), ("train.jsonl:1: the answer 3 is no text.",)),
    Bad(
        "no question",
        SPANS,
        [{**quoted("John", 0)[0], "question": ""}],
        ("train.jsonl:1: the question is empty.",),
    ),
    Bad(
        "a stride as long as a part",
        SPANS,
        quoted("John", 0),
        ("data.stride: 24: parts of 24 tokens cannot share so many.", "a third"),
        data={"max_length": 24, "stride": 24},
    ),
    Bad(
        "one ending",
        CHOICES,
        [{"question": "a", "choices": ["b"], "label": 0}],
        ("train.jsonl:1: there is one ending",),
    ),
    Bad(
        "an ending that is not there",
        CHOICES,
        [{"question": "a", "choices": ["b", "c"], "label": 5}],
        ("train.jsonl:1: the label 5 names none of the 2 endings.", "from 0 to 1"),
    ),
    Bad(
        "an empty ending",
        CHOICES,
        [{"question": "a", "choices": ["b", ""], "label": 0}],
        ("train.jsonl:1: ending 1 is empty.",),
    ),
    Bad("no endings", CHOICES, [{"question": "a", "label": 0}], ("no column 'endings' in ",)),
]

PLAIN = [
    Bad("blank lines", MASKED, "\n\n\n", ("train.txt: there are no rows to learn from.",), "train.txt"),
    Bad("a number", MASKED, [{"text": 3}], ("train.jsonl:1: 3 is no text.",)),
    Bad(
        "no room",
        MASKED,
        [{"text": "the film"}],
        ("data.max_length: 2 leaves no room",),
        data={"max_length": 2},
    ),
    Bad(
        "a model that masks nothing",
        MASKED,
        [{"text": "a film"}],
        ("the tokenizer of ", "has no mask token", "Choose an encoder"),
        start="text-generation",
        code=1,
    ),
    Bad(
        "one document",
        NEXT,
        "a film\nthe dog\n",
        ("train.txt:1: there is a single document", "blank line"),
        "train.txt",
    ),
    Bad(
        "documents of one sentence",
        NEXT,
        "a film\n\nthe dog\n",
        ("no document has two sentences", "blank line"),
        "train.txt",
    ),
]

CHATS = [
    Bad(
        "no completions", CAUSAL, [{"prompt": "a"}], ("no column 'completion' in ", "its columns are: prompt")
    ),
    Bad(
        "an empty completion",
        CAUSAL,
        [{"prompt": "a", "completion": ""}],
        ("train.jsonl:1: the completion is empty.",),
    ),
    Bad("no text at all", CAUSAL, [{"foo": "a"}], ("no column text, messages, or prompt and completion",)),
    Bad(
        "the assistant first",
        CAUSAL,
        chat(("assistant", "a")),
        ("train.jsonl:1: message 1 has the role assistant", "A chat goes"),
    ),
    Bad("the user last", CAUSAL, chat(("user", "a")), ("train.jsonl:1: the chat ends with user",)),
    Bad(
        "system in the middle",
        CAUSAL,
        chat(("user", "a"), ("system", "b"), ("assistant", "c")),
        ("train.jsonl:1: message 2 has the role system, but after user comes assistant.",),
    ),
    Bad(
        "messages that are a text",
        CAUSAL,
        [{"messages": "hello"}],
        ("train.jsonl:1: messages should be a list",),
    ),
    Bad(
        "no content",
        CAUSAL,
        [{"messages": [{"role": "user"}]}],
        ("train.jsonl:1: message 1 needs 'role' and 'content'.",),
    ),
    Bad(
        "no template",
        CAUSAL,
        chat(("user", "a"), ("assistant", "b")),
        ("", "has no chat template", "Choose a chat model"),
        start="text-generation",
        code=1,
    ),
]
