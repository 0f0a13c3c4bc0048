"""Models that devices share by DeepSpeed: ZeRO (Rajbhandari et al. 2020, https://arxiv.org/abs/1910.02054).

Its engine hands the gradients on and takes the optimizer's step; everything else is the run's own. Checkpoints are the
plain ones, whole tensors that the first process writes: none of DeepSpeed's pickles, and any number of devices, or one
without DeepSpeed, goes on with them.
"""

from __future__ import annotations

import io
import logging
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from llmkit.errors import UsageError
from llmkit.training.processes import is_first

if TYPE_CHECKING:
    import torch

_MOMENTS = ("exp_avg", "exp_avg_sq")
_ENGINES: WeakKeyDictionary[Any, Engine] = WeakKeyDictionary()


class Engine:
    """DeepSpeed's engine around a model, and the optimizer inside of it.

    Attributes:
        wrapped: DeepSpeed's own, through which the model is called.
    """

    def __init__(self, wrapped: Any, optimizer: torch.optim.Optimizer) -> None:
        self.wrapped = wrapped
        self._optimizer = optimizer
        self._passes = 0

    @property
    def _zero(self) -> Any:
        return self.wrapped.optimizer

    @property
    def _shares(self) -> list[torch.Tensor]:
        """This device's share of the weights that are trained, as the optimizer has them."""
        name = "fp32_partitioned_groups_flat" if self.shares_weights else "single_partition_of_fp32_groups"
        found: list[torch.Tensor] = getattr(self._zero, name)
        return found

    @property
    def shares_weights(self) -> bool:
        """A device has a share of the parameters alone (stage 3)."""
        return int(self.wrapped.zero_optimization_stage()) == 3

    def begin(self, passes: int) -> None:
        """Say how often a step goes back through the model, on each device."""
        self._passes = passes

    def propagate(self, share: torch.Tensor) -> None:
        """Add up the gradients of a share of a step's loss; the last time they meet."""
        self._passes -= 1
        self.wrapped.set_gradient_accumulation_boundary(self._passes == 0)
        self.wrapped.backward(share, scale_wrt_gas=False)

    def step(self) -> float:
        """Clip the gradient and take the optimizer's step; return how long it was before."""
        self.wrapped.step()
        return float(self.wrapped.get_global_grad_norm())

    def weights(self, module: torch.nn.Module) -> dict[str, torch.Tensor]:
        """Return all weights and buffers on the CPU in the first process, nothing in others; each must ask."""
        from deepspeed.utils import safe_get_full_fp32_param

        found = {}
        for name, parameter in module.named_parameters():
            if parameter.requires_grad:
                full = safe_get_full_fp32_param(parameter)
            else:
                with _gathered(parameter):
                    full = parameter.detach().clone()
            if is_first():
                found[name] = full.cpu().clone()
        if is_first():
            kept = module.state_dict().keys()
            found |= {name: each.cpu().clone() for name, each in module.named_buffers() if name in kept}
        return found

    def put_weights(self, module: torch.nn.Module, weights: Mapping[str, torch.Tensor]) -> None:
        """Give the model weights that are whole; each process must do so."""
        import torch

        with torch.no_grad():
            for name, parameter in module.named_parameters():
                if name not in weights:
                    continue
                value = weights[name].to(self.wrapped.device)
                with _gathered(parameter, changed=True):
                    parameter.copy_(value)
                if parameter.requires_grad:
                    self._set(parameter, value.float(), None)
            for name, buffer in module.named_buffers():
                if name in weights:
                    buffer.copy_(weights[name])

    def moments(self, module: torch.nn.Module) -> dict[str, torch.Tensor]:
        """Return AdamW's state as a plain run has it, in the first process; each must ask."""
        from deepspeed.utils import safe_get_full_optimizer_state

        state = next(iter(self._optimizer.state.values()), None)
        if state is None:
            return {}
        self._link()
        found = {}
        for name, parameter in _trained(module):
            for kind in _MOMENTS:
                full = safe_get_full_optimizer_state(parameter, kind)
                if is_first():
                    found[f"{kind}.{name}"] = full.cpu().clone()
            if is_first():
                found[f"step.{name}"] = state["step"].detach().cpu().clone()
        return found

    def _link(self) -> None:
        """Let each parameter know its place in the optimizer's states, which DeepSpeed leaves for later."""
        if not self.shares_weights:
            # It does so once, after the first group's first step: the states of the others come later.
            self._zero._hp_optimizer_states_linked = False
            self._zero._lazy_init_hp_params_optimizer_state()

    def put_moments(self, module: torch.nn.Module, tensors: Mapping[str, torch.Tensor]) -> None:
        """Give the optimizer what `moments` took, or a plain run's optimizer had."""
        import torch

        steps = [tensor for name, tensor in tensors.items() if name.startswith("step.")]
        if not steps:
            return
        for share in self._shares:
            self._optimizer.state[share] = {
                "step": steps[0].to(share.device, copy=True),
                **{kind: torch.zeros_like(share) for kind in _MOMENTS},
            }
        self._link()
        for name, parameter in _trained(module):
            for kind in _MOMENTS:
                value = tensors.get(f"{kind}.{name}")
                if value is not None:
                    self._set(parameter, value.to(self.wrapped.device), kind)

    def _set(self, parameter: torch.nn.Parameter, value: torch.Tensor, kind: str | None) -> None:
        """Write this device's part of a whole tensor: of a weight, or of a kind of state of it."""
        from deepspeed import utils

        scope = "local" if self.shares_weights else "full"
        if self.shares_weights:
            # DeepSpeed takes whole ones there only where they can be cut into equal parts.
            value = _own_part(value, parameter)
        if kind is None:
            getattr(utils, f"safe_set_{scope}_fp32_param")(parameter, value)
        else:
            getattr(utils, f"safe_set_{scope}_optimizer_state")(parameter, value, kind)


def start_engine(
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    settings: Mapping[str, Any],
    device: torch.device,
) -> Engine:
    """Put DeepSpeed's engine around a model; the processes of the run have met already.

    Args:
        settings: as `zero_settings` returned them.

    Raises:
        UsageError: on a CPU, there is nothing to build with what DeepSpeed builds.
    """
    if device.type == "cpu":
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
        find_builders()
    with redirect_stdout(io.StringIO()):  # it prints what it builds
        import deepspeed

        logging.getLogger("DeepSpeed").setLevel(logging.ERROR)
        wrapped, *_ = deepspeed.initialize(
            model=model, optimizer=optimizer, config=dict(settings), dist_init_required=False
        )
    engine = Engine(wrapped, optimizer)
    _ENGINES[model] = engine
    return engine


def find_builders() -> None:
    """See to it that DeepSpeed finds a C++ compiler, and ninja, which is installed with it beside Python.

    Raises:
        UsageError: one of them is not there.
    """
    if shutil.which("ninja") is None:  # the environment was not activated
        beside = str(Path(sys.executable).parent)
        os.environ["PATH"] = os.pathsep.join([beside, os.environ.get("PATH", os.defpath)])
    compilers = (os.environ.get("CXX", "c++"), "g++", "clang++")
    for what, names in (("C++ compiler", compilers), ("ninja", ("ninja",))):
        if not any(map(shutil.which, names)):
            raise UsageError(
                f"sharding: deepspeed: on a CPU DeepSpeed builds a part of itself, and there is no {what}.",
                hint="Install one, or take sharding: fsdp, which needs none.",
            )


def engine_of(model: Any) -> Engine | None:
    """Return the engine around a model, given it or what DeepSpeed put around it; None where there is none."""
    return _ENGINES.get(getattr(model, "module", model))


def shape_of(parameter: torch.Tensor) -> torch.Size:
    """Return the shape of a parameter, also of one of which a device has only a share."""
    shape: torch.Size = getattr(parameter, "ds_shape", parameter.shape)
    return shape


def _own_part(value: torch.Tensor, parameter: Any) -> torch.Tensor:
    """Return what this device has of a tensor that is cut as a parameter is, the last part filled up."""
    import torch

    size = parameter.ds_tensor.ds_numel
    start = size * torch.distributed.get_rank()
    part = value.flatten()[start : start + size]
    return torch.nn.functional.pad(part, (0, size - part.numel()))


def _trained(module: torch.nn.Module) -> Iterator[tuple[str, torch.nn.Parameter]]:
    return (each for each in module.named_parameters() if each[1].requires_grad)


@contextmanager
def _gathered(parameter: torch.nn.Parameter, *, changed: bool = False) -> Iterator[None]:
    """Have a parameter whole for a moment; what is changed meanwhile is shared out again."""
    if not hasattr(parameter, "ds_id"):
        yield
        return
    import deepspeed

    with deepspeed.zero.GatheredParameters([parameter], modifier_rank=0 if changed else None):
        yield
