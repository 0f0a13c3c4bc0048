"""The parameters read from the source are those that the pipelines really take."""

import inspect

import pytest
from transformers import GenerationConfig

from llmkit.errors import UsageError
from llmkit.tasks.build import load_class
from llmkit.tasks.catalogue import tasks
from llmkit.tasks.parameters import generation_parameters, parameters_of

NAMES = list(tasks())


@pytest.mark.parametrize("name", NAMES)
def test_every_named_parameter_is_known(name):
    task = tasks()[name]
    found = parameters_of(task)
    signature = inspect.signature(load_class(task)._sanitize_parameters)
    named = {
        parameter.name
        for parameter in signature.parameters.values()
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    } - {"self", "task"}
    from_fields = {field.name for field in task.fields if field.parameter}
    assert named - from_fields <= {*found.own, *found.passed_on}
    assert not from_fields & {*found.own}
    assert not found.is_open


@pytest.mark.parametrize("name", [name for name in NAMES if not parameters_of(tasks()[name]).passed_on])
def test_none_is_known_that_the_pipeline_does_not_take(name):
    """Where a signature is closed, it takes exactly what is named; where it is open, what it looks up."""
    task = tasks()[name]
    method = load_class(task)._sanitize_parameters
    signature = inspect.signature(method)
    is_open = any(each.kind is each.VAR_KEYWORD for each in signature.parameters.values())
    source = inspect.getsource(method)
    for parameter in parameters_of(task).own:
        assert parameter in signature.parameters or (is_open and f'"{parameter}"' in source), parameter


def test_generation_takes_what_its_config_has():
    attributes = {name for name in vars(GenerationConfig()) if not name.startswith("_")}
    # The version is written into the config, and says nothing about generation.
    assert attributes - set(generation_parameters()) <= {"transformers_version"}
    assert {"streamer", "stopping_criteria", "generation_config"} <= set(generation_parameters())


@pytest.mark.parametrize(
    ("task", "names"),
    [
        ("text-generation", ["temperature", "max_new_tokens", "return_full_text", "num_beams"]),
        ("summarization", ["max_length", "num_beams", "clean_up_tokenization_spaces"]),
        ("translation", ["src_lang", "tgt_lang", "num_beams"]),
        ("text-classification", ["top_k", "function_to_apply", "truncation", "max_length"]),
        ("token-classification", ["aggregation_strategy", "ignore_labels"]),
        ("feature-extraction", ["truncation", "tokenize_kwargs", "return_tensors"]),
        ("question-answering", ["top_k", "doc_stride", "max_answer_len", "handle_impossible_answer"]),
        (
            "automatic-speech-recognition",
            ["chunk_length_s", "return_timestamps", "generate_kwargs", "num_beams"],
        ),
        ("image-to-text", ["max_new_tokens", "prompt"]),
        ("conversational", ["temperature", "max_new_tokens"]),
        ("zero-shot-classification", ["hypothesis_template", "multi_label"]),
    ],
)
def test_what_people_give_is_taken(task, names):
    parameters_of(tasks()[task]).check(names, task)


@pytest.mark.parametrize(
    ("task", "name", "guess"),
    [
        ("text-classification", "topk", "top_k"),
        ("summarization", "max_lenght", "max_length"),
        ("question-answering", "max_anwser_len", "max_answer_len"),
        ("zero-shot-classification", "multilabel", "multi_label"),
        ("sentence-similarity", "zzz", None),
    ],
)
def test_what_is_mistyped_is_told_with_the_nearest(task, name, guess):
    with pytest.raises(UsageError) as caught:
        parameters_of(tasks()[task]).check([name], task)
    assert caught.value.message.startswith(f"-p {name}: {task} has no such parameter")
    assert guess is None or f"did you mean {guess}?" in caught.value.message
    assert caught.value.hint.startswith("It takes")


@pytest.mark.parametrize(
    ("task", "given", "arranged"),
    [
        ("text-classification", {"top_k": 3}, {"top_k": 3}),
        ("text-generation", {"temperature": 0.5}, {"temperature": 0.5}),
        (
            "automatic-speech-recognition",
            {"num_beams": 3, "chunk_length_s": 30},
            {"chunk_length_s": 30, "generate_kwargs": {"num_beams": 3}},
        ),
        (
            "automatic-speech-recognition",
            {"num_beams": 3, "generate_kwargs": {"language": "fr"}},
            {"generate_kwargs": {"num_beams": 3, "language": "fr"}},
        ),
    ],
)
def test_those_of_generation_go_where_the_pipeline_wants_them(task, given, arranged):
    assert parameters_of(tasks()[task]).arrange(given) == arranged
