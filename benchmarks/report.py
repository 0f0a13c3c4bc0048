"""The measured tables of docs/results.md and README.md, out of docs/figures.json.

python -m benchmarks.report          # write them
python -m benchmarks.report --check  # only say whether they are what the figures say
"""

from __future__ import annotations

import argparse
import datetime
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.figures import FIGURES, ROOT, Record, read, shown

BEGIN, END = "<!-- figures: written by make bench -->", "<!-- end of the figures -->"
Records = Mapping[str, Record]


@dataclass(frozen=True)
class Row:
    """A row of README's table: a contestant of ours against one of theirs, in one record and one column.

    Attributes:
        theirs: the peer, or the beginning of the names of several, of which the best is taken.
        peer: how the peer is called in the table; `{name}` is what its name has beyond `theirs`.
        less_is_better: the column is a time: the least is best.
    """

    what: str
    record: str
    ours: str
    theirs: str
    peer: str
    unit: str
    beside: str = ""
    less_is_better: bool = False


ROWS = (
    Row("texts of 10 to 400 tokens, float32, equal results", "rows", "llmkit, float32",
        "transformers, batch_size=32", "`transformers.pipeline`, `batch_size=32`", "rows/s"),
    Row("the same against its best setting", "rows", "llmkit, float32",
        "transformers, ", "`transformers.pipeline`, `{name}`", "rows/s"),
    Row("the same with `--dtype auto` (bfloat16)", "rows", "llmkit, --dtype auto (bfloat16)",
        "transformers, ", "`transformers.pipeline`, `{name}`", "rows/s"),
    Row("vectors of real texts, float32, equal results", "embed", "llmkit, float32",
        "sentence-transformers, float32, ", "sentence-transformers' best, `{name}`", "texts/s"),
    Row("the same in bfloat16", "embed", "llmkit, auto",
        "sentence-transformers, bfloat16, ", "sentence-transformers' best, `{name}`", "texts/s"),
    Row("fine-tuning, as each comes (llmkit in bfloat16)", "finetune", "llmkit, precision: auto",
        "Trainer as it comes", "transformers' `Trainer`", "tokens/s", "peak MiB"),
    Row("the same in float32 against its best settings", "finetune", "llmkit, float32",
        "Trainer, best settings, float32", "`Trainer`, grouped by length, fused AdamW", "tokens/s", "peak MiB"),
    Row("one text, from the prompt to the answer", "one-text", "llmkit",
        "five-line script", "the five-line script", "seconds", less_is_better=True),
    Row("the same, `--warm` from the second call on", "warm", "llmkit --warm",
        "five-line script", "the five-line script, one thread, median", "seconds", less_is_better=True),
    Row("`--help`", "startup", "llmkit --help", "hf --help", "`hf --help`", "seconds", less_is_better=True),
)  # fmt: skip


# ---- README.md


def readme_table(records: Records) -> str:
    """Return what README says was measured, with where and when."""
    rows = [row for row in ROWS if row.record in records and row.ours in records[row.record].figures]
    used = {row.record: records[row.record] for row in rows}
    machines = dict.fromkeys(each.machine for each in used.values())
    names = ("transformers", "torch", "accelerate", "huggingface_hub", "sentence-transformers")
    versions = [
        f"{name} {' and '.join(dict.fromkeys(v))}"
        for name in names
        if (v := [each.versions[name].partition("+")[0] for each in used.values() if name in each.versions])
    ]
    lines = [
        f"On {'; '.join(machines)}; {', '.join(versions)}; in turn in one run.",
        "",
        "| | llmkit | today | | measured |",
        "|---|---|---|---|---|",
        *(_readme_row(row, records[row.record]) for row in rows),
    ]
    return "\n".join(lines)


def _readme_row(row: Row, record: Record) -> str:
    column = record.column(row.unit)
    peers = [name for name in column if name.startswith(row.theirs)]
    choose: Callable[..., str] = min if row.less_is_better else max
    best = choose(peers, key=column.__getitem__)
    peer = row.peer.format(name=best.removeprefix(row.theirs))
    taken = record.column("seconds")
    ratio = taken[best] / taken[row.ours] if taken else column[row.ours] / column[best]
    cells = [
        row.what,
        _amount(record, row.ours, row),
        f"{peer}: {_amount(record, best, row)}",
        f"{shown(ratio)} times",
        spoken_date(record.date),
    ]
    return f"| {' | '.join(cells)} |"


def _amount(record: Record, name: str, row: Row) -> str:
    found = f"{shown(record.figures[name][row.unit])} {row.unit.replace('seconds', 's')}"
    if row.beside:
        found += f", {shown(record.figures[name][row.beside])} {row.beside.removeprefix('peak ')}"
    return found


# ---- docs/results.md


def results_section(records: Records) -> str:
    """Return every record as a heading, its circumstances and its tables."""
    return "\n\n".join(_one_record(record) for record in records.values())


def _one_record(record: Record) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in record.versions.items())
    units = list(dict.fromkeys(unit for row in record.figures.values() for unit in row))
    lines = [
        f"### {record.title}",
        "",
        f"`{record.command}`, {spoken_date(record.date)}. {record.about}",
        "",
        f"Machine: {record.machine}. Versions: {versions}.",
        "",
        f"| | {' | '.join(units)} |",
        f"|---{'|---' * len(units)}|",
    ]
    for name, row in record.figures.items():
        cells = (shown(row[unit]) if unit in row else "" for unit in units)
        lines.append(f"| {name} | {' | '.join(cells)} |")
    if record.ratios:
        lines += ["", "| ratio | measured | target |", "|---|---|---|"]
    for name, each in record.ratios.items():
        measured, target = each["measured"], each["target"]
        assert measured is not None
        lines.append(f"| {name} | {shown(measured)} | {'' if target is None else f'{target:g}'} |")
    return "\n".join(lines)


def spoken_date(date: str) -> str:
    """Return an ISO date as the pages write it: 29 November 2026."""
    day = datetime.date.fromisoformat(date)
    return f"{day.day} {day:%B %Y}"


# ---- the pages


def filled(text: str, section: str) -> str:
    """Return a page with what stands between the two marks replaced."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"the page has no {BEGIN} with {END} after it")
    return f"{before}{BEGIN}\n\n{section}\n\n{END}{after}"


def pages(records: Records, root: Path = ROOT) -> dict[Path, str]:
    """Return the pages as the figures want them."""
    sections = {root / "README.md": readme_table(records), root / "docs/results.md": results_section(records)}
    return {path: filled(path.read_text(encoding="utf-8"), section) for path, section in sections.items()}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where a page is stale")
    check = parser.parse_args().check
    stale = [
        (path, text)
        for path, text in pages(read(FIGURES)).items()
        if path.read_text(encoding="utf-8") != text
    ]
    for path, text in stale:
        print(f"{path.relative_to(ROOT)} {'is stale: make bench' if check else 'written'}")
        if not check:
            path.write_text(text, encoding="utf-8")
    sys.exit(1 if check and stale else 0)


if __name__ == "__main__":
    main()
