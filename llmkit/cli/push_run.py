"""What ``llmkit push`` and ``llmkit card`` say of a run: it must be finished, and its card is for the hub."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from llmkit.errors import UsageError
from llmkit.sharing.card import CardOf, hub_card, split_card
from llmkit.sharing.contents import CARD, SharedFile
from llmkit.training.card import PIPELINE_TASKS, trying
from llmkit.training.runs import FINISHED, RunSummary, read_run


def card_of(folder: Path, repo: str | None, license: str | None) -> str:  # noqa: A002
    """Return the card of a finished run for the hub.

    Raises:
        UsageError: there is no such folder, or no finished run in it; no licence.
    """
    summary = finished_run(folder)
    name = repo or folder.absolute().name
    settings = summary.settings
    from_scratch = bool(settings.get("model.from_scratch"))
    data = settings.get("data.train")
    about = CardOf(
        name=name,
        task=summary.task or "",
        figures=summary.figures,
        data=tuple(map(str, data)) if isinstance(data, list) else () if data is None else (str(data),),
        base=None if from_scratch else summary.model,
        trying=trying(summary.task or "", name),
    )
    return hub_card(folder, about, license)


def finished_run(folder: Path) -> RunSummary:
    """Return what there is to say of a run.

    Raises:
        UsageError: there is no such folder, or its run is not finished.
    """
    if not folder.is_dir():
        raise UsageError(
            f"{folder} is no folder." if folder.exists() else f"no folder {folder}.",
            hint="Name the output of a run: `llmkit runs` lists them.",
        )
    summary = read_run(folder)
    if summary.state != FINISHED:
        why = f": {summary.why}" if summary.why else ""
        raise UsageError(
            f"the run in {folder} is {summary.state}{why}.",
            hint="Only a finished run can be shared; --resume ends one.",
        )
    return summary


def space_of(folder: Path, repo: str, files: Sequence[SharedFile]) -> list[SharedFile]:
    """Return the files of a Space that shows a run's model, which it has from the hub; an adapter goes along.

    Args:
        repo: where the model will be.
        files: what is shared of the run, its card among them.

    Raises:
        UsageError: no pipeline runs what the run has trained, or it is an adapter on a model in a folder here.
        MissingExtraError: Gradio is not installed, whose version the Space names.
    """
    from llmkit.cli.demo_run import check_gradio
    from llmkit.models.resolving import resolve_model
    from llmkit.sharing.space import SpaceOf, space_files
    from llmkit.tasks.catalogue import find_task

    check_gradio()
    task = finished_run(folder).task or ""
    if task not in PIPELINE_TASKS:
        raise UsageError(f"--space: no pipeline runs a model for {task}, and a page asks one.")
    card = next(file for file in files if file.name == CARD)
    metadata, _ = split_card(card.read().decode())
    call = find_task(PIPELINE_TASKS[task][0])
    model = resolve_model(str(folder))
    on_hub = repo if model.adapter is None else None  # the Space's loader takes adapters from folders alone
    return space_files(SpaceOf(repo.rpartition("/")[2], call, model, metadata, hub_id=on_hub))
