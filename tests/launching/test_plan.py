"""What a call starts, by its options, the config and who started it."""

from __future__ import annotations

from typing import Any

import pytest

from llmkit.errors import UsageError
from llmkit.launching import plan
from llmkit.launching.plan import Launch, LaunchOptions, plan_launch, threads_each


@pytest.fixture(autouse=True)
def nobody_started_this(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "LOCAL_RANK", "ACCELERATE_MIXED_PRECISION", "SLURM_STEP_NUM_NODES"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def four_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "visible_gpus", lambda: ["0", "1", "2", "3"])


@pytest.mark.usefixtures("four_gpus")
class TestGpus:
    @pytest.mark.parametrize(
        ("options", "devices", "processes", "gpus"),
        [
            ({}, None, 4, "0,1,2,3"),
            ({"gpus": "2"}, None, 2, "0,1"),
            ({"gpus": "1,3"}, None, 2, "1,3"),
            ({"gpus": "0,"}, None, 1, "0"),
            ({"processes": 3}, None, 3, "0,1,2"),
            ({}, 2, 2, "0,1"),
            ({}, [3, 0], 2, "3,0"),
            ({"gpus": "1"}, [3, 0], 1, "0"),
        ],
    )
    def test_each_has_a_process(
        self, options: dict[str, Any], devices: Any, processes: int, gpus: str
    ) -> None:
        assert plan_launch(LaunchOptions(**options), device="auto", devices=devices) == Launch(
            processes, gpus
        )

    def test_one_device_is_one_process(self) -> None:
        found = plan_launch(LaunchOptions(gpus="1"), device="auto")
        assert found is not None
        assert found.is_one_process

    def test_as_cuda_visible_devices_calls_them(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(plan, "visible_gpus", lambda: ["5", "GPU-8a"])
        found = plan_launch(LaunchOptions(gpus="0,1"), device="cuda")
        assert found is not None
        assert found.gpus == "5,GPU-8a"

    @pytest.mark.parametrize(
        ("options", "device", "said"),
        [
            ({"gpus": "5"}, "auto", "GPU 4 is not there: 4 GPUs can be seen, numbered from 0."),
            ({"gpus": "0,0"}, "auto", "named twice"),
            ({"gpus": "a"}, "auto", "--gpus a: it should be a number of GPUs (2), or which of them"),
            ({"gpus": "0"}, "auto", "--gpus 0: it should be a number"),
            ({"gpus": "00"}, "auto", "--gpus 00: it should be a number"),
            ({"gpus": "²"}, "auto", "--gpus ²: it should be a number"),
            ({"gpus": "0,²"}, "auto", "--gpus 0,²: it should be a number"),
            ({"gpus": "9" * 5_000}, "auto", ": it should be a number"),
            ({"gpus": "999999999"}, "auto", "GPU 4 is not there"),
            ({"gpus": "2"}, "cpu", "--gpus 2 and --device cpu: give one of them."),
            ({"processes": 5}, "auto", "--processes 5: there are 4 GPUs for them."),
            ({"processes": 0}, "cpu", "--processes 0: it should be 1 or more."),
            ({"processes": 2}, "cuda:1", "--device cuda:1 is one device"),
            ({"max_restarts": -1}, "cpu", "--max-restarts -1: it should be 0 or more."),
            ({"nodes": 2}, "cpu", "--nodes 2 needs --node-rank and --rendezvous."),
            ({"nodes": 2, "node_rank": 2}, "cpu", "--node-rank 2: it should be from 0 to 1 with --nodes 2."),
            (
                {"nodes": 2, "node_rank": 1, "rendezvous": "host"},
                "cpu",
                "--rendezvous host: write HOST:PORT",
            ),
            (
                {"nodes": 2, "node_rank": 1, "rendezvous": "host:²"},
                "cpu",
                "--rendezvous host:²: write HOST:PORT",
            ),
            ({"rendezvous": "host:29400"}, "cpu", "--rendezvous host:29400: how many machines meet there?"),
        ],
    )
    def test_what_does_not_go_together(self, options: dict[str, Any], device: str, said: str) -> None:
        with pytest.raises(UsageError) as error:
            plan_launch(LaunchOptions(**options), device=device)
        assert said in str(error.value)


def test_without_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "visible_gpus", list)
    assert plan_launch(LaunchOptions(), device="auto") == Launch(1)
    assert plan_launch(LaunchOptions(processes=2), device="auto") == Launch(2)
    with pytest.raises(UsageError, match="no GPU is visible here"):
        plan_launch(LaunchOptions(gpus="2"), device="auto")


@pytest.mark.parametrize("name", ["RANK", "LOCAL_RANK", "ACCELERATE_MIXED_PRECISION"])
def test_one_of_a_group_starts_no_other(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "0")
    assert plan_launch(LaunchOptions(processes=2), device="cpu") is None


def test_two_machines() -> None:
    options = LaunchOptions(nodes=2, node_rank=1, rendezvous="[fe80::1]:29400", processes=4, max_restarts=3)
    assert plan_launch(options, device="cpu") == Launch(4, None, 2, 1, "fe80::1", 29400, 3)


def test_a_restart_needs_a_launcher() -> None:
    found = plan_launch(LaunchOptions(max_restarts=1), device="cpu")
    assert found is not None
    assert not found.is_one_process


def test_the_machines_of_slurm(monkeypatch: pytest.MonkeyPatch) -> None:
    step = {"STEP_NUM_NODES": "2", "STEP_NUM_TASKS": "2", "STEP_NODELIST": "gpu[07-08]", "NODEID": "1"}
    for name, value in {**step, "JOB_ID": "9"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    assert plan_launch(LaunchOptions(), device="cpu") == Launch(1, None, 2, 1, "gpu07", 20_009)


def test_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(8)))
    assert [threads_each(count) for count in (1, 3, 8, 9)] == [8, 2, 1, 1]
