"""``llmkit card``: a run's card as the hub reads it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from llmkit.cli import options
from llmkit.cli.answers import write_to
from llmkit.cli.channels import claim_stdout, set_quiet
from llmkit.cli.examples import examples
from llmkit.cli.push import License, RunFolder

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command(
    epilog=examples(
        "llmkit card runs/reviews --license apache-2.0",
        "llmkit card runs/reviews --repo me/reviews --license mit -o card.md",
    )
)
def card(
    run: RunFolder,
    repo: Annotated[
        str | None,
        typer.Option(help="The repository that it is for.  [default: the folder's name]", show_default=False),
    ] = None,
    license: License = None,  # noqa: A002
    output: options.TextOutput = None,
    overwrite: options.Overwrite = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Write the card of a finished run: licence, figures in the hub's form, data, settings, a command to try it."""
    set_quiet(quiet)
    results = claim_stdout()
    from llmkit.cli.push_run import card_of
    from llmkit.data.sinks import refuse_existing
    from llmkit.sharing.checks import check_files
    from llmkit.sharing.contents import CARD, SharedFile
    from llmkit.sharing.push import known_tokens

    if output is not None:
        refuse_existing(Path(output), overwrite=overwrite)
    text = card_of(Path(run), repo, license).encode()
    check_files([SharedFile(CARD, content=text)], known_tokens())
    if output is not None:
        write_to(Path(output), text, overwrite=overwrite)
        return
    results.file.write(text)
    results.file.flush()
