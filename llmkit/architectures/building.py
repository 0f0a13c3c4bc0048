"""From a config.json to the real model of transformers, on the meta device: all modules, no weights, no memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from llmkit.architectures.build_errors import one_error
from llmkit.architectures.config_checks import check_config, check_size, check_values
from llmkit.architectures.heads import default_head, model_class
from llmkit.architectures.model_types import check_model_type
from llmkit.errors import UsageError
from llmkit.models.silence import silenced

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

# A model of 126 layers has some 2,000 modules, one of 2,048 experts as modules of their own some 100,000.
MOST_MODULES = 250_000
# How a checkpoint is stored and run says nothing of its architecture, and may need what is not installed here.
_NOT_ARCHITECTURE = frozenset(
    {
        "attn_implementation",
        "_attn_implementation",
        "_attn_implementation_internal",
        "_attn_implementation_autoset",
        "experts_implementation",
        "_experts_implementation",
        "auto_map",
        "dtype",
        "torch_dtype",
        "quantization_config",
    }
)


def configure(values: Mapping[str, Any]) -> PreTrainedConfig:
    """Return the config that transformers makes of a config.json, its defaults filled in.

    Raises:
        UsageError: no model_type, one that transformers does not know, or values that no model can have.
    """
    check_model_type(values, "the config")
    check_values(values)
    with one_error("the config is not a valid one of this type", lambda: values), silenced():
        from transformers.models.auto.configuration_auto import CONFIG_MAPPING

        config_class = CONFIG_MAPPING[values["model_type"]]
        config = config_class.from_dict(_architecture_of(values))
    check_config(config, values)
    return config


def build(values: Mapping[str, Any], head: str | None = None) -> PreTrainedModel:
    """Build the model that a config.json describes, on the meta device.

    Args:
        head: a name of `heads.HEADS`, or ``checkpoint``; None for the head that the paper counts.

    Raises:
        UsageError: as of `configure`; or a head that this type does not have; or transformers cannot
            build it: the message has its reason.
    """
    config = configure(values)
    return build_class(find_class(config, head or default_head(config)), config)


def find_class(config: PreTrainedConfig, head: str) -> type[PreTrainedModel]:
    """Return the class of transformers for a config and a head, its module imported.

    Raises:
        UsageError: as of `heads.model_class`, or the module cannot be imported.
    """
    with one_error(f"transformers cannot load its {config.model_type}"), silenced():
        return model_class(config, head)


def build_class(built: type[PreTrainedModel], config: PreTrainedConfig) -> PreTrainedModel:
    """Build a model of a class on the meta device, tied weights tied; the config is left as it is.

    Raises:
        UsageError: transformers or torch cannot build it, or it has more than `MOST_MODULES` modules.
    """
    import torch

    config = deepcopy(config)
    text_config_class = getattr(config, "sub_configs", {}).get("text_config")
    if text_config_class is not None and built.config_class is text_config_class:
        config = config.get_text_config()
    with (
        one_error(f"transformers cannot build {built.__name__} from this config", config.to_dict),
        silenced(),
        _few_modules(),
        torch.device("meta"),
    ):
        model = built._from_config(config, dtype=torch.float32)
    check_size(parameter.numel() for parameter in model.parameters())
    return model


def _architecture_of(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: _architecture_of(value) if isinstance(value, Mapping) else deepcopy(value)
        for name, value in values.items()
        if name not in _NOT_ARCHITECTURE
    }


@contextmanager
def _few_modules() -> Iterator[None]:
    """Stop a build that would go on until the memory is full."""
    from torch.nn.modules.module import register_module_module_registration_hook

    count = 0

    def count_one(module: Any, name: str, submodule: Any) -> None:
        nonlocal count
        count += 1
        if count > MOST_MODULES:
            raise UsageError(
                f"the model would have more than {MOST_MODULES:,} modules: llmkit does not build it.",
                hint="Look at the counts in the config: layers, experts, codebooks.",
            )

    handle = register_module_module_registration_hook(count_one)
    try:
        yield
    finally:
        handle.remove()
