"""How far long work is: a Rich bar on a terminal, a plain line now and then elsewhere, on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from llmkit.cli.channels import is_quiet, note

_SECONDS_BETWEEN_LINES = 10.0


@contextmanager
def progress(total: int | None, done: int = 0) -> Iterator[Callable[[int], None]]:
    """Give a function to call with each number of rows that are done.

    Args:
        total: rows in all, if it is known.
        done: rows that were done before.
    """
    if is_quiet():
        yield lambda rows: None
    elif sys.stderr.isatty():
        with _bar(total, done) as advance:
            yield advance
    else:
        yield _line_printer(total, done)


@contextmanager
def _bar(total: int | None, done: int) -> Iterator[Callable[[int], None]]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        SpinnerColumn(),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("rows", total=total, completed=done, rate="")
        start = time.monotonic()
        rows_here = 0

        def advance(rows: int) -> None:
            nonlocal rows_here
            rows_here += rows
            bar.update(task, advance=rows, rate=_rate(rows_here, start))

        yield advance


def _line_printer(total: int | None, done: int) -> Callable[[int], None]:
    start = last = time.monotonic()
    rows_done = done

    def advance(rows: int) -> None:
        nonlocal last, rows_done
        rows_done += rows
        now = time.monotonic()
        if now - last >= _SECONDS_BETWEEN_LINES:
            last = now
            of = f" of {total:,}" if total else ""
            note(f"{rows_done:,}{of} rows, {_rate(rows_done - done, start)}")

    return advance


def _rate(rows: int, start: float) -> str:
    return f"{rows / max(1e-9, time.monotonic() - start):,.1f} rows/s"


def estimate_rows(paths: Sequence[str]) -> int | None:
    """Return about how many rows files hold, by their line ends; None where that does not tell."""
    total = 0
    for path in paths:
        file = Path(path)
        if not file.is_file() or file.suffix not in (".txt", ".csv", ".tsv", ".jsonl", ".ndjson"):
            return None
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                total += block.count(b"\n")
        total -= file.suffix in (".csv", ".tsv")
    return total
