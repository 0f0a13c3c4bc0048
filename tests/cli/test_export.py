"""``llmkit export`` through the command: what is written answers as the original, read by another program."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path

import numpy
import pytest

from llmkit.cli.export import _beside
from tests.fixtures.versions import runs_onnx

pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")

TEXT = "The film was a delight, and nobody had expected it."


@pytest.fixture(scope="module")
def adapter(tiny, tmp_path_factory) -> Path:
    """A LoRA with a head of its own, as peft saves it, on a tiny model."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    base = tiny("text-classification")
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_pretrained(base)
    made = get_peft_model(model, LoraConfig(r=4, task_type="SEQ_CLS", init_lora_weights=False))
    folder = tmp_path_factory.mktemp("adapter") / "reviews"
    made.save_pretrained(folder)
    AutoTokenizer.from_pretrained(base).save_pretrained(folder)
    return folder


@runs_onnx
def test_onnx_runtime_alone_gives_what_the_pipeline_gives(llmkit, tiny, tmp_path):
    """Read with onnxruntime and nothing of transformers but the tokenizer."""
    import onnxruntime
    from transformers import AutoTokenizer

    model, folder = tiny("text-classification"), tmp_path / "onnx"
    done = llmkit("export", model, "--to", "onnx", "-o", folder, "-q")
    assert done.code == 0, done.stderr
    assert len(done.lines) >= 4
    assert max(row["largest_difference"] for row in done.lines) < 1e-4
    assert all(row["same_answer"] for row in done.lines)

    session = onnxruntime.InferenceSession(str(folder / "model.onnx"))
    encoded = AutoTokenizer.from_pretrained(folder)([TEXT], return_tensors="np")
    names = {each.name for each in session.get_inputs()}
    logits = session.run(None, {name: value for name, value in encoded.items() if name in names})[0][0]
    scores = numpy.exp(logits - logits.max()) / numpy.exp(logits - logits.max()).sum()
    offline = llmkit("pipeline", "text-classification", TEXT, "-m", model, "-p", "top_k=null").json
    labels = json.loads((folder / "config.json").read_text())["id2label"]
    assert {row["label"]: row["score"] for row in offline} == pytest.approx(
        {labels[str(number)]: float(score) for number, score in enumerate(scores)}, abs=1e-5
    )


@runs_onnx
@pytest.mark.slow
@pytest.mark.parametrize(
    "task",
    [
        "token-classification",
        "question-answering",
        "fill-mask",
        "sentence-similarity",
        "text-generation",
        "text2text-generation",
    ],
)
def test_every_kind_of_head(llmkit, tiny, tmp_path, task):
    done = llmkit("export", tiny(task), "--to", "onnx", "-o", tmp_path / "onnx", "-q")
    assert done.code == 0, done.stderr
    for row in done.lines:
        assert row["largest_difference"] < 5e-5 * max(row["largest_output"], 1)


def test_a_merged_adapter_is_the_adapter_on_its_base(llmkit, adapter, tmp_path):
    folder = tmp_path / "whole"
    done = llmkit("export", adapter, "--to", "merged", "-o", folder)
    assert done.code == 0, done.stderr
    assert max(row["largest_difference"] for row in done.lines) < 1e-5
    assert not (folder / "adapter_config.json").exists()
    moved = shutil.move(folder, tmp_path / "moved")
    call = ("pipeline", "text-classification", TEXT, "-p", "top_k=null", "-m")
    whole, on_base = llmkit(*call, moved).json, llmkit(*call, adapter).json
    assert {row["label"]: row["score"] for row in whole} == pytest.approx(
        {row["label"]: row["score"] for row in on_base}, abs=1e-6
    )


def test_a_transformers_from_before_exports_are_run_is_named(monkeypatch):
    """What runs exports is hidden, as it is missing in releases before 5.23."""
    from llmkit.errors import LlmkitError
    from llmkit.sharing.export.onnx import check_packages

    there, hidden = importlib.util.find_spec, "transformers.exporters.runners"
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == hidden else there(name))
    with pytest.raises(LlmkitError, match=r"came with 5\.23") as refused:
        check_packages()
    assert "pip install 'transformers>=5.23'" in refused.value.hint


@pytest.mark.parametrize(
    "kind", ["a file", "notes", "a model", "above a run", "the model", "notes in an export"]
)
def test_nothing_but_an_earlier_export_is_replaced(llmkit, tiny, tmp_path, kind):
    model = shutil.copytree(tiny("text-classification"), tmp_path / "models" / "mine")
    place = model if kind == "the model" else tmp_path / "place"
    if kind == "a file":
        place.write_text("mine")
    elif kind == "a model":
        shutil.copytree(tiny("text-classification"), place)
    elif kind != "the model":
        names = {"notes": ["notes.txt"], "above a run": ["config.json", "runs/one/log.jsonl"]}
        for name in names.get(kind, ["config.json", "notes.txt"]):
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_text("mine")
    if kind == "notes in an export":
        (place / "llmkit-export.json").write_text('{"files": ["config.json"]}')
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    done = llmkit("export", model, "--to", "onnx", "-o", place, "--overwrite")

    assert (done.code, done.text) == (2, "")
    assert "Name another folder with -o." in done.stderr
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_an_earlier_export_is_replaced_also_where_one_stands(llmkit, adapter, tmp_path):
    (tmp_path / "whole").mkdir()
    for _ in range(2):
        done = llmkit("export", adapter, "--to", "merged", "-o", ".", "--overwrite", cwd=tmp_path / "whole")
        assert done.code == 0, done.stderr
        assert (tmp_path / "whole" / "config.json").is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["whole"]


def test_what_cannot_be_done_is_said(llmkit, tiny, tmp_path):
    model = tiny("text-classification")
    nowhere = llmkit("export", "nofolder", "--to", "onnx")
    assert nowhere.code == 1
    assert "Name a local folder" in nowhere.stderr
    assert "--model" not in nowhere.stderr
    gguf = llmkit("export", model, "--to", "gguf")
    assert (gguf.code, gguf.stdout) == (2, b"")
    assert "convert_hf_to_gguf.py" in gguf.stderr
    whole = llmkit("export", model, "--to", "merged", "-o", tmp_path / "x")
    assert whole.code == 2
    assert f"{model} is taken for text-classification; --task names another." in whole.stderr
    assert "no adapter" in whole.stderr
    odd = llmkit("export", model, "--to", "onx")
    assert odd.code == 2
    assert "did you mean onnx?" in odd.stderr
    picture = llmkit("export", tiny("image-classification"), "--to", "onnx", "-o", tmp_path / "x")
    assert picture.code == 2
    assert "take text" in picture.stderr
    xml = llmkit("export", model, "--to", "onnx", "-o", tmp_path / "x", "--format", "xml")
    assert xml.code == 2
    assert "--format xml: no such format" in xml.stderr
    there = llmkit("export", model, "--to", "onnx", "-o", tmp_path)
    assert there.code == 2
    assert "--overwrite" in there.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("run", "folder"),
    [
        ("runs/mine", "runs/mine-onnx"),
        ("hf://me/x", "me/x-onnx"),
        ("runs/mine/", "runs/mine-onnx"),
        ("a:b", "a-b-onnx"),
    ],
)
def test_where_an_export_goes(run, folder):
    assert str(_beside(run, "onnx")) == folder


def test_where_an_export_of_the_folder_one_stands_in_goes(tmp_path, monkeypatch):
    (tmp_path / "run").mkdir()
    monkeypatch.chdir(tmp_path / "run")
    assert _beside(".", "onnx") == tmp_path / "run-onnx"
