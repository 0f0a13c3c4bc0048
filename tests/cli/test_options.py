"""The shared options: one origin, one order in every `--help`; and every `--help` ends with examples."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import pytest
import typer

from llmkit.cli import options
from llmkit.cli.main import COMMANDS, subcommand, whole_command
from llmkit.cli.texts import PATHS, ROWS
from tests.fixtures.command import Command


def commands() -> Iterator[tuple[str, Any]]:
    """Every command and subcommand by its name."""
    yield "llmkit", whole_command()
    for name in COMMANDS:
        found = subcommand(name)
        yield name, found
        for part, inner in getattr(found, "commands", {}).items():
            yield f"{name} {part}", inner


EVERY = dict(commands())
ROOT = Path(__file__).parents[2]
each_command = pytest.mark.parametrize("name", EVERY)


def flags_of(variable: str, info: Any) -> tuple[str, ...]:
    """The flags of an option in options.py: those that it says, else one by its name."""
    # Within Annotated the first of them is where the default is elsewhere.
    declared = [each for each in (info.default, *(info.param_decls or ())) if isinstance(each, str)]
    said = [flag for each in declared for flag in each.split("/")]
    return tuple(said) or ("--" + re.sub(r"(?<!^)(?=[A-Z])", "-", variable).lower(),)


def shared() -> list[tuple[tuple[str, ...], str]]:
    """The options of options.py in their order: flags and help text."""
    found = []
    for variable, value in vars(options).items():
        if get_origin(value) is Annotated:
            (info,) = (each for each in get_args(value) if isinstance(each, typer.models.OptionInfo))
            found.append((flags_of(variable, info), info.help))
    return found


SHARED = shared()
PLACE = {each: place for place, each in enumerate(SHARED)}
FLAGS = {flag for flags, _ in SHARED for flag in flags}


def options_of(command: Any) -> list[tuple[tuple[str, ...], str]]:
    """A command's options: flags and help text."""
    return [
        ((*each.opts, *each.secondary_opts), each.help)
        for each in command.params
        if each.param_type_name == "option"
    ]


@each_command
def test_a_shared_option_comes_from_options(name: str) -> None:
    own = [each for each in options_of(EVERY[name]) if FLAGS & set(each[0]) and each not in PLACE]
    assert own == []


@each_command
def test_shared_options_stand_in_one_order(name: str) -> None:
    places = [PLACE[each] for each in options_of(EVERY[name]) if each in PLACE]
    assert places == sorted(places), [SHARED[place][0][0] for place in places]


def test_every_option_of_options_is_used() -> None:
    used = {each for command in EVERY.values() for each in options_of(command)}
    assert [each for each in SHARED if each not in used] == []


def test_what_may_be_any_bytes_is_an_argument_or_option() -> None:
    assert {each.name for command in EVERY.values() for each in command.params} >= PATHS | ROWS


def test_what_is_asked_for_of_all_is_there() -> None:
    asked = "--model --input --output --format --device --dtype --quiet --resume --overwrite --seed"
    assert set(asked.split()) <= FLAGS
    assert [name for name in COMMANDS if not {"--quiet", "--debug"} <= flags_below(name)] == []


# Their --output is the folder that they write.
WRITES_A_FOLDER = ("finetune", "export")
READS_ROWS = {"--column", "--columns", "--map", "--input-format"}


@each_command
def test_what_has_a_format_has_an_output(name: str) -> None:
    flags = {flag for each, _ in options_of(EVERY[name]) for flag in each}
    if "--format" in flags and name not in (*WRITES_A_FOLDER, "demo"):
        assert {"--output", "-o", "--overwrite"} <= flags


@each_command
def test_what_reads_rows_has_an_input(name: str) -> None:
    flags = {flag for each, _ in options_of(EVERY[name]) for flag in each}
    if READS_ROWS & flags:
        assert {"--input", "-i"} <= flags


def flags_below(name: str) -> set[str]:
    """All flags of a command and its subcommands."""
    found = [EVERY[each] for each in EVERY if each == name or each.startswith(f"{name} ")]
    return {flag for command in found for flags, _ in options_of(command) for flag in flags}


def in_one_line(text: str) -> list[str]:
    """A list of JSON lines, whatever the seconds in it are."""
    return [re.sub(r"seconds\": [0-9.]+", "", line) for line in text.splitlines()]


@pytest.mark.parametrize(
    ("call", "same"), [("warm", "warm list"), ("models", "models list")], ids=["warm", "models"]
)
def test_a_group_alone_lists(llmkit: Command, call: str, same: str) -> None:
    alone, named = llmkit(*call.split()), llmkit(*same.split())
    assert (alone.code, named.code) == (0, 0)
    assert in_one_line(alone.text) == in_one_line(named.text)


@pytest.mark.parametrize("call", ["tasks ner", "tasks", "models", "schema", "schema embed", "warm list"])
def test_a_list_goes_into_a_file(llmkit: Command, tmp_path: Path, call: str) -> None:
    path = tmp_path / "new" / "out.json"
    assert llmkit(*call.split(), "-o", path).text == ""
    assert json.loads(path.read_text()) == llmkit(*call.split(), "--format", "json").json

    path.write_text("mine")
    refused = llmkit(*call.split(), "-o", path)
    assert (refused.code, path.read_text()) == (2, "mine")
    assert f"{path} is there already." in refused.stderr
    assert llmkit(*call.split(), "-o", path, "--overwrite").code == 0
    assert path.read_text() != "mine"
    assert [each.name for each in path.parent.iterdir()] == ["out.json"]


@pytest.mark.parametrize("call", ["push runs/x me/x", "models prepare fill-mask --to here"])
def test_a_file_that_is_there_is_refused_before_the_work(llmkit: Command, tmp_path: Path, call: str) -> None:
    path = tmp_path / "out.jsonl"
    path.touch()
    done = llmkit(*call.split(), "-o", path)
    assert done.code == 2
    assert f"{path} is there already." in done.stderr


@each_command
def test_help_ends_with_examples(name: str) -> None:
    command = EVERY[name]
    shown = command.get_help(typer.Context(command, info_name=name, terminal_width=70)).splitlines()
    head = shown.index("  Examples:")
    examples = [line.removeprefix("    ") for line in shown[head + 1 :]]
    assert 2 <= len(examples) <= 3
    assert examples == [each.removeprefix("  ") for each in command.epilog.splitlines()[2:]]
    assert all("llmkit" in each for each in examples)


@each_command
def test_every_option_and_argument_is_explained(name: str) -> None:
    assert [each.name for each in EVERY[name].params if not each.help] == []


@each_command
def test_arguments_are_named_in_capitals(name: str) -> None:
    names = [each.metavar or each.name for each in EVERY[name].params if each.param_type_name == "argument"]
    assert [each for each in names if each != each.upper()] == []


@each_command
def test_help_names_values_not_types(name: str) -> None:
    command = EVERY[name]
    shown = command.get_help(typer.Context(command, info_name=name, terminal_width=70))
    assert re.findall(r"<[a-z].*?>|\w\.\.\.$|\.\.\.\]", shown, re.MULTILINE) == []
    assert [each.opts for each in command.params if each.metavar == "VALUE"] == []


def test_formats_are_offered_in_one_order() -> None:
    """What every command writes comes first and in the same order, whatever else it writes."""
    first = re.compile(r"table, jsonl, json, csv, tsv\b")
    helps = [text for flags, text in SHARED if "--format" in flags]
    assert helps and all(first.match(text) for text in helps)


@pytest.mark.parametrize(
    "call",
    [
        "embed x --long truncat",
        "pipeline fill-mask ___ --long truncat",
        "embed x --dtype float3",
        "search x --in here --measure cosin",
        "attention x --which cros",
        "cost gpt2 --tokens 1B --recompute ful",
        "export here --to onx",
        "tasks --format jso",
        "doctor --format jso",
    ],
)
def test_a_value_that_is_none_is_refused_in_one_wording(llmkit: Command, call: str) -> None:
    done = llmkit(*call.split())
    *_, option, value = call.split()
    assert (done.code, done.text) == (2, "")
    assert re.fullmatch(
        rf"error: {option} {value}: no such \w+; did you mean \w+\?\nThere are: [\w, -]+\.\n", done.stderr
    )


@pytest.mark.parametrize(
    ("call", "option"),
    [
        ("embed x -m", "--model"),
        ("embed x -o", "--output"),
        ("embed x --format", "--format"),
        ("tokenize x -m minilm -m", "--model"),
        ("evaluate runs -o", "--output"),
    ],
)
def test_an_empty_name_is_refused(llmkit: Command, call: str, option: str) -> None:
    """As a shell makes it of a variable that is not set: `-o "$OUT"`."""
    done = llmkit(*call.split(), "")
    assert (done.code, done.text) == (2, "")
    assert done.stderr.startswith(f"error: {option} is empty.")


# What each command needs beside a format that there is none of.
FORMAT_CALLS = {
    "attention": ["x"],
    "cost": ["gpt-3", "--tokens", "1T"],
    "embed": ["x"],
    "evaluate": ["minilm:sentiment"],
    "export": ["minilm:sentiment", "--to", "onnx"],
    "finetune": ["configs/text-classification.yaml"],
    "models prepare": ["fill-mask", "--to", "there"],
    "params": ["bert-base"],
    "pipeline": ["fill-mask", "x"],
    "push": ["runs/none", "me/none"],
    "search": ["x", "--in", "README.md"],
    "similarity": ["a", "b"],
    "tokenize": ["x"],
}


@pytest.mark.parametrize(
    "name",
    [name for name, each in EVERY.items() if any("--format" in flags for flags, _ in options_of(each))],
)
def test_a_format_that_is_none_is_told_with_those_that_the_help_names(llmkit: Command, name: str) -> None:
    done = llmkit(*name.split(), *FORMAT_CALLS.get(name, []), "--format", "xml", cwd=ROOT)
    assert (done.code, done.stdout) == (2, b"")
    assert "--format xml: no such format" in done.stderr
    said = re.search(r"There are: (.*)\.", done.stderr)
    (text,) = (text for flags, text in options_of(EVERY[name]) if "--format" in flags)
    named = re.sub(r"; (files|a matrix|pairs) also", ",", text.partition(".")[0])
    assert said and said[1].split(", ") == named.split(", ")[: len(said[1].split(", "))]
