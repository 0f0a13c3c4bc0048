"""The model card: what the model was made from and how, what it can do, and the command to try it."""

from __future__ import annotations

import shlex
from importlib.metadata import version
from typing import Any

from llmkit._version import __version__
from llmkit.training.planning import actual_energy, planned_and_actual, where
from llmkit.training.precision import precision_of
from llmkit.training.state import CONFIG, Run, name_of
from llmkit.units import Amount

# The pipeline task that runs what a training task made.
PIPELINE_TASKS = {
    "text-classification": ("text-classification", "'a text'"),
    "token-classification": ("token-classification", "'a text'"),
    "question-answering": ("question-answering", "--question 'Who?' --context 'a text'"),
    "masked-lm": ("fill-mask", "'a ___ text'"),
    "next-sentence": ("fill-mask", "'a ___ text'"),
    "causal-lm": ("text-generation", "'a beginning'"),
    "seq2seq": ("text2text-generation", "'a text'"),
    "sentence-embedding": ("sentence-similarity", "'a text' 'one to compare' 'another'"),
    "preference": ("text-generation", "'a beginning'"),
}


def trying(task: str, output: str) -> str:
    """Return the command that runs what a training task made; one that no pipeline runs is judged."""
    if task not in PIPELINE_TASKS:
        return f"llmkit evaluate {shlex.quote(output)} --data FILE"
    name, example = PIPELINE_TASKS[task]
    return f"llmkit pipeline {name} {example} --model {shlex.quote(output)}"


def model_card(run: Run, trained: int) -> str:
    """Return the card, Markdown with the metadata that the hub reads.

    Args:
        trained: how many numbers of the model were trained; one that an adapter was merged into does not tell.
    """
    parts = [
        _metadata(run),
        f"# {name_of(run.output)}\n",
        f"{_base(run)} fine-tuned for {run.config.task} with llmkit {__version__}.\n",
        _try_it(run),
        _results(run),
        _data(run),
        _training(run, trained),
        _cost(run),
    ]
    return "\n".join(part for part in parts if part)


def _metadata(run: Run) -> str:
    import yaml

    values: dict[str, Any] = {"library_name": "transformers", "tags": ["llmkit"]}
    if run.config.task in PIPELINE_TASKS:
        values["pipeline_tag"] = PIPELINE_TASKS[run.config.task][0]
    if not run.config.model.from_scratch:
        values["base_model"] = run.config.model.name
    return f"---\n{yaml.safe_dump(values, sort_keys=False)}---\n"


def _base(run: Run) -> str:
    name = run.config.model.name
    return f"The architecture of {name}, trained from scratch and" if run.config.model.from_scratch else name


def _try_it(run: Run) -> str:
    return f"```\n{trying(run.config.task, str(run.output))}\n```\n"


def _results(run: Run) -> str:
    if not run.figures:
        return ""
    rows = "\n".join(f"| {name} | {value:.4f} |" for name, value in run.figures.items())
    return f"## Results\n\n| | |\n|---|---|\n{rows}\n\n`loss.png` and `log.jsonl` show the way there.\n"


def _data(run: Run) -> str:
    rows = [("train", run.data.train), ("validation", run.data.validation), ("test", run.data.test)]
    lines = [f"| {name} | {len(examples):,} |" for name, examples in rows if examples is not None]
    files = ", ".join(f"`{name}`" for name in run.config.data.train)
    return f"## Data\n\n{files}\n\n| set | examples |\n|---|---|\n" + "\n".join(lines) + "\n"


def _training(run: Run, trained: int) -> str:
    settings = run.config.training
    rows = {
        "steps": f"{run.progress.step:,}",
        "batch size": settings.batch_size,
        "learning rate": f"{settings.learning_rate:g}, {settings.schedule}",
        "weight decay": settings.weight_decay,
        "precision": precision_of(run.accelerator),
        "seed": settings.seed,
        "parameters trained": f"{trained:,}",
    }
    lines = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
    return f"## Training\n\nAll settings are in `{CONFIG}`.\n\n| | |\n|---|---|\n{lines}\n"


def _cost(run: Run) -> str:
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "accelerate"))
    lines = [
        f"{run.progress.seconds:,.0f} seconds of training on {where(run)}, "
        f"{run.progress.tokens / max(run.progress.seconds, 1e-9):,.0f} tokens a second; {versions}.",
    ]
    utilization = run.utilization(run.progress.flops, run.progress.seconds)
    if utilization is not None:
        lines.append(
            f"{utilization:.0%} of the peak of the device (MFU: the model's own FLOPs, real tokens alone)."
        )
    energy = actual_energy(run)
    if energy is not None:
        lines.append(f"{energy.label.capitalize()}: {energy.amount} ({energy.source}).")
    return "## Time and energy\n\n" + "\n".join(lines) + "\n" + _planned(run)


def _planned(run: Run) -> str:
    """Return what was planned beside what it took, as a table; "" where nothing was planned."""
    found = planned_and_actual(run)
    if found is None or run.plan is None:
        return ""
    rows = []
    for key, pair in found.items():
        planned, actual = (Amount(pair[each]["value"], pair[each]["unit"]) for each in ("planned", "actual"))
        ratio = f"{Amount(actual.value / planned.value, '× planned')}" if planned.value else ""
        rows.append(f"| {key.replace('_', ' ')} | {planned} | {actual} | {ratio} |")
    return (
        f"\nPlanned from the data and the first {len(run.plan.pace.results)} steps; evaluations and checkpoints "
        "come on top of the time.\n\n| | planned | actual | |\n|---|---|---|---|\n" + "\n".join(rows) + "\n"
    )
