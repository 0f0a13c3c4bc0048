"""One commit on the hub, of files that have been checked: it is there whole, or not at all."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass

from llmkit.errors import HubError, LlmkitError, UsageError
from llmkit.models.hub_errors import is_a
from llmkit.models.hub_lookup import check_endpoint, check_repository_name, hub_address
from llmkit.sharing.contents import SharedFile

# Settings that hold a secret, by the end of their names; shorter ones would be found in words.
_SECRET_NAMES = ("TOKEN", "API_KEY", "ACCESS_KEY", "SECRET", "PASSWORD")
_SHORTEST_SECRET = 12
_QUERY = re.compile(r"\?[^\s'\"]*=[^\s'\"]*")  # of an address: one to upload to is signed there
_MODEL_SUFFIXES = (".safetensors", ".bin", ".json")
_SPACE_SUFFIXES = (".py", *_MODEL_SUFFIXES)


@dataclass(frozen=True, slots=True)
class Pushed:
    """A commit that is on the hub."""

    repo: str
    commit: str
    url: str


def token_of_user() -> str:
    """Return the token that requests to the hub carry.

    Raises:
        UsageError: there is none.
    """
    from huggingface_hub import get_token

    token = get_token()
    if not token:
        raise UsageError(
            "nobody is logged in to the hub.",
            hint="Set HF_TOKEN to a token that may write, or run `hf auth login`.",
        )
    return str(token)


def known_tokens() -> dict[str, str]:
    """Return the secrets that this user has here, which must not be in anything that is shared: what each is, by it."""
    from huggingface_hub import get_token

    found = {
        value: f"your {name}"
        for name, value in os.environ.items()
        if name.upper().endswith(_SECRET_NAMES) and len(value) >= _SHORTEST_SECRET
    }
    token = get_token()
    return {**found, str(token): "your token of the hub"} if token else found


def check_repo(repo: str) -> None:
    """Check a repository's name, with its owner, and the hub's address.

    Raises:
        UsageError: either cannot be one.
    """
    from huggingface_hub import constants

    check_endpoint(constants.ENDPOINT)
    check_repository_name(repo)
    if "/" not in repo:
        raise UsageError(f"'{repo}': whose is it?", hint=f"Name the owner too: OWNER/{repo}.")


def push(
    files: Sequence[SharedFile], repo: str, message: str, *, private: bool, is_space: bool = False
) -> Pushed:
    """Put files into a repository of the hub, made if need be, as one commit; a Space's is another than a model's.

    Weights that an interrupted push has brought there are not sent again. Other weights and
    JSON files that are there are deleted in the same commit: an adapter beside a merged model would be loaded with it.

    Raises:
        UsageError: nobody is logged in.
        HubError: the hub refuses, or cannot be reached; then nothing was published.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, constants

    if constants.HF_HUB_OFFLINE:
        raise HubError("HF_HUB_OFFLINE is set, and a push goes to the hub.", hint="Unset it for this call.")
    api = HfApi(token=token_of_user())
    names = {file.name for file in files}
    kind, sdk = ("space", "gradio") if is_space else ("model", None)
    suffixes = _SPACE_SUFFIXES if is_space else _MODEL_SUFFIXES
    try:
        api.create_repo(repo, private=private or None, exist_ok=True, repo_type=kind, space_sdk=sdk)
        there = api.list_repo_files(repo, repo_type=kind)
        operations = [
            CommitOperationAdd(file.name, file.content if file.content is not None else str(file.source))
            for file in files
        ]
        gone = [name for name in there if name.endswith(suffixes) and name not in names]
        deletions = [CommitOperationDelete(name) for name in gone]
        made = api.create_commit(repo, [*operations, *deletions], commit_message=message, repo_type=kind)
    except LlmkitError:
        raise
    except Exception as error:
        raise _explained(error, repo, api.token) from None
    shown = f"spaces/{repo}" if is_space else repo
    return Pushed(shown, str(made.oid), f"{hub_address()}/{shown}")


def _explained(error: Exception, repo: str, token: object) -> LlmkitError:
    """Return what the hub's client raised, in one message without the token."""
    responses = [getattr(each, "response", None) for each in _chain(error)]
    status = next((each.status_code for each in responses if each is not None), None)
    nothing = "Nothing was published; run the same command again to go on."
    if status in (401, 403) or any(is_a(each, "RepositoryNotFoundError") for each in _chain(error)):
        return HubError(
            f"the hub does not let you write to '{repo}'.",
            hint="Is it yours, and may the token write? `hf auth whoami` says who you are.",
        )
    if status == 429:
        return HubError("the hub has had enough requests for now.", hint=nothing)
    told = str(error).strip().partition("\n")[0].replace(str(token), "…") or type(error).__name__
    told = _QUERY.sub("?…", told)
    return HubError(f"the push to '{repo}' failed: {told}", hint=nothing)


def _chain(error: BaseException | None) -> list[BaseException]:
    chain: list[BaseException] = []
    while error is not None and error not in chain:
        chain.append(error)
        error = error.__cause__ or error.__context__
    return chain
