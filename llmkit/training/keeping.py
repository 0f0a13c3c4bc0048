"""What a run keeps: checkpoints to go on from, the best weights, and the model at the end."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from llmkit.data.atomic import explained_write
from llmkit.errors import ModelError, UsageError
from llmkit.training.averaging import PREFIX as AVERAGE
from llmkit.training.checkpoints import (
    OPTIMIZER,
    STATE,
    WEIGHTS,
    Checkpoint,
    newest_whole,
    optimizer_tensors,
    read_state,
    remove_old,
    restore_optimizer,
    sync,
    write_checkpoint,
)
from llmkit.training.config import FinetuneConfig
from llmkit.training.examples import files_digest, tokenizer_identity
from llmkit.training.loop import Progress
from llmkit.training.processes import agreed, gathered, is_first
from llmkit.training.sharded_checkpoint import INDEX, read_shards, write_shards
from llmkit.training.sharding import is_fsdp, is_sharded, kept_tensors, put, whole_weights
from llmkit.training.state import CHECKPOINTS, Run
from llmkit.training.zero import engine_of, shape_of

_BEST = "best.safetensors"
_STEP = "step"
_RANDOM = "random."
_RANDOM_STATE = "random.safetensors"
"""Where the optimizer's state is elsewhere, in shards."""


def save(run: Run) -> Checkpoint | None:
    """Write a checkpoint; older ones go when it is whole.

    Raises:
        OutputError: it cannot be written; the older ones are as they were.
    """
    random_state = _random_state()
    engine, shards = engine_of(run.model), None
    taken = None if engine is None else (engine.weights(run.model), engine.moments(run.model))
    if is_fsdp(run.model):
        shards = write_shards(run.output / CHECKPOINTS, run.model, run.loop.optimizer)
    with agreed():
        return _written(run, random_state, shards, taken) if is_first() else None


def _written(
    run: Run,
    random_state: dict[str, Any],
    shards: Path | None,
    taken: tuple[dict[str, Any], dict[str, Any]] | None,
) -> Checkpoint:
    """Write a checkpoint, from shards that are there already, from tensors that were taken, or from the run's own."""
    from safetensors.torch import save_file

    folder = run.output / CHECKPOINTS
    if shards is None:
        weights, moments = taken or (
            _weights(run),
            optimizer_tensors(run.loop.optimizer, _names(run)) | _average(run),
        )
        files = {
            WEIGHTS: lambda path: save_file(weights, path),
            OPTIMIZER: lambda path: save_file(moments | random_state, path),
        }
    else:
        files = {each.name: each.rename for each in sorted(shards.iterdir())}
        files[_RANDOM_STATE] = lambda path: save_file(random_state, path)
    files[STATE] = lambda path: path.write_text(json.dumps(_state(run), indent=1), encoding="utf-8")
    written = write_checkpoint(folder, run.progress.step, files)
    remove_old(folder, run.config.training.keep_checkpoints, run.progress.step)
    return written


def _weights(run: Run) -> dict[str, Any]:
    """Return the model's parameters and buffers by name, a shared tensor once."""
    state: dict[str, Any] = {}
    seen: set[int] = set()
    for name, tensor in run.model.state_dict().items():
        if tensor.data_ptr() in seen and tensor.numel():
            continue
        seen.add(tensor.data_ptr())
        state[name] = tensor.detach().contiguous()
    return state


def _names(run: Run) -> dict[int, str]:
    return {id(parameter): name for name, parameter in run.model.named_parameters()}


def _random_state() -> dict[str, Any]:
    """Return the random state of every process: what dropout draws from."""
    import torch

    mine = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        mine["cuda"] = torch.cuda.get_rng_state()
    return {
        f"{_RANDOM}{rank}.{device}": state
        for rank, states in enumerate(gathered(mine))
        for device, state in states.items()
    }


def _restore_random_state(tensors: dict[str, Any], rank: int) -> None:
    import torch

    # Begun on fewer devices: as at the start, and other than theirs.
    if f"{_RANDOM}{rank}.cpu" not in tensors:
        return
    torch.set_rng_state(tensors[f"{_RANDOM}{rank}.cpu"])
    cuda = tensors.get(f"{_RANDOM}{rank}.cuda")
    if cuda is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(cuda)


def _average(run: Run) -> dict[str, Any]:
    return {} if run.loop.average is None else run.loop.average.tensors()


def _state(run: Run) -> dict[str, Any]:
    scaler = run.accelerator.scaler
    return {
        "progress": asdict(run.progress),
        "losses": run.losses,
        "identity": run_identity(run),
        "scaler": None if scaler is None else scaler.state_dict(),
    }


def run_identity(run: Run) -> dict[str, Any]:
    """Return what a resumed run must have in common with the one it goes on with.

    It is found once, when the data are read: they may be large, and may be another's to change meanwhile.
    """
    if run.identity is None:
        run.identity = _identity(run)
    return run.identity


def _identity(run: Run) -> dict[str, Any]:
    tokenizer = run.objective.tokenizer
    return {
        "config": run.config.model_dump(mode="json", exclude={"output", "devices"}),
        "train": run.data.train.identity,
        "files": files_digest(run.config.data.train),
        "rows": len(run.data.train),
        "tokenizer": {"tokens": len(tokenizer), "content": tokenizer_identity(tokenizer)},
        "devices": run.loop.steps.devices,
    }


def resume_run(run: Run, *, anyway: bool = False) -> None:
    """Put the run where its newest whole checkpoint was.

    Args:
        anyway: also where the config, the data or the tokenizer are others: what differs is said.

    Raises:
        UsageError: the config, the data or the tokenizer are others; the message shows the difference.
        ModelError: its tensors do not fit the model.
    """
    checkpoint, passed = newest_whole(run.output / CHECKPOINTS)
    for each in passed:
        run.listener.note(f"passing over {each.path}: {each.reason}.")
    if checkpoint is None:
        run.listener.note("there is no whole checkpoint: beginning anew.")
        return
    state = read_state(checkpoint)
    now = run_identity(run)
    differing = list(identity_differences(state["identity"], now))
    if differing and not anyway:
        raise UsageError(
            f"{checkpoint.path} is of a run with another config, data or tokenizer:\n"
            + "\n".join(f"  {d}" for d in differing),
            hint="Resume it with what it began with, take it up as it is with --resume-anyway, "
            "or begin a new run in another output folder.",
        )
    for line in differing:
        run.listener.note(f"resumed anyway: {line}.")
    _restore(run, checkpoint, state)
    if state["identity"]["devices"] != now["devices"]:
        run.listener.note(
            f"resumed on {now['devices']} devices, begun on {state['identity']['devices']}: the same examples at the "
            "same rate in each step; dropout draws others."
        )
    if not _judged_alike(state["identity"], now):
        run.progress.best, run.progress.best_step, run.progress.waited = None, 0, 0
        run.listener.note("what was the best model so far is told by other figures: the best is sought anew.")
    elif run.progress.best is not None and _step_of_best(run) != run.progress.best_step:
        run.progress.best, run.progress.best_step, run.progress.waited = None, 0, 0
        run.listener.note("the best model so far is not the one that is kept: the best is sought anew.")
    run.listener.note(f"going on after step {checkpoint.step:,}.")
    if run.progress.step >= run.loop.steps.total:
        run.listener.note(
            f"{run.progress.step:,} steps are taken, of {run.loop.steps.total:,}: only the model and its figures "
            "are written."
        )


def _restore(run: Run, checkpoint: Checkpoint, state: Mapping[str, Any]) -> None:
    """Give the run the weights, the optimizer's state and the place that a checkpoint has."""
    from safetensors.torch import load_file

    if (checkpoint.path / INDEX).exists():
        read_shards(checkpoint.path, run.model, run.loop.optimizer)
        _restore_random_state(load_file(checkpoint.path / _RANDOM_STATE), run.accelerator.process_index)
    else:
        _restore_tensors(run, checkpoint)
    if run.accelerator.scaler is not None and state.get("scaler"):
        run.accelerator.scaler.load_state_dict(state["scaler"])
    run.loop.progress = Progress(**state["progress"])
    run.losses = [(step, loss) for step, loss in state["losses"]]


def _restore_tensors(run: Run, checkpoint: Checkpoint) -> None:
    from safetensors.torch import load_file

    weights = load_file(checkpoint.path / WEIGHTS)
    _check_fit(run, weights, checkpoint)
    _put_weights(run, weights)
    tensors = load_file(checkpoint.path / OPTIMIZER)
    _restore_random_state(tensors, run.accelerator.process_index)
    if run.loop.average is not None:
        run.loop.average.restore(tensors)
    tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith((_RANDOM, AVERAGE))}
    engine = engine_of(run.model)
    if engine is not None:
        engine.put_moments(run.model, tensors)
    else:
        restore_optimizer(run.loop.optimizer, tensors, _names(run))


def _put_weights(run: Run, weights: Mapping[str, Any]) -> None:
    """Give the model weights that are whole, sharded or not."""
    engine = engine_of(run.model)
    if engine is not None:
        engine.put_weights(run.model, weights)
        return
    if not is_fsdp(run.model):
        run.model.load_state_dict(weights, strict=False)
        return
    for name, tensor in kept_tensors(run.model).items():
        if name in weights:
            put(tensor, weights[name])


def _check_fit(run: Run, weights: Mapping[str, Any], checkpoint: Checkpoint) -> None:
    """Refuse weights of another model.

    Raises:
        ModelError: a parameter is missing, is one too many, or has another shape.
    """
    mine = dict(run.model.named_parameters())  # a shared one once, as in the checkpoint
    known = run.model.state_dict().keys()
    problems = [f"{name} is not in it" for name in mine if name not in weights]
    problems += [f"{name} is not in the model" for name in weights if name not in known]
    problems += [
        f"{name} is {tuple(weights[name].shape)}, in the model {tuple(shape_of(tensor))}"
        for name, tensor in mine.items()
        if name in weights and weights[name].shape != shape_of(tensor)
    ]
    if problems:
        more = f" (and {len(problems) - 3} more)" if len(problems) > 3 else ""
        raise ModelError(
            f"the weights of {checkpoint.path} do not fit the model: {'; '.join(problems[:3])}{more}.",
            hint="Begin a new run in another output folder; model.name may be the output of this one.",
        )


_WHAT_JUDGES = ("task", "data", "metrics", "tokenizer")


def _judged_alike(before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Tell whether the figures of two runs can be compared."""

    def what(identity: Mapping[str, Any]) -> list[Any]:
        config = identity["config"]
        best_by = config["training"].get("best_metric")
        return [identity["train"], best_by, *(config.get(name) for name in _WHAT_JUDGES)]

    return what(before) == what(json.loads(json.dumps(now)))


def identity_differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """Go through what two runs differ in, in words for a person.

    What an older release did not keep is taken to be the same.
    """
    now = json.loads(json.dumps(now))
    yield from differences(_completed(before["config"]), now["config"])
    tokens = before.get("tokenizer", now["tokenizer"])
    if tokens != now["tokenizer"]:
        counts = f"{tokens['tokens']:,} tokens before, {now['tokenizer']['tokens']:,} now"
        same = "as many tokens, but others, or other rules"
        yield f"the tokenizer: {counts if tokens['tokens'] != now['tokenizer']['tokens'] else same}"
    if before.get("files", now["files"]) != now["files"]:
        if before["rows"] != now["rows"]:
            yield f"the training data: {before['rows']:,} examples before, {now['rows']:,} now"
        else:
            yield f"the training data: {now['rows']:,} examples as before, but their content is another"
    elif before["train"] != now["train"] and before["config"] == now["config"] and tokens == now["tokenizer"]:
        yield "the training examples: they are read or tokenized otherwise, as by another release"


def _completed(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a config with the defaults of the keys that it does not have; itself where it is no config any more."""
    from pydantic import ValidationError

    try:
        whole = FinetuneConfig.model_validate({**config, "output": "."})
    except ValidationError:
        return config
    return whole.model_dump(mode="json", exclude={"output", "devices"})


def differences(before: Any, now: Any, name: str = "") -> Iterator[str]:
    """Go through what differs between two nested values: ``training.seed: 42 before, 7 now``."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in sorted({*before, *now}):
            yield from differences(before.get(key), now.get(key), f"{name}.{key}" if name else str(key))
    elif before != now:
        was, is_now = (json.dumps(value, ensure_ascii=False, default=str) for value in (before, now))
        yield f"{name}: {was} before, {is_now} now"


def keep_best(run: Run) -> None:
    """Keep the weights that are the best so far, beside the checkpoints.

    Raises:
        OutputError: they cannot be written.
    """
    weights = whole_weights(run.model) if is_sharded(run.model) else _weights(run)
    with agreed():
        if is_first():
            _write_best(run, weights)


def _write_best(run: Run, weights: Mapping[str, Any]) -> None:
    from safetensors.torch import save_file

    folder = run.output / CHECKPOINTS
    beside = folder / f".{_BEST}"
    with explained_write(folder / _BEST, hint="The checkpoints are whole: --resume goes on from the newest."):
        folder.mkdir(parents=True, exist_ok=True)
        save_file(dict(weights), beside, {_STEP: str(run.progress.step)})
        sync(beside)
        beside.replace(folder / _BEST)
        sync(folder)


def _step_of_best(run: Run) -> int | None:
    """Return the step of the best weights that are kept; None where there are none to be read.

    What went on after the newest checkpoint may have replaced those that it tells of.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(run.output / CHECKPOINTS / _BEST, framework="pt") as best:
            return int((best.metadata() or {})[_STEP])
    except (OSError, SafetensorError, KeyError, ValueError):
        return None


def restore_best(run: Run) -> bool:
    """Give the model its best weights again; tell whether they were others than the last."""
    from safetensors.torch import load_file

    best = run.output / CHECKPOINTS / _BEST
    is_last = run.progress.best is None or run.progress.best_step == run.progress.step
    if is_last or not best.exists():
        return False
    _put_weights(run, load_file(best))
    return True
