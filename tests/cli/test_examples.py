"""The examples at the end of every `--help` run, each command's in their order, and are what they say."""

from __future__ import annotations

import csv
import json
import random
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy
import pytest
import yaml

from llmkit.cli.main import whole_command
from tests.cli.test_options import EVERY
from tests.fixtures.finished_run import finished_run
from tests.fixtures.shell import warm_shell

ROOT = Path(__file__).parents[2]
PATIENCE = 300  # seconds
COMMIT = "0123456789abcdef0123456789abcdef01234567"
SERVER = "it ends when it is told to: tests/serving and tests/cli/test_demo.py start it"
NOT_RUN = {
    "llmkit serve sentiment-analysis embeddings": SERVER,
    "llmkit serve text-classification=runs/reviews embeddings=minilm --port 8080": SERVER,
    "llmkit serve chat --model FOLDER --host 0.0.0.0 --token SECRET": SERVER,
    "llmkit demo sentiment-analysis": SERVER,
    "llmkit demo runs/reviews --port 7861": SERVER,
    "llmkit evaluate runs/reviews --data hub:stanfordnlp/sst2:validation --columns text=sentence": "a data set "
    "of the hub",
    "llmkit push runs/reviews me/reviews --license apache-2.0 --private --space": "it sends: "
    "tests/cli/test_push.py does, to a hub of its own",
    "llmkit models prepare sentiment-analysis fill-mask --to models": "it fetches: tests/cli/test_models.py "
    "does, from a hub of its own",
    "llmkit models prepare sentiment-analysis --to models": "the same",
    "llmkit export runs/adapter --to merged -o models/whole": "it wants an adapter that was trained: "
    "tests/cli/test_export.py trains one",
}
# Several processes that import torch each, a worker with another cache, or an exporter that compiles.
SLOW = {
    "llmkit doctor --devices",
    "HF_HOME=models HF_HUB_OFFLINE=1 llmkit pipeline sentiment-analysis 'What a day'  # on the other machine",
    "llmkit doctor --devices --device cpu --processes 2 --format json",
    "llmkit export runs/reviews --to onnx",
    "llmkit cost --finetune configs/text-classification.yaml",
}
SENTENCES = (
    "He went to the bank to open a savings account.",
    "She sat on the bank of the river.",
    "My card is lost.",
    "Ada Lovelace lived in London.",
)


def examples_of(name: str) -> list[str]:
    return [line.strip() for line in EVERY[name].epilog.splitlines()[2:]]


def to_run() -> list[pytest.param]:
    """Each command with the examples of it that run, the slow ones by themselves."""
    found = []
    for name in EVERY:
        examples = [each for each in examples_of(name) if each not in NOT_RUN]
        quick = [each for each in examples if each not in SLOW]
        found += [pytest.param(quick, id=name)] if quick else []
        found += [pytest.param([each], id=each, marks=pytest.mark.slow) for each in examples if each in SLOW]
    return found


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory, tiny: Callable[[str], Path]) -> Path:
    """A folder with what the examples name."""
    folder = tmp_path_factory.mktemp("examples")
    shutil.copytree(ROOT / "configs", folder / "configs")
    lines = "".join(f"{each}\n" for each in SENTENCES)
    for name in ("lines.txt", "texts.txt", "notes.txt", "questions.txt"):
        (folder / name).write_text(lines)
    write_rows(folder / "reviews.csv", {"review": SENTENCES})
    write_rows(folder / "faq.csv", {"question": SENTENCES})
    write_rows(folder / "pairs.csv", {"sentence1": SENTENCES, "sentence2": SENTENCES[::-1]})
    numpy.save(folder / "vectors.npy", numpy.eye(len(SENTENCES), 384, dtype=numpy.float32))
    model = tiny("text-classification")
    labels = json.loads((model / "config.json").read_text())["id2label"].values()
    rows = [(text, label) for text in SENTENCES for label in labels]
    for name in ("test.csv", "train.csv"):
        write_rows(folder / name, {"text": [text for text, _ in rows], "label": [label for _, label in rows]})
    config = {
        "task": "text-classification",
        "model": str(model),
        "data": {"train": "train.csv"},
        "training": {"epochs": 1, "batch_size": 4, "precision": "float32"},
        "output": "trained",
    }
    (folder / "run.yaml").write_text(yaml.safe_dump(config))
    run = finished_run(folder, model)
    shutil.copytree(run, run.with_name("reviews-2"))
    (folder / "test.conll").write_text(conll(tiny("token-classification")))
    for name, task in (("gpt2", "text-generation"), ("OWNER/NAME", "token-classification")):
        into_cache(folder / "home", name, tiny(task))
    return folder


def write_rows(path: Path, columns: dict[str, object]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


def conll(model: Path) -> str:
    """Words with tags that a model knows."""
    tags = list(json.loads((model / "config.json").read_text())["id2label"].values())
    rng = random.Random(0)
    return "\n".join(
        "".join(f"{word} {rng.choice(tags)}\n" for word in text.rstrip(".").split()) for text in SENTENCES
    )


def into_cache(home: Path, name: str, model: Path) -> None:
    """Put a model into a cache of the hub."""
    place = home / "hub" / f"models--{name.replace('/', '--')}"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text(COMMIT)
    shutil.copytree(model, place / "snapshots" / COMMIT)


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory, prepared: Path) -> Iterator[dict[str, str]]:
    with warm_shell(tmp_path_factory.mktemp("shell")) as found:
        yield found | {"HF_HOME": str(prepared / "home"), "TERM": "dumb"}


@pytest.mark.parametrize("examples", to_run())
def test_examples_run(
    examples: list[str], prepared: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    folder = tmp_path / "here"
    shutil.copytree(prepared, folder, ignore=shutil.ignore_patterns("home"))
    for example in examples:
        for made in re.findall(r"(?:-o|--output) (\S+)", example):
            (folder / made).unlink(missing_ok=True)
        command = example
        if example.startswith("llmkit warm"):  # in the worker itself it would stop what it runs in
            command = example.replace("llmkit", f"{shlex.quote(sys.executable)} -m llmkit", 1)
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        if "needs the extra" in done.stderr:
            pytest.skip(done.stderr)
        assert done.returncode == 0, f"{example}\n{done.stderr}"
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("example", NOT_RUN)
def test_what_is_not_run_is_parsed(example: str) -> None:
    assert any(example in examples_of(name) for name in EVERY), "no such example any more"
    _, *words = shlex.split(example)
    whole_command().make_context("llmkit", words).close()
    command, *rest = words
    found = EVERY[f"{command} {rest[0]}"] if f"{command} {rest[0]}" in EVERY else EVERY[command]
    found.make_context(command, rest[1:] if found.name == rest[0] else rest).close()


def test_files_that_examples_name_are_there(prepared: Path) -> None:
    examples = [each for name in EVERY for each in examples_of(name) if each not in NOT_RUN]
    named = {each for example in examples for each in re.findall(r"(?:-i|--in|--data) (\S+)", example)}
    assert {each for each in named if not (prepared / each).exists()} <= {"faq.parquet"}
