"""Making a run ready: the data read and tokenized, the model loaded with its head, the loop put together."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.data.records import Record
from llmkit.errors import DataError, ModelError, UsageError
from llmkit.hardware.at_hand import peak_of_device
from llmkit.hardware.meters import EnergyMeter, open_meter
from llmkit.models.loading import LoadOptions, choose_device, choose_head, load_to_train
from llmkit.tasks.inputs import RowError
from llmkit.training.adapters import add_adapter
from llmkit.training.averaging import WeightAverage
from llmkit.training.compiling import compile_model
from llmkit.training.costs import step_flops
from llmkit.training.embedding_gradients import add_rows_alone
from llmkit.training.examples import identity_of, prepare_examples, read_rows
from llmkit.training.four_bits import four_bit_arguments, keep_layout
from llmkit.training.loop import Loop
from llmkit.training.neftune import add_noise
from llmkit.training.objectives import objective_class
from llmkit.training.objectives.base import Objective
from llmkit.training.objectives.variable_length import use_variable_length
from llmkit.training.optimizer import freeze, make_optimizer, rate_at
from llmkit.training.origin import Origin, find_origin
from llmkit.training.precision import make_accelerator, precision_name
from llmkit.training.processes import process_count
from llmkit.training.sharding import check_sharding, shard, whole_weights
from llmkit.training.splitting import split_off
from llmkit.training.state import Data, Listener, Run
from llmkit.training.steps import Steps
from llmkit.training.task_metrics import check_metrics
from llmkit.training.tracking import check_trackers
from llmkit.training.zero import start_engine
from llmkit.training.zero_config import is_zero, zero_settings

if TYPE_CHECKING:
    from accelerate import Accelerator

    from llmkit.training.config import FinetuneConfig

# Sorted micro-batches of about a thousand tokens stay in a CPU's cache; a GPU wants to be filled.
_CPU_TOKENS = 1024
_ACCELERATOR_TOKENS = 16384
# In the time that a micro-batch costs beside its tokens, so many could be computed.
_CPU_OVERHEAD = 32
_ACCELERATOR_OVERHEAD = 4096


def prepare(config: FinetuneConfig, output: Path, *, device: str, listener: Listener) -> Run:
    """Load the model, read and tokenize the data, and put the loop together."""
    from accelerate.utils import set_seed

    precision = precision_name(config, device)
    origin = find_origin(config)
    if origin.resolved.note:
        listener.note(origin.resolved.note)
    objective = objective_class(config.task)(config, origin.tokenizer)
    check_sharding(config, objective)
    zero = zero_settings(config, precision) if is_zero(config) else None
    if zero is not None and process_count() == 1:
        listener.note("sharding: one process has nothing to share: DeepSpeed is left out.")
    data = prepare_data(config, objective)
    if data.validation is not None or data.test is not None:
        check_metrics(objective)
    for text in objective.notes():
        listener.note(text)
    set_seed(config.training.seed)
    model, new = load_trainable(config, origin, objective, device=device)
    model = _set_up(model, config, objective, new)
    check_trackers(config.trackers)
    accelerator = make_accelerator(
        precision, choose_device(device), log_with=list(config.trackers) or None, project_dir=output
    )
    if accelerator.process_index:
        set_seed(config.training.seed, device_specific=True)  # or all devices would drop out the same
    if config.sharding is not None and config.sharding.type == "fsdp" and accelerator.num_processes > 1:
        shard(model, accelerator.device, cpu_offload=config.sharding.cpu_offload)
    optimizer = make_optimizer(model, config.training)
    if objective.joins_texts:
        use_variable_length(model, accelerator.device.type, precision)
    # Several devices' gradients meet in the loop, not in a wrapper around the model: `average_gradients`.
    prepared = accelerator.prepare_model(model, evaluation_mode=True)
    if zero is not None and accelerator.num_processes > 1:
        prepared = start_engine(model, optimizer, zero, accelerator.device).wrapped
    elif not config.training.compile:
        add_rows_alone(model)
    steps = _make_steps(config, data.train.lengths, accelerator)
    loop = Loop(
        accelerator,
        prepared,
        accelerator.prepare_optimizer(optimizer),
        objective,
        data.train,
        steps,
        rate_at(config.training, steps.total),
        config.training.max_grad_norm,
        config.training.seed,
        average=WeightAverage(model, config.training.ema) if config.training.ema is not None else None,
        note=listener.note,
        flops=step_flops(model, data.train.lengths, head_at_targets=objective.head_at_targets),
        meter=_own_meter(accelerator),
    )
    peak = peak_of_device(accelerator.device, precision)
    return Run(config, output, accelerator, objective, data, model, loop, listener, peak_flops=peak)


def _make_steps(config: FinetuneConfig, lengths: Sequence[int], accelerator: Accelerator) -> Steps:
    """Return the run's steps, in micro-batches that suit the device.

    Args:
        lengths: tokens of each training example.
    """
    training = config.training
    on_cpu = accelerator.device.type == "cpu"
    max_rows, max_tokens = micro_batch_limits(config, on_cpu=on_cpu)
    if training.batching == "padded" and training.micro_batch_tokens == "auto":
        max_tokens = _NO_LIMIT  # it is as others do it: so many rows, whatever their length
    return Steps(
        lengths,
        training.batch_size,
        training.epochs,
        training.seed,
        max_rows=max_rows,
        max_tokens=max_tokens,
        overhead_tokens=_CPU_OVERHEAD if on_cpu else _ACCELERATOR_OVERHEAD,
        max_steps=training.max_steps,
        sort=training.batching != "padded",
        rank=accelerator.process_index,
        devices=accelerator.num_processes,
    )


def _own_meter(accelerator: Accelerator) -> EnergyMeter:
    """Return the counter of the device's energy; a CPU's is the whole machine's, read by one process for all."""
    if accelerator.device.type == "cpu" and not accelerator.is_local_main_process:
        return EnergyMeter()
    return open_meter(accelerator.device)


def make_whole(run: Run) -> None:
    """Give the first process of a sharded run the whole model, on the CPU, to be written; each process must do so."""
    weights = whole_weights(run.model)
    if not weights:
        return
    config = run.config
    origin = replace(find_origin(config), tokenizer=run.objective.tokenizer)
    loaded, new = load_trainable(config, origin, run.objective, device="cpu")
    model = _set_up(loaded, config, run.objective, new)
    model.load_state_dict(weights, strict=False)
    run.model = model


def _set_up(model: Any, config: FinetuneConfig, objective: Objective, new: Collection[str]) -> Any:
    """Return the model with what the settings add to it: an adapter, frozen parameters, noise.

    Args:
        new: names of the parameters that came without weights.
    """
    settings = config.training
    objective.set_up(model)
    freeze(model, settings.freeze)
    if config.adapter is not None:
        model = add_adapter(
            model, config.adapter, new_head=objective.new_head, new=new, base=config.model.name
        )
    if settings.neftune_alpha is not None:
        add_noise(model, settings.neftune_alpha)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise UsageError("training.freeze: nothing is left to train.")
    if settings.gradient_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    if settings.compile:
        compile_model(model)
    return model


def prepare_data(config: FinetuneConfig, objective: Objective) -> Data:
    """Read and tokenize the sets; a share of the training rows is put aside for validation."""
    data = config.data

    def rows_of(files: list[str], name: str) -> Callable[[], Iterator[Any]]:
        return lambda: read_rows(files, data.format, data.max_rows, wanted=name)

    study(objective, rows_of(data.train, "train")())
    sets = {}
    for name in ("train", "validation", "test"):
        files = getattr(data, name)
        if isinstance(files, list):
            identity = identity_of(objective, files, {}, wanted=name)
            sets[name] = prepare_examples(objective, rows_of(files, name), identity, ", ".join(files))
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


def load_trainable(
    config: FinetuneConfig, origin: Origin, objective: Objective, *, device: str = "auto"
) -> tuple[Any, Collection[str]]:
    """Load the model with the task's head, in the config's dtype, or make it new from the architecture alone.

    With ``adapter: {type: qlora}`` its linear layers, the head aside, are in 4 bits, on the device.

    Returns:
        The model, and the names of its parameters that the checkpoint has no weights for; none from scratch,
        where all are new.

    Raises:
        UsageError: model.config has a value that the model's config does not know.
    """
    import transformers

    resolved, model_config = origin.resolved, origin.model_config
    # What the run needs is set even where the architecture has no such value by itself; a person's slip is not.
    for name, value in {**objective.model_config(), **origin.tokenizer_values}.items():
        setattr(model_config, name, value)
    for name, value in config.model.config.items():
        if not hasattr(model_config, name):
            raise UsageError(f"model.config.{name}: the config of {resolved.name} has no such value.")
        _set_value(model_config, name, value)
    heads = [getattr(transformers, name) for name in objective.heads]
    if config.model.from_scratch:
        if config.adapter is not None and config.adapter.type == "qlora":
            raise UsageError("adapter.type: qlora: new weights are not kept in 4 bits: nothing would learn.")
        head = next((each for each in heads if type(model_config) in each._model_mapping), None)
        if head is None:
            raise ModelError(f"{resolved.name} has no head for {config.task}.")
        try:
            return head.from_config(model_config, dtype=config.model.dtype), ()
        except (ValueError, TypeError, RuntimeError) as error:
            raise UsageError(f"model.config: {resolved.name} cannot be made so: {error}") from None
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
    loaded, new = load_to_train(
        resolved,
        heads,
        LoadOptions(device="cpu", dtype=config.model.dtype, config=model_config, arguments=arguments),
        task=config.task,
    )
    if in_four_bits:
        keep_layout(loaded)
    return loaded, new


def _set_value(model_config: Any, name: str, value: Any) -> None:
    from huggingface_hub.errors import StrictDataclassError

    try:
        setattr(model_config, name, value)
    except (TypeError, ValueError, StrictDataclassError) as error:  # transformers checks the types itself
        reason = str(error.__cause__ or error).strip().splitlines()[-1].strip()
        raise UsageError(f"model.config.{name}: {value!r} is not allowed: {reason}.") from None


def is_measured(config: FinetuneConfig, *, on_cpu: bool) -> bool:
    """Tell whether what fits is found out before the first step: on a GPU, where the config does not say it."""
    settings = config.training
    if config.sharding is not None:  # the devices would have to try the same sizes at the same moments
        return False
    return not on_cpu and settings.micro_batch_size == "auto" and settings.micro_batch_tokens == "auto"


_NO_LIMIT = 1 << 40  # tokens


def micro_batch_limits(config: FinetuneConfig, *, on_cpu: bool) -> tuple[int, int]:
    """Return the most rows and the most tokens of a micro-batch."""
    rows, tokens = config.training.micro_batch_size, config.training.micro_batch_tokens
    if tokens == "auto":
        tokens = _CPU_TOKENS if on_cpu else _ACCELERATOR_TOKENS
        tokens = tokens if rows == "auto" else _NO_LIMIT
    return (config.training.batch_size if rows == "auto" else rows), tokens
