"""Files of models, as far as they can be told without loading: on disk, and in the hub's cache."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys

REPO = "acme/tiny-bert"
TASK = "feature-extraction"


def write_safetensors(path, floats=4):
    header = json.dumps({"weight": {"dtype": "F32", "shape": [floats], "data_offsets": [0, 4 * floats]}})
    path.write_bytes(struct.pack("<Q", len(header)) + header.encode() + bytes(4 * floats))


def fill_cache(hub, tmp_path, *files, repo=REPO, revision="main"):
    code = f"""
from huggingface_hub import hf_hub_download
for file in {files!r}:
    hf_hub_download({repo!r}, file, revision={revision!r})
"""
    environment = {**os.environ, **hub.environment(tmp_path / "home")}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True)
    hub.requests.clear()
