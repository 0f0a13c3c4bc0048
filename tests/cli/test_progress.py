"""How far long work is."""

import pytest

from llmkit.cli import channels, progress
from llmkit.cli.evaluate import _heard
from llmkit.cli.progress import estimate_rows
from llmkit.data.sources import read_file


@pytest.fixture
def clock(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


class TestLines:
    @pytest.mark.parametrize(
        ("total", "done", "said"),
        [
            (4000, 0, "600 of 4,000 rows, 50.0 rows/s"),
            (None, 0, "600 rows, 50.0 rows/s"),
            (4000, 1000, "1,600 of 4,000 rows, 50.0 rows/s"),
        ],
    )
    def test_now_and_then_with_the_rate(self, clock, capsys, total, done, said):
        with progress.progress(total, done) as advance:
            for _ in range(12):
                clock[0] += 1
                advance(50)
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1
        with progress.progress(total, done) as advance:
            clock[0] += 12
            advance(600)
        assert capsys.readouterr().err == f"{said}\n"

    def test_short_work_says_nothing(self, clock, capsys):
        with progress.progress(100) as advance:
            clock[0] += 9
            advance(100)
        assert capsys.readouterr() == ("", "")

    def test_quiet(self, clock, capsys):
        channels.set_quiet(True)
        try:
            with progress.progress(100) as advance:
                clock[0] += 99
                advance(100)
        finally:
            channels.set_quiet(False)
        assert capsys.readouterr() == ("", "")


def test_the_clock_of_an_evaluation_starts_before_its_first_batch(clock, capsys):
    with _heard() as heard:
        heard(0, 100)
        clock[0] += 20
        heard(60, 100)
    assert capsys.readouterr().err == "60 of 100 rows, 3.0 rows/s\n"


class TestEstimate:
    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("a.txt", "one\ntwo\nthree\n"),
            ("a.csv", "h\n1\n2\n"),
            ("a.tsv", "h\tk\n1\t2\n"),
            ("a.jsonl", "{}\n" * 3000),
        ],
    )
    def test_as_many_as_there_are(self, tmp_path, name, content):
        (tmp_path / name).write_text(content)
        assert estimate_rows([str(tmp_path / name)]) == len(list(read_file(str(tmp_path / name))))

    def test_of_several_files_together(self, tmp_path):
        for name in ("a.csv", "b.csv"):
            (tmp_path / name).write_text("h\n1\n2\n")
        assert estimate_rows([str(tmp_path / "a.csv"), str(tmp_path / "b.csv")]) == 4

    @pytest.mark.parametrize("name", ["a.parquet", "a.json", "nowhere.txt", "a.txt.gz"])
    def test_where_line_ends_do_not_tell(self, tmp_path, name):
        if not name.startswith("nowhere"):
            (tmp_path / name).write_text("x\n")
        assert estimate_rows([str(tmp_path / name)]) is None
