"""``llmkit evaluate``: the figures of the run, and of plain transformers and scikit-learn; where a model is wrong."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, precision_recall_fscore_support

from llmkit.errors import DataError, ModelError, UsageError
from llmkit.metrics.confidence import confidence_interval
from llmkit.training.config import FinetuneConfig
from llmkit.training.evaluating import Evaluation, Sureness, evaluate_model
from llmkit.training.objectives import OBJECTIVES
from llmkit.training.objectives.batch import Draw
from llmkit.training.run import finetune
from llmkit.training.trained import Asked
from tests.fixtures.command import Command
from tests.training.stepping import config_for, ready, write_rows

Tiny = Callable[[str], Path]

PARIS = "Paris is the capital of France, and Rome is the capital of Italy."
WORDS = ("this", "film", "was", "the", "worst", "delight", "warm", "funny", "cold", "of", "and")


def sentence(number: int) -> str:
    return " ".join(WORDS[(number * (place + 2) + place) % len(WORDS)] for place in range(2 + number % 7))


def answered(question: str, answer: str) -> dict[str, Any]:
    answers = {"text": [answer], "answer_start": [PARIS.index(answer)]}
    return {"question": question, "context": PARIS, "answers": answers}


# The folder to start from, and rows, for each task that is judged here.
TASKS: dict[str, tuple[str, list[dict[str, Any]]]] = {
    "text-classification": (
        "text-classification",
        [{"text": sentence(n), "label": ("good", "bad", "middling")[n % 3]} for n in range(24)],
    ),
    "token-classification": (
        "token-classification",
        [
            {
                "words": ["John", "Smith", "was", "cold"][: 2 + n % 3],
                "tags": ["B-PER", "I-PER", "O", "O"][: 2 + n % 3],
            }
            for n in range(12)
        ],
    ),
    "question-answering": (
        "question-answering",
        [answered(f"What is the capital {n}?", ("Paris", "Rome", "Italy")[n % 3]) for n in range(9)],
    ),
    "multiple-choice": (
        "text-classification",
        [
            {
                "context": sentence(n),
                "endings": [sentence(n + 1), sentence(n + 2), "the"][: 2 + n % 2],
                "label": n % 2,
            }
            for n in range(8)
        ],
    ),
    "masked-lm": ("fill-mask", [{"text": sentence(n)} for n in range(12)]),
    "next-sentence": ("fill-mask", [{"text": sentence(n) if n % 5 else ""} for n in range(1, 40)]),
    "causal-lm": ("text-generation", [{"text": sentence(n)} for n in range(12)]),
}


def bare_config(task: str, start: Path, folder: Path, train: str, **sections: Any) -> FinetuneConfig:
    """A config that leaves the model's own config as it is."""
    config = config_for(task, start, folder, train, **sections)
    return config.model_copy(update={"model": config.model.model_copy(update={"config": {}})})


def trained(task: str, tiny: Tiny, folder: Path, **sections: Any) -> Path:
    """A run of two steps that judged itself on a file, and its folder."""
    start, rows = TASKS[task]
    train = write_rows(folder / "train.jsonl", rows)
    test = write_rows(folder / "test.jsonl", rows[: len(rows) // 2 + 1])
    sections = {"data": {"test": [test]}, "training": {"max_steps": 2}} | sections
    finetune(bare_config(task, tiny(start), folder, train, **sections), device="cpu")
    return folder / "run"


@pytest.mark.parametrize("task", TASKS)
def test_the_figures_are_those_of_the_run(task: str, tiny: Tiny, tmp_path: Path) -> None:
    run = trained(task, tiny, tmp_path)
    said = json.loads((run / "metrics.json").read_text())

    found = evaluate_model(Asked(str(run)), device="cpu", sureness=Sureness(resamples=20))

    expected = {name.removeprefix("test_"): value for name, value in said.items() if name.startswith("test_")}
    assert found.metrics == pytest.approx(expected, rel=1e-6, abs=1e-5)
    assert found.task == task
    assert found.data == [str(tmp_path / "test.jsonl")]
    assert len(found.worst) == min(10, found.examples)
    assert [each.loss for each in found.worst] == sorted((each.loss for each in found.worst), reverse=True)
    assert all(each.place.startswith(str(tmp_path / "test.jsonl:")) and each.input for each in found.worst)
    assert found.intervals.keys() == expected.keys() - {"loss"}
    json.dumps(found.as_object(), allow_nan=False)


@pytest.mark.parametrize("task", TASKS)
def test_an_examples_loss_is_that_of_a_batch_of_it_alone(task: str, tiny: Tiny, tmp_path: Path) -> None:
    start, rows = TASKS[task]
    run = ready(bare_config(task, tiny(start), tmp_path, write_rows(tmp_path / "train.jsonl", rows)))
    run.model.eval()
    draws = [Draw(0, 0, number) for number in range(4)]
    examples = run.data.train.take(range(4))
    with torch.no_grad():
        verdict = run.objective.judge_closely(run.model, run.objective.collate(examples, draws))
        alone = []
        for example, draw in zip(examples, draws, strict=True):
            batch = run.objective.collate([example], [draw])
            alone.append(float((run.objective.loss(run.model, batch) / torch.tensor(batch.targets)).sum()))

    assert verdict.losses == pytest.approx(alone, abs=1e-4)


def test_the_figures_are_those_of_transformers_and_scikit_learn(tiny: Tiny, tmp_path: Path) -> None:
    run = trained("text-classification", tiny, tmp_path)
    rows = TASKS["text-classification"][1]
    tokenizer = transformers.AutoTokenizer.from_pretrained(run)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(run).eval()
    with torch.no_grad():
        logits = torch.cat([model(**tokenizer(row["text"], return_tensors="pt")).logits for row in rows])
    right = [model.config.label2id[row["label"]] for row in rows]
    called = logits.argmax(-1).tolist()

    found = evaluate_model(
        Asked(str(run), data=[str(tmp_path / "train.jsonl")]),
        device="cpu",
        worst=3,
        sureness=Sureness(0.9, 200, 7),
    )

    losses = torch.nn.functional.cross_entropy(logits, torch.tensor(right), reduction="none")
    macro = f1_score(right, called, average="macro")
    assert found.metrics == pytest.approx(
        {"loss": float(losses.mean()), "accuracy": accuracy_score(right, called), "f1_macro": macro}, abs=1e-5
    )
    assert found.confusion is not None
    assert found.confusion["labels"] == ["bad", "good", "middling"]
    assert found.confusion["counts"] == confusion_matrix(right, called, labels=[0, 1, 2]).tolist()
    by_class = precision_recall_fscore_support(right, called, labels=[0, 1, 2], zero_division=0)
    for number, each in enumerate(found.classes):
        expected = [column[number] for column in by_class]
        assert [each[key] for key in ("precision", "recall", "f1", "support")] == pytest.approx(expected)
    worst = losses.argsort(descending=True, stable=True)[:3].tolist()
    assert [each.place for each in found.worst] == [
        f"{tmp_path}/train.jsonl:{number + 1}" for number in worst
    ]
    for each, number in zip(found.worst, worst, strict=True):
        assert each.input == rows[number]
        assert each.expected == rows[number]["label"]
        assert each.predicted == model.config.id2label[called[number]]
        assert each.probability == pytest.approx(float(logits[number].softmax(-1).max()), abs=1e-5)
    low, high = confidence_interval("accuracy", called, right, n=200, seed=7, level=0.9)["accuracy"][1:3]
    assert found.intervals["accuracy"] == {"low": low, "high": high}


def judged_on(run: Path, folder: Path, of_rows: list[Any], **asked: Any) -> Evaluation:
    rows = [{"text": sentence(number), "label": label} for number, label in enumerate(of_rows)]
    data = [write_rows(folder / "other.jsonl", rows)]
    return evaluate_model(Asked(str(run), data=data, **asked), device="cpu", sureness=Sureness(resamples=0))


class TestLabels:
    """The labels of the data are the model's classes: bad, good, middling."""

    @pytest.mark.parametrize(
        "labels", [["Good", "BAD"], ["LABEL_1", "LABEL_0"], [1, 0], ["1", "0"], [1.0, 0.0]]
    )
    def test_other_spellings(self, labels: list[Any], tiny: Tiny, tmp_path: Path) -> None:
        run = trained("text-classification", tiny, tmp_path)

        found = judged_on(run, tmp_path, labels)

        assert found.metrics == judged_on(run, tmp_path, ["good", "bad"]).metrics
        assert len(found.notes) == 1
        assert "labels taken for classes of the model:" in found.notes[0]
        assert f"{str(labels[0]).removesuffix('.0')} = good" in found.notes[0]

    def test_other_names(self, tiny: Tiny, tmp_path: Path) -> None:
        run = trained("text-classification", tiny, tmp_path)

        found = judged_on(run, tmp_path, ["pos", "neg"], labels=["neg", "pos", "so-so"])

        assert found.metrics == judged_on(run, tmp_path, ["good", "bad"]).metrics
        assert [each["label"] for each in found.classes] == ["neg", "pos", "so-so"]
        with pytest.raises(UsageError, match="2 names for the 3 classes"):
            judged_on(run, tmp_path, ["pos", "neg"], labels=["neg", "pos"])

    @pytest.mark.parametrize("labels", [["good", "godo"], [1, 3], ["1", "x"]])
    def test_none_of_the_models(self, labels: list[Any], tiny: Tiny, tmp_path: Path) -> None:
        run = trained("text-classification", tiny, tmp_path)

        with pytest.raises(DataError, match=r"the model has no class .*its classes are: bad, good, middling"):
            judged_on(run, tmp_path, labels)

    def test_tags(self, tiny: Tiny, tmp_path: Path) -> None:
        run = trained("token-classification", tiny, tmp_path)
        data = [write_rows(tmp_path / "other.jsonl", [{"words": ["John", "was"], "tags": ["B-LOC", "O"]}])]

        with pytest.raises(DataError, match="the model has no class 'B-LOC'"):
            evaluate_model(Asked(str(run), data=data), device="cpu")


def test_entities_and_tags(tiny: Tiny, tmp_path: Path) -> None:
    found = evaluate_model(Asked(str(trained("token-classification", tiny, tmp_path))), device="cpu", worst=0)

    assert {each["label"] for each in found.classes} >= {"PER"}
    assert found.confusion is not None
    assert found.confusion["labels"] == ["O", "B-PER", "I-PER"]
    assert found.worst == []


def test_a_model_that_is_no_run(tiny: Tiny, tmp_path: Path) -> None:
    """The task is told by the model's architecture, several labels at once by the rows."""
    rows = [
        {"text": sentence(n), "label": [["LABEL_0"], [], ["LABEL_1", "LABEL_0"]][n % 3]} for n in range(6)
    ]
    data = [write_rows(tmp_path / "rows.jsonl", rows)]

    found = evaluate_model(
        Asked(str(tiny("text-classification")), data=data), device="cpu", sureness=Sureness(resamples=0)
    )

    assert found.task == "text-classification"
    assert {"f1_micro", "f1_macro", "accuracy"} <= found.metrics.keys()
    assert found.intervals == {}
    assert found.confusion is None
    assert [each["support"] for each in found.classes] == [4, 2, 0]
    assert isinstance(found.worst[0].expected, list)


@pytest.mark.parametrize(
    ("task", "named"),
    [(task, start) for task, (start, _) in TASKS.items() if task not in ("multiple-choice", "next-sentence")],
)
def test_the_task_is_told_by_the_model(task: str, named: str, tiny: Tiny, tmp_path: Path) -> None:
    from llmkit.training.trained import find_trained

    assert find_trained(Asked(str(tiny(named)), data=["x"])).config.task == task


class TestErrors:
    def test_not_trained_for_it(self, tiny: Tiny, tmp_path: Path) -> None:
        data = [write_rows(tmp_path / "rows.jsonl", TASKS["text-classification"][1])]
        with pytest.raises(ModelError, match="was not trained for text-classification"):
            evaluate_model(Asked(str(tiny("fill-mask")), data=data, task="text-classification"), device="cpu")
        with pytest.raises(UsageError, match="does not say which task it is for") as caught:
            evaluate_model(Asked(str(tiny("image-classification")), data=data), device="cpu")
        with pytest.raises(DataError, match="no column 'positive'"):  # a bare encoder is one of sentences
            evaluate_model(Asked("minilm", data=data), device="cpu")
        assert caught.value.hint == f"Name it: --task {'|'.join(OBJECTIVES)}"

    def test_no_data_and_no_task(self, tiny: Tiny) -> None:
        with pytest.raises(UsageError, match="nothing to judge the model on"):
            evaluate_model(Asked(str(tiny("text-classification"))), device="cpu")
        with pytest.raises(UsageError, match="did you mean text-classification"):
            evaluate_model(Asked("x", task="text-clasification"), device="cpu")

    @pytest.mark.parametrize("level", [0.0, 1.0, 95.0, math.nan])
    def test_confidence(self, level: float) -> None:
        with pytest.raises(UsageError, match="it should be between 0 and 1"):
            evaluate_model(Asked("x"), sureness=Sureness(level))


class TestCommand:
    @pytest.fixture
    def run(self, tiny: Tiny, tmp_path: Path) -> Path:
        return trained("text-classification", tiny, tmp_path)

    def test_json(self, llmkit: Command, run: Path, tmp_path: Path) -> None:
        done = llmkit("evaluate", run, "--worst", "2", "--format", "json", "--max-rows", "5")

        assert done.code == 0, done.stderr
        found = done.json
        assert list(found) == list(Evaluation.__dataclass_fields__)
        assert found["examples"] == 5
        assert len(found["worst"]) == 2
        assert list(found["worst"][0]) == ["place", "loss", "input", "expected", "predicted", "probability"]

    def test_rows_and_files(self, llmkit: Command, run: Path, tmp_path: Path) -> None:
        output = tmp_path / "figures.csv"
        columns = ("--columns", "text=text,label=label")
        done = llmkit(
            "evaluate", run, "-i", tmp_path / "train.jsonl", *columns, "-o", output, "--resamples", "10"
        )

        assert done.code == 0, done.stderr
        assert done.text == ""
        rows = list(csv.DictReader(io.StringIO(output.read_text())))
        assert [row["metric"] for row in rows] == ["loss", "accuracy", "f1_macro"]
        assert float(rows[1]["low"]) <= float(rows[1]["value"]) <= float(rows[1]["high"])
        assert llmkit("evaluate", run, "-o", output).code == 2

    def test_the_runs_own_data_is_not_written_over(self, llmkit: Command, run: Path, tmp_path: Path) -> None:
        judged_on = tmp_path / "test.jsonl"
        before = judged_on.read_bytes()
        done = llmkit("evaluate", run, "--resamples", "0", "-o", judged_on, "--overwrite")

        assert (done.code, done.text) == (2, "")
        assert f"--output {judged_on} is the input." in done.stderr
        assert judged_on.read_bytes() == before

    @pytest.mark.parametrize("look", ["table", "markdown"])
    def test_for_a_person(self, look: str, llmkit: Command, run: Path) -> None:
        done = llmkit("evaluate", run, "--format", look, "--resamples", "10", "--worst", "1")

        assert done.code == 0, done.stderr
        for part in ("accuracy", "95 % from", "Each class", "middling", "Expected (rows)", "test.jsonl:"):
            assert part in done.text

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["--task", "nonsense"], "no such training task: 'nonsense'"),
            (
                ["--metric", "acuracy"],
                "error: --metric: no such metric: 'acuracy'; did you mean accuracy?\nThere",
            ),
            (
                ["--metric", "perplexity"],
                "error: --metric: the metric perplexity does not fit text-classification: ",
            ),
            (
                ["--metric", "squad"],
                "error: --metric: the metric squad does not fit text-classification: it takes answers",
            ),
            (
                ["--metric", "mse"],
                "error: the metric mse does not fit text-classification: it takes numbers, and",
            ),
            (["--metric", "f1"], "error: the metric f1 does not fit text-classification: "),
            (["--max-rows", "0"], "--max-rows 0: it should be 1 or more."),
            (["--batch-size", "many"], "--batch-size many: it should be auto, or a whole number, 1 or more."),
            (["--seed", "-1"], "error: --seed -1: it should be 0 or more."),
            (
                ["--resamples", "1000001"],
                "--resamples 1000001: it should be from 0, for no intervals, to 1,000,000.",
            ),
            (
                ["--columns", "txt=text"],
                "error: --columns txt: text-classification takes no such field; did you mean text?",
            ),
            (["--format", "xml"], "--format xml: no such format"),
            (["--columns", "text"], "--columns text: write it as"),
            (["--columns", "text=reviw"], "no column 'reviw'"),
            (["--data", "missing.csv"], "missing.csv"),
            (["--device", "gpuu"], "gpuu"),
            (["--confidence", "100%"], "--confidence 100%: it should be below 1."),
            (["--confidence", "0"], "--confidence 0: it should be above 0."),
            (["--confidence", "95"], "--confidence 95: it should be below 1.\nWrite it as 0.95 or 95%."),
            (
                ["--data", __file__, "--format", "json", "-o", __file__, "--overwrite"],
                f"--output {__file__} is the input.",
            ),
            # Said before anything is judged: the metric would be refused then.
            (["--metric", "f1", "--format", "json", "-o", __file__], "test_evaluating.py is there already."),
            (["--worst", "-1"], "--worst -1"),
        ],
    )
    def test_wrong_calls(self, arguments: list[str], said: str, llmkit: Command, run: Path) -> None:
        done = llmkit("evaluate", run, *arguments)

        assert done.code == 2
        assert said in done.stderr
        assert done.text == ""
