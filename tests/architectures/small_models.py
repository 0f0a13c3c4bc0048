"""Small real models of several families, and the bytes and FLOPs they really take."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch.nn.attention import SDPBackend
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import AutoConfig, PreTrainedModel

from llmkit.architectures.activations import Attention
from llmkit.architectures.building import find_class
from llmkit.architectures.counted import Counted
from llmkit.architectures.counting import count_architecture

SPECIAL = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
BERT = {
    "model_type": "bert",
    "vocab_size": 97,
    "hidden_size": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 192,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    **SPECIAL,
}
LLAMA = {
    "model_type": "llama",
    "vocab_size": 97,
    "hidden_size": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 176,
    **SPECIAL,
}
CONFIGS: dict[str, dict[str, Any]] = {
    "bert": BERT,
    "albert": {**BERT, "model_type": "albert", "embedding_size": 32},
    "distilbert": {
        "model_type": "distilbert",
        "vocab_size": 97,
        "dim": 64,
        "n_layers": 3,
        "n_heads": 4,
        "hidden_dim": 192,
        "dropout": 0.0,
        "attention_dropout": 0.0,
        **SPECIAL,
    },
    "gpt2": {
        "model_type": "gpt2",
        "vocab_size": 97,
        "n_embd": 64,
        "n_layer": 4,
        "n_head": 4,
        "resid_pdrop": 0.0,
        "embd_pdrop": 0.0,
        "attn_pdrop": 0.0,
        **SPECIAL,
    },
    "llama": LLAMA,
    "mistral": {**LLAMA, "model_type": "mistral", "sliding_window": 16},
    "qwen3": {**LLAMA, "model_type": "qwen3", "head_dim": 16},
    "mixtral": {**LLAMA, "model_type": "mixtral", "num_local_experts": 4, "num_experts_per_tok": 2},
    "deepseek_v3": {
        **LLAMA,
        "model_type": "deepseek_v3",
        "num_key_value_heads": 4,
        "q_lora_rank": 24,
        "kv_lora_rank": 16,
        "qk_rope_head_dim": 8,
        "qk_nope_head_dim": 16,
        "v_head_dim": 12,
        "moe_intermediate_size": 32,
        "n_routed_experts": 8,
        "n_group": 2,
        "topk_group": 1,
        "num_experts_per_tok": 2,
        "first_k_dense_replace": 1,
    },
    "t5": {
        "model_type": "t5",
        "vocab_size": 97,
        "d_model": 64,
        "d_ff": 192,
        "d_kv": 16,
        "num_layers": 3,
        "num_heads": 4,
        "dropout_rate": 0.0,
        "decoder_start_token_id": 0,
        **SPECIAL,
    },
    "bart": {
        "model_type": "bart",
        "vocab_size": 97,
        "d_model": 64,
        "encoder_layers": 2,
        "decoder_layers": 3,
        "encoder_attention_heads": 4,
        "decoder_attention_heads": 4,
        "encoder_ffn_dim": 192,
        "decoder_ffn_dim": 192,
        "dropout": 0.0,
        "decoder_start_token_id": 2,
        "forced_eos_token_id": 2,
        **SPECIAL,
    },
    "vit": {
        "model_type": "vit",
        "hidden_size": 64,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "intermediate_size": 192,
        "image_size": 32,
        "patch_size": 8,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
    },
}
HEADS = {
    "bert": "masked-lm",
    "albert": "masked-lm",
    "distilbert": "masked-lm",
    "t5": "seq2seq-lm",
    "bart": "seq2seq-lm",
    "vit": "image-classification",
}


def head_of(name: str) -> str:
    return HEADS.get(name, "causal-lm")


@cache
def counted(name: str, head: str | None = None) -> Counted:
    """The count of a small model, with a language model's head."""
    return count_architecture(CONFIGS[name], head or head_of(name), formulas=False)


# Keys and values of different width are multiplied step by step on the CPU, which keeps the scores; those of fewer
# heads than the queries are in older releases of torch. A window's mask has transformers repeat them.
_GROUPED = ("llama", "mixtral", "qwen3")


@cache
def attention_of(name: str) -> Attention:
    """The kind of attention that ``sdpa`` is on the CPU, with the installed torch."""
    queries, keys = torch.zeros(1, 2, 8, 16), torch.zeros(1, 1, 8, 16)
    is_fused = torch._fused_sdp_choice(queries, keys, keys, enable_gqa=True) != SDPBackend.MATH.value
    return "eager" if name == "deepseek_v3" or (name in _GROUPED and not is_fused) else "sdpa"


def real(name: str, head: str | None = None, attention: str = "sdpa") -> PreTrainedModel:
    """The same model with weights."""
    values = dict(CONFIGS[name])
    config = AutoConfig.for_model(values.pop("model_type"), **values)
    config._attn_implementation = attention
    torch.manual_seed(0)
    return find_class(config, head or head_of(name))(config)


def inputs(name: str, batch_size: int, sequence_length: int) -> dict[str, Any]:
    """Tokens with labels, or images with classes."""
    if name == "vit":
        return {"pixel_values": torch.rand(batch_size, 3, 32, 32), "labels": torch.ones(batch_size).long()}
    ids = torch.randint(3, 97, (batch_size, sequence_length))
    # A generation's cache is none of training's.
    return {"input_ids": ids, "labels": ids} | ({} if "bert" in name else {"use_cache": False})


class LiveMemory(TorchDispatchMode):
    """Follows the bytes of a model's parameters and of all tensors made while it is on.

    Attributes:
        alive: bytes that are there now; `peak` the most there were at once.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.alive = self.peak = 0
        self._known: set[int] = set()
        for parameter in model.parameters():
            self._add(parameter.untyped_storage())

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for each in tree_leaves(result):
            if isinstance(each, torch.Tensor):
                self._add(each.untyped_storage())
        return result

    def _add(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self._known:
            return
        self._known.add(key)
        self.alive += size
        self.peak = max(self.peak, self.alive)
        weakref.finalize(storage, self._drop, key, size)

    def _drop(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.alive -= size


def saved_bytes(model: PreTrainedModel, batch: dict[str, Any], *, autocast: bool = False) -> int:
    """Bytes that the graph of a forward pass saves, each storage once, without parameters and copies of them."""
    own = {each.untyped_storage()._cdata for each in (*model.parameters(), *model.buffers())}
    matrices = {tuple(each.shape) for each in model.parameters() if each.ndim == 2}
    matrices |= {shape[::-1] for shape in matrices}
    storages: dict[int, torch.UntypedStorage] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        is_copy = autocast and tensor.dtype == torch.bfloat16 and tuple(tensor.shape) in matrices
        if storage._cdata not in own and not is_copy:
            storages[storage._cdata] = storage
        return tensor

    with (
        torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16, enabled=autocast),
    ):
        output = model.train()(**batch)
    assert output.loss is not None
    return sum(storage.nbytes() for storage in storages.values())
