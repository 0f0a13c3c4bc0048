"""`llmkit search` among a million vectors against the two ways people do it: numpy in one go, and faiss.

The vectors are float32 at length 1, so that the inner product is the cosine; they lie in a .npy file, as
`llmkit embed` writes it, in the page cache. Each contestant finds the same ten of the same queries in turn, and the
rows that they find are checked to be the same. numpy has the matrix in memory, reads no file and does not divide by
lengths; faiss has its own copy, made before the clock runs. llmkit maps the file anew for each search and computes
the lengths, as it must for vectors of any length.

    python -m benchmarks.search [--rows 1000000] [--dimension 384] [--queries 1 16] [--repeat 5]
"""

from __future__ import annotations

import os
import resource
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy

from benchmarks.figures import parser, record
from llmkit.embeddings.top_k import nearest
from llmkit.embeddings.vector_files import open_vectors

K = 10
THREADS = int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1)


def make_vectors(path: Path, rows: int, dimension: int) -> None:
    """Write rows of normal numbers, each at length 1."""
    random = numpy.random.default_rng(0)
    array = numpy.lib.format.open_memmap(path, "w+", numpy.float32, (rows, dimension))
    for start in range(0, rows, 65_536):
        block = random.standard_normal((min(65_536, rows - start), dimension), dtype=numpy.float32)
        array[start : start + len(block)] = block / numpy.linalg.norm(block, axis=1, keepdims=True)
    array.flush()


def with_numpy(matrix: Any, queries: Any) -> Any:
    scores = queries @ matrix.T
    near = numpy.argpartition(-scores, K, axis=1)[:, :K]
    order = numpy.argsort(-numpy.take_along_axis(scores, near, axis=1), axis=1)
    return numpy.take_along_axis(near, order, axis=1)


def with_llmkit(path: Path, queries: Any) -> Any:
    file = open_vectors(str(path))
    assert file is not None
    return numpy.array([[hit.row for hit in hits] for hits in nearest(queries, file.blocks(), K).hits])


def peak_memory(path: Path) -> int:
    """Return the bytes that a search takes at most, as numpy and Python report them to tracemalloc."""
    file = open_vectors(str(path))
    assert file is not None
    tracemalloc.start()
    with_llmkit(path, numpy.ones((1, file.dimension), numpy.float32))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def contestants(path: Path, matrix: Any, queries: Any) -> dict[str, Callable[[], Any]]:
    found: dict[str, Callable[[], Any]] = {
        "llmkit": lambda: with_llmkit(path, queries),
        "numpy": lambda: with_numpy(matrix, queries),
    }
    try:
        import faiss
    except ImportError:
        print("faiss is not installed (pip install faiss-cpu): numpy is the only peer")
        return found
    faiss.omp_set_num_threads(THREADS)
    index = faiss.IndexFlatIP(matrix.shape[1])
    index.add(matrix)
    found[f"faiss {faiss.__version__} IndexFlatIP"] = lambda: index.search(queries, K)[1]
    return found


def measure(path: Path, matrix: Any, count: int, repeat: int) -> dict[str, float]:
    """Time each contestant in turn on as many queries, and print the ratios; return the best seconds of each."""
    queries = numpy.random.default_rng(count).standard_normal((count, matrix.shape[1]), dtype=numpy.float32)
    queries /= numpy.linalg.norm(queries, axis=1, keepdims=True)
    runs = contestants(path, matrix, queries)
    taken: dict[str, list[float]] = {name: [] for name in runs}
    rows: dict[str, Any] = {}
    for _ in range(repeat):
        for name, run in runs.items():
            start = time.perf_counter()
            rows[name] = run()
            taken[name].append(time.perf_counter() - start)
    for name, found in rows.items():
        assert (found == rows["llmkit"]).all(), f"{name} found other rows"
    print(f"\n{count} {'query' if count == 1 else 'queries'}, the same rows found by all; best of {repeat}")
    for name, seconds in taken.items():
        print(
            f"  {name:28} {min(seconds):7.3f} s  {min(taken['llmkit']) / min(seconds):5.2f} of llmkit's speed"
        )
    return {name: min(seconds) for name, seconds in taken.items()}


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--rows", type=int, default=1_000_000)
    options.add_argument("--dimension", type=int, default=384)
    options.add_argument("--queries", type=int, nargs="+", default=[1, 16])
    options.add_argument("--repeat", type=int, default=5)
    arguments = options.parse_args()
    print(f"numpy {numpy.__version__}, {THREADS} threads")
    print(f"{arguments.rows:,} vectors of {arguments.dimension}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "vectors.npy")
        make_vectors(path, arguments.rows, arguments.dimension)
        beside = peak_memory(path) / 1e6
        print(f"memory of a search beside the file's pages: {beside:,.0f} MB")
        matrix = numpy.load(path)
        figures: dict[str, dict[str, float]] = {}
        for count in arguments.queries:
            for name, seconds in measure(path, matrix, count, arguments.repeat).items():
                figures.setdefault(name, {})[f"seconds of {count} quer{'y' if count == 1 else 'ies'}"] = (
                    seconds
                )
    ratios = {
        f"{name.partition(' ')[0]} against llmkit, {column.removeprefix('seconds of ')}": (
            seconds / figures["llmkit"][column],
            None,
        )
        for name, row in figures.items()
        if name != "llmkit"
        for column, seconds in row.items()
    }
    print(f"\npeak of this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:,.1f} GB")
    record(
        arguments.record,
        "search",
        title="Searching vectors",
        about=f"{arguments.rows:,} vectors of {arguments.dimension}, {THREADS} threads, the best of "
        f"{arguments.repeat}; all find the same rows. llmkit maps the file and takes {beside:,.0f} MB beside its "
        "pages; numpy has the whole matrix in memory, faiss a copy of its own.",
        figures=figures,
        ratios=ratios,
        peers=("faiss-cpu",),
    )


if __name__ == "__main__":
    main()
