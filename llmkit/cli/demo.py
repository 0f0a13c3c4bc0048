"""``llmkit demo``: a page on which a model can be tried, here or as a Space of the hub."""

from __future__ import annotations

from typing import Annotated

import typer

from llmkit.cli import options
from llmkit.cli.channels import claim_stdout, set_quiet
from llmkit.cli.completion import complete_demo, complete_task
from llmkit.cli.examples import examples
from llmkit.cli.parameters import not_empty
from llmkit.errors import UsageError
from llmkit.serving.host_names import LOOPBACK, names_given

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command(
    epilog=examples(
        "llmkit demo sentiment-analysis",
        "llmkit demo runs/reviews --port 7861",
        "llmkit demo runs/reviews --space my-space",
    )
)
def demo(
    name: Annotated[
        str,
        typer.Argument(
            metavar="MODEL|TASK",
            help="A model: folder or hub id; or a task, for its default model.",
            show_default=False,
            autocompletion=complete_demo,
        ),
    ],
    model: options.Model = None,
    revision: options.Revision = None,
    embedded: options.Embedded = None,
    task: Annotated[
        str | None,
        typer.Option(
            help="What the model is shown for.  [default: what it says]",
            show_default=False,
            autocompletion=complete_task,
        ),
    ] = None,
    space: Annotated[
        str | None,
        typer.Option(
            metavar="DIR",
            help="Write the folder of a Space of the hub instead of showing the page.",
            show_default=False,
        ),
    ] = None,
    title: Annotated[
        str | None, typer.Option(help="The page's title.  [default: the model's name]", show_default=False)
    ] = None,
    host: Annotated[
        str,
        typer.Option(
            help="The address to listen at; any but this machine's own wants --auth.",
            callback=not_empty,
        ),
    ] = "127.0.0.1",
    port: options.Port = 7860,
    allow_host: options.AllowHost = None,
    auth: Annotated[
        str | None,
        typer.Option(
            metavar="NAME:PASSWORD",
            help="What a visitor must give.",
            callback=not_empty,
            envvar="LLMKIT_DEMO_AUTH",
            show_default=False,
            show_envvar=True,
        ),
    ] = None,
    open_: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    device: options.Device = "auto",
    dtype: options.Dtype = None,
    overwrite: options.Overwrite = False,
    trust_remote_code: options.TrustRemoteCode = False,
    allow_pickle: options.AllowPickle = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Show a page on which a model can be tried, on this machine alone; or write it as a Space."""
    set_quiet(quiet)
    from llmkit.cli.demo_run import Wanted, show_page, wanted_of, write_space
    from llmkit.models.loading import LoadOptions, check_options

    load = LoadOptions(device, dtype, trust_remote_code, allow_pickle)
    check_options(load)
    wanted: Wanted = wanted_of(name, model, task, revision, title)
    if space is not None:
        results = claim_stdout()
        write_space(wanted, load, space, results, overwrite=overwrite)
        return
    visitor = _visitor(auth)
    if host not in LOOPBACK and visitor is None:
        raise UsageError(
            f"--host {host}: others could use this page.",
            hint="Add --auth NAME:PASSWORD, or set LLMKIT_DEMO_AUTH.",
        )
    names = names_given(allow_host or ())
    claim_stdout()
    show_page(wanted, load, host=host, port=port, names=names, auth=visitor, opened=open_)


def _visitor(auth: str | None) -> tuple[str, str] | None:
    if not auth:
        return None
    name, _, password = auth.partition(":")
    if not name or not password:
        raise UsageError("--auth takes a name and a password: NAME:PASSWORD.")
    return name, password
