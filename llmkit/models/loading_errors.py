"""What loading a model raised, as one error in the words of the user's call."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from llmkit.errors import HubError, LlmkitError, MissingExtraError, ModelError
from llmkit.models.hub_errors import (
    HUB_FAILURES,
    Explanation,
    cut_off,
    first_line,
    is_a,
    offline_or_silent,
    row_for,
)
from llmkit.models.hub_lookup import HubUnreachableError, ask_hub, cached_file, hub_address
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

_NO_OCR = r"without word_boxes, .* but pytesseract is not available"


def explain_loading_error(error: BaseException, model: ResolvedModel, task: str) -> LlmkitError:
    """Return the one error for the user from what ``from_pretrained`` or ``pipeline`` raised."""
    links = list(_chain(error))
    told = next((link for link in links if isinstance(link, LlmkitError)), None)
    if told is not None:
        return told
    for link in links:
        explain = row_for(FAILURES, link)
        if explain is not None:
            return explain(link, model, _file_asked_for(link))
    for link in links:
        for pattern, describe in MESSAGES:
            match = re.search(pattern, str(link))
            if match is not None:
                return describe(match, model, task)
    if model.is_gguf:
        return _damaged_gguf(error, model)
    return ModelError(f"the model {model} cannot be loaded{_for(task)}: {first_line(error)}")


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def is_package_missing(error: BaseException) -> bool:
    """Say whether the error is that a package is not installed, so that another input would end in it too."""
    return isinstance(error, ImportError) or re.search(_NO_OCR, str(error)) is not None


def _file_asked_for(error: BaseException) -> str:
    match = re.search(r"/resolve/[^/\s]+/([^\s?']+\w)", str(error))
    return match[1] if match else "a file of it"


def _for(task: str) -> str:
    return f" for {task}" if task else ""


def _fell_silent(error: BaseException, model: ResolvedModel, file: str) -> LlmkitError:
    return HubUnreachableError(model, file, f"the hub {hub_address()} stopped answering")


def _damaged_weights(error: BaseException, model: ResolvedModel, file: str) -> LlmkitError:
    config = Path(model.location, CONFIG_FILE) if model.is_local else cached_file(model, CONFIG_FILE)
    folder = Path(config).parent if isinstance(config, str | Path) else None
    for weights in sorted(folder.glob("*.safetensors")) if folder else ():
        try:
            check_safetensors(weights, model.name)
        except ModelError as damage:
            return damage
    return ModelError(f"the weights of {model} cannot be read: {first_line(error)}.")


def _wrong_config(error: BaseException, model: ResolvedModel, file: str) -> LlmkitError:
    what = str(error).splitlines()[-1].strip().partition(": ")[2] or first_line(error)
    return ModelError(f"{CONFIG_FILE} of {model} has a wrong value: {what}.")


def _not_only_weights(error: BaseException, model: ResolvedModel, file: str) -> LlmkitError:
    return ModelError(
        f"the pickled weights of {model} hold more than tensors, or are damaged.",
        hint="They are not loaded. Have them saved as safetensors.",
    )


def _missing_import(error: BaseException, model: ResolvedModel, file: str) -> LlmkitError:
    name = getattr(error, "name", None) or ""
    match = re.search(r"pip install (?:-\S+ )*([\w.-]+)|requires the (?:\W*)([\w-]+) library", str(error))
    module = name.partition(".")[0]
    package = PACKAGES_OF_MODULES.get(module, module) or (match and (match[1] or match[2])) or ""
    return _missing_package(package, model, first_line(error))


def _missing_package(package: str, model: ResolvedModel, told: str) -> LlmkitError:
    if package.lower() in PACKAGES_OF_EXTRAS:
        return MissingExtraError(f"the model {model}", PACKAGES_OF_EXTRAS[package.lower()])
    if not package:
        return ModelError(f"the model {model} needs a package that is not installed: {told}")
    return ModelError(
        f"the model {model} needs the package '{package}'.", hint=f"Install it: pip install {package}"
    )


FAILURES: dict[str, Explanation] = {
    **HUB_FAILURES,
    # While a file is being fetched the client has patience of its own, and much of it.
    "TimeoutException": _fell_silent,
    "TimeoutError": _fell_silent,
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
        f"the model {model} is of the type '{match[1]}', which transformers {version} does not know.",
        hint="It needs newer transformers (pip install -U transformers) or its own code: --trust-remote-code",
    )


def _unread_weights(match: re.Match[str], model: ResolvedModel, task: str) -> LlmkitError:
    # To transformers a hub that fails looks like one without the file; the cache knows what was said.
    unasked = not model.is_local and any(
        cached_file(model, file) is None for file in (WEIGHTS_FILE, WEIGHTS_INDEX)
    )
    if unasked:
        return offline_or_silent(None, model, WEIGHTS_FILE)
    answers = {file: ask_hub(model, file) for file in PICKLED_WEIGHTS} if not model.is_local else {}
    if answers and all(is_a(answer, "EntryNotFoundError") for answer in answers.values()):
        return no_weights(f"the model {model}", (WEIGHTS_FILE, WEIGHTS_INDEX, *PICKLED_WEIGHTS))
    there = [file for file, answer in answers.items() if answer is None]
    return only_pickles(f"the model {model}", there or PICKLED_WEIGHTS[:1])


def _wrong_task(match: re.Match[str], model: ResolvedModel, task: str) -> LlmkitError:
    return ModelError(
        f"the model {model} cannot do {task or match[2]}: it has a {match[1]}.",
        hint="Name a model made for the task.",
    )


def _damaged_gguf(error: BaseException | str, model: ResolvedModel) -> LlmkitError:
    told = first_line(error) if isinstance(error, BaseException) else error
    return ModelError(
        f"the GGUF file {model} is damaged, or of a kind that transformers does not read: {told}",
        hint="Compare its size and checksum with those of where it came from.",
    )


def _not_json(match: re.Match[str], model: ResolvedModel, task: str) -> LlmkitError:
    if model.is_gguf:
        return _damaged_gguf("its metadata cannot be read.", model)
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
        f"the model {model} has no tokenizer that can be read{_for(task)}.",
        hint="Wanted: tokenizer.json, or a slow tokenizer's files (pip install sentencepiece protobuf).",
    )


def _short_download(match: re.Match[str], model: ResolvedModel, task: str) -> LlmkitError:
    file = match[3].rpartition("/")[2]
    return HubError(
        f"the download of {file} of {model} is not whole: {match[2]} of {match[1]} bytes came.",
        hint="Run it again; a proxy on the way may be cutting files.",
    )


def _broken_connection(match: re.Match[str], model: ResolvedModel, task: str) -> LlmkitError:
    return cut_off(ConnectionError(match[0]), model, "")


def _silent_hub(match: re.Match[str], model: ResolvedModel, task: str) -> LlmkitError:
    return offline_or_silent(None, model, "a file of it")


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
            "the model {model} needs code from the model.",
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
        _saying("the model {model} has no {0}{for_task}.", "Missing: {1}. Name a model made for the task."),
    ),
    (
        _NO_OCR,
        _saying(
            "the model {model} needs the words of the image: "
            "reading them takes Tesseract and the package 'pytesseract'.",
            "Install both (pip install pytesseract), or give a column word_boxes: "
            "[[word, [x0, y0, x1, y1]], …], each number from 0 to 1000.",
        ),
    ),
    (
        r"ignore_mismatched_sizes|size mismatch for",
        _saying(f"the weights of {{model}} do not fit its {CONFIG_FILE}: tensors have other shapes."),
    ),
)
