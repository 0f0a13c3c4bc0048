"""The first step of some configs, in as many processes as it is started with.

``python -m tests.training.first_steps CONFIGS RESULTS``: a JSON object of configs in, a safetensors file of each out.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from llmkit.training.config_file import check_config
from llmkit.training.run import figures_of
from tests.training.stepping import first_step, ready


def results_of(values: dict[str, object]) -> dict[str, torch.Tensor]:
    """Return the gradients of a config's first step, and beside them its loss and its evaluation."""
    run = ready(check_config(values, "the config"))
    figures = figures_of(run, run.data.train, "eval")
    loss, gradients = first_step(run)
    numbers = {"loss": loss, **figures}
    gradients = {name.removeprefix("module."): each for name, each in gradients.items()}
    return gradients | {f"number {name}": torch.tensor(each).double() for name, each in numbers.items()}


def main(configs: str, results: str) -> None:
    torch.set_num_threads(1)
    from accelerate import PartialState

    state = PartialState(cpu=True)
    for name, values in json.loads(Path(configs).read_text()).items():
        found = results_of(values)
        if state.is_main_process:
            save_file(found, Path(results) / f"{name}.safetensors")
    state.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
