"""What a run costs: the FLOPs of its steps, and the bytes it needs on a device against those there are."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.architectures import activations
from llmkit.architectures.activations import BFLOAT16, FLOAT32, MIXED
from llmkit.architectures.compute import forward_flops
from llmkit.architectures.counted import Counted
from llmkit.architectures.counting import count_architecture
from llmkit.architectures.heads import name_of_head
from llmkit.architectures.lora import LoraSpec
from llmkit.architectures.memory import adapters_of, regimes
from llmkit.architectures.streams import streams
from llmkit.errors import UsageError
from llmkit.hardware import main_memory
from llmkit.training.objectives.batch import Batch
from llmkit.training.sharding import gathered_bytes, is_fsdp

if TYPE_CHECKING:
    import torch

    from llmkit.training.config import FinetuneConfig
    from llmkit.training.state import Run

_SAMPLED = 20
"""Steps whose micro-batches are looked at."""


def count_of(model: Any) -> Counted | None:
    """Count the architecture of a model that is trained, without its adapter; None where that cannot be built."""
    base = model.get_base_model() if hasattr(model, "peft_config") else model
    try:
        # A sharded model is of a class made for it, over FSDP's and its own.
        head = name_of_head(base.config, type(base).__bases__[-1] if is_fsdp(base) else type(base))
        return count_architecture(base.config.to_dict(), head, formulas=False)
    except (UsageError, AttributeError, KeyError, TypeError):
        return None


# ---- FLOPs


def model_flops(model: Any, *, head_at_targets: bool) -> Callable[[Mapping[int, float], float], float]:
    """Return what gives the FLOPs that the model itself needs, forward and backward, from lengths and targets.

    It takes how many texts there are of each length, and how many targets they have. Real tokens alone count, and
    nothing that is computed twice to save memory: the share of a device's peak is then that of Chowdhery et al. 2022
    (PaLM, arXiv 2204.02311, appendix B). Where the architecture is not known a token takes two FLOPs for each
    parameter, forward (Kaplan et al. 2020, arXiv 2001.08361, section 2.1).

    Args:
        head_at_targets: the vocabulary head runs at the targets alone.
    """
    counted = count_of(model)
    head = _vocabulary_head(counted) if head_at_targets and counted is not None else 0
    parameters = sum(each.numel() for each in model.parameters())
    passes = backward_passes(model)
    kinds = _kinds_of_tokens(counted)

    @lru_cache(maxsize=4096)
    def forward(length: int) -> float:
        known = None if counted is None else forward_flops(counted, sequence_length=math.ceil(length / kinds))
        return 2.0 * parameters * length if known is None else known - 2.0 * head * length

    def flops(texts: Mapping[int, float], targets: float) -> float:
        total = sum(number * forward(length) for length, number in texts.items())
        return passes * (total + 2.0 * head * targets)

    return flops


def _kinds_of_tokens(counted: Counted | None) -> int:
    """Return 2 for an encoder-decoder, whose tokens are taken to be half the source's and half the target's, else 1."""
    return 1 if counted is None else max(1, len(streams(counted)))


def step_flops(
    model: Any, lengths: Sequence[int], *, head_at_targets: bool
) -> Callable[[Sequence[Batch]], float]:
    """Return what gives the FLOPs that the model itself needs for some batches; see `model_flops`.

    Args:
        lengths: tokens of each training example.
        head_at_targets: the vocabulary head runs at the targets alone.
    """
    of_texts = model_flops(model, head_at_targets=head_at_targets)

    def flops(batches: Sequence[Batch]) -> float:
        texts = Counter(length for batch in batches for length in _lengths_in(batch, lengths))
        return of_texts(texts, sum(_targets(batch) for batch in batches))

    return flops


def _lengths_in(batch: Batch, lengths: Sequence[int]) -> list[int]:
    """Return the tokens of each text in a batch; the samples of a packed row each for itself."""
    if batch.examples and "samples" in batch.examples[0]:
        return [length for example in batch.examples for length in example["lengths"]]
    return [lengths[row] for row in batch.rows]


def _targets(batch: Batch) -> float:
    return batch.targets[0] if isinstance(batch.targets, tuple) else batch.targets


def _vocabulary_head(counted: Counted) -> int:
    """Return the numbers of the matrix that scores the vocabulary; 0 where there is none."""
    return max((tensor.each for tensor in counted.tensors if _scores_words(tensor, counted)), default=0)


def _scores_words(tensor: Any, counted: Counted) -> bool:
    is_matrix = tensor.multiplies and not tensor.stack and len(tensor.sizes) == 2
    return is_matrix and tensor.sizes[0] == counted.vocabulary > 0


def backward_passes(model: Any) -> float:
    """Return how much forward and backward cost together, in forward passes: 3 where everything is trained.

    Each matrix costs one forward, one for the gradient of what went in, and one for its own gradient: the last
    only if it is trained, the second only from the first trained one on.
    """
    import torch

    output = model.get_output_embeddings()
    looked_up = {id(each.weight) for each in model.modules() if isinstance(each, torch.nn.Embedding)}
    looked_up -= {id(getattr(output, "weight", None))}  # a tied one multiplies too
    matrices = [each for each in model.parameters() if each.ndim > 1 and id(each) not in looked_up]
    total = sum(each.numel() for each in matrices)
    first = next((number for number, each in enumerate(matrices) if each.requires_grad), len(matrices))
    passed = sum(each.numel() for each in matrices[first:])
    trained = sum(each.numel() for each in matrices if each.requires_grad)
    return 1 + (passed + trained) / total if total else 3.0


# ---- memory


def memory_of(run: Run, config: FinetuneConfig) -> dict[str, Any]:
    """Return the bytes that training needs on each device, by what for, and those that are free there.

    Weights, gradients and AdamW's two moments are exact. The activations are those of the micro-batch that keeps
    the most, of the first steps, as `llmkit params` works them out; None for a model where they are not known.
    """
    parameters = list(run.model.parameters())
    trained = [each for each in parameters if each.requires_grad]
    found: dict[str, Any] = {
        "weights": _bytes(parameters) + _bytes(run.model.buffers()),
        "gradients": _bytes(trained),
        "optimizer": 2 * _bytes(trained),
    }
    if is_fsdp(run.model):
        found["gathered"] = gathered_bytes(run.model)
    if config.training.ema is not None:
        found["average"] = _bytes(trained)
    counted = count_of(run.model)
    if counted is not None and run.accelerator.mixed_precision != "no":
        mixed = next(each for each in regimes(counted) if each.key == "mixed")
        found["copies"] = mixed.states - 16 * counted.total  # what autocast keeps in half precision
    found["activations"] = None if counted is None else _activations(run, config, counted)
    total = sum(each for each in found.values() if each is not None)
    # What the run has already is no longer free.
    held = found["weights"] + (found["average"] if run.loop.average is not None else 0)
    available = free_bytes(run.accelerator.device) + held
    return found | {"total": total, "available": available, "fits": total <= available}


def _bytes(tensors: Any) -> int:
    """Return the bytes of tensors; of those that devices share, the bytes of this one's part."""
    own = (each.to_local() if hasattr(each, "to_local") else each for each in tensors)
    return sum(each.numel() * each.element_size() for each in own)


def _activations(run: Run, config: FinetuneConfig, counted: Counted) -> int | None:
    precision = FLOAT32 if config.model.dtype == "float32" else BFLOAT16
    precision = MIXED if run.accelerator.mixed_precision != "no" else precision
    share = share_of_targets(run) if run.objective.head_at_targets else 1.0
    kinds = _kinds_of_tokens(counted)

    @lru_cache(maxsize=4096)
    def kept(length: int) -> float | None:
        each = activations.saved(
            counted,
            sequence_length=math.ceil(length / kinds),
            precision=precision,
            adapted=_adapted(config, counted),
        )
        if each is None:
            return None
        checkpointing = config.training.gradient_checkpointing
        return each.total(checkpointing=checkpointing) - (1 - share) * each.logits

    steps, most = run.loop.steps, 0.0
    for number in range(min(_SAMPLED, steps.total)):
        for rows in steps.at(number).micro_batches:
            of_one = kept(max(steps.lengths[row] for row in rows))
            if of_one is None:
                return None
            most = max(most, len(rows) * of_one)
    return round(most)


def share_of_targets(run: Run) -> float:
    """Return how many targets a token has, in the first micro-batch."""
    rows = run.loop.steps.at(0).micro_batches[0]
    batch = run.loop.batch(rows, 0)
    return _targets(batch) / max(1, batch.tokens)


def _adapted(config: FinetuneConfig, counted: Counted) -> dict[str, int] | None:
    if config.adapter is None:
        return None
    spec = LoraSpec(config.adapter.r, tuple(config.adapter.targets or ()))
    try:
        found = adapters_of(counted, spec)
    except UsageError:  # targets that peft alone understands
        return None
    return None if found is None else {row.tensor: config.adapter.r for row in found.rows}


def free_bytes(device: torch.device) -> int:
    """Return the bytes that are free on a device; on a CPU what the system, the cgroup and ulimit leave."""
    import torch

    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    machine, group = main_memory.of_machine(), main_memory.of_group()
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    found = (machine.available if machine else physical, group.available if group else None, _of_limit())
    return min(each for each in found if each is not None)


def _of_limit() -> int | None:
    import resource

    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit == resource.RLIM_INFINITY:
        return None
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    except OSError:
        return limit
    return max(0, limit - pages * resource.getpagesize())
