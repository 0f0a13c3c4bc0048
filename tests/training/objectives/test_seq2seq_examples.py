"""seq2seq: what becomes of a row: targets that always end, prefixes, columns, languages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from llmkit.errors import DataError, UsageError
from llmkit.training.checking import check_run
from llmkit.training.objectives.batch import IGNORED
from llmkit.training.objectives.seq2seq import Seq2Seq
from llmkit.training.state import Listener
from tests.fixtures.tiny import vocabulary
from tests.training.objectives.seq2seq_rows import ROWS, TASK, Tiny, run_on
from tests.training.stepping import config_for, ready, write_rows

MULTILINGUAL = Path(__file__).parents[2] / "tasks" / "golden" / "models" / "mbart50"


class TestExamples:
    def objective(self, tokenizer: Any, folder: Path, **data: Any) -> Seq2Seq:
        return Seq2Seq(config_for(TASK, folder, folder, "train.jsonl", data=data), tokenizer)

    @pytest.mark.parametrize("name", ["t5", "bart", "bert", "gpt"])
    @pytest.mark.parametrize("length", [6, 60])
    def test_a_target_ends_though_it_is_cut(self, tmp_path: Path, name: str, length: int) -> None:
        objective = self.objective(getattr(vocabulary, name)(), tmp_path, max_target_length=length)
        example = objective.encode({"source": "Yes", "target": "Paris is the capital of France"})[0]
        assert len(example["labels"]) <= length
        assert example["labels"].index(objective.end) == len(example["labels"]) - 1
        assert example["cut"] == (length == 6)
        assert "token_type_ids" not in example

    def test_padding_that_is_the_end_token_is_no_target(self, tmp_path: Path) -> None:
        objective = self.objective(vocabulary.gpt(), tmp_path)
        rows = [{"source": "Yes", "target": text} for text in ("No", "The lazy dog jumps over the fox")]
        examples = [objective.encode(row)[0] for row in rows]
        batch = objective.collate(examples, [])
        assert objective.tokenizer.pad_token_id == objective.end
        assert (batch.labels == objective.end).sum(1).tolist() == [1, 1]
        assert batch.targets == float((batch.labels != IGNORED).sum())
        assert batch.tokens == sum(objective.length_of(each) for each in examples)
        assert batch.padded == batch.inputs["input_ids"].numel() + batch.labels.numel()

    def test_targets_are_padded_on_the_right_whatever_side_sources_are(self, tmp_path: Path) -> None:
        tokenizer = vocabulary.t5()
        tokenizer.padding_side = "left"
        objective = self.objective(tokenizer, tmp_path)
        batch = objective.collate([objective.encode(row)[0] for row in ROWS], [])
        assert (batch.inputs["attention_mask"][:, -1] == 1).all()
        assert (batch.labels[:, 0] != IGNORED).all()

    def test_a_prefix(self, tiny: Tiny, tmp_path: Path) -> None:
        run = run_on(tiny("translation"), tmp_path, ROWS, data={"prefix": "This is: "})
        ids = run.objective.tokenizer("This is: Paris is the capital of France.")["input_ids"]
        assert run.data.train.take([1])[0]["input_ids"] == ids
        assert run.model.config.prefix == "This is: "

    @pytest.mark.parametrize(
        ("row", "data"),
        [
            ({"source": "a", "target": "b"}, {}),
            ({"text": "a", "summary": "b"}, {}),
            ({"input": "a", "output": "b"}, {}),
            ({"src": "a", "tgt": "b"}, {}),
            ({"document": "a", "summary": "b"}, {}),
            ({"article": "a", "highlights": "b", "id": "1"}, {}),
            ({"de": "c", "en": "a", "es": "b"}, {"columns": {"source": "en", "target": "es"}}),
            ({"text": "c", "en": "a", "es": "b"}, {"source_language": "en", "target_language": "es_XX"}),
            ({"translation": {"en": "a", "es": "b"}}, {"columns": {"source": "en", "target": "es"}}),
            ({"translation": {"es": "b", "en": "a"}}, {"source_language": "en", "target_language": "es"}),
            ({"translation": '{"en": "a", "es": "b"}'}, {"source_language": "en", "target_language": "es"}),
        ],
    )
    def test_columns(self, tiny: Tiny, tmp_path: Path, row: dict[str, Any], data: dict[str, Any]) -> None:
        run = run_on(tiny("translation"), tmp_path, [row], data=data)
        example = run.data.train.take([0])[0]
        assert example["target"] == "b"
        assert example["input_ids"] == run.objective.tokenizer("a")["input_ids"]

    @pytest.mark.parametrize(
        ("row", "message"),
        [
            ({"source": "", "target": "a"}, r"train\.jsonl:2: the source is empty"),
            ({"source": "a", "target": " "}, r"train\.jsonl:2: the target is empty"),
            ({"source": "a", "target": None}, r"train\.jsonl:2: the target is empty"),
            ({"source": 7, "target": "a"}, r"train\.jsonl:2: the source 7 is no text"),
            ({"source": "a", "target": ["b"]}, r"train\.jsonl:2: the target \['b'\] is no text"),
            ({"source": "a"}, r"no column 'target' in .*train\.jsonl; its columns are: source"),
            ({"source": "dog " * 40, "target": "a"}, r"train\.jsonl:2: \d+ tokens, 30 are allowed"),
            (
                {"source": "a", "target": "dog " * 40},
                r"train\.jsonl:2: the target has \d+ tokens, 20 are allowed",
            ),
        ],
    )
    def test_bad_rows(self, tiny: Tiny, tmp_path: Path, row: dict[str, Any], message: str) -> None:
        data = {"max_length": 30, "max_target_length": 20, "truncate": False}
        with pytest.raises(DataError, match=message):
            run_on(tiny("translation"), tmp_path, [{"source": "a", "target": "b"}, row], data=data)

    def test_languages_as_columns_need_to_be_named(self, tiny: Tiny, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="its columns are: en, es") as caught:
            run_on(tiny("translation"), tmp_path, [{"translation": {"en": "a", "es": "b"}}])
        assert "data.columns: {source: en, target: es}" in str(caught.value.hint)

    def test_what_check_shows(self, tiny: Tiny, tmp_path: Path) -> None:
        train = write_rows(tmp_path / "train.jsonl", ROWS)
        config = config_for(
            TASK, tiny("translation"), tmp_path, train, model={"config": {}}, data={"max_target_length": 6}
        )
        found = check_run(config, device="cpu", listener=Listener())
        shown = found["examples"][1]
        assert shown["label"][-1] == shown["tokens"][-1] == "</s>"
        limits = [example["cut"] for example in ready(config).data.train.take(range(len(ROWS)))]
        assert found["sets"]["train"]["cut"] == sum(limits) / len(ROWS)
        assert 0 < sum(limits) < len(ROWS)


class TestLanguages:
    def test_both_are_told_and_the_model_answers_in_one(self, tmp_path: Path) -> None:
        rows = [{"en": "hello", "es": "hello"}]
        run = run_on(
            MULTILINGUAL,
            tmp_path,
            rows,
            data={"source_language": "en_XX", "target_language": "es_XX"},
        )
        example, tokenizer = run.data.train.take([0])[0], run.objective.tokenizer
        assert tokenizer.decode(example["input_ids"][:1]) == "en_XX"
        assert tokenizer.decode(example["labels"][:1]) == "es_XX"
        assert example["labels"][-1] == tokenizer.eos_token_id
        spanish = tokenizer.convert_tokens_to_ids("es_XX")
        assert run.model.generation_config.forced_bos_token_id == spanish
        written = run.model.generate(torch.tensor([example["input_ids"]]), max_new_tokens=3)
        assert written[0, 1] == spanish

    @pytest.mark.parametrize(
        ("data", "message"),
        [
            ({}, "many languages: data.source_language is needed"),
            ({"source_language": "en_XX"}, "many languages: data.target_language is needed"),
            (
                {"source_language": "en", "target_language": "es_XX"},
                "data.source_language='en' is no language of this model: did you mean en_XX",
            ),
        ],
    )
    def test_what_is_missing_or_unknown(self, tmp_path: Path, data: dict[str, str], message: str) -> None:
        with pytest.raises(UsageError, match=message):
            run_on(MULTILINGUAL, tmp_path, ROWS, data=data)
