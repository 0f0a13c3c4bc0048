"""From what a person names to what is loaded: a local folder, the embedded encoder, or a model on the hub.

Nothing here imports torch or transformers, and the hub is given a few seconds: that a model cannot be had is
known, with the reason, before the slow imports begin.
"""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import urlsplit

from llmkit.errors import UsageError
from llmkit.models.converted_weights import with_safe_weights
from llmkit.models.embedded import (
    EMBEDDED_NAME,
    EMBEDDED_TITLE,
    embedded_folder,
    embedded_policy,
    has_embedded_encoder,
)
from llmkit.models.hub_lookup import (
    HubUnreachableError,
    ask_hub,
    cached_commit,
    check_endpoint,
    check_repository_name,
    missing_from_cache,
)
from llmkit.models.loading_errors import explain_hub_failure, is_a, why_unreachable
from llmkit.models.loading_errors import explain_loading_error as explain_loading_error
from llmkit.models.local_folder import ADAPTER_FILE, CONFIG_FILE, check_folder, is_path, local_model
from llmkit.models.resolved import ResolvedModel
from llmkit.models.short_names import SHORT_NAMES


def resolve_model(
    name: str | None,
    *,
    revision: str | None = None,
    default: tuple[str, str | None] | None = None,
    embedded_fallback: bool = False,
    task: str = "",
    allow_pickle: bool = False,
    needs_weights: bool = True,
) -> ResolvedModel:
    """Return what to load for `name`, or for `default` (repository, revision) when nothing was named.

    A default that is neither cached nor reachable may be replaced by the embedded encoder
    (`embedded_fallback`, as far as LLMKIT_EMBEDDED allows); a model that was named never is.
    Without `needs_weights` a local folder may hold a config alone.

    Raises:
        UsageError: no model named and no default, a name that cannot be one, a wrong setting.
        ModelError: a local folder that is missing, damaged, or has pickled weights only.
        HubError: the hub does not give the model, or cannot be reached and the cache does not have it.
        MissingExtraError: the embedded encoder is not installed.
    """
    policy = embedded_policy()
    looks_for_safe = needs_weights and not allow_pickle
    if name is None:
        # A revision is a revision of the default on the hub: the embedded encoder cannot be meant.
        stand_in = "never" if revision is not None or not embedded_fallback else policy
        return _resolve_default(default, revision, stand_in, task, looks_for_safe)
    if not name.strip():
        raise UsageError("--model is empty.", hint=f"Name a local folder, a hub model or {EMBEDDED_NAME}.")
    if name.startswith(("http://", "https://")):
        raise UsageError(
            f"--model {name} is an address.",
            hint=f"Name a hub model by OWNER/NAME: {'/'.join(urlsplit(name).path.strip('/').split('/')[:2])}",
        )
    is_embedded = name == EMBEDDED_NAME
    if not is_embedded and not is_path(name):
        repository = SHORT_NAMES.get(name, name)
        note = f"{name} is {repository}" if repository != name else None
        return _find_on_hub(ResolvedModel(repository, repository, revision, note=note), looks_for_safe)
    if revision is not None:
        raise UsageError(f"--revision is for a hub model, and '{name}' is a local one.")
    return _embedded_encoder() if is_embedded else local_model(name, allow_pickle, needs_weights)


def _resolve_default(
    default: tuple[str, str | None] | None,
    revision: str | None,
    stand_in: str,
    task: str,
    looks_for_safe: bool,
) -> ResolvedModel:
    if stand_in == "always":
        return _embedded_encoder()
    if default is None:
        raise UsageError(
            f"--model is needed for {task or 'this'}.",
            hint="Name a hub model (--model NAME) or a folder (--model PATH).",
        )
    repository, default_revision = default
    wanted = ResolvedModel(repository, repository, revision or default_revision)
    if stand_in == "never" or not has_embedded_encoder():
        return _find_on_hub(wanted, looks_for_safe)
    try:
        # With a stand-in at hand, a cache that has only the config is not worth a load that will fail.
        return _find_on_hub(wanted, looks_for_safe, cached_weights=True)
    except HubUnreachableError as error:
        return replace(
            _embedded_encoder(), note=f"{error.reason}, using the embedded {EMBEDDED_TITLE} instead"
        )


def _embedded_encoder() -> ResolvedModel:
    folder = embedded_folder()
    check_folder(folder, EMBEDDED_NAME, allow_pickle=False, needs_weights=True)
    return ResolvedModel(EMBEDDED_NAME, str(folder), embedded=True)


def _find_on_hub(model: ResolvedModel, looks_for_safe: bool, cached_weights: bool = False) -> ResolvedModel:
    """Find a model in the cache or on the hub; `looks_for_safe` weights where it has none but pickles."""
    found = _in_cache_or_on_hub(model, cached_weights)
    return with_safe_weights(found, model.revision) if looks_for_safe else found


def _in_cache_or_on_hub(model: ResolvedModel, cached_weights: bool) -> ResolvedModel:
    from huggingface_hub import constants

    # First of all: with a wrong port the client cannot even be imported.
    check_endpoint(constants.ENDPOINT)
    check_repository_name(model.name)
    model = replace(model, revision=cached_commit(model) or model.revision)
    missing = missing_from_cache(model, cached_weights)
    if missing is None:
        return model if constants.HF_HUB_OFFLINE else _cached_while_hub_is_silent(model)
    if constants.HF_HUB_OFFLINE:
        raise HubUnreachableError(model, missing, "HF_HUB_OFFLINE is set")
    error = ask_hub(model, CONFIG_FILE)
    if is_a(error, "EntryNotFoundError") and ask_hub(model, ADAPTER_FILE) is None:
        return model
    if error is not None:
        raise explain_hub_failure(error, model, missing) from error
    return model


def _cached_while_hub_is_silent(model: ResolvedModel) -> ResolvedModel:
    """Mark a cached model whose hub is down: the client would ask for each file, again and again, for a minute."""
    failure = why_unreachable(ask_hub(model, CONFIG_FILE), model, CONFIG_FILE)
    if failure is None:
        return model
    return replace(model, cached_only=True, note=f"Using the cached {model}: {failure.cause}")
