"""What the model at the start says of every example: computed once, kept with the run, the same after a resume.

So a loss may compare with the model as it was and no second one is in memory (`Objective.reference`).
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.batching import plan_batches
from llmkit.data.atomic import write_whole
from llmkit.training.examples import Examples
from llmkit.training.objectives.batch import REFERENCE, Draw
from llmkit.training.preparing import micro_batch_limits
from llmkit.training.state import CHECKPOINTS, Run

if TYPE_CHECKING:
    import torch

_FILE = "reference.safetensors"


def add_reference(run: Run, *, keep: bool = True) -> None:
    """Give each example the reference figures, if the task has any: those that are kept, else computed and kept.

    It must be called before anything changes the model: before it is trained, and before a checkpoint is loaded.

    Args:
        keep: write them into the run's folder; not of a run that is only planned.

    Raises:
        OutputError: the figures cannot be written.
    """
    if not run.objective.has_reference:
        return
    sets = {each.name: getattr(run.data, each.name) for each in fields(run.data)}
    there: dict[str, Examples] = {name: examples for name, examples in sets.items() if examples is not None}
    path = run.output / CHECKPOINTS / _FILE
    identities = {name: examples.identity for name, examples in there.items()} | {
        "model": _model_at_start(run)
    }
    figures = _kept(path, identities)
    # What one process finds, all find: none writes before all have looked.
    run.accelerator.wait_for_everyone()
    if figures is None:
        run.listener.note("computing what the model says at the start, once, to compare with.")
        figures = {name: _computed(run, examples) for name, examples in there.items()}
        if keep and run.accelerator.is_main_process:
            _keep(path, figures, identities)
    for name, examples in there.items():
        setattr(run.data, name, _with_column(examples, figures[name]))
    run.loop.examples = run.data.train


def _model_at_start(run: Run) -> str:
    """Return what says which model it was: its section of the config, and the seed of what has no weights yet."""
    return json.dumps([run.config.model.model_dump(mode="json"), run.config.training.seed], sort_keys=True)


def _kept(path: Path, identities: dict[str, str]) -> dict[str, torch.Tensor] | None:
    """Return the figures of a file; None if it is not there, or of other data or another model."""
    from safetensors import SafetensorError, safe_open

    with suppress(FileNotFoundError, SafetensorError), safe_open(path, framework="pt") as file:
        if file.metadata() == identities:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no dict
    return None


def _keep(path: Path, figures: dict[str, torch.Tensor], identities: dict[str, str]) -> None:
    from safetensors.torch import save

    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, save(figures, identities))


def _computed(run: Run, examples: Examples) -> torch.Tensor:
    """Return the figures of a set, (examples, …), float64, computed by all devices together."""
    import torch

    accelerator, model = run.accelerator, run.loop.model
    max_rows, max_tokens = micro_batch_limits(run.config, on_cpu=accelerator.device.type == "cpu")
    mine = range(accelerator.process_index, len(examples), accelerator.num_processes)
    found: list[tuple[int, list[float]]] = []
    model.eval()  # no dropout
    with torch.inference_mode():
        lengths = [examples.lengths[number] for number in mine]
        for plan in plan_batches(lengths, max_tokens=max_tokens, max_rows=max_rows):
            rows = [mine[index] for index in plan]
            draws = [Draw(run.config.training.seed, 0, row) for row in rows]
            batch = run.objective.collate(examples.take(rows), draws).to(accelerator.device)
            found += zip(rows, run.objective.reference(model, batch), strict=True)
    model.train()
    if accelerator.num_processes > 1:
        from accelerate.utils import gather_object

        found = gather_object(found)
    return torch.tensor([figures for _, figures in sorted(found)], dtype=torch.float64)


def _with_column(examples: Examples, figures: torch.Tensor) -> Examples:
    """Return a set whose examples have the figures of each."""
    import pyarrow

    column: list[Any] = [None] * examples.table.num_rows
    numbers = range(len(column)) if examples.numbers is None else examples.numbers
    for number, each in zip(numbers, figures.tolist(), strict=True):
        column[number] = each
    values = pyarrow.array(column, pyarrow.list_(pyarrow.float64()))
    return replace(examples, table=examples.table.append_column(REFERENCE, values))
