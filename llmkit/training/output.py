"""What is in the output folder at the end: the model, its tokenizer, the config, the figures, the curve, the card."""

from __future__ import annotations

import json
import shutil
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from typing_extensions import TypedDict

from llmkit._version import __version__
from llmkit.data.atomic import explained_write, write_whole
from llmkit.data.json_text import parse_json
from llmkit.data.shapes import others
from llmkit.errors import MissingExtraError
from llmkit.models.sentence_modules import SENTENCE_FILES
from llmkit.training.adapters import ADAPTER_FILES, merged, save_adapter
from llmkit.training.card import model_card
from llmkit.training.log import finite, log_of
from llmkit.training.optimizer import trained_numbers
from llmkit.training.planning import planned_and_actual
from llmkit.training.plot import draw_loss
from llmkit.training.state import CONFIG, COST, METRICS, RUN, Run

LOSS_CURVE = "loss.png"
CARD = "README.md"
_WHOLE_WEIGHTS = ("model*.safetensors", "model*.safetensors.index.json")
MODEL_FILES = ("model.safetensors", "adapter_model.safetensors", "config.json", CARD)


@others(float | None)
class Outcome(TypedDict):
    """What a run came to: its folder, the steps it took, and figures such as `eval_loss`."""

    output: str
    steps: int


def write_start(run: Run) -> None:
    """Write what `llmkit runs` tells of a run that is under way: its config, when it began, how far it goes.

    Raises:
        OutputError: the folder cannot be written.
    """
    path = run.output / RUN
    start = {"begun": _now(), "total_steps": run.loop.steps.total, "llmkit": __version__}
    if run.progress.step:
        with suppress(OSError, ValueError, KeyError, TypeError):  # of a release that did not write it
            start["begun"] = parse_json(path.read_text(encoding="utf-8"))["begun"]
    write_whole(path, f"{json.dumps(start, indent=1)}\n".encode())
    _write_config(run)  # after what says that it is of a run: killed in between, that one is gone on with


def write_best_by(run: Run, figure: str, sign: int) -> None:
    """Add to what `write_start` wrote by which figure the best model is chosen; 1: more of it is better, else -1."""
    path = run.output / RUN
    start = parse_json(path.read_text(encoding="utf-8")) | {"best_by": figure, "best_sign": sign}
    write_whole(path, f"{json.dumps(start, indent=1)}\n".encode())


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _write_config(run: Run) -> None:
    import yaml

    text = yaml.safe_dump(run.config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    write_whole(run.output / CONFIG, text.encode())


def _write_model(run: Run) -> Any:
    """Write the model, or with ``adapter.merge: false`` the adapter and the config; return what was written.

    Weights of the other form that an earlier run left go: who loads the folder would take them for this one's.
    """
    is_adapter = run.config.adapter is not None and not run.config.adapter.merge
    if not (is_adapter and _begins_here(run)):
        for pattern in _WHOLE_WEIGHTS if is_adapter else ADAPTER_FILES:
            for path in run.output.glob(pattern):
                path.unlink()
    if is_adapter:
        save_adapter(run.model, run.output)
        whole = run.model.get_base_model()
        # Classes and the like, which an adapter does not tell.
        whole.config.architectures = [type(whole).__name__]
        whole.config.save_pretrained(run.output)
        return run.model
    model = run.model if run.config.adapter is None else merged(run.model)
    model.save_pretrained(run.output)
    return model


def _begins_here(run: Run) -> bool:
    """Tell whether the model that the run began with lies in the run's own folder: an adapter on it needs it."""
    start = Path(run.config.model.name)
    return start.is_dir() and start.resolve() == run.output.resolve()


def _write_tokenizer(run: Run) -> None:
    """Write the tokenizer, without the cutting and padding that its last call left in it."""
    tokenizer = run.objective.tokenizer
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        backend.no_truncation()
        backend.no_padding()
    tokenizer.save_pretrained(run.output)


def write_output(run: Run) -> None:
    """Write all of it.

    Raises:
        OutputError: the disk is full, or the folder cannot be written; the checkpoints are whole.
    """
    trained = trained_numbers(run.model)  # an adapter that is merged leaves none
    with explained_write(run.output, hint="The checkpoints are whole: --resume ends the run."):
        model = _write_model(run)
        for weights in run.output.glob("*.safetensors"):
            shutil.copymode(run.output / "config.json", weights)  # safetensors writes for the owner alone
        _write_tokenizer(run)
    files = run.objective.output_files(model)
    for name in SENTENCE_FILES:  # of a run of another task
        if name not in files:
            (run.output / name).unlink(missing_ok=True)
    for name, text in files.items():
        (run.output / name).parent.mkdir(exist_ok=True)
        write_whole(run.output / name, text.encode())
    _write_config(run)
    figures = {**run.figures, "steps": run.progress.step, "tokens": run.progress.tokens}
    write_whole(run.output / METRICS, f"{json.dumps(finite(figures), indent=1)}\n".encode())
    cost = planned_and_actual(run)
    if cost is not None:
        write_whole(run.output / COST, f"{json.dumps(cost, indent=1)}\n".encode())
    evaluations = [line for line in log_of(run.output) if line.get("eval_loss") is not None]
    try:
        draw_loss(run.losses, evaluations, run.output / LOSS_CURVE)
    except MissingExtraError as error:
        run.listener.note(f"no {LOSS_CURVE}: {error.hint}")
    write_whole(run.output / CARD, model_card(run, trained).encode())


def outcome(run: Run) -> dict[str, Any]:
    """Return what a run came to: its folder, the steps it took, the figures of the model that was kept."""
    return {"output": str(run.output), "steps": run.progress.step, **finite(run.figures)}
