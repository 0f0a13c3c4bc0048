"""``llmkit serve``: models behind HTTP."""

from __future__ import annotations

import math
import os
from typing import Annotated

import typer

from llmkit.cli import options
from llmkit.cli.channels import claim_stdout, set_quiet
from llmkit.cli.completion import complete_served
from llmkit.cli.examples import examples
from llmkit.cli.parameters import not_empty
from llmkit.errors import UsageError
from llmkit.serving.host_names import LOOPBACK, names_given
from llmkit.wanted import should_be

app = typer.Typer(rich_markup_mode=None, add_completion=False)

# What oneDNN keeps for each shape that it has multiplied: a thousand, of each of its two layers, are hundreds of
# megabytes where every request has a length of its own, and save no time that could be measured.
_KEPT_SHAPES = {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "64", "LRU_CACHE_CAPACITY": "64"}


@app.command(
    epilog=examples(
        "llmkit serve sentiment-analysis embeddings",
        "llmkit serve text-classification=runs/reviews embeddings=minilm --port 8080",
        "llmkit serve chat --model FOLDER --host 0.0.0.0 --token SECRET",
    )
)
def serve(
    tasks: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TASK[=MODEL]",
            help="Any tasks; embeddings for /v1/embeddings, chat for /v1/chat/completions.  "
            "[default: what --model is for]",
            show_default=False,
            autocompletion=complete_served,
        ),
    ] = None,
    model: options.Model = None,
    revision: options.Revision = None,
    embedded: options.Embedded = None,
    host: Annotated[
        str,
        typer.Option(
            help="The address to listen at; any but this machine's own wants --token.",
            callback=not_empty,
        ),
    ] = "127.0.0.1",
    port: options.Port = 8000,
    allow_host: options.AllowHost = None,
    socket: Annotated[
        str | None, typer.Option(help="Listen at a Unix socket at this path instead.", show_default=False)
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(
            help="What requests must carry: Authorization: Bearer TOKEN.",
            callback=not_empty,
            envvar="LLMKIT_SERVE_TOKEN",
            show_default=False,
            show_envvar=True,
        ),
    ] = None,
    max_body: Annotated[
        int | None,
        typer.Option(
            help="Most bytes of a request.  [default: 1 MiB; 16 where images or sound are taken]",
            show_default=False,
        ),
    ] = None,
    max_waiting: Annotated[
        int, typer.Option(help="Most requests that wait; a further one is answered 429.")
    ] = 256,
    timeout: Annotated[float, typer.Option(help="Seconds that an answer may take.")] = 60.0,
    device: options.Device = "auto",
    dtype: options.Dtype = None,
    trust_remote_code: options.TrustRemoteCode = False,
    allow_pickle: options.AllowPickle = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Serve tasks over HTTP: the hub's request for a task at /TASK, OpenAI's at /v1, on this machine alone."""
    set_quiet(quiet)
    for name, most in _KEPT_SHAPES.items():
        os.environ.setdefault(name, most)  # read when torch is imported
    if host not in LOOPBACK and socket is None and not token:
        raise UsageError(
            f"--host {host}: others could ask this server.", hint="Add --token, or set LLMKIT_SERVE_TOKEN."
        )
    names = names_given(allow_host or ())
    if names and socket is not None:
        raise UsageError("--allow-host is not for --socket: no browser asks there, and no name is looked at.")
    for value, option in ((max_body, "--max-body"), (max_waiting, "--max-waiting"), (timeout, "--timeout")):
        if value is not None and not 0 < value < math.inf:
            raise should_be(f"{option} {value:g}", "finite, and above 0" if value > 0 else "above 0")
    from llmkit.cli.serve_run import Wanted, names_of, run_server, wanted_of
    from llmkit.models.loading import LoadOptions, check_options

    load = LoadOptions(device, dtype, trust_remote_code, allow_pickle)
    check_options(load)
    wanted: list[Wanted] = wanted_of(tasks or names_of(model, revision, load), model, revision)
    claim_stdout()
    run_server(
        wanted,
        load,
        host=host,
        port=port,
        socket=socket,
        names=names,
        token=token,
        body_bytes=max_body,
        waiting=max_waiting,
        seconds=timeout,
    )
