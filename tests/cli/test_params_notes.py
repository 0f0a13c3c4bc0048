"""`llmkit params`: what its headings and notes say, and that no option is dropped without a word."""

from __future__ import annotations

import pytest

PARAMS = "params"


@pytest.fixture(scope="module")
def table(llmkit, tmp_path_factory):
    """Return the table of a call as lines that are not broken."""
    cache = str(tmp_path_factory.mktemp("cache"))

    def table(*arguments: object) -> str:
        settings = {"LLMKIT_CACHE": cache, "COLUMNS": "400"}
        done = llmkit(PARAMS, *arguments, "--format", "table", env=settings)
        assert done.code == 0, done.stderr
        return "\n".join(line.rstrip() for line in done.text.splitlines())

    return table


def test_adapters_of_several_models_say_whose_they_are(table):
    text = table("bert-base", "gpt2", "--lora", "r=8")
    assert "bert-base-uncased: LoRA r=8 on query, value" in text
    assert "gpt2: LoRA r=8 on c_attn" in text


def test_several_models_say_at_which_contexts_their_caches_are(table):
    cells = [line.split() for line in table("gpt2", "llama-2-7b", "t5-small").splitlines()]
    assert ["tokens", "in", "the", "KV", "cache", "1,024", "4,096", "512"] in cells
    assert [line[:-2:2] for line in cells if line[:2] == ["KV", "cache"]]
    lines = table("gpt2", "gpt2-medium").splitlines()
    assert any(line.startswith("KV cache, at 1,024 tokens") for line in lines)


def test_a_sequence_length_that_images_do_not_heed_is_spoken_of(table):
    note = "do not depend on --sequence-length"
    assert note in table("vit-base", "--sequence-length", "512")
    assert note not in table("vit-base")


@pytest.mark.parametrize(
    ("models", "is_said"), [(("mixtral-8x7b",), True), (("gpt2", "mixtral-8x7b"), True), (("gpt2",), False)]
)
def test_experts_that_stay_as_they_are(models, is_said, table):
    note = "mixtral-8x7b: 45,097,156,608 parameters of experts"
    assert (note in table(*models)) == is_said


def test_a_line_of_the_tree_is_right_by_itself(table):
    lines = [line.split("  ") for line in table("bert-base", "--tree").splitlines()]
    (query,) = [line for line in lines if "7,077,888" in "".join(line) and "weight" in line][:1]
    assert "num_hidden_layers × hidden_size × hidden_size" in [cell.strip() for cell in query]


@pytest.mark.parametrize(
    ("option", "form"),
    [
        (("--fits", "24GB"), ("--format", "csv")),
        (("--lora", "r=8"), ("-o", "x.tsv")),
        (("--checkpoint",), ("--format", "tsv")),
        (("--checkpoint",), ("--total",)),
        (("--batch-size", "8"), ("--total",)),
        (("--sequence-length", "512"), ("--format", "csv")),
        (("--context", "100"), ("--format", "tsv")),
        (("--fits", "24GB"), ("--total",)),
    ],
)
def test_what_a_format_does_not_show_is_refused(option, form, llmkit):
    done = llmkit(PARAMS, "bert-base", *option, *form)
    assert (done.code, done.stdout) == (2, b"")
    assert option[0] in done.stderr and "--format table, json" in done.stderr


class TestCheckpoint:
    def test_nothing_differs_and_there_is_no_table(self, table, tiny):
        text = table(tiny("fill-mask"), "--head", "checkpoint", "--checkpoint")
        (after,) = text.split("in the checkpoint, ")[1:]
        assert "It has each parameter of the architecture once" in after
        assert "in the checkpoint" not in after and "shape" not in after.splitlines()[1:3]
        assert "--head checkpoint" not in after

    def test_a_head_that_was_not_counted(self, table, tiny):
        assert "--head checkpoint counts the one" in table(tiny("fill-mask"), "--checkpoint")
        text = table("--type", "bert", "--checkpoint-file", tiny("fill-mask"))
        assert "--head masked-lm counts the usual one" in text

    @pytest.mark.parametrize("model", ["bert-base", "acme/nothing"])
    def test_offline_names_no_option_of_other_commands(self, model, llmkit, tmp_path):
        settings = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
        done = llmkit(PARAMS, model, "--checkpoint", env=settings, hub=True)
        assert done.code == 1
        assert "--model" not in done.stderr and "HF_HOME" in done.stderr
        assert ("--checkpoint-file" in done.stderr) == (model == "bert-base")


class TestLengths:
    @pytest.mark.parametrize("model", ["vit-base", "resnet-50"])
    def test_images_have_no_tokens(self, model, table):
        text = table(model, "--batch-size", "2")
        assert "at a batch of 2 images" in text
        assert "512 tokens" not in text and "--sequence-length" not in text
        text = table(model, "--sequence-length", "64", "--fits", "24GB")
        assert "do not depend on --sequence-length" in text and "At a batch of 1 image," in text

    def test_images_beside_tokens(self, table):
        assert "at a batch of 1 × 512 tokens" in table("bert-base", "gpt2")
        lines = [line.split("  ") for line in table("bert-base", "vit-base", "whisper-tiny").splitlines()]
        (row,) = [line for line in lines if line[0] == "at a batch of"]
        assert [cell.strip() for cell in row[1:] if cell] == ["1 × 512 tokens", "1 image", "1 × 448 tokens"]

    def test_more_than_the_model_takes(self, table):
        assert "--sequence-length 1,024 is more than the 512 tokens" in table(
            "bert-base", "--sequence-length", "1024"
        )
        text = table("gpt2", "--context", "2048", "--sequence-length", "1024")
        assert "--context 2,048 is more than the 1,024 tokens" in text
        assert "--sequence-length" not in text


@pytest.mark.parametrize(
    ("arguments", "is_said"),
    [
        (("mamba-130m",), True),
        (("gpt2", "mamba-130m"), True),
        (("mamba-130m", "--fits", "24GB"), True),
        (("resnet-50",), True),
        (("gpt2",), False),
    ],
)
def test_activations_that_are_left_out_are_spoken_of(arguments, is_said, table):
    assert ("activations are left out" in table(*arguments)) == is_said


def test_what_is_not_known_to_fit_is_no_yes(table):
    text = table("mamba-130m", "--fits", "24GB")
    assert "mamba-130m in 24.00 GB: 4 of 9 ways fit, 5 unknown" in text
    assert "no way fits" in table("mamba-130m", "--fits", "200MB")
