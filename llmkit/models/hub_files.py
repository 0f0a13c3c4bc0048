"""Which files of a repository a model is loaded from: all but what is plainly for something else."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from llmkit.errors import HubError, ModelError
from llmkit.models.hub_lookup import hub_address
from llmkit.models.local_folder import (
    ADAPTER_FILE,
    CONFIG_FILE,
    OTHER_WEIGHT_SUFFIXES,
    PICKLE_SUFFIXES,
    TRAINER_FILES,
    WEIGHTS_FILE,
    no_weights,
)
from llmkit.models.resolved import ResolvedModel

_UNWANTED = (
    # the same weights in other frameworks' formats
    *(
        "*.h5",
        "*.msgpack",
        "*.ot",
        "*.onnx",
        "*.onnx_data*",
        "*.tflite",
        "*saved_model.pb",
        "*.gguf",
        "*.ggml",
        "*.nemo",
    ),
    *("*.mlmodel", "*.mlpackage/*", "*.ckpt.*", "onnx/*", "openvino/*", "coreml/*", "original/*"),
    # pictures, and what a training left behind
    *("*.png", "*.jpg", "*.jpeg", "*.gif", "*.svg", "*.webp", "*.mp4", "*.mov", "*.pdf"),
    *(
        "runs/*",
        "logs/*",
        "*.log",
        "*tfevents*",
        "checkpoint-*/*",
        "checkpoints/*",
        "global_step*/*",
        "*rng_state*.pth",
    ),
)


def fetch_files(model: ResolvedModel, cache: Path | None = None) -> Path:
    """Fetch what a model of the hub is loaded from into a cache, the hub's own by default; return its snapshot.

    Raises:
        HubError: the repository holds no model, or only weights of a kind that cannot be loaded by its id.
        Exception: what the hub's client raises.
    """
    from huggingface_hub import HfApi, snapshot_download

    files = HfApi().list_repo_files(model.location, revision=model.revision)
    wanted = loaded_from(files)
    _check(model, files, wanted)
    return Path(
        snapshot_download(
            model.location,
            revision=model.revision,
            cache_dir=cache,
            allow_patterns=[glob.escape(file) for file in wanted],
        )
    )


def loaded_from(files: Sequence[str]) -> list[str]:
    """Return the files of a repository that a model is loaded from.

    In each of its folders the weights are safetensors, or else pickles as transformers writes them, or else others.
    """
    kept = [file for file in files if not any(fnmatchcase(file.lower(), each) for each in _UNWANTED)]
    kept = [file for file in kept if PurePosixPath(file).name not in TRAINER_FILES]
    best: dict[PurePosixPath, int] = {}
    for file in kept:
        place, kind = PurePosixPath(file).parent, _kind_of_weights(file)
        if kind is not None:
            best[place] = min(kind, best.get(place, kind))
    return [file for file in kept if _kind_of_weights(file) in (None, best.get(PurePosixPath(file).parent))]


def _kind_of_weights(file: str) -> int | None:
    """Return how much a file of weights is wanted, the lowest the most; None of another file."""
    path = PurePosixPath(file)
    if path.suffix == ".safetensors":
        return 0
    if path.suffix not in PICKLE_SUFFIXES:
        return None
    return 1 if path.suffix == ".bin" and path.stem.startswith(("pytorch_model", "adapter_model")) else 2


def _check(model: ResolvedModel, files: Sequence[str], wanted: Sequence[str]) -> None:
    """Refuse a repository whose files ``--model OWNER/NAME`` could not load."""
    of_weights = [file for file in files if file.endswith(OTHER_WEIGHT_SUFFIXES)]
    if of_weights and all(_kind_of_weights(file) is None for file in wanted):
        packed = [file for file in of_weights if file.endswith(".gguf")]
        if not packed:
            raise no_weights(f"the model {model}", (WEIGHTS_FILE,), of_weights)
        raise ModelError(
            f"the model {model} has its weights as GGUF only ({len(packed)}), which are named by a path.",
            hint=f"Fetch one: hf download {model.location} {packed[0]} --local-dir DIR, "
            f"then --model DIR/{packed[0]}",
        )
    if not {CONFIG_FILE, ADAPTER_FILE} & {*wanted}:
        raise HubError(
            f"the model {model} has no {CONFIG_FILE} on the hub {hub_address()}.",
            hint="It is not a transformers model, or not at this revision.",
        )
