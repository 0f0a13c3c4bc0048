"""seq2seq: targets that always end, decoder inputs as the architecture has them, judged by what is generated."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sacrebleu
import torch
import transformers
from torch.nn import functional

from llmkit.errors import DataError, MissingExtraError, UsageError
from llmkit.training.checking import check_run
from llmkit.training.objectives.batch import IGNORED
from llmkit.training.objectives.seq2seq import Seq2Seq
from llmkit.training.run import figures_of, finetune
from llmkit.training.state import Listener, Run
from tests.fixtures.tiny import vocabulary
from tests.fixtures.tiny.checkpoint import random_model, save
from tests.training.objectives.test_resumed_masks import StopAt
from tests.training.stepping import (
    SPLITS,
    assert_same_step,
    config_for,
    first_step,
    plain_step,
    ready,
    write_rows,
)

TASK = "seq2seq"
Tiny = Callable[[str], Path]

MULTILINGUAL = Path(__file__).parents[2] / "tasks" / "golden" / "models" / "mbart50"
# Their dropout is called otherwise than BERT's; the rates of BART's attention and activations are 0 by default.
PLAIN = {
    "translation": {"config": {"dropout_rate": 0.0}},  # T5
    "summarization": {"config": {"dropout": 0.0}},  # BART
}
ROWS = [
    {"source": "The quick brown fox jumps over the lazy dog.", "target": "The fox jumps."},
    {"source": "Paris is the capital of France.", "target": "Paris"},
    {"source": "Yes", "target": "I was charged twice and want a refund."},
    {"source": "How many people live in the city?", "target": "2019"},
    {"source": "This film was a delight.", "target": "Yes"},
]


@pytest.fixture(scope="module")
def starts(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Models by task. T5's weights are smaller than the tiny model's, whose attention magnifies rounding."""
    folder = tmp_path_factory.mktemp("t5")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny("translation"))
    config = transformers.AutoConfig.from_pretrained(tiny("translation"), initializer_factor=1.0)
    model = random_model(transformers.T5ForConditionalGeneration, config)
    return {"translation": save(folder, model, tokenizer), "summarization": tiny("summarization")}


def run_on(start: Path, folder: Path, rows: list[dict[str, Any]], **sections: Any) -> Run:
    sections = {"model": {"config": {}}} | sections
    return ready(config_for(TASK, start, folder, write_rows(folder / "train.jsonl", rows), **sections))


def plain_loss(run: Run, rows: list[dict[str, Any]], smoothing: float = 0.0) -> torch.Tensor:
    """The mean over the tokens of all targets, of rows that go through the model one by one."""
    tokenizer, model = run.objective.tokenizer, run.model
    losses, count = [], 0
    for row in rows:
        inputs = tokenizer(row["source"], return_tensors="pt")
        labels = tokenizer(row["target"], return_tensors="pt")["input_ids"]
        start = torch.tensor([[model.config.decoder_start_token_id]])
        logits = model(**inputs, decoder_input_ids=torch.cat([start, labels[:, :-1]], dim=1)).logits
        losses.append(
            functional.cross_entropy(logits[0], labels[0], label_smoothing=smoothing, reduction="sum")
        )
        count += labels.numel()
    return torch.stack(losses).sum() / count


class TestStep:
    @pytest.mark.parametrize("split", SPLITS)
    @pytest.mark.parametrize("start", PLAIN)
    def test_loss_and_gradient(self, starts: dict[str, Path], tmp_path: Path, start: str, split: str) -> None:
        run = run_on(starts[start], tmp_path, ROWS, model=PLAIN[start], training=SPLITS[split])
        assert_same_step(first_step(run), plain_step(run.model, plain_loss(run, ROWS)))

    @pytest.mark.parametrize("split", ["whole", "sorted"])
    def test_label_smoothing(self, starts: dict[str, Path], tmp_path: Path, split: str) -> None:
        training = {"label_smoothing": 0.1, **SPLITS[split]}
        run = run_on(starts["translation"], tmp_path, ROWS, model=PLAIN["translation"], training=training)
        assert_same_step(first_step(run), plain_step(run.model, plain_loss(run, ROWS, 0.1)))

    def test_it_is_the_loss_that_the_model_gives(self, tiny: Tiny, tmp_path: Path) -> None:
        """Of rows with as many target tokens, transformers' own mean is the same."""
        run = run_on(tiny("summarization"), tmp_path, ROWS[:1], model=PLAIN["summarization"])
        encoded = run.objective.tokenizer(ROWS[0]["source"], return_tensors="pt")
        labels = run.objective.tokenizer(text_target=ROWS[0]["target"], return_tensors="pt")["input_ids"]
        assert_same_step(first_step(run), plain_step(run.model, run.model(**encoded, labels=labels).loss))

    def test_a_model_without_a_method_that_shifts(self, tmp_path: Path) -> None:
        tokenizer = vocabulary.bart()
        config = transformers.M2M100Config(
            vocab_size=len(tokenizer),
            d_model=32,
            encoder_layers=1,
            decoder_layers=1,
            encoder_attention_heads=2,
            decoder_attention_heads=2,
            encoder_ffn_dim=64,
            decoder_ffn_dim=64,
            max_position_embeddings=64,
            dropout=0.0,
            attention_dropout=0.0,
            encoder_layerdrop=0.0,
            decoder_layerdrop=0.0,
        )
        model = random_model(transformers.M2M100ForConditionalGeneration, config)
        assert not hasattr(model, "prepare_decoder_input_ids_from_labels")
        start = save(tmp_path / "model", model, tokenizer)
        run = run_on(start, tmp_path, ROWS, training=SPLITS["sorted"])
        assert_same_step(first_step(run), plain_step(run.model, plain_loss(run, ROWS)))


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


class TestJudging:
    @pytest.mark.parametrize("start", PLAIN)
    def test_figures_are_those_of_sacrebleu_on_what_generate_writes(
        self, tiny: Tiny, tmp_path: Path, start: str
    ) -> None:
        generation = {"num_beams": 3, "max_new_tokens": 12}
        run = run_on(
            tiny(start),
            tmp_path,
            ROWS,
            model=PLAIN[start],
            generation=generation,
            metrics=["chrf", "bleu", "rouge", "exact_match"],
        )
        figures = figures_of(run, run.data.train, "eval")
        model, tokenizer = run.model.eval(), run.objective.tokenizer
        written = []
        for row in ROWS:
            ids = model.generate(**tokenizer(row["source"], return_tensors="pt"), **generation)
            written.append(tokenizer.decode(ids[0], skip_special_tokens=True).strip())
        targets = [row["target"] for row in ROWS]
        assert figures["eval_chrf"] == pytest.approx(sacrebleu.corpus_chrf(written, [targets]).score)
        assert figures["eval_bleu"] == pytest.approx(sacrebleu.corpus_bleu(written, [targets]).score)
        assert figures["eval_exact_match"] == sum(map(str.__eq__, written, targets)) / len(ROWS)
        assert figures["eval_loss"] == pytest.approx(plain_loss(run, ROWS).item(), rel=1e-5)
        assert any(written)

    def test_the_limit_is_the_targets(self, tiny: Tiny, tmp_path: Path) -> None:
        run = run_on(tiny("translation"), tmp_path, ROWS, data={"max_target_length": 7})
        batch = run.objective.collate(run.data.train.take([0, 1]), [])
        with torch.inference_mode():
            _, written, targets = run.objective.judge(run.model.eval(), batch)
            ids = run.model.generate(**batch.inputs, max_new_tokens=7)
        texts = run.objective.tokenizer.batch_decode(ids, skip_special_tokens=True)
        assert written == [text.strip() for text in texts]
        assert targets == [ROWS[0]["target"], ROWS[1]["target"]]

    def test_the_model_keeps_how_it_generates(self, tiny: Tiny, tmp_path: Path) -> None:
        start = tmp_path / "start"
        shutil.copytree(tiny("translation"), start)
        config = json.loads((start / "config.json").read_text())
        config["task_specific_params"] = {"summarization": {"prefix": "summarize: ", "num_beams": 4}}
        (start / "config.json").write_text(json.dumps(config))
        run = run_on(start, tmp_path, ROWS, generation={"num_beams": 2, "max_new_tokens": 9})
        assert run.model.config.task_specific_params is None
        own = run.model.generation_config
        assert (own.num_beams, own.max_new_tokens, own.max_length) == (2, 9, None)

    def test_a_metric_that_is_misspelt_is_named_before_the_first_step(
        self, tiny: Tiny, tmp_path: Path
    ) -> None:
        validation = write_rows(tmp_path / "dev.jsonl", ROWS)
        with pytest.raises((UsageError, MissingExtraError), match="did you mean bleu"):
            run_on(tiny("translation"), tmp_path, ROWS, data={"validation": validation}, metrics=["blue"])


class TestFromScratch:
    @pytest.mark.parametrize(
        ("name", "kind", "shape", "starts_with"),
        [
            ("t5-small", "unigram", {"num_layers": 1, "num_decoder_layers": 1, "d_model": 32}, "pad"),
            ("bart-base", "bpe", {"encoder_layers": 1, "decoder_layers": 1, "d_model": 48}, "eos"),
            ("opus-mt-en-de", "bpe", {"encoder_layers": 1, "decoder_layers": 1, "d_model": 32}, "pad"),
        ],
    )
    def test_tokens_of_the_architecture(
        self, tmp_path: Path, name: str, kind: str, shape: dict[str, int], starts_with: str
    ) -> None:
        config = config_for(
            TASK,
            Path(name),
            tmp_path,
            write_rows(tmp_path / "train.jsonl", [{"translation": {"en": "fox", "es": "zorro"}}] * 9),
            model={"from_scratch": True, "config": shape},
            tokenizer={"train": kind, "vocab_size": 300},
            data={"source_language": "en", "target_language": "es"},
            training={"epochs": 3, "batch_size": 3},
        )
        run = finetune(config, device="cpu")
        tokenizer = transformers.AutoTokenizer.from_pretrained(config.output)
        model = transformers.AutoModelForSeq2SeqLM.from_pretrained(config.output)
        assert "unk" not in tokenizer.decode(tokenizer("zorro fox")["input_ids"])
        assert model.config.vocab_size == len(tokenizer) == model.lm_head.out_features
        assert model.config.decoder_start_token_id == getattr(tokenizer, f"{starts_with}_token_id")
        own = model.generation_config
        assert own.eos_token_id == tokenizer.eos_token_id
        assert own.forced_eos_token_id in (None, tokenizer.eos_token_id)
        assert run.data.train.take([0])[0]["labels"][-1] == tokenizer.eos_token_id
        assert model.generate(torch.tensor([tokenizer("fox")["input_ids"]]), max_new_tokens=4).shape[1] <= 5


@pytest.mark.parametrize("start", PLAIN)
def test_a_stopped_run_ends_in_the_same_weights(tiny: Tiny, tmp_path: Path, start: str) -> None:
    train = write_rows(tmp_path / "train.jsonl", ROWS * 3)
    weights = {}
    for name in ("whole", "stopped"):
        config = config_for(
            TASK,
            tiny(start),
            tmp_path / name,
            train,
            model={"config": {}},  # dropout too has to be the same after a resume
            data={"validation": train, "max_target_length": 12},
            training={"batch_size": 4, "epochs": 2, "learning_rate": 1e-3},
            metrics=[
                "exact_match"
            ],  # without the task's own main one, the first is what models are compared by
        )
        if name == "stopped":
            assert finetune(config, device="cpu", listener=StopAt(3)).stopped == "SIGTERM"
        run = finetune(config, device="cpu", resume=name == "stopped")
        assert run.progress.step == run.loop.steps.total > 3
        weights[name] = (Path(config.output) / "model.safetensors").read_bytes()
    assert weights["whole"] == weights["stopped"]


def test_an_adapter(tiny: Tiny, tmp_path: Path) -> None:
    pytest.importorskip("peft")
    train = write_rows(tmp_path / "train.jsonl", ROWS)
    data = {"validation": train, "max_target_length": 12}
    config = config_for(
        TASK, tiny("translation"), tmp_path, train, model={"config": {}}, data=data, adapter={"type": "lora"}
    )
    run = finetune(config, device="cpu")
    assert all("lora_" in name for name, each in run.model.named_parameters() if each.requires_grad)
    plain = transformers.AutoModelForSeq2SeqLM.from_pretrained(config.output)
    assert isinstance(plain, transformers.T5ForConditionalGeneration)


def test_learning(starts: dict[str, Path], tmp_path: Path) -> None:
    """Which capital a text asks for: of held-out phrasings an untrained model writes none."""
    capitals = {"France": "Paris", "Italy": "Rome", "Germany": "Berlin"}
    phrases = ("the capital of {}", "What is the capital of {}?", "{}", "Answer: {} is", "in {} the city")
    rows = [
        {"source": phrase.format(country), "target": f"{city} is the capital"}
        for phrase in phrases
        for country, city in capitals.items()
    ]
    held_out = [row for number, row in enumerate(rows) if number % 5 == 2]
    train = write_rows(tmp_path / "train.jsonl", [row for row in rows if row not in held_out] * 4)
    validation = write_rows(tmp_path / "dev.jsonl", held_out)
    config = config_for(
        TASK,
        starts["translation"],
        tmp_path,
        train,
        model=PLAIN["translation"],
        data={"validation": validation, "max_target_length": 16},
        training={"epochs": 20, "learning_rate": 1e-2, "batch_size": 8, "eval_steps": 1000},
        metrics=["exact_match", "chrf"],
    )
    assert figures_of(ready(config), ready(config).data.train, "eval")["eval_exact_match"] == 0
    run = finetune(config, device="cpu")
    assert run.figures["eval_exact_match"] >= 0.6
    assert run.figures["eval_chrf"] >= 70
