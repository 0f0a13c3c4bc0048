"""The commands of `make quickstart` in a new folder, installing apart: their seconds, and how good the model is.

python -m benchmarks.quickstart
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.figures import ROOT, parser, record

LLMKIT = str(Path(sys.executable).with_name("llmkit"))
TEXT = "I expected the worst, and it was a wonderful evening."
COMMANDS = {
    "pipeline": [
        "pipeline",
        "sentence-similarity",
        "-m",
        "minilm",
        "-i",
        "configs/examples/similarity.jsonl",
    ],
    "finetune": ["finetune", "configs/text-classification.yaml"],
    "classify": ["pipeline", "sentiment-analysis", "-m", "runs/reviews", TEXT],
}


def main() -> None:
    """Run them one after the other and judge the model on the test reviews."""
    arguments = parser(__doc__).parse_args()
    taken: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as place:
        shutil.copytree(ROOT / "configs", Path(place, "configs"))
        # Nothing is left from an earlier run.
        environment = os.environ | {"HF_HUB_OFFLINE": "1", "LLMKIT_CACHE": str(Path(place, "cache"))}
        for name, command in COMMANDS.items():
            start = time.perf_counter()
            subprocess.run(
                [LLMKIT, *command, "-q"], cwd=place, env=environment, check=True, stdout=subprocess.DEVNULL
            )
            taken[name] = time.perf_counter() - start
            print(f"  {name:12} {taken[name]:7.1f} s", flush=True)
        judged = subprocess.run(
            [LLMKIT, "evaluate", "runs/reviews", "--worst", "0", "--format", "json", "-q"],
            cwd=place, env=environment, check=True, capture_output=True, text=True,
        )  # fmt: skip
    found = json.loads(judged.stdout)
    accuracy, total = found["metrics"]["accuracy"], sum(taken.values())
    print(f"  {'all':12} {total:7.1f} s; accuracy {accuracy:.3f} on {found['examples']} test reviews")
    figures = {name: {"seconds": seconds} for name, seconds in taken.items()}
    record(
        arguments.record,
        "quickstart",
        title="Quickstart",
        about="The three commands of `make quickstart` in a new folder with an empty cache, without installing. The "
        f"model is trained on 518 reviews; accuracy is that on {found['examples']} others (targets: three "
        "minutes, 0.90).",
        figures=figures | {"all": {"seconds": total, "accuracy": accuracy}},
    )


if __name__ == "__main__":
    main()
