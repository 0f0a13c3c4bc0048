"""The command `llmkit`, and ``python -m llmkit``: a warm call goes to its worker, any other to `llmkit.cli.main`.

A warm call ends in the time that importing the parser of the command would take.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` is it with names for its numbers, by `enum`
import os
import sys

_WORKER = "llmkit.cli.warm_worker"
_INTERRUPTED = 130
# How often a thread of OpenMP looks for its next work before it sleeps. libgomp's 300,000 wait for a millisecond at the
# end of every operation, and where another program has one of the cores, each such end waits for the scheduler:
# docs/results.md.
_SPINS = "2000"


def main() -> None:
    """Entry point of the console script."""
    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:  # not where Ctrl-C is for others
        _signal.signal(_signal.SIGINT, _end_at_once)
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", _SPINS)
    # With a plain look first: most calls have nothing to do with it.
    if sys.argv[1:2] == ["pipeline"] and ("--warm" in sys.argv or os.environ.get("LLMKIT_WARM")):
        _run_warm_if_asked()
    from llmkit.cli.main import main as run

    run()


def _end_at_once(number: int, frame: object) -> None:
    """End on Ctrl-C while nothing has begun: the command takes over when it is imported (`llmkit.cli.main`).

    KeyboardInterrupt in the middle of an import is a traceback, or is lost in it.
    """
    try:
        os.write(2, b"warning: interrupted.\n")
    finally:
        os._exit(_INTERRUPTED)


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
