"""The command as one of several processes of a call: ``python -m llmkit.cli.worker …``, by the launcher alone."""

from __future__ import annotations

import os
from typing import NoReturn

from llmkit.cli.main import main
from llmkit.errors import EXIT_DONE
from llmkit.launching.worker import code_for_launcher, end_python, end_with_launcher


def run_worker() -> NoReturn:
    """Run the command; the exit code is for the launcher."""
    end_with_launcher()
    code = EXIT_DONE
    try:
        main()
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(bool(stop.code))
        code = code_for_launcher(code, stop.__context__)
    end_python()
    os._exit(code)


if __name__ == "__main__":
    run_worker()
