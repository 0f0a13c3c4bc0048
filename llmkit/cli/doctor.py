"""``llmkit doctor``: what this machine has for a long run, and whether its devices reach each other."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer

from llmkit.cli import options
from llmkit.cli.answers import Answer, checked_format, deliver
from llmkit.cli.channels import claim_stdout, note, set_quiet, warn
from llmkit.cli.examples import examples
from llmkit.cli.launch import launch
from llmkit.cli.sheets import Column, Sheet
from llmkit.errors import EXIT_FAILED, UsageError
from llmkit.launching.plan import LaunchOptions
from llmkit.launching.surroundings import join_slurm_step

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command(
    epilog=examples(
        "llmkit doctor",
        "llmkit doctor --devices",
        "llmkit doctor --devices --device cpu --processes 2 --format json",
    )
)
def doctor(
    devices: Annotated[
        bool, typer.Option("--devices", help="Try the links between devices: an all-reduce, and copies.")
    ] = False,
    device: options.Device = "auto",
    gpus: options.Gpus = None,
    processes: options.Processes = None,
    nodes: options.Nodes = None,
    node_rank: options.NodeRank = None,
    rendezvous: options.Rendezvous = None,
    format: options.ReportFormat = None,  # noqa: A002
    output: options.Output = None,
    overwrite: options.Overwrite = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Show versions, devices and their links, memory, disks, the hub and caches: before a long run, not during it."""
    join_slurm_step()
    is_first = int(os.environ.get("RANK", 0)) == 0
    set_quiet(quiet or not is_first)
    chosen = checked_format(format, output if is_first else None, overwrite=overwrite)
    from llmkit.models.loading import LoadOptions, check_options

    check_options(LoadOptions(device))
    wanted = LaunchOptions(gpus, processes, nodes, node_rank, rendezvous)
    if devices:
        launch(wanted, device=device)
    elif wanted.names_any:
        raise UsageError(
            "processes and machines are for a trial of the links between them.", hint="Add --devices."
        )
    results = claim_stdout()
    from llmkit.cli.loading import quiet_libraries

    with quiet_libraries():
        from llmkit.launching.doctor import examined

        trial = _trial(device) if devices else None
        if not is_first:
            return
        found = examined() | ({} if trial is None else {"trial": trial})
    answer = Answer(lambda: list(sheets(found)), lambda: [found], lambda: [found], single=True)
    deliver(answer, results, chosen, output, overwrite=overwrite)
    if trial is not None and not all(each["right"] for each in (*trial["all_reduce"], *trial["copies"])):
        warn("numbers came out wrong on their way between devices: do not train on these.")
        sys.exit(EXIT_FAILED)


def _trial(device: str) -> dict[str, Any] | None:
    if int(os.environ.get("WORLD_SIZE", 1)) == 1:
        note("there is one device, and no link to try.")
        return None
    from llmkit.launching.trial import tried
    from llmkit.models.loading import choose_device

    return tried(on_cpu=choose_device(device).type == "cpu", said=warn)


def sheets(found: Mapping[str, Any]) -> Iterator[Sheet]:
    """Go through what was found, for a person."""
    for title, name in (("versions", "versions"), ("system", "system"), ("memory", "memory"), ("hub", "hub")):
        rows = tuple((key, _shown(value, is_size=name == "memory")) for key, value in found[name].items())
        yield Sheet(title, (Column(""), Column("")), rows)
    yield Sheet(
        "disks",
        (Column("for"), Column("free", is_number=True), Column("writable"), Column("folder")),
        tuple(
            (name, _size(disk["free"]), _shown(disk["writable"]), disk["path"])
            for name, disk in found["disks"].items()
        ),
    )
    yield Sheet(
        "GPUs",
        (
            Column(""),
            Column("name"),
            Column("free", is_number=True),
            Column("of", is_number=True),
            Column("reaches"),
        ),
        tuple(
            (
                str(gpu["number"]),
                gpu["name"],
                _size(gpu["free"]),
                _size(gpu["memory"]),
                ", ".join(map(str, gpu["peers"])) or "none",
            )
            for gpu in found["gpus"]
        ),
        notes=() if found["gpus"] else ("None can be seen.",),
    )
    if "trial" in found:
        yield _trial_sheet(found["trial"])


def _trial_sheet(trial: Mapping[str, Any]) -> Sheet:
    rows = tuple(
        (
            what,
            _size(each["bytes"]),
            f"{each['seconds'] * 1e3:,.3f}",
            _rate(each),
            "yes" if each["right"] else "NO",
        )
        for what, name in (("all-reduce", "all_reduce"), ("copies in a ring", "copies"))
        for each in trial[name]
    )
    numbers = [Column(title, is_number=True) for title in ("bytes", "ms", "a second")]
    title = f"{trial['processes']} processes, {trial['backend']} on {trial['device']}"
    return Sheet(title, (Column(""), *numbers, Column("right")), rows)


def _rate(each: Mapping[str, Any]) -> str:
    return f"{_size(each['bytes_per_second'])}/s"


_WORDS: dict[object, str] = {None: "–", True: "yes", False: "no"}


def _shown(value: Any, *, is_size: bool = False) -> str:
    if is_size:
        return _size(value)
    return _WORDS[value] if value is None or isinstance(value, bool) else str(value)


def _size(count: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:,.0f} {unit}" if unit == "B" else f"{count:,.1f} {unit}"
        count /= 1024
    return f"{count:,.1f} TiB"
