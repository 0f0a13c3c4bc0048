"""What loading a model or asking the hub raised, as one error in the words of the user's call."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from llmkit.errors import HubError, LlmkitError, MissingExtraError, ModelError
from llmkit.models.hub_lookup import WAYS_ON, HubUnreachableError, ask_hub, cached_file, hub_address, patience
from llmkit.models.local_folder import (
    CONFIG_FILE,
    PICKLED_WEIGHTS,
    WEIGHTS_FILE,
    WEIGHTS_INDEX,
    check_safetensors,
    no_weights,
    only_pickles,
)
from llmkit.models.resolved import ResolvedModel
from llmkit.models.short_names import beside_nearest

_NO_OCR = r"without word_boxes, .* but pytesseract is not available"
LOG_IN = "set HF_TOKEN or run: hf auth login"


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


def explain_hub_failure(error: Exception, model: ResolvedModel, file: str) -> LlmkitError:
    """Return the one error for the user from what the hub's client raised over `file`; raise what it cannot explain."""
    explain = _row(FAILURES, error)
    if explain is None:
        raise error
    return explain(error, model, file)


def why_unreachable(error: Exception | None, model: ResolvedModel, file: str) -> HubUnreachableError | None:
    """Return why the hub said nothing of the file; None where it did, or where loading will tell what it is."""
    try:
        failure = explain_hub_failure(error, model, file) if error is not None else None
    except Exception:  # what it cannot explain
        return None
    return failure if isinstance(failure, HubUnreachableError) else None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def is_a(error: BaseException | None, class_name: str) -> bool:
    """Say whether the error's class, or one that it derives from, has this name."""
    return any(base.__name__ == class_name for base in type(error).__mro__)


def is_package_missing(error: BaseException) -> bool:
    """Say whether the error is that a package is not installed, so that another input would end in it too."""
    return isinstance(error, ImportError) or re.search(_NO_OCR, str(error)) is not None


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


def _for(task: str) -> str:
    return f" for {task}" if task else ""


def _gated(error: BaseException, model: ResolvedModel, file: str) -> LlmkitError:
    return HubError(
        f"The model {model} is gated, and you have not been let in.",
        hint=f"Ask for access at {hub_address()}/{model.location}, then {LOG_IN}",
    )


def _unknown_repository(error: BaseException, model: ResolvedModel, file: str) -> LlmkitError:
    return HubError(
        f"The hub {hub_address()} has no model '{model.name}', or it is private.",
        hint=beside_nearest(model.name, f"Check the name; for a private model {LOG_IN}"),
    )


def _unknown_revision(error: BaseException, model: ResolvedModel, file: str) -> LlmkitError:
    return HubError(
        f"The model '{model.name}' has no revision '{model.revision or 'main'}'.",
        hint="A revision is a branch, a tag or a commit id; without --revision it is main.",
    )


def _unknown_file(error: BaseException, model: ResolvedModel, file: str) -> LlmkitError:
    hint = "It is not a transformers model, or not at this revision." if file == CONFIG_FILE else None
    return HubError(f"The model {model} has no {file} on the hub {hub_address()}.", hint=hint)


def _disabled(error: BaseException, model: ResolvedModel, file: str) -> LlmkitError:
    return HubError(f"The hub {hub_address()} has disabled the model '{model.name}'.")


def _refused(error: BaseException, model: ResolvedModel, file: str) -> LlmkitError:
    status = getattr(getattr(error, "response", None), "status_code", 0)
    if status == 401:
        return HubError(
            f"The hub {hub_address()} does not accept the token for '{model.name}' (401).",
            hint=f"For a public model unset HF_TOKEN; else renew the token: {LOG_IN}",
        )
    if status == 403:
        return HubError(
            f"The hub {hub_address()} refuses access to '{model.name}' (403).", hint=f"To have it, {LOG_IN}"
        )
    if status == 404:
        return _not_a_hub(error, model, file)
    what = "takes no more requests for now" if status == 429 else "failed"
    return HubUnreachableError(model, file, f"the hub {hub_address()} {what} ({status})")


def _odd_token(error: BaseException, model: ResolvedModel, file: str) -> LlmkitError:
    return HubError("The hub's token has characters that no token has.", hint=f"Correct it: {LOG_IN}")


def _not_cached(error: BaseException, model: ResolvedModel, file: str) -> LlmkitError:
    cause = error.__cause__
    if isinstance(cause, Exception) and _row(FAILURES, cause) is not None:
        return explain_hub_failure(cause, model, file)
    return _offline_or_silent(error, model, file)


def _offline_or_silent(error: BaseException | None, model: ResolvedModel, file: str) -> LlmkitError:
    from huggingface_hub import constants

    silent = f"the hub {hub_address()} did not give it"
    return HubUnreachableError(model, file, "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else silent)


def _not_a_hub(error: BaseException, model: ResolvedModel, file: str) -> LlmkitError:
    return HubUnreachableError(
        model, file, f"{hub_address()} does not answer like a hub (HF_ENDPOINT, a proxy?)"
    )


def _timed_out(error: BaseException, model: ResolvedModel, file: str) -> LlmkitError:
    return HubUnreachableError(model, file, f"the hub {hub_address()} did not answer in {patience():g} s")


def _no_connection(error: BaseException, model: ResolvedModel, file: str) -> LlmkitError:
    return HubUnreachableError(model, file, f"the hub {hub_address()} cannot be reached ({_told(error)})")


def _cut_off(error: BaseException, model: ResolvedModel, file: str) -> LlmkitError:
    return HubError(
        f"The download of {model} was cut off: {_told(error)}.",
        hint="Run it again: what is there already is kept. " + WAYS_ON,
    )


def _damaged_weights(error: BaseException, model: ResolvedModel, file: str) -> LlmkitError:
    config = Path(model.location, CONFIG_FILE) if model.is_local else cached_file(model, CONFIG_FILE)
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
    "OfflineModeIsEnabled": _offline_or_silent,
    "FileMetadataError": _not_a_hub,
    "NotAHubError": _not_a_hub,
    "LocalProtocolError": _odd_token,
    "OddTokenError": _odd_token,
    "HungUpError": _no_connection,
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


Description = Callable[[re.Match[str], ResolvedModel, str], LlmkitError]


def _saying(message: str, hint: str | None = None) -> Description:
    """Describe a failure by words alone, with the model's name, the task and what the pattern caught in them."""

    def describe(match: re.Match[str], model: ResolvedModel, task: str) -> LlmkitError:
        told = {"model": model, "for_task": _for(task)}
        return ModelError(
            message.format(*match.groups(), **told), hint=hint and hint.format(*match.groups(), **told)
        )

    return describe


def _unknown_type(match: re.Match[str], model: ResolvedModel, task: str) -> LlmkitError:
    version = importlib.metadata.version("transformers")
    return ModelError(
        f"The model {model} is of the type '{match[1]}', which transformers {version} does not know.",
        hint="It needs newer transformers (pip install -U transformers) or its own code: --trust-remote-code",
    )


def _unread_weights(match: re.Match[str], model: ResolvedModel, task: str) -> LlmkitError:
    # To transformers a hub that fails looks like one without the file; the cache knows what was said.
    unasked = not model.is_local and any(
        cached_file(model, file) is None for file in (WEIGHTS_FILE, WEIGHTS_INDEX)
    )
    if unasked:
        return _offline_or_silent(None, model, WEIGHTS_FILE)
    answers = {file: ask_hub(model, file) for file in PICKLED_WEIGHTS} if not model.is_local else {}
    if answers and all(is_a(answer, "EntryNotFoundError") for answer in answers.values()):
        return no_weights(f"The model {model}", (WEIGHTS_FILE, WEIGHTS_INDEX, *PICKLED_WEIGHTS))
    there = [file for file, answer in answers.items() if answer is None]
    return only_pickles(f"The model {model}", there or PICKLED_WEIGHTS[:1])


def _wrong_task(match: re.Match[str], model: ResolvedModel, task: str) -> LlmkitError:
    return ModelError(
        f"The model {model} cannot do {task or match[2]}: it has a {match[1]}.",
        hint="Name a model made for the task.",
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


def _short_download(match: re.Match[str], model: ResolvedModel, task: str) -> LlmkitError:
    file = match[3].rpartition("/")[2]
    return HubError(
        f"The download of {file} of {model} is not whole: {match[2]} of {match[1]} bytes came.",
        hint="Run it again; a proxy on the way may be cutting files.",
    )


def _broken_connection(match: re.Match[str], model: ResolvedModel, task: str) -> LlmkitError:
    return _cut_off(ConnectionError(match[0]), model, "")


def _silent_hub(match: re.Match[str], model: ResolvedModel, task: str) -> LlmkitError:
    return _offline_or_silent(None, model, "a file of it")


def _package(match: re.Match[str], model: ResolvedModel, task: str) -> LlmkitError:
    return _missing_package(match[match.lastindex or 0], model, match[0])


# Transformers says these only in words.
MESSAGES: tuple[tuple[str, Description], ...] = (
    (
        r"Consistency check failed: file should be of size (\d+) but has size (\d+) \(([^)]*\)?[^)\s]*)\)",
        _short_download,
    ),
    (r"peer closed connection without sending complete message body \([^)]*\)", _broken_connection),
    (r"model type `([^`]+)` but Transformers does not recognize", _unknown_type),
    (
        r"contains custom code|trust_remote_code=True",
        _saying(
            "The model {model} needs code from the model.",
            "If you trust its owner, run it: --trust-remote-code",
        ),
    ),
    (r"does not appear to have a file named \S*(?:model\.safetensors|pytorch_model\.bin)", _unread_weights),
    (r"[Nn]o file named \S*(?:model\.safetensors|pytorch_model\.bin)", _unread_weights),
    (r"We couldn't connect to '", _silent_hub),
    (r"config file at '([^']+)' is not a valid JSON file", _not_json),
    (
        r"Unrecognized configuration class <class '[\w.]*?(\w+)'> for this kind of (?:AutoModel: )?(\w+)",
        _wrong_task,
    ),
    (
        r"Should have a `model_type` key|Unrecognized model in",
        _saying(
            f"{CONFIG_FILE} of {{model}} is missing or names no model_type: it is not a transformers model."
        ),
    ),
    (r"optional .*\b(Pillow)|requires the \W*([\w-]+) library|`pip install (?:-\S+ )*([\w.-]+)", _package),
    (r"Couldn't instantiate the backend tokenizer|Can't load tokenizer for", _no_tokenizer),
    (
        r"Can't load ([\w ]*processor|feature extractor) for .* containing an? (\S+)",
        _saying("The model {model} has no {0}{for_task}.", "Missing: {1}. Name a model made for the task."),
    ),
    (
        _NO_OCR,
        _saying(
            "The model {model} needs the words of the image: "
            "reading them takes Tesseract and the package 'pytesseract'.",
            "Install both (pip install pytesseract), or give a column word_boxes: "
            "[[word, [x0, y0, x1, y1]], …], each number from 0 to 1000.",
        ),
    ),
    (
        r"ignore_mismatched_sizes|size mismatch for",
        _saying(f"The weights of {{model}} do not fit its {CONFIG_FILE}: tensors have other shapes."),
    ),
)
