"""Chat messages in, the conversation with the answer out."""

import copy

import pytest
import torch
import transformers

import llmkit
from llmkit.tasks.conversational import Conversation

GREEDY = {"do_sample": False, "max_new_tokens": 6}
USER = {"role": "user", "content": "Hello, how are you today?"}


@pytest.fixture(scope="module")
def pipe(tiny):
    return llmkit.pipeline("conversational", model=str(tiny("conversational")), device="cpu")


def answer_of(pipe, ids, **options):
    """What the model itself says after these tokens."""
    with torch.no_grad():
        out = pipe.model.generate(ids, attention_mask=torch.ones_like(ids), **GREEDY, **options)
    return pipe.tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True).strip()


def test_the_answer_is_the_models_to_the_chat_template(pipe):
    messages = [{"role": "system", "content": "Be kind."}, USER]
    ids = pipe.tokenizer.apply_chat_template(
        messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    conversation = pipe(messages, **GREEDY)
    assert isinstance(conversation, Conversation)
    assert conversation.messages == [
        *messages,
        {"role": "assistant", "content": answer_of(pipe, ids["input_ids"])},
    ]


def test_the_same_as_text_generation_gives(pipe, tiny):
    theirs = transformers.pipeline("text-generation", model=str(tiny("conversational")), device="cpu")
    wanted = theirs([dict(USER)], **GREEDY)[0]["generated_text"]
    found = pipe([dict(USER)], **GREEDY).messages
    assert found[:1] == wanted[:1]
    assert found[1]["content"] == wanted[1]["content"].strip()


def test_without_a_template_the_messages_are_joined_by_the_end_token(tiny):
    pipe = llmkit.pipeline("conversational", model=str(tiny("text-generation")), device="cpu")
    messages = [USER, {"role": "assistant", "content": "Yes"}, {"role": "user", "content": "No"}]
    end = pipe.tokenizer.eos_token
    ids = pipe.tokenizer("".join(message["content"] + end for message in messages), return_tensors="pt")[
        "input_ids"
    ]
    answer = answer_of(pipe, ids, pad_token_id=pipe.tokenizer.pad_token_id)
    assert pipe(messages, **GREEDY).messages[-1] == {"role": "assistant", "content": answer}


def test_an_encoder_decoder_answers_too(tiny):
    pipe = llmkit.pipeline("conversational", model=str(tiny("text2text-generation")), device="cpu")
    assert pipe("Hello", **GREEDY).messages[-1]["role"] == "assistant"


def test_history_goes_on(pipe):
    conversation = Conversation.of("Hello")
    assert pipe(conversation, **GREEDY) is conversation
    conversation.add_user_input("And you?")
    pipe(conversation, **GREEDY)
    assert [message["role"] for message in conversation.messages] == [
        "user",
        "assistant",
        "user",
        "assistant",
    ]
    assert conversation.past_user_inputs == ["Hello"]
    assert conversation.generated_responses == [
        conversation.messages[1]["content"],
        conversation.messages[3]["content"],
    ]
    # The second answer had the first round before it.
    again = pipe(copy.deepcopy(conversation.messages[:3]), **GREEDY)
    assert again.messages == conversation.messages


@pytest.mark.parametrize(
    "value",
    ["Hi", [{"role": "user", "content": "Hi"}], {"messages": [{"role": "user", "content": "Hi"}]}],
    ids=str,
)
def test_every_form_of_a_conversation(pipe, value):
    before = copy.deepcopy(value)
    assert pipe(value, **GREEDY).messages[0] == {"role": "user", "content": "Hi"}
    assert value == before


def test_several(pipe):
    values = ["Hi", [USER], {"messages": [USER]}, Conversation([dict(USER)])]
    found = pipe(values, **GREEDY)
    assert [len(conversation.messages) for conversation in found] == [2] * 4
    assert found[1].messages == found[2].messages == found[3].messages
    assert pipe([], **GREEDY) == []


@pytest.mark.parametrize("value", [{}, {"messages": []}, [{"role": "user"}], Conversation], ids=str)
def test_what_is_none(pipe, value):
    with pytest.raises((ValueError, TypeError)):
        pipe(value, **GREEDY)


def test_an_option_that_generation_does_not_take(pipe):
    with pytest.raises(TypeError, match=r"no option 'temprature'.*did you mean temperature\?"):
        pipe("Hi", temprature=1.0)


@pytest.mark.parametrize(
    ("options", "most"), [({}, 256), ({"max_new_tokens": 3}, 3), ({"max_length": 40}, 40)], ids=str
)
def test_how_long_an_answer_may_be(pipe, monkeypatch, options, most):
    seen = {}
    generate = pipe.model.generate

    def watched(**given):
        seen.update(given)
        return generate(**given | {"max_new_tokens": 2, "max_length": None})

    monkeypatch.setattr(pipe.model, "generate", watched)
    pipe("Hi", **options)
    limits = {name: value for name, value in seen.items() if name.startswith("max_") and value is not None}
    assert limits == (options or {"max_new_tokens": most})
