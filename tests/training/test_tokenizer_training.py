"""Tokenizers trained for a run: the same for the same texts, with the special tokens of the architecture."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import transformers

from llmkit.errors import DataError, UsageError
from llmkit.training.config import TokenizerSection
from llmkit.training.config_file import check_config
from llmkit.training.origin import find_origin
from llmkit.training.run import finetune
from llmkit.training.tokenizer_training import BERT, DECODER, ROBERTA, T5, specials_for, train
from tests.fixtures.tiny.vocabulary import CORPUS
from tests.training.stepping import write_rows

KINDS = ("wordpiece", "bpe", "unigram")
TEXTS = [f"{text} Ünïcode {number}" for number, text in enumerate(CORPUS * 5)]
Tiny = Callable[[str], Path]

AGAIN = """
import json, sys
from llmkit.training.config import TokenizerSection
from llmkit.training.tokenizer_training import BERT, train
texts = json.load(open(sys.argv[1]))
print(train(texts, TokenizerSection(train=sys.argv[2], vocab_size=400, lowercase=True), BERT).to_str())
"""


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_texts_give_the_same_tokenizer(tmp_path: Path, kind: str) -> None:
    settings = TokenizerSection(train=kind, vocab_size=400, lowercase=True)
    here = [train(iter(TEXTS), settings, BERT).to_str() for _ in range(3)]
    file = tmp_path / "texts.json"
    file.write_text(json.dumps(TEXTS), encoding="utf-8")
    there = [
        subprocess.run(
            [sys.executable, "-c", AGAIN, str(file), kind], capture_output=True, text=True, check=True
        )
        for _ in range(2)
    ]
    assert {
        json.dumps(json.loads(each), sort_keys=True) for each in [*here, *(run.stdout for run in there)]
    } == {json.dumps(json.loads(here[0]), sort_keys=True)}


@pytest.mark.parametrize("kind", KINDS)
def test_size_and_round_trip(kind: str) -> None:
    tokenizer = train(TEXTS, TokenizerSection(train=kind, vocab_size=400), DECODER)
    assert 150 <= tokenizer.get_vocab_size() <= 400
    assert [tokenizer.token_to_id(token) for token in DECODER.tokens] == [0, 1, 2]
    text = "Paris is the capital of France"
    assert tokenizer.decode(tokenizer.encode(text).ids).strip() == text


@pytest.mark.parametrize(("lowercase", "expected"), [(True, True), (False, False)])
@pytest.mark.parametrize("kind", KINDS)
def test_lower_case(kind: str, lowercase: bool, expected: bool) -> None:
    tokenizer = train(TEXTS, TokenizerSection(train=kind, vocab_size=400, lowercase=lowercase), BERT)
    assert (tokenizer.encode("PARIS").ids == tokenizer.encode("paris").ids) == expected


@pytest.mark.parametrize(
    ("config", "specials"),
    [
        (transformers.BertConfig(), BERT),
        (transformers.DistilBertConfig(), BERT),
        (transformers.ElectraConfig(), BERT),
        (transformers.RobertaConfig(), ROBERTA),
        (transformers.BartConfig(), ROBERTA),
        (transformers.T5Config(), T5),
        (transformers.GPT2Config(), DECODER),
        (transformers.LlamaConfig(), DECODER),
    ],
    ids=lambda value: getattr(value, "model_type", ""),
)
def test_special_tokens(config: Any, specials: Any) -> None:
    assert specials_for(config) is specials


def config_for(folder: Path, rows: list[dict[str, Any]], **sections: Any) -> Any:
    small = {
        "num_hidden_layers": 1,
        "hidden_size": 32,
        "intermediate_size": 64,
        "max_position_embeddings": 64,
    }
    values = {
        "task": "masked-lm",
        "model": {"name": "bert-tiny", "from_scratch": True, "config": small},
        "tokenizer": {"train": "wordpiece", "vocab_size": 300, "lowercase": True},
        "data": {"train": write_rows(folder / "train.jsonl", rows)},
        "training": {"max_steps": 4, "save_steps": 2, "batch_size": 8, "precision": "float32"},
        "output": str(folder / "run"),
    }
    return check_config(values | sections, "test.yaml")


ROWS = [{"text": text} for text in CORPUS]


class TestInARun:
    def test_from_scratch(self, tmp_path: Path) -> None:
        """An architecture of the catalogue, with the vocabulary and the special tokens of the tokenizer."""
        run = finetune(config_for(tmp_path, ROWS), device="cpu")
        tokenizer = transformers.AutoTokenizer.from_pretrained(run.output)
        model = transformers.AutoModelForMaskedLM.from_pretrained(run.output)
        assert model.config.vocab_size == len(tokenizer) <= 300
        assert model.config.pad_token_id == tokenizer.pad_token_id == 0
        assert tokenizer.model_max_length == 64
        encoded = tokenizer("the dog", "the fox")
        assert tokenizer.decode(encoded["input_ids"]) == "[CLS] the dog [SEP] the fox [SEP]"
        assert sorted(set(encoded["token_type_ids"])) == [0, 1]
        assert encoded["input_ids"] == run.objective.tokenizer("the dog", "the fox")["input_ids"]

    def test_the_same_again(self, tmp_path: Path) -> None:
        config = config_for(tmp_path, ROWS)
        identities = []
        for name in ("first", "second"):
            run = finetune(config.model_copy(update={"output": str(tmp_path / name)}), device="cpu")
            identities.append(run.data.train.identity)
        weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("first", "second")]
        assert identities[0] == identities[1]
        assert weights[0] == weights[1]

    def test_another_vocabulary_is_another_run(self, tmp_path: Path) -> None:
        first = config_for(tmp_path, ROWS)
        finetune(first, device="cpu")
        other = config_for(tmp_path, ROWS, tokenizer={"train": "bpe", "vocab_size": 400})
        with pytest.raises(UsageError, match=r'tokenizer\.train: "wordpiece" before, "bpe" now'):
            finetune(other, resume=True, device="cpu")
        with pytest.raises(UsageError, match=r"another config, data or tokenizer"):
            finetune(config_for(tmp_path, [*ROWS, {"text": "zebra"}]), resume=True, device="cpu")

    def test_a_model_with_weights(self, tiny: Tiny, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="would not fit the weights"):
            config_for(tmp_path, ROWS, model={"name": str(tiny("fill-mask"))})

    def test_the_architecture_of_a_folder(self, tiny: Tiny, tmp_path: Path) -> None:
        folder = tmp_path / "architecture"
        folder.mkdir()
        (folder / "config.json").write_text((tiny("fill-mask") / "config.json").read_text())
        run = finetune(
            config_for(tmp_path, ROWS, model={"name": str(folder), "from_scratch": True}), device="cpu"
        )
        assert run.model.config.vocab_size == len(run.objective.tokenizer)
        assert run.progress.step == 4

    def test_no_text(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="no text in the training rows to train a tokenizer on"):
            find_origin(config_for(tmp_path, [{"text": " "}]))

    def test_texts_of_chats_and_labels(self, tmp_path: Path) -> None:
        rows = [
            {"messages": [{"role": "user", "content": "quokka"}, {"role": "assistant", "content": "wombat"}]},
            {"text": "numbat", "label": "ignored"},
        ]
        config = config_for(
            tmp_path, rows * 20, task="causal-lm", tokenizer={"train": "wordpiece", "vocab_size": 300}
        )
        vocabulary = find_origin(config).tokenizer.get_vocab()
        assert {"quokka", "wombat", "numbat"} <= vocabulary.keys()
        assert not {"assistant", "ignored"} & vocabulary.keys()
