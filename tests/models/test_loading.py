"""From a resolved name to a loaded model: which class, which device, which dtype, and all of its weights."""

import io
import json
import shutil

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers.models.auto import modeling_auto

from llmkit.errors import LlmkitError, ModelError, UsageError
from llmkit.models import loading
from llmkit.models.loading import (
    LoadOptions,
    check_options,
    choose_device,
    choose_dtype,
    choose_head,
    has_native_bfloat16,
    load_config,
    load_model,
)
from llmkit.models.processor import processor
from llmkit.models.resolving import ResolvedModel
from llmkit.tasks.catalogue import find_task
from tests.fixtures.versions import offers_decision

CPU = LoadOptions(device="cpu")


def model_at(folder):
    return ResolvedModel("here", str(folder))


def heads_of(task):
    names = find_task(task).task.heads
    return [getattr(transformers, name, None) or getattr(modeling_auto, name) for name in names]


def load(folder, task, options=CPU, **more):
    return load_model(model_at(folder), heads_of(task), options, task=task, **more)


@pytest.fixture
def copied(tiny, tmp_path):
    """A tiny model of one's own, to be spoilt."""

    def copy(name):
        return shutil.copytree(tiny(name), tmp_path / name)

    return copy


class TestHead:
    @pytest.mark.parametrize(
        ("name", "task", "cls"),
        [
            ("text-classification", "text-classification", "BertForSequenceClassification"),
            ("fill-mask", "fill-mask", "BertForMaskedLM"),
            ("feature-extraction", "feature-extraction", "BertModel"),
            ("summarization", "summarization", "BartForConditionalGeneration"),
            ("conversational", "conversational", "Qwen2ForCausalLM"),
            ("text2text-generation", "conversational", "T5ForConditionalGeneration"),
            ("image-to-text", "image-to-text", "VisionEncoderDecoderModel"),
            pytest.param("decision", "decision", "LlamaForCausalLM", marks=offers_decision),
        ],
    )
    def test_it_is_the_tasks(self, tiny, name, task, cls):
        loaded = load(tiny(name), task)
        assert type(loaded).__name__ == cls
        assert not loaded.training

    def test_the_class_it_was_saved_from_wins(self, tiny, monkeypatch):
        config = transformers.AutoConfig.from_pretrained(tiny("conversational"))
        heads = [modeling_auto.AutoModelForTokenClassification, modeling_auto.AutoModelForCausalLM]
        assert choose_head(heads, config, model_at("x"), "t") is modeling_auto.AutoModelForCausalLM
        config.architectures = ["Qwen2ForTokenClassification"]
        assert choose_head(heads, config, model_at("x"), "t") is modeling_auto.AutoModelForTokenClassification
        config.architectures = None
        assert choose_head(heads[::-1], config, model_at("x"), "t") is modeling_auto.AutoModelForCausalLM

    @offers_decision
    def test_no_giant_is_built_for_a_small_checkpoint(self, tiny, monkeypatch):
        """AutoModelForDecision knows Qwen2, and builds nine billion parameters where there is no such head."""
        config = transformers.AutoConfig.from_pretrained(tiny("conversational"))
        assert (
            choose_head(heads_of("decision"), config, model_at("x"), "decision").__name__
            == "AutoModelForCausalLM"
        )
        assert load(tiny("conversational"), "decision").num_parameters() < 10**6

    def test_an_architecture_without_one_is_refused(self, tiny):
        with pytest.raises(ModelError, match=r"'bert'.*no head for summarization"):
            load(tiny("fill-mask"), "summarization")

    @pytest.mark.parametrize(
        ("name", "task"),
        [
            ("fill-mask", "text-classification"),
            ("fill-mask", "question-answering"),
            ("feature-extraction", "token-classification"),
            ("text-classification", "fill-mask"),
        ],
    )
    def test_a_checkpoint_without_its_weights_is_refused(self, tiny, name, task):
        with pytest.raises(ModelError, match=rf"has no weights for .*not trained for {task}"):
            load(tiny(name), task)

    def test_a_pooler_is_wanted_only_where_it_is_read(self, tiny):
        assert load(tiny("fill-mask"), "feature-extraction")
        with pytest.raises(ModelError, match="pooler"):
            load(tiny("fill-mask"), "feature-extraction", needs_pooler=True)


class TestWeights:
    def test_of_another_shape(self, copied):
        folder = copied("text-classification")
        weights = load_file(folder / "model.safetensors")
        weights["classifier.weight"] = torch.zeros(7, 32)
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(ModelError, match="do not fit"):
            load(folder, "text-classification")

    def test_of_another_shape_even_if_the_user_ignores_it(self, copied):
        folder = copied("text-classification")
        config = json.loads((folder / "config.json").read_text())
        config["id2label"] = {str(number): f"L{number}" for number in range(9)}
        config["label2id"] = {f"L{number}": number for number in range(9)}
        (folder / "config.json").write_text(json.dumps(config))
        with pytest.raises(ModelError, match="classifier"):
            load(
                folder, "text-classification", LoadOptions("cpu", arguments={"ignore_mismatched_sizes": True})
            )

    @pytest.mark.parametrize("missing", ["classifier.weight", "bert.encoder.layer.1.output.dense.weight"])
    def test_one_that_is_missing(self, copied, missing):
        folder = copied("text-classification")
        weights = load_file(folder / "model.safetensors")
        del weights[missing]
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(ModelError, match=missing.replace(".", r"\.")):
            load(folder, "text-classification")

    @pytest.mark.parametrize("broken", ["truncated", "without_weights", "pickle_only"])
    def test_none_that_can_be_read(self, tiny, broken):
        with pytest.raises(LlmkitError) as caught:
            load(tiny(broken), "text-classification")
        assert "\n" not in caught.value.message

    def test_a_pickle_is_read_when_it_is_allowed(self, tiny):
        assert load(tiny("pickle_only"), "text-classification", LoadOptions("cpu", allow_pickle=True))

    def test_an_argument_of_the_loading(self, tiny):
        options = LoadOptions("cpu", arguments={"attn_implementation": "eager"})
        assert load(tiny("fill-mask"), "fill-mask", options).config._attn_implementation == "eager"

    def test_an_argument_that_it_does_not_take(self, tiny):
        with pytest.raises(UsageError, match=r"--model-arg zzz: .* takes no such argument"):
            load(tiny("fill-mask"), "fill-mask", LoadOptions("cpu", arguments={"zzz": 1}))

    def test_a_config_of_an_unknown_architecture(self, copied):
        folder = copied("fill-mask")
        (folder / "config.json").write_text('{"model_type": "zzz", "architectures": ["ZzzModel"]}')
        with pytest.raises(ModelError, match="zzz"):
            load_config(model_at(folder), CPU, "fill-mask")


class TestDtype:
    @pytest.mark.parametrize(
        ("name", "saved", "dtype"),
        [
            (None, torch.float32, torch.float32),
            (None, torch.float16, torch.float16),
            ("float32", torch.float16, torch.float32),
            ("bfloat16", torch.float32, torch.bfloat16),
            ("float16", torch.float32, torch.float16),
        ],
    )
    def test_as_saved_or_as_said(self, tiny, tmp_path, name, saved, dtype):
        transformers.AutoModelForMaskedLM.from_pretrained(tiny("fill-mask"), dtype=saved).save_pretrained(
            tmp_path
        )
        assert load(tmp_path, "fill-mask", LoadOptions("cpu", name)).dtype == dtype

    @pytest.fixture
    def told(self):
        """What the processor can do is read anew in the test, and again after it."""
        processor.cache_clear()
        yield
        processor.cache_clear()

    @pytest.mark.parametrize(
        ("flags", "native"),
        [
            ("flags : fpu avx512_bf16 x", True),
            ("flags : fpu amx_bf16", True),
            ("Features : asimd bf16", True),
            ("flags : fpu avx512f avx2", False),
            ("flags : nobf16x", False),
        ],
    )
    def test_auto_is_bfloat16_where_the_processor_has_it(self, told, monkeypatch, flags, native):
        monkeypatch.setattr(loading.Path, "open", lambda *_, **__: io.StringIO(flags))
        cpu = torch.device("cpu")
        assert has_native_bfloat16(cpu) is native
        assert choose_dtype("auto", cpu) == (torch.bfloat16 if native else "auto")

    def test_where_nothing_tells(self, told, monkeypatch):
        def none(*_, **__):
            raise FileNotFoundError

        monkeypatch.setattr(loading.Path, "open", none)
        assert not has_native_bfloat16(torch.device("cpu"))


class TestDevice:
    @pytest.fixture
    def machine(self, monkeypatch):
        def has(*, cuda=0, mps=False):
            monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
            monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
            monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

        return has

    @pytest.mark.parametrize(
        ("parts", "device"), [({}, "cpu"), ({"mps": True}, "mps"), ({"cuda": 2, "mps": True}, "cuda:0")]
    )
    def test_auto_is_the_best_there_is(self, machine, parts, device):
        machine(**parts)
        assert choose_device("auto") == torch.device(device)

    @pytest.mark.parametrize("name", ["cpu", "cuda", "cuda:1"])
    def test_the_one_named(self, machine, name):
        machine(cuda=2)
        assert choose_device(name) == torch.device(name)

    @pytest.mark.parametrize(
        ("parts", "name", "said"),
        [
            ({}, "cuda", "has no CUDA device"),
            ({"cuda": 2}, "cuda:2", "there are 2: cuda:0 to cuda:1"),
            ({}, "mps", "this machine has none"),
        ],
    )
    def test_one_that_is_not_here(self, machine, parts, name, said):
        machine(**parts)
        with pytest.raises(UsageError, match=said):
            choose_device(name)


@pytest.mark.parametrize(
    "options", [LoadOptions(), LoadOptions("cuda:11", "bfloat16"), LoadOptions("mps", "auto")]
)
def test_options_that_can_be(options):
    check_options(options)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (LoadOptions("gpu"), "--device gpu: no such device"),
        (LoadOptions("cuda:x"), "--device cuda:x"),
        (LoadOptions("cpu:0x"), "--device"),
        (LoadOptions(dtype="bfloat"), r"did you mean bfloat16\?"),
        (LoadOptions(dtype="int8"), "--dtype int8"),
    ],
)
def test_options_that_cannot(options, said):
    with pytest.raises(UsageError, match=said):
        check_options(options)


def test_a_device_that_is_none_is_refused_in_one_way():
    with pytest.raises(UsageError) as early:
        check_options(LoadOptions("gpu"))
    with pytest.raises(UsageError) as late:
        choose_device("gpu")
    assert str(early.value) == str(late.value)
