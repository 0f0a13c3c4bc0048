"""``llmkit finetune`` on bad input: one message with the place and the way out, and nothing is written over."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.fixtures.command import Command

Tiny = Callable[[str], Path]

WORDS = {"good": "pos", "bad": "neg", "funny": "pos", "cold": "neg"}
GOOD = [{"text": f"the film was {word}", "label": label} for word, label in WORDS.items()] * 3
PRECIOUS = "precious"

STARTS = {
    "multiple-choice": "feature-extraction",
    "masked-lm": "fill-mask",
    "next-sentence": "fill-mask",
    "causal-lm": "conversational",
}


@dataclass(frozen=True)
class Bad:
    """A call that is wrong.

    Attributes:
        said: what the message has in it, its beginning first.
        files: their content; rows are written as JSON Lines.
        text: the whole config, instead of `changes` to one that is right.
        changes: values of the config by their dotted name.
    """

    name: str
    said: tuple[str, ...]
    files: Mapping[str, Any] = field(default_factory=dict)
    changes: Mapping[str, Any] = field(default_factory=dict)
    task: str = "text-classification"
    start: str | None = None
    text: str | bytes | None = None
    arguments: tuple[str, ...] = ()
    code: int = 2


def content(value: Any) -> bytes:
    if isinstance(value, list):
        value = "".join(f"{json.dumps(row)}\n" for row in value)
    return value if isinstance(value, bytes) else value.encode()


def written(case: Bad, tiny: Tiny, folder: Path) -> None:
    """Write the case's config and files."""
    start = case.start or STARTS.get(case.task, case.task)
    config: dict[str, Any] = {
        "task": case.task,
        "model": {"name": str(tiny(start))},
        "data": {"train": "train.jsonl"},
        "training": {"max_steps": 2, "batch_size": 4, "precision": "float32"},
        "output": "out",
    }
    for name, value in case.changes.items():
        *sections, key = name.split(".")
        below = config
        for section in sections:
            below = below.setdefault(section, {})
        below[key] = value
    for name, value in {"train.jsonl": GOOD, **case.files}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content(value))
    text = case.text if case.text is not None else yaml.safe_dump(config)
    (folder / "run.yaml").write_bytes(content(text))


def check(case: Bad, llmkit: Command, tiny: Tiny, folder: Path) -> None:
    written(case, tiny, folder)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    done = llmkit(
        "finetune", "run.yaml", *case.arguments, cwd=folder, env={"LLMKIT_CACHE": str(folder / "cache")}
    )

    assert (done.code, done.text) == (case.code, ""), done.stderr
    assert done.stderr.count("error: ") == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert "fault of llmkit" not in done.stderr
    message = done.stderr.partition("error: ")[2]
    assert message.startswith(case.said[0]), message
    for part in case.said[1:]:
        assert part in message, message
    assert {path: path.read_bytes() for path in before} == before
    assert not list(folder.glob("out/model*")) or PRECIOUS in case.files.values()


LINES = "task: text-classification\nmodel: m\ndata: {train: train.jsonl}\noutput: out\n"
BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)

YAML = [
    Bad("a tab", ("run.yaml:2:1: not YAML: found character '\\t'",), text="task: a\n\tmodel: b\n"),
    Bad(
        "a key twice",
        ("run.yaml:5:1: the key 'task' is there twice, first in line 1.",),
        text=f"{LINES}task: x\n",
    ),
    Bad(
        "an unknown anchor",
        ("run.yaml:5:10: not YAML: found undefined alias 'm'",),
        text=f"{LINES}metrics: *m\n",
    ),
    Bad("an anchor in itself", ("run.yaml: nested too deeply.",), text="a: &a {b: *a}\n"),
    Bad("aliases without end", ("run.yaml:6:4: more than 100,000 values.", "Aliases"), text=BOMB),
    Bad("nothing", ("run.yaml is empty.", "llmkit config init"), text=""),
    Bad("a comment alone", ("run.yaml is empty.",), text="# later\n"),
    Bad("a list", ("run.yaml holds a list, not keys with values.",), text="- a\n"),
    Bad("binary", ("run.yaml: not UTF-8, from byte 128 on.", "Save it as UTF-8"), text=bytes(range(256))),
    Bad("UTF-16", ("run.yaml: not UTF-8, from byte 0 on.", "Save it as UTF-8"), text=LINES.encode("utf-16")),
    Bad("a NUL byte", ("run.yaml: not YAML: unacceptable character #x0000",), text=f"{LINES}\0"),
    Bad(
        "an open quote",
        (
            "run.yaml:3:1: not YAML: found unexpected end of stream, while scanning a quoted scalar from line 1 on.",
        ),
        text="task: 'text\nmodel: m\n",
    ),
    Bad("an open brace", ("run.yaml:2:1: not YAML: expected ',' or '}'",), text="data: {train: a\n"),
    Bad(
        "two documents",
        ("run.yaml:5:1: not YAML: expected a single document in the stream but found another document.",),
        text=f"{LINES}---\n{LINES}",
    ),
    Bad(
        "a tag",
        ("run.yaml:1:7: not YAML: could not determine a constructor",),
        text="task: !!python/name:os.system\n",
    ),
    Bad(
        "a colon in a text",
        ("run.yaml:1:8: not YAML: mapping values are not allowed here.",),
        text="task: a: b\n",
    ),
    Bad("nested without end", ("run.yaml: nested too deeply.",), text=f"a: {'[' * 2000}{']' * 2000}"),
    Bad("a number as a key", ("run.yaml:5:1: 3: a key should be a word.",), text=f"{LINES}3: 4\n"),
    Bad(
        "no model",
        ("run.yaml:2:7: model: null should be a model's name, or keys with values.",),
        text=LINES.replace("model: m", "model:"),
    ),
    Bad("an empty name", ("run.yaml:2:8: model: '' is empty.",), text=LINES.replace("model: m", "model: ''")),
    Bad("no file", ("run.yaml:3:15: data.train: [] is empty.",), text=LINES.replace("train.jsonl", "[]")),
    Bad(
        "YAML 1.1's octal number",
        ("run.yaml:5:18: training.seed: '010' should be a whole number.",),
        text=f"{LINES}training: {{seed: 010}}\n",
    ),
]

SETTINGS = [
    Bad(
        "a batch of none",
        ("run.yaml:8:15: training.batch_size: 0 should be",),
        changes={"training.batch_size": 0},
    ),
    Bad("--set without a value", ("--set x: write it as key=value.",), arguments=("--set", "x")),
    Bad(
        "--set of a section",
        ("--set training=3: it should be keys with values.",),
        arguments=("--set", "training=3"),
    ),
    Bad("two ways to go on", ("--resume goes on with a run",), arguments=("--resume", "--overwrite")),
    Bad(
        "an unknown device",
        ("--device gpuu: no such device", "Use auto"),
        arguments=("--device", "gpuu"),
    ),
    Bad("no such device", ("--device cuda:9: ",), arguments=("--device", "cuda:9")),
    Bad(
        "an unknown metric",
        ("run.yaml:5:3: metrics.0: no such metric: 'acuracy'; did you mean accuracy?",),
        changes={"metrics": ["acuracy"], "data.validation": 0.3},
    ),
    Bad(
        "a metric of another task",
        (
            "run.yaml:5:3: metrics.0: the metric bleu does not fit text-classification: it takes texts with several",
            "Those that fit: accuracy, f1, ",
        ),
        changes={"metrics": ["bleu"], "data.validation": 0.3},
    ),
    Bad(
        "a metric of the hub, offline",
        ("the metric hub:accuracy is not in the cache, and llmkit is offline",),
        changes={"metrics": ["hub:accuracy"], "data.validation": 0.3},
        code=1,
    ),
    Bad(
        "an unknown best metric, found before a step",
        (
            "training.best_metric: no such figure: 'acuracy'; did you mean accuracy?",
            "There are: loss, accuracy",
        ),
        changes={"training.best_metric": "acuracy", "data.validation": 0.3},
    ),
    Bad(
        "a best metric and nothing to judge by",
        (
            "run.yaml:9:16: training.best_metric: there is no validation set to judge by.",
            "Give data.validation",
        ),
        changes={"training.best_metric": "accuracy"},
    ),
    Bad(
        "early stopping and nothing to judge by",
        ("run.yaml:9:19: training.early_stopping: there is no validation set to judge by.",),
        changes={"training.early_stopping": 2},
    ),
    Bad(
        "freezing what is not there",
        ("training.freeze: no parameter is called 'encodr'.", "Write embeddings, encoder"),
        changes={"training.freeze": ["encodr"]},
    ),
    Bad(
        "freezing layers that are not there",
        ("training.freeze: no parameter is called 'layers.7'.",),
        changes={"training.freeze": ["layers.7"]},
    ),
    Bad(
        "freezing everything",
        ("training.freeze: nothing is left to train.",),
        changes={"training.freeze": ["bert", "classifier"]},
    ),
    Bad(
        "an adapter of no module",
        ("adapter.targets: the model has no module 'nothing'.",),
        changes={"adapter": {"targets": ["nothing"]}},
    ),
    Bad(
        "class weights of another number",
        ("training.class_weights: 3 weights for 2 classes: neg, pos.",),
        changes={"training.class_weights": [1.0, 2.0, 3.0]},
    ),
    Bad(
        "packing where it cannot be",
        ("training.batching: packed: text-classification cannot pack", "Take sorted"),
        changes={"training.batching": "packed"},
    ),
    Bad("no room", ("data.max_length: 2 leaves no room for a text.",), changes={"data.max_length": 2}),
    Bad(
        "a tokenizer for old weights",
        (
            "run.yaml:8:3: tokenizer: a new vocabulary would not fit the weights of the model.",
            "from_scratch: true",
        ),
        changes={"tokenizer": {"train": "bpe"}},
    ),
    Bad(
        "from scratch without a tokenizer",
        ("the tokenizer of bert-tiny cannot be had: ", "tokenizer: {train: wordpiece}"),
        changes={"model": {"name": "bert-tiny", "from_scratch": True}},
        code=1,
    ),
    Bad(
        "a model that is not there",
        ("no folder ./nowhere.", "A model is a folder with config.json"),
        changes={"model.name": "./nowhere"},
        code=1,
    ),
    Bad(
        "a model of the hub, offline",
        ("the model 'nobody/nothing' is not in the cache",),
        changes={"model.name": "nobody/nothing"},
        code=1,
    ),
    Bad(
        "an unknown value of the model's config",
        ("model.config.hidden_dropuot: the config of ",),
        changes={"model.config": {"hidden_dropuot": 0.1}},
    ),
    Bad(
        "a wrong value of the model's config",
        ("model.config.hidden_dropout_prob: 'x' is not allowed: ",),
        changes={"model.config": {"hidden_dropout_prob": "x"}},
    ),
    Bad(
        "an architecture that cannot be",
        ("model.config: ", "is not a multiple of the number of attention heads"),
        changes={"model.from_scratch": True, "model.config": {"num_attention_heads": 7}},
    ),
    Bad(
        "an output that is a file",
        ("cannot write to out: ", "Name in output a folder"),
        files={"out": PRECIOUS},
    ),
    Bad(
        "an output below a file",
        ("cannot write to o/run: ", "Name in output a folder"),
        files={"o": PRECIOUS},
        changes={"output": "o/run"},
    ),
    Bad("an output nobody can write", ("cannot write to /proc/out: ",), changes={"output": "/proc/out"}),
    Bad(
        "an output with a model in it",
        ("out has a model.safetensors in it, which is of no run and would be replaced.", "--overwrite"),
        files={"out/model.safetensors": PRECIOUS},
    ),
    Bad(
        "an output with a run in it",
        ("out has a run in it already.", "--resume"),
        files={"out/log.jsonl": ""},
    ),
    Bad("nothing to resume", ("out has no run to go on with.",), arguments=("--resume",)),
]


@pytest.mark.parametrize("case", [*YAML, *SETTINGS], ids=lambda case: case.name)
def test_the_config(llmkit: Command, tiny: Tiny, tmp_path: Path, case: Bad) -> None:
    check(case, llmkit, tiny, tmp_path)


def test_the_folder_of_another_run(llmkit: Command, tiny: Tiny, tmp_path: Path) -> None:
    import fcntl

    (tmp_path / "out").mkdir()
    with (tmp_path / "out/.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        case = Bad("in use", ("out is in use by another run.", "name another folder in output"))
        check(case, llmkit, tiny, tmp_path)


@pytest.mark.parametrize("call", [(), ("--overwrite",)], ids=["as it is", "--overwrite"])
def test_a_damaged_tokenizer(llmkit: Command, tiny: Tiny, tmp_path: Path, call: tuple[str, ...]) -> None:
    import shutil

    shutil.copytree(tiny("text-classification"), tmp_path / "model")
    (tmp_path / "model/tokenizer.json").write_text('{"half": ')
    case = Bad("damaged", ("",), changes={"model.name": "model"}, arguments=call, code=1)
    check(case, llmkit, tiny, tmp_path)
