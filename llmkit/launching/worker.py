"""What one of several processes owes its launcher: to end with it, and to say by its exit code why it ended."""

from __future__ import annotations

import atexit
import ctypes
import os
import signal
import sys
import threading
from contextlib import suppress

from llmkit.errors import EXIT_FAILED, EXIT_TERMINATED, LlmkitError, LostProcessError

EXIT_LOST = 75
"""Between a process and its launcher: another process, or a device, was lost, and it is worth beginning again."""

_PR_SET_PDEATHSIG = 1


def end_with_launcher() -> None:
    """Be told to stop, by SIGTERM, when the launcher is no more; otherwise nobody would be left to stop this."""
    if not sys.platform.startswith("linux"):
        return
    launcher = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != launcher:  # it had ended just before
        sys.exit(EXIT_TERMINATED)


def end_python() -> None:
    """Do what Python does at the end of a process, so that `os._exit` may follow.

    A process whose C++ libraries clean up after themselves is aborted now and then: a thread of theirs still waits.
    """
    for end in (threading._shutdown, atexit._run_exitfuncs):  # type: ignore[attr-defined]
        with suppress(BaseException):
            end()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()


def is_begun_again() -> bool:
    """Tell whether an earlier process of the same call, in this one's place, was lost."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", 0)) > 0


def take_own_gpu() -> None:
    """Let this process see the GPU alone that is its own, where it does not share its work with the others'."""
    rank = os.environ.get("LOCAL_RANK")
    if rank is not None:
        names = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
        os.environ["CUDA_VISIBLE_DEVICES"] = names[int(rank)] if int(rank) < len(names) and names[0] else rank


def code_for_launcher(code: int, cause: BaseException | None) -> int:
    """Return the exit code that tells the launcher whether to begin again.

    Args:
        code: what the process would end with for a person.
        cause: what it ends because of.
    """
    is_worth_it = isinstance(cause, LostProcessError) or (
        isinstance(cause, Exception) and not isinstance(cause, LlmkitError)
    )
    return EXIT_LOST if code == EXIT_FAILED and is_worth_it else code
