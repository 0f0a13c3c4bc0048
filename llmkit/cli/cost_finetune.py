"""``llmkit cost --finetune``: the data read and tokenized as the run would, then a probe, or the table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.errors import UsageError

if TYPE_CHECKING:
    from llmkit.cli.cost_run import Asked
    from llmkit.costs.estimate import Estimate
    from llmkit.costs.finetuning import Measured, Steps
    from llmkit.training.config import FinetuneConfig
    from llmkit.training.state import Run


def plan_of_config(asked: Asked) -> Estimate:
    """Return what a config will take; nothing is written but the cache of tokenized examples.

    Raises:
        UsageError: the config is wrong, or an option does not go with it.
        DataError, ModelError: as of `llmkit finetune`.
    """
    from llmkit.cli.parameters import parse_pairs
    from llmkit.costs.choice import read_choice
    from llmkit.training.config_file import load_config

    assert asked.finetune is not None
    foreign = {
        "--tokens",
        "--budget",
        "--sequence-length",
        "--batch-size",
        "--lora",
        "--recompute",
        "--revision",
        "--memory",
    }
    given = [name for name in asked.given if name in foreign]
    if given:
        raise UsageError(
            f"--finetune takes no {given[0]}: the config says it.",
            hint="Change it there, or by --set key=value.",
        )
    choice = read_choice(asked.texts, gpu=asked.gpu, gpus=asked.gpus, grid=asked.grid, at_hand=True)
    if choice.gpu is not None and asked.device != "auto":
        raise UsageError("--device is the one at hand and --gpu one of the table: give one of them.")
    if choice.hfu is not None:
        raise UsageError(
            "--finetune counts the model's own FLOPs, nothing that is computed twice: say --mfu."
        )
    config = load_config(asked.finetune, parse_pairs(asked.settings, "--set"))
    from llmkit.cli.finetune_view import view
    from llmkit.cli.loading import quiet_libraries
    from llmkit.costs.finetuning import on_device_at_hand, on_device_of_table

    with quiet_libraries():
        from llmkit.training.preparing import prepare
        from llmkit.training.reference import add_reference
    with view() as listener:
        run = prepare(config, Path(config.output), device=asked.device, listener=listener)
        if choice.gpu is not None:
            return on_device_of_table(_work(asked.finetune, run, config, at_hand=False), choice)
        add_reference(run, keep=False)
        work = _work(asked.finetune, run, config, at_hand=True)
        return on_device_at_hand(work, _measured(run), choice)


def _work(label: str, run: Run, config: FinetuneConfig, *, at_hand: bool) -> Steps:
    from llmkit.costs.finetuning import Steps
    from llmkit.training.costs import memory_of
    from llmkit.training.planning import workload_of

    work = workload_of(run)
    memory: dict[str, Any] = memory_of(run, config) if at_hand else {}
    is_known = memory.get("activations") is not None
    steps = run.loop.steps
    examples = f"{len(run.data.train):,} examples, {work.steps:,} steps of {steps.batch_size:,}"
    return Steps(
        label,
        work.steps,
        work.tokens,
        work.flops,
        examples,
        memory["total"] if is_known else None,
        memory.get("available"),
    )


def _measured(run: Run) -> Measured:
    from llmkit.costs.finetuning import Measured
    from llmkit.hardware.at_hand import load_of_device, power_of_device
    from llmkit.training.planning import probe, where

    pace = probe(run)
    device = run.accelerator.device
    return Measured(
        where(run),
        run.accelerator.num_processes,
        pace.seconds(),
        len(pace.counted),
        power_of_device(device),
        load_of_device(device),
    )
