"""The command `llmkit`, and ``python -m llmkit``: a warm call goes to its worker, any other to `llmkit.cli.main`.

A warm call ends in the time that importing the parser of the command would take.
"""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Entry point of the console script."""
    # With a plain look first: most calls have nothing to do with it.
    if sys.argv[1:2] == ["pipeline"] and ("--warm" in sys.argv or os.environ.get("LLMKIT_WARM")):
        from llmkit.cli.warm_call import run_warm_if_asked

        run_warm_if_asked()
    from llmkit.cli.main import main as run

    run()


if __name__ == "__main__":
    main()
