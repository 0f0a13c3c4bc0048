"""An adapter of the hub: known by its config, fetched whole, and from then on a folder as any other."""

from __future__ import annotations

from pathlib import Path

from llmkit.errors import LlmkitError, ModelError
from llmkit.models.hub_errors import explain_hub_failure
from llmkit.models.hub_files import fetch_files
from llmkit.models.hub_lookup import has_cached
from llmkit.models.local_folder import ADAPTER_FILE, ADAPTER_WEIGHTS, CONFIG_FILE, read_object
from llmkit.models.resolved import ResolvedModel


def keep_adapter_config(model: ResolvedModel) -> None:
    """Fetch the small file by which an adapter of the hub is known.

    Raises:
        HubError: the hub does not give it.
    """
    from huggingface_hub import hf_hub_download

    try:
        hf_hub_download(model.location, ADAPTER_FILE, revision=model.revision)
    except Exception as error:
        raise explain_hub_failure(error, model, ADAPTER_FILE) from error


def is_hub_adapter(model: ResolvedModel) -> bool:
    """Tell whether a model of the hub is an adapter alone, by what the cache has of it."""
    if model.is_local or has_cached(model, (CONFIG_FILE,)):
        return False
    return has_cached(model, (ADAPTER_FILE,))


def hub_adapter_folder(model: ResolvedModel) -> Path:
    """Return the folder of an adapter of the hub, fetched where the cache does not have it.

    Raises:
        HubError: the hub does not give it.
    """
    from huggingface_hub import constants, snapshot_download

    try:
        if constants.HF_HUB_OFFLINE or model.cached_only:
            return Path(snapshot_download(model.location, revision=model.revision, local_files_only=True))
        return fetch_files(model)
    except LlmkitError:
        raise
    except Exception as error:
        raise explain_hub_failure(error, model, ADAPTER_WEIGHTS) from error


def base_of(folder: Path, name: str) -> str:
    """Return what the adapter in a folder, called `name`, names as its base.

    Raises:
        ModelError: it names none.
    """
    base = read_object(folder / ADAPTER_FILE, name).get("base_model_name_or_path")
    if not isinstance(base, str) or not base.strip():
        raise ModelError(
            f"the adapter '{name}' does not say which model it is for.",
            hint=f"Name it in its {ADAPTER_FILE}: base_model_name_or_path.",
        )
    return base
