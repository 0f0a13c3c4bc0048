"""The page of a Space: what its app.py calls, with the copy of this code that lies beside it."""

from __future__ import annotations

from pathlib import Path

import gradio

from llmkit.models.loading import LoadOptions
from llmkit.sharing.demo.card import card_of_model
from llmkit.sharing.demo.demo import Demo
from llmkit.sharing.demo.page import page_of
from llmkit.tasks.build import build_pipeline
from llmkit.tasks.catalogue import find_task
from llmkit.tasks.resolve import resolve_for


def space_page(task: str, model: str | Path, *, title: str, revision: str | None = None) -> gradio.Blocks:
    """Load a model and return its page.

    Raises:
        UsageError: no such task.
        ModelError: the model cannot be had.
    """
    from transformers.utils import logging

    logging.set_verbosity_error()  # its report of what a base lacks is of no use where an adapter brings it
    call = find_task(task)
    resolved = resolve_for(call, str(model), revision)
    pipe = build_pipeline(call, resolved, LoadOptions())
    return page_of(Demo(title, call, pipe, *card_of_model(resolved)))
