"""Fine-tuning and judging from Python: what `llmkit finetune` and `llmkit evaluate` do, as functions."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llmkit.training.evaluating import Evaluation


def finetune(
    config: str | os.PathLike[str] | Mapping[str, Any],
    changes: Mapping[str, Any] | None = None,
    *,
    resume: bool = False,
    overwrite: bool = False,
    device: str = "auto",
) -> dict[str, Any]:
    """Fine-tune a model; it is in the config's output folder afterwards, with its figures and its card.

    Args:
        config: a YAML file, or what would stand in one.
        changes: other values, by their dotted names: ``{"training.epochs": 1}``.
        resume: go on from the newest whole checkpoint in the output folder.
        overwrite: begin anew though the folder has a run in it.

    Returns:
        The output folder, the steps taken, the figures of the model that was kept, and, where a signal ended the
        run early, its name under ``stopped``.

    Raises:
        LlmkitError: as the command says it, with what to do in its `hint`.
    """
    from llmkit.training.config_file import check_config, load_config, set_values
    from llmkit.training.output import outcome
    from llmkit.training.run import finetune as train

    if isinstance(config, Mapping):
        values = deepcopy(dict(config))
        set_values(values, changes or {})
        checked = check_config(values, "the config")
    else:
        checked = load_config(os.fspath(config), changes)
    run = train(checked, resume=resume, overwrite=overwrite, device=device)
    return outcome(run) | ({} if run.stopped is None else {"stopped": run.stopped})


def evaluate(
    model: str | os.PathLike[str],
    data: str | Sequence[str] = (),
    *,
    task: str | None = None,
    columns: Mapping[str, str] | None = None,
    labels: Sequence[str] | None = None,
    metrics: Sequence[str] | None = None,
    worst: int = 10,
    confidence: float = 0.95,
    resamples: int = 1000,
    max_rows: int | None = None,
    max_length: int | None = None,
    batch_size: int | None = None,
    device: str = "auto",
    dtype: str | None = None,
    seed: int | None = None,
    revision: str | None = None,
    input_format: str | None = None,
) -> Evaluation:
    """Judge a model on data.

    Args:
        model: the folder of a run or of a model, a hub id, or ``minilm``.
        data: files, folders, ``hub:NAME``; by default what the run was judged on.
        task: the training task; by default the run's, else what the model was saved for.
        columns: the task's fields and the columns they are in.
        labels: names for the model's classes, in its order.
        metrics: names, as in a config.
        worst: how many examples with the highest loss to return.
        confidence: what the intervals hold of the resamples.
        resamples: of the bootstrap, up to 1,000,000; 0 for none.
        max_rows: only the first rows.
        max_length: tokens of an example at most.
        batch_size: examples a batch at most; None fills batches by their tokens.
        dtype: of the weights; None for what the run computed in, else as the model was saved.
        seed: of the masks and the resamples; None for that of the run, and 0.
        revision: of a model of the hub.
        input_format: reads the files as this, whatever their ending.

    Returns:
        Figures, their confidence intervals, each class, confusions and the worst examples.

    Raises:
        LlmkitError: as the command says it, with what to do in its `hint`.
    """
    from llmkit.training.evaluating import Sureness, evaluate_model
    from llmkit.training.objectives import check_task
    from llmkit.training.trained import Asked

    check_task(task)
    asked = Asked(
        os.fspath(model),
        revision=revision,
        data=(data,) if isinstance(data, str) else tuple(data),
        task=task,
        format=input_format,
        columns=columns or {},
        labels=labels,
        metrics=metrics,
        max_rows=max_rows,
        max_length=max_length,
        batch_size=batch_size,
        seed=seed,
    )
    sureness = Sureness(confidence, resamples, seed or 0)
    return evaluate_model(asked, device=device, dtype=dtype, worst=worst, sureness=sureness)
