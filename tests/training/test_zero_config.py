"""DeepSpeed's own config file: what of it is passed on, and what does not go with a run."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from llmkit.errors import MissingExtraError, UsageError
from llmkit.training.config import FinetuneConfig
from llmkit.training.config_file import check_config
from llmkit.training.zero import find_builders
from llmkit.training.zero_config import zero_settings
from tests.fixtures.command import Command

AUTO = {
    # As transformers' documentation has it.
    "optimizer": {"type": "AdamW", "params": {"lr": "auto", "betas": "auto", "weight_decay": "auto"}},
    "scheduler": {"type": "WarmupDecayLR", "params": {"warmup_num_steps": "auto"}},
    "bf16": {"enabled": "auto"},
    "zero_optimization": {
        "stage": 3,
        "reduce_bucket_size": "auto",
        "offload_param": {"device": "cpu", "pin_memory": False},
    },
    "gradient_accumulation_steps": "auto",
    "gradient_clipping": "auto",
    "train_batch_size": "auto",
    "train_micro_batch_size_per_gpu": "auto",
}


def config(sharding: Any, **training: Any) -> FinetuneConfig:
    values = {"task": "causal-lm", "model": "gpt2", "data": {"train": "a.txt"}, "output": "out"}
    return check_config(values | {"sharding": sharding, "training": training}, "run.yaml")


def settings(folder: Path, given: Any, precision: str = "float32", **training: Any) -> dict[str, Any]:
    path = folder / "zero.json"
    path.write_text(given if isinstance(given, str) else json.dumps(given))
    return zero_settings(config({"type": "deepspeed", "config": str(path)}, **training), precision)


@pytest.fixture(autouse=True)
def deepspeed_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here needs the package itself."""
    spec = importlib.machinery.ModuleSpec("deepspeed", None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)


def test_what_is_left_to_the_run_is_filled_in_and_the_rest_passed_on(tmp_path: Path) -> None:
    found = settings(tmp_path, AUTO | {"wall_clock_breakdown": True}, "bfloat16", max_grad_norm=0.5)

    assert found["zero_optimization"] == {"stage": 3, "offload_param": {"device": "cpu", "pin_memory": False}}
    assert found["wall_clock_breakdown"] is True
    assert found["gradient_clipping"] == 0.5
    assert found["torch_autocast"] == {"enabled": True, "dtype": "bfloat16"}
    assert not {"optimizer", "scheduler"} & found.keys()
    assert '"auto"' not in json.dumps(found)


def test_what_both_say_alike_is_let_through(tmp_path: Path) -> None:
    given = {"zero_optimization": {"stage": 1}, "train_batch_size": 8, "gradient_clipping": 1.0}
    found = settings(tmp_path, given, batch_size=8)
    assert found["gradient_clipping"] == 1.0
    assert "torch_autocast" not in found
    assert (
        settings(tmp_path, {"zero_optimization": {"stage": 2}}, max_grad_norm=None)["gradient_clipping"] == 0
    )


def test_what_differs_is_said_at_once(tmp_path: Path) -> None:
    given = {
        "zero_optimization": {"stage": 2},
        "gradient_clipping": 0.3,
        "gradient_accumulation_steps": 4,
        "optimizer": {"type": "Lamb", "params": {"lr": 1}},
        "scheduler": {"params": {"warmup_num_steps": 10}},
        "fp16": {"enabled": True},
        "bf16": {"enabled": True},
    }
    with pytest.raises(UsageError) as raised:
        settings(tmp_path, given)

    for said in (
        "gradient_clipping: 0.3; training.max_grad_norm is 1.0",
        "gradient_accumulation_steps: 4; training.micro_batch_size",
        'optimizer.type: "Lamb"; the run\'s optimizer is "AdamW"',
        "optimizer.params.lr: 1; training.learning_rate is 5e-05",
        "scheduler.params.warmup_num_steps: 10; training.schedule",
        "fp16: float16 is not tried with it",
        "bf16.enabled: true",
    ):
        assert said in raised.value.message


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("", r"zero.json:1:1: not JSON"),
        ("{'a': 1}", r"zero.json:1:2: not JSON"),
        ("[1]", "no keys with values"),
        ("{}", r"zero_optimization.stage is null: nothing would be shared"),
        ('{"zero_optimization": {"stage": 0}}', r"zero_optimization.stage is 0"),
        ('{"zero_optimization": {"stage": true}}', r"zero_optimization.stage is true"),
        ('{"zero_optimization": {"stage": [3]}}', r"zero_optimization.stage is \[3\]"),
        ('{"zero_optimization": 3}', "zero_optimization is 3, not keys with values"),
        ('{"zero_optimization": {"stage": 1}, "bf16": true}', "bf16 is true, not keys with values"),
    ],
)
def test_a_wrong_file_is_one_message(given: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=said):
        settings(tmp_path, given)


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(UsageError, match=r"sharding\.config: cannot read none\.json: No such file"):
        zero_settings(config({"type": "deepspeed", "config": "none.json"}), "float32")


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="sharding: deepspeed needs the extra 'deepspeed'"):
        zero_settings(config({"type": "deepspeed", "config": "none.json"}), "float32")


@pytest.mark.parametrize(
    ("there", "said"),
    [
        ({"path": ["c++", "ninja"]}, None),
        ({"path": ["c++"], "beside": ["ninja"]}, None),
        ({"path": ["g++"]}, r"there is no ninja\."),
        ({"path": ["ninja"]}, r"there is no C\+\+ compiler\."),
    ],
)
def test_what_it_builds_with(
    there: dict[str, list[str]], said: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("path", "beside"):
        (tmp_path / folder).mkdir()
        for name in there.get(folder, []):
            (tmp_path / folder / name).touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "beside/python"))
    if said is None:
        find_builders()
        assert shutil.which("ninja")
        return
    with pytest.raises(UsageError, match=said):
        find_builders()


@pytest.mark.parametrize(
    ("sharding", "said"),
    [
        ("deepspeed", "sharding: DeepSpeed needs its own config file"),
        (
            {"type": "fsdp", "config": "zero.json"},
            "sharding.config: DeepSpeed's own file is for type: deepspeed",
        ),
        (
            {"type": "deepspeed", "config": "a", "cpu_offload": True},
            "sharding.cpu_offload: DeepSpeed's own file",
        ),
        ("zero", "fsdp or deepspeed"),
    ],
)
def test_the_section_is_checked_with_the_config(sharding: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        config(sharding)


def test_the_short_form_is_kept_when_the_file_is_set_beside_it(llmkit: Command, tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text(
        "task: causal-lm\nmodel: gpt2\ndata: {train: a.txt}\noutput: out\nsharding: deepspeed\n"
    )
    done = llmkit("config", "show", "run.yaml", "--set", "sharding.config=zero.json", cwd=tmp_path)
    assert done.code == 0, done.stderr
    assert "type: deepspeed" in done.text
