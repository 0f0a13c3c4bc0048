"""Reading a config.json: whatever is wrong with it is one message."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest

from llmkit.architectures.config_files import adapter_error, config_path, read_config, read_standard_input
from llmkit.errors import DataError


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'{"model_type": "bert",\n "hidden_size": }', "line 2, column 17"),
        (b"", "line 1, column 1"),
        (b"[1, 2]", "but an array"),
        (b'"bert"', "but a text"),
        (b"null", "but null"),
        (b"12", "but a number"),
        (b"\xff\xfe{}", "byte 0 is not UTF-8"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"hidden_size": ' + b"9" * 5000 + b"}", "a number too long"),
    ],
)
def test_what_is_no_config(content, said, tmp_path):
    file = tmp_path / "config.json"
    file.write_bytes(content)
    with pytest.raises(DataError, match=said):
        read_config(file, "config.json")


def test_a_byte_order_mark_is_no_part_of_it(tmp_path):
    file = tmp_path / "config.json"
    file.write_bytes(b'\xef\xbb\xbf{"model_type": "bert"}')
    assert read_config(file, "config.json") == {"model_type": "bert"}


def test_a_file_as_large_as_weights_is_not_read(tmp_path):
    file = tmp_path / "config.json"
    with file.open("wb") as stream:
        stream.truncate(200_000_000)
    with pytest.raises(DataError, match="too large"):
        read_config(file, "config.json")


def test_what_would_wait_or_never_end_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(DataError, match="is not a regular file"):
            read_config(path, str(path))


def test_a_pipe_that_the_shell_opened_is_read():
    reading, writing = os.pipe()
    try:
        os.write(writing, b'{"model_type": "bert"}')
        os.close(writing)
        assert read_config(Path(f"/dev/fd/{reading}"), "config") == {"model_type": "bert"}
    finally:
        os.close(reading)


def test_standard_input_may_be_a_socket_and_may_be_closed(monkeypatch):
    ours, theirs = socket.socketpair()
    with ours, theirs, theirs.makefile("r") as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        ours.sendall(b'{"model_type": "bert"}')
        ours.shutdown(socket.SHUT_WR)
        assert read_standard_input() == {"model_type": "bert"}
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(DataError, match="is closed"):
        read_standard_input()


def test_the_config_of_a_folder_and_of_a_file(tmp_path):
    config = tmp_path / "config.json"
    config.write_text("{}")
    assert config_path(str(tmp_path)) == config_path(str(config)) == config


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("empty", "has no config.json"),
        ("parent", "Name the folder inside"),
        ("adapter", "is an adapter"),
        ("emty", "did you mean empty"),
        ("model.safetensors", "--checkpoint-file"),
    ],
)
def test_a_place_without_one(name, said, tmp_path):
    for folder in ("empty", "parent/inner", "adapter"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "parent/inner/config.json").write_text("{}")
    (tmp_path / "adapter/adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "gpt2"}))
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(DataError, match="(?s)" + said) as raised:
        config_path(str(tmp_path / name))
    assert "\n\n" not in str(raised.value)


def test_an_adapter_names_its_base_and_its_modules():
    error = adapter_error(
        "mine", {"base_model_name_or_path": "org/base", "r": 4, "target_modules": ["v", "q"]}
    )
    assert "llmkit params org/base --lora r=4,targets=q,v" in str(error)
