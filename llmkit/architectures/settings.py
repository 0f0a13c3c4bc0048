"""``--set``: values of a config changed by name, dotted for nested configs (``text_config.hidden_size``)."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from llmkit.architectures.build_errors import as_json
from llmkit.errors import UsageError, did_you_mean
from llmkit.wanted import should_be

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

# Not fields, but every config takes them: the number of labels makes the label table, and heads are sized by it.
ALWAYS_TAKEN = frozenset({"model_type", "num_labels", "id2label", "label2id"})


def apply_settings(values: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return a config's values with the settings in them; neither argument is changed.

    Raises:
        UsageError: a dotted name goes through a value that is no nested config.
    """
    changed = deepcopy(dict(values))
    for name, value in settings.items():
        *parents, key = name.split(".")
        place = changed
        for depth, parent in enumerate(parents):
            place = place.setdefault(parent, {})
            if not isinstance(place, dict):
                raise UsageError(
                    f"--set {name}: {'.'.join(parents[: depth + 1])} is {place!r}, not a nested config."
                )
        place[key] = value
    if "num_labels" in settings:  # a label table of another length would win over the number
        changed = {key: value for key, value in changed.items() if key not in ("id2label", "label2id")}
    return changed


def resolve_settings(config: PreTrainedConfig, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings under the names that the config itself uses: ``hidden_size`` is GPT-2's ``n_embd``.

    Args:
        config: the config without the settings.

    Raises:
        UsageError: the config has no such value; the message has the nearest. Or a text or a truth value is
            given where the config has a number.
    """
    return dict(_resolved(config, name, value) for name, value in settings.items())


def _resolved(config: PreTrainedConfig, name: str, value: Any) -> tuple[str, Any]:
    *parents, key = name.split(".")
    place, path = config, ""
    for parent in parents:
        _check_known(place, parent, name, path)
        inner = getattr(place, parent, None)
        if not hasattr(inner, "to_dict"):
            raise UsageError(
                f"--set {name}: {path}{parent} is not a nested config, but {inner!r}.",
                hint=_nested_hint(config),
            )
        place, path = inner, f"{path}{parent}."
    key = getattr(place, "attribute_map", {}).get(key, key)
    _check_known(place, key, name, path)
    return f"{path}{key}", _fitted(place, key, value, name)


def _names_of(config: Any) -> set[str]:
    """Return the names that a config of this class takes."""
    fields = getattr(type(config), "__dataclass_fields__", {})
    known = {*config.to_dict(), *vars(config), *fields, *getattr(config, "attribute_map", {}), *ALWAYS_TAKEN}
    return {name for name in known if not name.startswith("_")}


def _check_known(config: Any, key: str, name: str, path: str) -> None:
    known = _names_of(config)
    if key in known:
        return
    where = f"the {path.rstrip('.')} of {config.model_type}" if path else str(config.model_type)
    if deeper := _deeper(config, key, path):
        raise UsageError(f"--set {name}: {where} has no {key!r} of its own; it is in {' and '.join(deeper)}.")
    guess = did_you_mean(key, known)
    guess = guess.replace("did you mean ", f"did you mean {path}") if guess else None
    raise UsageError(
        f"--set {name}: {where} has no {key!r}" + (f"; {guess}" if guess else "."),
        hint=_sizes_hint(config),
    )


def _sizes_hint(config: Any) -> str:
    """Name the whole numbers of a config: what a person who sizes a model looks for."""
    sizes = [
        key
        for key, value in config.to_dict().items()
        if isinstance(value, int) and not isinstance(value, bool) and not key.endswith("_token_id")
    ]
    return f"Its sizes: {', '.join(sorted(sizes))}."


def _nested_hint(config: Any) -> str | None:
    nested = sorted(_nested(config))
    return f"Nested configs: {', '.join(nested)}." if nested else None


def _nested(config: Any) -> dict[str, Any]:
    return {key: value for key, value in vars(config).items() if hasattr(value, "to_dict")}


def _deeper(config: Any, key: str, path: str) -> list[str]:
    """Return where in the configs nested in this one a value is."""
    return [
        f"{path}{name}.{key}" for name, inner in sorted(_nested(config).items()) if key in _names_of(inner)
    ]


def _fitted(config: Any, key: str, value: Any, name: str) -> Any:
    """Return a value as the config takes it: a whole number that was typed as 1e3 is one.

    Raises:
        UsageError: it is of another kind than the one that is there.
    """
    present = getattr(config, key, None)
    if hasattr(present, "to_dict") and not (value is None or isinstance(value, Mapping)):
        raise UsageError(
            f"--set {name}={as_json(value)}: {name} is a nested config, not a single value.",
            hint=f"Set a value in it: --set {name}.KEY=VALUE. {_sizes_hint(present)}",
        )
    is_number = isinstance(present, int | float) and not isinstance(present, bool)
    takes_lists = "list" in str(getattr(_field(config, key), "type", ""))
    if is_number and isinstance(value, str | bool | dict | (tuple if takes_lists else list)):
        raise should_be(f"--set {name}={as_json(value)}", f"a number, such as {present}")
    is_whole = isinstance(present, int) and isinstance(value, float) and value.is_integer()
    return int(value) if is_whole else value


def _field(config: Any, key: str) -> Any:
    return getattr(type(config), "__dataclass_fields__", {}).get(key)
