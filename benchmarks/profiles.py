"""Where the time of each benchmark's work goes, and how far the machine's own limits are.

py-spy looks at a command a hundred times a second; each sample of a thread that computes counts for the part that its
innermost known frame belongs to. Then the limits: the rate of matrix products, of reading memory, of the disk, and
what Python, torch and transformers take to be imported.

    python -m benchmarks.profiles [--rows 300]
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy
import torch

from benchmarks import embed, finetune, pipeline, search
from benchmarks.figures import parser, record
from benchmarks.startup import seconds

BIN = Path(sys.executable).parent
VECTORS = 300_000
DIMENSION = 384
IMPORT_ALL = "import torch; from transformers import AutoModel, AutoTokenizer"

# part -> what a frame of it has in it; the innermost frame that has any decides, the first part of those.
PARTS: dict[str, tuple[str, ...]] = {
    "linear layers": ("_onednn_linear", "forward (torch/nn/modules/linear.py"),
    "attention": ("cpu_attention.py", "native_attention.py", "sdpa_attention.py"),
    "activations, norms, embeddings": (
        "forward (transformers/activations.py", "forward (torch/nn/modules/activation.py", "layer_norm (torch",
        "forward (torch/nn/modules/normalization.py", "forward (torch/nn/modules/sparse.py", "gelu (torch",
        "embedding (torch", "forward (torch/nn/modules/dropout.py", "dropout (torch",
    ),
    "backward pass": ("torch/autograd/",),
    "optimizer": ("torch/optim/", "llmkit/training/optimizer.py", "clip_grad"),
    "tokenizing": ("tokenization_", "llmkit/models/tokenizing.py", "llmkit/embeddings/tokens.py"),
    "comparing vectors": ("llmkit/embeddings/top_k.py", "llmkit/embeddings/measures.py"),
    "building and loading the model": (
        "modeling_utils.py", "core_model_loading.py", "llmkit/models/", "llmkit/architectures/", "safetensors",
        "/auto/", "torch/nn/init.py",
    ),
    "the command line, reading and writing": ("rich/", "llmkit/cli/", "llmkit/data/", "click/", "typer/"),
}  # fmt: skip
IMPORTS, REST = "imports", "the rest"
IMPORTING = "<frozen importlib"


def part_of(stack: str) -> str:
    """Return the part that a sample belongs to; its frames are separated by semicolons, the innermost last."""
    if IMPORTING in stack:
        return IMPORTS
    for frame in reversed(stack.split(";")):
        for part, needles in PARTS.items():
            if any(needle in frame for needle in needles):
                return part
    return REST


def shares(command: list[str], place: Path, *, times: int = 1, rate: int = 100) -> dict[str, float]:
    """Return the share in percent that each part has of a command's samples, the largest first.

    Raises:
        CalledProcessError: py-spy may not look at its own child here, or the command failed.
    """
    samples: Counter[str] = Counter()
    out = place / "samples"
    for _ in range(times):
        watched = [
            str(BIN / "py-spy"),
            "record",
            "--format",
            "raw",
            "--rate",
            str(rate),
            "--output",
            str(out),
            "--",
        ]
        subprocess.run(
            [*watched, *command], cwd=place, check=True, capture_output=True, stdin=subprocess.DEVNULL
        )
        for line in out.read_text(encoding="utf-8").splitlines():
            stack, _, count = line.rpartition(" ")
            samples[part_of(stack)] += int(count)
    total = samples.total()
    return {part: 100 * count / total for part, count in samples.most_common()}


def commands(place: Path, rows: int) -> dict[str, list[str]]:
    """Write what the commands need, and return them by what the table calls them."""
    llmkit = str(BIN / "llmkit")
    model = str(pipeline.make_model(place / "model"))
    texts = pipeline.make_texts(rows)
    (place / "texts.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    real, _ = embed.make_texts(4 * rows)
    (place / "real.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in real))
    finetune.prepare(place, rows)
    config = {
        "task": "text-classification",
        "model": model,
        "data": {"train": str(place / "train.jsonl")},
        "training": {"epochs": 1, "batch_size": finetune.BATCH},
        "output": str(place / "trained"),
    }
    (place / "config.yaml").write_text(json.dumps(config))
    search.make_vectors(place / "vectors.npy", VECTORS, DIMENSION)
    classify = [llmkit, "pipeline", "text-classification", "-m", model, "-q", "--overwrite"]
    of_file = [*classify, "-i", "texts.jsonl", "-o", "out.jsonl"]
    vectors = [llmkit, "embed", "-m", "minilm", "-q", "--overwrite", "-i", "real.jsonl", "-o", "out.npy"]
    return {
        "--help": [llmkit, "--help"],
        "tasks": [llmkit, "tasks"],
        "one text": [llmkit, "pipeline", "text-classification", "-m", model, "What a lovely day it was"],
        "rows, float32": [*of_file, "--dtype", "float32"],
        "rows, auto": [*of_file, "--dtype", "auto"],
        "embed, float32": [*vectors, "--dtype", "float32"],
        "embed, auto": [*vectors, "--dtype", "auto"],
        "fine-tuning": [llmkit, "finetune", "config.yaml", "-q", "--overwrite"],
        "params": [llmkit, "params", "llama-3.1-405b", "--total"],
        "search": [llmkit, "search", "a day by the river", "-m", "minilm", "--in", "vectors.npy"],
    }


# ---- the machine's own limits


def limits(place: Path) -> dict[str, dict[str, float]]:
    """Return what the machine reaches at most of what llmkit asks of it."""
    rates = {str(dtype): embed.matmul_rate(dtype) / 1e9 for dtype in (torch.float32, torch.bfloat16)}
    array = numpy.load(place / "vectors.npy")
    reading = min(seconds_of(lambda: array.max()) for _ in range(5))
    block = bytes(2**20)
    begin = time.perf_counter()
    with (place / "written").open("wb") as file:
        for _ in range(1024):
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
    writing = time.perf_counter() - begin
    found = {
        f"matrix product, {name.removeprefix('torch.')}": {"GFLOP/s": rate} for name, rate in rates.items()
    }
    found["reading memory, one thread"] = {"MB/s": array.nbytes / 1e6 / reading}
    found["writing a file of 1 GiB, synced"] = {"MB/s": 2**30 / 1e6 / writing}
    for line in ("pass", "import torch", IMPORT_ALL):
        found[f"python -c '{line}'"] = {"seconds": median_seconds([sys.executable, "-c", line])}
    return found


def seconds_of(run: Callable[[], Any]) -> float:
    begin = time.perf_counter()
    run()
    return time.perf_counter() - begin


def median_seconds(command: list[str], times: int = 5) -> float:
    """Return the median time of whole processes."""
    return statistics.median(seconds(command) for _ in range(times))


def distances(
    place: Path, found: Mapping[str, Mapping[str, float]], rows: int
) -> dict[str, tuple[float, None]]:
    """Return which share of its limit each kind of work reaches, or which share of its time the limit is."""
    llmkit = str(BIN / "llmkit")
    one_text = median_seconds([llmkit, "pipeline", "text-classification", "-m", str(place / "model"), "x"])
    imports = found[f"python -c '{IMPORT_ALL}'"]["seconds"]
    query = numpy.ones((1, DIMENSION), numpy.float32)
    looking = min(seconds_of(lambda: search.with_llmkit(place / "vectors.npy", query)) for _ in range(5))
    rate = VECTORS * DIMENSION * 4 / 1e6 / looking
    product = {kind: found[f"matrix product, {kind}"]["GFLOP/s"] * 1e9 for kind in ("float32", "bfloat16")}
    texts = [row["text"] for row in finetune.make_rows(rows)]
    encoder = embed.load(texts, "float32")
    _, trained = embed.work_of(encoder, texts)
    training = {
        kind: finetune.train_one(name, place, 0, 1)["wall"]
        for kind, name in (("float32", "llmkit, float32"), ("bfloat16", "llmkit, precision: auto"))
    }
    texts = pipeline.make_texts(rows)
    _, classified = embed.work_of(encoder, texts)
    classifying = {
        kind: seconds_of(lambda kind=kind: pipeline.with_llmkit(pipeline.load(place / "model", kind), texts))
        for kind in ("float32", "bfloat16")
    }
    help_seconds = median_seconds([llmkit, "--help"])
    return {
        "one text: importing torch and transformers, of the whole": (imports / one_text, None),
        "search: of the rate of reading memory": (rate / found["reading memory, one thread"]["MB/s"], None),
        # The model's operations for all tokens; llmkit leaves out those of the last layer that no class comes of.
        **{
            f"rows in {kind}, the model loaded anew: of the rate of matrix products": (
                classified / seconds / product[kind],
                None,
            )
            for kind, seconds in classifying.items()
        },
        # The backward pass takes twice the forward's operations (Kaplan et al. 2020, section 2.1).
        **{
            f"fine-tuning in {kind}: of the rate of matrix products": (
                3 * trained / seconds / product[kind],
                None,
            )
            for kind, seconds in training.items()
        },
        "--help: starting Python, of the whole": (found["python -c 'pass'"]["seconds"] / help_seconds, None),
    }


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--rows", type=int, default=300)
    arguments = options.parse_args()
    table: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        # What an earlier call computed is not found again.
        os.environ["LLMKIT_CACHE"] = str(place / "cache")
        for name, command in commands(place, arguments.rows).items():
            often = {"times": 10, "rate": 1000} if name in ("--help", "tasks") else {}
            found = shares(command, place, **often)
            print(
                f"  {name:16} " + ", ".join(f"{part} {share:.0f}" for part, share in found.items()),
                flush=True,
            )
            for part, share in found.items():
                table.setdefault(part, {})[name] = share
        machine = limits(place)
        for name, row in machine.items():
            print(f"  {name:70} " + ", ".join(f"{number:,.3g} {unit}" for unit, number in row.items()))
        ratios = distances(place, machine, arguments.rows)
        for name, (share, _) in ratios.items():
            print(f"  {name:70} {share:.0%}")
    keep(arguments.record, table, machine, ratios, arguments.rows)


def keep(
    file: Path | None,
    table: Mapping[str, Mapping[str, float]],
    machine: Mapping[str, Mapping[str, float]],
    ratios: Mapping[str, tuple[float, None]],
    rows: int,
) -> None:
    """Put both records into the file, where one was asked for."""
    order = [part for part in (IMPORTS, *PARTS, REST) if part in table]
    _, kind = embed.make_texts(4 * rows)
    columns = list(dict.fromkeys(name for row in table.values() for name in row))
    record(
        file,
        "profiles",
        title="Where the time goes",
        about="Percent of what py-spy saw threads do, whole processes: `--help`, `tasks`, one text, "
        f"{rows} rows through a pipeline, {4 * rows:,} {kind} embedded, an epoch over {rows} texts, "
        "`params llama-3.1-405b --total` from an empty cache, one query among "
        f"{VECTORS:,} vectors. What a warm call and the server add to the model stands in "
        "their own tables, what two processes wait for each other in that of scaling.",
        figures={
            part: {name: table[part][name] for name in columns if name in table[part]} for part in order
        },
        peers=("py-spy",),
    )
    record(
        file,
        "limits",
        title="How far the machine's limits are",
        about="What the machine reaches at most, and which share of it the work does, or it of the work's time.",
        figures=machine,
        ratios=ratios,
    )


if __name__ == "__main__":
    main()
