"""question-answering: spans by character become spans of tokens, parts are judged as one question."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

from llmkit.errors import DataError
from llmkit.tasks.question_answering import QuestionAnsweringPipeline
from llmkit.training.evaluation import Judged
from llmkit.training.objectives.question_answering import QuestionAnswering
from llmkit.training.run import figures_of, finetune
from llmkit.training.state import Run
from tests.fixtures.tiny import vocabulary
from tests.training.stepping import (
    SPLITS,
    assert_same_step,
    config_for,
    first_step,
    plain_step,
    ready,
    write_rows,
)

TASK = "question-answering"
Tiny = Callable[[str], Path]

PARIS = "Paris is the capital of France, and Rome is the capital of Italy."
MEAL = "That was the worst meal I have had in years, cold and tasteless."


def row(question: str, context: str, *answers: str) -> dict[str, Any]:
    starts = [context.index(answer) for answer in answers]
    return {
        "question": question,
        "context": context,
        "answers": {"text": list(answers), "answer_start": starts},
    }


ROWS = [
    row("What is the capital of France?", PARIS, "Paris"),
    row("Where is Rome?", PARIS, "Italy", "of Italy"),
    row("How was the meal?", MEAL, "cold and tasteless"),
    row("Who?", "John Smith", "John Smith"),
    row("How many?", "people: 2019", "2019"),
]
UNANSWERED = row("Who acted?", MEAL)


def run_on(tiny: Tiny, folder: Path, rows: list[dict[str, Any]], **sections: Any) -> Run:
    return ready(config_for(TASK, tiny(TASK), folder, write_rows(folder / "train.jsonl", rows), **sections))


def objective_for(tokenizer: Any, folder: Path, **data: Any) -> QuestionAnswering:
    objective = QuestionAnswering(config_for(TASK, folder, folder, "train.json", data=data), tokenizer)
    objective.study([*ROWS, UNANSWERED])
    return objective


def plain_loss(run: Run, rows: list[dict[str, Any]]) -> torch.Tensor:
    """The mean over rows of the losses that the model itself gives for one row, which has no padding."""
    losses = []
    for each in rows:
        encoded = run.objective.tokenizer(each["question"], each["context"], return_tensors="pt")
        positions = torch.zeros(2, 1, dtype=torch.long)
        if each["answers"]["text"]:
            start = each["answers"]["answer_start"][0]
            end = start + len(each["answers"]["text"][0]) - 1
            positions[0, 0] = encoded.char_to_token(0, start, sequence_index=1)
            positions[1, 0] = encoded.char_to_token(0, end, sequence_index=1)
        losses.append(run.model(**encoded, start_positions=positions[0], end_positions=positions[1]).loss)
    return torch.stack(losses).mean()


class TestStep:
    @pytest.mark.parametrize("split", SPLITS)
    def test_spans(self, tiny: Tiny, tmp_path: Path, split: str) -> None:
        run = run_on(tiny, tmp_path, [*ROWS, UNANSWERED], training=SPLITS[split])
        assert_same_step(first_step(run), plain_step(run.model, plain_loss(run, [*ROWS, UNANSWERED])))

    @pytest.mark.parametrize("split", ["whole", "padded", "sorted"])
    def test_parts(self, tiny: Tiny, tmp_path: Path, split: str) -> None:
        data = {"max_length": 24, "stride": 4}
        run = run_on(tiny, tmp_path, ROWS, data=data, training=SPLITS[split])
        examples = run.data.train.take(range(len(run.data.train)))
        assert len(examples) > len(ROWS)
        losses = []
        for each in examples:
            output = run.model(
                torch.tensor([each["input_ids"]]), token_type_ids=torch.tensor([each["token_type_ids"]])
            )
            first = functional.cross_entropy(output.start_logits, torch.tensor([each["first"]]))
            last = functional.cross_entropy(output.end_logits, torch.tensor([each["last"]]))
            losses.append((first + last) / 2)
        assert_same_step(first_step(run), plain_step(run.model, torch.stack(losses).mean()))


class TestParts:
    @pytest.mark.parametrize("name", ["bert", "bart", "gpt", "t5", "chat"])
    @pytest.mark.parametrize("length", [28, 384])
    def test_the_span_is_the_answer(self, tmp_path: Path, name: str, length: int) -> None:
        tokenizer = getattr(vocabulary, name)()
        objective = objective_for(tokenizer, tmp_path, max_length=length, stride=6)
        for each in ROWS[3:] if name in {"gpt", "t5", "chat"} and length == 28 else ROWS:
            examples = objective.encode(each)
            held = [one for one in examples if one["first"] != one["nothing"]]
            assert held or length == 28
            for one in held:
                assert len(one["input_ids"]) <= length
                text = each["context"][one["starts"][one["first"]] : one["ends"][one["last"]]]
                assert text.strip() == each["answers"]["text"][0]

    def test_parts_overlap_and_cover(self, tmp_path: Path) -> None:
        objective = objective_for(vocabulary.bert(), tmp_path, max_length=20, stride=5)
        examples = objective.encode(row("Who?", " ".join([PARIS] * 3), "Paris"))
        assert [one["part"] for one in examples] == list(range(len(examples)))
        seen: list[list[int]] = [[start for start in one["starts"] if start >= 0] for one in examples]
        for before, after in itertools.pairwise(seen):
            assert before[-5:] == after[:5]
        held = [one["part"] for one in examples if one["first"] != one["nothing"]]
        assert held == [0]

    def test_no_answer_is_the_first_token(self, tmp_path: Path) -> None:
        example = objective_for(vocabulary.bert(), tmp_path).encode(UNANSWERED)[0]
        assert (example["first"], example["last"]) == (0, 0)
        assert example["input_ids"][0] == vocabulary.bert().cls_token_id

    def test_length_by_default(self, tmp_path: Path) -> None:
        assert objective_for(vocabulary.bert(), tmp_path).max_length == 384


class TestAnswers:
    @pytest.mark.parametrize(
        "columns",
        [
            {"answers": {"text": ["Rome"], "answer_start": [36]}},
            {"answers": {"text": ["Rome"], "answer_start": ["36"]}},
            {"answers": [{"text": "Rome", "answer_start": 36}]},
            {"answers": json.dumps({"text": ["Rome"], "answer_start": [36]})},
            {"answer": "Rome", "answer_start": 36},
            {"answer": "Rome", "answer_start": "36"},
            {"answer_text": "Rome"},
            {"answer": " Rome ", "answer_start": 35},
        ],
    )
    def test_shapes(self, tiny: Tiny, tmp_path: Path, columns: dict[str, Any]) -> None:
        run = run_on(tiny, tmp_path, [{"question": "Which?", "context": PARIS, **columns}])
        example = run.data.train.take([0])[0]
        assert json.loads(example["answers"]) == {"text": ["Rome"], "answer_start": [36]}

    @pytest.mark.parametrize("nothing", [None, "", [], {"text": [], "answer_start": []}, "[]"])
    def test_none(self, tiny: Tiny, tmp_path: Path, nothing: Any) -> None:
        rows = [ROWS[0], {"question": "Who?", "context": PARIS, "answers": nothing}]
        assert run_on(tiny, tmp_path, rows).objective.metrics_for() == ("squad_v2",)

    @pytest.mark.parametrize(
        ("columns", "message", "hint"),
        [
            (
                {"answers": {"text": ["Rome"], "answer_start": [3]}},
                "the answer 'Rome' does not stand at character 3 of the context: there is 'is i'",
                "It stands at 36.",
            ),
            ({"answer": "Rome", "answer_start": -1}, "does not stand at character -1", "It stands at 36."),
            ({"answer": "Rome", "answer_start": 999}, "does not stand at character 999", "It stands at 36."),
            ({"answer": "Bonn", "answer_start": 0}, "does not stand at", "It stands nowhere in the context."),
            ({"answer": "Bonn"}, "the answer 'Bonn' does not stand in the context", None),
            ({"answer": "capital"}, "the answer 'capital' stands 2 times in the context", "Say which one"),
            (
                {"answer": "Rome", "answer_start": "x"},
                "the place 'x' of the answer 'Rome' is no whole number",
                None,
            ),
            ({"answer": 7}, "the answer 7 is no text", None),
            ({"answers": {"text": ["Rome"], "answer_start": []}}, "1 answers and 0 places", None),
            ({"answers": {"start": 3}}, "have no text", None),
            ({"answer": "Rome", "question": " "}, "the question is no text", None),
            ({"answer": "Rome", "context": ""}, "the context is empty", None),
        ],
    )
    def test_bad_rows(
        self, tiny: Tiny, tmp_path: Path, columns: dict[str, Any], message: str, hint: str | None
    ) -> None:
        one = {"question": "Which?", "context": PARIS, "answer_start": None}
        rows = [
            {"question": "Which?", "context": PARIS, "answers": None, "answer": "Italy", "answer_start": None}
        ]
        del rows[0]["answers"]
        with pytest.raises(DataError) as caught:
            run_on(tiny, tmp_path, [*rows, one | columns])
        assert caught.value.message.startswith(f"{tmp_path / 'train.jsonl'}:2: ")
        assert message in caught.value.message
        assert hint is None or (caught.value.hint or "").startswith(hint)

    def test_none_in_validation_alone(self, tiny: Tiny, tmp_path: Path) -> None:
        validation = write_rows(tmp_path / "dev.jsonl", [ROWS[0], UNANSWERED])
        with pytest.raises(DataError, match=r"dev\.jsonl:2: the question has no answer"):
            run_on(tiny, tmp_path, ROWS, data={"validation": validation})

    def test_none_at_all(self, tiny: Tiny, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="no question of the training rows has an answer"):
            run_on(tiny, tmp_path, [UNANSWERED])

    def test_a_question_that_fills_the_part(self, tiny: Tiny, tmp_path: Path) -> None:
        long = row("How many people live in the city? " * 3, PARIS, "Rome")
        with pytest.raises(
            DataError, match=r"train\.jsonl:2: the question leaves no room for the context in 20"
        ):
            run_on(tiny, tmp_path, [ROWS[3], long], data={"max_length": 20})


class TestJudging:
    def test_parts_are_one_question(self, tmp_path: Path) -> None:
        objective = objective_for(vocabulary.bert(), tmp_path)
        found = [
            {"part": 0, "answer": "a", "score": 0.1, "nothing": 0.5},
            {"part": 1, "answer": "b", "score": 0.3, "nothing": 0.2},
            {"part": 0, "answer": "c", "score": 0.1, "nothing": 0.4},
        ]
        gold = [json.dumps({"text": ["b"]}), json.dumps({"text": ["b"]}), json.dumps({"text": []})]
        settled = objective.settle(Judged(1.0, found, gold))
        assert settled.predictions == ["b", ""]
        assert settled.references == [{"text": ["b"]}, {"text": []}]
        objective.unanswerable = False
        assert objective.settle(Judged(1.0, found, gold)).predictions == ["b", "c"]

    def test_one_prediction_a_question(self, tiny: Tiny, tmp_path: Path) -> None:
        context = " ".join([MEAL, PARIS] * 4)
        rows = [*ROWS, row("Who?", context, "France"), UNANSWERED]
        run = run_on(tiny, tmp_path, rows, data={"max_length": 40, "stride": 10})
        assert len(run.data.train) > len(rows)
        figures = figures_of(run, run.data.train, "eval")
        assert figures["eval_total"] == len(rows)
        assert figures["eval_HasAns_total"] == len(rows) - 1

    def test_the_answer_is_the_pipelines(self, tiny: Tiny, tmp_path: Path) -> None:
        run = run_on(tiny, tmp_path, ROWS)
        run.model.eval()
        batch = run.objective.collate(run.data.train.take([0]), [])
        with torch.inference_mode():
            _, found, _ = run.objective.judge(run.model, batch)
        pipeline = QuestionAnsweringPipeline(model=run.model, tokenizer=run.objective.tokenizer)
        answer = pipeline(
            question=ROWS[0]["question"], context=PARIS, max_answer_len=30, align_to_words=False
        )
        assert found[0]["answer"] == answer["answer"]
        assert found[0]["score"] == pytest.approx(answer["score"], abs=1e-6)


def test_learning(tiny: Tiny, tmp_path: Path) -> None:
    cities = ("Berlin", "Rome", "Paris", "New York")
    before = ("The dog lives in", "In 2019 people want", "John Smith and", "music, sports and", "a photo of")
    after = ("is the city", "and the fox", "or politics. Hello", "twice", ", yes")
    rows = [
        row("Which city?", f"{first} {city} {last}", city)
        for number, first in enumerate(before)
        for place, last in enumerate(after)
        for city in (cities[(number + place) % 4], cities[(number + place + 1) % 4])
    ]
    document = {
        "version": "1.1",
        "data": [
            {
                "title": "Cities",
                "paragraphs": [
                    {
                        "context": each["context"],
                        "qas": [
                            {
                                "id": str(number),
                                "question": each["question"],
                                "answers": [
                                    {"text": text, "answer_start": start}
                                    for text, start in zip(*each["answers"].values(), strict=True)
                                ],
                            }
                        ],
                    }
                    for number, each in enumerate(rows)
                ],
            }
        ],
    }
    train = tmp_path / "train.json"
    train.write_text(json.dumps(document), encoding="utf-8")
    training = {"epochs": 20, "learning_rate": 3e-3, "batch_size": 10}
    config = config_for(TASK, tiny(TASK), tmp_path, str(train), data={"validation": 0.2}, training=training)
    run = finetune(config, device="cpu")
    assert run.figures["eval_exact_match"] >= 80
    assert run.figures["eval_f1"] >= 80
