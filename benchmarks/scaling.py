"""Throughput of one process against two on this machine, half the threads each, and the share that goes into talking.

The arithmetic is one machine's in both, so two processes can at best be as fast as one; what they lose is what they
say to each other, what they wait for each other, and what they compute twice. The model is the embedded MiniLM with
a new head, the texts are those of benchmarks/finetune.py. The contestants take turns, each in processes of its own.

    python -m benchmarks.scaling [--rows 480] [--rounds 3] [--threads 2]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.figures import parser, record
from benchmarks.finetune import header, llmkit_config, prepare

TARGET = 0.9
_WARMING = 2  # steps


def main() -> None:
    """Compare, or be one process of a contestant where it was started for that."""
    options = parser(__doc__)
    options.add_argument("--rows", type=int, default=480)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--precision", default="float32")
    options.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = options.parse_args()
    if arguments.one:
        train(arguments.folder, arguments.precision)
        return
    with tempfile.TemporaryDirectory() as folder:
        compare(Path(folder), arguments)


def train(folder: Path, precision: str) -> None:
    """Train for an epoch as one process of a run; the first prints its figures."""
    import torch

    from llmkit.training import processes
    from llmkit.training.preparing import prepare as prepare_run
    from llmkit.training.state import Listener

    spoken = 0.0
    real = torch.distributed.all_reduce

    def timed(*arguments: Any, **options: Any) -> Any:
        nonlocal spoken
        begin = time.perf_counter()
        done = real(*arguments, **options)
        spoken += time.perf_counter() - begin
        return done

    torch.distributed.all_reduce = timed
    processes.meet(on_cpu=True)
    config = llmkit_config(folder, 0, 1, precision)
    run = prepare_run(config, folder / "out", device="cpu", listener=Listener())
    steps = run.loop.run()
    for _ in range(_WARMING):
        next(steps)
    before, spoken = run.progress.tokens, 0.0
    begin, cpu = time.perf_counter(), time.process_time()
    for _ in steps:
        pass
    seconds, used = time.perf_counter() - begin, time.process_time() - cpu
    everyones = sum(processes.gathered(used))
    if processes.is_first():
        found = {
            "tokens": run.progress.tokens - before,
            "seconds": seconds,
            "cpu": everyones,
            "spoken": spoken,
        }
        print(json.dumps(found))
    processes.part()


def compare(folder: Path, arguments: argparse.Namespace) -> None:
    """Let one process and two take turns; print each one's figures and the ratio."""
    prepare(folder, arguments.rows)
    print(f"{header()}, {arguments.threads} threads, {arguments.precision}; {arguments.rows} texts")
    found: dict[int, list[dict[str, Any]]] = {1: [], 2: []}
    for _ in range(arguments.rounds):
        for count, runs in found.items():
            runs.append(run_one(count, folder, arguments))
    wall, cpu, share = {}, {}, {}
    for count, runs in found.items():
        wall[count] = max(run["tokens"] / run["seconds"] for run in runs)
        cpu[count] = max(run["tokens"] / run["cpu"] for run in runs)
        share[count] = statistics.median(run["spoken"] / run["seconds"] for run in runs)
        print(
            f"  {count} process{'es' if count > 1 else '':2} {wall[count]:8,.0f} tokens/s  "
            f"{cpu[count]:8,.0f} tokens a second of CPU time  {share[count]:.1%} of the time in all-reduce"
        )
    ratio = wall[2] / wall[1]
    print(f"  two against one: {ratio:.2f} (target {TARGET}: {'reached' if ratio >= TARGET else 'missed'})")
    print(f"  by CPU time, which a busy machine does not change: {cpu[2] / cpu[1]:.2f}")
    record(
        arguments.record,
        "scaling",
        title="One process against two",
        about=f"The texts and the model of fine-tuning, {arguments.rows} rows, {arguments.precision}, "
        f"{arguments.threads} threads shared by the processes (gloo); the best of {arguments.rounds} rounds.",
        figures={
            f"{count} process{'es' if count > 1 else ''}": {
                "tokens/s": wall[count],
                "tokens a second of processor time": cpu[count],
                "share of the time in all-reduce": share[count],
            }
            for count in found
        },
        ratios={"two against one": (ratio, TARGET)},
    )


def run_one(count: int, folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Return what one contestant found, in processes of its own."""
    module = ["-m", "benchmarks.scaling"]
    alone = [sys.executable, *module]
    several = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        str(count),
        *module,
    ]
    done = subprocess.run(
        [
            *(alone if count == 1 else several),
            *("--one", "--folder", str(folder), "--precision", arguments.precision),
        ],
        env=os.environ
        | {
            "OMP_NUM_THREADS": str(max(1, arguments.threads // count)),
            "TOKENIZERS_PARALLELISM": "false",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=True,
        text=True,
    )
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


if __name__ == "__main__":
    main()
