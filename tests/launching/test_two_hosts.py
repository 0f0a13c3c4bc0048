"""Two hosts with a link between them that is cut while they train: they meet again by themselves, to the same weights.

Each host is a network namespace with an address of its own, on one disk; the link is a veth pair.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.launching.running import Launched, Tiny, write_config
from tests.launching.test_agent import newest, weights

HOSTS = {"10.213.7.1": f"llmkit{os.getpid()}a", "10.213.7.2": f"llmkit{os.getpid()}b"}
FIRST = next(iter(HOSTS))


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


@pytest.fixture
def hosts() -> Iterator[list[str]]:
    """The two namespaces, connected; each has its address on the interface that bears its name."""
    names = list(HOSTS.values())
    try:
        for name in names:
            ip("netns", "add", name)
        ip(
            "link",
            "add",
            "veth0",
            "netns",
            names[0],
            "type",
            "veth",
            "peer",
            "name",
            "veth0",
            "netns",
            names[1],
        )
        for address, name in HOSTS.items():
            ip("-n", name, "addr", "add", f"{address}/24", "dev", "veth0")
            for device in ("veth0", "lo"):
                ip("-n", name, "link", "set", device, "up")
    except (OSError, subprocess.CalledProcessError) as error:
        remove(names)
        said = getattr(error, "stderr", b"") or str(error).encode()
        pytest.skip(f"no network namespaces here: {said.decode().strip()}")
    yield names
    remove(names)


def remove(names: list[str]) -> None:
    for name in names:
        subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


def start(folder: Path, hosts: list[str], *arguments: str) -> list[Launched]:
    """Start the command on both, the first one last."""
    return [
        Launched(
            folder,
            *("finetune", "run.yaml", "--device", "cpu", "--nodes", "2", "--node-rank", str(rank)),
            *("--rendezvous", f"{FIRST}:29400", *arguments),
            env={"GLOO_SOCKET_IFNAME": "veth0", "LLMKIT_LOST_AFTER": "3"},
            prefix=("ip", "netns", "exec", hosts[rank]),
        )
        for rank in (1, 0)
    ]


@pytest.mark.slow
def test_a_link_that_was_cut(tiny: Tiny, tmp_path: Path, hosts: list[str]) -> None:
    write_config(tmp_path, tiny, epochs=60)
    ends = [run.wait(300) for run in start(tmp_path, hosts)]
    assert [code for code, _, _ in ends] == [0, 0], ends
    whole = weights(tmp_path)

    runs = start(tmp_path, hosts, "--overwrite", "--max-restarts", "5")
    runs[1].wait_for("out/checkpoints/step-0000000?")
    ip("-n", hosts[0], "link", "set", "veth0", "down")
    cut_at = newest(tmp_path)
    time.sleep(8)
    ip("-n", hosts[0], "link", "set", "veth0", "up")
    ends = [run.wait(300) for run in reversed(runs)]

    assert [code for code, _, _ in ends] == [0, 0], ends
    errors = ends[0][2]
    assert "lost sight of process 1 of 2" in errors
    assert "Beginning again from what is whole" in errors
    assert "going on after step" in errors
    assert cut_at < 180, "it was done before"
    assert weights(tmp_path) == whole
