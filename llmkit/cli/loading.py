"""Loading a pipeline from a command: libraries' chatter off, nothing sent anywhere, no time lost."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from logging import ERROR
from typing import Any

from llmkit.cli.collection import collection_paused
from llmkit.errors import LlmkitError
from llmkit.models.loading import LoadOptions
from llmkit.models.resolving import ResolvedModel
from llmkit.tasks.catalogue import TaskCall
from llmkit.telemetry import turn_off_telemetry

LEAST_ADDRESS_SPACE = 3 * 2**29  # bytes


def load_quietly(call: TaskCall, resolved: ResolvedModel, load: LoadOptions) -> Any:
    """Load a task's pipeline, or take the one that a warm worker has; progress of downloads stays on, on a terminal."""
    with quiet_libraries():
        from llmkit.serving.kept import KEPT
        from llmkit.tasks.build import build_pipeline

        kept = KEPT.find(call, resolved, load)
        if kept is not None:
            return kept
        pipe = build_pipeline(call, resolved, load)
        KEPT.loaded(call, resolved, load, pipe)
        return pipe


def check_address_space() -> None:
    """Check `ulimit -v` before torch is imported: in too little of it libraries crash, or wait without end.

    Raises:
        LlmkitError: it is below what the smallest model takes with torch (1.45 GB, measured with torch 2.13).
    """
    if sys.platform == "win32":
        return
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    if soft != resource.RLIM_INFINITY and soft < LEAST_ADDRESS_SPACE:
        raise LlmkitError(
            f"this process may take {soft / 1e9:.2f} GB of address space: too little for torch and a model.",
            hint=f"Raise the limit: ulimit -v {LEAST_ADDRESS_SPACE // 1024}, or unlimited.",
        )


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Import torch and transformers, chatter off, in a block that goes on importing and loading."""
    if "torch" not in sys.modules:
        check_address_space()
    turn_off_telemetry()
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    with collection_paused():
        from huggingface_hub.utils import logging as hub_logging
        from transformers.utils import logging

        for each in (hub_logging, logging):
            if each.get_verbosity() != ERROR:  # to set it goes through all loggers that there are
                each.set_verbosity_error()
        logging.disable_progress_bar()
        warnings.filterwarnings("ignore", module=r"(torch|transformers|huggingface_hub)\b")
        yield


@contextmanager
def tokenizers_alone() -> Iterator[None]:
    """Import transformers without torch, which no tokenizer needs, in a block that loads tokenizers and nothing else.

    transformers imports torch wherever it is installed. None in `sys.modules` is Python's own way to say that a
    module is not there; it stays so for the rest of the process.
    """
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # it would say that torch is missing
    if "torch" not in sys.modules:
        sys.modules["torch"] = None  # type: ignore[assignment]
    with quiet_libraries():
        yield


def quiet_client() -> None:
    """Keep the hub's client from sending anything but its requests, and from drawing bars where nobody looks."""
    turn_off_telemetry()
    from huggingface_hub.utils import disable_progress_bars, logging

    logging.set_verbosity_error()
    if not sys.stderr.isatty():
        disable_progress_bars()
