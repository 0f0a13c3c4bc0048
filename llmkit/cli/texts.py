"""What is typed as text is UTF-8: one check of every argument and option that names no file."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from llmkit.errors import UsageError

# A file's name may be any bytes. (Those of --data go into a config, which is UTF-8.)
PATHS = frozenset((
    "among", "checkpoint_file", "config", "context_file", "dataset", "finetune", "folder", "html", "image", "input",
    "model", "models", "name", "names", "output", "output_dir", "plot", "queries_file", "rejects", "run", "save",
    "slurm", "socket", "space", "table", "tasks", "to",
))  # fmt: skip
# Texts or files, each a row that is told by its number: `llmkit.inference.rows`. (--texts of search is a file.)
ROWS = frozenset({"inputs", "texts"})


def refuse_what_is_no_text(command: Any) -> None:
    """Let a command of the parser check its texts before it begins."""
    run: Callable[..., Any] | None = command.callback
    if run is None:
        return
    texts = [each for each in command.params if each.name not in PATHS | ROWS]

    @functools.wraps(run)
    def checked(**values: Any) -> Any:
        for each in texts:
            _check(each, values.get(each.name))
        return run(**values)

    command.callback = checked


def _check(param: Any, value: Any) -> None:
    """Raise UsageError where a value has bytes in it that are not UTF-8."""
    for text in value if isinstance(value, list | tuple) else (value,):
        try:
            str(text).encode()
        except UnicodeEncodeError:
            name = param.opts[0] if param.param_type_name == "option" else param.metavar
            raise UsageError(
                f"{name} is not UTF-8.", hint="Convert it, with iconv -f latin1 -t utf-8 for example."
            ) from None
