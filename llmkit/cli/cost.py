"""``llmkit cost``: what training takes, and what published runs took."""

from __future__ import annotations

from typing import Annotated

import typer

from llmkit.cli import options
from llmkit.cli.answers import checked_format
from llmkit.cli.channels import claim_stdout, set_quiet
from llmkit.cli.completion import complete_accelerator, complete_catalogue, complete_grid, complete_recompute
from llmkit.cli.examples import examples

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command(
    epilog=examples(
        "llmkit cost llama-3.1-405b --tokens 15.6T --gpu h100 --gpus 16384",
        "llmkit cost gpt-3 --budget 5000usd --gpu h100 --price 2.5",
        "llmkit cost --finetune configs/text-classification.yaml",
    )
)
def show_cost(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL",
            help="A name of the catalogue, a folder, a config.json, or a hub id, as of `llmkit params`.",
            show_default=False,
            autocompletion=complete_catalogue,
        ),
    ] = None,
    revision: options.Revision = None,
    settings: options.CostSet = None,
    lora: Annotated[
        str | None,
        typer.Option(help="Train adapters alone: r=8, or r=8,targets=q_proj,v_proj.", show_default=False),
    ] = None,
    tokens: Annotated[
        str | None,
        typer.Option(help="Tokens it is trained on, epochs included: 15T, 300B.", show_default=False),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(
            help="Turn it round: what 5000usd, 100gpuh or 1e23flops train.",
            show_default=False,
        ),
    ] = None,
    finetune: Annotated[
        str | None,
        typer.Option(
            help="A config of `llmkit finetune`: its cost on the device at hand, by a short probe; by the table "
            "with --gpu.",
            show_default=False,
        ),
    ] = None,
    sequence_length: Annotated[
        int | None,
        typer.Option(
            help="Tokens a sequence.  [default: what the model takes, 8192 at most]", show_default=False
        ),
    ] = None,
    recompute: Annotated[
        str,
        typer.Option(
            help="Activations that are computed again: none, selective, full.",
            autocompletion=complete_recompute,
        ),
    ] = "none",
    device: options.Device = "auto",
    gpu: Annotated[
        str | None,
        typer.Option(
            help="The accelerator: h100, a100-80gb, tpu-v4, …; cpu measures this one.",
            show_default=False,
            autocompletion=complete_accelerator,
        ),
    ] = None,
    gpus: options.PlannedGpus = None,
    mfu: Annotated[
        str | None,
        typer.Option(
            help="Share of their peak that the model's own FLOPs are: 0.4 or 40%.  [default: 21 to 46 % assumed]",
            show_default=False,
        ),
    ] = None,
    hfu: Annotated[
        str | None,
        typer.Option(help="The same with what is computed twice (--recompute).", show_default=False),
    ] = None,
    price: Annotated[
        str | None, typer.Option(help="US dollars an hour of one device: 2.5.", show_default=False)
    ] = None,
    grid: Annotated[
        str | None,
        typer.Option(
            help="Where the electricity is from: us, fr, world, or kg CO2e a kWh: 0.385.  [default: world]",
            show_default=False,
            autocompletion=complete_grid,
        ),
    ] = None,
    pue: Annotated[
        str | None,
        typer.Option(
            help="Power usage effectiveness of the data center.  [default: 1.1 to 1.58 assumed]",
            show_default=False,
        ),
    ] = None,
    power: Annotated[
        str | None,
        typer.Option(help="What one device draws: 400W.  [default: by the table]", show_default=False),
    ] = None,
    memory: Annotated[
        str | None,
        typer.Option(help="What memory one device has: 24GB.  [default: by the table]", show_default=False),
    ] = None,
    batch_size: options.DeviceBatchSize = 1,
    table: Annotated[bool, typer.Option("--table", help="Published runs beside llmkit's formulas.")] = False,
    accelerators: Annotated[bool, typer.Option("--accelerators", help="The table of accelerators.")] = False,
    format: options.ReportFormat = None,  # noqa: A002
    output: options.Output = None,
    overwrite: options.Overwrite = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Work out what training a model takes: FLOPs, device hours, memory, energy, CO2e, money; each with its formula.

    Where an input is not said it is assumed, and the figures have bounds. No weights are loaded.
    """
    set_quiet(quiet)
    chosen = checked_format(format, output, overwrite=overwrite)
    from llmkit.cli.cost_run import Asked, run_cost

    asked = Asked(
        model=model,
        texts={
            "tokens": tokens,
            "mfu": mfu,
            "hfu": hfu,
            "price": price,
            "pue": pue,
            "power": power,
            "memory": memory,
            "budget": budget,
        },
        gpu=gpu,
        gpus=gpus,
        grid=grid,
        recompute=recompute,
        sequence_length=sequence_length,
        batch_size=batch_size,
        lora=lora,
        finetune=finetune,
        settings=tuple(settings or ()),
        revision=revision,
        device=device,
        is_table=table,
        is_accelerators=accelerators,
    )
    run_cost(asked, claim_stdout(), chosen, output, overwrite=overwrite)
