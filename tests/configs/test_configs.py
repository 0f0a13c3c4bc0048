"""Each file in configs/ runs as it stands, offline; the one of the quickstart is as good as it should be."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.fixtures.command import Command

ROOT = Path(__file__).parents[2]
CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))


def train(llmkit: Command, config: Path, folder: Path, *arguments: str) -> dict[str, object]:
    where = {"LLMKIT_CACHE": str(folder / "cache")}
    call = ("finetune", str(config), "-q", "--set", f"output={folder / 'run'}", *arguments)
    done = llmkit(*call, cwd=ROOT, env=where)
    assert done.code == 0, done.stderr
    return done.json


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_it_takes_two_steps_and_leaves_a_model(llmkit: Command, config: Path, tmp_path: Path) -> None:
    assert train(llmkit, config, tmp_path, "--set", "training.max_steps=2")["steps"] == 2
    assert (tmp_path / "run" / "model.safetensors").stat().st_size > 0


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_it_says_what_it_is_and_writes_below_runs(config: Path) -> None:
    text = config.read_text(encoding="utf-8")

    assert text.startswith("# ")
    assert yaml.safe_load(text)["output"].startswith("runs/")


@pytest.mark.slow
def test_the_reviews_are_learned(llmkit: Command, tmp_path: Path) -> None:
    figures = train(llmkit, ROOT / "configs" / "text-classification.yaml", tmp_path)

    assert float(str(figures["test_accuracy"])) >= 0.90
    answer = llmkit("pipeline", "sentiment-analysis", "A lovely evening.", "--model", tmp_path / "run").json
    assert answer["label"] == "positive"


def test_the_help_pages_are_found(llmkit: Command, tmp_path: Path) -> None:
    figures = train(llmkit, ROOT / "configs" / "sentence-embedding.yaml", tmp_path)

    assert float(str(figures["eval_recall_at_1"])) >= 0.9  # of minilm as it comes: 0.43
    pages = [f"{product}: Unusual noise" for product in ("Kestrel", "Otter", "Heron")]
    call = ("pipeline", "sentence-similarity", "My mower rattles.", *pages, "--model", tmp_path / "run")
    scores = llmkit(*call).json
    assert max(scores) == scores[2]


def test_the_polite_answers_are_preferred(llmkit: Command, tmp_path: Path) -> None:
    figures = train(llmkit, ROOT / "configs" / "preference.yaml", tmp_path)

    assert float(str(figures["eval_reward_accuracy"])) >= 0.9  # before the first step: 0
    assert float(str(figures["eval_reward_margin"])) >= 1.0
    call = ("pipeline", "text-generation", "Where is my parcel?", "-p", "max_new_tokens=5")
    assert llmkit(*call, "--model", tmp_path / "run").code == 0
