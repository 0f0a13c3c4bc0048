"""Taking up a checkpoint of a run that began otherwise: refused with what differs, or taken up anyway."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import transformers

from llmkit.errors import DataError, ModelError, UsageError
from llmkit.training.checking import check_run
from llmkit.training.config import FinetuneConfig
from llmkit.training.evaluating import evaluate_model
from llmkit.training.keeping import differences, identity_differences
from llmkit.training.run import finetune
from llmkit.training.state import Listener, Run
from llmkit.training.trained import Asked
from tests.fixtures.command import Command
from tests.training.stepping import config_for, write_rows

Tiny = Callable[[str], Path]
ROWS = [
    {"text": f"the film was {('good', 'bad')[n % 2]} {n}", "label": ("good", "bad")[n % 2]} for n in range(16)
]


class Notes(Listener):
    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, text: str) -> None:
        self.said.append(text)


def config(tiny: Tiny, folder: Path, rows: list[dict[str, Any]] = ROWS, **sections: Any) -> FinetuneConfig:
    train = write_rows(folder / "train.jsonl", rows)
    training = {"max_steps": 4, "save_steps": 2, "batch_size": 4} | sections.pop("training", {})
    start = sections.pop("start", None) or tiny("text-classification")
    return config_for("text-classification", start, folder, train, training=training, **sections)


def begun(tiny: Tiny, folder: Path, **sections: Any) -> None:
    """A run that was killed after its second step."""
    finetune(config(tiny, folder, **sections), device="cpu")
    shutil.rmtree(folder / "run/checkpoints/step-00000004")
    (folder / "run/metrics.json").unlink()


def resumed(changed: FinetuneConfig) -> tuple[Run, list[str]]:
    with pytest.raises(UsageError) as caught:
        finetune(changed, resume=True, device="cpu")
    assert "step-00000002 is of a run with another config, data or tokenizer:" in caught.value.message
    assert caught.value.hint is not None
    assert "--resume-anyway" in caught.value.hint
    listener = Notes()
    run = finetune(changed, resume_anyway=True, device="cpu", listener=listener)
    said = [line.removeprefix("  ") for line in caught.value.message.splitlines()[1:]]
    assert [f"resumed anyway: {line}." for line in said] == listener.said[: len(said)]
    assert "going on after step 2." in listener.said
    return run, said


def test_another_setting(tiny: Tiny, tmp_path: Path) -> None:
    begun(tiny, tmp_path)

    run, said = resumed(config(tiny, tmp_path, training={"learning_rate": 1e-3, "max_steps": 6}))

    assert said == ["training.learning_rate: 5e-05 before, 0.001 now", "training.max_steps: 4 before, 6 now"]
    assert run.progress.step == 6
    assert [step for step, _ in run.losses] == [1, 2, 3, 4, 5, 6]


def test_more_rows(tiny: Tiny, tmp_path: Path) -> None:
    begun(tiny, tmp_path)

    run, said = resumed(config(tiny, tmp_path, [*ROWS, {"text": "one more", "label": "good"}]))

    assert said == ["the training data: 16 examples before, 17 now"]
    assert run.progress.step == 4


def test_as_many_other_rows(tiny: Tiny, tmp_path: Path) -> None:
    begun(tiny, tmp_path)

    _, said = resumed(config(tiny, tmp_path, [*ROWS[:-1], {"text": "another", "label": "bad"}]))

    assert said == ["the training data: 16 examples as before, but their content is another"]


def test_another_tokenizer(tiny: Tiny, tmp_path: Path) -> None:
    start = tmp_path / "start"
    shutil.copytree(tiny("text-classification"), start)
    begun(tiny, tmp_path, start=start)
    tokenizer = transformers.AutoTokenizer.from_pretrained(start)
    before = len(tokenizer)
    tokenizer.add_tokens(["quokka"])
    tokenizer.save_pretrained(start)

    _, said = resumed(config(tiny, tmp_path, start=start))

    assert said == [f"the tokenizer: {before:,} tokens before, {before + 1:,} now"]


def test_a_text_that_was_cut_is_no_other_tokenizer(tiny: Tiny, tmp_path: Path) -> None:
    rows = [*ROWS, {"text": "and on and on " * 20, "label": "bad"}]
    begun(tiny, tmp_path, rows=rows, data={"max_length": 8})

    run = finetune(config(tiny, tmp_path, rows, data={"max_length": 8}), resume=True, device="cpu")

    assert run.progress.step == 4
    rules = json.loads((tmp_path / "run/tokenizer.json").read_text())
    assert rules["truncation"] is None


def test_data_that_change_while_the_run_goes_on_are_other_data(tiny: Tiny, tmp_path: Path) -> None:
    class Changing(Listener):
        def begin(self, run: Run) -> None:
            write_rows(tmp_path / "train.jsonl", [*ROWS, {"text": "one more", "label": "good"}])

    finetune(config(tiny, tmp_path), device="cpu", listener=Changing())
    with pytest.raises(UsageError, match="the training data: 16 examples before, 17 now"):
        finetune(
            config(tiny, tmp_path, [*ROWS, {"text": "one more", "label": "good"}]), resume=True, device="cpu"
        )


def test_the_weights_are_for_whom_the_other_files_are(tiny: Tiny, tmp_path: Path) -> None:
    finetune(config(tiny, tmp_path, training={"max_steps": 1}), device="cpu")

    modes = {(tmp_path / "run" / name).stat().st_mode for name in ("model.safetensors", "config.json")}
    assert len(modes) == 1


def test_the_best_is_sought_anew_where_other_data_judge(tiny: Tiny, tmp_path: Path) -> None:
    begun(tiny, tmp_path, data={"validation": 0.25})

    run, _ = resumed(config(tiny, tmp_path, data={"validation": 0.5}))

    assert run.progress.best_step == 4


def test_tensors_that_do_not_fit_are_one_error(tiny: Tiny, tmp_path: Path) -> None:
    begun(tiny, tmp_path)
    other = config(tiny, tmp_path, [*ROWS, {"text": "so", "label": "so-so"}])

    with pytest.raises(ModelError, match=r"classifier\.weight is \(2, \d+\), in the model \(3, \d+\)"):
        finetune(other, resume_anyway=True, device="cpu")
    with pytest.raises(ModelError, match="is not in it"):
        finetune(config(tiny, tmp_path, adapter={"r": 2}), resume_anyway=True, device="cpu")


def test_nothing_left_to_do(tiny: Tiny, tmp_path: Path) -> None:
    begun(tiny, tmp_path)

    run, _ = resumed(config(tiny, tmp_path, training={"max_steps": 2, "seed": 7}))

    assert run.progress.step == 2
    assert (tmp_path / "run/metrics.json").exists()


def test_an_adapter_that_is_kept_alone_is_the_same_model(tiny: Tiny, tmp_path: Path) -> None:
    sections = {"data": {"validation": 0.25}}
    alone = config(tiny, tmp_path, adapter={"r": 2, "merge": False}, **sections)
    finetune(alone, device="cpu")
    assert not (tmp_path / "run/model.safetensors").exists()
    found = evaluate_model(Asked(alone.output, data=alone.data.train), device="cpu")
    assert found.examples == len(ROWS)

    run = finetune(config(tiny, tmp_path, adapter={"r": 2}, **sections), resume_anyway=True, device="cpu")

    assert not (tmp_path / "run/adapter_config.json").exists()
    merged = evaluate_model(Asked(alone.output, data=alone.data.train), device="cpu")
    assert merged.metrics["accuracy"] == found.metrics["accuracy"]
    assert "eval_accuracy" in run.figures


def test_the_command(llmkit: Command, tiny: Tiny, tmp_path: Path) -> None:
    import yaml

    begun(tiny, tmp_path)
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(config(tiny, tmp_path).model_dump(mode="json")))
    call = ("finetune", tmp_path / "run.yaml", "--set", "training.seed=7")

    refused, done = llmkit(*call, "--resume"), llmkit(*call, "--resume-anyway")

    assert refused.code == 2
    assert "training.seed: 42 before, 7 now" in refused.stderr
    assert done.code == 0, done.stderr
    assert "resumed anyway: training.seed: 42 before, 7 now." in done.stderr


def test_the_optimizer_gets_back_what_is_its_own(tiny: Tiny, tmp_path: Path) -> None:
    begun(tiny, tmp_path, training={"ema": 0.9})

    run = finetune(config(tiny, tmp_path, training={"ema": 0.9}), resume=True, device="cpu")

    assert run.progress.step == 4
    for state in run.loop.optimizer.state.values():
        assert set(state) == {"step", "exp_avg", "exp_avg_sq"}


def test_weights_of_the_other_form_go_with_the_run_that_is_replaced(tiny: Tiny, tmp_path: Path) -> None:
    pytest.importorskip("peft")
    alone = {"adapter": {"r": 2, "merge": False}}
    for number, sections in enumerate((alone, {}, alone)):
        finetune(
            config(tiny, tmp_path, training={"max_steps": 1}, **sections), overwrite=number > 0, device="cpu"
        )
        names = {path.name for path in (tmp_path / "run").iterdir()}
        whole, adapter = {"model.safetensors"}, {"adapter_model.safetensors", "adapter_config.json"}
        assert names & (whole | adapter) == (adapter if sections else whole)


def test_a_run_that_is_no_longer_getting_better_takes_no_step_more(tiny: Tiny, tmp_path: Path) -> None:
    """As after a disk that was full when it was to write what it came to."""
    settings = {"max_steps": 40, "eval_steps": 1, "save_steps": 1, "learning_rate": 1e-9, "early_stopping": 2}
    stuck = config(tiny, tmp_path, data={"validation": 0.25}, training=settings)
    stopped = finetune(stuck, device="cpu").progress.step
    (tmp_path / "run/metrics.json").unlink()

    assert finetune(stuck, resume=True, device="cpu").progress.step == stopped < 40
    assert (tmp_path / "run/metrics.json").exists()


def test_a_metric_that_does_not_fit_the_test_set_is_refused_before_the_first_step(
    tiny: Tiny, tmp_path: Path
) -> None:
    three = [{"text": f"film {n}", "label": "abc"[n % 3]} for n in range(9)]
    test = write_rows(tmp_path / "test.jsonl", three[:2])  # two of the classes alone

    with pytest.raises(UsageError, match="the metric f1 does not fit text-classification"):
        finetune(config(tiny, tmp_path, three, data={"test": test}, metrics=["f1"]), device="cpu")

    assert not (tmp_path / "run" / "run.json").exists()


def test_what_differs_is_said_as_a_config_has_it() -> None:
    before = {"training": {"seed": None, "freeze": ["a"], "ema": True}, "model": "m"}
    now = {"training": {"seed": 7, "freeze": ["é"], "ema": False}, "model": "m"}
    assert list(differences(before, now)) == [
        "training.ema: true before, false now",
        'training.freeze: ["a"] before, ["é"] now',
        "training.seed: null before, 7 now",
    ]


def test_the_best_that_was_replaced_after_the_checkpoint_is_sought_anew(tiny: Tiny, tmp_path: Path) -> None:
    held = {"data": {"validation": 0.25}, "training": {"eval_steps": 1, "save_steps": 2, "max_steps": 4}}
    begun(tiny, tmp_path, **held)
    best = tmp_path / "run/checkpoints/best.safetensors"
    tensors = safetensors.torch.load_file(best)
    safetensors.torch.save_file(
        tensors, best, {"step": "3"}
    )  # of what went on after the checkpoint of step 2
    changed = held | {"training": held["training"] | {"learning_rate": 1e-9}}

    run, _ = resumed(config(tiny, tmp_path, **changed))

    assert run.progress.best_step > 2
    assert safetensors.safe_open(best, "pt").metadata()["step"] == str(run.progress.best_step)


def test_the_card_of_a_merged_adapter_tells_what_was_trained(tiny: Tiny, tmp_path: Path) -> None:
    adapted = config(tiny, tmp_path, adapter={"type": "lora", "r": 2})
    found = check_run(adapted, device="cpu", listener=Notes())["trained_parameters"]

    finetune(adapted, device="cpu")

    assert found > 0
    assert f"| parameters trained | {found:,} |" in (tmp_path / "run/README.md").read_text()


def test_what_is_replaced_goes_when_the_new_run_can_begin(tiny: Tiny, tmp_path: Path) -> None:
    finetune(config(tiny, tmp_path), device="cpu")
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    wrong = config(tiny, tmp_path, [{"text": "a text", "label": "good"}, {"text": "", "label": None}])

    with pytest.raises(DataError):
        finetune(wrong, overwrite=True, device="cpu")

    after = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    assert after == before


def test_keys_that_an_older_release_did_not_have_are_as_usual() -> None:
    now = FinetuneConfig.model_validate(
        {"task": "preference", "model": "m", "data": {"train": ["a"]}, "output": "o"}
    )
    whole = now.model_dump(mode="json", exclude={"output", "devices"})
    older = {**whole, "training": {key: each for key, each in whole["training"].items() if key != "beta"}}
    before = {"train": "x", "rows": 1, "config": older}
    assert list(identity_differences(before, before | {"config": whole, "tokenizer": {}, "files": ""})) == []
