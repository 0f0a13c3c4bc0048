"""How long `llmkit --help` takes, in turn with `hf --help` of huggingface_hub.

python -m benchmarks.startup [--repeat 21]
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

from benchmarks.figures import parser, record

BIN = Path(sys.executable).parent


def seconds(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--repeat", type=int, default=21)
    arguments = options.parse_args()
    repeat = arguments.repeat
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
    ratio = statistics.median(taken["hf --help"]) / statistics.median(taken["llmkit --help"])
    print(f"  llmkit --help is {ratio:.2f} times as fast as hf --help")
    record(
        arguments.record,
        "startup",
        title="Start",
        about=f"Whole processes in turn, {repeat} times each.",
        figures={
            name: {"seconds": statistics.median(times), "best": min(times)} for name, times in taken.items()
        },
        ratios={"hf --help against llmkit --help": (ratio, 3.0)},
    )


if __name__ == "__main__":
    main()
