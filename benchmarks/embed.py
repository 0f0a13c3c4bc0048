"""Texts per second of `llmkit embed` against sentence_transformers.SentenceTransformer(...).encode.

The model is the embedded all-MiniLM-L6-v2; the texts are real ones of mixed lengths where they are at hand
(LLMKIT_DATA: wikitext2, dialogsum and squad contexts), else generated. Each contestant runs in turn in this
process, every model loaded once: sentence-transformers in float32 and bfloat16 at each batch size, of which the
best counts, and llmkit in float32 and as `--dtype auto`. Vectors are compared row by row.

    python -m benchmarks.embed [--rows 5000] [--memory]
"""

from __future__ import annotations

import json
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy
import torch
import transformers

from benchmarks.figures import parser, record
from llmkit.embeddings.batches import WINDOW_ROWS
from llmkit.embeddings.embedding import Embedding
from llmkit.embeddings.encoder import Encoder
from llmkit.embeddings.reduced import TRIAL_TEXTS, load_trusted_encoder
from llmkit.embeddings.run import EmbedRun
from llmkit.embeddings.settings import EmbedSettings
from llmkit.models.cpu_kernels import speed_up_linear_layers
from llmkit.models.loading import LoadOptions
from llmkit.models.resolving import resolve_model

BATCH_SIZES = (1, 8, 16, 32, 64)
DEFAULT = "sentence-transformers, float32, batch_size=32"  # as it comes
WORDS = "the bank raised its rates after a long debate and nobody in town was surprised by what came".split()  # noqa: SIM905
TARGETS = {
    "float32 against their float32": 1.6,
    "auto against their default": 4.5,
    "auto against their bfloat16": 1.9,
}
SHARES = {"float32": 0.85, "auto": 0.65}
MEMORY_ROWS = (10_000, 1_000_000)


# ---- the texts


def real_texts(folder: Path) -> Iterator[str]:
    """Paragraphs of Wikipedia, dialogues, and the contexts of questions, each once."""
    for name in ("test", "valid"):
        yield from (folder / "wikitext2" / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    with (folder / "dialogsum" / "dialogsum.dev.jsonl").open(encoding="utf-8") as file:
        yield from (json.loads(line)["dialogue"] for line in file)
    squad = json.loads((folder / "squad_v1.1" / "dev-v1.1.json").read_text(encoding="utf-8"))
    yield from (paragraph["context"] for article in squad["data"] for paragraph in article["paragraphs"])


def make_texts(rows: int) -> tuple[list[str], str]:
    """Return so many different texts in random order, and what they are."""
    rng = random.Random(0)
    folder = Path(os.environ.get("LLMKIT_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if folder.is_dir():
        found = [text for text in dict.fromkeys(real_texts(folder)) if len(text.split()) >= 3]
        if len(found) >= rows:
            return rng.sample(found, rows), "real texts"
    lengths = [min(400, max(3, int(rng.lognormvariate(3.6, 0.9)))) for _ in range(rows)]
    return [" ".join(rng.choices(WORDS, k=length)) for length in lengths], "generated texts"


# ---- the contestants


class KeepingSink:
    """Keeps the vectors in memory, where sentence-transformers leaves its own."""

    def __init__(self) -> None:
        self.vectors: list[Any] = []

    def write(self, value: Any, index: int, label: str = "") -> None:
        self.vectors.append(value)

    def reject(self, row: dict[str, Any]) -> None:
        raise AssertionError(row)

    def commit(self, rows_done: int) -> None:
        pass

    def close(self, *, finished: bool) -> None:
        pass


def load(texts: list[str], dtype: str) -> Encoder:
    """The encoder as `llmkit embed --dtype …` loads it."""
    options = LoadOptions(device="cpu", dtype=dtype)
    return load_trusted_encoder(resolve_model("minilm"), EmbedSettings(), options, texts[:TRIAL_TEXTS], print)


def with_llmkit(encoder: Encoder, texts: list[str]) -> Any:
    from llmkit.data.records import Record

    def vector_of(embedding: Embedding, row: Any) -> Any:
        return embedding.vectors

    sink = KeepingSink()
    rows = ((Record({"text": text}, "benchmark", number), text) for number, text in enumerate(texts))
    EmbedRun(encoder, sink, vector_of).run(rows)
    return numpy.stack(sink.vectors)


def load_theirs(dtype: torch.dtype) -> Any:
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(resolve_model("minilm").location, device="cpu", model_kwargs={"dtype": dtype})


def with_theirs(model: Any, texts: list[str], batch_size: int) -> Any:
    # NumPy has no bfloat16: as sentence-transformers' own users get it.
    found = model.encode(texts, batch_size=batch_size, show_progress_bar=False, convert_to_tensor=True)
    return found.float().numpy()


# ---- what the machine can do


def matmul_rate(dtype: torch.dtype, seconds: float = 1.0) -> float:
    """Return the operations a second of a large matrix product as llmkit multiplies, the best of some `seconds`."""
    size = 2048
    layer = torch.nn.Linear(size, size, bias=False).to(dtype)
    speed_up_linear_layers(layer)
    rows = torch.randn(size, size).to(dtype)
    best, end = float("inf"), time.perf_counter() + seconds
    with torch.inference_mode():
        while time.perf_counter() < end or best == float("inf"):
            start = time.perf_counter()
            layer(rows)
            best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best


def work_of(encoder: Encoder, texts: list[str]) -> tuple[int, float]:
    """Return real tokens and the operations that they take, padding not counted.

    A layer takes 2 operations a weight and token, and 4 × length × hidden a token for attention
    (Kaplan et al. 2020, table 1, for all of a text's tokens).
    """
    config = encoder.model.config
    weights = config.num_hidden_layers * (
        4 * config.hidden_size**2 + 2 * config.hidden_size * config.intermediate_size
    )
    lengths = [
        len(each.pieces[0].ids)
        for start in range(0, len(texts), WINDOW_ROWS)
        for each in encoder.tokenizer.tokenize(texts[start : start + WINDOW_ROWS])
    ]
    attention = 4 * config.num_hidden_layers * config.hidden_size * sum(length**2 for length in lengths)
    return sum(lengths), 2.0 * weights * sum(lengths) + attention


# ---- the figures


def compare(rows: int, file: Path | None) -> None:
    """Time each contestant in turn and print the ratios beside how far the vectors agree."""
    texts, kind = make_texts(rows)
    ours = {"float32": load(texts, "float32"), "auto": load(texts, "auto")}
    theirs = {"float32": load_theirs(torch.float32), "bfloat16": load_theirs(torch.bfloat16)}
    contestants: dict[str, Callable[[], Any]] = {}
    for name, encoder in ours.items():
        contestants[f"llmkit, {name}"] = lambda encoder=encoder: with_llmkit(encoder, texts)
    for name, model in theirs.items():
        for size in BATCH_SIZES:
            contestants[f"sentence-transformers, {name}, batch_size={size}"] = lambda model=model, size=size: (
                with_theirs(model, texts, size)
            )
    for encoder in ours.values():
        with_llmkit(encoder, texts[:64])
    for model in theirs.values():
        with_theirs(model, texts[:64], 8)
    rates = {dtype: matmul_rate(dtype) for dtype in (torch.float32, torch.bfloat16)}
    seconds: dict[str, float] = {}
    vectors: dict[str, Any] = {}
    tokens, operations = work_of(ours["float32"], texts)
    print(f"\n{rows:,} {kind}, {tokens:,} tokens")
    for name, run in contestants.items():
        start = time.perf_counter()
        vectors[name] = run()
        seconds[name] = time.perf_counter() - start
        print(f"  {name:50} {seconds[name]:8.2f} s  {rows / seconds[name]:8.1f} texts/s", flush=True)
    ratios = compared(seconds, vectors)
    for name, encoder in ours.items():
        dtype = encoder.model.dtype
        rate = operations / seconds[f"llmkit, {name}"]
        print(
            f"  {name}: {rate / 1e9:,.0f} of {rates[dtype] / 1e9:,.0f} GFLOP/s that a matrix product reaches in "
            f"{str(dtype).removeprefix('torch.')}: {rate / rates[dtype]:.0%}"
        )
        ratios[f"share of the measured rate of matrix products, {name}"] = (rate / rates[dtype], SHARES[name])
    record(
        file,
        "embed",
        title="Embedding texts",
        about=f"The embedded MiniLM, {rows:,} {kind}, {tokens:,} tokens, {torch.get_num_threads()} threads, the models "
        f"loaded once. Lowest cosine of a row to sentence-transformers' own, float32: "
        f"{lowest_cosine(vectors['llmkit, float32'], vectors[DEFAULT]):.6f}, bfloat16: "
        f"{lowest_cosine(vectors['llmkit, auto'], vectors[DEFAULT]):.5f}. A matrix product reaches "
        f"{rates[torch.float32] / 1e9:,.0f} GFLOP/s in float32, {rates[torch.bfloat16] / 1e9:,.0f} in bfloat16.",
        figures={name: {"seconds": taken, "texts/s": rows / taken} for name, taken in seconds.items()},
        ratios=ratios,
        peers=("sentence-transformers",),
    )


def compared(seconds: dict[str, float], vectors: dict[str, Any]) -> dict[str, tuple[float, float | None]]:
    """Print and return how many times as fast llmkit is, each with its target."""
    found: dict[str, tuple[float, float | None]] = {}
    best = {
        dtype: min(
            (name for name in seconds if f"sentence-transformers, {dtype}" in name), key=seconds.__getitem__
        )
        for dtype in ("float32", "bfloat16")
    }
    for (name, target), (one, other) in zip(
        TARGETS.items(),
        (
            ("llmkit, float32", best["float32"]),
            ("llmkit, auto", DEFAULT),
            ("llmkit, auto", best["bfloat16"]),
        ),
        strict=True,
    ):
        lowest = lowest_cosine(vectors[one], vectors[other])
        print(
            f"  {name:32} {seconds[other] / seconds[one]:5.2f} times (target {target}; {other.split(', ')[-1]}), "
            f"lowest cosine {lowest:.6f}"
        )
        found[name] = (seconds[other] / seconds[one], target)
    exact = lowest_cosine(vectors["llmkit, float32"], vectors[DEFAULT])
    assert exact >= 0.99999, f"float32 vectors differ: cosine {exact}"
    return found


def lowest_cosine(ones: Any, others: Any) -> float:
    products = (ones.astype(float) * others).sum(axis=1)
    return float((products / numpy.linalg.norm(ones, axis=1) / numpy.linalg.norm(others, axis=1)).min())


PEAK = """
import resource, sys
from llmkit.cli.main import main
sys.argv = ["llmkit", *sys.argv[1:]]
try:
    main()
finally:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, file=sys.stderr)
"""


def memory() -> None:
    """Print the highest resident memory of `llmkit embed` into a .npy at few and at many short lines."""
    print("\npeak resident memory, short lines into a .npy")
    with tempfile.TemporaryDirectory() as folder:
        for rows in MEMORY_ROWS:
            source = Path(folder, f"{rows}.txt")
            with source.open("w", encoding="utf-8") as file:
                file.writelines(f"line {number}\n" for number in range(rows))
            call = [
                "embed",
                "-m",
                "minilm",
                "-i",
                source,
                "-o",
                source.with_suffix(".npy"),
                "-q",
                "--dtype",
                "auto",
            ]
            start = time.perf_counter()
            done = subprocess.run(
                [sys.executable, "-c", PEAK, *map(str, call)], capture_output=True, text=True, check=True
            )
            elapsed = time.perf_counter() - start
            print(f"  {rows:9,} lines {done.stderr.split()[-1]:>6} MiB  {elapsed:8.1f} s", flush=True)
            source.with_suffix(".npy").unlink()


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--rows", type=int, default=5000)
    options.add_argument(
        "--memory", action="store_true", help="measure memory instead, up to a million lines"
    )
    arguments = options.parse_args()
    print(f"python {platform.python_version()}, torch {torch.__version__}, ", end="")
    print(f"transformers {transformers.__version__}, {torch.get_num_threads()} threads")
    memory() if arguments.memory else compare(arguments.rows, arguments.record)


if __name__ == "__main__":
    main()
