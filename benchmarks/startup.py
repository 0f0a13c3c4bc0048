"""How long `llmkit --help` takes, in turn with `hf --help` of huggingface_hub.

python benchmarks/startup.py [--repeat 21]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

BIN = Path(sys.executable).parent


def seconds(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeat", type=int, default=21)
    repeat = parser.parse_args().repeat
    commands = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "llmkit --help": [str(BIN / "llmkit"), "--help"],
        "llmkit pipeline --help": [str(BIN / "llmkit"), "pipeline", "--help"],
        "llmkit tasks": [str(BIN / "llmkit"), "tasks"],
        "hf --help": [str(BIN / "hf"), "--help"],
        "transformers --help": [str(BIN / "transformers"), "--help"],
    }
    taken: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(repeat):
        for name, command in commands.items():
            taken[name].append(seconds(command))
    print(
        f"huggingface_hub {version('huggingface_hub')}, transformers {version('transformers')}, "
        f"typer {version('typer')}"
    )
    print(f"{'':24}  median     best   (of {repeat}, in turn)")
    for name, times in taken.items():
        print(f"  {name:22} {statistics.median(times):6.3f} s {min(times):6.3f} s")
    ratio = statistics.median(taken["llmkit --help"]) / statistics.median(taken["hf --help"])
    print(f"  llmkit --help takes {ratio:.2f} of the time of hf --help")


if __name__ == "__main__":
    main()
