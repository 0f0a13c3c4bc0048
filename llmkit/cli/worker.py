"""The command as one of several processes of a call: ``python -m llmkit.cli.worker …``, by the launcher alone."""

from __future__ import annotations

import sys

from llmkit.cli.main import main
from llmkit.launching.worker import code_for_launcher, end_with_launcher


def run_worker() -> None:
    """Run the command; the exit code is for the launcher."""
    end_with_launcher()
    try:
        main()
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(bool(stop.code))
        sys.exit(code_for_launcher(code, stop.__context__))


if __name__ == "__main__":
    run_worker()
