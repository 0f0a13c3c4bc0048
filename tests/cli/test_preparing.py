"""`llmkit models prepare`: which files are fetched, under which names, and that a model works where they are copied."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import peft
import pytest
import transformers

from tests.fixtures.hub import SmallHub, client_environment

CALL = ("pipeline", "text-classification", "a good film", "-m")


@pytest.fixture
def hub():
    with SmallHub() as hub:
        yield hub


@pytest.fixture
def prepare(llmkit, hub, tmp_path):
    """Prepare models; return what the command left."""

    def prepare(*names, to=tmp_path / "models"):
        env = hub.environment(tmp_path / "home")
        return llmkit("models", "prepare", *names, "--to", to, "-f", "jsonl", env=env, hub=True)

    return prepare


@pytest.fixture
def alone(llmkit, hub, tmp_path):
    """Run a command as on the other machine, without a hub."""

    def alone(*arguments):
        env = client_environment(hub.url, tmp_path / "models") | {"HF_HUB_OFFLINE": "1"}
        return llmkit(*arguments, env=env, hub=True)

    return alone


def copy_of(folder: Path, to: Path, *more: str) -> Path:
    """Copy a model, and put further files beside it that nobody can read."""
    shutil.copytree(folder, to)
    for name in more:
        (to / name).parent.mkdir(exist_ok=True)
        (to / name).write_text(name)
    return to


def files_in(row) -> set[str]:
    folder = Path(row["path"])
    return {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}


def test_all_that_a_model_is_loaded_from_is_fetched(prepare, hub, tiny, tmp_path):
    wanted = (
        "source.spm",
        "vocab.tsv",
        "bpe.codes",
        "a.tiktoken",
        "voices/one.npz",
        "1_Dense/pytorch_model.bin",
    )
    unwanted = (
        *("tf_model.h5", "flax_model.msgpack", "rust_model.ot", "onnx/model.onnx", "model.gguf", "a.mlmodel"),
        *(
            "pytorch_model.bin",
            "training_args.bin",
            "loss.PNG",
            "runs/1.tfevents",
            "checkpoints/optimizer.safetensors",
            "original/consolidated.00.pth",
        ),
    )
    folder = tiny("text-classification")
    hub.add("acme/full", copy_of(folder, tmp_path / "full", *wanted, *unwanted))

    done = prepare("acme/full")

    assert done.code == 0, done.stderr
    assert files_in(done.lines[0]) == {*wanted, *(file.name for file in folder.iterdir())}


def test_pickles_are_fetched_where_there_is_nothing_else(prepare, hub, tiny, tmp_path):
    hub.add("acme/pickle", copy_of(tiny("pickle_only"), tmp_path / "pickle", "coarse.pt"))
    [row] = prepare("acme/pickle").lines
    assert "pytorch_model.bin" in files_in(row) and "coarse.pt" not in files_in(row)


def test_without_a_hub_a_pickle_is_named_as_the_reason(prepare, alone, hub, tiny):
    hub.add("acme/pickle", tiny("pickle_only"))
    assert prepare("acme/pickle").code == 0
    refused = alone(*CALL, "acme/pickle")
    assert refused.code == 1 and "pickled weights, which only --allow-pickle opens" in refused.stderr
    assert alone(*CALL, "acme/pickle", "--allow-pickle").code == 0


@pytest.mark.slow
def test_a_translation_model_works_where_it_is_copied(prepare, alone, hub, tmp_path):
    hub.add("acme/opus", marian(tmp_path / "opus"))
    assert prepare("acme/opus").code == 0
    done = alone("pipeline", "translation_en_to_de", "a film", "-m", "acme/opus", "-p", "max_new_tokens=3")
    assert done.code == 0, done.stderr


def marian(folder: Path) -> Path:
    """A translation model with random weights, whose tokenizer lies in two files of sentencepiece."""
    sentencepiece = pytest.importorskip("sentencepiece")
    folder.mkdir()
    words = Path(__file__).read_text()
    (folder / "words.txt").write_text(words)
    sentencepiece.SentencePieceTrainer.train(
        input=str(folder / "words.txt"), model_prefix=str(folder / "source"), vocab_size=150, minloglevel=2
    )
    (folder / "words.txt").unlink()
    lines = (folder / "source.vocab").read_text().splitlines()
    vocabulary = {line.split("\t")[0]: number for number, line in enumerate([*lines, "<pad>"])}
    (folder / "source.vocab").unlink()
    shutil.copy(folder / "source.model", folder / "target.spm")
    (folder / "source.model").rename(folder / "source.spm")
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    names = {"source_lang": "en", "target_lang": "de", "tokenizer_class": "MarianTokenizer"}
    (folder / "tokenizer_config.json").write_text(json.dumps(names))
    pad = vocabulary["<pad>"]
    config = transformers.MarianConfig(
        vocab_size=len(vocabulary),
        d_model=16,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        pad_token_id=pad,
        decoder_start_token_id=pad,
        eos_token_id=vocabulary["</s>"],
        forced_eos_token_id=vocabulary["</s>"],
        max_length=8,
    )
    transformers.MarianMTModel(config).save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("keep", "files", "says"),
    [
        ((), ("README.md",), "has no config.json on the hub"),
        (("config.json",), ("tf_model.h5",), "has no weights"),
        ((), ("small.Q4.gguf", "README.md"), "hf download acme/odd small.Q4.gguf --local-dir DIR"),
    ],
)
def test_a_repository_that_could_not_be_loaded(prepare, hub, tiny, tmp_path, keep, files, says):
    folder = tmp_path / "odd"
    folder.mkdir()
    for name in keep:
        shutil.copy(tiny("text-classification") / name, folder)
    for name in files:
        (folder / name).write_text(name)
    hub.add("acme/odd", folder)
    done = prepare("acme/odd")
    assert (done.code, done.stdout) == (1, b"")
    assert says in done.stderr and "'acme/odd'" in done.stderr


def adapter_on(base: str, model: Path, folder: Path) -> Path:
    """Write an adapter with random weights on a model that is there; it names the one on the hub."""
    settings = peft.LoraConfig(target_modules=["query"], r=2, init_lora_weights=False)
    bert = transformers.AutoModelForSequenceClassification.from_pretrained(model)
    peft.get_peft_model(bert, settings).save_pretrained(folder)
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps({**config, "base_model_name_or_path": base}))
    return folder


def test_an_adapter_comes_with_its_base(prepare, alone, llmkit, hub, tiny, tmp_path):
    base = tiny("text-classification")
    hub.add("acme/base", base)
    hub.add("acme/adapter", adapter_on("acme/base", base, tmp_path / "adapter"))
    local = shutil.copytree(tmp_path / "adapter", tmp_path / "local")
    config = json.loads((local / "adapter_config.json").read_text())
    (local / "adapter_config.json").write_text(json.dumps({**config, "base_model_name_or_path": str(base)}))

    done = prepare("acme/adapter")

    assert [row["model"] for row in done.lines] == ["acme/adapter", "acme/base"], done.stderr
    there = alone(*CALL, "acme/adapter")
    assert (there.code, there.stderr) == (0, "")
    online = llmkit(*CALL, "acme/adapter", env=hub.environment(tmp_path / "other"), hub=True)
    assert there.lines == online.lines == llmkit(*CALL, local).lines != llmkit(*CALL, base).lines


def test_an_adapter_of_a_folder_that_the_hub_does_not_have(prepare, hub, tiny, tmp_path):
    base = tiny("text-classification")
    hub.add("acme/adapter", adapter_on("/data/of/another", base, tmp_path / "adapter"))
    done = prepare("acme/adapter")
    assert done.code == 1 and "is for the model '/data/of/another', which is none of the hub's" in done.stderr


@pytest.mark.parametrize("name", ["hf://acme/x@v1", "hf://models/acme/x@v1"])
def test_a_name_with_a_scheme_and_a_revision(prepare, hub, tiny, name):
    hub.add("acme/x", tiny("without_weights"))
    hub.add("acme/x", tiny("text-classification"), "v1")
    [row] = prepare(name).lines
    commit = hub.repositories["acme/x"].branches["v1"]
    assert (row["task"], row["model"], row["revision"]) == (None, "acme/x", commit)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("acme/x@main", "hf://OWNER/NAME@REVISION"),
        ("a/b/c", "nor the name of a hub model"),
        ("./x/y", "nor the name of a hub model"),
        ("file:///x/y", "is here already"),
        ("hf://", "names no model"),
        ("https://huggingface.co/acme/x", "acme/x"),
    ],
)
def test_what_is_no_name_of_the_hub(prepare, hub, name, says):
    done = prepare(name)
    assert (done.code, done.stdout, hub.requests) == (2, b"", [])
    assert says in done.stderr


def test_the_folder_must_be_named(prepare, hub):
    done = prepare("acme/x", to="")
    assert (done.code, hub.requests) == (2, []) and "--to is empty" in done.stderr
