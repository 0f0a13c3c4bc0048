"""``llmkit doctor``: what there is, and a real trial of the links of two processes."""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path

import pytest
import torch

from llmkit.cli.doctor import sheets
from tests.fixtures.command import Command
from tests.launching.running import TWO, Launched


def test_what_there_is(llmkit: Command, tmp_path: Path) -> None:
    done = llmkit("doctor", "--format", "json", cwd=tmp_path)

    assert done.code == 0, done.stderr
    found = done.json
    assert found["versions"]["torch"] == importlib.metadata.version("torch")
    assert found["versions"]["hf-llmkit"] == importlib.metadata.version("hf-llmkit")
    assert found["memory"]["total"] > found["memory"]["available"] > 0
    assert found["disks"]["here"]["path"] == str(tmp_path)
    assert found["disks"]["here"]["writable"] is True
    assert len(found["gpus"]) == torch.cuda.device_count()
    assert found["hub"] == {
        "endpoint": "https://huggingface.co",
        "offline": True,
        "token": False,
        "answers": None,
    }


def test_a_hub_that_does_not_answer(llmkit: Command) -> None:
    closed = {"HF_HUB_OFFLINE": "0", "HF_ENDPOINT": "http://127.0.0.1:9", "HF_TOKEN": "hf_secret"}
    done = llmkit("doctor", "--format", "json", env=closed, hub=True)

    assert done.json["hub"]["answers"] is False
    assert done.json["hub"]["reason"] == "Connection refused"
    assert done.json["hub"]["token"] is True
    assert "hf_secret" not in done.text


def test_a_hub_by_a_name_that_no_name_can_be(llmkit: Command) -> None:
    environment = {"HF_HUB_OFFLINE": "0", "HF_ENDPOINT": f"http://{'a' * 70}.com"}
    done = llmkit("doctor", "--format", "json", env=environment, hub=True)

    assert done.code == 0, done.stderr
    assert done.json["hub"]["answers"] is False
    assert "too long" in done.json["hub"]["reason"]


@pytest.mark.parametrize("arguments", [("--processes", "2"), ("--gpus", "2"), ("--nodes", "2")])
def test_processes_without_a_trial(llmkit: Command, arguments: tuple[str, ...]) -> None:
    done = llmkit("doctor", *arguments)

    assert done.code == 2
    assert "Add --devices." in done.stderr


def test_an_output_that_is_there_is_said_before_the_links_are_tried(llmkit: Command, tmp_path: Path) -> None:
    (tmp_path / "found.json").write_text("mine")
    done = llmkit("doctor", "--devices", "-o", "found.json", cwd=tmp_path)
    assert (done.code, done.stderr.splitlines()[0]) == (2, "error: found.json is there already.")


def test_for_a_person(llmkit: Command) -> None:
    done = llmkit("doctor", "--devices", "--device", "cpu", "--format", "table")

    assert done.code == 0, done.stderr
    assert "GiB" in done.text
    assert "there is one device, and no link to try." in done.stderr


def test_the_links_are_tried(tmp_path: Path) -> None:
    code, output, errors = Launched(tmp_path, "doctor", "--devices", *TWO, "--format", "json").wait()

    assert code == 0, errors
    trial = json.loads(output)["trial"]
    assert (trial["processes"], trial["backend"], trial["device"]) == (2, "gloo", "cpu")
    for each in (*trial["all_reduce"], *trial["copies"]):
        assert each["right"]
        # In a ring of two each sends all bytes once.
        assert each["bytes_per_second"] == pytest.approx(each["bytes"] / each["seconds"])
    assert [sheet.title for sheet in sheets(json.loads(output))][-1] == "2 processes, gloo on cpu"
