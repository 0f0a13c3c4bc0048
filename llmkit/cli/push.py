"""``llmkit push``: a run's model, tokenizer, card, config and log, as one commit on the hub."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, NotRequired

import typer
from typing_extensions import TypedDict

from llmkit.cli import options
from llmkit.cli.channels import note, set_quiet
from llmkit.cli.completion import complete_run
from llmkit.cli.examples import examples
from llmkit.cli.results import rows_writer

app = typer.Typer(rich_markup_mode=None, add_completion=False)


class WouldGo(TypedDict):
    """A file that would be sent (--dry-run)."""

    file: str
    bytes: int


class Pushed(TypedDict):
    """What was sent; `space` is the address of the page (--space)."""

    repo: str
    commit: str
    url: str
    files: int
    space: NotRequired[str]


PUSHED = WouldGo | Pushed

License = Annotated[
    str | None,
    typer.Option(help="Short name on the hub: apache-2.0, mit, …  [default: the card's]", show_default=False),
]
RunFolder = Annotated[
    str,
    typer.Argument(
        metavar="RUN", help="The folder of a finished run.", show_default=False, autocompletion=complete_run
    ),
]


@app.command(
    epilog=examples(
        "llmkit push runs/reviews me/reviews --license apache-2.0 --dry-run",
        "llmkit push runs/reviews me/reviews --license apache-2.0 --private --space",
    )
)
def push(
    run: RunFolder,
    repo: Annotated[
        str, typer.Argument(metavar="REPO", help="The repository: OWNER/NAME.", show_default=False)
    ],
    license: License = None,  # noqa: A002
    private: Annotated[bool, typer.Option("--private", help="Make a new repository private.")] = False,
    message: Annotated[
        str, typer.Option(help="The message of the commit.")
    ] = "Add the model, its card, config and log",
    space: Annotated[
        bool, typer.Option("--space", help="Also make a Space of the same name, on which it can be tried.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check, list what would go, send nothing.")
    ] = False,
    format: options.OutputFormat = None,  # noqa: A002
    output: options.Output = None,
    overwrite: options.Overwrite = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Check a run's files (whole, no secrets, no folders of this machine, a licence) and put them on the hub."""
    set_quiet(quiet)
    write = rows_writer(format, output, overwrite=overwrite)
    from llmkit.cli.loading import quiet_client
    from llmkit.cli.push_run import card_of, space_of
    from llmkit.sharing.checks import check_files, check_text
    from llmkit.sharing.contents import shared_files
    from llmkit.sharing.push import check_repo, known_tokens
    from llmkit.sharing.push import push as send

    quiet_client()
    check_repo(repo)
    folder = Path(run)
    files, left = shared_files(folder, card_of(folder, repo, license))
    tokens = known_tokens()
    check_files(files, tokens)
    check_text("--message", message, tokens)
    page = space_of(folder, repo, files) if space else None
    if page is not None:
        check_files(page, tokens)
    if left:
        note(f"left out: {', '.join(left)}")
    if dry_run:
        rows = [{"file": file.name, "bytes": file.size} for file in files]
        rows += [{"file": f"spaces/{repo}/{file.name}", "bytes": file.size} for file in page or ()]
        write(rows, title=f"Would go to {repo}")
        note(f"{sum(file.size for file in (*files, *(page or ()))):,} bytes; nothing was sent.")
        return
    pushed = send(files, repo, message, private=private)
    row = {"repo": pushed.repo, "commit": pushed.commit, "url": pushed.url, "files": len(files)}
    if page is not None:
        shown = send(page, repo, "Add a page to try the model on", private=private, is_space=True)
        row |= {"space": shown.url}
        if private:
            note(
                "the Space reads a private model: give it a token of yours that may read, as its secret HF_TOKEN."
            )
    write([row], title=repo, single=True)
