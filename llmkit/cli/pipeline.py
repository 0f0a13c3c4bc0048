"""``llmkit pipeline``: any task on any input."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from llmkit.cli import options
from llmkit.cli.channels import claim_stdout, set_quiet
from llmkit.cli.completion import complete_parameter, complete_task
from llmkit.cli.examples import examples
from llmkit.cli.launch import join_launch, launch_over_files
from llmkit.cli.parameters import parse_mapping, parse_pairs
from llmkit.cli.pipeline_call import (
    check_split,
    checked_parameters,
    checked_seed,
    constants_of,
    context_of,
    is_chat,
    refuse_in_chat,
    rows_a_batch,
)
from llmkit.data.formats import chosen_format
from llmkit.errors import UsageError, no_such
from llmkit.launching.plan import LaunchOptions
from llmkit.serving.client import check_setting
from llmkit.tasks.catalogue import find_task
from llmkit.wanted import at_least

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command(
    epilog=examples(
        "llmkit pipeline sentiment-analysis 'What a day'",
        "cat lines.txt | llmkit pipeline ner",
        "llmkit pipeline text-classification -i reviews.csv --column review -o labels.parquet",
    )
)
def run_task(
    task: Annotated[
        str,
        typer.Argument(
            metavar="TASK",
            help="A task or an alias; `llmkit tasks` lists them.",
            autocompletion=complete_task,
        ),
    ],
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="INPUT", help="Texts, or paths of images, audio, video; - is stdin.", show_default=False
        ),
    ] = None,
    model: options.Model = None,
    revision: options.Revision = None,
    embedded: options.Embedded = None,
    input: options.Input = None,  # noqa: A002
    input_format: options.InputFormat = None,
    column: options.Column = None,
    map: options.Map = None,  # noqa: A002
    dataset: options.Dataset = None,
    split: options.Split = None,
    question: Annotated[
        str | None, typer.Option(help="The question, for every row.", show_default=False)
    ] = None,
    context: Annotated[
        str | None, typer.Option(help="The text that holds the answer.", show_default=False)
    ] = None,
    context_file: Annotated[
        str | None, typer.Option(help="The same, from a file.", show_default=False)
    ] = None,
    labels: Annotated[str | None, typer.Option(help="Candidate labels: a,b,c.", show_default=False)] = None,
    table: Annotated[
        str | None, typer.Option(help="The table to ask about: a CSV file.", show_default=False)
    ] = None,
    image: Annotated[
        str | None, typer.Option(help="An image that goes with every text.", show_default=False)
    ] = None,
    text_pair: Annotated[
        str | None, typer.Option(help="The second text of a pair.", show_default=False)
    ] = None,
    parameter: Annotated[
        list[str] | None,
        typer.Option(
            "-p",
            "--parameter",
            help="key=value, any parameter of the pipeline call. Repeatable.",
            show_default=False,
            autocompletion=complete_parameter,
        ),
    ] = None,
    model_arg: Annotated[
        list[str] | None,
        typer.Option(help="key=value, any argument of the model's loading. Repeatable.", show_default=False),
    ] = None,
    scores: Annotated[
        bool, typer.Option("--scores", help="Give translations and other generated texts a score.")
    ] = False,
    long: options.LongOfTask = "chunk",
    max_length: options.MaxLength = None,
    device: options.Device = "auto",
    gpus: options.Gpus = None,
    processes: options.Processes = None,
    nodes: options.Nodes = None,
    node_rank: options.NodeRank = None,
    rendezvous: options.Rendezvous = None,
    max_restarts: options.MaxRestarts = None,
    dtype: options.Dtype = None,
    batch_size: options.BatchSize = "auto",
    seed: options.Seed = None,
    format: options.OutputFormat = None,  # noqa: A002
    output: options.Output = None,
    output_dir: options.OutputDir = None,
    rejects: options.Rejects = None,
    keep_input: options.KeepInput = False,
    overwrite: options.Overwrite = False,
    resume: options.Resume = False,
    save: Annotated[
        str | None, typer.Option(help="Keep a chat's messages in this file.", show_default=False)
    ] = None,
    warm: Annotated[
        bool | None,
        typer.Option(
            "--warm/--no-warm",
            help="Let a process in the background run it that keeps the model loaded, started if need be."
            "  [default: as LLMKIT_WARM says, else no]",
            show_default=False,
        ),
    ] = None,
    trust_remote_code: options.TrustRemoteCode = False,
    allow_pickle: options.AllowPickle = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Run a task on texts, images, audio, tables: one line of JSON out per input.

    Inputs are arguments, lines of standard input, files (--input) or a dataset (--dataset).
    """
    set_quiet(quiet or join_launch() > 0)
    check_setting(dict(os.environ))
    call = find_task(task)
    parameters = checked_parameters(call, parameter or (), scores)
    format = chosen_format(format, output, resume=resume)  # noqa: A001
    check_split(split, dataset)

    from llmkit.cli.destination import Destination, check_places
    from llmkit.inference.apply import InputChoice
    from llmkit.inference.items import LONG_CHOICES, RunSettings
    from llmkit.models.loading import LoadOptions, check_options

    if long not in LONG_CHOICES:
        raise no_such("--long", long, "choice", LONG_CHOICES)
    settings = RunSettings(
        parameters,
        rows_a_batch(batch_size),
        long,
        at_least(1, max_length, "--max-length"),
        checked_seed(seed),
    )
    load = LoadOptions(
        device,
        dtype,
        trust_remote_code,
        allow_pickle,
        arguments=parse_pairs(model_arg or (), "--model-arg"),
    )
    check_options(load)
    given = {
        "question": question,
        "context": context_of(context, context_file),
        "candidate_labels": labels,
        "table": table,
        "image": image,
        "text_pair": text_pair,
    }
    choice = InputChoice(
        arguments=tuple(inputs or ()),
        files=tuple(input or ()),
        format=input_format,
        dataset=dataset,
        split=split,
        column=column,
        mapping=parse_mapping(map),
        constants=constants_of(call, given),
    )
    check_places(output, rejects, resume=resume, overwrite=overwrite)
    launch_over_files(
        LaunchOptions(gpus, processes, nodes, node_rank, rendezvous, max_restarts), choice, device
    )
    results = claim_stdout()
    if is_chat(call, choice):
        from llmkit.cli.chat import chat

        refuse_in_chat(
            {
                "--output": output is not None,
                "--format": format is not None,
                "--output-dir": output_dir is not None,
                "--rejects": rejects is not None,
                "--keep-input": keep_input,
                "--column": column is not None,
                "--map": bool(map),
                "--input-format": input_format is not None,
                "--overwrite": overwrite,
                "--resume": resume,
                "--batch-size": batch_size != "auto",
                "--long": long != "chunk",
                "--max-length": max_length is not None,
            }
        )
        chat(call, results, model=model, revision=revision, load=load, settings=settings, save=save)
        return
    if save:
        raise UsageError("--save keeps a chat at the terminal: conversational, without an input.")
    from llmkit.cli.pipeline_run import run_call

    out = Destination(results, format, output, output_dir, rejects, keep_input, overwrite, resume)
    run_call(call, choice, settings, load, out, model=model, revision=revision)
