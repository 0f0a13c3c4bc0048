"""The first step of configs, in as many processes as it is started with: its loss, its gradients, its evaluation.

``torchrun … -m tests.training.splitting CONFIGS RESULTS``: a JSON list of configs in, a safetensors file of each out.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from llmkit.training.config_file import check_config
from llmkit.training.processes import is_first, meet, part
from llmkit.training.run import figures_of
from tests.training.stepping import first_step, ready


def results_of(values: dict[str, object]) -> dict[str, torch.Tensor]:
    """Return the loss, each gradient and each figure of the evaluation, by name."""
    config = check_config(values, "the config")
    run = ready(config)
    figures = figures_of(run, run.data.train, "eval")
    loss, gradients = first_step(run)
    numbers = {"loss": loss, "examples": len(run.data.train)} | figures
    return gradients | {f"number.{name}": torch.tensor(value).double() for name, value in numbers.items()}


def main(configs: str, results: str) -> None:
    torch.set_num_threads(1)
    meet(on_cpu=True)
    for name, values in json.loads(Path(configs).read_text()).items():
        found = results_of(values)
        if is_first():
            save_file(found, Path(results) / f"{name}.safetensors")
    part()


if __name__ == "__main__":
    main(*sys.argv[1:])
