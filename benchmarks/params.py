"""`llmkit params` beside `accelerate estimate-memory`, on the same local config, whole processes in turn.

The command of accelerate asks the hub about the model first and takes no folder: that question is answered for it
here, at no cost, and the rest is its own code, output included. Then the second answer of llmkit, which comes from
its cache, beside the imports of a command line alone; and the peak memory of counting the largest Llama.

    python -m benchmarks.params [--repeat 7]
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

from benchmarks.figures import parser, record

LLMKIT = str(Path(sys.executable).with_name("llmkit"))
BERT_LARGE = {
    "model_type": "bert",
    "architectures": ["BertForMaskedLM"],
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
    "vocab_size": 30522,
}
TOTAL = 335_141_888
ESTIMATE = """
import json, sys
from pathlib import Path
from types import SimpleNamespace
from accelerate.commands import estimate
config = json.loads(Path(sys.argv[1], "config.json").read_text())
estimate.verify_on_hub = lambda *arguments: SimpleNamespace(config=config, library_name="transformers")
estimate.main()
"""


def run(command: list[str], cache: Path) -> tuple[float, float, str]:
    """Run a command: its seconds, its peak memory in MB, and what it printed."""
    environment = os.environ | {"LLMKIT_CACHE": str(cache), "HF_HUB_OFFLINE": "1"}
    start = time.perf_counter()
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    printed = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    elapsed = time.perf_counter() - start
    assert status == 0, f"{command}: {status}"
    return elapsed, usage.ru_maxrss / 1000, printed


def times(folder: Path, repeat: int) -> dict[str, list[float]]:
    """Time the contestants in turn."""
    model, kept = folder / "model", folder / "kept"
    answer = [LLMKIT, "params", str(model), "--format", "json"]
    table = [LLMKIT, "params", str(model), "--format", "table"]
    for command in (answer, table):
        assert f"{TOTAL:,}".replace(",", "") in run(command, kept)[2].replace(",", "")
    commands = {
        "accelerate estimate-memory": ([sys.executable, "-c", ESTIMATE, str(model)], None),
        "llmkit params, first time": (table, None),
        "llmkit params, second time": (table, kept),
        "llmkit params --format json, second time": (answer, kept),
        "python -c 'import typer, rich.console'": (
            [sys.executable, "-c", "import typer, rich.console"],
            kept,
        ),
    }
    taken: dict[str, list[float]] = {name: [] for name in commands}
    for number in range(repeat):
        for name, (command, cache) in commands.items():
            taken[name].append(run(command, cache or folder / f"new-{number}-{len(name)}")[0])
    return taken


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--repeat", type=int, default=7)
    arguments = options.parse_args()
    repeat = arguments.repeat
    print(", ".join(f"{name} {version(name)}" for name in ("accelerate", "torch", "transformers", "typer")))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "model").mkdir()
        (folder / "model" / "config.json").write_text(json.dumps(BERT_LARGE))
        taken = times(folder, repeat)
        print(f"{'':42}  median     best   (of {repeat}, in turn)")
        for name, seconds in taken.items():
            print(f"  {name:40} {statistics.median(seconds):6.3f} s {min(seconds):6.3f} s")
        peer, cold, warm, as_json, imports = (statistics.median(seconds) for seconds in taken.values())
        print(
            f"  first time: {peer / cold:.2f} times as fast as accelerate; second time: {peer / warm:.1f} times"
        )
        print(
            f"  second time: {warm / imports:.2f} times the imports alone, as JSON {as_json / imports:.2f} times"
        )
        largest = [LLMKIT, "params", "llama-3.1-405b", "--total"]
        seconds_taken, peak, printed = run(largest, folder / "largest")
        print(f"  llama-3.1-405b, {int(printed):,} parameters: peak {peak:,.0f} MB, {seconds_taken:.2f} s")
    figures = {name: {"seconds": statistics.median(seconds)} for name, seconds in taken.items()}
    record(
        arguments.record,
        "params",
        title="What a model is made of",
        about=f"The same local config for both, whole processes in turn, medians of {repeat}; "
        "accelerate's check of the hub is replaced by a stub, for it takes no path.",
        figures=figures
        | {"llmkit params llama-3.1-405b --total": {"seconds": seconds_taken, "peak MB": peak}},
        ratios={
            "accelerate against llmkit, first time": (peer / cold, 1.0),
            "accelerate against llmkit, second time": (peer / warm, 8.0),
            "the second time against the imports alone": (warm / imports, 3.0),
        },
    )


if __name__ == "__main__":
    main()
