"""The command `llmkit`, and ``python -m llmkit``: a warm call goes to its worker, any other to `llmkit.cli.main`.

A warm call ends in the time that importing the parser of the command would take.
"""

from __future__ import annotations

import os
import sys

_WORKER = "llmkit.cli.warm_worker"
_INTERRUPTED = 130


def main() -> None:
    """Entry point of the console script."""
    # With a plain look first: most calls have nothing to do with it.
    if sys.argv[1:2] == ["pipeline"] and ("--warm" in sys.argv or os.environ.get("LLMKIT_WARM")):
        _run_warm_if_asked()
    try:
        from llmkit.cli.main import main as run
    except KeyboardInterrupt:  # nothing has begun
        sys.exit(_INTERRUPTED)
    try:
        run()
    except SystemExit as stop:
        _end_at_once(stop)
        raise


def _end_at_once(stop: SystemExit) -> None:
    """End this process where objects were kept from the garbage collector; see `llmkit.cli.collection`.

    Python's own end leaves them as they are, and nanobind, with which Triton is built where torch is 2.15, then says
    on standard error that they leak. To collect them takes longer than the end of the whole process.
    """
    if "llmkit.cli.collection" not in sys.modules:
        return
    from llmkit.launching.worker import end_python

    end_python()
    os._exit(stop.code if isinstance(stop.code, int) else int(bool(stop.code)))


def _run_warm_if_asked() -> None:
    """End this process with the exit code of its call in a worker; return where the call is to be run here."""
    from llmkit.serving.client import UnusableError, run_warm, wants_warm

    if not wants_warm(sys.argv[1:], dict(os.environ)):
        return
    try:
        code = run_warm(_WORKER)
    except UnusableError as error:
        print(f"warning: no warm worker: {error}. This call runs without.", file=sys.stderr)  # noqa: T201
        return
    os._exit(code)  # nothing was opened that wants closing


if __name__ == "__main__":
    main()
