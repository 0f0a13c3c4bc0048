"""A disk that is full and one that cannot be written: a small one of the test's own, in a namespace of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.fixtures.command import base_environment
from tests.fixtures.ended import ended
from tests.launching.running import ROOT, Tiny, write_config

IN_NAMESPACE = ["unshare", "--mount", "--map-root-user"]
SCRIPT = """
set -u
mkdir disk && mount -t tmpfs -o size=900k disk disk || exit 99
run() { "$PYTHON" -m llmkit finetune run.yaml --device cpu --set output=disk/out "$@"; echo "code $?" >&2; }
echo "== full" >&2; run
mount -o remount,size=32m disk
mount -o remount,ro disk
echo "== read-only" >&2; run --resume
mount -o remount,rw disk
echo "== room again" >&2; run --resume
"$PYTHON" -m llmkit finetune run.yaml --device cpu --set output=whole -q
cmp disk/out/model.safetensors whole/model.safetensors && echo "same weights" >&2
"""


@pytest.mark.slow
def test_full_then_read_only_then_gone_on_with(tiny: Tiny, tmp_path: Path) -> None:
    write_config(tmp_path, tiny, epochs=3)
    try:
        done = subprocess.run(
            [*IN_NAMESPACE, "bash", "-c", SCRIPT],
            cwd=tmp_path,
            env=base_environment()
            | {"LLMKIT_CACHE": str(tmp_path / "cache"), "PYTHONPATH": str(ROOT), "PYTHON": sys.executable},
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
    except FileNotFoundError:
        pytest.skip("unshare is not installed")
    if done.returncode == 99 or "unshare:" in done.stderr:
        pytest.skip(f"no mount namespaces here: {done.stderr.strip()}")

    _, full, read_only, room = [part.strip() for part in done.stderr.split("== ")]
    assert "no space left on the device" in full
    assert "The checkpoints before it are whole." in full
    assert full.endswith("code 1")
    assert "Read-only file system" in read_only
    assert read_only.endswith(("code 1", "code 2"))
    assert "Traceback" not in done.stderr
    with ended("full disk, then a read-only one"):
        assert "going on after step" in room
        assert room.endswith("same weights")
