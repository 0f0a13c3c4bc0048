"""How the shared options are made: what those have in common that mean the same kind of thing."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable

import typer

from llmkit.cli import completion
from llmkit.cli.parameters import not_empty


def set_debug(value: bool) -> bool:
    """Have errors shown with their tracebacks."""
    if value:
        os.environ["LLMKIT_DEBUG"] = "1"
    return value


def set_embedded(value: bool | None) -> bool | None:
    """Have the embedded model taken, or not."""
    if value is not None:
        os.environ["LLMKIT_EMBEDDED"] = "always" if value else "never"
    return value


named = functools.partial(typer.Option, show_default=False, callback=not_empty)
"""Makes an option that an empty text is refused for."""


def model_option(help_text: str) -> typer.models.OptionInfo:
    """Return an option that names a model."""
    return named("--model", "-m", help=help_text, autocompletion=completion.complete_model)


def format_option(help_text: str, offered: Callable[..., list[str]]) -> typer.models.OptionInfo:
    """Return an option that names a format."""
    return named("--format", "-f", help=help_text, autocompletion=offered)


def output_option(help_text: str, metavar: str = "FILE") -> typer.models.OptionInfo:
    """Return an option that names what is written."""
    return named("--output", "-o", metavar=metavar, help=help_text)


def rejects_option(what: str) -> typer.models.OptionInfo:
    """Return an option that names the file of what has no result."""
    return typer.Option(
        "--rejects",
        help=f"File for the {what} that fail.  [default: OUTPUT.rejects.jsonl]",
        show_default=False,
    )


def choice_option(help_text: str, names: tuple[str, ...], *, default: bool = True) -> typer.models.OptionInfo:
    """Return an option whose value is one of some names."""
    return typer.Option(help=help_text, show_default=default, autocompletion=completion.one_of(*names))
