"""The cache is as large as the one transformers allocates, byte for byte."""

import pytest

torch = pytest.importorskip("torch")
from llmkit.architectures.counting import count_architecture  # noqa: E402
from llmkit.architectures.generation_cache import cache_bytes, kv_cache  # noqa: E402
from tests.architectures.small_models import CONFIGS, counted, inputs, real  # noqa: E402

BATCH, LENGTH = 2, 40
MAMBA = {"model_type": "mamba", "vocab_size": 97, "hidden_size": 32, "num_hidden_layers": 3, "state_size": 8}
MAMBA2 = {
    "model_type": "mamba2",
    "vocab_size": 97,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "state_size": 8,
    "head_dim": 16,
    "num_heads": 4,
    "n_groups": 2,
}


def layers_of(cache):
    parts = [
        getattr(cache, name)
        for name in ("self_attention_cache", "cross_attention_cache")
        if hasattr(cache, name)
    ]
    return [layer for part in parts or [cache] for layer in part.layers]


def tensors_of(layer):
    states = [getattr(layer, name, None) for name in ("keys", "values")]
    for name in ("conv_states", "recurrent_states"):
        states += getattr(layer, name, {}).values()
    return [each for each in states if each is not None]


def allocated(model, batch):
    with torch.no_grad():
        output = model.eval()(**batch, use_cache=True)
    cache = getattr(output, "past_key_values", None)
    cache = output.cache_params if cache is None else cache
    return sum(each.numel() * each.element_size() for layer in layers_of(cache) for each in tensors_of(layer))


def sequence(name):
    batch = {"input_ids": inputs(name, BATCH, LENGTH)["input_ids"]}
    return batch | ({"decoder_input_ids": batch["input_ids"]} if name in ("t5", "bart") else {})


@pytest.mark.parametrize(
    "name", ["llama", "gpt2", "mistral", "qwen3", "mixtral", "t5", "bart", "deepseek_v3"]
)
@pytest.mark.parametrize("element_size", [4, 2])
def test_cache_is_as_large_as_the_real_one(name, element_size):
    model = real(name) if element_size == 4 else real(name).bfloat16()
    expected = cache_bytes(counted(name), context=LENGTH, batch_size=BATCH, element_size=element_size)
    assert expected == allocated(model, sequence(name))


@pytest.mark.parametrize("values", [MAMBA, MAMBA2], ids=lambda values: values["model_type"])
def test_state_space_layers_keep_a_state_of_one_size(values, monkeypatch):
    monkeypatch.setitem(CONFIGS, values["model_type"], values)
    count = count_architecture(values, "causal-lm", formulas=False)
    model = real(values["model_type"], "causal-lm", attention="eager")
    expected = cache_bytes(count, context=LENGTH, batch_size=BATCH, element_size=4)
    assert expected == allocated(model, sequence("llama"))
    assert expected == cache_bytes(count, context=9 * LENGTH, batch_size=BATCH, element_size=4)


def test_what_does_not_generate_has_no_cache():
    assert kv_cache(counted("bert"), context=LENGTH) == []
    assert kv_cache(counted("vit"), context=LENGTH) == []
    assert kv_cache(count_architecture({"model_type": "clip"}, formulas=False), context=LENGTH) == []


def test_a_window_bounds_the_cache_and_its_formula_says_so():
    long = {each.key: each for each in kv_cache(counted("mistral"), context=10_000)}
    longer = {each.key: each for each in kv_cache(counted("mistral"), context=20_000)}
    assert long["kv_cache"].value == longer["kv_cache"].value
    assert "window" in long["kv_cache"].formula


def test_grouped_queries_and_latents_cite_their_papers():
    llama, deepseek = (kv_cache(counted(name), context=8)[0] for name in ("llama", "deepseek_v3"))
    # Two heads of 16 for keys and values each; 16 latents and 8 rotated numbers. In four layers, two bytes each.
    assert (llama.value, deepseek.value) == (4 * 2 * 2 * 16 * 2, 4 * (16 + 8) * 2)
    assert "2305.13245" in llama.source
    assert "2405.04434" in deepseek.source


def test_whisper_hears_frames_of_a_fixed_number():
    count = count_architecture({"model_type": "whisper"}, "speech-seq2seq", formulas=False)
    found = {each.key: each.value for each in kv_cache(count, context=100)}
    assert found["kv_cache_cross"] == 15 * found["kv_cache"]
