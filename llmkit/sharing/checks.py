"""What must not be shared: secrets, and the folders of this machine. A message names the place, never the secret."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from llmkit.data.json_text import parse_json
from llmkit.errors import DataError
from llmkit.sharing.contents import SharedFile, absolute_path

_SECRETS = {
    "a token of the hub": re.compile(r"\bhf_[A-Za-z0-9]{30,}\b"),
    "a key of OpenAI's or a like service": re.compile(r"\bsk-[A-Za-z0-9_-]{24,}"),
    "a key of AWS": re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    "a token of GitHub": re.compile(r"\b(?:gh[opsur]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{50,})\b"),
    "a token of Slack": re.compile(r"\bxox[abprs]-[A-Za-z0-9-]{10,}"),
    "a key of Google's": re.compile(r"\bAIza[0-9A-Za-z_-]{35}\b"),
    "a private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
    "a password in an address": re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s/:@\"']+:[^\s/@\"']{3,}@"),
}
_TEXTS = (".json", ".jsonl", ".txt", ".md", ".yaml", ".jinja")
# Words of a language and pieces of them: a slash before one says nothing.
_VOCABULARIES = ("tokenizer.json", "vocab.json", "vocab.txt", "merges.txt", "added_tokens.json")
_WEIGHTS = ".safetensors"


def check_files(files: Iterable[SharedFile], tokens: Mapping[str, str]) -> None:
    """Check the texts among some files, and what the headers of weights say beside the tensors.

    Args:
        tokens: secrets that are known, and what each is: none of them may be in any of the files.

    Raises:
        DataError: there is a secret, or an absolute path, or a file that should be JSON and is not.
    """
    for file in files:
        for place, text in _texts_of(file):
            check_text(place, text, tokens)
            path = absolute_path(text) if file.name not in _VOCABULARIES else None
            if path is not None:
                raise DataError(
                    f"{place} holds a folder of this machine: {path}",
                    hint="Others cannot have what lies there: change it in the file, or take the file away.",
                )


def _texts_of(file: SharedFile) -> Iterator[tuple[str, str]]:
    """Go through the texts of a file, each with where it stands."""
    if file.name.endswith(_WEIGHTS):
        yield from _strings(_metadata(file), f"{file.name}: the metadata")
        return
    if not file.name.endswith(_TEXTS):
        return
    text = file.read().decode(errors="replace")
    if file.name.endswith(".json"):
        try:
            value = parse_json(text)
        except ValueError as error:
            raise DataError(f"{file.name} is not JSON: {error}.") from error
        if file.name in _VOCABULARIES:
            yield file.name, text
        else:
            yield from _strings(value, f"{file.name}:")
        return
    for number, line in enumerate(text.splitlines(), start=1):
        yield f"{file.name}:{number}", line


def _strings(value: Any, place: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, dict):
        for key, each in value.items():
            yield from _strings(each, f"{place} {key}")
    elif isinstance(value, list):
        for each in value:
            yield from _strings(each, place)


def _metadata(file: SharedFile) -> Any:
    """Return what the header of a safetensors file says beside its tensors; that it is whole was checked."""
    if file.source is None:
        return None
    with file.source.open("rb") as stream:
        header = parse_json(stream.read(int.from_bytes(stream.read(8), "little")))
    return header.get("__metadata__")


def check_text(place: str, text: str, tokens: Mapping[str, str]) -> None:
    """Check that a text that others will see holds no secret.

    Raises:
        DataError: it does; the message says where and what, and not the secret.
    """
    found = next((what for what, pattern in _SECRETS.items() if pattern.search(text)), None)
    if found is None:
        found = next((what for token, what in tokens.items() if token and token in text), None)
    if found is not None:
        raise DataError(
            f"{place} holds {found}.", hint="Take it out; and if it was seen by others, revoke it."
        )
