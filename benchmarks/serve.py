"""Rows per second of `llmkit serve` at 1, 8 and 64 clients, against the model's own batch rate on the same texts.

The model is the embedded MiniLM with a seeded classification head; a request is one text of 10 to 400 tokens. The batch
rate is that of `llmkit pipeline` over all texts in one process. The clients are threads of this process, on the same
cores as the server.

    python -m benchmarks.serve [--rows 600]
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import torch
import transformers

from benchmarks.figures import parser, record
from benchmarks.pipeline import load, make_model, make_texts, with_llmkit

CLIENTS = (1, 8, 64)
TARGETS = {64: 0.8}  # of the batch rate


def batch_rate(folder: Path, texts: list[str]) -> tuple[float, list[float]]:
    """Rows per second in one process, and the scores."""
    pipe = load(folder, "float32")
    with_llmkit(pipe, texts[:8])
    start = time.perf_counter()
    found = with_llmkit(pipe, texts)
    return len(texts) / (time.perf_counter() - start), [row["score"] for row in found]


def served_rate(url: str, texts: list[str], clients: int) -> tuple[float, list[float]]:
    with httpx.Client(base_url=url, timeout=600, limits=httpx.Limits(max_connections=clients)) as client:

        def ask(text: str) -> float:
            answer = client.post("/text-classification", json={"inputs": text})
            return float(answer.raise_for_status().json()[0][0]["score"])

        with ThreadPoolExecutor(clients) as pool:
            list(pool.map(ask, texts[:clients]))
            start = time.perf_counter()
            scores = list(pool.map(ask, texts))
            return len(texts) / (time.perf_counter() - start), scores


def named(clients: int) -> str:
    return f"served, {clients} client{'s' if clients > 1 else ''}"


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--rows", type=int, default=600)
    arguments = options.parse_args()
    texts = make_texts(arguments.rows)
    print(
        f"python {platform.python_version()}, torch {torch.__version__}, transformers {transformers.__version__}, "
        f"{torch.get_num_threads()} threads"
    )
    with tempfile.TemporaryDirectory() as place:
        folder = make_model(Path(place, "model"))
        own, expected = batch_rate(folder, texts)
        command = [sys.executable, "-m", "llmkit", "serve", f"text-classification={folder}", "--port", "0"]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ) as server:
            assert server.stderr is not None
            found = re.search(r"http://\S+:\d+", server.stderr.readline())
            assert found is not None, "the server did not start"
            try:
                rates = {}
                for clients in CLIENTS:
                    rates[clients], scores = served_rate(found[0], texts, clients)
                    largest = max(abs(a - b) for a, b in zip(scores, expected, strict=True))
                    assert largest < 1e-5, f"answers differ by {largest}"
            finally:
                server.terminate()
    print(f"\n{len(texts)} texts of 10 to 400 tokens; answers equal to 1e-5")
    print(f"  {'the model alone, in batches':32} {own:8.1f} rows/s")
    for clients, rate in rates.items():
        print(f"  {named(clients):32} {rate:8.1f} rows/s  {rate / own:5.2f} of that")
    record(
        arguments.record,
        "serve",
        title="The server",
        about=f"The embedded MiniLM with a seeded two-class head, {len(texts)} texts of 10 to 400 tokens, one a "
        f"request, {torch.get_num_threads()} threads; the clients run on the same cores. Answers are equal to 1e-5.",
        figures={"the model alone, in batches": {"rows/s": own}}
        | {named(clients): {"rows/s": rate} for clients, rate in rates.items()},
        ratios={
            f"{named(clients)} against the model alone": (rate / own, TARGETS.get(clients))
            for clients, rate in rates.items()
        },
    )


if __name__ == "__main__":
    main()
