"""Rows per second of `llmkit pipeline` against a plain transformers.pipeline on the same model, data and results.

The model is the embedded MiniLM with a seeded classification head; the texts have 10 to 400 tokens. Each
contestant runs in turn in this process, the model loaded once, so that the machine is the same for all.
Then one text, whole process, against the five-line script that does the same.

    python -m benchmarks.pipeline [--rows 2000] [--repeat 1]
"""

from __future__ import annotations

import json
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from benchmarks.figures import parser, record
from llmkit.batching import windows
from llmkit.data.records import Record
from llmkit.inference.items import RunSettings
from llmkit.inference.runner import Runner, window_rows
from llmkit.models.loading import LoadOptions, has_native_bfloat16
from llmkit.models.resolving import resolve_model
from llmkit.tasks.build import build_pipeline
from llmkit.tasks.catalogue import find_task
from llmkit.tasks.inputs import FieldValues

WORDS = "the bank raised its rates after a long debate and nobody in town was surprised by what came".split()  # noqa: SIM905


def make_model(folder: Path) -> Path:
    """Save the embedded encoder with a seeded two-class head."""
    torch.manual_seed(0)
    location = resolve_model("minilm").location
    model = AutoModelForSequenceClassification.from_pretrained(location, num_labels=2)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(location).save_pretrained(folder)
    return folder


def make_texts(rows: int) -> list[str]:
    """Texts of 10 to 400 words of one token each, the length uniform, the order random."""
    rng = random.Random(0)
    return [" ".join(rng.choice(WORDS) for _ in range(rng.randint(8, 398))) for _ in range(rows)]


def load(folder: Path, dtype: str) -> Any:
    """The pipeline as `llmkit pipeline --dtype …` loads it."""
    call = find_task("text-classification")
    return build_pipeline(call, resolve_model(str(folder)), LoadOptions(device="cpu", dtype=dtype))


def with_transformers(pipe: Any, texts: list[str], batch_size: int) -> list[dict[str, Any]]:
    return list(pipe(texts, batch_size=batch_size))


def with_llmkit(pipe: Any, texts: list[str]) -> list[dict[str, Any]]:
    call = find_task("text-classification")
    runner = Runner(pipe, call, RunSettings())
    rows = [
        (Record({"text": text}, "benchmark", number), FieldValues({"text": text}))
        for number, text in enumerate(texts)
    ]
    return [
        outcome.value
        for number, window in enumerate(windows(rows, max_rows=window_rows(call.task)))
        for outcome in runner.run_window(window, number)
    ]


def largest_difference(first: list[dict[str, Any]], second: list[dict[str, Any]]) -> float:
    assert [row["label"] for row in first] == [row["label"] for row in second], "labels differ"
    return max(abs(a["score"] - b["score"]) for a, b in zip(first, second, strict=True))


def rows_per_second(folder: Path, rows: int, repeat: int, file: Path | None) -> None:
    """Time each contestant in turn and print the ratios, after checking that the results are equal."""
    texts = make_texts(rows)
    plain = transformers.pipeline("text-classification", model=str(folder), dtype="float32", device="cpu")
    ours = load(folder, "float32")
    contestants: dict[str, Callable[[], list[dict[str, Any]]]] = {
        f"transformers, batch_size={size}": lambda size=size: with_transformers(plain, texts, size)
        for size in (32, 8, 1)
    }
    contestants["llmkit, float32"] = lambda: with_llmkit(ours, texts)
    if has_native_bfloat16(torch.device("cpu")):
        half = load(folder, "auto")
        contestants["llmkit, --dtype auto (bfloat16)"] = lambda: with_llmkit(half, texts)
    for warm_up in (plain, ours):
        warm_up(texts[:8])
    figures: dict[str, float] = dict.fromkeys(contestants, float("inf"))
    results: dict[str, Any] = {}
    for _ in range(repeat):
        for name, run in contestants.items():
            start = time.perf_counter()
            results[name] = run()
            figures[name] = min(figures[name], time.perf_counter() - start)
    expected = results["transformers, batch_size=1"]
    difference = largest_difference(expected, results["llmkit, float32"])
    assert difference < 1e-5, f"results differ by {difference}"
    print(f"\n{rows} texts of 10 to 400 tokens; largest difference of a score {difference:.1e}")
    for name, elapsed in figures.items():
        print(f"  {name:36} {elapsed:8.2f} s  {rows / elapsed:8.1f} rows/s")
    ratios = compared(figures)
    for name, (ratio, target) in ratios.items():
        print(f"  {name:44} {ratio:5.2f} times (target {target:g})")
    record(
        file,
        "rows",
        title="Rows a second",
        about=f"The embedded MiniLM with a seeded two-class head, {rows:,} texts of 10 to 400 tokens in random order, "
        f"{torch.get_num_threads()} threads, the model loaded once. Largest difference of a score in float32: "
        f"{difference:.1e}.",
        figures={name: {"seconds": taken, "rows/s": rows / taken} for name, taken in figures.items()},
        ratios=ratios,
    )


def compared(seconds: dict[str, float]) -> dict[str, tuple[float, float]]:
    """Return how many times as fast llmkit is, each with its target."""
    best = min(taken for name, taken in seconds.items() if name.startswith("transformers"))
    default, ours = seconds["transformers, batch_size=32"], seconds["llmkit, float32"]
    found = {
        "float32 against batch_size=32": (default / ours, 4.0),
        "float32 against transformers' best setting": (best / ours, 1.35),
    }
    if "llmkit, --dtype auto (bfloat16)" in seconds:
        found["--dtype auto against its best setting"] = (
            best / seconds["llmkit, --dtype auto (bfloat16)"],
            3.0,
        )
    return found


SCRIPT = """
import sys, json
from transformers import pipeline
pipe = pipeline("text-classification", model=sys.argv[1])
print(json.dumps(pipe([sys.argv[2]])[0]))
"""


def whole_process(folder: Path, repeat: int, file: Path | None) -> None:
    """One text, from the shell's prompt to the answer, in turn with the script."""
    text = "What a lovely day it was"
    llmkit = str(Path(sys.executable).with_name("llmkit"))
    commands = {
        "five-line script": [sys.executable, "-c", SCRIPT, str(folder), text],
        "llmkit": [llmkit, "pipeline", "text-classification", text, "-m", str(folder)],
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    answers = {}
    for _ in range(repeat):
        for name, command in commands.items():
            start = time.perf_counter()
            done = subprocess.run(command, capture_output=True, check=True, text=True)
            times[name].append(time.perf_counter() - start)
            answers[name] = json.loads(done.stdout)
    assert answers["llmkit"]["label"] == answers["five-line script"]["label"]
    assert abs(answers["llmkit"]["score"] - answers["five-line script"]["score"]) < 1e-5
    print(f"\none text, whole process, best and median of {repeat}")
    for name, taken in times.items():
        print(f"  {name:36} {min(taken):8.2f} s  {sorted(taken)[len(taken) // 2]:8.2f} s")
    ratio = min(times["five-line script"]) / min(times["llmkit"])
    print(f"  llmkit is {ratio:.2f} times as fast as the script")
    record(
        file,
        "one-text",
        title="One text, from the prompt to the answer",
        about=f"Whole processes in turn, the best of {repeat}; the same model.",
        figures={
            name: {"seconds": min(taken), "median": statistics.median(taken)} for name, taken in times.items()
        },
        ratios={"the script against llmkit": (ratio, None)},
    )


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--rows", type=int, default=2000)
    options.add_argument("--repeat", type=int, default=1)
    options.add_argument("--process-repeat", type=int, default=7)
    arguments = options.parse_args()
    print(
        f"python {platform.python_version()}, torch {torch.__version__}, transformers {transformers.__version__}, ",
        end="",
    )
    print(f"{torch.get_num_threads()} threads")
    with tempfile.TemporaryDirectory() as folder:
        make_model(Path(folder))
        rows_per_second(Path(folder), arguments.rows, arguments.repeat, arguments.record)
        whole_process(Path(folder), arguments.process_repeat, arguments.record)


if __name__ == "__main__":
    main()
