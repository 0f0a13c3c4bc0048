"""``hub:NAME[:config][:split]``: which rows are meant, and what is said where there are none such."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from tests.fixtures.command import Command, Completed
from tests.fixtures.hub import SmallHub

READ = """
import json, sys
from llmkit.errors import LlmkitError
from llmkit.training.hub_sets import hub_rows
for name, wanted in json.loads(sys.argv[1]):
    try:
        print(json.dumps([row.values for row in hub_rows(name, wanted)]))
    except LlmkitError as error:
        print(json.dumps(f"{type(error).__name__}: {error.message} {error.hint}"))
"""
CARD = """---
configs:
- config_name: plain
  data_files:
  - {split: train, path: plain/train.jsonl}
  - {split: test, path: plain/test.jsonl}
- config_name: hard
  data_files:
  - {split: train, path: hard/train.jsonl}
---
"""


def write(path: Path, *rows: dict[str, object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[SmallHub]:
    films = tmp_path / "films"
    write(films / "train.jsonl", *({"text": f"film {number}", "label": number % 2} for number in range(40)))
    write(films / "test.jsonl", *({"text": f"other {number}", "label": number % 2} for number in range(6)))
    two = tmp_path / "two"
    for config, split in (("plain", "train"), ("plain", "test"), ("hard", "train")):
        write(two / config / f"{split}.jsonl", {"text": f"{config} {split}"})
    (two / "README.md").write_text(CARD)
    with SmallHub() as hub:
        hub.add("acme/films", films)
        hub.add("acme/two", two)
        hub.add("acme/secret", films, private=True)
        yield hub


def read(llmkit: Command, hub: SmallHub, folder: Path, *names: tuple[str, str]) -> list[object]:
    """Return what each name gives, or the error, in a process whose hub is the small one."""
    done = llmkit.python(READ, json.dumps(names), env=hub.environment(folder / "home"))
    assert done.code == 0, done.stderr
    return done.lines


def test_what_is_meant_and_what_is_not_there(llmkit: Command, hub: SmallHub, tmp_path: Path) -> None:
    meant = [
        ("hub:acme/films", "train"),
        ("hub:acme/films:test", "train"),
        ("hub:acme/two:plain", "test"),
        ("hub:acme/two:plain:test", "train"),
    ]
    refused = {
        ("hub:acme/films", "validation"): (
            "which split of hub:acme/films is for validation? Its splits are: train, test.",
            "hub:acme/films:train",
        ),
        ("hub:acme/films:tets", "train"): (
            "no split 'tets' in hub:acme/films; its splits are: train, test.",
            "did you mean test?",
        ),
        ("hub:acme/two:hard:test", "train"): (
            "no split 'test' in hub:acme/two:hard; its splits are: train.",
        ),
        ("hub:acme/two", "train"): ("Config name is missing", "There are: 'plain', 'hard'. Name it after a"),
        ("hub:acme/two:soft", "train"): ("'soft' not found", "'plain', 'hard'"),
        ("hub:acme/none", "train"): ("acme/none", "HF_TOKEN"),
        ("hub:acme/secret", "train"): ("acme/secret", "a private one needs HF_TOKEN"),
        ("hub:a:b:c:d", "train"): ("hub:a:b:c:d names no data set.", "hub:NAME:config:split"),
    }
    found = read(llmkit, hub, tmp_path, *meant, *refused)

    usual, split, config, both = (rows for rows in found[:4] if isinstance(rows, list))
    assert [len(usual), len(split)] == [40, 6]
    assert usual[0] == {"text": "film 0", "label": 0}
    assert config == both == [{"text": "plain test"}]
    for message, words in zip(found[4:], refused.values(), strict=True):
        assert isinstance(message, str) and "\n" not in message
        for word in words:
            assert word in message


@pytest.mark.slow
def test_a_run_on_a_private_one(
    hub: SmallHub, tmp_path: Path, llmkit: Command, tiny: Callable[[str], Path]
) -> None:
    config = {
        "task": "text-classification",
        "model": str(tiny("text-classification")),
        "data": {"train": "hub:acme/secret", "validation": "hub:acme/secret:test"},
        "training": {"max_steps": 2, "batch_size": 8},
        "output": "out",
    }
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(config))
    env = hub.environment(tmp_path / "home") | {
        "LLMKIT_CACHE": os.fspath(tmp_path / "cache"),
        "HF_TOKEN": hub.token,
    }

    done = llmkit("finetune", "run.yaml", cwd=tmp_path, env=env, hub=True)

    assert done.code == 0, done.stderr
    assert done.json["steps"] == 2
    assert "40 training, 6 validation examples" in done.stderr
    assert hub.token not in done.stderr + "".join(
        path.read_text() for path in (tmp_path / "out").glob("*.*l")
    )


def test_the_sets_of_a_run_are_the_splits_of_one_and_it_is_judged_on_its_test_split(
    hub: SmallHub, tmp_path: Path, llmkit: Command, tiny: Callable[[str], Path]
) -> None:
    config = {
        "task": "text-classification",
        "model": str(tiny("text-classification")),
        "data": {"train": "hub:acme/films", "test": "hub:acme/films"},
        "training": {"max_steps": 1, "batch_size": 4},
        "output": "out",
    }
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(config))
    env = hub.environment(tmp_path / "home") | {"LLMKIT_CACHE": os.fspath(tmp_path / "cache")}

    def call(*arguments: str) -> Completed:
        done = llmkit(*arguments, "--format", "json", cwd=tmp_path, env=env, hub=True)
        assert done.code == 0, done.stderr
        return done

    trained = call("finetune", "run.yaml")
    own = call("evaluate", "out", "--resamples", "0").json
    named = call("evaluate", "out", "--resamples", "0", "--data", "hub:acme/films").json

    assert "40 training, 6 test examples" in trained.stderr
    assert own["examples"] == named["examples"] == 6
    assert own["metrics"]["loss"] == pytest.approx(trained.json["test_loss"], abs=1e-6)
