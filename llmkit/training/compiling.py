"""``training.compile``: the model's forward and backward as code of its own (torch.compile)."""

from __future__ import annotations

import os
import shutil
from typing import Any

from llmkit.errors import UsageError


def compile_model(model: Any) -> None:
    """Have a model compiled at its first batch, in place: its names and its class stay.

    Raises:
        UsageError: there is no C++ compiler, which torch needs for it.
    """
    compiler = os.environ.get("CXX", "g++")
    if shutil.which(compiler) is None:
        raise UsageError(
            f"training.compile: there is no C++ compiler {compiler!r} here, which torch.compile needs.",
            hint="Install g++, name another in CXX, or leave training.compile out.",
        )
    model.compile()
