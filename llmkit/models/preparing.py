"""Filling a folder with models on a machine that has a hub, for one that has none."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from llmkit.data.atomic import explained_write
from llmkit.errors import HubError, LlmkitError, ModelError, UsageError
from llmkit.models.addresses import plain_name
from llmkit.models.embedded import EMBEDDED_NAME
from llmkit.models.hub_adapters import base_of
from llmkit.models.hub_errors import explain_hub_failure, is_a
from llmkit.models.hub_files import fetch_files
from llmkit.models.hub_lookup import ask_hub, check_endpoint, check_repository_name
from llmkit.models.inventory import size_of
from llmkit.models.local_folder import CONFIG_FILE, is_adapter_alone
from llmkit.models.resolved import ResolvedModel
from llmkit.models.short_names import SHORT_NAMES


@dataclass(frozen=True, slots=True)
class Prepared:
    """A model that was fetched.

    Attributes:
        path: its files, below the folder that was filled.
    """

    name: str
    revision: str
    path: Path
    bytes: int


def prepare(repository: str, revision: str | None, folder: Path) -> list[Prepared]:
    """Fetch a model into a folder that HF_HOME can name afterwards; what is there already is kept.

    After an adapter comes the model that it is for. In each folder of a repository weights are taken as safetensors;
    pickled ones only where there are no others.

    Raises:
        HubError, ModelError: the hub does not give it, or what it has cannot be loaded; an adapter's base is on no hub.
        OutputError: the folder cannot be written.
    """
    model = _fetch(repository, revision, folder)
    return [model, *_base(model, folder)] if is_adapter_alone(model.path) else [model]


def _base(adapter: Prepared, folder: Path) -> Iterator[Prepared]:
    """Fetch the model that an adapter is for, unless it comes with llmkit or with the adapter itself."""
    base = base_of(adapter.path, adapter.name)
    name, revision, is_local = plain_name(base, None)
    if name.partition(":")[0] == EMBEDDED_NAME or (adapter.path / name).is_dir():
        return
    name = SHORT_NAMES.get(name, name)
    try:
        if is_local:
            raise UsageError(f"'{base}' is a folder.")
        check_repository_name(name)
    except UsageError as error:
        raise ModelError(
            f"the adapter '{adapter.name}' is for the model '{base}', which is none of the hub's: it was not fetched.",
            hint=f"Copy that model yourself; the adapter is in {adapter.path}",
        ) from error
    yield _fetch(name, revision, folder)


def _fetch(repository: str, revision: str | None, folder: Path) -> Prepared:
    from huggingface_hub import constants

    check_endpoint(constants.ENDPOINT)
    model = ResolvedModel(repository, repository, revision)
    if constants.HF_HUB_OFFLINE:
        raise HubError(f"the model {model} cannot be fetched: HF_HUB_OFFLINE is set.", hint="Unset it here.")
    with explained_write(folder):
        (folder / "hub").mkdir(parents=True, exist_ok=True)
    try:
        found = ask_hub(model, CONFIG_FILE)  # which gives up sooner than the client
        if found is not None and not is_a(found, "EntryNotFoundError"):
            raise found
        path = fetch_files(model, folder / "hub")
    except LlmkitError:
        raise
    except Exception as error:
        raise explain_hub_failure(error, model, CONFIG_FILE) from error
    return Prepared(repository, path.name, path, size_of(path))
