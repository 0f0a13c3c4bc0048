"""Loading a pipeline from a command: libraries' chatter off, nothing sent anywhere."""

from __future__ import annotations

import os
from typing import Any

from llmkit.models.loading import LoadOptions
from llmkit.models.resolving import ResolvedModel
from llmkit.tasks.catalogue import TaskCall


def load_quietly(call: TaskCall, resolved: ResolvedModel, load: LoadOptions) -> Any:
    """Load a task's pipeline; progress of downloads stays on, on a terminal."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    import warnings

    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    warnings.filterwarnings("ignore", module=r"(torch|transformers|huggingface_hub)\b")
    from llmkit.tasks.build import build_pipeline

    return build_pipeline(call, resolved, load)
