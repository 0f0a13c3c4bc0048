"""Real tokens per second of `llmkit finetune` against transformers' Trainer: same model, texts, seed and steps.

The model is the embedded MiniLM with a new two-class head; the texts have 10 to 400 tokens, most of them few, and a
word in each tells its class. The contestants train in turn, each in a process of its own, so that none warms up
another and the peak of memory is its own: Trainer as it comes, Trainer with its best settings (group by length,
fused AdamW) in float32 and in what `precision: auto` is here, and llmkit in both. All learn from the same rows with
the same weights at the beginning; that the loss of the first step is the same is checked first, without dropout,
on a batch that Trainer and llmkit both take whole.

    python -m benchmarks.finetune [--rows 640] [--repeat 1] [--seeds 3] [--threads 2]

Ratios are given by wall time and by processor time. On a machine that does other work the second is the one to go by,
with `--threads 1`: several threads wait for each other by turning round, which counts as processor time.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.figures import parser, record

BATCH = 32
RATE = 2e-4
WORDS = "the bank raised its rates after a long debate and nobody in town was surprised by what came".split()  # noqa: SIM905
TELLING = {"good": ("delight", "warm", "funny"), "bad": ("worst", "cold", "tasteless")}

CLOCKS = ("wall", "processor")

# name -> (who, precision: float32, or auto for bfloat16 where it is native, best settings)
CONTESTANTS = {
    "Trainer as it comes": ("trainer", "float32", False),
    "Trainer, best settings, float32": ("trainer", "float32", True),
    "Trainer, best settings, auto": ("trainer", "auto", True),
    "llmkit, float32": ("llmkit", "float32", True),
    "llmkit, precision: auto": ("llmkit", "auto", True),
}
# who is compared with whom, and the target
PAIRS = (
    ("llmkit, precision: auto", "Trainer as it comes", 6.0),
    ("llmkit, float32", "Trainer, best settings, float32", 1.3),
    ("llmkit, precision: auto", "Trainer, best settings, auto", 1.3),
)


def main() -> None:
    """Run the contestants, or one of them where the process was started for that."""
    options = parser(__doc__)
    options.add_argument("--rows", type=int, default=640)
    options.add_argument("--repeat", type=int, default=1, help="epochs of each run")
    options.add_argument("--seeds", type=int, default=3)
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--one", help=argparse.SUPPRESS)
    options.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    arguments = options.parse_args()
    if arguments.one is not None:
        print(json.dumps(train_one(arguments.one, arguments.folder, arguments.seed, arguments.repeat)))
        return
    with tempfile.TemporaryDirectory() as folder:
        compare(Path(folder), arguments)


# ---- what all of them get


def make_rows(rows: int) -> Iterator[dict[str, str]]:
    """Texts of 10 to 400 tokens, lengths lognormal with a median of 50; the class is told by one word."""
    rng = random.Random(0)
    for number in range(rows):
        label = ("good", "bad")[number % 2]
        length = min(397, max(7, round(rng.lognormvariate(3.9, 0.9))))
        words = [rng.choice(WORDS) for _ in range(length)]
        words.insert(rng.randrange(min(length, 200)), rng.choice(TELLING[label]))
        yield {"text": " ".join(words), "label": label}


def prepare(folder: Path, rows: int) -> None:
    """Write the rows and the model all begin with; a fifth of the rows is held out."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    from llmkit.models.resolving import resolve_model

    everything = list(make_rows(rows + rows // 5))
    for name, part in (("train", everything[:rows]), ("held", everything[rows:])):
        (folder / f"{name}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in part))
    location = resolve_model("minilm").location
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_pretrained(
        location, num_labels=2, id2label={0: "bad", 1: "good"}, label2id={"bad": 0, "good": 1}
    )
    model.save_pretrained(folder / "model")
    AutoTokenizer.from_pretrained(location).save_pretrained(folder / "model")


def precision_here(wanted: str) -> str:
    """Return what a wanted precision is on this machine."""
    import torch

    from llmkit.models.loading import has_native_bfloat16

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return "bfloat16" if wanted == "auto" and has_native_bfloat16(device) else "float32"


# ---- a contestant, in its own process


def train_one(name: str, folder: Path, seed: int, epochs: int) -> dict[str, Any]:
    """Train, and return the seconds, the real tokens, the accuracy on held-out rows and the peak of memory."""
    who, precision, is_best = CONTESTANTS[name]
    precision = precision_here(precision)
    train = with_llmkit if who == "llmkit" else with_trainer
    found = train(folder, seed, epochs, precision, is_best)
    return found | {"precision": precision, "peak_bytes": peak_bytes()}


@dataclass(frozen=True)
class Clocks:
    """Both clocks at a moment."""

    wall: float
    processor: float

    @classmethod
    def now(cls) -> Clocks:
        return cls(time.perf_counter(), time.process_time())

    def since(self) -> dict[str, float]:
        """Return the seconds that passed by each."""
        now = Clocks.now()
        return {"wall": now.wall - self.wall, "processor": now.processor - self.processor}


def peak_bytes() -> int:
    """Return the peak of the GPU's memory where there is one, else of the process."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def llmkit_config(folder: Path, seed: int, epochs: int, precision: str, **training: Any) -> Any:
    """Return the config of a run; what it does not say is as llmkit comes."""
    from llmkit.training.config_file import check_config

    os.environ["LLMKIT_CACHE"] = str(folder / "cache")
    common = {"epochs": epochs, "batch_size": BATCH, "learning_rate": RATE, "seed": seed}
    return check_config(
        {
            "task": "text-classification",
            "model": {"name": str(folder / "model"), "config": training.pop("config", {})},
            "data": {"train": str(folder / "train.jsonl"), "validation": str(folder / "held.jsonl")},
            "training": common
            | {"precision": precision, "warmup_ratio": 0.0, "weight_decay": 0.0}
            | training,
            "output": str(folder / "llmkit-out"),
        },
        "benchmark",
    )


def with_llmkit(folder: Path, seed: int, epochs: int, precision: str, is_best: bool) -> dict[str, Any]:
    from llmkit.training.preparing import prepare as prepare_run
    from llmkit.training.run import figures_of
    from llmkit.training.state import Listener

    config = llmkit_config(folder, seed, epochs, precision)
    run = prepare_run(config, folder / "llmkit-out", device="auto", listener=Listener())
    begin = Clocks.now()
    losses = [result.loss for result in run.loop.run()]
    taken = begin.since()
    assert run.data.validation is not None
    figures = figures_of(run, run.data.validation, "eval")
    return {
        **taken,
        "tokens": run.progress.tokens,
        "steps": len(losses),
        "loss": losses[-1],
        "accuracy": figures["eval_accuracy"],
    }


def with_trainer(folder: Path, seed: int, epochs: int, precision: str, is_best: bool) -> dict[str, Any]:
    trainer, tokens = make_trainer(folder, seed, epochs, precision, is_best)
    begin = Clocks.now()
    done = trainer.train()
    taken = begin.since()
    return {
        **taken,
        "tokens": tokens * epochs,
        "steps": done.global_step,
        "loss": done.training_loss,
        "accuracy": trainer.evaluate()["eval_accuracy"],
    }


def make_trainer(
    folder: Path, seed: int, epochs: int, precision: str, is_best: bool, **config: Any
) -> tuple[Any, int]:
    """Return a Trainer, and the number of real tokens of an epoch."""
    import numpy
    import torch
    import transformers
    from datasets import load_dataset
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, Trainer, TrainingArguments

    transformers.utils.logging.set_verbosity_error()
    transformers.set_seed(seed)
    tokenizer = AutoTokenizer.from_pretrained(folder / "model")
    model = AutoModelForSequenceClassification.from_pretrained(folder / "model", **config)
    files = {name: str(folder / f"{name}.jsonl") for name in ("train", "held")}
    sets = load_dataset("json", data_files=files, cache_dir=str(folder / "hf"))
    encoded = sets.map(
        lambda row: {**tokenizer(row["text"], truncation=True), "label": model.config.label2id[row["label"]]},
        remove_columns=["text"],
    )
    best: dict[str, Any] = {"optim": "adamw_torch_fused", "bf16": precision == "bfloat16"}
    best |= group_by_length() | {"use_cpu": not torch.cuda.is_available()}
    settings = TrainingArguments(
        str(folder / "trainer-out"),
        per_device_train_batch_size=BATCH,
        num_train_epochs=epochs,
        learning_rate=RATE,
        seed=seed,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        **(best if is_best else {}),
    )
    trainer = Trainer(
        model,
        settings,
        train_dataset=encoded["train"],
        eval_dataset=encoded["held"],
        processing_class=tokenizer,
        compute_metrics=lambda found: {
            "accuracy": float(numpy.mean(found.predictions.argmax(-1) == found.label_ids))
        },
    )
    return trainer, sum(len(ids) for ids in encoded["train"]["input_ids"])


def group_by_length() -> dict[str, Any]:
    """Return the setting that sorts by length, under the name that this transformers has for it."""
    from dataclasses import fields

    from transformers import TrainingArguments

    names = {field.name for field in fields(TrainingArguments)}
    if "group_by_length" in names:
        return {"group_by_length": True}
    return {"train_sampling_strategy": "group_by_length"}


# ---- the comparison


def first_losses(folder: Path) -> tuple[float, float]:
    """Return the loss of one batch before anything is learned, as llmkit and as Trainer compute it."""
    import torch

    from llmkit.training.preparing import prepare as prepare_run
    from llmkit.training.state import Listener

    off = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    config = llmkit_config(folder, 0, 1, "float32", config=off)
    run = prepare_run(config, folder / "llmkit-out", device="auto", listener=Listener())
    drawn = [row for rows in run.loop.steps.at(0).micro_batches for row in rows]
    ours = next(run.loop.run()).loss
    trainer, _ = make_trainer(folder, 0, 1, "float32", False, **off)
    batch = trainer._prepare_inputs(trainer.data_collator([trainer.train_dataset[row] for row in drawn]))
    trainer.model.train()
    with torch.no_grad():
        theirs = float(trainer.compute_loss(trainer.model, batch))
    return ours, theirs


def compare(folder: Path, arguments: argparse.Namespace) -> None:
    """Run all contestants for each seed, in turn, and print figures and ratios."""
    prepare(folder, arguments.rows)
    ours, theirs = first_losses(folder)
    assert abs(ours - theirs) < 1e-4, f"the first step's loss is {ours} and {theirs}"
    print(f"{header()}, {arguments.threads} threads; {arguments.rows} texts, batch {BATCH}")
    print(f"loss of the first step: llmkit {ours:.6f}, Trainer {theirs:.6f}")
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in CONTESTANTS}
    for seed in range(arguments.seeds):
        for name in CONTESTANTS:
            found[name].append(in_a_process(name, folder, seed, arguments))
    steps = {run["steps"] for runs in found.values() for run in runs}
    assert len(steps) == 1, f"not the same number of steps: {steps}"
    by_clock = report(found)
    about = (
        f"The embedded MiniLM with a new two-class head, {arguments.rows} texts of 7 to 397 tokens, "
        f"batches of {BATCH}, {arguments.repeat} epoch, {arguments.threads} threads, a process for each contestant, "
        f"in turn, {arguments.seeds} seeds, medians. The loss of the first step is {ours:.6f} with llmkit, "
        f"{theirs:.6f} with Trainer; accuracy is that on held-out texts."
    )
    keep(arguments.record, about, found, by_clock)


def keep(
    file: Path | None,
    about: str,
    found: dict[str, list[dict[str, Any]]],
    by_clock: dict[str, dict[str, float]],
) -> None:
    """Put the figures into the file, where one was asked for."""
    figures = {
        name: {
            "tokens/s": by_clock["wall"][name],
            "tokens a second of processor time": by_clock["processor"][name],
            "peak MiB": max(run["peak_bytes"] for run in runs) / 2**20,
            "accuracy": statistics.mean(run["accuracy"] for run in runs),
        }
        for name, runs in found.items()
    }
    ratios: dict[str, tuple[float, float | None]] = {
        f"{one} against {other}, by {clock} time": (by_clock[clock][one] / by_clock[clock][other], target)
        for one, other, target in PAIRS
        for clock in CLOCKS
    }
    record(file, "finetune", title="Fine-tuning", about=about, figures=figures, ratios=ratios)


def header() -> str:
    """Return what it was measured with."""
    from importlib.metadata import version

    names = ("torch", "transformers", "accelerate")
    return f"python {platform.python_version()}, " + ", ".join(f"{name} {version(name)}" for name in names)


def in_a_process(name: str, folder: Path, seed: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """Return what one contestant found, with a process to itself."""
    command = [sys.executable, "-m", "benchmarks.finetune", "--one", name, "--folder", str(folder)]
    done = subprocess.run(
        [*command, "--seed", str(seed), "--repeat", str(arguments.repeat)],
        env=os.environ | {"OMP_NUM_THREADS": str(arguments.threads), "TOKENIZERS_PARALLELISM": "false"},
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def report(found: dict[str, list[dict[str, Any]]]) -> dict[str, dict[str, float]]:
    """Print each contestant's figures, and the ratios beside their targets; return tokens a second by each clock."""
    by_clock = {
        clock: {
            name: statistics.median(run["tokens"] / run[clock] for run in runs)
            for name, runs in found.items()
        }
        for clock in CLOCKS
    }
    print("  tokens a second of wall time, of processor time; accuracy, lowest and highest; peak of memory")
    for name, runs in found.items():
        accuracies = [run["accuracy"] for run in runs]
        spread = f"{statistics.mean(accuracies):.3f} ({min(accuracies):.3f} to {max(accuracies):.3f})"
        speeds = "  ".join(f"{by_clock[clock][name]:8,.0f}" for clock in CLOCKS)
        peak = max(run["peak_bytes"] for run in runs) / 2**20
        print(f"  {name:34} {runs[0]['precision']:9} {speeds}  {spread}  {peak:,.0f} MiB")
    for ours, theirs, target in PAIRS:
        ratios = [by_clock[clock][ours] / by_clock[clock][theirs] for clock in CLOCKS]
        shown = ", ".join(f"{ratio:.2f} by {clock} time" for ratio, clock in zip(ratios, CLOCKS, strict=True))
        print(f"  {ours} against {theirs}: {shown} (target {target:g})")
    return by_clock


if __name__ == "__main__":
    main()
