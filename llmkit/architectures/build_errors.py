"""What transformers and torch raise where a config is no model, said in one message that names the value to blame."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from llmkit.errors import LlmkitError, UsageError, did_you_mean
from llmkit.wanted import should_be

Values = Mapping[str, Any]

MOST_SAID = 300  # characters of a library's own words
_ACTIVATION = re.compile(r"(\w+_)?(act|activation|activation_function)")
_FIELD = re.compile(r"Validation error for field '(\w+)'")
# What a field of a config may be, in the words of the library's check and in those of JSON.
_KINDS = (
    (r"(?<!\[)\bfloat\b", "a number"),
    (r"(?<!\[)\bint\b", "a whole number"),
    (r"\bbool\b", "true or false"),
    (r"(?<!\[)\bstr\b", "a text"),
    (r"(list|tuple|Sequence)\[int", "a list of whole numbers"),
    (r"(list|tuple|Sequence)\[float", "a list of numbers"),
    (r"(list|tuple|Sequence)\[str", "a list of texts"),
    (r"\bdict\b", "an object"),
    (r"\bNoneType\b", "null"),
)
_EXPECTED = re.compile(r"doesn't match any type in \((.*?)\)\. Errors|expected (?:one of )?(.+?), got ")


@contextmanager
def one_error(what: str, values: Callable[[], Values] = dict) -> Iterator[None]:
    """Turn whatever transformers or torch raise into one error with their reason.

    Args:
        what: what could not be done, for reasons that name no value.
        values: returns those of the config.

    Raises:
        UsageError: in place of any error that is not llmkit's own.
    """
    try:
        yield
    except LlmkitError:
        raise
    except ImportError as error:
        raise UsageError(f"{what}: {_reason(error)}", hint="Install what it needs, and try again.") from error
    except Exception as error:
        given = values()
        for explain in (_wrong_kind, _unknown_name, _negative, _too_large, _zero, _uneven):
            said = explain(error, given)
            if said is not None:
                raise said from error
        raise UsageError(f"{what}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """Return what an error says, in a line: the validation of a config says it in its last, others in the first."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    if type(error).__name__.startswith("StrictDataclass"):
        said = re.sub(r"^\w+Error: ", "", lines[-1])
    else:
        # A missing key or attribute is named alone, which says little without the kind of error.
        is_bare = isinstance(error, AttributeError | TypeError | KeyError | ZeroDivisionError)
        said = f"{type(error).__name__}: {lines[0]}" if is_bare else lines[0]
    return said if len(said) <= MOST_SAID else f"{said[: MOST_SAID - 3]}..."


def _wrong_kind(error: Exception, values: Values) -> UsageError | None:
    """A text where the config has a number, null where it has a list."""
    field, expected = _FIELD.search(str(error)), _EXPECTED.search(str(error))
    if field is None or expected is None:
        return None
    named = [(path, value) for path, value in _walk(values) if path.rpartition(".")[2] == field[1]]
    # Configs that are nested in one have values of one name: the library tells the value, not the config.
    blamed = [each for each in named if repr(each[1]) in str(error)] or named
    types = expected[1] or expected[2]
    kinds = [words for pattern, words in _KINDS if re.search(pattern, types)]
    if "a number" in kinds:
        kinds = [kind for kind in kinds if kind != "a whole number"]
    if not kinds or not blamed:
        return None
    path, value = blamed[0]
    return should_be(f"{path} is {as_json(value)}", " or ".join(kinds))


def _unknown_name(error: Exception, values: Values) -> UsageError | None:
    """A name that the model's code looked up and did not find, an activation's for one: its error has that alone."""
    if not isinstance(error, KeyError):
        return None
    from transformers.activations import ACT2FN

    path, value = next(
        ((path, value) for path, value in _walk(values) if isinstance(value, str) and error.args == (value,)),
        ("", ""),
    )
    if not path:
        return None
    if not _ACTIVATION.fullmatch(path.rpartition(".")[2]):
        return UsageError(f"{path} is '{value}': transformers has nothing of this name.")
    guess = did_you_mean(value, ACT2FN)
    return UsageError(
        f"{path} is '{value}': no such activation" + (f"; {guess}" if guess else "."),
        hint=f"There are: {', '.join(sorted(ACT2FN))}.",
    )


def _negative(error: Exception, values: Values) -> UsageError | None:
    """A size below 0 that only the tensor made of it does not bear."""
    if "negative dimension" not in str(error):
        return None
    sizes = ((path, value) for path, value in _walk(values) if not path.endswith("_id"))
    path, value = next(((path, value) for path, value in sizes if _is_number(value) and value < 0), ("", 0))
    return should_be(f"{path} is {value}", "0 or more") if path else None


def _too_large(error: Exception, values: Values) -> UsageError | None:
    """A size that torch has no number for."""
    if "verflow" not in str(error):
        return None
    sizes = [(value, path) for path, value in _walk(values) if _is_number(value)]
    if not sizes:
        return None
    value, path = max(sizes)
    return UsageError(f"{path} is {value:,}: no tensor can be that large.")


def _zero(error: Exception, values: Values) -> UsageError | None:
    """A size of 0 that others are divided by."""
    if not isinstance(error, ZeroDivisionError):
        return None
    zeros = [
        path
        for path, value in _walk(values)
        if isinstance(value, int) and not isinstance(value, bool) and value == 0 and not path.endswith("_id")
    ]
    if not zeros:
        return None
    return UsageError(
        f"{' and '.join(zeros)} {'are' if len(zeros) > 1 else 'is'} 0, and a size is divided by 0."
    )


def _uneven(error: Exception, values: Values) -> UsageError | None:
    """Lists with an element a stage, of which one is shorter than the others."""
    if not isinstance(error, IndexError):
        return None
    lengths = {
        path: len(value)
        for path, value in _walk(values)
        if isinstance(value, list | tuple) and value and all(map(_is_number, value)) and "indices" not in path
    }
    if len(set(lengths.values())) < 2:
        return None
    said = ", ".join(f"{path} has {length}" for path, length in lengths.items())
    return UsageError(f"the lists of this config do not go together: {said}.")


def _walk(values: Values, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        yield f"{prefix}{name}", value
        if isinstance(value, Mapping):
            yield from _walk(value, f"{prefix}{name}.")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def as_json(value: Any) -> str:
    """Return a value as a config.json has it; what JSON has no word for as Python does."""
    try:
        return json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        return repr(value)
