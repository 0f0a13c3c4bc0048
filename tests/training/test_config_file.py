"""Configs: what is let through, and that every problem is named with its place and the way out."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from llmkit.errors import UsageError
from llmkit.training.config_file import check_config, load_config

GOOD = """\
task: text-classification
model: minilm
data:
  train: data/reviews.csv
  validation: 0.1
  columns: {text: review, label: stars}
training: {epochs: 3, learning_rate: 1e-4}
output: runs/reviews
"""


def written(folder: Path, text: str, encoding: str = "utf-8") -> str:
    path = folder / "run.yaml"
    path.write_text(text, encoding=encoding)
    return str(path)


def problem(folder: Path, text: str) -> str:
    with pytest.raises(UsageError) as caught:
        load_config(written(folder, text))
    return str(caught.value)


def test_a_few_lines_are_enough(tmp_path: Path) -> None:
    config = load_config(written(tmp_path, GOOD))

    assert config.model.name == "minilm"
    assert config.data.train == ["data/reviews.csv"]
    assert config.data.validation == 0.1
    assert config.training.learning_rate == 1e-4
    assert config.training.batch_size == 32


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path: Path) -> None:
    assert load_config(written(tmp_path, GOOD, "utf-8-sig")).task == "text-classification"


def test_json_is_yaml_too(tmp_path: Path) -> None:
    values = load_config(written(tmp_path, GOOD)).model_dump(mode="json")

    assert load_config(written(tmp_path, json.dumps(values, indent=1))).model_dump(mode="json") == values


def test_values_beside_the_file_are_typed_by_the_same_schema(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD)

    changed = load_config(path, {"training.learning_rate": 3e-5, "model.revision": "main"})

    assert changed.training.learning_rate == 3e-5
    assert (changed.model.name, changed.model.revision) == ("minilm", "main")
    with pytest.raises(UsageError, match=r"^--set training.epochs='many': it should be a number\.$"):
        load_config(path, {"training.epochs": "many"})
    with pytest.raises(UsageError, match=r"--set training.epoch: unknown key; did you mean epochs\?"):
        load_config(path, {"training.epoch": 2})


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("task: text-clasification", "1:7: task: 'text-clasification' is not one of"),
        ("task: text-clasification", "did you mean text-classification?"),
        ("task: [text-classification]", "1:7: task:"),
        ("output: ''", ":1:9: output: ''"),
        ("output: 3", ":1:9: output: 3 should be a text."),
        ("model: {name: a, nme: minilm}", "1:18: model.nme: unknown key; did you mean name?"),
        ("model: 7", "1:8: model: 7"),
        ("model: {name: m, from_scratch: yes}", "1:32: model.from_scratch: 'yes' should be true or false."),
        ("model: {name: m, dtype: int8}", "model.dtype: 'int8' is not one of float32, bfloat16 or float16"),
        ("data: reviews.csv", "1:7: data: 'reviews.csv'"),
        ("data: {validation: 0.1}", "1:7: data.train: is missing."),
        ("data: {train: []}", "data.train: []"),
        ("data: {train: a, validation: 1.5}", "1:30: data.validation: 1.5 should be between 0 and 1"),
        ("data: {train: a, validation: 0}", "data.validation: 0 should be between 0 and 1"),
        ("data: {train: a, validation: true}", "data.validation: true should be a share such as 0.1, a file"),
        ("data: {train: a, columns: text}", "data.columns: 'text' should be keys with values."),
        ("data: {train: a, columns: {text: 3}}", "1:34: data.columns.text: 3 should be a text."),
        ("data: {train: a, max_length: 0}", "data.max_length: 0 should be 1 or more."),
        ("data: {train: a, labels: pos}", "data.labels: 'pos' should be a list."),
        ("data: {train: a, colums: {}}", "data.colums: unknown key; did you mean columns?"),
        ("data: {train: a, batch_size: 3}", "data.batch_size: unknown key here: it belongs under training:"),
        ("learning_rate: 1e-4", "1:1: learning_rate: unknown key here: it belongs under training:"),
        ("training: {task: x}", "training.task: unknown key here: it belongs at the top."),
        (
            "training: {learning_rte: 1e-4}",
            "1:12: training.learning_rte: unknown key; did you mean learning_rate?",
        ),
        (
            "training: {learning-rate: 1e-4}",
            "training.learning-rate: unknown key; did you mean learning_rate?",
        ),
        ("training: {learning_rate: fast}", "1:27: training.learning_rate: 'fast' should be a number."),
        ("training: {learning_rate: '1e-4'}", "training.learning_rate: '1e-4' should be a number."),
        ("training: {learning_rate: 0}", "training.learning_rate: 0 should be above 0."),
        ("training: {learning_rate: .nan}", "training.learning_rate: nan should be"),
        ("training: {batch_size: 0}", "training.batch_size: 0 should be 1 or more."),
        ("training: {batch_size: 8.5}", "training.batch_size: 8.5 should be a whole number."),
        ("training: {batch_size: '8'}", "training.batch_size: '8' should be a whole number."),
        ("training: {batch_size: true}", "training.batch_size: true should be a whole number."),
        (
            "training: {micro_batch_size: -1}",
            "training.micro_batch_size: -1 should be auto, or a whole number, 1 or more.",
        ),
        ("training: {epochs: three}", "training.epochs: 'three' should be a number."),
        ("training: {precision: bf8}", "training.precision: 'bf8' is not one of auto, float32"),
        ("training: {schedule: lineal}", "did you mean linear?"),
        ("training: {class_weights: blanced}", "balanced, or a list with a number above 0 for each class."),
        ("training: {class_weights: [1, -1]}", "balanced, or a list with a number above 0 for each class."),
        ("training: {warmup_ratio: 2}", "training.warmup_ratio: 2 should be 1 or less."),
        ("training: {freeze: 3}", "training.freeze: 3 should be a list."),
        ("training: {seed: -1}", "training.seed: -1 should be 0 or more."),
        ("training: {ema: 1}", "training.ema: 1 should be below 1."),
        (
            "adapter: {type: lorra}",
            "adapter.type: 'lorra' is not one of lora, dora or qlora; did you mean lora?",
        ),
        ("adapter: {rank: 8}", "adapter.rank: unknown key"),
        ("tokenizer: {vocab_size: 1000}", "tokenizer.train: is missing."),
        ("trackers: wandbb", "did you mean wandb?"),
        ("metrics: 3", "metrics: 3 should be a list."),
        ("learning_rte: 1e-4", "learning_rte: unknown key; did you mean training.learning_rate?"),
        ("training.epochs: 1", "1:1: training.epochs: unknown key; write epochs under training:"),
        ("\u00a0training: {seed: 1}", "1:1: \u00a0training: unknown key; did you mean training?"),
        ("data: {train: a, columns: {my text: 3}}", "1:37: data.columns.my text: 3 should be a text."),
        ("null: 3", "1:1: null: a key should be a word."),
        ("true: 3", "1:1: true: a key should be a word."),
        (
            "devices: 0",
            "1:10: devices: 0 should be a number of GPUs, 1 or more, or which, each once: [0, 2].",
        ),
        ("devices: []", "1:10: devices: [] should be a number of GPUs, 1 or more"),
        ("devices: [0, 0]", "1:10: devices: [0, 0] should be a number of GPUs, 1 or more"),
        ("devices: [-1]", "1:10: devices: [-1] should be a number of GPUs, 1 or more"),
        ("data: {train: ''}", "1:15: data.train: '' is empty."),
        (
            "data: {train: a, validation: []}",
            "1:30: data.validation: [] should be a share such as 0.1, a file",
        ),
        (
            "data: {train: a, validation: ''}",
            "1:30: data.validation: '' should be a share such as 0.1, a file",
        ),
        (
            "data: {train: a, validation: ['']}",
            "1:30: data.validation: [''] should be a share such as 0.1, a file",
        ),
        ("generation: {temperature: 1}", "generation.temperature: unknown key. There are: num_beams"),
        ("task: NER", "did you mean token-classification?"),
        ("task: summarization", "did you mean seq2seq?"),
        ("no_such_thing_at_all: 1", "no_such_thing_at_all: unknown key. There are: task, model, data"),
    ],
)
def test_each_problem_has_its_place_and_the_way_out(tmp_path: Path, line: str, said: str) -> None:
    key = line.partition(":")[0]
    others = {
        "task": "task: text-classification",
        "model": "model: minilm",
        "data": "data: {train: a.csv}",
        "output": "output: runs/x",
    }
    text = "\n".join([line, *(other for name, other in others.items() if name != key)])

    message = problem(tmp_path, text)

    assert said in message
    assert "run.yaml:1" in message
    assert "\n" not in message, "one problem, one line"


def test_all_problems_come_in_one_message_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = GOOD.replace("epochs: 3", "epochs: three, batch_size: 0").replace("0.1", "7") + "extra: 1\n"

    lines = problem(tmp_path, text).splitlines()

    assert lines[0].startswith("4 problems in ")
    assert [line.split(": ")[1] for line in lines[1:]] == [
        "data.validation",
        "training.epochs",
        "training.batch_size",
        "extra",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("# nothing\n", "is empty"),
        ("- a\n- b\n", "holds a list, not keys with values"),
        ("just text", "holds the text 'just text', not keys with values"),
        ("task: [a, b", "run.yaml:1:"),
        ("task: a\n\tmodel: b\n", "run.yaml:2:1: not YAML: found character '\\t'"),
        ("task: a\ntask: b\n", "run.yaml:2:1: the key 'task' is there twice, first in line 1."),
        ("training: {seed: 1, seed: 2}", "run.yaml:1:21: the key 'seed' is there twice"),
        ("task: !!python/object:os.system x\n", "run.yaml:1:7: not YAML: could not determine a constructor"),
        ("? [a, b]\n: c\n", "a key should be a word"),
    ],
)
def test_what_is_no_config_at_all(tmp_path: Path, text: str, said: str) -> None:
    assert said in problem(tmp_path, text)


def test_what_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"^no file .*none.yaml$"):
        load_config(str(tmp_path / "none.yaml"))
    with pytest.raises(UsageError, match="is a folder"):
        load_config(str(tmp_path))
    (tmp_path / "latin.yaml").write_bytes("output: möbel".encode("latin-1"))
    with pytest.raises(UsageError, match="not UTF-8, from byte 9 on"):
        load_config(str(tmp_path / "latin.yaml"))


def test_a_python_program_gives_the_values_themselves() -> None:
    values = {"task": "masked-lm", "model": "m", "data": {"train": "a.txt"}, "output": "o"}

    assert check_config(values, "the config").task == "masked-lm"
    with pytest.raises(UsageError, match=r"^the config: data.train: is missing\.$"):
        check_config(values | {"data": {}}, "the config")


def test_nothing_slow_is_imported(tmp_path: Path) -> None:
    program = (
        "import sys; from llmkit.training.config_file import load_config; load_config(sys.argv[1]);"
        "print([name for name in ('torch', 'transformers', 'datasets', 'numpy', 'pandas') if name in sys.modules])"
    )

    done = subprocess.run(
        [sys.executable, "-c", program, written(tmp_path, GOOD)], capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == "[]"


def test_values_that_do_not_go_together_are_told_of_at_once(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(
        "task: text-classification\nmodel: minilm\ndata: {train: a.csv, columns: {txet: foo}}\n"
        "tokenizer: {train: bpe}\ntraining: {best_metric: accuracy}\nmetrics: [acuracy]\noutput: r\n"
    )
    with pytest.raises(UsageError) as caught:
        load_config(str(path))
    said = caught.value.message
    assert said.startswith(f"4 problems in {path}:")
    for line in (
        ":3:38: data.columns.txet: text-classification takes no such field; did you mean text?",
        ":4:12: tokenizer: a new vocabulary would not fit the weights of the model",
        ":5:25: training.best_metric: there is no validation set to judge by.",
        "did you mean accuracy?",
    ):
        assert line in said


def test_what_was_set_is_named_and_not_the_file(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("task: text-classification\nmodel: minilm\ndata: {train: a.csv}\noutput: r\n")
    changes = {"model.name": None, "trainig.epochs": 3, "training.lr": 1}
    with pytest.raises(UsageError) as caught:
        load_config(str(path), changes)
    lines = caught.value.message.splitlines()[1:]
    assert sorted(re.split("[:=]", line)[0].strip() for line in lines) == sorted(
        f"--set {name}" for name in changes
    )
    assert "did you mean training.learning_rate?" in caught.value.message


def test_the_schema_has_room_for_the_short_forms() -> None:
    from llmkit.training.config import FinetuneConfig

    schema = FinetuneConfig.model_json_schema()
    kinds = {each.get("type") for each in schema["properties"]["model"]["anyOf"]}
    assert "string" in kinds
    train = schema["$defs"]["DataSection"]["properties"]["train"]
    assert {each["type"] for each in train["anyOf"]} == {"string", "array"}
    micro = schema["$defs"]["TrainingSection"]["properties"]["micro_batch_size"]
    assert {"type": "integer", "minimum": 1} in micro["anyOf"]


def test_what_does_not_go_together_is_told_of_beside_what_is_wrong_by_itself(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(
        "task: text-classification\nmodel: minilm\ndata: {train: a.csv, format: xlsx}\noutput: r\n"
        "metrics: [acuracy, squad, nope]\ntraining: {epochs: many, lr: 1}\n"
    )
    with pytest.raises(UsageError) as caught:
        load_config(str(path))
    for line in (
        ":3:30: data.format: no such input format: 'xlsx'. There are: txt, csv",
        ":5:11: metrics.0: no such metric: 'acuracy'; did you mean accuracy?\n",
        ":5:20: metrics.1: the metric squad does not fit text-classification: it takes answers",
        " Those that fit: accuracy",
        ":5:27: metrics.2: no such metric: 'nope'. There are: accuracy",
        ":6:20: training.epochs: 'many' should be a number.",
        ":6:26: training.lr: unknown key; did you mean training.learning_rate?",
    ):
        assert line in caught.value.message
    path.write_text("task: text-classification\nmodel: m\ndata: {train: a.csv, format: xlsx}\noutput: r\n")
    with pytest.raises(UsageError, match=r"data.format: no such input format: 'xlsx'\.\nThere are: txt, csv"):
        load_config(str(path))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"training": {"batch_size": 0}}, "--set training: batch_size: 0 should be 1 or more."),
        (
            {"data.columns": {"nope": "x"}},
            "--set data.columns: nope: text-classification takes no such field",
        ),
        (
            {"data": {"trian": "x"}},
            "  --set data: train: is missing.\n  --set data: trian: unknown key; did you",
        ),
        ({"training": 3}, "--set training=3: it should be keys with values."),
        ({"metrics": ["foo", "foo"]}, "--set metrics: no such metric: 'foo'."),
    ],
)
def test_what_is_wrong_within_a_value_that_was_set(
    tmp_path: Path, changes: dict[str, object], said: str
) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("task: text-classification\nmodel: minilm\ndata: {train: a.csv}\noutput: r\n")
    with pytest.raises(UsageError) as caught:
        load_config(str(path), changes)
    assert said in caught.value.message
    assert str(caught.value).count("There are: accuracy") == ("metrics" in changes)


def test_what_is_missing_hides_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(
        "task: text-classification\nmodel: minilm\ndata: {columns: {nope: x}, validation: 3}\n"
        "metrics: [squad, squad]\ntraining: {early_stopping: 2}\n"
    )
    with pytest.raises(UsageError) as caught:
        load_config(str(path))
    message = caught.value.message
    for said in (
        "output: is missing.",
        "data.train: is missing.",
        "data.columns.nope: ",
        "metrics.1: the metric",
    ):
        assert said in message
    assert message.count("Those that fit: ") == 1
    assert "there is no validation set" not in message, "there is one, and it is wrong"


@pytest.mark.parametrize("model", ["{nme: minilm}", "{name: 3}", "{name: minilm, 3: x}"])
def test_what_is_wrong_in_a_section_hides_nothing_of_another(tmp_path: Path, model: str) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(
        f"task: text-classification\nmodel: {model}\ndata: {{train: a.csv}}\noutput: r\nmetrics: [acuracy]\n"
    )
    with pytest.raises(UsageError, match=r"metrics\.0: no such metric: 'acuracy'; did you mean accuracy\?"):
        load_config(str(path))
