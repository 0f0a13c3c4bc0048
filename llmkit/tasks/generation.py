"""Running `generate()` in a pipeline: which settings apply, and what comes out.

Shared by the tasks that llmkit gives back to transformers 5. `docs/differences.md` lists where their settings
differ from 4.57.6 on purpose.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from transformers import GenerationConfig, GenerationMixin, Pipeline
from transformers.pipelines.base import load_assistant_model

from llmkit.errors import did_you_mean

# Two ways to say the same thing: setting one takes the other back.
_LENGTH_PAIRS = {
    "max_length": "max_new_tokens",
    "max_new_tokens": "max_length",
    "min_length": "min_new_tokens",
    "min_new_tokens": "min_length",
}
# What `generate()` used before it told "unset" from a value: in a saved model it means nothing.
_OLD_GLOBAL_MAX_LENGTH = 20


def reject_unknown(pipeline: Pipeline, unknown: Iterable[str], known: Iterable[str] = ()) -> None:
    """Raise TypeError for the first of the `unknown` options, with the nearest name the pipeline does take."""
    for name in unknown:
        named = inspect.signature(pipeline._sanitize_parameters).parameters.values()
        options = {parameter.name for parameter in named if parameter.kind is not parameter.VAR_KEYWORD}
        near = did_you_mean(name, {*options, *known, "batch_size", "num_workers"})
        raise TypeError(
            f"{type(pipeline).__name__} has no option {name!r}: {near or 'it takes ' + ', '.join(sorted(options))}"
        )


class GeneratingPipeline(Pipeline):
    """What the pipelines that call `generate()` share: which settings apply, and running it.

    From weak to strong: `_default_settings`, the model's generation config, `config.task_specific_params` of
    the task, what was given at construction, what is given in a call.
    """

    # transformers' own handling of generation settings differs between its 5.x releases, and some of it
    # writes into the model's config, so none of it is switched on.
    _pipeline_calls_generate = False
    _default_settings: Mapping[str, Any] = {"max_new_tokens": 256}

    def __init__(
        self,
        model: Any,
        *args: Any,
        assistant_model: Any = None,
        assistant_tokenizer: Any = None,
        **kwargs: Any,
    ) -> None:
        self.assistant_model, self.assistant_tokenizer = load_assistant_model(
            model, assistant_model, assistant_tokenizer
        )
        super().__init__(model, *args, **kwargs)
        self._init_settings: dict[str, Any] = self._forward_params.pop("settings", {})
        task_params = _task_params(self.model.config, self.task)
        self.prefix: str | None = task_params.get("prefix", getattr(self.model.config, "prefix", None))

    def _checked_settings(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return generation keywords as `_forward` takes them.

        Raises:
            TypeError: one that nothing uses.
            ValueError: a value that cannot be, before there is an input to blame.
        """
        known = _generation_names(self.model)
        reject_unknown(self, [name for name in settings if name not in known], known)
        of_config = vars(GenerationConfig())
        given = {**self._default_settings, **settings}
        GenerationConfig(**{name: value for name, value in given.items() if name in of_config})
        return {"settings": dict(settings)} if settings else {}

    def __call__(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(inputs, list | tuple) and not inputs:
            return []
        return super().__call__(inputs, *args, **kwargs)

    def _generate(
        self, model_inputs: Mapping[str, Any], settings: Mapping[str, Any] | None, return_scores: bool = False
    ) -> dict[str, torch.Tensor]:
        """Run `generate()`; return tensors whose first axes are (batch, sequences per input).

        `output_ids` (batch, sequences, length), `lengths`: how many of them are no padding, and `scores` if
        asked for.
        """
        inputs = dict(model_inputs)
        batch_size = next(value.shape[0] for value in inputs.values() if isinstance(value, torch.Tensor))
        arguments = self._generate_arguments(settings or {})
        if return_scores:
            arguments |= {"return_dict_in_generate": True, "output_logits": True}
        output = self.model.generate(**inputs, **arguments)
        sequences = output if isinstance(output, torch.Tensor) else output.sequences
        shape = (batch_size, sequences.shape[0] // batch_size)
        ends = _ends(self.model, arguments)
        lengths = torch.tensor([_length(sequence, *ends) for sequence in sequences.tolist()])
        result = {"output_ids": sequences.reshape(*shape, -1), "lengths": lengths.reshape(shape)}
        if return_scores:
            result["scores"] = _sequence_scores(self.model, output, lengths).reshape(shape)
        return result

    def _generate_arguments(self, call_settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return the keyword arguments of `generate()` for one call, all layers of settings put together."""
        merged: dict[str, Any] = {}
        for layer in self._setting_layers(call_settings):
            for name, value in layer.items():
                merged[name] = value
                opposite = _LENGTH_PAIRS.get(name)
                if opposite is not None and opposite not in layer:
                    merged[opposite] = None
        if self.assistant_model is not None:
            merged.setdefault("assistant_model", self.assistant_model)
        if self.assistant_tokenizer is not None:
            merged.setdefault("assistant_tokenizer", self.assistant_tokenizer)
        if self.assistant_tokenizer is not None or merged.get("stop_strings"):
            merged.setdefault("tokenizer", self.tokenizer)
        return merged

    def _setting_layers(self, call_settings: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the layers of settings above the model's own, the weakest first.

        A `generation_config` stands for itself: neither the pipeline's defaults nor the task's settings go
        under it.
        """
        layers = [dict(self._init_settings), dict(call_settings)]
        for index in (1, 0):
            config = layers[index].pop("generation_config", None)
            if config is not None:
                return [_set_values(config), *layers[index:]]
        return [self._defaults_left_open(), self._task_settings(), *layers]

    def _task_settings(self) -> dict[str, Any]:
        """Return the settings that the model's config has for this task."""
        params = _task_params(self.model.config, self.task)
        return {name: value for name, value in params.items() if hasattr(GenerationConfig(), name)}

    def _defaults_left_open(self) -> dict[str, Any]:
        """Return the pipeline's defaults for what the model's own generation config says nothing about."""
        own = _set_values(self.model.generation_config)
        if own.get("max_length") == _OLD_GLOBAL_MAX_LENGTH:
            del own["max_length"]
        defaults = dict(self._default_settings)
        decoder = self.model.config.get_text_config(decoder=True)
        positions = getattr(decoder, "max_position_embeddings", None)
        if self.model.config.is_encoder_decoder and positions:
            defaults["max_new_tokens"] = min(defaults["max_new_tokens"], positions - 1)
        if self.tokenizer is not None and self.tokenizer.pad_token_id is not None:
            defaults["pad_token_id"] = self.tokenizer.pad_token_id
        return {
            name: value
            for name, value in defaults.items()
            if name not in own and _LENGTH_PAIRS.get(name) not in own
        }


def _task_params(config: Any, task: str) -> dict[str, Any]:
    params = getattr(config, "task_specific_params", None) or {}
    return copy.deepcopy(params.get(task) or {})


def _set_values(config: GenerationConfig) -> dict[str, Any]:
    """Return what a generation config sets, without what it leaves to the defaults."""
    return {
        name: value
        for name, value in vars(config).items()
        if value is not None and not name.startswith("_") and name != "transformers_version"
    }


def _generation_names(model: Any) -> set[str]:
    """Return every keyword that `model.generate()` understands: settings, its own arguments, the model's inputs."""
    names = {name for config in (GenerationConfig(), model.generation_config) for name in vars(config)}
    parts = [
        model,
        *(part for part in (_part(model, "encoder"), _part(model, "decoder")) if part is not None),
    ]
    functions = [GenerationMixin.generate, model.generate, model.prepare_inputs_for_generation]
    functions += [part.forward for part in parts]
    for function in functions:
        names |= set(inspect.signature(function).parameters)
    # Read out of generate()'s **kwargs.
    names |= {"tokenizer", "assistant_tokenizer", "decoder_input_ids", "encoder_outputs", "past_key_values"}
    return {name for name in names if not name.startswith("_")} - {
        "self",
        "args",
        "kwargs",
        "model_kwargs",
        "inputs",
    }


def _part(model: Any, name: str) -> Any:
    base = getattr(model, getattr(model, "base_model_prefix", ""), None)
    return getattr(model, name, None) or getattr(base, name, None)


def _ends(model: Any, arguments: Mapping[str, Any]) -> tuple[list[int], int | None]:
    """Return the ids that end a sequence, and the one that fills up a finished one."""

    def setting(name: str) -> Any:
        return arguments[name] if name in arguments else getattr(model.generation_config, name)

    eos = setting("eos_token_id")
    eos_ids = [] if eos is None else list(eos) if isinstance(eos, list | tuple) else [int(eos)]
    return eos_ids, setting("pad_token_id")


def _length(sequence: list[int], eos_ids: list[int], pad_id: int | None) -> int:
    """Return how many ids there are up to and with the first end token, or without trailing padding.

    The first id does not count as either: it starts the decoder, and many models start it with one of these.
    """
    for position, token in enumerate(sequence[1:], start=1):
        if token in eos_ids:
            return position + 1
    length = len(sequence)
    while length > 1 and sequence[length - 1] == pad_id:
        length -= 1
    return length


def _sequence_scores(model: Any, output: Any, lengths: torch.Tensor) -> torch.Tensor:
    """Return exp(mean log-probability of the generated tokens) of each sequence, shape (sequences,), in 0..1.

    From the model's raw logits, so the settings that shape a search (a forced token, a minimum length, a
    temperature) choose the sequence but do not change its score. The end token counts, the start token and
    padding do not.
    """
    log_probs = model.compute_transition_scores(
        output.sequences, output.logits, getattr(output, "beam_indices", None), normalize_logits=True
    )
    prompt = output.sequences.shape[1] - log_probs.shape[1]
    generated = (lengths - prompt).clamp(min=1).tolist()
    means = [row[:count].double().mean() for row, count in zip(log_probs, generated, strict=True)]
    return torch.stack(means).exp().clamp(max=1.0)
