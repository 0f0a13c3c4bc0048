"""Values that cannot be meant, refused before there is an input to blame."""

import pytest

import llmkit
from llmkit.errors import UsageError
from llmkit.tasks.catalogue import find_task
from llmkit.tasks.parameter_values import check_accepted, check_types


@pytest.mark.parametrize(
    ("task", "given", "said"),
    [
        ("text-classification", {"top_k": "many"}, "-p top_k=many: it should be a whole number"),
        ("text-generation", {"temperature": "hot"}, "it should be a number"),
        ("text-generation", {"do_sample": "maybe"}, "-p do_sample=maybe: it should be true or false"),
        ("question-answering", {"doc_stride": "long"}, "-p doc_stride=long: it should be a whole number"),
        ("text-generation", {"temperature": 0}, "(?s)-p temperature=0: .*-p do_sample=false"),
        ("summarization", {"temperature": -0.5, "do_sample": True}, "it should be above 0"),
        ("text-classification", {"padding": "nonsense"}, "-p padding=nonsense: none of its values"),
        ("question-answering", {"padding": "longst"}, r"did you mean longest\?"),
        ("fill-mask", {"top_k": -3}, "-p top_k=-3: it should be 1 or more"),
        ("text-classification", {"top_k": 0}, "-p top_k=0: it should be 1 or more"),
        ("token-classification", {"stride": -1}, "-p stride=-1: it should be 0 or more"),
        ("question-answering", {"max_answer_len": 0}, "-p max_answer_len=0: it should be 1 or more"),
        ("feature-extraction", {"truncation": "left"}, "(?s)-p truncation=left: .*only_first, only_second"),
    ],
)
def test_a_word_where_a_number_goes(task, given, said):
    with pytest.raises(UsageError, match=said):
        check_types(find_task(task).task, given)


@pytest.mark.parametrize(
    ("task", "given"),
    [
        ("text-classification", {"top_k": 3, "function_to_apply": "none"}),
        ("text-generation", {"temperature": 0.5, "cache_implementation": "static", "max_new_tokens": None}),
        ("translation", {"src_lang": "en", "tgt_lang": "no"}),
        ("token-classification", {"aggregation_strategy": "simple", "stride": 0}),
        ("text-generation", {"top_k": 0}),
        ("zero-shot-object-detection", {"top_k": 0}),
        ("feature-extraction", {}),
        ("text-generation", {"temperature": 0, "do_sample": False}),
        ("text-classification", {"padding": "max_length", "truncation": True}),
        ("feature-extraction", {"truncation": "longest_first"}),
        ("table-question-answering", {"truncation": "drop_rows_to_fit"}),
    ],
)
def test_words_where_words_go(task, given):
    check_types(find_task(task).task, given)


@pytest.mark.parametrize(
    ("task", "given", "said"),
    [
        ("token-classification", {"aggregation_strategy": "smple"}, "-p aggregation_strategy=smple: "),
        ("text-classification", {"top_k": 2}, None),
        ("text-generation", {"num_beams": 3, "max_new_tokens": -5}, "-p max_new_tokens=-5: "),
    ],
)
def test_what_the_pipeline_refuses_is_refused_at_once(tiny, task, given, said):
    pipe = llmkit.pipeline(task, model=str(tiny(task)), device="cpu")
    if said is None:
        check_accepted(pipe, given)
    else:
        with pytest.raises(UsageError, match=said):
            check_accepted(pipe, given)
