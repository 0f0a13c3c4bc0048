"""``llmkit.count_parameters``: a model's parameters by what it is called, from the cache if it was counted before."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.architectures.cache import keep, key_of, read_count
from llmkit.architectures.heads import check_head
from llmkit.architectures.model_types import check_model_type
from llmkit.architectures.naming import Named, name_model
from llmkit.architectures.settings import apply_settings, resolve_settings
from llmkit.errors import UsageError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from llmkit.architectures.counted import Counted
    from llmkit.architectures.lora import LoraCount
    from llmkit.architectures.rows import Row


@dataclass(frozen=True, slots=True)
class ModelCount:
    """A model's count, and what it is called.

    Attributes:
        counted: every tensor, folded over the layers.
        named: where the config comes from.
        settings: the values of its config that were changed.
        lora: the adapters that were asked for.
    """

    counted: Counted
    named: Named
    settings: Mapping[str, Any] = field(default_factory=dict)
    lora: LoraCount | None = None

    @property
    def label(self) -> str:
        """What the model is called."""
        return self.named.label

    @property
    def total(self) -> int:
        """Parameters, a tied or shared tensor once; the adapters of LoRA included."""
        return self.lora.total if self.lora else self.counted.total

    @property
    def trainable(self) -> int:
        """Parameters that training changes: the adapters' alone with LoRA, else all."""
        return self.lora.trainable if self.lora else self.counted.total

    @property
    def active(self) -> int:
        """Parameters that one token meets: less than `total` for a mixture of experts."""
        return self.counted.active

    @property
    def rows(self) -> list[Row]:
        """The rows of the table: a component each, with its formula."""
        from llmkit.architectures.rows import table_rows

        return table_rows(self.counted)

    @property
    def is_as_published(self) -> bool:
        """Whether it is an entry of the catalogue as it is there, so that its published figure is of this model."""
        entry = self.named.entry
        return entry is not None and not self.settings and self.counted.total == entry.count

    def to_json(self) -> dict[str, Any]:
        """Return all that is known of the count: what ``llmkit params --format json`` gives without its costs."""
        from llmkit.architectures.report import count_as_json

        return count_as_json(self)


def count_parameters(
    model: str | os.PathLike[str] | Mapping[str, Any] | PreTrainedModel | None = None,
    *,
    type: str | None = None,  # noqa: A002 - as the option is called
    set: Mapping[str, Any] | None = None,  # noqa: A002
    head: str | None = None,
    revision: str | None = None,
    lora: str | None = None,
    use_cache: bool = True,
) -> ModelCount:
    """Count a model's parameters without its weights, exactly.

    Args:
        model: a name of the catalogue, a folder, a config.json or what is in one, a hub id (of which only the
            config is fetched), or a model of transformers, loaded or not, which is counted as it is.
        type: instead of a model: the defaults of a model type, such as ``bert``.
        set: values of the config to change, nested ones by dotted names.
        head: ``masked-lm``, ``sequence-classification``, …, ``none``, or ``checkpoint`` for what the config's
            `architectures` say. None: as the model's paper counts it.
        lora: adapters, such as ``r=8,targets=query,value``.
        use_cache: take a count that was made before, and keep a new one.

    Raises:
        UsageError: an unknown name, head or value; a config that no model can have.
        HubError: the hub does not have the config, or does not answer.
    """
    settings = dict(set or {})
    if head is not None:
        check_head(head)
    if hasattr(model, "parameters") and hasattr(model, "config"):
        return _with_lora(_count_loaded(model, head, settings), lora)
    return count_named(_named(model, type, revision), settings, head, lora, use_cache=use_cache)


def count_named(
    named: Named,
    settings: Mapping[str, Any],
    head: str | None = None,
    lora: str | None = None,
    *,
    use_cache: bool = True,
) -> ModelCount:
    """Count what was named; the arguments and the errors are those of `count_parameters`."""
    wanted = head
    if wanted is None and named.entry is not None and not settings.get("model_type"):
        wanted = named.entry.head
    counted = _count(named, settings, wanted, use_cache)
    return _with_lora(ModelCount(counted, named, settings), lora)


def _named(model: Any, model_type: str | None, revision: str | None) -> Named:
    if isinstance(model, Mapping):
        return Named(str(model.get("_name_or_path") or "config"), model, "object", "the config")
    if model is not None and not isinstance(model, str | os.PathLike):
        raise UsageError(f"a model is a name, a path, a config or a model of transformers, not {model!r}.")
    if isinstance(model, Path):  # Path("bert") is a path, whatever the catalogue has
        model = model if model.is_absolute() else f"./{model}"
    return name_model(None if model is None else os.fspath(model), model_type=model_type, revision=revision)


def _count(named: Named, settings: Mapping[str, Any], head: str | None, use_cache: bool) -> Counted:
    asked = {"values": named.values, "settings": settings, "head": head}
    key = key_of(kind="count", **asked) if use_cache else None
    counted = read_count(key)
    if counted is None:
        counted = _count_anew(named, settings, head)
        keep(key, counted.to_json() if key else None)
    return counted


def _count_anew(named: Named, settings: Mapping[str, Any], head: str | None) -> Counted:
    values = dict(named.values)
    settings = dict(settings)
    if "model_type" in settings:
        values["model_type"] = settings.pop("model_type")
    check_model_type(values, named.where)
    from llmkit.architectures.counting import count_architecture

    if settings:
        settings = resolve_settings(_config_with_names(values), settings)
        values = apply_settings(values, settings)
    return count_architecture(values, head)


def _config_with_names(values: Mapping[str, Any]) -> Any:
    """Return the config whose names settings go by; of its type alone where the values cannot stand without them."""
    from llmkit.architectures.building import configure

    try:
        return configure(values)
    except UsageError:
        return configure({"model_type": values["model_type"]})


def _count_loaded(model: Any, head: str | None, settings: Mapping[str, Any]) -> ModelCount:
    """Count a model that is there, with whatever was done to it."""
    from llmkit.architectures.counting import count_model
    from llmkit.architectures.heads import name_of_head

    if head is not None or settings:
        raise UsageError("a model that is built has its head and its values: name its config instead.")
    try:
        found = name_of_head(model.config, type(model))
    except (AttributeError, KeyError, TypeError):  # a class of the user's own
        found = type(model).__name__
    counted = count_model(model, model.config, head=found)
    label = str(getattr(model.config, "_name_or_path", "") or type(model).__name__)
    return ModelCount(counted, Named(label, counted.config, "object", label))


def _with_lora(count: ModelCount, text: str | None) -> ModelCount:
    if text is None:
        return count
    from dataclasses import replace

    from llmkit.architectures import lora

    return replace(count, lora=lora.apply(count.counted, lora.parse(text)))
