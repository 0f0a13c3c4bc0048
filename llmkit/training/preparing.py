"""Making a run ready: the data read and tokenized, the model loaded with its head, the loop put together."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.data.records import Record
from llmkit.errors import DataError, ModelError, UsageError
from llmkit.models.loading import LoadOptions, choose_device, choose_head, has_native_bfloat16, load_model
from llmkit.tasks.inputs import RowError
from llmkit.training.adapters import add_adapter
from llmkit.training.averaging import WeightAverage
from llmkit.training.examples import Examples, identity_of, prepare_examples, read_rows
from llmkit.training.four_bits import four_bit_arguments, keep_layout
from llmkit.training.loop import Loop
from llmkit.training.neftune import add_noise
from llmkit.training.objectives import objective_class
from llmkit.training.objectives.base import Objective
from llmkit.training.optimizer import freeze, make_optimizer, rate_at
from llmkit.training.origin import Origin, find_origin
from llmkit.training.state import Data, Listener, Run
from llmkit.training.steps import Steps
from llmkit.training.tracking import check_trackers

if TYPE_CHECKING:
    from llmkit.training.config import FinetuneConfig

# Sorted micro-batches of about a thousand tokens stay in a CPU's cache; a GPU wants to be filled.
_CPU_TOKENS = 1024
_ACCELERATOR_TOKENS = 16384
# In the time that a micro-batch costs beside its tokens, so many could be computed.
_CPU_OVERHEAD = 32
_ACCELERATOR_OVERHEAD = 4096


def prepare(config: FinetuneConfig, output: Path, *, device: str, listener: Listener) -> Run:
    """Load the model, read and tokenize the data, and put the loop together."""
    from accelerate import Accelerator
    from accelerate.utils import set_seed

    origin = find_origin(config)
    if origin.resolved.note:
        listener.note(origin.resolved.note)
    objective = objective_class(config.task)(config, origin.tokenizer)
    data = prepare_data(config, objective)
    set_seed(config.training.seed)
    model = load_trainable(config, origin, objective, device=device)
    model = _set_up(model, config, objective)
    check_trackers(config.trackers)
    accelerator = Accelerator(
        mixed_precision=ACCELERATES_NAMES[precision_name(config, device)],
        cpu=device == "cpu",
        log_with=list(config.trackers) or None,
        project_dir=output,
    )
    optimizer = make_optimizer(model, config.training)
    prepared, optimizer = accelerator.prepare(model, optimizer)
    on_cpu = accelerator.device.type == "cpu"
    max_rows, max_tokens = micro_batch_limits(config, on_cpu=on_cpu)
    steps = Steps(
        data.train.lengths,
        config.training.batch_size,
        config.training.epochs,
        config.training.seed,
        max_rows=max_rows,
        max_tokens=max_tokens,
        overhead_tokens=_CPU_OVERHEAD if on_cpu else _ACCELERATOR_OVERHEAD,
        max_steps=config.training.max_steps,
        sort=config.training.batching != "padded",
        rank=accelerator.process_index,
        devices=accelerator.num_processes,
    )
    loop = Loop(
        accelerator,
        prepared,
        optimizer,
        objective,
        data.train,
        steps,
        rate_at(config.training, steps.total),
        config.training.max_grad_norm,
        config.training.seed,
        average=WeightAverage(model, config.training.ema) if config.training.ema is not None else None,
    )
    return Run(config, output, accelerator, objective, data, model, loop, listener)


def _set_up(model: Any, config: FinetuneConfig, objective: Objective) -> Any:
    """Return the model with what the settings add to it: an adapter, frozen parameters, noise."""
    settings = config.training
    freeze(model, settings.freeze)
    if config.adapter is not None:
        model = add_adapter(model, config.adapter, new_head=objective.new_head)
    if settings.neftune_alpha is not None:
        add_noise(model, settings.neftune_alpha)
    if settings.gradient_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    if settings.compile:
        model.compile()
    return model


def prepare_data(config: FinetuneConfig, objective: Objective) -> Data:
    """Read and tokenize the sets; a share of the training rows is put aside for validation."""
    data = config.data

    def rows_of(files: list[str]) -> Callable[[], Iterator[Any]]:
        return lambda: read_rows(files, data.format, data.max_rows)

    study(objective, rows_of(data.train)())
    sets = {}
    for name in ("train", "validation", "test"):
        files = getattr(data, name)
        if isinstance(files, list):
            sets[name] = prepare_examples(objective, rows_of(files), identity_of(objective, files, {}))
    if isinstance(data.validation, float):
        sets["train"], sets["validation"] = split_off(sets["train"], data.validation, config.training.seed)
    return Data(**sets)


def study(
    objective: Objective,
    records: Iterable[Record],
    learn: Callable[[Iterable[dict[str, Any]]], None] | None = None,
) -> None:
    """Let the objective learn from rows what encoding needs.

    Args:
        learn: what it learns by; `Objective.study` when None.

    Raises:
        DataError: a row cannot be learned from; the message names its file and line.
    """
    place = ""

    def values() -> Iterator[dict[str, Any]]:
        nonlocal place
        for record in records:
            place = record.place
            yield objective.values_of(record)

    try:
        (learn or objective.study)(values())
    except RowError as error:
        raise DataError(f"{place}: {error.message}.", hint=error.hint) from None


def split_off(examples: Examples, share: float, seed: int) -> tuple[Examples, Examples]:
    """Return the training and the validation part: rows at random, of each label the same share."""
    by_label: dict[str, dict[str, list[int]]] = {}
    places = examples.table.column("place").to_pylist()
    names = examples.table.column_names
    labels = examples.table.column("label").to_pylist() if "label" in names else [None] * len(places)
    for number, (place, label) in enumerate(zip(places, labels, strict=True)):
        group = "" if isinstance(label, float | list) else str(label)
        by_label.setdefault(group, {}).setdefault(place, []).append(number)
    aside: set[int] = set()
    generator = random.Random(seed)
    for _, rows in sorted(by_label.items()):
        parts = list(rows.values())
        generator.shuffle(parts)
        count = round(len(parts) * share) or (1 if len(parts) > 1 else 0)
        aside.update(number for part in parts[:count] for number in part)
    kept = [number for number in range(len(places)) if number not in aside]
    if not kept or not aside:
        raise UsageError(
            f"data.validation: {share} of {len(places)} rows leaves nothing to learn from or to judge by.",
            hint="Give a file for data.validation, or more rows.",
        )
    return examples.subset(kept), examples.subset(sorted(aside))


def load_trainable(
    config: FinetuneConfig, origin: Origin, objective: Objective, *, device: str = "auto"
) -> Any:
    """Load the model with the task's head, in the config's dtype, or make it new from the architecture alone.

    With ``adapter: {type: qlora}`` its linear layers, the head aside, are in 4 bits, on the device.

    Raises:
        UsageError: model.config has a value that the model's config does not know.
    """
    import transformers

    resolved, model_config = origin.resolved, origin.model_config
    values = {**objective.model_config(), **origin.tokenizer_values, **config.model.config}
    for name, value in values.items():
        if not hasattr(model_config, name):
            raise UsageError(f"model.config.{name}: the config of {resolved.name} has no such value.")
        setattr(model_config, name, value)
    heads = [getattr(transformers, name) for name in objective.heads]
    if config.model.from_scratch:
        if config.adapter is not None and config.adapter.type == "qlora":
            raise UsageError("adapter.type: qlora: new weights are not kept in 4 bits: nothing would learn.")
        head = next((each for each in heads if type(model_config) in each._model_mapping), None)
        if head is None:
            raise ModelError(f"{resolved.name} has no head for {config.task}.")
        return head.from_config(model_config, dtype=config.model.dtype)
    in_four_bits = config.adapter is not None and config.adapter.type == "qlora"
    arguments = (
        four_bit_arguments(
            choose_head(heads, model_config, resolved, config.task),
            model_config,
            device=choose_device(device),
            compute_dtype=precision_name(config, device),
            new_head=objective.new_head,
        )
        if in_four_bits
        else {}
    )
    loaded = load_model(
        resolved,
        heads,
        LoadOptions(device="cpu", dtype=config.model.dtype, config=model_config, arguments=arguments),
        task=config.task,
        to_train=True,
    )
    if in_four_bits:
        keep_layout(loaded)
    return loaded


ACCELERATES_NAMES = {"float32": "no", "bfloat16": "bf16", "float16": "fp16"}


def precision_name(config: FinetuneConfig, device: str) -> str:
    """Return what is computed in; auto is bfloat16 where the device computes in it natively."""
    wanted = config.training.precision
    if wanted != "auto":
        return wanted
    return "bfloat16" if has_native_bfloat16(choose_device(device)) else "float32"


def micro_batch_limits(config: FinetuneConfig, *, on_cpu: bool) -> tuple[int, int]:
    """Return the most rows and the most tokens of a micro-batch."""
    rows, tokens = config.training.micro_batch_size, config.training.micro_batch_tokens
    if tokens == "auto":
        tokens = _CPU_TOKENS if on_cpu else _ACCELERATOR_TOKENS
        tokens = tokens if rows == "auto" else 1 << 40
    return (config.training.batch_size if rows == "auto" else rows), tokens
