"""What one call of ``llmkit pipeline`` means: its options checked against each other and the task."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llmkit.cli.parameters import parse_pairs
from llmkit.data.numerals import whole_number
from llmkit.errors import UsageError
from llmkit.tasks.catalogue import TaskCall
from llmkit.tasks.parameter_values import check_types
from llmkit.tasks.parameters import parameters_of
from llmkit.wanted import should_be, within

if TYPE_CHECKING:
    from llmkit.inference.apply import InputChoice

_SEEDS = 2**31  # each window of rows adds its number to the seed, and numpy ends at 2**32


def check_split(split: str | None, dataset: str | None) -> None:
    """Raise UsageError for --split without --dataset."""
    if split and not dataset:
        raise UsageError("--split needs --dataset: only a dataset has splits.")


def checked_parameters(call: TaskCall, pairs: Sequence[str], scores: bool) -> dict[str, Any]:
    """Return what -p and --scores say, typed and arranged as the pipeline takes it.

    Raises:
        UsageError: no such parameter, or a value that it does not take.
    """
    parameters = parse_pairs(pairs, "-p")
    taken = parameters_of(call.task)
    taken.check(parameters, call.name)
    check_types(call.task, parameters)
    parameters = taken.arrange(parameters)
    if scores:
        if "return_scores" not in taken.own:
            raise UsageError(
                f"--scores is for generated texts; {call.name} has a score in its result, or none."
            )
        parameters["return_scores"] = True
    return parameters


def rows_a_batch(text: str) -> int | None:
    """Return what --batch-size says: a number of rows, None for auto.

    Raises:
        UsageError: it says neither.
    """
    if text == "auto":
        return None
    if not whole_number(text):
        raise should_be(f"--batch-size {text}", "auto, or a whole number, 1 or more")
    return int(text)


def checked_seed(seed: int | None) -> int | None:
    """Return a seed that generators take; raise UsageError otherwise."""
    return within(0, _SEEDS - 1, seed, "--seed")


def context_of(text: str | None, path: str | None) -> str | None:
    """Return the context from --context or from the file of --context-file.

    Raises:
        UsageError: both are given.
        DataError: the file cannot be read.
    """
    if path is None:
        return text
    if text is not None:
        raise UsageError("the context is given twice: by --context and by --context-file.")
    from llmkit.data.media import load_text

    return load_text(path)


_FIELD_OF_OPTION = {"question": ("question", "query")}
_OPTION_OF_FIELD = {
    "candidate_labels": "--labels",
    "table": "--table",
    "image": "--image",
    "text_pair": "--text-pair",
    "context": "--context",
    "question": "--question",
}


def constants_of(call: TaskCall, given: dict[str, str | None]) -> dict[str, str]:
    """Match options to the task's fields.

    Raises:
        UsageError: the task has no such field.
    """
    constants = {}
    fields = {each.name for each in call.task.fields}
    for name, value in given.items():
        if value is None:
            continue
        target = next((each for each in _FIELD_OF_OPTION.get(name, (name,)) if each in fields), None)
        if target is None:
            raise UsageError(
                f"{_OPTION_OF_FIELD[name]}: {call.name} takes no {name.replace('_', ' ')}.",
                hint=f"It takes: {', '.join(sorted(fields))}.",
            )
        constants[target] = value
    return constants


def is_single(call: TaskCall, choice: InputChoice) -> bool:
    """Tell whether the call can have one input only, by its form: then JSON is that result, not an array."""
    if choice.files or choice.dataset or choice.is_live:
        return (
            bool(choice.constants) and not choice.arguments and _gives_all(call, choice) and not choice.files
        )
    from llmkit.inference.rows import argument_rows

    return len(list(argument_rows(call.task, choice.arguments, choice.constants))) == 1


def _gives_all(call: TaskCall, choice: InputChoice) -> bool:
    from llmkit.inference.rows import open_fields

    return not open_fields(call.task, choice.constants)


def refuse_in_chat(given: Mapping[str, bool]) -> None:
    """Raise UsageError where an option is given that is for rows of input and their results."""
    for option, is_given in given.items():
        if is_given:
            raise UsageError(f"{option} is not for a chat at the terminal.", hint="--save FILE keeps a chat.")


def is_chat(call: TaskCall, choice: InputChoice) -> bool:
    """A conversation with nobody's words yet, at a terminal, is a chat."""
    return (
        call.task.name == "conversational"
        and not choice.arguments
        and not choice.files
        and not choice.dataset
        and sys.stdin is not None
        and sys.stdin.isatty()
    )
