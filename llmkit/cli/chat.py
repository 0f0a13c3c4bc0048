"""A chat at the terminal: `llmkit pipeline conversational` with nothing to read."""

from __future__ import annotations

import contextlib
import json
import tempfile
from pathlib import Path
from typing import Any

from llmkit.cli.channels import ResultStream, note, warn
from llmkit.cli.loading import load_quietly
from llmkit.cli.results import StreamedSink
from llmkit.data.atomic import behind_links, explained_write, write_whole
from llmkit.data.encoding import dump_json
from llmkit.data.json_text import parse_json
from llmkit.data.small_files import read_small
from llmkit.errors import DataError
from llmkit.inference.items import RunSettings
from llmkit.inference.streaming import can_stream, text_streamer
from llmkit.models.loading import LoadOptions
from llmkit.tasks.catalogue import TaskCall
from llmkit.tasks.inputs import RowError, chat_messages
from llmkit.tasks.resolve import resolve_for

MOST_KEPT = 1 << 24
"""How many bytes of a kept chat are read."""


def chat(
    call: TaskCall,
    results: ResultStream,
    *,
    model: str | None,
    revision: str | None,
    load: LoadOptions,
    settings: RunSettings,
    save: str | None,
) -> None:
    """Talk with a model until Ctrl-D or /exit; the history goes with every turn and into `save`.

    Ctrl-C stops an answer, which is kept as far as it came.

    Raises:
        DataError: `save` is there and holds no conversation.
        OutputError: no file can be written there.
    """
    messages = _read_history(save)
    if save:
        with explained_write(save), tempfile.TemporaryFile(dir=behind_links(Path(save)).parent):
            pass
    resolved = resolve_for(call, model, revision, allow_pickle=load.allow_pickle)
    if resolved.note:
        note(resolved.note)
    pipe = load_quietly(call, resolved, load)
    if settings.seed is not None:
        from transformers import set_seed

        set_seed(settings.seed)
    note("type a message; Ctrl-D or /exit ends the chat" + (f"; it is kept in {save}" if save else ""))
    while (text := _ask()) is not None:
        if not text.strip():
            continue
        messages.append({"role": "user", "content": text})
        messages = _answer(pipe, messages, results, settings.parameters)
        if save:
            write_whole(Path(save), f"{dump_json({'messages': messages})}\n".encode())


def _ask() -> str | None:
    """Return what the person types, nothing of a line that is no text; None at the end."""
    with contextlib.suppress(ImportError):  # history and editing, where the system has them
        import readline  # noqa: F401
    try:
        text = input("> ")
        text.encode()  # in some locales the bytes are let in as they are
    except EOFError:
        note("")  # the shell's prompt belongs on a line of its own
        return None
    except UnicodeError:
        warn("that line is not UTF-8, and is left out. Set the terminal's encoding to UTF-8.")
        return ""
    return None if text.strip() in ("/exit", "/quit") else text


def _answer(
    pipe: Any, messages: list[dict[str, Any]], results: ResultStream, parameters: dict[str, Any]
) -> list[dict[str, Any]]:
    said: list[str] = []
    shown = StreamedSink(results)

    def write(text: str) -> None:
        said.append(text)
        shown.show(text)

    streams = can_stream(parameters, pipe)
    streamer = {"streamer": text_streamer(pipe.tokenizer, write, skip_prompt=True)} if streams else {}
    try:
        conversation = pipe(messages, **parameters, **streamer)
    except KeyboardInterrupt:  # the answer is stopped, not the chat
        write("\n")
        return _cut_short(messages, "".join(said).strip())
    answered: list[dict[str, Any]] = conversation.messages
    write("\n" if streams else f"{answered[-1]['content']}\n")
    return answered


def _cut_short(messages: list[dict[str, Any]], answer: str) -> list[dict[str, Any]]:
    """Keep an answer as far as it came; a message without one goes, as templates want the two in turn."""
    if not answer:
        note("interrupted before a word was said: your message is left out. Ctrl-D ends the chat.")
        return messages[:-1]
    note("interrupted: the answer is kept as far as it came. Ctrl-D ends the chat.")
    return [*messages, {"role": "assistant", "content": answer}]


def _read_history(save: str | None) -> list[dict[str, Any]]:
    if save is None or not Path(save).exists():
        return []
    hint = "Name another file."
    try:
        content = read_small(Path(save), f"--save {save}", MOST_KEPT, hint)
        messages = parse_json(content)["messages"]
        if messages != []:  # as it is where the first answer was interrupted
            messages = chat_messages({"messages": messages})
        json.dumps(messages, ensure_ascii=False).encode()  # half of a surrogate pair is no character
    except (OSError, ValueError, KeyError, TypeError, RowError) as error:
        why = f" ({error.message})" if isinstance(error, RowError) else ""
        raise DataError(f"--save {save}: it is there and holds no conversation{why}.", hint=hint) from error
    note(f"going on with the conversation in {save}: {len(messages)} messages.")
    return messages
