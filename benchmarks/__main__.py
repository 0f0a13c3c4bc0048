"""Every benchmark in turn, each as a process of its own; its figures go into docs/figures.json, then onto the pages.

python -m benchmarks [NAME]...
"""

from __future__ import annotations

import os
import subprocess
import sys

from benchmarks.figures import FIGURES, ROOT

NAMES = (
    "startup", "pipeline", "embed", "finetune", "scaling", "params", "search", "warm", "serve", "quickstart",
    "profiles",
)  # fmt: skip
# What is measured against what takes one thread, or shares the cores with its clients.
ONE_THREAD = ("warm", "serve")


def main() -> None:
    """Run those that are named, else all; a benchmark that fails keeps its last figures, and the others go on."""
    wanted = sys.argv[1:] or NAMES
    if unknown := [name for name in wanted if name not in NAMES]:
        sys.exit(f"no such benchmark: {', '.join(unknown)}; there are {', '.join(NAMES)}")
    failed = []
    for name in wanted:
        print(f"== {name}", flush=True)
        command = [sys.executable, "-m", f"benchmarks.{name}", "--record", str(FIGURES)]
        environment = os.environ | ({"OMP_NUM_THREADS": "1"} if name in ONE_THREAD else {})
        if subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode:
            failed.append(name)
    subprocess.run([sys.executable, "-m", "benchmarks.report"], cwd=ROOT, check=True)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
