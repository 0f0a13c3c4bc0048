"""DeepSpeed's own config file: passed through as it is, but for what the run itself says.

What both say must be the same. ``"auto"`` there leaves a value to the run, as transformers and accelerate read it, or
to DeepSpeed's default where the run has none.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.data.json_text import parse_json
from llmkit.errors import MissingExtraError, UsageError

if TYPE_CHECKING:
    from llmkit.training.config import FinetuneConfig

_AUTO = "auto"
_STAGES = (1, 2, 3)
_SECTIONS = ("zero_optimization", "optimizer", "scheduler", "bf16", "fp16")
_NOT_PASSED_ON = ("optimizer", "scheduler", "bf16", "fp16", "train_batch_size")
# The run cuts each step as its texts need and takes one optimizer step for all of it.
_CUT_BY_THE_RUN = ("gradient_accumulation_steps", "train_micro_batch_size_per_gpu")


def is_zero(config: FinetuneConfig) -> bool:
    """Tell whether a run is shared out by DeepSpeed."""
    return config.sharding is not None and config.sharding.type == "deepspeed"


def zero_settings(config: FinetuneConfig, precision: str) -> dict[str, Any]:
    """Return what DeepSpeed is told: the file's values, and the run's where the file leaves them to it.

    Args:
        precision: what the run computes in.

    Raises:
        MissingExtraError: DeepSpeed is not installed.
        UsageError: the file cannot be read, shares nothing, or says otherwise than the run's own config.
    """
    assert config.sharding is not None and config.sharding.config is not None
    if importlib.util.find_spec("deepspeed") is None:
        raise MissingExtraError("sharding: deepspeed", "deepspeed")
    path = config.sharding.config
    given = _read(path)
    stage = given.get("zero_optimization", {}).get("stage")
    if stage not in _STAGES or isinstance(stage, bool):
        raise UsageError(
            f"{path}: zero_optimization.stage is {json.dumps(stage)}: nothing would be shared.",
            hint="1 shares the optimizer's state, 2 the gradients too, 3 the parameters too.",
        )
    differing = list(_differing(given, config, precision))
    if differing:
        raise UsageError(
            f"{path} does not go with this run:\n" + "\n".join(f"  {line}" for line in differing),
            hint='Leave these out there, or write "auto".',
        )
    return _completed(_without_auto(given), config, precision)


def _read(path: str) -> dict[str, Any]:
    try:
        given = parse_json(Path(path).read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise UsageError(
            f"sharding.config: cannot read {path}: {error.strerror or error}.",
            hint="Name DeepSpeed's own config file, in JSON.",
        ) from None
    except json.JSONDecodeError as error:
        raise UsageError(f"{path}:{error.lineno}:{error.colno}: not JSON: {error.msg}.") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path}: not UTF-8.") from None
    if not isinstance(given, dict):
        raise UsageError(f"{path} holds no keys with values.")
    for name in _SECTIONS:
        if not isinstance(given.get(name, {}), dict):
            raise UsageError(f"{path}: {name} is {json.dumps(given[name])}, not keys with values.")
    return given


def _differing(given: Mapping[str, Any], config: FinetuneConfig, precision: str) -> Iterator[str]:
    """Go through what the file says otherwise than the run."""
    said = dict(_leaves(given))
    for name in _CUT_BY_THE_RUN:
        if said.get(name, _AUTO) != _AUTO:
            yield f"{name}: {json.dumps(said[name])}; training.micro_batch_size and micro_batch_tokens say it"
    for name, (ours, value) in _said_by_the_run(config).items():
        if said.get(name, _AUTO) not in (_AUTO, value):
            yield f"{name}: {json.dumps(said[name])}; {ours} is {json.dumps(value)}"
    for name, value in said.items():
        if name.startswith("scheduler.params.") and value != _AUTO:
            yield f"{name}: {json.dumps(value)}; training.schedule and warmup_ratio say it"
    if said.get("bf16.enabled", _AUTO) not in (_AUTO, False):
        yield "bf16.enabled: true; training.precision: bfloat16 says it, and the weights stay in float32"
    if said.get("fp16.enabled", _AUTO) not in (_AUTO, False) or precision == "float16":
        yield "fp16: float16 is not tried with it; take training.precision: bfloat16 or float32"


def _said_by_the_run(config: FinetuneConfig) -> dict[str, tuple[str, Any]]:
    """Return what the run says, by DeepSpeed's names: our own name for it, and the value."""
    training = config.training
    return {
        "train_batch_size": ("training.batch_size", training.batch_size),
        "gradient_clipping": ("training.max_grad_norm", training.max_grad_norm or 0.0),
        "optimizer.type": ("the run's optimizer", "AdamW"),
        "optimizer.params.lr": ("training.learning_rate", training.learning_rate),
        "optimizer.params.betas": ("training.adam_beta1, 2", [training.adam_beta1, training.adam_beta2]),
        "optimizer.params.eps": ("training.adam_epsilon", training.adam_epsilon),
        "optimizer.params.weight_decay": ("training.weight_decay", training.weight_decay),
    }


def _leaves(given: Mapping[str, Any], name: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in given.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{name}{key}.")
        else:
            yield f"{name}{key}", value


def _without_auto(given: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: _without_auto(value) if isinstance(value, dict) else value
        for key, value in given.items()
        if value != _AUTO
    }


def _completed(given: dict[str, Any], config: FinetuneConfig, precision: str) -> dict[str, Any]:
    """Return the file's values with those that only the run has."""
    settings = {key: value for key, value in given.items() if key not in _NOT_PASSED_ON}
    settings |= {
        # Of no meaning here: the loop says itself which pass is a step's last.
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 1,
        "gradient_clipping": config.training.max_grad_norm or 0.0,
        "steps_per_print": given.get("steps_per_print", 1 << 30),
        # torch's AdamW, also where the states are kept in the CPU's memory: nothing has to be compiled for it.
        "zero_force_ds_cpu_optimizer": False,
    }
    if precision == "bfloat16":
        settings.setdefault("torch_autocast", {"enabled": True, "dtype": "bfloat16"})
    return settings
