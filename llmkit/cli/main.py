"""The command `llmkit`: finds the subcommand, and turns whatever happens into an exit code.

Only the subcommand that was called is imported, and nothing here imports torch, transformers or rich.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import importlib
import os
import re
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import typer
from typer._click.shell_completion import CompletionItem
from typer.core import TyperGroup

from llmkit._version import __version__
from llmkit.cli.channels import close_results, open_closed_descriptors, report, warn
from llmkit.cli.examples import examples
from llmkit.cli.metavars import name_values
from llmkit.cli.texts import refuse_what_is_no_text
from llmkit.data.atomic import reason_of
from llmkit.errors import (
    EXIT_DONE,
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_TERMINATED,
    LlmkitError,
    OutputError,
    UsageError,
    did_you_mean,
    on_a_line,
)
from llmkit.telemetry import turn_off_telemetry
from llmkit.wanted import should_be, wanted_by

COMMANDS = {
    "pipeline": ("llmkit.cli.pipeline", "Run any task on any input: text, images, audio, tables."),
    "tasks": ("llmkit.cli.tasks", "List the tasks, or explain one."),
    "embed": ("llmkit.cli.embed", "Turn texts into vectors: of sentences, tokens, words; any layer."),
    "similarity": ("llmkit.cli.similarity", "Compare texts: a matrix, a picture, or pairs from a file."),
    "search": ("llmkit.cli.search", "Find what is nearest to a query, among texts or vectors."),
    "tokenize": ("llmkit.cli.tokenize", "Show what a model's tokenizer makes of texts, or count tokens."),
    "attention": ("llmkit.cli.attention", "Show what each token attends to, and how that is computed."),
    "params": ("llmkit.cli.params", "Count a model's parameters, and what it costs to run and to train."),
    "cost": ("llmkit.cli.cost", "Work out what training takes: FLOPs, hours, energy, CO2e, money."),
    "finetune": ("llmkit.cli.finetune", "Train a model as a YAML file says."),
    "evaluate": ("llmkit.cli.evaluate", "Judge a model on data, and show where it is wrong."),
    "runs": ("llmkit.cli.runs", "List and compare the runs of finetune in a folder."),
    "push": ("llmkit.cli.push", "Put a finished run on the hub, checked, as one commit."),
    "card": ("llmkit.cli.card", "Write a finished run's card as the hub reads it."),
    "demo": ("llmkit.cli.demo", "Show a page on which a model can be tried, or write it as a Space."),
    "export": ("llmkit.cli.export", "Write a model as ONNX, or an adapter merged into its base; compare."),
    "models": (
        "llmkit.cli.models",
        "List the models that are here, or fetch some for a machine without a hub.",
    ),
    "serve": ("llmkit.cli.serve", "Serve tasks over HTTP, also in the shape of OpenAI's API."),
    "warm": ("llmkit.cli.warm", "List the processes that keep models loaded for --warm, or stop them."),
    "doctor": ("llmkit.cli.doctor", "Show what this machine has for a long run, and try its devices' links."),
    "config": ("llmkit.cli.config", "Write, check or explain a file for finetune."),
    "schema": ("llmkit.cli.schema", "Print the JSON Schema of what a command prints as JSON."),
}
_HELP = ("-h", "--help")
# They name no file, and work in a folder that is gone.
_ANYWHERE = ("tasks", "schema", "warm")


@functools.cache
def subcommand(name: str) -> Any:
    """Import a subcommand and return it as the parser has it."""
    found = typer.main.get_command(importlib.import_module(COMMANDS[name][0]).app)
    found.name = name
    for each in (found, *getattr(found, "commands", {}).values()):
        refuse_what_is_no_text(each)
    name_values(found)
    return found


class Terminated(BaseException):
    """SIGTERM: stop after saving what can be saved."""


class LazyGroup(TyperGroup):
    """A group whose subcommands are imported when they are called."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            guess = did_you_mean(cmd_name, COMMANDS)
            ctx.fail(f"no such command '{cmd_name}'" + (f"; {guess}" if guess else "."))
        return subcommand(cmd_name)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Import the subcommand; what it does from here on may want an end of its own, and a folder."""
        name, command, rest = super().resolve_command(ctx, args)
        if not ctx.resilient_parsing:  # nor is there a completion to end
            _let_interruptions_be_raised()
            if name not in _ANYWHERE and not set(_HELP).intersection(rest):
                _check_working_folder()
        return name, command, rest

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        """Offer the commands without importing them."""
        if incomplete.startswith("-"):
            return super().shell_complete(ctx, incomplete)
        return [
            CompletionItem(name, help=help_text)
            for name, (_, help_text) in COMMANDS.items()
            if name.startswith(incomplete)
        ]

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, help_text) for name, (_, help_text) in COMMANDS.items()])

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        """Read the command line; --help and --version show themselves here, and a closed pipe is no error."""
        try:
            return super().make_context(*args, **kwargs)
        except BrokenPipeError:  # typer would end with 1
            _let_go_of_stdout()
            sys.exit(EXIT_DONE)

    def invoke(self, ctx: Any) -> Any:
        with _Boundary():
            return super().invoke(ctx)


class _Boundary:
    """The edge of the program: every error becomes one message and an exit code."""

    def __enter__(self) -> None:
        signal.signal(signal.SIGTERM, _on_sigterm)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        # Usage errors and exits.
        is_typers = error is not None and type(error).__module__.startswith("typer")
        if error is None or isinstance(error, SystemExit) or is_typers:
            return
        if os.environ.get("LLMKIT_DEBUG") and isinstance(error, Exception):
            return
        if (
            isinstance(error, OSError)
            and not isinstance(error, BrokenPipeError)
            and error.errno in (errno.ENOSPC, errno.EBADF)
        ):
            return  # the help of a subcommand, into a full disk or nowhere
        if isinstance(error, KeyboardInterrupt | Terminated):
            sys.exit(_stopped_code(error))
        sys.exit(exit_code_of(error))


def _stopped_code(error: BaseException) -> int:
    """Return the exit code of a command that was stopped, after saying so; told again, it ends there and then.

    What can be saved is. Python's own end takes a while, and an interruption in it shows tracebacks or aborts.
    """
    signals = (signal.SIGINT, signal.SIGTERM)
    for number in signals:
        signal.signal(number, signal.SIG_IGN)
    code = exit_code_of(error)
    for number in signals:
        signal.signal(number, lambda *_: os._exit(code))
    return code


def exit_code_of(error: BaseException) -> int:
    """Say what went wrong on standard error and return the exit code for it."""
    if isinstance(error, LlmkitError):
        report(error)
        return error.exit_code
    if isinstance(error, BrokenPipeError):
        return EXIT_DONE
    if isinstance(error, KeyboardInterrupt):
        _say_stopped("interrupted", error)
        return EXIT_INTERRUPTED
    if isinstance(error, Terminated):
        _say_stopped("told to stop", error)
        return EXIT_TERMINATED
    first = str(error).strip().partition("\n")[0]
    report(
        LlmkitError(
            f"{type(error).__name__}: {first}" if first else type(error).__name__,
            hint="That is a fault of llmkit or of a library; --debug shows where.",
        )
    )
    return EXIT_FAILED


def _say_stopped(how: str, error: BaseException) -> None:
    """Say that the command was stopped, and what the error's notes add; of several processes one speaks."""
    if os.environ.get("RANK", "0") == "0":
        notes = " ".join(getattr(error, "__notes__", []))
        warn(f"{how}: {notes}" if notes else f"{how}.")


def _let_interruptions_be_raised() -> None:
    """Take over from `llmkit.__main__`, which ends at once."""
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _check_working_folder() -> None:
    """Raise UsageError where the working folder was removed: relative names mean nothing, and libraries fail."""
    try:
        Path.cwd()
    except FileNotFoundError:
        known = os.environ.get("PWD", "")  # the shell's; a program that starts another may leave it as it was
        named = f" {known}" if known and not Path(known).exists() else ""
        raise UsageError(f"the working folder{named} is gone; cd to one that is there.") from None


def _on_sigterm(number: int, frame: FrameType | None) -> NoReturn:
    raise Terminated


def _show_version(value: bool) -> None:
    if value:
        typer.echo(f"llmkit {__version__}")
        raise typer.Exit


app = typer.Typer(
    cls=LazyGroup,
    name="llmkit",
    invoke_without_command=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": list(_HELP)},
)


@app.callback(
    epilog=examples(
        "llmkit tasks",
        "llmkit pipeline sentiment-analysis 'I love it'",
        "llmkit pipeline --help",
    )
)
def root(
    ctx: typer.Context,
    version: bool = typer.Option(
        False, "--version", help="Show the version and exit.", callback=_show_version, is_eager=True
    ),
) -> None:
    """Any Hugging Face task from a shell: results on standard output, one line of JSON an input."""
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())


@functools.cache
def whole_command() -> Any:
    """Return the command as the parser has it."""
    return typer.main.get_command(app)


def main() -> None:
    """Run the command."""
    open_closed_descriptors()
    turn_off_telemetry()
    try:
        command = whole_command()
        if os.environ.get("_LLMKIT_COMPLETE") == "complete_bash":
            from llmkit.cli.bash_words import put_words_together

            put_words_together()
        code = command(prog_name="llmkit", standalone_mode=False)
        sys.stdout.flush()
        close_results()
        sys.exit(code)
    except BrokenPipeError:
        _let_go_of_stdout()
        sys.exit(EXIT_DONE)
    except OSError as error:  # --help or --version into a full disk, or nowhere
        if os.environ.get("LLMKIT_DEBUG"):
            raise
        _let_go_of_stdout()
        sys.exit(exit_code_of(OutputError(f"cannot write standard output: {reason_of(error)}.")))
    except Exception as error:
        # The parser's errors have no common class across typer's releases, but they know how to show themselves.
        if not hasattr(error, "format_message"):
            raise
        sys.exit(exit_code_of(_usage_error(error)))
    finally:
        with contextlib.suppress(OSError):  # it has been told
            close_results()


def _let_go_of_stdout() -> None:
    """Python flushes standard output once more at exit, and would complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _usage_error(error: Any) -> UsageError:
    """Return what the parser of the command line found wrong, to be said as every other error is."""
    named = sys.argv[1:2] if sys.argv[1:2] and sys.argv[1] in COMMANDS else []
    command = error.ctx.command_path if getattr(error, "ctx", None) else " ".join(["llmkit", *named])
    hint = f"`{command} --help` lists what there is."
    message, param = error.format_message(), getattr(error, "param", None)
    wanted = wanted_by(message)
    if wanted is not None and param is not None:
        return should_be(f"{param.opts[0]}{_typed(error)}", wanted, hint=hint)
    return UsageError(message[:1].lower() + message[1:], hint=hint)


def _typed(error: Any) -> str:
    """Return the value that the parser could not read, where its error has it."""
    reasons: list[Any] = getattr(error.__cause__, "errors", list)()  # pydantic's, from typer 0.27 on
    quoted = re.match("'(.*)' is not ", error.message, re.DOTALL)
    value = reasons[0].get("input") if reasons else quoted and quoted[1]
    return "" if value is None else f" {on_a_line(str(value))}"
