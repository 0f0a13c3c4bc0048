"""What must not be shared is found, and a message never holds it."""

from __future__ import annotations

import json

import pytest

from llmkit.errors import DataError
from llmkit.sharing.checks import check_files
from llmkit.sharing.contents import SharedFile, shared_files

SECRETS = {
    "hub": "hf_" + "aB3" * 12,
    "openai": "sk-" + "proj-aB3" * 6,
    "aws": "AKIA" + "ABCD1234" * 2,
    "github": "ghp_" + "aB34" * 9,
    "slack": "xoxb-" + "1234567890-abc",
    "google": "AIza" + "aB34_" * 7,
    "key": "-----BEGIN RSA PRIVATE KEY-----",
    "address": "postgres://me:hunter22@db.example.org/x",
}


def test_a_run_is_clean(run_folder):
    check_files(shared_files(run_folder, "# card")[0], {"hf_mine": "yours"})


@pytest.mark.parametrize("kind", SECRETS)
@pytest.mark.parametrize("name", ["tokenizer_config.json", "log.jsonl", "notes.txt", "tokenizer.json"])
def test_a_secret_is_found_and_not_repeated(kind, name):
    secret = SECRETS[kind]
    content = json.dumps({"a": {"b": [f"x {secret} y"]}}).encode()

    with pytest.raises(DataError) as caught:
        check_files([SharedFile(name, content=content)], {})

    assert name in caught.value.message
    assert secret not in str(caught.value)


def test_the_users_own_token_is_found_whatever_it_looks_like():
    with pytest.raises(DataError, match=r"README\.md:2 holds your token") as caught:
        check_files([SharedFile("README.md", content=b"one\nmy odd token\n")], {"odd token": "your token"})

    assert "odd" not in str(caught.value)


def test_a_folder_of_this_machine_is_named_with_its_place():
    content = json.dumps({"base_model_name_or_path": "/data/models/base"}).encode()

    with pytest.raises(
        DataError, match="base_model_name_or_path holds a folder of this machine: /data/models/base"
    ):
        check_files([SharedFile("adapter_config.json", content=content)], {})


def test_what_weights_say_beside_their_tensors_is_read(tmp_path):
    import torch
    from safetensors.torch import save_file

    save_file({"x": torch.zeros(1)}, tmp_path / "model.safetensors", {"from": "/home/me/base"})

    with pytest.raises(DataError, match=r"model\.safetensors: the metadata from"):
        check_files([SharedFile("model.safetensors", tmp_path / "model.safetensors")], {})


def test_words_of_a_language_are_no_folders():
    check_files([SharedFile("vocab.txt", content=b"/usr/bin\n")], {})


def test_a_damaged_file_is_named():
    with pytest.raises(DataError, match=r"generation_config\.json is not JSON"):
        check_files([SharedFile("generation_config.json", content=b"{")], {})
