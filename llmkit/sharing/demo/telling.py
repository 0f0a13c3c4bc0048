"""How a page says that something went wrong: one message, none of it read as HTML."""

from __future__ import annotations

import html
from collections.abc import Iterator
from contextlib import contextmanager

import gradio

from llmkit.errors import LlmkitError


@contextmanager
def told() -> Iterator[None]:
    """Turn an error of llmkit's into the message that the page shows."""
    try:
        yield
    except LlmkitError as error:
        raise gradio.Error(html.escape(str(error), quote=False), print_exception=False) from None
