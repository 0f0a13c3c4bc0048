"""causal-lm: texts, completions and chats; what is learned of them, the token that ends them, packed as padded."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch.nn import functional

from llmkit.errors import DataError, ModelError
from llmkit.training.objectives.batch import IGNORED
from llmkit.training.objectives.causal_lm import sees_ahead
from llmkit.training.run import finetune
from llmkit.training.state import Run
from tests.fixtures.tiny import vocabulary
from tests.fixtures.tiny.checkpoint import random_model, save
from tests.training.stepping import (
    SPLITS,
    assert_same_step,
    config_for,
    first_step,
    plain_step,
    ready,
    write_rows,
)

TASK = "causal-lm"
Tiny = Callable[[str], Path]

NO_GPT_DROPOUT = {"config": {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}}
PLAIN = {"text-generation": NO_GPT_DROPOUT, "conversational": {"config": {}}}

TEXTS = [
    "The quick brown fox",
    "Paris is the capital of France, and Rome is the capital of Italy.",
    "Yes",
    "I was charged twice for my order.",
    "This film was a delight: funny, warm",
]
PAIRS = [
    ("The capital of France is", " Paris"),
    ("Is the meal cold?", " Yes, cold and tasteless."),
    ("Hello", " How are you today?"),
    ("1", "2 3"),
]
CHATS = [
    [("user", "Hello"), ("assistant", "How are you?")],
    [
        ("system", "Answer Yes or No only."),
        ("user", "Is the dog lazy?"),
        ("assistant", "Yes"),
        ("user", "And the fox?"),
        ("assistant", "No"),
    ],
    [("user", "What is the total?"), ("assistant", "154.06")],
]
ALL_SPLITS = {
    **SPLITS,
    "packed": {"batching": "packed"},
    "packed one by one": {"batching": "packed", "micro_batch_size": 1},
}


def chat_row(turns: list[tuple[str, str]]) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": content} for role, content in turns]}


def run_on(start: Path, folder: Path, rows: list[dict[str, Any]], **sections: Any) -> Run:
    return ready(config_for(TASK, start, folder, write_rows(folder / "train.jsonl", rows), **sections))


def expected_step(model: Any, samples: list[tuple[list[int], list[bool]]]) -> tuple[float, Any]:
    """The mean loss over the learned tokens of samples that go through the model one by one.

    Args:
        samples: token ids, and which of them are learned; the first never is.
    """
    losses, count = [], 0
    for ids, learned in samples:
        logits = model(input_ids=torch.tensor([ids])).logits[0, :-1]
        each = functional.cross_entropy(logits, torch.tensor(ids[1:]), reduction="none")
        losses.append(each[torch.tensor(learned[1:])].sum())
        count += sum(learned[1:])
    return plain_step(model, torch.stack(losses).sum() / count)


class TestStep:
    @pytest.mark.parametrize("split", ALL_SPLITS)
    @pytest.mark.parametrize("start", PLAIN)
    def test_texts(self, tiny: Tiny, tmp_path: Path, start: str, split: str) -> None:
        rows = [{"text": text} for text in TEXTS]
        run = run_on(
            tiny(start),
            tmp_path,
            rows,
            model=PLAIN[start],
            data={"max_length": 80},
            training=ALL_SPLITS[split],
        )
        assert (len(run.data.train) < len(TEXTS)) == ("packed" in split)
        tokenizer = run.objective.tokenizer
        samples = [[*tokenizer(text)["input_ids"], tokenizer.eos_token_id] for text in TEXTS]
        expected = expected_step(run.model, [(ids, [True] * len(ids)) for ids in samples])
        assert_same_step(first_step(run), expected)

    @pytest.mark.parametrize("split", ["whole", "sorted", "packed"])
    def test_completions(self, tiny: Tiny, tmp_path: Path, split: str) -> None:
        rows = [{"prompt": prompt, "completion": completion} for prompt, completion in PAIRS]
        run = run_on(
            tiny("text-generation"), tmp_path, rows, model=NO_GPT_DROPOUT, training=ALL_SPLITS[split]
        )
        tokenizer = run.objective.tokenizer
        samples = []
        for prompt, completion in PAIRS:
            before, after = tokenizer(prompt)["input_ids"], tokenizer(completion)["input_ids"]
            learned = [False] * len(before) + [True] * (len(after) + 1)
            samples.append(([*before, *after, tokenizer.eos_token_id], learned))
        assert_same_step(first_step(run), expected_step(run.model, samples))

    @pytest.mark.parametrize("split", ["whole", "sorted", "packed"])
    def test_chats(self, tiny: Tiny, tmp_path: Path, split: str) -> None:
        run = run_on(
            tiny("conversational"),
            tmp_path,
            [chat_row(turns) for turns in CHATS],
            model={"config": {}},
            training=ALL_SPLITS[split],
        )
        tokenizer = run.objective.tokenizer
        samples = []
        for turns in CHATS:
            ids: list[int] = []
            learned: list[bool] = []
            for role, content in turns:  # ChatML, written out
                for text, is_learned in (
                    (f"<|im_start|>{role}\n", False),
                    (f"{content}<|im_end|>", role == "assistant"),
                    ("\n", False),
                ):
                    piece = tokenizer(text)["input_ids"]
                    ids, learned = [*ids, *piece], [*learned, *[is_learned] * len(piece)]
            samples.append((ids, learned))
        assert_same_step(first_step(run), expected_step(run.model, samples))


class TestWhatIsLearned:
    def decoded(self, run: Run, number: int = 0) -> str:
        labels = run.data.train.take([number])[0]["labels"]
        return run.objective.tokenizer.decode([label for label in labels if label != IGNORED])

    def test_the_end_is_learned_though_it_is_the_padding_too(self, tiny: Tiny, tmp_path: Path) -> None:
        run = run_on(
            tiny("text-generation"), tmp_path, [{"text": "Yes"}, {"text": TEXTS[1]}], model=NO_GPT_DROPOUT
        )
        tokenizer = run.objective.tokenizer
        assert tokenizer.pad_token_id == tokenizer.eos_token_id
        batch = run.objective.collate(run.data.train.take([0, 1]), [])
        ends = batch.labels == tokenizer.eos_token_id
        assert ends.sum(1).tolist() == [1, 1]
        assert batch.targets == sum(run.data.train.lengths) - 2  # but for the first of each
        assert batch.inputs["attention_mask"].sum(1).tolist() == list(run.data.train.lengths)

    def test_long_texts_are_cut_and_end_once(self, tiny: Tiny, tmp_path: Path) -> None:
        text = "The lazy dog jumps over the fox. " * 6
        run = run_on(
            tiny("text-generation"), tmp_path, [{"text": text}], model=NO_GPT_DROPOUT, data={"max_length": 24}
        )
        rows = [row["input_ids"] for row in run.data.train.take(range(len(run.data.train)))]
        assert max(map(len, rows)) <= 24
        ids = [token for row in rows for token in row]
        assert run.objective.tokenizer.decode(ids[:-1]) == text
        assert [
            index for index, token in enumerate(ids) if token == run.objective.tokenizer.eos_token_id
        ] == [len(ids) - 1]

    def test_a_long_completion_is_cut(self, tiny: Tiny, tmp_path: Path) -> None:
        rows = [{"prompt": "Is it?", "completion": " Yes" * 40}]
        run = run_on(tiny("text-generation"), tmp_path, rows, model=NO_GPT_DROPOUT, data={"max_length": 20})
        ids = run.data.train.take([0])[0]["input_ids"]
        assert len(ids) == 20
        assert run.objective.tokenizer.eos_token_id not in ids

    def test_sharegpt(self, tiny: Tiny, tmp_path: Path) -> None:
        turns = [{"from": "human", "value": "Hello"}, {"from": "gpt", "value": "How are you?"}]
        rows = [{"conversations": turns}, {"conversations": json.dumps(turns)}]
        run = run_on(tiny("conversational"), tmp_path, rows, model={"config": {}})
        assert [self.decoded(run, number) for number in (0, 1)] == ["How are you?<|im_end|>"] * 2

    @pytest.mark.parametrize(
        ("template", "learned"),
        [
            # A template that shows the answers of earlier turns in another way: a sample for each answer.
            (
                "{% for m in messages %}{{ m.role }}:"
                "{{ m.content if loop.last or m.role != 'assistant' else '(cut)' }}<|im_end|>{% endfor %}"
                "{% if add_generation_prompt %}assistant:{% endif %}",
                ["Yes<|im_end|>", "No<|im_end|>"],
            ),
            # One that does not end a turn: the token that ends a text is put there.
            (
                "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
                "{% if add_generation_prompt %}assistant:{% endif %}",
                [" Yes No<|im_end|>"],
            ),
            # One without a prompt for the answer.
            (
                "{% for m in messages %}<|im_start|>{{ m.content }}<|im_end|>{% endfor %}",
                ["<|im_start|>Yes<|im_end|><|im_start|>No<|im_end|>"],
            ),
        ],
        ids=["earlier turns changed", "no end", "no prompt"],
    )
    def test_templates(self, tiny: Tiny, tmp_path: Path, template: str, learned: list[str]) -> None:
        start = tmp_path / "model"
        tokenizer = vocabulary.chat()
        tokenizer.chat_template = template
        model = transformers.AutoModelForCausalLM.from_pretrained(tiny("conversational"))
        save(start, model, tokenizer)
        run = run_on(start, tmp_path, [chat_row(CHATS[1])], model={"config": {}})
        assert [self.decoded(run, number) for number in range(len(run.data.train))] == learned

    def test_columns_that_the_config_names_are_meant(self, tiny: Tiny, tmp_path: Path) -> None:
        rows = [{"prompt": "a", "completion": "b", "body": "The dog"}]
        run = run_on(
            tiny("text-generation"), tmp_path, rows, model=NO_GPT_DROPOUT, data={"columns": {"text": "body"}}
        )
        assert run.data.train.take([0])[0]["input_ids"] == [
            *run.objective.tokenizer("The dog")["input_ids"],
            run.objective.tokenizer.eos_token_id,
        ]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"text": 3}, r":2: 3 is no text"),
        ({"prompt": "a", "completion": ""}, r":2: the completion is empty"),
        ({"prompt": None, "completion": "a"}, r":2: the prompt is empty"),
        ({"prompt": "a"}, r"no column 'completion' in .*train\.jsonl"),
        ({"body": "a"}, r"no column text, messages, or prompt and completion in .*; its columns are: body"),
        ({"prompt": "dog " * 200, "completion": "a"}, r":2: the prompt fills all of the 40 tokens"),
        (
            chat_row([("user", "a"), ("user", "b")]),
            r":2: message 2 has the role user, but after user comes assistant",
        ),
        (
            chat_row([("assistant", "a")]),
            r":2: message 1 has the role assistant, but at the beginning comes system",
        ),
        (chat_row([("user", "a"), ("system", "b")]), r":2: message 2 has the role system, but after user"),
        (chat_row([("user", "a")]), r":2: the chat ends with user, so there is no answer"),
        (
            chat_row([("user", "a"), ("wizard", "b")]),
            r":2: message 2 has the role 'wizard'; there are: system",
        ),
        (chat_row([("user", "a"), ("assistant", " ")]), r":2: a message of the assistant is empty"),
        ({"messages": "hello"}, r":2: messages should be a list"),
        ({"messages": [{"role": "user"}]}, r":2: message 1 needs 'role' and 'content'"),
    ],
)
def test_a_bad_row(tiny: Tiny, tmp_path: Path, row: dict[str, Any], message: str) -> None:
    first = {
        name: good
        for name, good in (("text", "a"), ("messages", chat_row(CHATS[0])["messages"]))
        if name in row
    }
    first = first or {"prompt": "a", "completion": "b"}
    with pytest.raises(DataError, match=message):
        run_on(tiny("conversational"), tmp_path, [first, row], model={"config": {}}, data={"max_length": 40})


def test_no_chat_template(tiny: Tiny, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="has no chat template"):
        run_on(tiny("text-generation"), tmp_path, [chat_row(CHATS[0])], model=NO_GPT_DROPOUT)


def test_a_model_that_cannot_keep_packed_samples_apart(tmp_path: Path) -> None:
    tokenizer = vocabulary.gpt()
    config = transformers.MambaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=1,
        state_size=4,
        eos_token_id=0,
        pad_token_id=0,
    )
    start = save(tmp_path / "model", random_model(transformers.MambaForCausalLM, config), tokenizer)
    rows = [{"text": text} for text in TEXTS]
    run = run_on(start, tmp_path, rows, model={"config": {}}, training={"batching": "packed"})
    with pytest.raises(ModelError, match=r"mamba model takes no positions|sees the ones beside it"):
        first_step(run)


@pytest.mark.parametrize("batching", ["sorted", "packed"])
def test_learning(tiny: Tiny, tmp_path: Path, batching: str) -> None:
    rows = [
        {"prompt": f"{name}?", "completion": f" {name} is {city}"}
        for name, city in (("Yes", "Rome"), ("No", "Paris"))
    ]
    train = write_rows(tmp_path / "train.jsonl", rows * 10)
    training = {
        "epochs": 12,
        "learning_rate": 1e-2,
        "batch_size": 4,
        "batching": batching,
        "eval_steps": 1000,
    }
    config = config_for(
        TASK,
        tiny("text-generation"),
        tmp_path,
        train,
        model=NO_GPT_DROPOUT,
        data={"validation": train, "max_length": 64},
        training=training,
    )
    run = finetune(config, device="cpu")
    assert run.figures["eval_accuracy"] >= 0.95  # untrained: one of 500
    assert run.figures["eval_perplexity"] <= 1.5
    model = transformers.AutoModelForCausalLM.from_pretrained(config.output)
    tokenizer = transformers.AutoTokenizer.from_pretrained(config.output)
    inputs = tokenizer("No?", return_tensors="pt")
    answer = model.generate(**inputs, max_new_tokens=20, do_sample=False)[0, inputs["input_ids"].shape[1] :]
    assert tokenizer.decode(answer) == f" No is Paris{tokenizer.eos_token}"


@pytest.mark.parametrize("is_decoder", [True, False])
def test_an_encoder_sees_what_it_is_to_guess(is_decoder: bool) -> None:
    config = transformers.BertConfig(
        vocab_size=60, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16,
        is_decoder=is_decoder, initializer_range=0.5,
    )  # fmt: skip
    assert sees_ahead(transformers.BertLMHeadModel(config)) is not is_decoder
