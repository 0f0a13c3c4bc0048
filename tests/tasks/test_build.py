"""`llmkit.pipeline`: a drop-in for `transformers.pipeline`, with the tasks of versions 4 and 5."""

import pathlib
import types

import pytest
import torch
import transformers
from transformers.pipelines import PIPELINE_REGISTRY

import llmkit
from llmkit.errors import MissingExtraError, UsageError
from llmkit.tasks.build import load_class, register_tasks
from llmkit.tasks.catalogue import find_task, tasks
from tests.fixtures.hub import SmallHub

GREEDY = {"do_sample": False, "max_new_tokens": 5}
OURS = [name for name, task in tasks().items() if task.provider == "llmkit"]


def test_the_old_call(tiny):
    summarizer = llmkit.pipeline("summarization", model=tiny("summarization"))
    (result,) = summarizer("This film was a delight: funny, warm and beautifully acted.", **GREEDY)
    assert list(result) == ["summary_text"]


class TestModels:
    def test_a_loaded_one_with_its_tokenizer(self, tiny):
        folder = tiny("summarization")
        model = transformers.AutoModelForSeq2SeqLM.from_pretrained(folder)
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        pipe = llmkit.pipeline("summarization", model=model, tokenizer=tokenizer, device=-1)
        assert pipe.model is model
        assert pipe.tokenizer is tokenizer
        assert pipe.device == torch.device("cpu")
        named = llmkit.pipeline("summarization", model=str(folder), device=-1)
        assert pipe("A text.", **GREEDY) == named("A text.", **GREEDY)

    def test_a_loaded_one_with_the_name_of_its_tokenizer(self, tiny):
        model = transformers.AutoModelForSequenceClassification.from_pretrained(tiny("text-classification"))
        pipe = llmkit.pipeline("text-classification", model=model, tokenizer=str(tiny("text-classification")))
        assert pipe("a")[0].keys() == {"label", "score"}

    def test_a_loaded_one_without_a_tokenizer_is_told_so(self, tiny):
        model = transformers.AutoModelForSequenceClassification.from_pretrained(tiny("text-classification"))
        with pytest.raises(UsageError, match=f'(?s)its tokenizer too.*tokenizer="{model.name_or_path}"'):
            llmkit.pipeline("text-classification", model=model)

    def test_a_loaded_one_without_a_task_is_told_so(self, tiny):
        model = transformers.AutoModelForSequenceClassification.from_pretrained(tiny("text-classification"))
        with pytest.raises(
            UsageError, match=r"(?s)a loaded BertForSequenceClassification does not say.*Name the"
        ):
            llmkit.pipeline(model=model)

    @pytest.mark.parametrize("kind", [str, pathlib.Path])
    def test_a_folder_without_a_task_is_told_so(self, tiny, kind):
        with pytest.raises(UsageError, match=r"the folder .* does not say what it is for"):
            llmkit.pipeline(model=kind(tiny("text-classification")))

    def test_a_folder_with_another_tokenizer(self, tiny):
        other = transformers.AutoTokenizer.from_pretrained(tiny("fill-mask"))
        assert llmkit.pipeline("fill-mask", model=str(tiny("fill-mask")), tokenizer=other).tokenizer is other

    def test_the_path_of_a_folder(self, tiny):
        assert llmkit.pipeline("fill-mask", tiny("fill-mask"))("Paris [MASK]", top_k=2)[1].keys() >= {
            "token_str"
        }

    def test_a_class_of_ones_own(self, tiny):
        class Own(load_class(find_task("text-classification").task)):
            pass

        pipe = llmkit.pipeline(
            "text-classification", model=str(tiny("text-classification")), pipeline_class=Own
        )
        assert type(pipe) is Own


class TestOptions:
    @pytest.mark.parametrize("device", [-1, "cpu", torch.device("cpu"), None, "auto"], ids=str)
    def test_devices(self, tiny, device):
        pipe = llmkit.pipeline("fill-mask", model=str(tiny("fill-mask")), device=device)
        if device not in (None, "auto"):
            assert pipe.device == torch.device("cpu")
        assert pipe.model.device == pipe.device

    @pytest.mark.parametrize("name", ["dtype", "torch_dtype"])
    @pytest.mark.parametrize("dtype", [torch.bfloat16, "bfloat16"], ids=str)
    def test_dtypes_by_the_new_and_the_old_name(self, tiny, name, dtype):
        pipe = llmkit.pipeline("fill-mask", model=str(tiny("fill-mask")), device=-1, **{name: dtype})
        assert pipe.model.dtype == torch.bfloat16

    def test_what_version_4_took_besides(self, tiny):
        folder = str(tiny("text-classification"))
        pipe = llmkit.pipeline(
            "text-classification", model=folder, framework="pt", use_fast=True, device_map=None
        )
        assert pipe("a")[0].keys() == {"label", "score"}

    def test_another_framework_is_told_so(self, tiny):
        with pytest.raises(UsageError, match="tf"):
            llmkit.pipeline("text-classification", model=str(tiny("text-classification")), framework="tf")

    def test_a_device_map(self, tiny):
        pipe = llmkit.pipeline(
            "text-classification", model=str(tiny("text-classification")), device_map="cpu"
        )
        assert pipe("a")[0].keys() == {"label", "score"}

    def test_parameters_given_once_hold_for_every_call(self, tiny):
        pipe = llmkit.pipeline("fill-mask", model=str(tiny("fill-mask")), top_k=2)
        assert len(pipe("Paris [MASK]")) == 2
        assert len(pipe("Paris [MASK]", top_k=4)) == 4

    def test_arguments_of_the_model(self, tiny):
        options = {"attn_implementation": "eager"}
        pipe = llmkit.pipeline("fill-mask", model=str(tiny("fill-mask")), model_kwargs=options)
        assert pipe.model.config._attn_implementation == "eager"

    def test_neither_task_nor_model(self):
        with pytest.raises(UsageError, match="say a task"):
            llmkit.pipeline()

    def test_a_task_that_is_none(self):
        with pytest.raises(UsageError, match=r"did you mean summarization\?"):
            llmkit.pipeline("summarizaton")


class TestRegistry:
    @pytest.mark.parametrize("name", OURS)
    def test_transformers_knows_the_tasks(self, name):
        register_tasks()
        found, row, _ = PIPELINE_REGISTRY.check_task(name)
        assert found == name
        assert row["impl"] is load_class(tasks()[name])
        assert name in PIPELINE_REGISTRY.get_supported_tasks()

    def test_the_aliases_too(self):
        register_tasks()
        assert PIPELINE_REGISTRY.check_task("vqa")[0] == "visual-question-answering"

    def test_its_own_stay_its_own(self):
        before = dict(PIPELINE_REGISTRY.supported_tasks)
        register_tasks()
        register_tasks()
        assert {name: row for name, row in PIPELINE_REGISTRY.supported_tasks.items() if name not in OURS} == {
            name: row for name, row in before.items() if name not in OURS
        }


class TestManyInputs:
    CALLS = (
        ("text-classification", ["a film", "a meal"], {}),
        ("summarization", ["a film", "a meal"], GREEDY),
        ("text2text-generation", ["a film", "a meal"], GREEDY),
        ("translation", ["a film", "a meal"], {**GREEDY, "src_lang": "en", "tgt_lang": "fr"}),
        ("feature-extraction", ["a film", "a meal"], {}),
        (
            "question-answering",
            [{"question": "what?", "context": text} for text in ("a film", "a cold meal")],
            {},
        ),
        ("sentence-similarity", [{"source_sentence": "a", "sentences": [text]} for text in ("a b", "c")], {}),
        ("conversational", [[{"role": "user", "content": text}] for text in ("Hi", "Hello")], GREEDY),
    )

    @pytest.mark.parametrize(("task", "inputs", "options"), CALLS, ids=[call[0] for call in CALLS])
    def test_a_generator_gives_an_iterator(self, tiny, task, inputs, options):
        pipe = llmkit.pipeline(task, model=str(tiny(task)), device="cpu")
        taken = []

        def source():
            for each in inputs:
                taken.append(each)
                yield each

        found = pipe(source(), **options)
        assert not isinstance(found, list | dict | types.NoneType)
        assert len(taken) < len(inputs)
        assert [one(each) for each in found] == [one(pipe(each, **options)) for each in inputs]

    @pytest.mark.parametrize(("task", "inputs", "options"), CALLS, ids=[call[0] for call in CALLS])
    @pytest.mark.parametrize("batch_size", [1, 2])
    def test_a_list_gives_a_list(self, tiny, task, inputs, options, batch_size):
        pipe = llmkit.pipeline(task, model=str(tiny(task)), device="cpu")
        found = pipe(inputs, batch_size=batch_size, **options)
        assert len(found) == len(inputs)
        if batch_size == 1:
            assert [one(each) for each in found] == [one(pipe(each, **options)) for each in inputs]


def one(result):
    """One input's result, in a list of its own or not."""
    return (
        result[0] if isinstance(result, list) and len(result) == 1 and isinstance(result[0], dict) else result
    )


def test_a_config_beside_the_model_s_own(tiny):
    from transformers import AutoConfig

    folder = tiny("text-classification")
    names = ("bad", "so-so", "good")
    config = AutoConfig.from_pretrained(folder, id2label=dict(enumerate(names)))
    result = llmkit.pipeline("text-classification", model=str(folder), config=config)("Paris")
    assert result[0]["label"] in names


def test_two_tokens():
    with pytest.raises(UsageError, match="the token is given twice"):
        llmkit.pipeline("text-classification", token="hf_one", use_auth_token="hf_two")


@pytest.mark.parametrize(
    "given",
    [
        "token={token!r}",
        "'text-classification', model_kwargs=dict(use_auth_token={token!r})",
        pytest.param("'text-classification', token={token!r}", marks=pytest.mark.slow),
        pytest.param("'text-classification', use_auth_token={token!r}", marks=pytest.mark.slow),
    ],
)
def test_a_token_is_sent_with_every_request_and_not_kept(llmkit, tiny, tmp_path, given):
    with SmallHub() as hub:
        hub.add("me/private", tiny("text-classification"), private=True, pipeline_tag="text-classification")
        script = f"""
import os
from llmkit import pipeline
pipe = pipeline({given.format(token=hub.token)}, model="me/private")
assert not os.environ["HF_TOKEN"]
print(pipe("Paris")[0]["label"])
"""
        done = llmkit.python(script, env=hub.environment(tmp_path))
        assert done.code == 0, done.stderr
        assert done.text.strip() in {"NEGATIVE", "NEUTRAL", "POSITIVE"}


def test_a_pipeline_that_lacks_a_package_names_the_extra(tiny, monkeypatch):
    from transformers import VideoClassificationPipeline

    def without(*arguments, **options):
        raise ImportError(
            "\nVideoClassificationPipeline requires the PyAv library but it was not found in your environment. "
            "You can install it with:\n```\npip install av\n```\n"
        )

    monkeypatch.setattr(VideoClassificationPipeline, "__init__", without)
    with pytest.raises(MissingExtraError, match=r"hf-llmkit\[video\]"):
        llmkit.pipeline("video-classification", model=str(tiny("video-classification")), device="cpu")
