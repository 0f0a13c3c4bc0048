"""``llmkit pipeline --warm``, before anything else is imported: the call goes to the worker that is warm."""

from __future__ import annotations

import os
import sys

from llmkit.serving.client import UnusableError, run_warm, wants_warm

WORKER = "llmkit.cli.warm_worker"


def run_warm_if_asked() -> None:
    """End this process with the exit code of its call in a worker; return where the call is to be run here."""
    if not wants_warm(sys.argv[1:], dict(os.environ)):
        return
    try:
        code = run_warm(WORKER)
    except UnusableError as error:
        print(f"warning: no warm worker: {error}. This call runs without.", file=sys.stderr)  # noqa: T201
        return
    os._exit(code)  # nothing was opened that wants closing
