"""``llmkit finetune``: train a model as a YAML file says."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import fields
from typing import Annotated, Any

import typer

from llmkit.cli import options
from llmkit.cli.answers import checked_format, deliver
from llmkit.cli.channels import claim_stdout, note, set_quiet
from llmkit.cli.destination import refuse_to_replace, refuse_two_ways_on
from llmkit.cli.examples import examples
from llmkit.cli.launch import launch, write_script
from llmkit.cli.parameters import parse_pairs
from llmkit.errors import UsageError
from llmkit.launching.plan import LaunchOptions
from llmkit.launching.surroundings import join_slurm_step
from llmkit.training.config_file import load_config
from llmkit.training.processes import is_first, said_once
from llmkit.wanted import at_least

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command(
    epilog=examples(
        "llmkit finetune configs/text-classification.yaml --check",
        "llmkit finetune run.yaml --set training.epochs=1",
        "llmkit finetune run.yaml --resume",
    )
)
def finetune(
    config: Annotated[
        str,
        typer.Argument(
            metavar="CONFIG", help="The config, a YAML file.  (llmkit config init TASK writes one)"
        ),
    ],
    set_: options.Set = None,
    check: Annotated[
        bool, typer.Option("--check", help="Train nothing: show what would be learned from, and how.")
    ] = False,
    pretend_gpus: Annotated[
        int | None,
        typer.Option(help="With --check: as the first of so many devices, a whole step.", show_default=False),
    ] = None,
    device: options.Device = "auto",
    gpus: options.Gpus = None,
    processes: options.Processes = None,
    nodes: options.Nodes = None,
    node_rank: options.NodeRank = None,
    rendezvous: options.Rendezvous = None,
    max_restarts: options.MaxRestarts = None,
    slurm: Annotated[
        str | None,
        typer.Option(
            metavar="OUT.sbatch", help="Start nothing: write a script for SLURM's sbatch.", show_default=False
        ),
    ] = None,
    format: options.ReportFormat = None,  # noqa: A002
    overwrite: options.Overwrite = False,
    resume: options.ResumeRun = False,
    resume_anyway: Annotated[
        bool,
        typer.Option(
            "--resume-anyway", help="The same, though the config, data or tokenizer are others now."
        ),
    ] = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Fine-tune a model: data, task and settings from one YAML file; the model and its figures into a folder.

    Every GPU that can be seen is used, one process each.
    """
    join_slurm_step()
    set_quiet(quiet or not is_first())  # of several processes one speaks
    with said_once():
        refuse_two_ways_on(resume=resume, overwrite=overwrite)
        if pretend_gpus is not None and not check:
            raise UsageError(
                "--pretend-gpus goes with --check: nothing is trained on devices that are not there."
            )
        at_least(1, pretend_gpus, "--pretend-gpus")
        chosen = checked_format(format, None, overwrite=False)
        checked = load_config(config, parse_pairs(set_ or [], "--set"))
        wanted = LaunchOptions(gpus, processes, nodes, node_rank, rendezvous, max_restarts)
        if slurm is not None:
            refuse_to_replace(slurm, (config,), "--slurm")
            write_script(slurm, wanted, device=device, devices=checked.devices, overwrite=overwrite)
            return
        if not check:
            launch(wanted, device=device, devices=checked.devices)
    results = claim_stdout()
    from llmkit.cli.finetune_view import view
    from llmkit.cli.loading import quiet_libraries

    with quiet_libraries():
        from llmkit.training.checking import check_run
        from llmkit.training.run import finetune as train
    with view() as listener:
        if check:
            with said_once():
                found = check_run(checked, device=device, listener=listener, pretend=pretend_gpus)
            if is_first():
                from llmkit.cli.finetune_check import answer_of

                deliver(answer_of(found, config), results, chosen, None, overwrite=False)
            return
        run = train(
            checked,
            resume=resume,
            resume_anyway=resume_anyway,
            overwrite=overwrite,
            device=device,
            listener=listener,
        )
    if run.stopped is not None:
        _end_stopped(run.stopped, run.progress.step, _resuming(config, set_ or [], device, wanted))
    from llmkit.cli.finetune_view import outcome_answer
    from llmkit.training.card import trying
    from llmkit.training.output import outcome

    note(f"the model is in {checked.output}; try it: {trying(checked.task, checked.output)}")
    if is_first():
        deliver(outcome_answer(outcome(run), checked.output), results, chosen, None, overwrite=False)


def _resuming(config: str, changes: Sequence[str], device: str, wanted: LaunchOptions) -> str:
    """Return the command that goes on with a run, on this machine."""
    given: list[tuple[str, Any]] = [("--set", change) for change in changes]
    given += [("--device", None if device == "auto" else device)]
    given += [(f"--{field.name.replace('_', '-')}", getattr(wanted, field.name)) for field in fields(wanted)]
    options = [part for name, value in given if value for part in (name, str(value))]
    return shlex.join(["llmkit", "finetune", config, *options, "--resume"])


def _end_stopped(signal_name: str, step: int, resuming: str) -> None:
    from llmkit.cli.main import Terminated

    error: BaseException = KeyboardInterrupt() if signal_name == "SIGINT" else Terminated()
    error.add_note(f"saved after step {step:,}; go on with: {resuming}")
    raise error
