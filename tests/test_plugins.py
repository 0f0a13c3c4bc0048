"""The package of docs/extending.md, built from the page and installed beside llmkit, adds what the page says."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from transformers import BertConfig, BertModel

from llmkit import count_parameters, plugins
from llmkit.architectures import catalogue
from llmkit.cli.answers import FORMATS
from llmkit.metrics import load_metric
from llmkit.plugins import PluginError, Table
from tests.fixtures.command import Completed, base_environment

PAGE = Path(__file__).parents[1] / "docs" / "extending.md"
BLOCK = re.compile(r"^```(?:python|toml)\n# (\S+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINES = 20


def files_of_the_page() -> dict[str, str]:
    return {match[1]: match[2] for match in BLOCK.finditer(PAGE.read_text(encoding="utf-8"))}


def install(place: Path, points: dict[str, dict[str, str]]) -> None:
    """Let the folder say what it adds, as an installed package does."""
    info = place / "llmkit_more-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: llmkit-more\nVersion: 1.0\n")
    lines = [
        f"[{group}]\n" + "".join(f"{key} = {where}\n" for key, where in rows.items())
        for group, rows in points.items()
    ]
    (info / "entry_points.txt").write_text("\n".join(lines))


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the page's package, as `pip install` leaves it."""
    place = tmp_path_factory.mktemp("site")
    files = files_of_the_page()
    (place / "llmkit_more").mkdir()
    (place / "llmkit_more" / "__init__.py").touch()
    for name, content in files.items():
        (place / name).write_text(content, encoding="utf-8")
    install(place, tomllib.loads(files["pyproject.toml"])["project"]["entry-points"])
    return place


@pytest.fixture
def beside(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Path], None]]:
    """Let this process find a folder's package."""
    loader = catalogue.loader

    def look_again() -> None:
        for cached in (plugins._added, loader._added, loader._entries, loader._entry):
            cached.cache_clear()

    def put(place: Path) -> None:
        monkeypatch.syspath_prepend(place)
        look_again()

    yield put
    monkeypatch.undo()
    look_again()


@pytest.fixture
def call(package: Path, tmp_path: Path) -> Callable[..., Completed]:
    """The command in a process of its own, which has the package."""

    def run(*arguments: str | Path) -> Completed:
        done = subprocess.run(
            [sys.executable, "-m", "llmkit", *map(str, arguments)],
            capture_output=True,
            env=base_environment() | {"PYTHONPATH": str(package)},
            cwd=tmp_path,
            timeout=120,
            check=False,
        )
        return Completed(done.returncode, done.stdout, done.stderr.decode())

    return run


def test_each_takes_less_than_twenty_lines() -> None:
    files = files_of_the_page()
    assert len(files) == 7
    for section in re.split(r"^## ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        written = "".join(match[2] for match in BLOCK.finditer(section))
        assert sum(bool(line.strip()) for line in written.splitlines()) < LINES, section.partition("\n")[0]


def test_the_format_is_none_that_a_report_has() -> None:
    points = tomllib.loads(files_of_the_page()["pyproject.toml"])["project"]["entry-points"]
    assert not points["llmkit.formats"].keys() & FORMATS.keys()


def test_a_task_a_reader_and_a_formatter(call, tiny, tmp_path) -> None:
    (tmp_path / "texts.ini").write_text("[a]\ntext = the film was good\nother\ntext = a day\n")
    model = tiny("text-generation")

    done = call("pipeline", "perplexity", "-i", "texts.ini", "-m", model, "-o", "out.wiki")

    assert done.code == 0, done.stderr
    lines = (tmp_path / "out.wiki").read_text().splitlines()
    assert len(lines) == 2 and all(
        re.fullmatch(r"\* <code>\{'perplexity': [\d.]+\}</code>", line) for line in lines
    )
    listed = call("tasks", "--format", "json").json
    assert [row["provider"] for row in listed if row["task"] == "perplexity"] == ["llmkit-more"]


def test_a_training_task_and_a_metric(call, tiny, tmp_path) -> None:
    rows = [{"text": f"{word} film", "label": word} for word in ("good", "bad") * 8]
    (tmp_path / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    (tmp_path / "run.yaml").write_text(
        f"task: focal-classification\nmodel: {tiny('text-classification')}\n"
        "data: {train: rows.jsonl, validation: rows.jsonl}\noutput: out\n"
    )
    assert call("finetune", "run.yaml", "--device", "cpu").code == 0
    log = [json.loads(line) for line in (tmp_path / "out" / "log.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in log if "loss" in line]
    assert losses and all(0 < loss < 0.3 for loss in losses), "cross entropy would begin at 0.69"


def test_a_metric(package, beside) -> None:
    beside(package)
    metric = load_metric("same_length")
    metric.update(["ab", "abc"], ["xy", "x"])
    assert metric.compute() == {"same_length": 0.5}


def test_an_architecture(package, beside) -> None:
    beside(package)
    entry = catalogue.find("BERT_nano")
    assert entry is not None and "bert-nano" in catalogue.entries()
    config = dict(entry.config)
    model = BertModel(BertConfig(**{name: config[name] for name in config if name != "model_type"}))
    assert count_parameters("bert-nano").total == entry.count == model.num_parameters()


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("llmkit_more.nothing:ROW", r"cannot be loaded: ModuleNotFoundError: No module named"),
        ("json:dumps", r"is a function, no MetricEntry\."),
    ],
)
def test_one_that_cannot_be_loaded_is_named(tmp_path, beside, where, said) -> None:
    install(tmp_path, {"llmkit.metrics": {"odd": where}})
    beside(tmp_path)
    with pytest.raises(
        PluginError, match=rf"odd of llmkit-more \(llmkit\.metrics, {where}\) {said}"
    ) as raised:
        load_metric("odd")
    assert raised.value.hint == "Mend llmkit-more, or remove it: pip uninstall llmkit-more."
    assert load_metric("accuracy").examples == 0, "llmkit's own are not touched"


def test_an_own_row_stands(tmp_path, beside) -> None:
    install(tmp_path, {"a.table": {"one": "json:nothing", "two": "json:dumps"}})
    beside(tmp_path)
    table = Table("a.table", {"one": len}, object)
    assert list(table) == ["one", "two"] and len(table) == 2
    assert table["one"] is len and table["two"] is json.dumps
    assert "three" not in table
    with pytest.raises(KeyError):
        table["three"]
