"""The figures of the benchmarks as they are kept: docs/figures.json, one record each, with its date and machine.

A benchmark that is given `--record FILE` puts its record there, in the place of its last one; the others stay as they
are. `benchmarks/report.py` makes the tables of docs/results.md and README.md out of them.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).parents[1]
FIGURES = ROOT / "docs" / "figures.json"
PACKAGES = ("torch", "transformers", "accelerate", "huggingface_hub", "typer", "numpy")


@dataclass(frozen=True)
class Record:
    """What one run of a benchmark found, and under which circumstances.

    Attributes:
        title: what is compared, a heading.
        about: what else is to be known of the figures, a sentence or two.
        figures: contestant -> column -> number; the column's name is the unit.
        ratios: what is compared -> {"measured": number, "target": number or None}.
    """

    title: str
    command: str
    date: str
    machine: str
    versions: dict[str, str]
    about: str
    figures: dict[str, dict[str, float]]
    ratios: dict[str, dict[str, float | None]] = field(default_factory=dict)

    def column(self, unit: str) -> dict[str, float]:
        """Return what each contestant has in a column."""
        return {name: row[unit] for name, row in self.figures.items() if unit in row}


def parser(about: str | None) -> argparse.ArgumentParser:
    """Return a parser of a benchmark's options, with the one that all of them have."""
    found = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("--record", type=Path, metavar="FILE", help="put the figures into this JSON file")
    return found


def record(
    file: Path | None,
    name: str,
    *,
    title: str,
    about: str,
    figures: Mapping[str, Mapping[str, float]],
    ratios: Mapping[str, tuple[float, float | None]] | None = None,
    peers: tuple[str, ...] = (),
) -> None:
    """Put a benchmark's record into the file, where one was asked for.

    Args:
        file: what `--record` says; nothing is done where it says nothing.
        ratios: what is compared -> (measured, target).
        peers: packages that were measured against, whose versions are named too.
    """
    if file is None:
        return
    found = Record(
        title=title,
        command=_command(),
        date=datetime.date.today().isoformat(),
        machine=machine(),
        versions=_versions((*PACKAGES, *peers)),
        about=about,
        figures={row: {unit: _rounded(x) for unit, x in cells.items()} for row, cells in figures.items()},
        ratios={
            row: {"measured": _rounded(measured), "target": target}
            for row, (measured, target) in (ratios or {}).items()
        },
    )
    records = read(file) if file.exists() else {}
    write(file, records | {name: found})


def read(file: Path = FIGURES) -> dict[str, Record]:
    """Return the records of a file by the benchmarks' names."""
    return {name: Record(**each) for name, each in json.loads(file.read_text(encoding="utf-8")).items()}


def write(file: Path, records: Mapping[str, Record]) -> None:
    """Write records, so that the file is whole or as it was."""
    text = json.dumps({name: asdict(each) for name, each in records.items()}, indent=1, ensure_ascii=False)
    beside = file.with_name(f"{file.name}.new")
    beside.write_text(text + "\n", encoding="utf-8")
    beside.replace(file)


def machine() -> str:
    """Return what this machine is, in words: processor, cores, memory, GPUs."""
    from llmkit.launching.doctor import examined

    found = examined()
    gpus = ", ".join(gpu["name"] for gpu in found["gpus"]) or "no GPU"
    system = found["system"]
    return (
        f"{system['cpu'] or 'an unknown processor'}, {system['cores']} cores, "
        f"{found['memory']['total'] / 2**30:.0f} GiB, {gpus}"
    )


def _command() -> str:
    """Return the call as a person would type it, without where the figures go."""
    words = list(sys.argv[1:])
    if "--record" in words:
        at = words.index("--record")
        del words[at : at + 2]
    threads = os.environ.get("OMP_NUM_THREADS")
    prefix = f"OMP_NUM_THREADS={threads} " if threads else ""
    return prefix + " ".join(["python -m", f"benchmarks.{Path(sys.argv[0]).stem}", *words])


def _versions(packages: tuple[str, ...]) -> dict[str, str]:
    found = {"python": sys.version.split()[0]}
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _rounded(number: float) -> float:
    """Return a number with the six digits that a measurement has at most."""
    return float(f"{number:.6g}")


def shown(number: float) -> str:
    """Return a measured number as a person reads it: three digits, or all before the point."""
    return f"{number:,.0f}" if abs(number) >= 100 else f"{number:.3g}"
