"""Filling a folder with models on a machine that has a hub, for one that has none."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from llmkit.data.atomic import explained_write
from llmkit.errors import HubError, LlmkitError
from llmkit.models.hub_errors import explain_hub_failure, is_a
from llmkit.models.hub_files import fetch_files
from llmkit.models.hub_lookup import ask_hub, check_endpoint
from llmkit.models.inventory import size_of
from llmkit.models.local_folder import CONFIG_FILE
from llmkit.models.resolved import ResolvedModel


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


def prepare(repository: str, revision: str | None, folder: Path) -> Prepared:
    """Fetch a model into a folder that HF_HOME can name afterwards; what is there already is kept.

    In each folder of a repository weights are taken as safetensors; pickled ones only where there are no others.

    Raises:
        HubError, ModelError: the hub does not give it, or what it has cannot be loaded.
        OutputError: the folder cannot be written.
    """
    from huggingface_hub import constants

    check_endpoint(constants.ENDPOINT)
    model = ResolvedModel(repository, repository, revision)
    if constants.HF_HUB_OFFLINE:
        raise HubError(f"The model {model} cannot be fetched: HF_HUB_OFFLINE is set.", hint="Unset it here.")
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
