"""What a model's own sentence-transformers files do after pooling, and what they put before a text."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from llmkit.errors import ModelError
from llmkit.models.model_files import read_model_json, read_model_list
from llmkit.models.pooling import PoolingConfig, pooling_switches, read_pooling
from llmkit.models.resolved import ResolvedModel

if TYPE_CHECKING:
    import torch

_CONFIG = "config_sentence_transformers.json"
_WITHOUT_WORK = {"Transformer", "Pooling", "Dropout"}


@dataclass(frozen=True, slots=True)
class SentenceModules:
    """What sentence-transformers would do with a model.

    Attributes:
        dense: folders with a linear layer that the pooled vector goes through, in order.
        normalize: the vectors come out at length 1.
        prompts: texts to put before an input, by their names.
        default_prompt: the name of the one that is put there unasked.
    """

    pooling: PoolingConfig
    dense: tuple[str, ...] = ()
    normalize: bool = False
    prompts: dict[str, str] = field(default_factory=dict)
    default_prompt: str | None = None


def read_sentence_modules(model: ResolvedModel) -> SentenceModules:
    """Read ``modules.json`` and what it names; without it, the mean of the tokens and nothing after.

    Raises:
        ModelError: there is a module that llmkit does not know, so that its vectors would not be the model's.
    """
    location, revision = model.location, model.revision
    dense: list[str] = []
    normalize = False
    for module in read_model_list(location, "modules.json", revision):
        kind = str(module.get("type", "")).rpartition(".")[2]
        if kind == "Dense":
            dense.append(str(module.get("path", "")))
        elif kind == "Normalize":
            normalize = True
        elif kind not in _WITHOUT_WORK:
            raise ModelError(
                f"{model.name}: its sentence-transformers module '{kind}' is not one that llmkit knows.",
                hint="--pooling mean leaves the model's own modules out.",
            )
    own = read_model_json(location, _CONFIG, revision)
    return SentenceModules(
        read_pooling(location, revision),
        tuple(dense),
        normalize,
        _prompts_in(own),
        own.get("default_prompt_name"),
    )


SENTENCE_FILES = (
    "modules.json",
    "1_Pooling/config.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
)
"""What says how a model's tokens become a vector."""


def sentence_files(modules: SentenceModules, width: int) -> dict[str, str]:
    """Return the files by which sentence-transformers 2 and later loads a model of transformers that pools so.

    Args:
        modules: what is to be done; linear layers are left out.
        width: of a vector.

    Returns:
        Their content by their names.
    """
    kinds = [("", "Transformer"), ("1_Pooling", "Pooling")]
    kinds += [("2_Normalize", "Normalize")] if modules.normalize else []
    contents: dict[str, Any] = {
        SENTENCE_FILES[0]: [
            {"idx": number, "name": str(number), "path": path, "type": f"sentence_transformers.models.{kind}"}
            for number, (path, kind) in enumerate(kinds)
        ],
        SENTENCE_FILES[1]: {
            "word_embedding_dimension": width,
            **pooling_switches(modules.pooling.mode),
        },
        SENTENCE_FILES[2]: {"max_seq_length": modules.pooling.max_tokens, "do_lower_case": False},
        SENTENCE_FILES[3]: {
            "prompts": modules.prompts,
            "default_prompt_name": modules.default_prompt,
            "similarity_fn_name": "cosine",
        },
    }
    return {name: f"{json.dumps(content, indent=2)}\n" for name, content in contents.items()}


def model_prompts(model: ResolvedModel) -> dict[str, str]:
    """Return the texts that a model has to put before an input, by their names; "" says that it is nothing."""
    return _prompts_in(read_model_json(model.location, _CONFIG, model.revision))


def _prompts_in(config: dict[str, Any]) -> dict[str, str]:
    prompts = config.get("prompts")
    return {str(name): str(text) for name, text in prompts.items()} if isinstance(prompts, dict) else {}


def load_dense(model: ResolvedModel, folder: str) -> torch.nn.Module:
    """Load a linear layer that stands after the pooling, with its activation.

    Raises:
        ModelError: its weights are not there as safetensors.
    """
    import torch
    from safetensors.torch import load_file

    from llmkit.models.model_files import find_model_file

    config: dict[str, Any] = read_model_json(model.location, f"{folder}/config.json", model.revision)
    path = find_model_file(model.location, f"{folder}/model.safetensors", model.revision)
    if path is None:
        raise ModelError(f"{model.name} has no {folder}/model.safetensors.")
    linear = torch.nn.Linear(config["in_features"], config["out_features"], config.get("bias", True))
    weights = {name.removeprefix("linear."): tensor.float() for name, tensor in load_file(path).items()}
    linear.load_state_dict(weights)
    name = str(config.get("activation_function", "torch.nn.modules.activation.Tanh")).rpartition(".")[2]
    activation = getattr(torch.nn, name, None)
    if not (isinstance(activation, type) and issubclass(activation, torch.nn.Module)):
        raise ModelError(f"{model.name}: {folder} has an activation that torch does not have: {name}.")
    return torch.nn.Sequential(linear, activation()).eval()
