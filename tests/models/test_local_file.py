"""Models that are one file: weights beside their config, GGUF, an archive of a model; and addresses with a scheme."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import tarfile
import zipfile
from pathlib import Path

import numpy
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from llmkit.errors import MissingExtraError, ModelError, UsageError
from llmkit.models.loading import LoadOptions, load_model
from llmkit.models.resolving import resolve_model
from llmkit.models.tokenizing import load_tokenizer

IDS = torch.tensor([[2, 5, 6, 7, 3]])


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LLMKIT_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def model(tiny, tmp_path) -> Path:
    return Path(shutil.copytree(tiny("text-classification"), tmp_path / "model"))


def logits_of(name: Path | str, auto=AutoModelForSequenceClassification) -> torch.Tensor:
    loaded = load_model(resolve_model(str(name)), [auto], LoadOptions(device="cpu"), task="x", speed_up=False)
    with torch.no_grad():
        return loaded(IDS).logits


# One safetensors file


def test_a_weights_file_beside_its_config(model):
    expected = logits_of(model)
    assert torch.equal(logits_of(model / "model.safetensors"), expected)

    (model / "model.safetensors").rename(model / "best.safetensors")

    assert torch.equal(logits_of(model / "best.safetensors"), expected)


def test_a_weights_file_without_its_config(model):
    (model / "config.json").rename(model / "other.json")
    (model / "model.safetensors").rename(model / "best.safetensors")

    with pytest.raises(ModelError, match=r"has no config\.json") as raised:
        resolve_model(str(model / "best.safetensors"))
    assert raised.value.hint == f"It belongs beside the weights: {model / 'config.json'}"


def test_a_file_that_is_not_there(model):
    with pytest.raises(ModelError, match=r"no file .*modle\.safetensors") as raised:
        resolve_model(str(model / "modle.safetensors"))
    assert raised.value.hint == "did you mean model.safetensors?"


@pytest.mark.parametrize(
    "name", ["modle.gguf", "modle.safetensors", "modle.zip", "modle.tar.gz", "modle.TXZ"]
)
def test_a_name_with_the_ending_of_a_file_is_no_model_of_the_hub(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name.replace("modle", "model")).write_bytes(b"")
    with pytest.raises(ModelError, match=f"no file {re.escape(name)}") as raised:
        resolve_model(name)
    assert raised.value.hint == f"did you mean {name.replace('modle', 'model')}?"


# GGUF


@pytest.fixture(scope="module")
def gguf_file(tmp_path_factory) -> Path:
    """A llama of one layer and its tokenizer, written as llama.cpp's converter does."""
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    write_gguf(path)
    return path


def write_gguf(path: Path) -> None:
    from gguf import GGUFWriter

    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    tokens = ["<s>", "</s>", "<unk>", *letters, "Ġ", "th", "the"]
    hidden, heads, intermediate, vocabulary = 32, 4, 64, len(tokens)
    writer = GGUFWriter(str(path), "llama")
    writer.add_block_count(1)
    writer.add_context_length(64)
    writer.add_embedding_length(hidden)
    writer.add_feed_forward_length(intermediate)
    writer.add_head_count(heads)
    writer.add_head_count_kv(heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(hidden // heads)
    writer.add_vocab_size(vocabulary)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([3, 3, 3, *([1] * (vocabulary - 3))])
    writer.add_token_merges(["t h", "th e"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    writer.add_unk_token_id(2)
    random = numpy.random.default_rng(0)
    shapes = {
        "token_embd": (vocabulary, hidden),
        "output": (vocabulary, hidden),
        **{f"blk.0.attn_{each}": (hidden, hidden) for each in ("q", "k", "v", "output")},
        "blk.0.ffn_gate": (intermediate, hidden),
        "blk.0.ffn_up": (intermediate, hidden),
        "blk.0.ffn_down": (hidden, intermediate),
    }
    for name, shape in shapes.items():
        writer.add_tensor(f"{name}.weight", random.normal(0, 0.2, shape).astype(numpy.float32))
    for name in ("output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"):
        writer.add_tensor(f"{name}.weight", numpy.ones(hidden, dtype=numpy.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_gguf(gguf_file, capfd):
    expected = AutoModelForCausalLM.from_pretrained(gguf_file.parent, gguf_file=gguf_file.name).eval()
    capfd.readouterr()

    found = logits_of(gguf_file, AutoModelForCausalLM)

    assert "GGUF tensors" not in capfd.readouterr().err
    with torch.no_grad():
        torch.testing.assert_close(found, expected(IDS).logits)
    assert load_tokenizer(resolve_model(str(gguf_file)), "x")("the")["input_ids"][-1] == 31


def test_gguf_in_capitals(gguf_file, tmp_path):
    shutil.copy(gguf_file, tmp_path / "X.GGUF")
    expected = logits_of(gguf_file, AutoModelForCausalLM)
    assert torch.equal(logits_of(tmp_path / "X.GGUF", AutoModelForCausalLM), expected)


@pytest.mark.parametrize("left", [40, 0.5])
def test_a_damaged_gguf_is_said_to_be(llmkit, gguf_file, tmp_path, left):
    content = gguf_file.read_bytes()
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(content[: left if isinstance(left, int) else int(left * len(content))])

    done = llmkit("pipeline", "text-generation", "the", "--model", cut)

    assert done.code == 1
    assert f"the GGUF file '{cut}' is damaged" in done.stderr and "checksum" in done.stderr


def test_gguf_by_the_command(llmkit, gguf_file):
    call = ("pipeline", "text-generation", "the", "--model", gguf_file, "-p", "max_new_tokens=3")

    done = llmkit(*call, "-p", "do_sample=false")

    assert (done.code, done.stderr) == (0, "")
    assert done.json[0]["generated_text"].startswith("the")


def test_gguf_that_is_none(tmp_path):
    (tmp_path / "model.gguf").write_bytes(b"something else")
    with pytest.raises(ModelError, match="is not a GGUF file"):
        resolve_model(str(tmp_path / "model.gguf"))


def test_gguf_needs_its_package(gguf_file, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "gguf" else found(name))
    with pytest.raises(MissingExtraError, match="needs the extra 'gguf'"):
        resolve_model(str(gguf_file))


# Archives


@pytest.mark.parametrize("kind", ["zip", "tar", "gztar", "xztar", "bztar"])
def test_an_archive_of_a_folder(model, tmp_path, kind):
    made = shutil.make_archive(str(tmp_path / "packed"), kind, tmp_path, "model")

    assert torch.equal(logits_of(made), logits_of(model))
    assert resolve_model(made).location == resolve_model(made).location  # unpacked once
    assert len(list((tmp_path / "cache" / "unpacked").iterdir())) == 1


def test_what_lies_inside_a_model_is_a_part_of_it(model, tmp_path):
    """As the pooling of sentence-transformers does, which has a config of its own."""
    (model / "1_Pooling").mkdir()
    (model / "1_Pooling" / "config.json").write_text('{"pooling_mode_mean_tokens": true}')
    for made in (
        shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path, "model"),
        shutil.make_archive(str(tmp_path / "flat"), "gztar", model),
    ):
        assert (Path(resolve_model(made).location) / "1_Pooling").is_dir()


def test_an_archive_that_changed_is_unpacked_again(model, tmp_path):
    made = shutil.make_archive(str(tmp_path / "packed"), "zip", model)
    before = resolve_model(made).location
    (model / "more.txt").write_text("more")

    assert resolve_model(shutil.make_archive(str(tmp_path / "packed"), "zip", model)).location != before


def test_an_archive_of_a_gguf_file(gguf_file, tmp_path):
    with tarfile.open(tmp_path / "packed.tgz", "w:gz") as tar:
        tar.add(gguf_file, "models/tiny.gguf")

    found = logits_of(tmp_path / "packed.tgz", AutoModelForCausalLM)
    assert torch.equal(found, logits_of(gguf_file, AutoModelForCausalLM))


def test_an_archive_of_a_weights_file_beside_its_config(model, tmp_path):
    expected = logits_of(model)
    (model / "model.safetensors").rename(model / "best.safetensors")
    (model / "._best.safetensors").write_bytes(b"what a Mac packs beside it")
    for made in (
        shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path, "model"),
        shutil.make_archive(str(tmp_path / "flat"), "gztar", model),
    ):
        found = resolve_model(made)
        assert (found.name, found.weights) == (made, "best.safetensors")
        assert torch.equal(logits_of(made), expected)


@pytest.mark.parametrize("file", ["tiny.gguf", "TINY.GGUF"])
def test_an_archive_of_a_gguf_file_with_what_a_hub_has_beside_it(gguf_file, tmp_path, file):
    with zipfile.ZipFile(tmp_path / "alone.zip", "w") as zipped:
        zipped.write(gguf_file, file)
    with zipfile.ZipFile(tmp_path / "packed.zip", "w") as zipped:
        zipped.write(gguf_file, f"m/{file}")
        zipped.writestr("m/config.json", '{"model_type": "llama"}')
        zipped.writestr("m/README.md", "a model")

    expected = logits_of(gguf_file, AutoModelForCausalLM)
    for name in ("alone.zip", "packed.zip"):
        assert torch.equal(logits_of(tmp_path / name, AutoModelForCausalLM), expected)


def test_errors_name_the_archive(model, tmp_path):
    """Not the folder of the cache that its files were unpacked into."""
    weights = (model / "model.safetensors").read_bytes()
    for number, (file, content, says) in enumerate(
        [
            ("model.safetensors", weights[:-9], "is cut off"),
            ("best.safetensors", weights[:-9], "is cut off"),
            ("tiny.gguf", b"something else", "is not a GGUF file"),
            ("notes.txt", b"", "has no weights"),
            ("config.json", b"{", "is not JSON"),
        ]
    ):
        (model / "model.safetensors").unlink(missing_ok=True)
        (model / file).write_bytes(content)
        made = shutil.make_archive(str(tmp_path / f"packed{number}"), "zip", tmp_path, "model")
        if file != "notes.txt":
            (model / file).unlink()

        with pytest.raises(ModelError, match=says) as raised:
            resolve_model(made)

        assert f"'{made}/model" in raised.value.message
        assert "unpacked" not in str(raised.value)


def test_an_archive_of_no_model_or_of_two(model, tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("a")
    nothing = shutil.make_archive(str(tmp_path / "nothing"), "zip", tmp_path / "notes")
    with pytest.raises(ModelError, match="there is no model in"):
        resolve_model(nothing)

    shutil.copytree(model, tmp_path / "two" / "a")
    shutil.copytree(model, tmp_path / "two" / "b")
    two = shutil.make_archive(str(tmp_path / "two"), "zip", tmp_path / "two")
    with pytest.raises(ModelError, match=r"there are 2 models in .*: a, b"):
        resolve_model(two)


# Addresses


def test_addresses(model, hub, resolve):
    assert resolve_model(f"file://{model}").location == str(model)
    hub.add("acme/tiny", model)
    assert resolve(hub.url, name="hf://acme/tiny")["location"] == "acme/tiny"
    assert resolve(hub.url, name="hf://acme/tiny@main")["revision"] == "main"
    assert resolve(hub.url, name="hf://acme/gone")["error"] == "HubError"


@pytest.mark.parametrize(
    ("name", "revision", "says"),
    [
        ("hf://", None, "names no model"),
        ("hf://a/b@v1", "v2", "two revisions"),
        ("file://server/model", None, "another machine, server"),
        ("file://", None, "names no file"),
        ("file:///tmp", "v1", "--revision is for a hub model"),
    ],
)
def test_wrong_addresses(name, revision, says):
    with pytest.raises(UsageError, match=says):
        resolve_model(name, revision=revision)


def test_a_path_of_a_url_is_unquoted(model, tmp_path):
    model.rename(tmp_path / "my model")
    assert json.loads(
        Path(resolve_model(f"file://{tmp_path}/my%20model").location, "config.json").read_text()
    )
