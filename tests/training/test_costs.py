"""What a run costs: FLOPs as torch counts them, bytes as they are there, and a peak only where it is known."""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from llmkit.training.checking import check_run
from llmkit.training.costs import backward_passes, free_bytes, memory_of, step_flops
from llmkit.training.log import RunLog
from llmkit.training.state import LOG, Listener, Run
from tests.training.stepping import config_for, ready, write_rows

Tiny = Callable[[str], Path]
WORDS = "the quick brown fox jumps over a lazy dog and wants to live in Berlin or Rome".split()  # noqa: SIM905
ROWS = [
    {"text": " ".join(WORDS[(number + place) % 16] for place in range(24)), "label": number % 2}
    for number in range(16)
]
MODELS = {
    "text-classification": "text-classification",
    "masked-lm": "fill-mask",
    "causal-lm": "text-generation",
}


def run_on(tiny: Tiny, folder: Path, task: str = "text-classification", **sections: Any) -> Run:
    folder.mkdir(exist_ok=True, parents=True)
    train = write_rows(folder / "train.jsonl", ROWS)
    model = sections.pop("model", {"config": {}})
    return ready(config_for(task, tiny(MODELS[task]), folder, train, model=model, **sections))


class TestFlops:
    @pytest.mark.parametrize("task", MODELS)
    def test_as_torch_counts_them(self, tiny: Tiny, tmp_path: Path, task: str) -> None:
        """Texts of one length, so that nothing is padded; torch counts what is computed."""
        run = run_on(tiny, tmp_path, task, training={"micro_batch_size": 16, "batching": "padded"})
        batch = run.loop.batch(run.loop.steps.at(0).micro_batches[0], 0)
        assert batch.tokens >= 0.9 * batch.padded
        with FlopCounterMode(display=False) as counter:
            run.objective.loss(run.model, batch).backward()
        found = step_flops(run.model, run.data.train.lengths, head_at_targets=run.objective.head_at_targets)(
            [batch]
        )
        # torch's counter does not see the fused attention of a CPU; norms and the small layers of heads are left out.
        assert 0.9 < found / counter.get_total_flops() < 1.15

    def test_what_is_frozen_costs_less(self, tiny: Tiny, tmp_path: Path) -> None:
        whole = run_on(tiny, tmp_path / "whole")
        adapted = run_on(tiny, tmp_path / "adapted", adapter={"type": "lora", "r": 4})
        head = run_on(tiny, tmp_path / "head", training={"freeze": ["encoder"]})
        assert backward_passes(whole.model) == 3
        assert 2 < backward_passes(adapted.model) < 2.6
        assert 1 < backward_passes(head.model) < 1.2

    def test_the_log_has_the_share_of_a_known_peak(self, tiny: Tiny, tmp_path: Path) -> None:
        run = run_on(tiny, tmp_path, training={"max_steps": 2, "batch_size": 8, "logging_steps": 1})
        assert run.peak_flops is None  # a CPU has no peak that a table knows
        run.peak_flops = 1e12
        run.output.mkdir()
        log = RunLog(run.output / LOG, Listener(), every=1)
        log.begin(run)
        results = []
        for result in run.loop.run():
            results.append(result)
            log.step(result, run)
        lines = [json.loads(line) for line in (run.output / LOG).read_text().splitlines()]
        expected = [each.flops / each.seconds / 1e12 for each in results]
        assert [line["mfu"] for line in lines] == pytest.approx(expected)
        assert run.progress.flops == sum(each.flops for each in results) > 0

    def test_no_peak_no_share(self, tiny: Tiny, tmp_path: Path) -> None:
        assert run_on(tiny, tmp_path).utilization(1e12, 1.0) is None


class TestMemory:
    def test_weights_gradients_and_states_are_what_is_there(self, tiny: Tiny, tmp_path: Path) -> None:
        run = run_on(tiny, tmp_path, training={"max_steps": 1})
        found = memory_of(run, run.config)
        next(run.loop.run())
        states = [state for each in run.loop.optimizer.state.values() for state in each.values()]
        moments = sum(each.numel() * each.element_size() for each in states if each.ndim)
        tensors = [*run.model.parameters(), *run.model.buffers()]
        assert found["optimizer"] == moments
        assert found["gradients"] == sum(4 * each.numel() for each in run.model.parameters())
        assert found["weights"] == sum(each.numel() * each.element_size() for each in tensors)
        assert found["fits"] is True

    def test_activations_are_near_what_is_kept(self, tiny: Tiny, tmp_path: Path) -> None:
        run = run_on(tiny, tmp_path, training={"micro_batch_size": 16, "batching": "padded"})
        kept: dict[int, int] = {}
        batch = run.loop.batch(run.loop.steps.at(0).micro_batches[0], 0)
        weights = {each.untyped_storage().data_ptr() for each in run.model.parameters()}

        def keep(tensor: torch.Tensor) -> torch.Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in weights:
                kept[storage.data_ptr()] = storage.nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            run.objective.loss(run.model, batch)
        assert 0.5 < memory_of(run, run.config)["activations"] / sum(kept.values()) < 2

    def test_an_adapter_needs_less(self, tiny: Tiny, tmp_path: Path) -> None:
        whole, adapted = (
            memory_of(run, run.config)
            for run in (
                run_on(tiny, tmp_path / "whole"),
                run_on(tiny, tmp_path / "adapted", adapter={"type": "lora", "r": 4}),
            )
        )
        assert adapted["optimizer"] < whole["optimizer"] / 2
        assert adapted["gradients"] < whole["gradients"] / 2
        assert adapted["activations"] < whole["activations"]

    def test_smaller_micro_batches_and_checkpointing_keep_less(self, tiny: Tiny, tmp_path: Path) -> None:
        found = []
        ways = [{}, {"micro_batch_size": 2}, {"gradient_checkpointing": True}]
        for number, training in enumerate(ways):
            run = run_on(tiny, tmp_path / str(number), training=training)
            found.append(memory_of(run, run.config)["activations"])
        assert found[1] < found[0] / 4
        assert found[2] < found[0]

    @pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits the address space")
    def test_what_is_free_heeds_a_limit(self) -> None:
        cpu = torch.device("cpu")
        before = resource.getrlimit(resource.RLIMIT_AS)
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        try:
            limit = pages * resource.getpagesize() + 64 * 2**20
            resource.setrlimit(resource.RLIMIT_AS, (limit, before[1]))
            assert 0 < free_bytes(cpu) <= 64 * 2**20
        finally:
            resource.setrlimit(resource.RLIMIT_AS, before)
        assert free_bytes(cpu) > 64 * 2**20

    def test_check_shows_it(self, tiny: Tiny, tmp_path: Path) -> None:
        train = write_rows(tmp_path / "train.jsonl", ROWS)
        config = config_for("text-classification", tiny("text-classification"), tmp_path, train)
        memory = check_run(config, device="cpu", listener=Listener())["memory"]
        parts = (value for name, value in memory.items() if name not in ("total", "available", "fits"))
        assert memory["total"] == sum(parts) > 0
        assert memory["available"] > memory["total"] and memory["fits"]
