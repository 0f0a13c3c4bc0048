"""Models larger than a device: each has a share of every parameter, its gradient and the optimizer's state (FSDP2).

What asks whether a model is shared asks here; the other way to do so, DeepSpeed's, is in `zero`.

The layers are sharded one by one and the rest as a whole, as accelerate does it, by torch's ``fully_shard`` itself:
accelerate has it for GPUs alone. All devices gather a layer at the same moment, so all go through the model equally
often: one that has fewer micro-batches computes one more for nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

from llmkit.errors import UsageError
from llmkit.training.fitting import memory_explained
from llmkit.training.processes import average_gradients, is_first, largest, process_count
from llmkit.training.zero import engine_of

if TYPE_CHECKING:
    import torch

    from llmkit.training.config import FinetuneConfig
    from llmkit.training.objectives.base import Objective


def is_sharded(model: torch.nn.Module) -> bool:
    """Tell whether each device has a share of the model, so that all must go through it equally often."""
    return engine_of(model) is not None or is_fsdp(model)


def is_fsdp(model: torch.nn.Module) -> bool:
    """Tell whether each device has a share of the model by `shard`."""
    if process_count() == 1:
        return False
    from torch.distributed.fsdp import FSDPModule

    return isinstance(model, FSDPModule)


def check_sharding(config: FinetuneConfig, objective: Objective) -> None:
    """Refuse what does not go together with sharding, before anything is loaded.

    Raises:
        UsageError: a task that does not go through the model in equal steps, or a setting that needs all of it.
    """
    if config.sharding is None:
        return
    reasons = {
        f"task: {config.task} goes through the model as often as the texts need": not objective.in_equal_steps,
        "adapter.type: qlora keeps weights in 4 bits, which are not sharded": config.adapter is not None
        and config.adapter.type == "qlora",
        "training.ema keeps a second copy of the whole": config.training.ema is not None,
        "training.compile is not tried with it": config.training.compile,
        f"model.dtype: {config.model.dtype} is not tried with it": config.sharding.type == "deepspeed"
        and config.model.dtype != "float32",
    }
    for reason, is_so in reasons.items():
        if is_so:
            raise UsageError(
                f"sharding: {config.sharding.type} does not go with this: {reason}.",
                hint="Leave sharding out.",
            )


def shard(model: torch.nn.Module, device: torch.device, *, cpu_offload: bool) -> None:
    """Leave each device its share of a model's parameters, in place; layers by themselves, then the rest.

    Args:
        cpu_offload: keep the shares in the CPU's memory while they are not computed with.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import CPUOffloadPolicy, fully_shard

    options: dict[str, Any] = {"mesh": init_device_mesh(device.type, (process_count(),))}
    if cpu_offload:
        options["offload_policy"] = CPUOffloadPolicy()
    for layer in layers_of(model):
        fully_shard(layer, **options)
    fully_shard(model, **options)


def layers_of(model: torch.nn.Module) -> Iterator[torch.nn.Module]:
    """Go through the layers of a model: what stands in its outermost lists of several modules of one kind."""
    import torch

    for child in model.children():
        kinds = {type(each) for each in child} if isinstance(child, torch.nn.ModuleList) else set()
        if len(kinds) == 1 and len(list(child.children())) > 1 and any(True for _ in child.parameters()):
            yield from child.children()
        else:
            yield from layers_of(child)


def gathered_bytes(model: torch.nn.Module) -> int:
    """Return the bytes that a device has whole at a time: the layer at work, the one on its way, and the rest."""

    def size(module: torch.nn.Module) -> int:
        return sum(each.numel() * each.element_size() for each in module.parameters())

    layers = [size(layer) for layer in layers_of(model)]
    return size(model) - sum(layers) + 2 * max(layers, default=0)


def meet_gradients(model: torch.nn.Module) -> None:
    """Replace each gradient by its mean over the devices; a sharded model has done so on its way back."""
    if not is_sharded(model):
        average_gradients(model.parameters())


def missing_passes(model: torch.nn.Module, mine: int, device: torch.device) -> int:
    """Return how often another device goes through a sharded model more than this one."""
    return largest(mine, device) - mine if is_sharded(model) else 0


@contextmanager
def without_gradients(model: torch.nn.Module) -> Iterator[None]:
    """Judge a model; what is gathered of a sharded one is let go afterwards, and is of no use but for that."""
    import torch

    if not is_sharded(model):
        with torch.inference_mode():
            yield
        return
    with torch.no_grad():  # what is gathered in inference mode could not be trained with
        yield
    if is_fsdp(model):
        model.reshard()  # type: ignore[operator]  # the layers have done so; the rest waits for a way back


@contextmanager
def in_step(model: torch.nn.Module, otherwise: AbstractContextManager[None]) -> Iterator[None]:
    """Add up a step's gradients; a sharded model cannot begin a step anew where it did not fit on one device.

    Args:
        otherwise: what is done with a model that every device has.

    Raises:
        ModelError: there is no memory left.
    """
    with memory_explained("a micro-batch") if is_sharded(model) else otherwise:
        yield


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """Return all of a tensor that the devices have shares of; each must ask."""
    full: torch.Tensor = tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
    return full


def put(target: torch.Tensor, full: torch.Tensor) -> None:
    """Write a whole tensor into one that may be sharded; each device must do so."""
    import torch

    with torch.no_grad():
        if hasattr(target, "device_mesh"):
            from torch.distributed.tensor import DTensor, distribute_tensor

            assert isinstance(target, DTensor)
            full = distribute_tensor(full.to(target.device), target.device_mesh, target.placements)
        target.copy_(full)


def whole_weights(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Return a sharded model's parameters and buffers on the CPU, a shared one once; each device must ask.

    One is whole at a time, but for the first device, which keeps all.
    """
    import torch

    engine = engine_of(model)
    if engine is not None:
        return engine.weights(model)
    found = {}
    for name, tensor in kept_tensors(model).items():
        full = whole(tensor.detach()).cpu().clone(memory_format=torch.contiguous_format)
        if is_first():
            found[name] = full
    return found


def kept_tensors(model: torch.nn.Module) -> Mapping[str, torch.Tensor]:
    """Return the parameters, a shared one once, and the buffers that are kept, by name."""
    parameters = dict(model.named_parameters())
    kept = model.state_dict().keys()
    return parameters | {name: buffer for name, buffer in model.named_buffers() if name in kept}
