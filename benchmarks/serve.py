"""Rows per second of `llmkit serve` at 1, 8 and 64 clients, against the model's own batch rate on the same texts.

The model is the embedded MiniLM with a seeded classification head; a request is one text of 10 to 400 tokens. The batch
rate is that of `llmkit pipeline` over all texts in one process. The clients are threads of this process, on the same
cores as the server.

    python -m benchmarks.serve [--rows 600]
"""

from __future__ import annotations

import argparse
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

from benchmarks.pipeline import load, make_model, make_texts, with_llmkit

CLIENTS = (1, 8, 64)


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


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=600)
    texts = make_texts(parser.parse_args().rows)
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
        print(f"  {f'served, {clients} clients':32} {rate:8.1f} rows/s  {rate / own:5.2f} of that")


if __name__ == "__main__":
    main()
