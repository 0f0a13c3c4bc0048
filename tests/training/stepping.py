"""A run on rows of the test's own, and the loss and gradient of its first step."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from llmkit.training.config import FinetuneConfig
from llmkit.training.config_file import check_config
from llmkit.training.preparing import prepare
from llmkit.training.reference import add_reference
from llmkit.training.state import Listener, Run

NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}

# How a step of all rows is split up: the gradient must not depend on it.
SPLITS = {
    "whole": {"micro_batch_size": 64, "batching": "padded"},
    "padded": {"micro_batch_size": 3, "batching": "padded"},
    "sorted": {"micro_batch_size": 3, "batching": "sorted"},
    "by tokens": {"micro_batch_tokens": 40},
    "one by one": {"micro_batch_size": 1},
}

Gradients = dict[str, torch.Tensor]


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> str:
    """Write rows as JSON Lines and return the file's name."""
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return str(path)


def config_for(task: str, start: Path, folder: Path, train: str, **sections: Any) -> FinetuneConfig:
    """Return a config that splits nothing off, clips nothing and drops nothing out, unless `sections` say so.

    Args:
        start: the model's folder.
        folder: the run is in a folder below it.
    """
    training = {"epochs": 1, "max_grad_norm": None, "precision": "float32", "batch_size": 64}
    return check_config(
        {
            "task": task,
            "model": {"name": str(start), "config": NO_DROPOUT} | sections.pop("model", {}),
            "data": {"train": train} | sections.pop("data", {}),
            "training": training | sections.pop("training", {}),
            "output": str(folder / "run"),
            **sections,
        },
        "test.yaml",
    )


def ready(config: FinetuneConfig) -> Run:
    """Return a run before its first step."""
    run = prepare(config, Path(config.output), device="cpu", listener=Listener())
    add_reference(run)
    return run


class _Recorder(torch.optim.SGD):
    """An optimizer that looks at the gradients and changes nothing."""

    def step(self, closure: Any = None) -> None:
        self.gradients = {
            id(parameter): parameter.grad.clone()
            for group in self.param_groups
            for parameter in group["params"]
            if parameter.grad is not None
        }


def first_step(run: Run) -> tuple[float, Gradients]:
    """Return the loss of a run's first step, and the gradient of each parameter."""
    groups = [{"params": group["params"]} for group in run.loop.optimizer.param_groups]
    recorder = _Recorder(groups, lr=0.0)
    run.loop.optimizer = recorder
    result = next(run.loop.run())
    names = {id(parameter): name for name, parameter in run.model.named_parameters()}
    run.model.zero_grad()
    return result.loss, {names[key]: gradient for key, gradient in recorder.gradients.items()}


def plain_step(model: torch.nn.Module, loss: torch.Tensor) -> tuple[float, Gradients]:
    """Return a loss and its gradients, computed by PyTorch alone."""
    model.zero_grad()
    loss.backward()
    gradients = {
        name: parameter.grad.clone()
        for name, parameter in model.named_parameters()
        if parameter.grad is not None
    }
    model.zero_grad()
    return float(loss.detach()), gradients


def assert_same_step(
    found: tuple[float, Gradients], expected: tuple[float, Gradients], tolerance: float = 1e-5
) -> None:
    """Check that losses and gradients are the same, up to float32's rounding."""
    assert abs(found[0] - expected[0]) <= tolerance * max(1.0, abs(expected[0]))
    assert found[1].keys() == expected[1].keys()
    largest = max(float(gradient.abs().max()) for gradient in expected[1].values())
    assert largest > 0
    for name, gradient in expected[1].items():
        difference = float((found[1][name] - gradient).abs().max())
        assert difference <= tolerance * max(1.0, largest), f"{name}: {difference}"
