"""``hf llmkit``: the script at the root, taken in and run by huggingface_hub's own code, without GitHub."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from llmkit._version import __version__

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "hf-llmkit"
# The real installing, with what it would have from GitHub taken from here.
INSTALL = """
import sys
from pathlib import Path
from huggingface_hub.cli import extensions

class Answer:
    def __init__(self, content):
        self.content, self.text = content, content.decode()

def request(method, url, **more):
    root = Path(sys.argv[1])
    if url.endswith(("/hf-llmkit", "/pyproject.toml")):
        return Answer((root / url.rsplit("/", 1)[1]).read_bytes())
    if url.endswith("info/refs"):
        return Answer(b"0" * 40 + b" HEAD\\0")
    raise OSError(url)

extensions._github_request = request
manifest = extensions._install_extension(owner="acme", repo_name="hf-llmkit", short_name="llmkit")
print(manifest.type)
"""


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    """An environment with a home of its own, and the llmkit that is tried on its path."""
    folder = Path(sys.executable).parent
    return {
        **os.environ,
        "HOME": str(tmp_path),
        "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
        "HF_HUB_DISABLE_UPDATE_CHECK": "1",
    }


def run(*command: str | Path, env: dict[str, str], text: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        list(map(str, command)), env=env, input=text, capture_output=True, text=True, timeout=60, check=False
    )


def test_hf_runs_the_llmkit_that_is_installed(home):
    extensions = pytest.importorskip(
        "huggingface_hub.cli.extensions", reason="huggingface_hub has no extensions"
    )
    if "branch" in inspect.signature(extensions._install_extension).parameters:
        pytest.skip("this huggingface_hub has a package installed, and not the script")
    installed = run(sys.executable, "-c", INSTALL, ROOT, env=home)
    assert installed.stdout.strip() == "binary", installed.stderr

    hf = (sys.executable, "-m", "huggingface_hub.cli.hf")
    version = run(*hf, "llmkit", "--version", env=home)
    assert (version.returncode, version.stdout) == (0, f"llmkit {__version__}\n"), version.stderr
    task = run(*hf, "llmkit", "tasks", "sumarization", env=home)
    assert task.returncode == 2
    assert "summarization" in task.stderr
    listed = run(*hf, "extensions", "list", "--format", "json", env=home)
    assert "hf llmkit" in listed.stdout, listed.stderr


def test_without_llmkit_it_says_what_to_do(home, tmp_path):
    done = run("/bin/sh", SCRIPT, "tasks", env={**home, "PATH": str(tmp_path)})
    assert (done.returncode, done.stdout) == (1, "")
    assert "pip install hf-llmkit" in done.stderr


def test_arguments_pass_through_unchanged(home, tmp_path):
    shown = tmp_path / "llmkit"
    shown.write_text(f"#!{sys.executable}\nimport json, sys\nprint(json.dumps(sys.argv[1:]))\n")
    shown.chmod(0o755)
    words = ["a b", "", "*", "$HOME", "--x=1", "ü"]
    done = run("/bin/sh", SCRIPT, *words, env={**home, "PATH": f"{tmp_path}{os.pathsep}{home['PATH']}"})
    assert json.loads(done.stdout) == words
