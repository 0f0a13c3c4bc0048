"""What does not fit in a memory: smaller micro-batches and the same step, or one clear message."""

from __future__ import annotations

import ctypes
import json
import multiprocessing
import resource
import subprocess
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from llmkit.errors import LlmkitError
from llmkit.training.config import FinetuneConfig
from llmkit.training.fitting import free_memory, measure, same_random_numbers
from llmkit.training.keeping import resume_run, save
from llmkit.training.loop import Progress
from llmkit.training.preparing import prepare
from llmkit.training.state import Listener, Run
from tests.fixtures.command import base_environment
from tests.training.stepping import config_for, ready, write_rows

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits the address space")

Tiny = Callable[[str], Path]

WORDS = "the quick brown fox jumps over a lazy dog and wants to live in Berlin or Rome".split()  # noqa: SIM905
ROWS = [
    {"text": " ".join(WORDS[(number + place) % 16] for place in range(60 - number % 2)), "label": number % 2}
    for number in range(1400)
]
DROPOUT = {"config": {"hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1}}
TRAINING = {"batch_size": 700, "max_steps": 2, "learning_rate": 1e-3, "micro_batch_tokens": 1 << 30}
ROOM = 100
"""MiB: enough for the model many times over, and not for a step of 700 texts at once."""

_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8


class Notes(Listener):
    """Keeps the remarks."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def note(self, text: str) -> None:
        self.heard.append(text)


def child(tiny: Tiny, folder: Path, do: str, room: int | None, **order: Any) -> dict[str, Any]:
    """Return what came of a run in a process of its own, whose memory is limited.

    The limit is that of the address space, so that torch's own allocator refuses, as a full GPU's does.

    Args:
        do: `steps`, `measure` (and then steps), or `resume`.
        room: MiB beside what the process has when it is ready; None for no limit.
        order: `rows`, further settings of `training`, and the step after which to `save` and lift the limit.
    """
    config = config_for(
        "text-classification",
        tiny("text-classification"),
        folder,
        write_rows(folder / "train.jsonl", order.get("rows", ROWS)),
        training=TRAINING | order.get("training", {}),
        model=DROPOUT,
    )
    receiver, sender = multiprocessing.Pipe(duplex=False)
    # Not a fork of this process: what earlier tests have freed would be room beside the limit.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    process = context.Process(target=_send, args=(sender, config, do, room, order.get("save")))
    process.start()
    sender.close()
    found = receiver.recv()
    process.join()
    return found


def _send(sender: Connection, *order: Any) -> None:
    sender.send(_run(*order))


def _run(config: FinetuneConfig, do: str, room: int | None, save_after: int | None) -> dict[str, Any]:
    # Another arena of the allocator's would take 64 MiB of addresses, now and then.
    ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)
    notes = Notes()
    run = prepare(config, Path(config.output), device="cpu", listener=notes)
    if do == "resume":
        resume_run(run)
    if room is not None:
        limit_beside(run, room)
    found: dict[str, Any] = {"error": None, "micro_batches": [], "losses": [], "notes": notes.heard}
    try:
        if do == "measure":
            measure(run.loop)
        for result in run.loop.run():
            found["losses"].append(result.loss)
            found["micro_batches"].append([len(rows) for rows in result.step.micro_batches])
            if run.progress.step == save_after:
                save(run)
                _unlimit()
    except LlmkitError as error:
        found["error"] = (type(error).__name__, error.message, error.hint)
    _unlimit()
    weights = {name: tensor.numpy().tobytes() for name, tensor in run.model.state_dict().items()}
    limits = {"most_tokens": run.progress.most_tokens, "most_rows": run.progress.most_rows}
    return found | limits | {"weights": weights}


def limit_beside(run: Run, room: int) -> None:
    # What is freed goes back at once, as on a GPU, instead of staying in the heap, where no code can be made.
    ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, 1 << 17)
    _warm_up(run)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    size = pages * resource.getpagesize() + room * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (size, resource.RLIM_INFINITY))


def _unlimit() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def _warm_up(run: Run) -> None:
    """Let the libraries take what they need once: their code, their threads."""
    with same_random_numbers(run.accelerator.device) as restore:
        run.loop.objective.loss(run.loop.model, run.loop.batch([0, 1], 0)).backward()
        run.model.zero_grad()
        restore()
    free_memory(run.loop)


class TestOutOfMemory:
    @pytest.mark.slow
    def test_the_same_step_in_smaller_micro_batches(self, tiny: Tiny, tmp_path: Path) -> None:
        once = {"max_steps": 1}
        little = child(tiny, tmp_path, "steps", ROOM, training=once)
        assert little["error"] is None
        assert little["notes"][0].startswith(
            "out of memory in step 1: going on with micro-batches of at most"
        )
        assert len(little["micro_batches"][0]) > 1
        assert [sum(sizes) for sizes in little["micro_batches"]] == [700]
        # Dropout draws again what it drew before: as if the micro-batches had been as small from the beginning.
        enough = child(
            tiny, tmp_path, "steps", None, training=once | {"micro_batch_tokens": little["most_tokens"]}
        )
        assert enough["notes"] == []
        assert (enough["losses"], enough["weights"]) == (little["losses"], little["weights"])

    @pytest.mark.slow
    def test_a_resumed_run_cuts_the_same(self, tiny: Tiny, tmp_path: Path) -> None:
        first = child(tiny, tmp_path, "steps", ROOM, save=1)
        resumed = child(tiny, tmp_path, "resume", None)  # with memory enough
        assert resumed["micro_batches"] == first["micro_batches"][1:]
        assert resumed["weights"] == first["weights"]

    @pytest.mark.slow
    def test_rows_in_their_order(self, tiny: Tiny, tmp_path: Path) -> None:
        found = child(tiny, tmp_path, "steps", ROOM, training={"batching": "padded", "max_steps": 1})
        assert found["error"] is None
        assert found["most_rows"] < 700
        assert "rows; the step is the same" in found["notes"][-1]

    def test_one_example_that_does_not_fit(self, tiny: Tiny, tmp_path: Path) -> None:
        name, message, hint = child(tiny, tmp_path, "steps", 0, rows=ROWS[:40])["error"]
        assert name == "ModelError"
        assert "tokens does not fit in the memory" in message
        assert "train.jsonl:" in message
        assert "gradient_checkpointing" in hint


TWO = """
import json, os, sys
from pathlib import Path
from llmkit.training.config_file import check_config
from tests.training.test_fitting import Notes, limit_beside
from llmkit.training.preparing import prepare
config = check_config(json.loads(Path(sys.argv[1]).read_text()), "test.yaml")
notes = Notes()
run = prepare(config, Path(config.output), device="cpu", listener=notes)
if os.environ["RANK"] == "1":
    limit_beside(run, 100)
losses = [result.loss for result in run.loop.run()]
total = sum(float(tensor.double().sum()) for tensor in run.model.state_dict().values())
found = [losses, run.progress.most_tokens, notes.heard, total]
Path(f"{sys.argv[1]}.{os.environ['RANK']}").write_text(json.dumps(found))
"""


@pytest.mark.slow
def test_one_device_of_two_is_full(tiny: Tiny, tmp_path: Path) -> None:
    """Both cut the same, and go on together."""
    train = write_rows(tmp_path / "train.jsonl", ROWS)
    start = tiny("text-classification")
    training = TRAINING | {"batch_size": 1400, "max_steps": 2}
    config = config_for("text-classification", start, tmp_path, train, training=training, model=DROPOUT)
    order = tmp_path / "config.json"
    order.write_text(json.dumps(config.model_dump()))
    (tmp_path / "two.py").write_text(TWO)
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [sys.executable, *launch, str(tmp_path / "two.py"), str(order)],
        env=base_environment() | {"LLMKIT_CACHE": str(tmp_path / "cache"), "PYTHONPATH": str(Path.cwd())},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    first, second = (json.loads(Path(f"{order}.{rank}").read_text()) for rank in range(2))
    assert first == second
    assert first[1] < 700 * 66
    assert first[2] and all(note.startswith("out of memory in step") for note in first[2])


class TestMeasuring:
    @pytest.mark.slow
    def test_as_many_as_fit(self, tiny: Tiny, tmp_path: Path) -> None:
        once = {"max_steps": 1}
        found = child(tiny, tmp_path, "measure", ROOM, training=once)
        assert found["error"] is None
        # What was measured is not found to be too much by the steps after it, and is not far from what fits.
        assert len(found["notes"]) == 1 and "of the longest examples fit" in found["notes"][0]
        assert 66 <= found["most_tokens"] < 700 * 66
        half = child(tiny, tmp_path, "measure", ROOM // 2, training=once)
        assert half["most_tokens"] < found["most_tokens"]

    def test_nothing_is_learned_by_it(self, tiny: Tiny, tmp_path: Path) -> None:
        train = write_rows(tmp_path / "train.jsonl", ROWS[:200])
        settings = {"batch_size": 32, "max_steps": 2}
        losses = []
        for measured in (False, True):
            run = ready(
                config_for(
                    "text-classification",
                    tiny("text-classification"),
                    tmp_path,
                    train,
                    training=settings,
                    model=DROPOUT,
                )
            )
            if measured:
                measure(run.loop, most=16 * 66)
                assert run.progress.most_tokens == 14 * 66
            run.progress.most_tokens = 14 * 66
            losses.append([result.loss for result in run.loop.run()])
        assert losses[0] == losses[1]

    def test_nothing_fits(self, tiny: Tiny, tmp_path: Path) -> None:
        name, message, hint = child(tiny, tmp_path, "measure", 0, rows=ROWS[:40])["error"]
        assert name == "ModelError"
        assert "memory" in message or "room" in message
        assert "adapter" in hint


def test_an_older_checkpoint_says_nothing_of_limits() -> None:
    assert Progress(step=3, tokens=5).most_tokens is None
