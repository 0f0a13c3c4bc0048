"""Each file in configs/ runs as it stands, offline; the one of the quickstart is as good as it should be."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import yaml

from llmkit.training.config_file import load_config
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


@pytest.mark.parametrize(
    "config", sorted((ROOT / "configs").rglob("*.yaml")), ids=lambda path: f"{path.parent.name}/{path.stem}"
)
def test_the_schema_allows_it(config: Path) -> None:
    """Those too whose data is not in the repository."""
    assert load_config(str(config)).task


# A figure of each run, and the bar that it passes; what a model gives before it has learned lies far below.
LEARNED = {
    "text-classification": ("test_accuracy", 0.90),  # half of them by chance
    "token-classification": ("eval_overall_f1", 0.80),
    "question-answering": ("eval_f1", 80.0),
    "multiple-choice": ("eval_accuracy", 0.75),  # a quarter by chance
    "seq2seq": ("eval_exact_match", 0.90),
    "next-sentence": ("eval_accuracy", 0.72),  # 0.64 of them are of one kind
}
# The same where less is better.
FEWER = {"masked-lm": 100.0, "next-sentence": 20.0, "causal-lm": 5.0}


@pytest.mark.slow
@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_it_learns(llmkit: Command, config: Path, tmp_path: Path) -> None:
    figures = train(llmkit, config, tmp_path)

    name, bar = LEARNED.get(config.stem, ("steps", 1))
    assert float(str(figures[name])) >= bar, figures
    if config.stem in FEWER:
        assert float(str(figures["eval_perplexity"])) <= FEWER[config.stem], figures
    assert config.stem in LEARNED or config.stem in FEWER


@pytest.mark.slow
@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_before_it_learns_it_passes_no_bar(llmkit: Command, config: Path, tmp_path: Path) -> None:
    nothing = ("--set", "training.max_steps=1", "--set", "training.learning_rate=1e-12")
    figures = train(llmkit, config, tmp_path, *nothing)

    if config.stem in LEARNED:
        name, bar = LEARNED[config.stem]
        assert float(str(figures[name])) < bar
    if config.stem in FEWER:
        assert float(str(figures["eval_perplexity"])) > FEWER[config.stem]


@pytest.mark.slow
def test_the_pipeline_runs_what_was_learned(llmkit: Command, tmp_path: Path) -> None:
    train(llmkit, ROOT / "configs" / "text-classification.yaml", tmp_path)

    answer = llmkit("pipeline", "sentiment-analysis", "A lovely evening.", "--model", tmp_path / "run").json
    assert answer["label"] == "positive"


@pytest.mark.slow
def test_the_dates_are_learned(llmkit: Command, tmp_path: Path) -> None:
    figures = train(llmkit, ROOT / "configs" / "seq2seq.yaml", tmp_path)

    assert float(str(figures["eval_exact_match"])) >= 0.90
    for task, key in (("text2text-generation", "generated_text"), ("translation", "translation_text")):
        answer = llmkit("pipeline", task, "the third of May 1999", "--model", tmp_path / "run").json
        assert answer[key] == "1999-05-03"


def test_no_date_of_validation_is_one_of_training() -> None:
    days = {}
    for name in ("train", "validation"):
        with (ROOT / "configs" / "data" / f"dates.{name}.csv").open(encoding="utf-8") as file:
            days[name] = [row["date"] for row in csv.DictReader(file)]

    assert {name: len(set(each)) for name, each in days.items()} == {"train": 600, "validation": 150}
    assert not {*days["train"]} & {*days["validation"]}


@pytest.mark.slow  # half a minute of training
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
