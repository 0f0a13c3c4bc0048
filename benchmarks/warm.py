"""Seconds of one short text, whole processes: `llmkit pipeline --warm`, the same without, and the five-line script.

The model is the embedded MiniLM with a seeded classification head. The calls are made in turn, so that the machine is
the same for all; before them the worker is started and has its model. "The model's own time" is that of the same text
in this process, the model loaded.

    OMP_NUM_THREADS=1 python -m benchmarks.warm [--repeat 50]
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
import transformers

from benchmarks.figures import parser, record
from benchmarks.pipeline import SCRIPT, load, make_model, with_llmkit

TEXT = "What a lovely day it was"
BIN = Path(sys.executable).parent


def timed(command: list[str], environment: dict[str, str]) -> tuple[float, bytes]:
    start = time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, check=True, stdin=subprocess.DEVNULL)
    return time.perf_counter() - start, done.stdout


def own_seconds(folder: Path, repeat: int) -> float:
    """The median time of the text in this process, after a first one."""
    pipe = load(folder, "float32")
    with_llmkit(pipe, [TEXT])
    taken = []
    for _ in range(repeat):
        start = time.perf_counter()
        with_llmkit(pipe, [TEXT])
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def measure(folder: Path, environment: dict[str, str], repeat: int) -> dict[str, list[float]]:
    call = [str(BIN / "llmkit"), "pipeline", "text-classification", TEXT, "-m", str(folder)]
    commands = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "llmkit --warm": [*call, "--warm"],
        "llmkit": call,
        "five-line script": [sys.executable, "-c", SCRIPT, str(folder), TEXT],
    }
    for _ in range(3):  # the worker is started, has loaded the model, and has a process that has it
        timed(commands["llmkit --warm"], environment)
        time.sleep(1)
    taken: dict[str, list[float]] = {name: [] for name in commands}
    answers: dict[str, bytes] = {}
    for number in range(repeat):
        for name, command in commands.items():
            # The slow ones need no fifty calls to be known.
            if name in ("llmkit", "five-line script") and number >= max(5, repeat // 5):
                continue
            seconds, answers[name] = timed(command, environment)
            taken[name].append(seconds)
    assert answers["llmkit --warm"] == answers["llmkit"], "warm and cold differ"
    score = json.loads(answers["five-line script"])["score"]
    assert abs(json.loads(answers["llmkit"])["score"] - score) < 1e-5
    return taken


def in_a_row(folder: Path, environment: dict[str, str], calls: int) -> float:
    """Seconds a call of a shell's loop, one call after the other."""
    command = f'for i in $(seq {calls}); do "$@" > /dev/null; done'
    call = [str(BIN / "llmkit"), "pipeline", "text-classification", TEXT, "-m", str(folder), "--warm"]
    seconds, _ = timed(["bash", "-c", command, "-", *call], environment)
    return seconds / calls


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--repeat", type=int, default=50)
    arguments = options.parse_args()
    repeat = arguments.repeat
    print(
        f"python {platform.python_version()}, torch {torch.__version__}, transformers {transformers.__version__}, "
        f"{torch.get_num_threads()} threads"
    )
    with tempfile.TemporaryDirectory() as place:
        folder = make_model(Path(place, "model"))
        environment = os.environ | {"XDG_RUNTIME_DIR": place, "HF_HUB_OFFLINE": "1"}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed package is compiled, and stays so
        own = own_seconds(folder, repeat)
        try:
            taken = measure(folder, environment, repeat)
            loop = in_a_row(folder, environment, repeat)
        finally:
            subprocess.run([str(BIN / "llmkit"), "warm", "stop", "-q"], env=environment, check=False)
    medians = {name: statistics.median(times) for name, times in taken.items()}
    print("\none text, whole processes, in turn     median      best")
    for name, times in taken.items():
        print(f"  {name:32} {medians[name] * 1000:8.1f} ms {min(times) * 1000:8.1f} ms  of {len(times)}")
    print(f"  {'the model alone, in a process':32} {own * 1000:8.1f} ms")
    print(f"  {'llmkit --warm, one after the other':32} {loop * 1000:8.1f} ms")
    warm, least = medians["llmkit --warm"], medians["python -c pass"] + own
    print(f"\n  warm is {medians['five-line script'] / warm:.1f} times faster than the script (wanted: 15)")
    print(f"  warm is {medians['llmkit'] / warm:.1f} times faster than cold")
    print(
        f"  warm takes {warm / least:.2f} times python -c pass and the model's own time (wanted: under 2.5)"
    )
    figures = {name: {"seconds": medians[name], "best": min(times)} for name, times in taken.items()}
    figures["the model alone, in a process"] = {"seconds": own}
    figures["llmkit --warm, one after the other"] = {"seconds": loop}
    record(
        arguments.record,
        "warm",
        title="Warm calls",
        about=f"One short text, whole processes in turn, medians of up to {repeat}, "
        f"{torch.get_num_threads()} threads; the worker has the model.",
        figures=figures,
        ratios={
            "the script against a warm call": (medians["five-line script"] / warm, 15.0),
            "a warm call against python -c pass and the model's own time (less is better)": (
                warm / least,
                2.5,
            ),
        },
    )


if __name__ == "__main__":
    main()
