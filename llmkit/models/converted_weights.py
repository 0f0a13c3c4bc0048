"""Weights that the hub's own converter made of a model's pickle.

A model from before safetensors (summarization's default, sshleifer/distilbart-cnn-12-6, is one) has its weights as
a pickle, which nothing here opens unasked. On most such models the hub's converter, the account SFconvertbot, keeps
a pull request open that adds the same weights as safetensors: those are taken, and nothing is unpickled. It is
never asked to make one.
"""

from __future__ import annotations

import json
from dataclasses import replace

from llmkit.data.atomic import write_whole
from llmkit.data.cache_folder import cache_folder
from llmkit.errors import OutputError
from llmkit.models.hub_adapters import is_hub_adapter
from llmkit.models.hub_errors import is_a
from llmkit.models.hub_lookup import answer_in_time, ask_hub, has_cached, missing_from_cache, patience
from llmkit.models.local_folder import PICKLED_WEIGHTS, WEIGHTS_FILE, WEIGHTS_INDEX
from llmkit.models.resolved import ResolvedModel

CONVERTER = "SFconvertbot"
TITLE = "Adding `safetensors` variant of this model"
_REGISTER = "converted-weights.json"
_REQUESTS = 3  # to find one takes about so many


def with_safe_weights(model: ResolvedModel, asked_revision: str | None) -> ResolvedModel:
    """Return a model of the hub with the revision of its converted weights where it has no others; else as it is.

    The hub is not asked for what the cache has, nor where it is known to be out of reach.

    Args:
        asked_revision: the one that was asked for; the model's own may be the cached commit that it stands for.
    """
    from huggingface_hub import constants

    if missing_from_cache(model, weights=True) is None or is_hub_adapter(model):
        return model
    kept = cached_conversion(model, asked_revision)
    if kept is not None:
        return _converted(model, kept)
    if constants.HF_HUB_OFFLINE or model.cached_only:
        return model
    if not all(is_a(ask_hub(model, file), "EntryNotFoundError") for file in (WEIGHTS_FILE, WEIGHTS_INDEX)):
        return model
    found = answer_in_time(lambda: _find_conversion(model), _REQUESTS * patience())
    if not isinstance(found, str):  # there is none, or the hub does not say
        return model
    _remember(_registered_name(model, asked_revision), found)
    return _converted(model, found)


def cached_conversion(model: ResolvedModel, asked_revision: str | None) -> str | None:
    """Return the revision of a model's converted weights that the cache has, or None."""
    kept = _register().get(_registered_name(model, asked_revision))
    return kept if kept is not None and has_cached(replace(model, revision=kept), (WEIGHTS_FILE,)) else None


def _registered_name(model: ResolvedModel, asked_revision: str | None) -> str:
    return f"{model.location}@{asked_revision or 'main'}"


def _converted(model: ResolvedModel, revision: str) -> ResolvedModel:
    note = f"the model {model} has pickled weights only; taken is what the hub's converter made of them: {revision}"
    return replace(model, weights_revision=revision, note=model.note or note)


def _find_conversion(model: ResolvedModel) -> str | None:
    """Return the git reference of the converter's open pull request that was made from this very pickle."""
    from huggingface_hub import get_repo_discussions

    pickle = PICKLED_WEIGHTS[0]
    wanted = _content_id(model, pickle)
    for proposal in get_repo_discussions(model.location):
        is_conversion = proposal.is_pull_request and (proposal.author, proposal.title) == (CONVERTER, TITLE)
        if not is_conversion or proposal.status != "open":
            continue
        reference = f"refs/pr/{proposal.num}"
        there = replace(model, revision=reference)
        if _content_id(there, pickle) == wanted and ask_hub(there, WEIGHTS_FILE) is None:
            return reference
    return None


def _content_id(model: ResolvedModel, file: str) -> str | None:
    """Return what the hub tells a file's content by: for large ones its SHA-256."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    return get_hf_file_metadata(hf_hub_url(model.location, file, revision=model.revision)).etag


# Which conversion belongs to which model is kept, so that the cache serves when the hub does not.


def _register() -> dict[str, str]:
    try:
        kept = json.loads((cache_folder() / _REGISTER).read_bytes())
    except (OSError, ValueError):
        return {}
    return kept if isinstance(kept, dict) else {}


def _remember(name: str, revision: str) -> None:
    file = cache_folder() / _REGISTER
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, json.dumps({**_register(), name: revision}, indent=1).encode())
    except (OSError, OutputError):  # only a later run without the hub misses it
        return
