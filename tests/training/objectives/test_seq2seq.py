"""seq2seq: decoder inputs as the architecture has them, judged by what is generated."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import sacrebleu
import torch
import transformers
from torch.nn import functional

from llmkit.errors import MissingExtraError, UsageError
from llmkit.training.run import figures_of, finetune
from llmkit.training.state import Run
from tests.fixtures.tiny import vocabulary
from tests.fixtures.tiny.checkpoint import random_model, save
from tests.training.objectives.seq2seq_rows import ROWS, TASK, Tiny, run_on
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

# Their dropout is called otherwise than BERT's; the rates of BART's attention and activations are 0 by default.
PLAIN = {
    "translation": {"config": {"dropout_rate": 0.0}},  # T5
    "summarization": {"config": {"dropout": 0.0}},  # BART
}


@pytest.fixture(scope="module")
def starts(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Models by task. T5's weights are smaller than the tiny model's, whose attention magnifies rounding."""
    folder = tmp_path_factory.mktemp("t5")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny("translation"))
    config = transformers.AutoConfig.from_pretrained(tiny("translation"), initializer_factor=1.0)
    model = random_model(transformers.T5ForConditionalGeneration, config)
    return {"translation": save(folder, model, tokenizer), "summarization": tiny("summarization")}


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
