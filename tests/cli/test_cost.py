"""`llmkit cost`: the figures in every format, never without a unit, and what is refused."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.fixtures.command import base_environment
from tests.training.stepping import write_rows

COST = "cost"
GPT3 = ("gpt-3", "--tokens", "300B", "--gpu", "v100", "--gpus", "10000", "--price", "1.5", "--grid", "us")
BUDGET = ("gpt-3", "--budget", "5000usd", "--gpu", "h100", "--price", "2.5")
CALLS = {
    "model": GPT3,
    "adapters": ("llama-2-7b", "--tokens", "10M", "--gpu", "rtx-4090", "--lora", "r=8"),
    "mixture": ("mixtral-8x7b", "--tokens", "1T", "--gpu", "h100", "--recompute", "full"),
    "budget": BUDGET,
    "optimal": ("--budget", "1e23flops"),
    "published": ("--table",),
    "accelerators": ("--accelerators",),
}
MODULES = """
import json, sys
from llmkit.cli.main import main
sys.argv = ["llmkit", *json.loads(sys.argv[1])]
try:
    main()
except SystemExit:
    pass
heavy = ("torch", "transformers", "numpy", "huggingface_hub", "datasets", "pandas")
print(json.dumps([name for name in heavy if name in sys.modules]), file=sys.stderr)
"""
UNITLESS = re.compile(r"[\d.,]+(e[+-]?\d+)?")


@pytest.fixture(scope="module")
def run(llmkit, cache):
    """Run `llmkit cost` with a cache of its own; it must do."""

    def run(*arguments, **options):
        done = llmkit(COST, *arguments, env=cache, **options)
        assert done.code == 0, done.stderr
        return done

    return run


def bare_numbers(value: Any, path: str = "") -> Iterator[str]:
    """Go through the numbers that stand in no object that has a unit."""
    if isinstance(value, dict):
        has_unit = bool(value.get("unit"))
        for key, each in value.items():
            is_number = isinstance(each, int | float) and not isinstance(each, bool)
            if is_number and not has_unit:
                yield f"{path}.{key}"
            elif not is_number:
                yield from bare_numbers(each, f"{path}.{key}")
    elif isinstance(value, list):
        for number, each in enumerate(value):
            yield from bare_numbers(each, f"{path}[{number}]")
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield path


class TestNoFigureWithoutAUnit:
    def test_the_test_itself(self):
        assert list(bare_numbers({"a": {"value": 1, "unit": "h"}, "b": [{"c": 2}], "d": 3})) == [
            ".b[0].c",
            ".d",
        ]

    @pytest.mark.parametrize("call", CALLS)
    def test_in_json(self, call, run):
        values = run(*CALLS[call], "--format", "json").json
        assert list(bare_numbers(values)) == []

    @pytest.mark.parametrize("call", CALLS)
    def test_in_a_table(self, call, run):
        rows = [
            line
            for line in run(*CALLS[call], "--format", "markdown").text.splitlines()
            if line.startswith("|")
        ]
        cells = [cell.strip().strip("*") for row in rows for cell in row.strip("|").split(" | ")]
        assert len(cells) > 10
        assert [cell for cell in cells if UNITLESS.fullmatch(cell)] == []

    @pytest.mark.parametrize("call", CALLS)
    def test_in_rows(self, call, run):
        rows = list(csv.DictReader(io.StringIO(run(*CALLS[call], "--format", "csv").text)))
        numbers = ("value", "low", "high", "published", "llmkit")
        for row in rows:
            bare = [key for key, cell in row.items() if UNITLESS.fullmatch(cell or "")]
            assert set(bare) <= set(numbers) and (not bare or row["unit"])


class TestFigures:
    def test_the_total(self, run):
        values = run(*GPT3).lines[0]
        assert values["of"] == "gpt-3-175b"
        assert values["training_flops"]["value"] == pytest.approx(3.14e23, rel=0.005)
        assert values["training_flops"]["unit"] == "FLOPs"
        assert {"device_hours", "training_time", "energy", "emissions", "money", "memory_per_device"} <= set(
            values
        )
        assert values["energy"]["low"] < values["energy"]["value"] < values["energy"]["high"]
        assert all(values[key]["formula"] for key in values if isinstance(values[key], dict))

    def test_a_folders_own_config(self, run, tmp_path):
        (tmp_path / "config.json").write_text(
            json.dumps({"model_type": "gpt2", "n_layer": 2, "n_embd": 64, "n_head": 2})
        )
        values = run(tmp_path, "--tokens", "1M").lines[0]
        wider = run(tmp_path, "--tokens", "1M", "--set", "n_layer=4").lines[0]
        assert wider["training_flops"]["value"] > values["training_flops"]["value"] > 0

    def test_a_budget(self, run):
        values = run(*BUDGET).lines[0]
        assert values["device_hours"]["value"] == 2000
        assert values["tokens"]["unit"] == "tokens"
        assert values["optimal_parameters"]["low"] < values["optimal_parameters"]["value"]

    def test_published_runs(self, run):
        runs = {each["run"]: each for each in run("--table").lines}
        flops = runs["PaLM 540B"]["figures"]["training_flops"]
        assert flops["ratio"]["value"] == pytest.approx(1, abs=0.05) and flops["url"].startswith(
            "https://arxiv"
        )
        assert runs["GPT-4"]["figures"]["training_flops"]["kind"] == "third party"
        assert "published neither" in runs["GPT-4"]["undisclosed"]
        text = run("--table", "--format", "table").text
        assert "not known" in text and "GPT-4: OpenAI published neither" in text

    def test_accelerators(self, run):
        rows = {each["name"]: each for each in run("--accelerators").lines}
        assert rows["h100"]["peak"]["bfloat16"] == {"value": 989.4e12, "unit": "FLOP/s"}
        assert rows["tpu-v5p"]["power"] is None and "never published" in rows["tpu-v5p"]["note"]

    @pytest.mark.parametrize("call", [GPT3, ("--table",)], ids=["model", "published"])
    def test_the_second_time_it_is_the_same_and_nothing_heavy_is_imported(self, call, run, cache):
        first = run(*call)
        done = subprocess.run(
            [sys.executable, "-c", MODULES, json.dumps([COST, *call])],
            env=base_environment() | cache,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout == first.text
        assert json.loads(done.stderr) == []

    def test_this_cpu_is_measured_each_time(self, run):
        values = [run("gpt2", "--tokens", "1M", "--gpu", "cpu").lines[0]["device_hours"] for _ in range(2)]
        assert values[0]["value"] != values[1]["value"]
        assert "measured now" in values[0]["source"]


WRONG = {
    "a number alone": (("gpt-3", "--tokens", "15"), "--tokens 15: 15 of what? It has no unit."),
    "a mistyped unit": (("gpt-3", "--tokens", "15 trillionn"), "did you mean trillion?"),
    "a comma": (("gpt-3", "--tokens", "2,5"), "a comma is no decimal point"),
    "another unit": (("gpt-3", "--tokens", "15GB"), "no such unit as 'GB'"),
    "a budget of nothing": (("gpt-3", "--budget", "5000"), "5000 of what?"),
    "no tokens": (("gpt-3",), "on how many tokens"),
    "nothing at all": ((), "what is to be trained?"),
    "unknown accelerator": (("gpt-3", "--tokens", "1T", "--gpu", "h10"), "did you mean h100?"),
    "price without a device": (("gpt-3", "--tokens", "1T", "--price", "2"), "nothing without a device"),
    "more than the peak": (
        ("gpt-3", "--tokens", "1T", "--gpu", "h100", "--mfu", "40"),
        "it should be 1 or less",
    ),
    "mfu and hfu": (
        ("gpt-3", "--tokens", "1T", "--gpu", "h100", "--mfu", "0.4", "--hfu", "0.4"),
        "one of them",
    ),
    "pue below one": (("gpt-3", "--tokens", "1T", "--gpu", "h100", "--pue", "0.9"), "1 or more"),
    "no devices": (
        ("gpt-3", "--tokens", "1T", "--gpu", "h100", "--gpus", "0"),
        "--gpus 0: it should be from 1 to",
    ),
    "unknown grid": (("gpt-3", "--tokens", "1T", "--gpu", "h100", "--grid", "frnce"), "did you mean france?"),
    "recompute": (("gpt-3", "--tokens", "1T", "--recompute", "ful"), "did you mean full?"),
    "images": (("vit-base", "--tokens", "1T"), "not counted in tokens of text"),
    "undisclosed": (("gpt-4", "--tokens", "1T"), "never published its size"),
    "mistyped model": (("gpt-33", "--tokens", "1T"), "gpt-3"),
    "adapters of no module": (("gpt2", "--tokens", "1T", "--lora", "r=8,targets=query"), "no module's name"),
    "two questions": (("gpt-3", "--table"), "ask one of them"),
    "a table with options": (("--table", "--gpu", "h100"), "--table takes no --gpu"),
    "a device of nothing": (("gpt-3", "--tokens", "1T", "--device", "cpu"), "--device is for --finetune"),
    "format": (("gpt-3", "--tokens", "1T", "--format", "xml"), "no such format"),
    "the length of no model": (("--budget", "1e23flops", "--sequence-length", "9"), "is of a model"),
    "the hardware's share of a config": (
        ("--finetune", "run.yaml", "--gpu", "a100", "--hfu", "0.4"),
        "say --mfu",
    ),
    "a config that is not there": (("--finetune", "missing.yaml"), "missing.yaml"),
    "tokens of a config": (("--finetune", "run.yaml", "--tokens", "1M"), "the config says it"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_refused(case, llmkit, cache):
    arguments, said = WRONG[case]
    done = llmkit(COST, *arguments, env=cache)
    assert (done.code, done.stdout) == (2, b"")
    assert said in done.stderr and "Traceback" not in done.stderr


class TestFinetune:
    @pytest.fixture
    def config(self, tiny, tmp_path):
        rows = [
            {"text": "a good day in Rome" * (1 + number % 3), "label": number % 2} for number in range(12)
        ]
        values = {
            "task": "text-classification",
            "model": str(tiny("text-classification")),
            "data": {"train": write_rows(tmp_path / "train.jsonl", rows)},
            "training": {"batch_size": 4, "epochs": 2},
            "output": str(tmp_path / "run"),
        }
        path = tmp_path / "run.yaml"
        path.write_text(yaml.safe_dump(values))
        return path

    def test_on_the_device_at_hand_and_nothing_written(self, config, run, tmp_path):
        values = run("--finetune", config, "--device", "cpu", "--grid", "fr", "--format", "json").json
        assert list(bare_numbers(values)) == []
        assert values["steps"]["value"] == 6
        assert values["training_time"]["value"] > 0 and values["training_time"]["source"] == "measured now"
        assert (
            values["energy"]["label"] == "energy, estimated" and "not measured" in values["energy"]["source"]
        )
        assert not (tmp_path / "run").exists()

    def test_of_preferences_nothing_is_written_either(self, config, run, tiny, tmp_path):
        rows = [{"prompt": "the film", "chosen": " was good", "rejected": " was bad"}] * 8
        values = yaml.safe_load(config.read_text()) | {
            "task": "preference",
            "model": str(tiny("text-generation")),
            "data": {"train": write_rows(tmp_path / "pairs.jsonl", rows)},
        }
        config.write_text(yaml.safe_dump(values))
        assert run("--finetune", config, "--device", "cpu").lines[0]["steps"]["value"] == 4
        assert not (tmp_path / "run").exists()

    def test_its_plan_is_what_the_run_takes(self, config, run, llmkit, cache, tmp_path):
        planned = run("--finetune", config, "--device", "cpu").lines[0]
        done = llmkit("finetune", config, "--device", "cpu", env=cache)
        assert done.code == 0, done.stderr
        took = json.loads((tmp_path / "run" / "cost.json").read_text())
        for key in ("steps", "tokens", "training_flops"):
            assert planned[key]["value"] == pytest.approx(took[key]["actual"]["value"]), key

    def test_an_output_that_is_there_is_refused_before_the_probe(self, llmkit, cache, tmp_path):
        (tmp_path / "plan.csv").write_text("kept")
        done = llmkit(COST, "--finetune", "missing.yaml", "-o", tmp_path / "plan.csv", env=cache)
        assert done.code != 0 and "--overwrite" in done.stderr
        assert (tmp_path / "plan.csv").read_text() == "kept"

    def test_on_a_device_of_the_table(self, config, run):
        done = run("--finetune", config, "--gpu", "a100", "--set", "training.epochs=4")
        values = done.lines[0]
        assert values["steps"]["value"] == 12
        assert values["device_hours"]["unit"] == "device hours"
        assert any("not measured" in note for note in values["notes"])
