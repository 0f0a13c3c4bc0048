"""Two hosts with a link between them that is cut while they train: they meet again by themselves, to the same weights.

Each host is a network namespace with an address of its own, on one disk; the link is a veth pair.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.fixtures.command import Command
from tests.fixtures.ended import ended
from tests.launching.running import Launched, Tiny, write_config
from tests.launching.test_agent import newest, train_whole, weights

FIRST, SECOND = "10.213.7.1", "10.213.7.2"
LINK = "veth0"
LOST_AFTER = 3  # seconds
WHOLE = ("--set", "output=whole")


def ip(*arguments: str) -> str:
    return subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True).stdout


@pytest.fixture
def hosts() -> Iterator[list[str]]:
    """The two namespaces, connected; each has its address on the interface that bears its name."""
    names = [f"llmkit-{uuid.uuid4().hex[:8]}-{letter}" for letter in "ab"]
    with removed_at_the_end(names):
        try:
            connect(names)
        except FileNotFoundError:
            pytest.skip("no network namespaces here: the command ip is not installed")
        except subprocess.CalledProcessError as error:
            pytest.skip(f"no network namespaces here: {error.stderr.strip()}")
        yield names


def connect(names: list[str]) -> None:
    for name in names:
        ip("netns", "add", name)
    one, other = (("name", LINK, "netns", name) for name in names)
    ip("link", "add", *one, "type", "veth", "peer", *other)
    for address, name in zip((FIRST, SECOND), names, strict=True):
        ip("-n", name, "addr", "add", f"{address}/24", "dev", LINK)
        for device in (LINK, "lo"):
            ip("-n", name, "link", "set", device, "up")


@contextmanager
def removed_at_the_end(names: list[str]) -> Iterator[None]:
    """Remove namespaces, with the processes that a test that failed left in them."""
    try:
        yield
    finally:
        for name in names:
            try:
                for process in ip("netns", "pids", name).split():
                    os.kill(int(process), signal.SIGKILL)
                ip("netns", "del", name)
            except (OSError, subprocess.CalledProcessError):  # it was never there, or they have just ended
                continue


def start(folder: Path, hosts: list[str], *arguments: str) -> list[Launched]:
    """Start the command on both, the first one last."""
    return [
        Launched(
            folder,
            *("finetune", "run.yaml", "--device", "cpu", "--nodes", "2", "--node-rank", str(rank)),
            *("--rendezvous", f"{FIRST}:29400", *arguments),
            env={"GLOO_SOCKET_IFNAME": LINK, "LLMKIT_LOST_AFTER": str(LOST_AFTER)},
            prefix=("ip", "netns", "exec", hosts[rank]),
        )
        for rank in (1, 0)
    ]


def set_link(hosts: list[str], state: str) -> None:
    ip("-n", hosts[0], "link", "set", LINK, state)


def assert_met_again(runs: list[Launched], folder: Path) -> None:
    """Look at two runs whose link was cut and came back: both ended, in the weights of a run that nobody cut."""
    ends = [run.wait(300) for run in reversed(runs)]
    assert [code for code, _, _ in ends] == [0, 0], ends
    assert not any("[c10d]" in errors for _, _, errors in ends), "torch's own words, and its stacks"
    errors = ends[0][2]
    assert "lost sight of process 1 of 2" in errors
    assert "Beginning again from what is whole" in errors
    assert "going on after step" in errors
    assert weights(folder) == weights(folder, "whole")


@pytest.mark.slow
def test_a_link_that_was_cut_until_it_was_missed(
    llmkit: Command, tiny: Tiny, tmp_path: Path, hosts: list[str]
) -> None:
    """What each side does next is waited for, not timed; the weights are those of two processes on one host."""
    write_config(tmp_path, tiny, epochs=40, save_steps=10, logging_steps=20)
    train_whole(llmkit, tmp_path)

    runs = start(tmp_path, hosts, "--max-restarts", "5")
    first = runs[1]
    first.wait_for("out/checkpoints/step-*")
    set_link(hosts, "down")
    assert newest(tmp_path) < 120, "it was done before"
    first.wait_for_word("lost sight of process 1 of 2")
    set_link(hosts, "up")

    with ended("link between two hosts cut"):
        assert_met_again(runs, tmp_path)


@pytest.mark.slow
def test_a_link_that_was_cut_for_long(tiny: Tiny, tmp_path: Path, hosts: list[str]) -> None:
    """Both sides have given up and wait for each other before it is back."""
    write_config(tmp_path, tiny, epochs=60)
    ends = [run.wait(300) for run in start(tmp_path, hosts, *WHOLE)]
    assert [code for code, _, _ in ends] == [0, 0], ends

    runs = start(tmp_path, hosts, "--max-restarts", "5")
    runs[1].wait_for("out/checkpoints/step-*")
    set_link(hosts, "down")
    assert newest(tmp_path) < 180, "it was done before"
    for run in runs:
        run.wait_for_word("Beginning again from what is whole")
    time.sleep(2 * LOST_AFTER)
    set_link(hosts, "up")

    with ended("link between two hosts cut for long"):
        assert_met_again(runs, tmp_path)
