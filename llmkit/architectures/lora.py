"""LoRA: how many numbers low-rank adapters add to a counted model, on the modules that peft would adapt.

An adapter of rank r beside a matrix of in × out numbers is two matrices, r × in and out × r (Hu et al. 2021,
arXiv 2106.09685, section 4.1). Modules are matched as `peft.LoraConfig(target_modules=...)` matches them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod

from llmkit.architectures.counted import Counted, Tensor
from llmkit.architectures.lora_experts import ExpertAdapter, adapters_of_all_linear, expert_adapter, goes_over
from llmkit.data.numerals import whole_number
from llmkit.errors import UsageError, did_you_mean
from llmkit.wanted import at_least

SOURCE = "Hu et al. 2021, arXiv 2106.09685, section 4.1"
ALL_LINEAR = "all-linear"
_MATRICES = {"Linear", "Conv1D"}
_HINT = "Write it as r=8,targets=query,value,alpha=16."
_CONVOLUTIONS = {"Conv1d", "Conv2d", "Conv3d"}
_MOST_DIGITS = 9  # of a rank

# What peft adapts when no targets are named: the query and value projections, or the one they are fused into.
# The first line whose names are all in the model is taken.
_DEFAULT_TARGETS = (
    ("query", "value"),
    ("q_proj", "v_proj"),
    ("query_proj", "value_proj"),
    ("q", "v"),
    ("q_lin", "v_lin"),
    ("query_key_value",),
    ("qkv_proj",),
    ("c_attn",),
    ("Wqkv",),
    ("in_proj",),
    ("qkv",),
)
# Where peft's own table (peft.utils.constants, 0.21) has more for a model type than its query and value.
_DEFAULT_TARGETS_BY_TYPE = {
    "phi": ("q_proj", "v_proj", "fc1", "fc2"),
    "nemotron_h": ("q_proj", "k_proj", "v_proj", "o_proj"),
    "rwkv": ("key", "value", "receptance", "output"),
}


@dataclass(frozen=True, slots=True)
class LoraSpec:
    """What ``--lora`` asks for.

    Attributes:
        targets: the ends of module names, or ``all-linear`` alone; empty for those that peft would choose.
        alpha: scales the adapters' output by alpha / r; it changes no count. None: peft's own, 8.
    """

    r: int = 8
    targets: tuple[str, ...] = ()
    alpha: float | None = None


@dataclass(frozen=True, slots=True)
class LoraRow:
    """The adapters of one kind of module.

    Attributes:
        module: the name with ``*`` for each number of a layer: ``encoder.layer.*.attention.self.query``.
        copies: how many such modules are adapted.
        trainable: numbers in all their adapters.
        formula: with names, such as ``r × (in + out) × copies``; `numbers` is the same with numbers.
        tensor: the name of the tensor beside which they are.
        rank: of each: that of the spec, or a multiple of it where peft takes one.
        experts: how many the tensor has, each with an adapter of its own; 1 for a module.
    """

    module: str
    inputs: int
    outputs: int
    copies: int
    trainable: int
    formula: str
    numbers: str
    tensor: str
    rank: int
    experts: int = 1


@dataclass(frozen=True, slots=True)
class LoraCount:
    """A model with adapters.

    Attributes:
        targets: those of `spec`, or the ones that were chosen for it.
        trainable: numbers that are trained; `total` has the frozen ones too.
        rows: one for each kind of module that is adapted.
        note: what a person should know of the figure; "" for nothing.
    """

    spec: LoraSpec
    targets: tuple[str, ...]
    trainable: int
    total: int
    rows: tuple[LoraRow, ...]
    note: str = ""


def parse(text: str) -> LoraSpec:
    """Read ``r=8,targets=query,value,alpha=16``; a word without ``=`` belongs to the targets before it.

    Raises:
        UsageError: nothing at all, an unknown key, a key twice, r not a whole number from 1, or alpha not a number.
    """
    if not text.strip(" ,"):
        raise UsageError("--lora is empty: it should say r at least.", hint=_HINT)
    values: dict[str, list[str]] = {}
    key = ""
    for word in filter(None, (each.strip() for each in text.split(","))):
        name, equals, value = word.partition("=")
        if equals:
            key = _key(name.strip(), text)
            if key in values:
                raise UsageError(f"--lora {text}: {key} is there twice.")
            values[key] = [value.strip()] if value.strip() else []
        elif key == "targets":
            values[key].append(word)
        else:
            raise _misread(text, f"'{word}' has no key")
    if "targets" in values and not values["targets"]:
        raise _misread(text, "targets names no module")
    return LoraSpec(
        _rank(values.get("r", ["8"]), text),
        tuple(values.get("targets", ())),
        _alpha(values.get("alpha"), text),
    )


def _key(name: str, text: str) -> str:
    keys = {"r": "r", "rank": "r", "targets": "targets", "target_modules": "targets", "alpha": "alpha"}
    if name.lower() not in keys:
        guess = did_you_mean(name, keys)
        raise _misread(text, f"no such key as '{name}'" + (f"; {guess}" if guess else ""))
    return keys[name.lower()]


def _rank(values: Sequence[str], text: str) -> int:
    if len(values) != 1 or not values[0].isascii() or not values[0].isdigit() or not values[0].strip("0"):
        raise _misread(text, "r should be a whole number, 1 or more")
    if len(values[0].lstrip("0")) > _MOST_DIGITS:
        raise UsageError(f"--lora: r has {len(values[0]):,} digits, and no matrix is that wide.", hint=_HINT)
    return int(values[0])


def _alpha(values: Sequence[str] | None, text: str) -> float | None:
    if values is None:
        return None
    try:
        alpha = float(*values)
    except (TypeError, ValueError):
        alpha = 0.0
    if not values or not 0 < alpha < float("inf"):
        raise _misread(text, "alpha should be above 0")
    return alpha


def _misread(text: str, reason: str) -> UsageError:
    return UsageError(f"--lora {text}: {reason}" + ("" if reason.endswith("?") else "."), hint=_HINT)


def apply(counted: Counted, spec: LoraSpec) -> LoraCount:
    """Count the adapters that `spec` puts into the model.

    Experts that are kept in one tensor of three dimensions are parameters, not modules: a target that names
    them stands for peft's `target_parameters`; ``all-linear`` adapts them on the model types where peft does, and
    where it does not, the note says so.

    Raises:
        UsageError: a target that no module of the model has, or one that peft cannot adapt; r below 1.
    """
    at_least(1, spec.r, "the rank r of LoRA is")
    modules = list(_modules(counted))
    targets = spec.targets or default_targets(counted)
    adapted: dict[str, LoraRow] = {}
    for target in targets:
        found = [each for each in modules if _is_meant(each, target, counted)]
        if not found:
            raise _unknown_target(target, modules)
        for each in found:
            adapted.setdefault(each.name, _row(each, spec.r, target, counted))
    rows = tuple(adapted.values())
    trainable = sum(row.trainable for row in rows)
    return LoraCount(spec, targets, trainable, counted.total + trainable, rows, _note(counted, rows, targets))


def _note(counted: Counted, rows: Sequence[LoraRow], targets: Sequence[str]) -> str:
    stacked = [tensor for tensor in counted.tensors if tensor.is_stacked_experts]
    if any(row.experts > 1 for row in rows):
        return (
            "Experts in one tensor are adapted as peft's target_parameters do; what it makes of their adapters in "
            "each step, matrices as large as the experts, is not in the memory figures."
        )
    if not stacked or ALL_LINEAR not in map(str.lower, targets):
        return ""
    names = ",".join(dict.fromkeys(tensor.name.rpartition(".")[2] for tensor in stacked))
    return (
        "all-linear leaves experts that lie in one tensor as they are, as peft does for this model type; "
        f"to adapt them name them: targets={names} (peft's target_parameters)."
    )


def default_targets(counted: Counted) -> tuple[str, ...]:
    """Return the targets that peft would choose for a model when none are named.

    Raises:
        UsageError: the model has neither query and value projections nor a fused one.
    """
    by_type = _DEFAULT_TARGETS_BY_TYPE.get(counted.model_type)
    ends = {each.name.rpartition(".")[2] for each in _modules(counted) if _is_matrix(each)}
    for names in filter(None, (by_type, *_DEFAULT_TARGETS)):
        if ends.issuperset(names):
            return names
    raise UsageError(
        f"no default targets for LoRA on {counted.model_class}: it has no query and value projections.",
        hint="Name modules (--lora r=8,targets=NAME,NAME) or take targets=all-linear.",
    )


@dataclass(frozen=True, slots=True)
class _Module:
    name: str
    tensor: Tensor
    is_module: bool
    is_output: bool


def _modules(counted: Counted) -> Iterator[_Module]:
    """Go through what holds a weight, by every name it goes by: a tied output layer is a module of its own."""
    for tensor in counted.tensors:
        for index, name in enumerate((tensor.name, *tensor.tied)):
            module, _, parameter = name.rpartition(".")
            if parameter == "bias":
                continue
            is_module = parameter == "weight"
            # Of a tied table the first name is the embedding, and the one that is not is the output layer.
            is_output = not tensor.stack and tensor.multiplies and _is_output(tensor, counted)
            yield _Module(
                module if is_module else name, tensor, is_module, is_output and (index > 0 or not tensor.tied)
            )


def _is_output(tensor: Tensor, counted: Counted) -> bool:
    return bool(counted.vocabulary) and tensor.sizes[0] == counted.vocabulary and len(tensor.sizes) == 2


def _is_adaptable(module: _Module) -> bool:
    kind = module.tensor.module_class
    is_table = kind.endswith("Embedding") and len(module.tensor.sizes) == 2
    return module.is_module and (is_table or kind in _CONVOLUTIONS or _is_matrix(module))


def _is_matrix(module: _Module) -> bool:
    """Whether peft sees an `nn.Linear`: also of its subclasses, which are called ...Linear."""
    return module.is_module and (
        module.tensor.module_class in _MATRICES or module.tensor.module_class.endswith("Linear")
    )


def _is_meant(module: _Module, target: str, counted: Counted) -> bool:
    if target.lower() == ALL_LINEAR:
        is_linear = _is_matrix(module) and not module.is_output and not goes_over(counted, module.name)
        return is_linear or adapters_of_all_linear(counted, module.tensor, 1) is not None
    return _picked(module, target) > 0


def _picked(module: _Module, target: str) -> float:
    """Return the share of the module's copies whose names are `target` or end in ``.target``."""
    names, wanted = module.name.split("."), target.split(".")
    if len(wanted) > len(names):
        return 0
    share = 1.0
    outer = names[: len(names) - len(wanted)].count("*")
    for name, part in zip(names[len(names) - len(wanted) :], wanted, strict=True):
        if name != "*":
            if name != part:
                return 0
            continue
        # A number picks one layer of those the star stands for.
        size = module.tensor.repeats[outer].size if outer < len(module.tensor.repeats) else 1
        outer += 1
        if part != "*":
            if (number := whole_number(part)) is None or number >= size:
                return 0
            share /= size
    return share


def _row(module: _Module, r: int, target: str, counted: Counted) -> LoraRow:
    """Return the adapters of a kind of module, or of a parameter, that a target means."""
    is_all = target.lower() == ALL_LINEAR
    adapter = _adapter(module, r, counted, is_all=is_all)
    copies = module.tensor.copies if is_all else round(module.tensor.copies * _picked(module, target))
    inputs, outputs, times = adapter.inputs, adapter.outputs, adapter.rank // r
    factors = (
        *([("2", "2")] if times > 1 else []),
        ("r", f"{r:,}"),
        ("(in + out)", f"({inputs:,} + {outputs:,})"),
        *([("experts", f"{adapter.experts:,}")] if adapter.experts > 1 else []),
        *([("copies", f"{copies:,}")] if copies > 1 else []),
    )
    return LoraRow(
        module.name,
        inputs,
        outputs,
        copies,
        adapter.rank * (inputs + outputs) * adapter.experts * copies,
        " × ".join(name for name, _ in factors),
        " × ".join(number for _, number in factors),
        module.tensor.name,
        adapter.rank,
        adapter.experts,
    )


def _adapter(module: _Module, r: int, counted: Counted, *, is_all: bool) -> ExpertAdapter:
    tensor = module.tensor
    if is_all and (found := adapters_of_all_linear(counted, tensor, r)) is not None:
        return found
    if tensor.is_stacked_experts:
        return expert_adapter(counted, tensor, r)
    if not module.is_module:
        raise UsageError(
            f"--lora: '{module.name}' is a parameter of {len(tensor.sizes)} dimensions, not a module.",
            hint="peft adapts modules by name, and of parameters those of experts.",
        )
    if not _is_adaptable(module):
        raise UsageError(
            f"--lora: '{module.name}' is a {tensor.module_class}, which LoRA cannot adapt.",
            hint="It adapts linear, embedding and convolution modules.",
        )
    outputs, inputs = tensor.sizes[0], prod(tensor.sizes[1:])
    # GPT-2's linear layer and embedding tables keep their weights the other way round.
    if tensor.module_class == "Conv1D" or tensor.module_class.endswith("Embedding"):
        outputs, inputs = inputs, outputs
    return ExpertAdapter(1, inputs, outputs, r)


def _unknown_target(target: str, modules: Sequence[_Module]) -> UsageError:
    names = sorted({each.name.rpartition(".")[2] for each in modules if _is_adaptable(each)} - {"*"})
    guess = did_you_mean(target, [*names, ALL_LINEAR])
    return UsageError(
        f"--lora: no module's name ends in '{target}'" + (f"; {guess}" if guess else "."),
        hint=f"There are: {', '.join(names)}, or {ALL_LINEAR}.",
    )
