"""``--check`` shows for every task what the model will see and what it is to learn of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmkit.cli.finetune_check import sheets
from llmkit.cli.sheets import as_markdown
from llmkit.training.checking import check_run
from llmkit.training.objectives import OBJECTIVES
from llmkit.training.state import Listener
from tests.training.rows import SENTENCES, TRIALS
from tests.training.stepping import config_for, write_rows

Tiny = Callable[[str], Path]


def checked(tiny: Tiny, folder: Path, task: str, train: str, **sections: Any) -> dict[str, Any]:
    trial = TRIALS[task]
    model = {"config": {}, **sections.pop("model", {})}
    config = config_for(task, tiny(trial.start), folder, train, model=model, **sections)
    return check_run(config, device="cpu", listener=Listener())


def trial(tiny: Tiny, folder: Path, task: str) -> dict[str, Any]:
    train = TRIALS[task].write(folder)
    data = {**TRIALS[task].data, "validation": [train]}
    return checked(tiny, folder, task, train, data=data)


@pytest.mark.parametrize("task", OBJECTIVES)
def test_it_is_told_to_programs_and_to_people(tiny: Tiny, tmp_path: Path, task: str) -> None:
    found = trial(tiny, tmp_path, task)

    assert json.loads(json.dumps(found)) == found
    assert found["in_train_and_validation"] == found["sets"]["validation"]["examples"]
    text = as_markdown(list(sheets(found, "run.yaml")))
    assert f"run.yaml: {task}" in text
    assert Path(found["examples"][0]["place"]).name in text
    assert "Validation rows that are learned from make the figures too good." in text


def targets(example: dict[str, Any]) -> list[tuple[str, str]]:
    """The tokens that have a target, with it."""
    pairs = zip(example["tokens"], example["label"], strict=True)
    return [(token, label) for token, label in pairs if label]


class TestWhatIsLearned:
    def test_a_class(self, tiny: Tiny, tmp_path: Path) -> None:
        assert trial(tiny, tmp_path, "text-classification")["examples"][0]["label"] == "a"

    def test_several_classes_at_once(self, tiny: Tiny, tmp_path: Path) -> None:
        rows = [{"text": "a film", "label": ["x", "z"]}, {"text": "no", "label": ["y"]}]
        train = write_rows(tmp_path / "train.jsonl", rows)
        found = checked(tiny, tmp_path, "text-classification", train)
        assert [each["label"] for each in found["examples"]] == [["x", "z"], ["y"]]

    def test_a_number(self, tiny: Tiny, tmp_path: Path) -> None:
        rows = [{"text": "a film", "label": 0.5}, {"text": "no", "label": 2}]
        train = write_rows(tmp_path / "train.jsonl", rows)
        found = checked(tiny, tmp_path, "text-classification", train)
        assert [each["label"] for each in found["examples"]] == [0.5, 2.0]

    def test_a_tag_for_each_word(self, tiny: Tiny, tmp_path: Path) -> None:
        example = trial(tiny, tmp_path, "token-classification")["examples"][0]
        assert [label for _, label in targets(example)] == ["B-x"] * len(SENTENCES[0].split())
        assert example["label"][0] == ""  # of the token that begins the text

    def test_the_words_of_an_answer(self, tiny: Tiny, tmp_path: Path) -> None:
        example = trial(tiny, tmp_path, "question-answering")["examples"][0]
        answer = SENTENCES[0].split()[0].lower()
        assert "".join(example["label"]).replace("##", "").lower() == answer

    def test_the_tokens_that_are_masked(self, tiny: Tiny, tmp_path: Path) -> None:
        found = trial(tiny, tmp_path, "masked-lm")["examples"]
        assert all(targets(example) for example in found)
        assert any(token != label for example in found for token, label in targets(example))

    def test_masked_tokens_and_whether_the_text_follows(self, tiny: Tiny, tmp_path: Path) -> None:
        example = trial(tiny, tmp_path, "next-sentence")["examples"][0]
        assert len(example["label"]) == len(example["tokens"])
        assert example["label"][0] in ("follows", "random")

    def test_the_completion_alone(self, tiny: Tiny, tmp_path: Path) -> None:
        example = trial(tiny, tmp_path, "causal-lm")["examples"][0]
        learned = targets(example)
        assert all(token == label for token, label in learned)
        assert [label for label in example["label"] if not label]  # the prompt
        assert len(learned) < len(example["tokens"])

    def test_both_answers_of_a_preference(self, tiny: Tiny, tmp_path: Path) -> None:
        example = trial(tiny, tmp_path, "preference")["examples"][0]
        assert [len(each) for each in example["label"]] == [len(each) for each in example["tokens"]]


class TestRows:
    def test_blank_lines_are_no_duplicates(self, tiny: Tiny, tmp_path: Path) -> None:
        train = tmp_path / "train.txt"
        train.write_text("a film\n\n\nthe dog\na film\n")
        found = checked(tiny, tmp_path, "masked-lm", str(train))
        assert (found["duplicate_rows"], found["empty_rows"]) == (1, 2)

    def test_samples_of_packed_rows_are_found_in_the_other_set(self, tiny: Tiny, tmp_path: Path) -> None:
        train, held = tmp_path / "train.txt", tmp_path / "held.txt"
        train.write_text("a film\nthe dog\nParis\n")
        held.write_text("the dog\nno\n")
        data = {"validation": [str(held)], "max_length": 32}
        training = {"batching": "packed"}
        found = checked(tiny, tmp_path, "masked-lm", str(train), data=data, training=training)
        assert found["in_train_and_validation"] == 1


def test_rows_that_texts_fill_are_not_cut(tiny: Tiny, tmp_path: Path) -> None:
    trial = TRIALS["masked-lm"]
    train = write_rows(tmp_path / "short.jsonl", [{"text": "a"}] * 8)
    length = {"max_length": 6}  # two samples of three tokens
    found = checked(
        tiny, tmp_path, "masked-lm", train, data={**trial.data, **length}, training={"batching": "packed"}
    )

    assert (found["sets"]["train"]["longest"], found["sets"]["train"]["cut"]) == (6, 0.0)


def test_several_texts_of_a_row_are_cut_each_by_itself(tiny: Tiny, tmp_path: Path) -> None:
    rows = [{"anchor": "a", "positive": "b"}, {"anchor": "a " * 20, "positive": "b"}]
    train = write_rows(tmp_path / "pairs.jsonl", rows)
    found = checked(tiny, tmp_path, "sentence-embedding", train, data={"max_length": 6})

    assert found["sets"]["train"]["cut"] == 0.5
