"""What README.md and docs/results.md say was measured is what docs/figures.json says, and the benchmarks keep it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import figures, report
from benchmarks.__main__ import NAMES

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
RESULTS = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
RECORDS = figures.read()
NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)*")


@pytest.mark.parametrize("page", report.pages(RECORDS), ids=lambda page: page.name)
def test_a_page_has_the_tables_that_the_figures_make(page: Path) -> None:
    assert page.read_text(encoding="utf-8") == report.pages(RECORDS)[page], "make bench, or benchmarks.report"


def test_each_measured_number_of_the_readme_stands_in_the_results() -> None:
    section = README.partition("## Measured")[2].partition("## Where")[0]
    known = set(NUMBER.findall(RESULTS))
    assert [number for number in NUMBER.findall(section) if number not in known] == []
    assert {"518", "0.917", "120"} <= set(NUMBER.findall(README)) & known


def test_what_the_readme_counts_is_so() -> None:
    from llmkit.architectures.catalogue.loader import entries
    from llmkit.tasks.catalogue import tasks

    assert f"any of {len(tasks())} tasks" in README
    assert "for over 300 well-known models" in README
    assert len(entries()) > 300


def test_each_record_says_when_on_what_and_with_what() -> None:
    for name, record in RECORDS.items():
        assert re.fullmatch(r"\d{4}-\d\d-\d\d", record.date), name
        assert record.machine, name
        assert record.versions["python"], name
        assert record.figures, name


def test_a_benchmark_keeps_its_figures_and_leaves_those_of_others(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    figures.write(file, {"rows": RECORDS["rows"], "search": RECORDS["search"]})
    command = ["benchmarks.search", "--rows", "300", "--dimension", "8", "--repeat", "1"]
    subprocess.run(
        [sys.executable, "-m", *command, "--record", file], cwd=ROOT, check=True, capture_output=True
    )
    found = figures.read(file)
    assert found["rows"] == RECORDS["rows"]
    assert found["search"].command.endswith(" ".join(command))
    assert "300 vectors of 8" in found["search"].about
    assert found["search"].figures["llmkit"]["seconds of 1 query"] > 0
    assert "cores" in found["search"].machine
    assert "300 vectors of 8" in report.results_section(found)


@pytest.mark.parametrize("name", NAMES)
def test_each_benchmark_can_keep_its_figures(name: str) -> None:
    text = (ROOT / "benchmarks" / f"{name}.py").read_text(encoding="utf-8")
    assert "parser(__doc__)" in text
    kept = set(re.findall(r'^\s+"([\w-]+)",\n\s+title=', text, re.MULTILINE))
    kept |= set(re.findall(r'record\(\w+, "([\w-]+)", title=', text))
    assert kept, f"{name} records nothing"
    assert kept <= set(RECORDS)


def test_a_row_of_the_readme_takes_the_best_peer() -> None:
    record = figures.Record(
        title="",
        command="",
        date="2026-01-02",
        machine="",
        versions={},
        about="",
        figures={"ours": {"rows/s": 30.0}, "peer, 1": {"rows/s": 10.0}, "peer, 2": {"rows/s": 20.0}},
    )
    row = report.Row("what", "x", "ours", "peer, ", "peer `{name}`", "rows/s")
    expected = "| what | 30 rows/s | peer `2`: 20 rows/s | 1.5 times | 2 January 2026 |"
    assert report._readme_row(row, record) == expected


def test_shown() -> None:
    numbers = (1243.4, 145.29, 38.62, 3.264, 0.0452, 0.16, 1.2e-07)
    assert [figures.shown(number) for number in numbers] == [
        "1,243",
        "145",
        "38.6",
        "3.26",
        "0.0452",
        "0.16",
        "1.2e-07",
    ]
