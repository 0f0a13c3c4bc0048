"""What of a run is shared, and without which folders."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from llmkit.errors import DataError, ModelError
from llmkit.sharing.contents import absolute_path, shared_files, without_folders


def test_the_model_its_tokenizer_and_what_the_run_said_go(run_folder):
    shared, left = shared_files(run_folder, "card")

    names = {file.name for file in shared}
    assert {"README.md", "config.json", "model.safetensors", "tokenizer.json"} <= names
    assert {"config.yaml", "log.jsonl", "metrics.json", "run.json"} <= names
    assert left == []


def test_checkpoints_hidden_files_and_pickles_stay(run_folder):
    (run_folder / "optimizer.pt").write_bytes(b"pickle")

    shared, left = shared_files(run_folder, "card")

    assert left == ["optimizer.pt"]
    assert not any(file.name.startswith(("checkpoints", ".")) for file in shared)


def test_a_link_is_not_followed(run_folder, tmp_path):
    (tmp_path / "mine.txt").write_text("not for others")
    (run_folder / "notes.txt").symlink_to(tmp_path / "mine.txt")

    shared, _ = shared_files(run_folder, "card")

    assert "notes.txt" not in {file.name for file in shared}


def test_a_model_that_is_a_link_is_not_left_out_in_silence(run_folder, tmp_path):
    weights = run_folder / "model.safetensors"
    weights.rename(tmp_path / "model.safetensors")
    weights.symlink_to(tmp_path / "model.safetensors")

    with pytest.raises(DataError, match=r"model\.safetensors is a link"):
        shared_files(run_folder, "card")


def test_the_config_and_the_log_are_without_this_machines_folders(run_folder, tmp_path):
    files = {file.name: file.read().decode() for file in shared_files(run_folder, "card")[0] if file.content}

    config = yaml.safe_load(files["config.yaml"])
    assert config["model"]["name"] == "my base model"
    assert config["data"]["train"] == ["train.csv"]
    assert "kept in train.csv" in files["log.jsonl"]
    assert not any(str(tmp_path) in text for text in files.values())


def test_a_model_that_is_cut_off_is_not_shared(run_folder):
    weights = run_folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])

    with pytest.raises(ModelError, match="cut off"):
        shared_files(run_folder, "card")


@pytest.mark.parametrize(
    ("text", "shorter"),
    [
        ("in /home/me/data/x.csv.", "in x.csv."),
        ("`/data/x`", "`x`"),
        ("~/models/bert/", "bert"),
        (r"C:\Users\me\model", "model"),
        ("https://huggingface.co/acme/bert", "https://huggingface.co/acme/bert"),
        ("hf://datasets/acme/x", "hf://datasets/acme/x"),
        ("either/or and 3/4/5", "either/or and 3/4/5"),
        ("runs/reviews/model", "runs/reviews/model"),
        ("</s></think>", "</s></think>"),
        ("a / b", "a / b"),
    ],
)
def test_absolute_paths_alone_are_shortened(text, shorter):
    assert without_folders(text) == shorter
    assert (absolute_path(text) is None) == (text == shorter)


PART = st.text("abcdefgXYZ019_", min_size=1, max_size=8)


@given(parts=st.lists(PART, min_size=2, max_size=5), before=st.sampled_from(["", "in ", "`", '"']))
def test_no_folder_is_left(parts, before):
    path = "/" + "/".join(parts)

    assert without_folders(before + path) == before + parts[-1]
    assert absolute_path(without_folders(before + path)) is None


def test_what_neither_the_model_needs_nor_the_run_wrote_stays(run_folder):
    own = ("errors.json", "rows.jsonl", "notes.txt", "notes.md", "plot.png", "notes/secret.yaml")
    (run_folder / "notes").mkdir()
    for name in own:
        (run_folder / name).write_text("{}")

    shared, left = shared_files(run_folder, "card")

    assert sorted(left) == sorted(own)
    assert not {file.name for file in shared} & set(own)
