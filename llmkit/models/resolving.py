"""From what a person names to what is loaded: a local folder or file, an embedded model, or a model on the hub.

Nothing here imports torch or transformers, and the hub is given a few seconds: that a model cannot be had is
known, with the reason, before the slow imports begin.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from llmkit.errors import LlmkitError, ModelError, UsageError
from llmkit.models.addresses import plain_name
from llmkit.models.converted_weights import cached_conversion, with_safe_weights
from llmkit.models.embedded import (
    EMBEDDED_NAME,
    EMBEDDED_TITLE,
    EmbeddedPolicy,
    check_encoder,
    embedded_adapter,
    embedded_folder,
    embedded_policy,
    has_embedded_encoder,
    measured,
)
from llmkit.models.hub_adapters import base_of, hub_adapter_folder, is_hub_adapter, keep_adapter_config
from llmkit.models.hub_errors import explain_hub_failure, is_a, why_unreachable
from llmkit.models.hub_lookup import (
    WAYS_ON,
    WITHOUT_EMBEDDED,
    HubUnreachableError,
    ask_for_a_byte,
    ask_hub,
    cached_commit,
    check_endpoint,
    check_repository_name,
    missing_from_cache,
)
from llmkit.models.loading_errors import explain_loading_error as explain_loading_error
from llmkit.models.local_file import local_file_or_folder
from llmkit.models.local_folder import (
    ADAPTER_FILE,
    CONFIG_FILE,
    WEIGHTS_FILE,
    check_folder,
    is_path,
)
from llmkit.models.resolved import ResolvedModel
from llmkit.models.short_names import SHORT_NAMES

ENCODER = ""
"""The stand-in that is the embedded encoder itself, without an adapter."""


def resolve_model(
    name: str | None,
    *,
    revision: str | None = None,
    default: tuple[str, str | None] | None = None,
    stand_in: str | None = None,
    task: str = "",
    allow_pickle: bool = False,
    needs_weights: bool = True,
    on_base: bool = True,
) -> ResolvedModel:
    """Return what to load for `name`, or for `default` (repository, revision) when nothing was named.

    A default that is neither cached nor reachable may be replaced by an embedded model: `stand_in` is the name of
    its adapter, or `ENCODER`; LLMKIT_EMBEDDED says whether. A model that was named never is.
    Without `needs_weights` a local folder may hold a config alone; without `on_base` an adapter is returned without
    the model that it is for.

    Raises:
        UsageError: no model named and no default, a name that cannot be one, a wrong setting.
        ModelError: a local model that is missing, damaged, or has pickled weights only; an adapter whose base is
            not to be had.
        HubError: the hub does not give the model, or cannot be reached and the cache does not have it.
        MissingExtraError: the embedded encoder is not installed, or what reads GGUF files.
    """
    policy = embedded_policy()
    looks_for_safe = needs_weights and not allow_pickle
    if name is None:
        return _resolve_default(
            default, revision, stand_in, policy=policy, task=task, looks_for_safe=looks_for_safe
        )
    if not name.strip():
        raise UsageError(
            "the name of the model is empty.", hint=f"Name a local folder, a hub model or {EMBEDDED_NAME}."
        )
    plain, revision, is_local = plain_name(name, revision)
    own = adapter_named(plain) if is_local is None else None
    if own is None and not (is_path(plain) if is_local is None else is_local):
        repository = SHORT_NAMES.get(plain, plain)
        note = f"{plain} is {repository}" if repository != plain else None
        on_hub = _find_on_hub(ResolvedModel(repository, repository, revision, note=note), looks_for_safe)
        if not on_base or not is_hub_adapter(on_hub):
            return on_hub
        folder = hub_adapter_folder(on_hub)
        check_folder(folder, on_hub.name, allow_pickle, needs_weights)
        return _on_base(on_hub, str(folder), allow_pickle, needs_weights)
    if revision is not None:
        raise UsageError(f"--revision is for a hub model, and '{name}' is a local one.")
    if own is not None:
        return _embedded(own)
    found = local_file_or_folder(plain, allow_pickle, needs_weights)
    if not on_base or found.adapter is None:
        return found
    return _on_base(found, found.adapter, allow_pickle, needs_weights)


def is_encoder_alone(model: ResolvedModel) -> bool:
    """Tell whether a model is the embedded encoder, without an adapter."""
    return model.embedded and model.adapter is None


def adapter_named(name: str) -> str | None:
    """Return the name of an embedded adapter, or `ENCODER`; None for another model."""
    if name == EMBEDDED_NAME:
        return ENCODER
    before, colon, adapter = name.partition(":")
    return adapter if colon and before == EMBEDDED_NAME and adapter else None


def _resolve_default(
    default: tuple[str, str | None] | None,
    revision: str | None,
    stand_in: str | None,
    *,
    policy: EmbeddedPolicy,
    task: str,
    looks_for_safe: bool,
) -> ResolvedModel:
    # A revision is a revision of the default on the hub: no embedded model can be meant.
    allowed = stand_in if revision is None and policy != "never" else None
    if allowed is not None and policy == "always":
        return _standing_in(allowed, task, "")
    if default is None:
        raise UsageError(
            f"--model is needed for {task or 'this'}.",
            hint="Name a hub model (--model NAME) or a folder (--model PATH).",
        )
    repository, default_revision = default
    wanted = ResolvedModel(repository, repository, revision or default_revision)
    if allowed is not None and has_embedded_encoder():
        try:
            return _find_on_hub(wanted, looks_for_safe, is_replaceable=True)
        except HubUnreachableError as error:
            return _standing_in(allowed, task, f"{error.reason}, ")
    why = None
    if policy != "never" and has_embedded_encoder():
        no_such = f"there is no embedded model for {task}." if task else None
        why = no_such if stand_in is None else "an embedded model has no revisions."
    return _find_default(wanted, why, policy, looks_for_safe)


def _find_default(
    wanted: ResolvedModel, why_itself: str | None, policy: EmbeddedPolicy, looks_for_safe: bool
) -> ResolvedModel:
    """Return a default model for which no embedded one can stand in; where the user may ask why, it is said."""
    try:
        found = _find_on_hub(wanted, looks_for_safe)
    except HubUnreachableError as error:
        if why_itself:
            error.hint = f"{why_itself[0].upper()}{why_itself[1:]} {str(error.hint).replace(WAYS_ON, WITHOUT_EMBEDDED)}"
        raise
    return replace(found, note=why_itself) if why_itself and policy == "always" else found


def _standing_in(stand_in: str, task: str, why: str) -> ResolvedModel:
    """Return an embedded model with a note that names it and says how good it is."""
    figure = measured(task)
    encoder_alone = f"{EMBEDDED_TITLE} ({figure})" if figure else EMBEDDED_TITLE
    title = embedded_adapter(stand_in).title if stand_in else encoder_alone
    instead = " instead" if why else ""
    return replace(_embedded(stand_in), note=f"{why}using the embedded {title}{instead}")


def _embedded(name: str) -> ResolvedModel:
    """Return the embedded encoder, with the adapter of that name if there is one, all of it checked."""
    folder = embedded_folder()
    if name == ENCODER:
        check_encoder("what llmkit knows of the encoder")
        return ResolvedModel(EMBEDDED_NAME, str(folder), embedded=True)
    adapter = embedded_adapter(name)
    check_encoder(f"the embedded adapter '{name}'")
    return ResolvedModel(adapter.full_name, str(folder), embedded=True, adapter=str(adapter.folder))


def _on_base(model: ResolvedModel, adapter: str, allow_pickle: bool, needs_weights: bool) -> ResolvedModel:
    """Return an adapter on the model that it is for, which its config names.

    Raises:
        ModelError: that model is not to be had; the message says where it was looked for.
    """
    base = base_of(Path(adapter), model.name)
    beside = Path(adapter, base)
    name = str(beside) if not Path(base).is_absolute() and beside.is_dir() else base
    try:
        # Which may be an adapter, even this one: so no base of it is looked for.
        found = resolve_model(name, allow_pickle=allow_pickle, needs_weights=needs_weights, on_base=False)
    except LlmkitError as error:
        looked = f"Looked for it in {Path(base).absolute()}, in {beside} and on the hub or in its cache"
        raise ModelError(
            f"the adapter '{model.name}' is for the model '{base}', which is not to be had: {error.message}",
            hint=f"{looked}. base_model_name_or_path in its {ADAPTER_FILE} may name a folder.",
        ) from error
    if found.adapter is not None or is_hub_adapter(found):
        raise ModelError(
            f"the adapter '{model.name}' is for another adapter, '{base}': merge that one first."
        )
    return replace(found, name=model.name, adapter=adapter, note=model.note)


def _find_on_hub(model: ResolvedModel, looks_for_safe: bool, is_replaceable: bool = False) -> ResolvedModel:
    """Find a model in the cache or on the hub; `looks_for_safe` weights where it has none but pickles.

    With a stand-in at hand a model `is_replaceable`: one whose weights cannot be had is not worth a load that will
    fail, be the config in the cache or on the hub.
    """
    found = _in_cache_or_on_hub(model, is_replaceable, allow_pickle=not looks_for_safe)
    return with_safe_weights(found, model.revision) if looks_for_safe else found


def _in_cache_or_on_hub(model: ResolvedModel, is_replaceable: bool, allow_pickle: bool) -> ResolvedModel:
    from huggingface_hub import constants

    # First of all: with a wrong port the client cannot even be imported.
    check_endpoint(constants.ENDPOINT)
    check_repository_name(model.name)
    asked = model.revision
    model = replace(model, revision=cached_commit(model) or asked)
    wants_weights = is_replaceable and (allow_pickle or cached_conversion(model, asked) is None)
    missing = missing_from_cache(model, wants_weights, allow_pickle)
    if missing is None:
        return model if constants.HF_HUB_OFFLINE else _cached_while_hub_is_silent(model)
    if constants.HF_HUB_OFFLINE:
        raise HubUnreachableError(model, missing, "HF_HUB_OFFLINE is set")
    error = ask_hub(model, CONFIG_FILE)
    if is_a(error, "EntryNotFoundError") and ask_hub(model, ADAPTER_FILE) is None:
        keep_adapter_config(model)
        return model
    if error is not None:
        raise explain_hub_failure(error, model, missing) from error
    if is_replaceable:
        unreachable = why_unreachable(ask_for_a_byte(model, WEIGHTS_FILE), model, WEIGHTS_FILE)
        if unreachable is not None:
            raise unreachable
    return model


def _cached_while_hub_is_silent(model: ResolvedModel) -> ResolvedModel:
    """Mark a cached model whose hub is down: the client would ask for each file, again and again, for a minute."""
    failure = why_unreachable(ask_hub(model, CONFIG_FILE), model, CONFIG_FILE)
    if failure is None:
        return model
    return replace(model, cached_only=True, note=f"using the cached {model}: {failure.cause}")
