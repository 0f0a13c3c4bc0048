"""Rows per second of `llmkit pipeline` against a plain transformers.pipeline on the same model, data and results.

The model is the embedded MiniLM with a seeded classification head; the texts have 10 to 400 tokens. Each
contestant runs in turn in this process, the model loaded once, so that the machine is the same for all.
Then one text, whole process, against the five-line script that does the same.

    python benchmarks/pipeline.py [--rows 2000] [--repeat 1]
"""

from __future__ import annotations

import argparse
import json
import platform
import random
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

from llmkit.batching import windows
from llmkit.data.records import Record
from llmkit.inference.items import RunSettings
from llmkit.inference.runner import Runner, window_rows
from llmkit.models.loading import LoadOptions, has_native_bfloat16
from llmkit.models.resolving import resolve_model
from llmkit.tasks.build import build_pipeline
from llmkit.tasks.catalogue import find_task

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
        (Record({"text": text}, "benchmark", number), {"text": text}) for number, text in enumerate(texts)
    ]
    return [
        outcome.value
        for number, window in enumerate(windows(rows, max_rows=window_rows(call.task)))
        for outcome in runner.run_window(window, number)
    ]


def largest_difference(first: list[dict[str, Any]], second: list[dict[str, Any]]) -> float:
    assert [row["label"] for row in first] == [row["label"] for row in second], "labels differ"
    return max(abs(a["score"] - b["score"]) for a, b in zip(first, second, strict=True))


def rows_per_second(folder: Path, rows: int, repeat: int) -> None:
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
    best = min(elapsed for name, elapsed in figures.items() if name.startswith("transformers"))
    ratios = {
        "against batch_size=32": figures["transformers, batch_size=32"] / figures["llmkit, float32"],
        "against its best setting": best / figures["llmkit, float32"],
    }
    if "llmkit, --dtype auto (bfloat16)" in figures:
        ratios["--dtype auto against its best setting"] = best / figures["llmkit, --dtype auto (bfloat16)"]
    for name, ratio in ratios.items():
        print(f"  {name:40} {ratio:5.2f} times")


SCRIPT = """
import sys, json
from transformers import pipeline
pipe = pipeline("text-classification", model=sys.argv[1])
print(json.dumps(pipe([sys.argv[2]])[0]))
"""


def whole_process(folder: Path, repeat: int) -> None:
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
    print(
        f"  llmkit takes {min(times['llmkit']) / min(times['five-line script']):.2f} times the script's time"
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--process-repeat", type=int, default=7)
    arguments = parser.parse_args()
    print(
        f"python {platform.python_version()}, torch {torch.__version__}, transformers {transformers.__version__}, ",
        end="",
    )
    print(f"{torch.get_num_threads()} threads")
    with tempfile.TemporaryDirectory() as folder:
        make_model(Path(folder))
        rows_per_second(Path(folder), arguments.rows, arguments.repeat)
        whole_process(Path(folder), arguments.process_repeat)


if __name__ == "__main__":
    main()
