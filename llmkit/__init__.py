"""llmkit: any Hugging Face task from a shell, a script, or Python.

The Python API is loaded on first use, so that ``import llmkit`` costs nothing.
"""

from __future__ import annotations

from llmkit._version import __version__

TYPE_CHECKING = False  # `typing` takes a tenth of the time of a warm call; type checkers go by the name
if TYPE_CHECKING:
    from typing import Any

    from llmkit.architectures.count import count_parameters as count_parameters
    from llmkit.embeddings.api import embed as embed
    from llmkit.embeddings.comparing import similarity as similarity
    from llmkit.embeddings.search import search as search
    from llmkit.tasks.build import pipeline as pipeline
    from llmkit.training.api import evaluate as evaluate
    from llmkit.training.api import finetune as finetune

_API = {
    "count_parameters": "llmkit.architectures.count",
    "embed": "llmkit.embeddings.api",
    "evaluate": "llmkit.training.api",
    "finetune": "llmkit.training.api",
    "pipeline": "llmkit.tasks.build",
    "search": "llmkit.embeddings.search",
    "similarity": "llmkit.embeddings.comparing",
}

__all__ = [
    "__version__",
    "count_parameters",
    "embed",
    "evaluate",
    "finetune",
    "pipeline",
    "search",
    "similarity",
]


def __getattr__(name: str) -> Any:
    if name in _API:
        import importlib

        from llmkit.telemetry import turn_off_telemetry

        turn_off_telemetry()
        return getattr(importlib.import_module(_API[name]), name)
    if name.startswith("_"):
        raise AttributeError(f"module 'llmkit' has no attribute {name!r}")
    from llmkit.errors import did_you_mean

    guess = did_you_mean(name, _API)
    raise AttributeError(f"module 'llmkit' has no attribute {name!r}" + (f": {guess}" if guess else ""))


def __dir__() -> list[str]:
    return sorted(__all__)
