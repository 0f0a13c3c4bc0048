"""A checkpoint of a sharded model: each device writes its share, by torch.distributed.checkpoint.

It is read again by any number of devices. Like every file of a checkpoint, its index is read only if its hash is the
one that the manifest has; torch writes it as a pickle, and `checkpoint_index` reads it.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from llmkit.data.atomic import explained_write
from llmkit.training.checkpoint_index import INDEX as INDEX
from llmkit.training.checkpoint_index import index_reader
from llmkit.training.processes import agreed, is_first
from llmkit.training.sharding import kept_tensors

if TYPE_CHECKING:
    import torch

_BESIDE = ".writing-shards"
_MODEL, _OPTIMIZER = "model.", "optimizer."


def write_shards(folder: Path, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> Path:
    """Write all devices' shares into a folder beside the checkpoints, and return it; each device must do so.

    Raises:
        OutputError: they cannot be written.
    """
    import torch.distributed.checkpoint as dcp

    beside = folder / _BESIDE
    with agreed():
        if is_first():
            with explained_write(beside):
                shutil.rmtree(beside, ignore_errors=True)
                beside.mkdir(parents=True)
    with agreed(), explained_write(beside, hint="The checkpoints before it are whole."):
        try:
            dcp.save(_tensors(model, optimizer), checkpoint_id=beside)
        except dcp.CheckpointException as error:  # of any device, the same in all
            first = next(iter(error.failures.values()))[0]
            raise first from None
    return beside


def read_shards(folder: Path, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Give a model and its optimizer what a checkpoint has of them, however they are sharded now."""
    import torch.distributed.checkpoint as dcp

    _begin_state(optimizer)
    dcp.load(_tensors(model, optimizer), storage_reader=index_reader(folder))


def _tensors(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    found = {f"{_MODEL}{name}": tensor.detach() for name, tensor in kept_tensors(model).items()}
    for parameter, state in optimizer.state.items():
        for kind, tensor in state.items():
            found[f"{_OPTIMIZER}{kind}.{names[id(parameter)]}"] = tensor
    return found


def _begin_state(optimizer: torch.optim.Optimizer) -> None:
    """Make room for AdamW's state, as its first step would."""
    import torch

    for group in optimizer.param_groups:
        for parameter in group["params"]:
            device = parameter.device if group.get("fused") else "cpu"
            optimizer.state[parameter] = {
                "step": torch.zeros((), dtype=torch.float32, device=device),
                "exp_avg": torch.zeros_like(parameter),
                "exp_avg_sq": torch.zeros_like(parameter),
            }
