"""`llmkit params`: what it refuses, and configs from a file or standard input that are right or wrong."""

from __future__ import annotations

import pytest

PARAMS = "params"

REFUSED = {
    "no model": ((), "name a model"),
    "unknown name": (("bert-bsae",), "bert-base"),
    "undisclosed": (("gpt-4",), "never published"),
    "no type": (("--type", ""), "--type is empty"),
    "a revision of a type": (("--type", "bert", "--revision", "main"), "not for a --type"),
    "unknown type": (("--type", "brt"), "did you mean bert"),
    "unknown value": (("bert-base", "--set", "hiden_size=8"), "did you mean hidden_size"),
    "no value": (("bert-base", "--set", "hidden_size"), "key=value"),
    "a text for a number": (("bert-base", "--set", "hidden_size=many"), "it should be a number"),
    "heads that do not divide": (("bert-base", "--set", "num_attention_heads=7"), "num_attention_heads"),
    "a negative size": (("bert-base", "--set", "num_hidden_layers=-1"), "it should be 1 or more"),
    "an absurd size": (("bert-base", "--set", "num_hidden_layers=1000000000000"), "1,000,000,000,000"),
    "unknown head": (("bert-base", "--head", "mlm"), "masked-lm"),
    "nothing like a head": (("bert-base", "--head", "bogus"), "There are: none, "),
    "a head it does not have": (("gpt2", "--head", "masked-lm"), "gpt2 has no such head"),
    "adapters": (("bert-base", "--lora", "rank"), "--lora"),
    "modules of adapters": (("bert-base", "--lora", "r=8,targets=q_proj"), "q_proj"),
    "a memory without a unit": (("bert-base", "--fits", "24"), "unit"),
    "batch size": (("bert-base", "--batch-size", "0"), "--batch-size"),
    "sequence length": (("bert-base", "--sequence-length", "-1"), "--sequence-length"),
    "absurd costs": (
        ("bert-base", "--context", str(10**400)),
        "--context with so many digits: it should be from 1 to 1,000,000,000,000.",
    ),
    "depth": (("bert-base", "--depth", "0"), "--depth"),
    "two tables": (("bert-base", "--tree", "--formula"), "--formula"),
    "a total and a tree": (("bert-base", "--total", "--tree"), "--total does not show what --tree asks for"),
    "a total and a depth": (
        ("bert-base", "--total", "--depth", "1"),
        "--total does not show what --depth asks",
    ),
    "a total and weights": (
        ("bert-base", "--total", "--checkpoint-file", "x"),
        "--total does not show what --checkpoint-file asks",
    ),
    "one standard input for two": (("-", "bert-base", "-"), "'-' is there twice"),
    "a number of 5000 digits": (("bert-base", "--set", f"hidden_size={'9' * 5000}"), "thousands of digits"),
    "a total and formulas": (("bert-base", "--total", "--formula"), "what --formula asks for"),
    "options of a model for a list": (
        ("--list", "mixtral", "--head", "none", "--total", "--set", "a=1"),
        "--set and --head and --total are for a model",
    ),
    "which of several": (
        ("gpt2", "bert-base", "--set", "num_attention_heads=8", "--set", "hidden_size=777"),
        "gpt2: n_head (8) does not divide n_embd (777)",
    ),
    "format": (("bert-base", "--format", "markdwn"), "did you mean markdown"),
    "ending": (("bert-base", "-o", "x.docx"), "x.docx"),
    "no file": (("bert-base", "--checkpoint-file", ""), "--checkpoint-file is empty"),
    "two models, one file": (("bert-base", "gpt2", "--checkpoint-file", "x"), "--checkpoint-file"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(case, llmkit, cache):
    arguments, said = REFUSED[case]
    done = llmkit(PARAMS, *arguments, env=cache)
    assert done.code == 2, done.stderr
    assert done.stdout == b""
    assert said in done.stderr
    assert done.stderr.count("error:") == 1
    assert "Traceback" not in done.stderr


def test_a_config_comes_from_standard_input_and_types_are_compared(llmkit, cache):
    config = '{"model_type": "bert", "num_hidden_layers": 1}'
    done = llmkit(PARAMS, "-", "--type", "bert", "--type", "gpt2", "--total", stdin=config, env=cache)
    assert done.text.split() == ["31515648", "109482240", "124439808"]
    wrong = llmkit(PARAMS, "-", stdin="{", env=cache)
    assert wrong.code == 2
    assert wrong.stderr.startswith("error: standard input is not JSON: line 1, column")


def test_the_config_that_is_counted_is_not_written_over(llmkit, tmp_path, cache):
    config = tmp_path / "config.json"
    config.write_text('{"model_type": "bert"}')
    done = llmkit(PARAMS, config, "-o", config, "--overwrite", env=cache)
    assert (done.code, config.read_text()) == (2, '{"model_type": "bert"}')
    assert done.stderr.startswith(f"error: --output {config} is the input.")
    of_the_folder = llmkit(PARAMS, tmp_path, "-o", config, "--overwrite", env=cache)
    assert (of_the_folder.code, config.read_text()) == (2, '{"model_type": "bert"}')
    (tmp_path / "there.json").write_text("{}")
    too_long = llmkit(PARAMS, f"./{'x' * 300}/m", "-o", tmp_path / "there.json", "--overwrite", env=cache)
    assert too_long.code == 2, too_long.stderr


def test_a_wrong_value_in_a_file_is_told_of_with_the_file(llmkit, tmp_path, cache):
    (tmp_path / "config.json").write_text('{"model_type": "bert", "num_hidden_layers": -2}')
    done = llmkit(PARAMS, tmp_path, env=cache)
    assert done.code == 2
    assert done.stderr.startswith(f"error: {tmp_path}/config.json: num_hidden_layers is -2")


def test_a_checkpoint_that_is_not_there_is_not_looked_for_on_the_hub(llmkit, cache):
    for name in ("nothing.safetensors", "model.safetensors.index.json"):
        done = llmkit(PARAMS, "bert-base", "--checkpoint-file", name, env=cache)
        assert done.code == 1
        assert done.stderr == f"error: no file or folder {name}.\n"


@pytest.mark.parametrize(
    "content", ['{"model_type": "bert",\n "hidden_size": }', "[]", "{}", '{"model_type": "brt"}']
)
def test_a_wrong_config(content, llmkit, tmp_path):
    (tmp_path / "config.json").write_text(content)
    for place in (tmp_path, tmp_path / "config.json"):
        done = llmkit(PARAMS, place)
        assert done.code == 2
        assert len(done.stderr.splitlines()) <= 2
