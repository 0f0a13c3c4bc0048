"""The schema of a fine-tuning config: every key, its type, its bounds and its default.

One place says what there is: the errors of `config_file`, ``llmkit config schema|init|show``, the completion of
an editor and the resolved config beside the model all follow from it.
"""

from __future__ import annotations

from collections import Counter
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.fields import FieldInfo

from llmkit.training.objectives import OBJECTIVES

TASKS = tuple(OBJECTIVES)


def _listed(value: Any) -> Any:
    """Let one of a thing stand for a list of it."""
    return [value] if isinstance(value, str) else value


def _share_or_files(value: Any) -> Any:
    is_share = isinstance(value, float | int) and not isinstance(value, bool)
    if is_share and not 0 < value < 1:
        raise ValueError("between 0 and 1 where it is a share, such as 0.1")
    files = _listed(value)
    if not is_share and not (files and isinstance(files, list) and all(_is_name(file) for file in files)):
        raise ValueError("a share such as 0.1, a file, or a list of files")
    return value if is_share else files


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _auto_or_count(value: Any) -> Any:
    if value == "auto" or (isinstance(value, int) and not isinstance(value, bool) and value >= 1):
        return value
    raise ValueError("auto, or a whole number, 1 or more")


_PRECISIONS = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}


def _devices(value: Any) -> Any:
    numbers = value if isinstance(value, list) else ()
    is_count = isinstance(value, int) and not isinstance(value, bool) and value >= 1
    is_list = len(numbers) > 0 and all(
        isinstance(n, int) and not isinstance(n, bool) and n >= 0 for n in numbers
    )
    if value is None or is_count or (is_list and len(set(numbers)) == len(numbers)):
        return value
    raise ValueError("a number of GPUs, 1 or more, or which, each once: [0, 2]")


def _precision(value: Any) -> Any:
    return _PRECISIONS.get(value, value) if isinstance(value, str) else value


def _weights(value: Any) -> Any:
    if value is None or value == "balanced":
        return value
    if isinstance(value, list) and all(isinstance(each, int | float) and each > 0 for each in value):
        return [float(each) for each in value]
    raise ValueError("balanced, or a list with a number above 0 for each class")


def _different(value: Any) -> Any:
    if isinstance(value, list) and len(value) < 2:
        raise ValueError("two or more classes")
    twice = next((each for each, count in Counter(value or ()).items() if count > 1), None)
    if twice is not None:
        raise ValueError(f"names that differ: {twice!r} is there twice")
    return value


# What stands before a value is checked stands in the JSON Schema too: a text for a list of one, a name for a section.
_OneOrMore = BeforeValidator(_listed, json_schema_input_type=str | list[str])
Name = Annotated[str, Field(min_length=1)]
Files = Annotated[list[Name], Field(min_length=1), _OneOrMore]
ShareOrFiles = Annotated[
    float | list[str], BeforeValidator(_share_or_files, json_schema_input_type=float | str | list[str])
]
AutoOrCount = Annotated[
    int | Literal["auto"],
    BeforeValidator(_auto_or_count, json_schema_input_type=Annotated[int, Field(ge=1)] | Literal["auto"]),
]
Devices = Annotated[
    int | list[int],
    BeforeValidator(
        _devices,
        json_schema_input_type=Annotated[int, Field(ge=1)]
        | Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)],
    ),
]
Tracker = Literal["tensorboard", "wandb", "mlflow", "trackio"]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Section(BaseModel):
    """A part of the config: nothing unknown is let through, and a text is no number."""

    model_config = ConfigDict(extra="forbid", strict=True, use_attribute_docstrings=True)


class ModelSection(Section):
    """The model to start from."""

    name: Name
    """A folder, a hub id, or minilm for the embedded encoder; with from_scratch also a catalogue name."""
    revision: str | None = None
    """Branch, tag or commit of a hub model."""
    config: dict[str, Any] = Field(default_factory=dict)
    """Values of the model's own config to change: {hidden_dropout_prob: 0.0}."""
    from_scratch: bool = False
    """Take the architecture alone, with new weights."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """What the weights are kept in while training."""


def _named(value: Any) -> Any:
    """Let a model's name stand for its section."""
    return {"name": value} if isinstance(value, str) else value


class DataSection(Section):
    """What to learn from."""

    train: Files
    """csv tsv json jsonl parquet txt conll, a folder, a list of files, or hub:NAME[:config][:split]."""
    validation: ShareOrFiles | None = None
    """A file, a list of files, hub:NAME, or the share of the training rows to keep for it (stratified)."""
    test: Files | None = None
    """Evaluated once, at the end."""
    format: str | None = None
    """Read the files as this format, whatever their ending."""
    columns: dict[str, str] = Field(default_factory=dict)
    """The task's fields and the columns they are in: {text: review, label: stars}."""
    labels: Annotated[list[str] | None, AfterValidator(_different)] = None
    """The classes, in order; by default those of the training rows, sorted."""
    max_length: Count | None = None
    """Tokens an example may have; by default what the model takes, at most 512."""
    max_rows: Count | None = None
    """Take only the first rows of each set."""
    stride: Annotated[int, Field(ge=0)] = 128
    """Tokens that the parts of a long context share (question-answering)."""
    truncate: bool = True
    """Cut longer examples; false refuses them."""
    max_target_length: Count | None = None
    """Tokens a target may have (seq2seq); by default 128."""
    prefix: str | None = None
    """Put before each source (seq2seq): 'summarize: ', as T5 was trained."""
    source_language: str | None = None
    """As the model calls it, en_XX or eng_Latn (seq2seq); a column of its name is taken for the source."""
    target_language: str | None = None
    """As source_language; the model is made to answer in it."""


class TrainingSection(Section):
    """How to learn."""

    epochs: Positive = 3.0
    max_steps: Count | None = None
    """Optimizer steps; wins over epochs."""
    batch_size: Count = 32
    """Examples an optimizer step, over all devices and accumulation."""
    micro_batch_size: AutoOrCount = "auto"
    """Most examples that go through a device together; auto goes by tokens and by what fits."""
    micro_batch_tokens: AutoOrCount = "auto"
    """Most tokens, padding included, that go through a device together."""
    batching: Literal["auto", "sorted", "padded", "packed"] = "auto"
    """By similar length, in the order drawn, or joined, with hardly any padding."""
    learning_rate: Positive = 5e-5
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    warmup_ratio: Share = 0.06
    warmup_steps: Annotated[int, Field(ge=0)] | None = None
    """Wins over warmup_ratio."""
    weight_decay: NotNegative = 0.01
    """Norms and biases are spared."""
    adam_beta1: Annotated[float, Field(ge=0, lt=1)] = 0.9
    adam_beta2: Annotated[float, Field(ge=0, lt=1)] = 0.999
    adam_epsilon: Positive = 1e-8
    max_grad_norm: Positive | None = 1.0
    """Longer gradients are scaled down to this; null for none."""
    precision: Annotated[
        Literal["auto", "float32", "bfloat16", "float16"],
        BeforeValidator(
            _precision,
            json_schema_input_type=Literal["auto", "float32", "bfloat16", "float16", "bf16", "fp16", "fp32"],
        ),
    ] = "auto"
    """auto is bfloat16 where the device computes in it natively; float16 is for GPUs."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    class_weights: Annotated[Literal["balanced"] | list[float] | None, BeforeValidator(_weights)] = None
    """balanced, by how rare each class is, or a list with a number for each."""
    freeze: Annotated[list[str], _OneOrMore] = Field(default_factory=list)
    """Parameters to leave as they are: embeddings, encoder, layers.0-5, or the beginning of a name."""
    layer_decay: Annotated[float, Field(gt=0, le=1)] | None = None
    """Factor of the learning rate from each layer to the one below."""
    neftune_alpha: Positive | None = None
    """Noise on the embeddings while training (Jain et al. 2023)."""
    gradient_checkpointing: bool = False
    ema: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Decay of a moving average of the weights, which is what is evaluated and kept."""
    compile: bool = False
    """torch.compile; needs a C++ compiler."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 42
    masking: Annotated[float, Field(gt=0, lt=1)] = 0.15
    """Share of the tokens to predict (masked-lm, next-sentence)."""
    pooling: Literal["mean", "cls", "max", "last-token", "weighted-mean", "mean-sqrt-length"] | None = None
    """By default the model's own, else mean (sentence-embedding)."""
    temperature: Positive = 0.05
    """What cosine similarities are divided by (sentence-embedding)."""
    beta: Positive = 0.1
    """How strongly the model is held to what it was at the start (preference)."""
    logging_steps: Count = 10
    eval_steps: Count | None = None
    """By default once an epoch."""
    save_steps: Count | None = None
    """By default once an epoch."""
    keep_checkpoints: Count = 2
    early_stopping: Count | None = None
    """Stop after so many evaluations without a better one; as good as before is no better."""
    best_metric: str | None = None
    """Keep the model that was best by this; by default the task's own metric."""


class AdapterSection(Section):
    """Train a small addition instead of all weights (peft)."""

    type: Literal["lora", "dora", "qlora"] = "lora"
    """qlora is lora on weights kept in 4 bits (bitsandbytes: nf4, doubly quantized)."""
    r: Count = 8
    alpha: Count = 16
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    targets: Annotated[list[str], _OneOrMore] | None = None
    """Modules to adapt; by default those peft chooses for the architecture."""
    merge: bool = True
    """Write the whole model at the end, the adapter merged into it; false keeps the adapter alone."""


class ShardingSection(Section):
    """Give each device a share of the model, where it is larger than one."""

    type: Literal["fsdp", "deepspeed"] = "fsdp"
    """FSDP2 shares out parameters, gradients and the optimizer's state; deepspeed what its own file says."""
    cpu_offload: bool = False
    """Keep the shares in the CPU's memory while they are not computed with (fsdp)."""
    config: Name | None = None
    """DeepSpeed's own config file, in JSON (deepspeed)."""


def _typed(value: Any) -> Any:
    """Let the type stand for its section."""
    return {"type": value} if isinstance(value, str) else value


class TokenizerSection(Section):
    """Train a tokenizer on the training data (with from_scratch)."""

    train: Literal["bpe", "wordpiece", "unigram"]
    vocab_size: Annotated[int, Field(ge=100)] = 30_000
    lowercase: bool = False


class GenerationSection(Section):
    """How the model writes when it is judged, and ever after (seq2seq); by default as it did before, or greedily."""

    num_beams: Count | None = None
    """Beams to search with; 1 is greedy."""
    max_new_tokens: Count | None = None
    """Most tokens to write; by default the model's own limit, or max_target_length."""
    length_penalty: Annotated[float, Field(allow_inf_nan=False)] | None = None
    """Above 0 beams prefer longer texts, below 0 shorter ones."""
    no_repeat_ngram_size: Count | None = None
    """No n-gram of this size is written twice."""


class FinetuneConfig(Section):
    """A fine-tuning run."""

    task: Literal[TASKS]  # type: ignore[valid-type]
    model: Annotated[ModelSection, BeforeValidator(_named, json_schema_input_type=str | ModelSection)]
    data: DataSection
    training: TrainingSection = Field(default_factory=TrainingSection)
    adapter: AdapterSection | None = None
    sharding: Annotated[
        ShardingSection | None,
        BeforeValidator(_typed, json_schema_input_type=Literal["fsdp"] | ShardingSection | None),
    ] = None
    tokenizer: TokenizerSection | None = None
    generation: GenerationSection = Field(default_factory=GenerationSection)
    metrics: Annotated[list[str], _OneOrMore] | None = None
    """By default the task's own; hub:NAME loads one by evaluate.load."""
    trackers: Annotated[
        list[Tracker],
        BeforeValidator(_listed, json_schema_input_type=Tracker | list[Tracker]),
    ] = Field(default_factory=list)
    """Where the figures go as well: tensorboard, wandb, mlflow or trackio."""
    devices: Devices | None = None
    """How many GPUs of a machine, or which: 2, or [0, 1]; by default all that can be seen. --gpus wins."""
    output: Name
    """The folder for the model, the checkpoints and the reports."""


def words_of(field: FieldInfo) -> tuple[str, ...]:
    """Return the words that a key takes; none of one that takes anything else."""
    kinds = [kind for kind in get_args(field.annotation) if kind is not NoneType]
    kind = kinds[0] if len(kinds) == 1 and get_origin(field.annotation) is not Literal else field.annotation
    return get_args(kind) if get_origin(kind) is Literal else ()
