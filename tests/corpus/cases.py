"""The corpus of bad inputs: a case a line, with what it is about and how it may end.

    {"about": "a column twice", "files": {"a.csv": "text,text\\na,b\\n"}, "call": "read", "codes": [2]}

- files: what lies in the folder of the call, by name; the content as `contents` describes it. A name that ends in `/`
  is a folder, and its content the name of a tiny model, of which it is a copy. `{"link": "a"}` is a link,
  `{"fifo": 1}` a pipe, null takes a file away.
- call: the arguments, or the name of a row of CALLS. `{/}` is the folder, `{file}` its first file, `{fill-mask}` a
  tiny model.
- codes: the exit codes that it may end in; of a request `statuses`, those of the answer.
- says: what the message has in it, where that matters.
- makes: files that the call may leave behind.
- partial: results of what was read before the damage may have been given.
- env, stdin: of the call.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.corpus.contents import Tiny, content_of

FOLDER = Path(__file__).parent
_CLASSIFIER = ("text-classification", "-m", "{text-classification}")
CALLS: Mapping[str, tuple[str, ...]] = {
    "read": ("tokenize", "-m", "{text-classification}", "-i", "{/}/{file}", "-f", "jsonl", "-q"),
    "classify": ("pipeline", *_CLASSIFIER, "-i", "{/}/{file}", "-q"),
    "show": ("config", "show", "{/}/{file}"),
    "check": ("finetune", "{/}/{file}", "--check", "--device", "cpu", "-q"),
    "load": ("pipeline", "text-classification", "a film", "-m", "{/}/m", "-q", "--device", "cpu"),
    "unpack": ("pipeline", "text-classification", "a film", "-m", "{/}/{file}", "-q", "--device", "cpu"),
    "tokens": ("tokenize", "a film", "-m", "{/}/m", "-f", "jsonl", "-q"),
    "count": ("params", "{/}/m", "-f", "json"),
    "weigh": ("params", "bert-tiny", "--checkpoint-file", "{/}/{file}", "-f", "json"),
    "find": ("search", "a film", "--in", "{/}/{file}", "-m", "{feature-extraction}", "-q", "-f", "jsonl"),
    "runs": ("runs", "{/}/runs", "-f", "jsonl"),
}


@dataclass(frozen=True)
class Case:
    """A bad input, and how a call that meets it may end."""

    kind: str
    number: int
    about: str
    codes: tuple[int, ...] = ()
    statuses: tuple[int, ...] = ()
    call: Any = ()
    files: Mapping[str, Any] = field(default_factory=dict)
    says: tuple[str, ...] = ()
    makes: tuple[str, ...] = ()
    partial: bool = False
    env: Mapping[str, str] = field(default_factory=dict)
    stdin: Any = ""
    path: str = ""
    body: Any = ""
    headers: Mapping[str, str] | None = None

    def __str__(self) -> str:
        return f"{self.kind}:{self.number} {self.about}"


def cases(kind: str) -> list[Case]:
    """Return the cases of one file."""
    lines = (FOLDER / f"{kind}.jsonl").read_text(encoding="utf-8").splitlines()
    return [_case(kind, number, json.loads(line)) for number, line in enumerate(lines, start=1)]


def kinds() -> list[str]:
    """Return the names of the files."""
    return sorted(path.stem for path in FOLDER.glob("*.jsonl"))


def _case(kind: str, number: int, said: dict[str, Any]) -> Case:
    lists = {name: tuple(said[name]) for name in ("codes", "statuses", "says", "makes") if name in said}
    return Case(kind, number, **{**said, **lists})


def write_files(case: Case, folder: Path, tiny: Tiny) -> None:
    """Write the files of a case into a folder."""
    for name, said in case.files.items():
        path = folder / name
        if name.endswith("/"):
            shutil.copytree(tiny(said), path) if said else path.mkdir(parents=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        if said is None:
            path.unlink()
        elif "link" in said and isinstance(said, dict):
            path.symlink_to(said["link"])
        elif "fifo" in said and isinstance(said, dict):
            os.mkfifo(path)
        else:
            path.write_bytes(content_of(said, tiny))


def arguments_of(case: Case, folder: Path, tiny: Tiny) -> list[str]:
    """Return the arguments of a case's call."""
    first = next(iter(case.files), "")

    def stands_for(match: re.Match[str]) -> str:
        name = match[1]
        return str(folder) if name == "/" else first if name == "file" else str(tiny(name))

    words = CALLS[case.call] if isinstance(case.call, str) else case.call
    return [re.sub(r"\{(/|[a-z][a-z_-]+)\}", stands_for, word) for word in words]
