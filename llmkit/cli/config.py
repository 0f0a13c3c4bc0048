"""``llmkit config``: the schema of a fine-tuning config, one to start from, one as it is understood."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from llmkit.cli import options
from llmkit.cli.answers import write_to
from llmkit.cli.channels import ResultStream, claim_stdout, is_quiet, note, set_quiet
from llmkit.cli.completion import complete_training_task
from llmkit.cli.examples import examples
from llmkit.cli.parameters import parse_pairs

app = typer.Typer(
    rich_markup_mode=None,
    add_completion=False,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(
    epilog=examples(
        "llmkit config init text-classification --output run.yaml",
        "llmkit config show run.yaml",
    )
)
def about(ctx: typer.Context, quiet: options.Quiet = False, debug: options.Debug = False) -> None:
    """Look into fine-tuning configs: their schema, one to start from, one as it is understood."""
    set_quiet(quiet)
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())


@app.command(
    epilog=examples(
        "llmkit config schema",
        "llmkit config schema > finetune.schema.json",
    )
)
def schema(quiet: options.Quiet = False, debug: options.Debug = False) -> None:
    """Print the JSON Schema of a config: editors complete and check with it."""
    set_quiet(quiet or is_quiet())
    results = claim_stdout()
    from llmkit.cli.shapes import document
    from llmkit.data.shapes import DIALECT
    from llmkit.training.config import FinetuneConfig

    _print(results, document(FinetuneConfig.model_json_schema() | {"$schema": DIALECT}).decode())


@app.command(
    epilog=examples(
        "llmkit config init text-classification",
        "llmkit config init causal-lm --output run.yaml",
    )
)
def init(
    task: Annotated[
        str, typer.Argument(metavar="TASK", help="The training task.", autocompletion=complete_training_task)
    ],
    output: options.TextOutput = None,
    overwrite: options.Overwrite = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Write a commented config to start from."""
    set_quiet(quiet or is_quiet())
    results = claim_stdout()
    from llmkit.training.starting import starting_config

    text = starting_config(task)
    if output is None:
        _print(results, text)
        return
    write_to(Path(output), text.encode(), overwrite=overwrite)
    note(f"wrote {output}; check it with: llmkit config show {output}")


@app.command(
    epilog=examples(
        "llmkit config show configs/text-classification.yaml",
        "llmkit config show configs/text-classification.yaml --set training.epochs=1",
    )
)
def show(
    config: Annotated[str, typer.Argument(metavar="CONFIG", help="The config, a YAML file.")],
    set_: options.Set = None,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Check a config and print it as it is understood, every default filled in."""
    set_quiet(quiet or is_quiet())
    results = claim_stdout()
    import yaml

    from llmkit.training.config_file import load_config

    checked = load_config(config, parse_pairs(set_ or [], "--set"))
    _print(results, yaml.safe_dump(checked.model_dump(mode="json"), sort_keys=False, allow_unicode=True))


def _print(results: ResultStream, text: str) -> None:
    results.file.write(text.encode())
    results.file.flush()
