"""From what a person names to a config: the catalogue, a file or folder, a model type, or a model on the hub.

Nothing here imports torch or transformers, and only what is no name of the catalogue reaches the hub's client.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from llmkit.architectures import catalogue
from llmkit.architectures.catalogue import Entry
from llmkit.architectures.config_files import (
    adapter_error,
    config_path,
    read_config,
    read_standard_input,
)
from llmkit.errors import HubError, UsageError
from llmkit.models.local_folder import ADAPTER_FILE, CONFIG_FILE, is_path

SHORT_NAME = "minilm"  # the encoder that comes with the extra `offline`
WAYS_ON = (
    "Name a local folder or a config.json, a model of the catalogue (`llmkit params --list`), or point "
    "HF_ENDPOINT at another hub or HF_HOME at a filled cache."
)
STANDARD_INPUT = "-"
TYPO = 0.8  # how near a name of the catalogue is, of 1, for the other to be a slip of the keys
Origin = Literal["catalogue", "file", "type", "hub", "object"]


@dataclass(frozen=True, slots=True)
class Named:
    """What was named.

    Attributes:
        label: what the table calls it.
        values: its config.json; without the settings of ``--set``.
        where: what messages call the config: ``bert-large``, ``./model/config.json``, ``--type bert``.
        entry: its row of the catalogue.
        location: where its weights are looked for: a folder, or a hub id; "" if nowhere.
        notes: lines that the user should see.
    """

    label: str
    values: Mapping[str, Any]
    origin: Origin
    where: str
    entry: Entry | None = None
    location: str = ""
    revision: str | None = None
    notes: tuple[str, ...] = field(default=())


def name_model(name: str | None, *, model_type: str | None = None, revision: str | None = None) -> Named:
    """Return the config that `name` stands for; or, of a model type, the defaults.

    A path wins over a name of the catalogue, as everywhere in llmkit, if there is a config behind it; the
    catalogue wins over the hub.

    Raises:
        UsageError: it is a model whose design was never published, or cannot be a name.
        DataError: a file that is missing or is no config.
        HubError: the hub does not know it, or does not answer; the message has the nearest of the catalogue.
    """
    if (name is None) == (model_type is None):
        raise UsageError(
            "name a model, or a --type."
            if name is None
            else "--type stands for itself: name no model with it.",
            hint="`llmkit params --list` has the models that need no network.",
        )
    if model_type is not None:
        return _of_type(model_type, revision)
    assert name is not None
    if not name.strip():
        raise UsageError("the name of the model is empty.")
    finders = (_embedded, _local, _in_catalogue, _on_hub)
    return next(found for find in finders if (found := find(name, revision)) is not None)


def _of_type(model_type: str, revision: str | None) -> Named:
    if not model_type.strip():
        raise UsageError("--type is empty: it is a model type, such as bert.")
    if revision is not None:
        raise UsageError("--revision is for a hub model, not for a --type.")
    return Named(f"{model_type} (defaults)", {"model_type": model_type}, "type", f"--type {model_type}")


def _embedded(name: str, revision: str | None) -> Named | None:
    from llmkit.models.embedded import EMBEDDED_TITLE, embedded_folder, has_embedded_encoder

    if name != SHORT_NAME or not (has_embedded_encoder() or catalogue.find(name) is None):
        return None
    folder = embedded_folder()
    entry = catalogue.find(EMBEDDED_TITLE)
    values = read_config(folder / CONFIG_FILE, SHORT_NAME)
    return Named(name, values, "file", SHORT_NAME, entry=entry, location=str(folder))


def _local(name: str, revision: str | None) -> Named | None:
    if name == STANDARD_INPUT:
        return Named("standard input", read_standard_input(), "file", "standard input")
    if not (is_path(name) or name.lower().endswith(".json")):
        return None
    entry = catalogue.find(name)
    if entry is not None and not Path(name, CONFIG_FILE).is_file():
        return None  # a folder that happens to be called like a model
    if revision is not None:
        raise UsageError(f"--revision is for a hub model, and '{name}' is a local one.")
    path = config_path(name)
    where = name if path == Path(name) else f"{name.rstrip('/')}/{CONFIG_FILE}"
    note = f"'{name}' is the folder here, not the catalogue's model of that name." if entry else ""
    whole = path.absolute()
    label = _printable(whole.parent.name if whole.name == CONFIG_FILE else whole.name)
    return Named(
        label,
        read_config(path, where),
        "file",
        where,
        location=str(path.parent),
        notes=(note,) if note else (),
    )


def _printable(name: str) -> str:
    """Return a name that may stand in a table, though the bytes of the file's are no text."""
    return os.fsencode(name).decode(errors="replace")


def _in_catalogue(name: str, revision: str | None) -> Named | None:
    entry = catalogue.find(name)
    if entry is None or (revision is not None and entry.hub_id):
        return None  # a revision is the hub's
    if entry.undisclosed:
        raise UsageError(f"{entry.name}: {entry.undisclosed}", hint=_where_said(entry))
    return Named(entry.name, entry.config, "catalogue", entry.name, entry=entry, location=entry.hub_id)


def _where_said(entry: Entry) -> str:
    parts = [part for part in (entry.paper, str(entry.year or ""), entry.url) if part]
    said = f"Source: {', '.join(parts)}. " if parts else ""
    return f"{said}`llmkit params --list` has the models whose design is known."


def _on_hub(name: str, revision: str | None) -> Named:
    from llmkit.models import hub_lookup
    from llmkit.models.hub_errors import is_a
    from llmkit.models.hub_lookup import HubUnreachableError, check_repository_name

    entry = catalogue.find(name)
    hub_id = entry.hub_id if entry is not None else name
    is_bare = "/" not in hub_id and entry is None
    try:
        check_repository_name(hub_id)
    except UsageError as error:
        raise _unknown(name) from error
    try:
        return _fetched(name, hub_id, revision)
    except HubUnreachableError as error:
        if is_bare and (_is_offline() or _mistyped(name)):
            # Nobody was asked, or nobody answered: it is a name that nothing here knows.
            raise _unknown(name) from error
        error.hint = " ".join(filter(None, (_nearest(name), WAYS_ON)))
        raise
    except HubError as error:
        if is_bare and is_a(error.__cause__, "RepositoryNotFoundError"):
            raise _unknown(name) from error
        if error.hint:
            error.hint = error.hint.replace(hub_lookup.WAYS_ON, WAYS_ON)
        raise


def _fetched(name: str, hub_id: str, revision: str | None) -> Named:
    """Fetch the config of a hub model, and nothing else of it."""
    from huggingface_hub import constants, hf_hub_download

    from llmkit.models.hub_errors import explain_hub_failure, is_a
    from llmkit.models.resolving import resolve_model

    model = resolve_model(hub_id, revision=revision, needs_weights=False, on_base=False)
    silent = constants.HF_HUB_OFFLINE or model.cached_only

    def download(file: str) -> Path:
        return Path(hf_hub_download(hub_id, file, revision=model.revision, local_files_only=silent))

    try:
        path = download(CONFIG_FILE)
    except Exception as error:
        adapter: Path | None = None
        if is_a(error, "EntryNotFoundError"):
            with suppress(Exception):  # then the first error says what there is to say
                adapter = download(ADAPTER_FILE)
        if adapter is not None:
            raise adapter_error(hub_id, read_config(adapter, f"{ADAPTER_FILE} of {model}")) from None
        raise explain_hub_failure(error, model, CONFIG_FILE) from error
    where = f"{CONFIG_FILE} of {model}"
    notes = (model.note,) if model.note else ()
    return Named(name, read_config(path, where), "hub", where, None, hub_id, model.revision, notes)


def _is_offline() -> bool:
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


def _unknown(name: str) -> UsageError:
    if meant := _mistyped(name):
        return UsageError(f"the catalogue has no '{name}'; did you mean {meant}?", hint=_nearest(name))
    return UsageError(
        f"'{name}' is no model of the catalogue, no folder and no model of the hub.",
        hint=_nearest(name) or "`llmkit params --list` has the names of the catalogue.",
    )


def _mistyped(name: str) -> str:
    """Return the name of the catalogue that `name` is most likely meant to be; "" when it may as well be another."""
    near = [] if "/" in name else catalogue.nearest(name, most=1, cutoff=TYPO)
    return near[0] if near else ""


def _nearest(name: str) -> str:
    """Return a sentence with the names of the catalogue that are nearest; "" when none is near."""
    # Many hub models are called like none of the catalogue: only what is nearly the same is worth naming.
    near = catalogue.nearest(name, cutoff=0.75 if "/" in name else 0.6)
    return f"The catalogue has {', '.join(near)}." if near else ""
