"""`llmkit params`: what it shows, in every format, and how the second answer comes."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.cli.latex import faults
from tests.fixtures.command import base_environment

PARAMS = "params"
TINY = ("--set", "num_hidden_layers=2", "--set", "hidden_size=8", "--set", "num_attention_heads=2")


@pytest.fixture(scope="module")
def run(llmkit, cache):
    """Run `llmkit params` with a cache of its own; it must do."""

    def run(*arguments, **options):
        done = llmkit(PARAMS, *arguments, env=cache, **options)
        assert done.code == 0, done.stderr
        return done

    return run


LARGE = (
    "--set", "num_hidden_layers=24", "--set", "hidden_size=1024",
    "--set", "num_attention_heads=16", "--set", "intermediate_size=4096",
)  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "total"),
    [
        (("bert-large",), 335_141_888),
        (("bert-base", *LARGE), 335_141_888),
        (("--type", "bert"), 109_482_240),
        (("gpt2",), 124_439_808),
        (("bert-base", "--head", "masked-lm"), 109_514_298),
        (("bert-base", "--lora", "r=8"), 109_482_240 + 12 * 2 * 8 * (768 + 768)),
    ],
)
def test_the_total_alone(arguments, total, run):
    assert run(*arguments, "--total").text == f"{total}\n"


def test_a_total_a_line_for_several(run):
    assert run("bert-base", "distilbert", "--type", "bert", "--total").text.split() == [
        "109482240", "66362880", "109482240"
    ]  # fmt: skip


class TestJson:
    def test_one_model_is_an_object_and_several_an_array(self, run):
        one = run("bert-base", "--format", "json").json
        assert one["total"] == 109_482_240
        assert [each["model"] for each in run("bert-base", "gpt2", "--format", "json").json][1] == "gpt2"
        assert [each["total"] for each in run("bert-base", "gpt2").lines] == [109_482_240, 124_439_808]

    def test_the_parts_add_up(self, run):
        values = run("t5-small", "--format", "json").json
        parts = (values["components"], values["tensors"], values["tree"]["children"])
        assert {sum(each["total"] for each in part) for part in parts} == {values["total"]}
        assert sum(row["share"] for row in values["components"]) == pytest.approx(1)

    def test_what_it_costs(self, run):
        values = run("gpt2", "--batch-size", "2", "--sequence-length", "64", "--context", "128").lines[0]
        by_key = {each["key"]: each for part in ("memory", "kv_cache", "compute") for each in values[part]}
        assert by_key["weights_float32"]["value"] == 4 * values["total"]
        assert by_key["kv_cache"]["value"] == 2 * 128 * by_key["kv_cache_token"]["value"]
        assert (values["batch_size"], values["sequence_length"]) == (2, 64)
        assert values["fits"] is None

    def test_adapters_and_what_fits(self, run):
        values = run("llama-2-7b", "--lora", "r=8", "--fits", "24GB").lines[0]
        assert values["trainable"] == values["lora"]["trainable"] == 4_194_304
        assert values["total"] == 6_738_415_616 + 4_194_304
        fits = {way["key"]: way["fits"] for way in values["fits"]["ways"]}
        assert not fits["training_mixed"]
        assert fits["inference_bfloat16"] and fits["training_lora"]


def test_csv_is_a_row_a_component(run):
    rows = list(csv.DictReader(io.StringIO(run("bert-base", "gpt2", "--format", "csv").text)))
    totals: Counter[str] = Counter()
    for row in rows:
        totals[row["model"]] += int(row["total"])
    assert sorted(totals.values()) == [109_482_240, 124_439_808]
    tensors = list(csv.DictReader(io.StringIO(run("gpt2", "--formula", "--format", "csv").text)))
    assert sum(int(row["total"]) for row in tensors) == 124_439_808
    tree = list(
        csv.DictReader(io.StringIO(run("gpt2", "--depth", "1", "--format", "tsv").text), delimiter="\t")
    )
    assert tree[0]["level"] == "0"
    assert max(int(row["level"]) for row in tree) == 1


def test_markdown_has_as_many_cells_in_every_row(run):
    text = run("gpt-3", "--format", "markdown").text
    tables = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    assert len(tables) == 2
    for table in tables:
        assert len({line.replace("\\|", "").count("|") for line in table}) == 1
    assert "vocab\\_size × n\\_embd" in text
    assert "**174,604,259,328**" in text
    assert "https://arxiv.org/abs/2005.14165" in text


@pytest.mark.parametrize(
    "arguments",
    [
        ("bert-base",),
        ("mixtral-8x7b", "gpt2", "mamba-130m"),
        ("llama-2-7b", "--lora", "r=8", "--fits", "24GB"),
        ("siglip-so400m-patch14-384", "--formula"),
        ("beit-base", "--tree"),
        ("minilm", "--checkpoint"),
        ("--list",),
    ],
    ids=" ".join,
)
def test_latex_is_read_by_a_parser_of_latex(arguments, run):
    text = run(*arguments, "--format", "latex").text
    assert faults(text) == []
    assert text.startswith("% \\usepackage{booktabs,tabularx,hyperref}\n")
    if arguments == ("bert-base",):
        assert "vocab\\_size $\\times$ hidden\\_size" in text


def test_a_file_by_its_ending(run, llmkit, tmp_path):
    file = tmp_path / "new" / "table.md"
    assert run("bert-base", "-o", file).text == ""
    assert file.read_text().startswith("**bert-base")
    again = llmkit(PARAMS, "bert-base", "-o", file)
    assert again.code == 2
    assert "--overwrite" in again.stderr
    run("bert-base", "-o", file, "--overwrite", "--total")
    assert file.read_text() == "109482240\n"


class TestTable:
    @pytest.mark.parametrize("columns", [80, 120])
    @pytest.mark.parametrize(
        "arguments",
        [
            ("bert-large",),
            ("mixtral-8x7b",),
            ("t5-base", "--tree"),
            ("t5-base", "--formula"),
            ("llama-2-7b", "--lora", "r=8", "--fits", "24GB"),
            ("bert-base", "albert-base-v2"),
        ],
        ids=" ".join,
    )
    def test_no_number_is_cut_and_no_line_too_long(self, columns, arguments, cache):
        text = on_terminal(columns, *arguments, env=cache)
        assert max(map(len, text.splitlines())) <= columns
        assert "…" not in text
        for total in totals_of(arguments):
            assert f"{total:,}" in text

    def test_it_says_what_was_counted(self, run):
        text = run("bert-large", "--format", "table").text
        for said in ("encoder-only", "without a head", "--head masked-lm adds 32,570", "340M", "arxiv.org"):
            assert said in text

    def test_what_is_counted_once_is_said(self, run):
        assert "Tied, counted once: lm_head.weight is" in run("gpt2", "--format", "table").text
        assert "12 times" in run("albert-base-v2", "--format", "table").text
        assert "12,879,925,248" in run("mixtral-8x7b", "--format", "table").text

    @pytest.mark.parametrize("columns", [40, 80])
    def test_models_that_have_no_room_beside_each_other_follow(self, columns, cache):
        models = ("bert-base", "distilbert", "albert-base-v2", "gpt2", "t5-base", "llama-2-7b")
        text = on_terminal(columns, *models, env=cache)
        totals = [line.split()[1:] for line in text.splitlines() if line.startswith("total ")]
        assert [cell for line in totals for cell in line] == [
            "109,482,240", "66,362,880", "11,683,584", "124,439,808", "222,903,552", "6,738,415,616"
        ]  # fmt: skip
        assert len(totals) > 1
        assert max(map(len, text.splitlines())) <= columns

    def test_a_narrow_terminal_has_the_components_and_their_totals(self, cache):
        lines = [line.split("  ") for line in on_terminal(40, "bert-base", env=cache).splitlines()]
        rows = {line[0]: line[-1].strip() for line in lines}
        assert rows["token embeddings"] == "23,440,896"
        assert rows["total"] == "109,482,240"

    def test_a_pipe_is_as_wide_as_columns_says(self, cache, llmkit):
        done = llmkit(PARAMS, "bert-base", "gpt2", "--format", "table", env={**cache, "COLUMNS": "60"})
        assert 50 < max(map(len, done.text.splitlines())) <= 60

    def test_side_by_side(self, run):
        text = run("bert-base", "distilbert", "albert-base-v2", "--format", "table").text
        (line,) = [line for line in text.splitlines() if line.startswith("total ")]
        assert line.split() == ["total", "109,482,240", "66,362,880", "11,683,584"]


def totals_of(arguments) -> list[int]:
    known = {
        "bert-large": 335_141_888, "mixtral-8x7b": 46_702_792_704, "t5-base": 222_903_552,
        "llama-2-7b": 6_738_415_616, "bert-base": 109_482_240, "albert-base-v2": 11_683_584,
    }  # fmt: skip
    return [known[each] for each in arguments if each in known]


def on_terminal(columns: int, *arguments: str, env: dict[str, str]) -> str:
    import pexpect

    environment = base_environment() | env | {"NO_COLOR": "1"}
    del environment["COLUMNS"]
    command = pexpect.spawn(
        sys.executable,
        ["-m", "llmkit", PARAMS, *arguments],
        dimensions=(50, columns),
        encoding="utf-8",
        timeout=120,
        env=environment,
    )
    text = command.read()
    command.close()
    assert command.exitstatus == 0, text
    return text.replace("\r", "")


class TestList:
    def test_all_and_some(self, run):
        everything = run("--list", "--format", "json").json
        assert len(everything) >= 100
        found = run("--list", "gpt-3", "--format", "json").json
        assert 8 <= len(found) < len(everything)
        assert "gpt-3-175b" in run("--list", "gpt-3", "--format", "table").text

    def test_nothing_found(self, llmkit):
        done = llmkit(PARAMS, "--list", "bert-bsae")
        assert done.code == 2
        assert "bert-base" in done.stderr


def test_a_checkpoint_beside_its_config(run, llmkit, tiny):
    folder = tiny("fill-mask")
    values = run(folder, "--head", "checkpoint", "--checkpoint").lines[0]["checkpoint"]
    assert values["agrees"]
    assert values["total"] == values["expected"]
    text = run(folder, "--checkpoint", "--format", "table").text
    assert "cls.predictions" in text
    elsewhere = run("bert-base", "--checkpoint-file", folder).lines[0]["checkpoint"]
    assert elsewhere["reshaped"]
    assert llmkit(PARAMS, "transformer-base", "--checkpoint").code == 2


def test_a_full_disk_and_a_closed_pipe(run):
    run("bert-base")
    for target, code in (("> /dev/full", 1), ("| head -c 10 > /dev/null; exit ${PIPESTATUS[0]}", 0)):
        command = f"{sys.executable} -m llmkit params bert-base {target}"
        done = subprocess.run(
            ["bash", "-c", command], capture_output=True, text=True, env=base_environment(), check=False
        )
        assert done.returncode == code, done.stderr
        assert len(done.stderr.splitlines()) == (1 if code else 0)


# The second time

MODULES = """
import json, sys
from llmkit.cli.main import main
sys.argv = ["llmkit", *json.loads(sys.argv[1])]
try:
    main()
except SystemExit:
    pass
heavy = ("torch", "transformers", "numpy", "huggingface_hub", "yaml", "datasets", "pandas")
print(json.dumps([name for name in heavy if name in sys.modules]), file=sys.stderr)
"""


@pytest.mark.parametrize(
    "arguments",
    [
        ("bert-large",),
        ("bert-large", "--total"),
        ("bert-large", "--format", "table", "--fits", "24GB"),
        ("bert-base", "distilbert", "--format", "markdown"),
        ("minilm", "--format", "csv"),
    ],
    ids=" ".join,
)
def test_the_second_answer_imports_nothing_heavy(arguments, run, cache):
    first = run(*arguments)
    done = subprocess.run(
        [sys.executable, "-c", MODULES, json.dumps([PARAMS, *arguments])],
        env=base_environment() | cache,
        capture_output=True,
        check=True,
    )
    assert json.loads(done.stderr.splitlines()[-1]) == []
    assert done.stdout == first.stdout


def test_an_answer_that_is_kept_is_that_of_the_call(run, cache):
    """Neither another option nor another config is answered from what was kept."""
    totals = [
        run("bert-base", *TINY, "--total").text,
        run("bert-base", "--total").text,
        run("bert-base", *TINY, "--head", "masked-lm", "--total").text,
    ]
    assert len(set(totals)) == 3
    tables = [
        run("bert-base", "-f", "table", *more).text for more in ((), ("--batch-size", "9"), ("--tree",))
    ]
    assert len(set(tables)) == 3
    for path in Path(cache["LLMKIT_CACHE"], "params").iterdir():
        path.write_bytes(os.urandom(10))
    assert run("bert-base", "-f", "table").text == tables[0]


def test_totals_in_a_format(run):
    rows = [{"model": "bert-base-uncased", "total": 109_482_240}, {"model": "gpt2", "total": 124_439_808}]
    assert json.loads(run("bert-base", "gpt2", "--total", "-f", "json").text) == rows
    assert json.loads(run("bert-base", "--total", "-f", "json").text) == rows[0]
    assert run("bert-base", "--total", "-f", "csv").text.split() == [
        "model,total",
        "bert-base-uncased,109482240",
    ]
