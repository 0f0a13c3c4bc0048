"""What a setting of the config does in a whole run, from its first step to what it writes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from llmkit.errors import UsageError
from llmkit.training import run as run_module
from llmkit.training.keeping import resume_run, save
from llmkit.training.loop import NotFiniteError, StepResult
from llmkit.training.run import figures_of, finetune
from llmkit.training.state import Listener, Run
from tests.training.stepping import assert_same_step, config_for, first_step, ready, write_rows

Tiny = Callable[[str], Path]
Weights = dict[str, torch.Tensor]
ROWS = [
    {"text": f"{'the film was ' * (n % 4)}{('a delight', 'cold')[n % 2]}", "label": ("good", "bad")[n % 2]}
    for n in range(16)
]


def config(tiny: Tiny, folder: Path, *, data: dict[str, Any] | None = None, **training: Any) -> Any:
    train = write_rows(folder / "train.jsonl", ROWS)
    settings = {"batch_size": 4, "max_steps": 6, "eval_steps": 1, "learning_rate": 1e-3, **training}
    start = tiny("text-classification")
    return config_for("text-classification", start, folder, train, training=settings, data=data or {})


def weights(run: Run) -> Weights:
    return {name: each.detach().clone() for name, each in run.model.named_parameters()}


def written(folder: Path) -> Weights:
    return load_file(folder / "run" / "model.safetensors")


class Watching(Listener):
    """Keeps the weights after each step."""

    def __init__(self) -> None:
        self.weights: list[Weights] = []

    def step(self, result: StepResult, run: Run) -> None:
        self.weights.append(weights(run))


class TestTheAverage:
    def test_it_is_what_is_judged_and_kept(self, tiny: Tiny, tmp_path: Path) -> None:
        settings = config(tiny, tmp_path, data={"test": str(tmp_path / "train.jsonl")}, ema=0.9)
        average, watching = weights(ready(settings)), Watching()

        run = finetune(settings, device="cpu", listener=watching)

        for step, after in enumerate(watching.weights, 1):
            decay = min(0.9, (1 + step) / (10 + step))
            average = {name: decay * each + (1 - decay) * after[name] for name, each in average.items()}
        found = written(tmp_path)
        for name, expected in average.items():
            torch.testing.assert_close(found[name], expected, atol=1e-6, rtol=1e-5)
        assert max(float((found[name] - watching.weights[-1][name]).abs().max()) for name in found) > 1e-4
        assert run.data.test is not None
        assert figures_of(run, run.data.test, "test") == run.figures

    def test_it_goes_on_where_it_was(self, tiny: Tiny, tmp_path: Path) -> None:
        settings = config(tiny, tmp_path, ema=0.9, save_steps=2)
        finetune(settings, device="cpu")
        whole = written(tmp_path)
        run = ready(settings)
        steps = run.loop.run()
        for _ in range(3):
            next(steps)
        save(run)

        resumed = ready(settings)
        resume_run(resumed)
        list(resumed.loop.run())

        assert resumed.loop.average is not None
        resumed.loop.average.keep()
        assert all(torch.equal(each, whole[name]) for name, each in weights(resumed).items())


class TestTheBest:
    """The figures are told here, so that it is known which is the best."""

    @pytest.fixture
    def judged(self, monkeypatch: pytest.MonkeyPatch) -> Callable[[list[float]], None]:
        def judge_as(values: list[float]) -> None:
            told: Iterator[float] = iter([0.0, *values])  # the first is for the rehearsal
            monkeypatch.setattr(run_module, "figures_of", lambda *_: {"eval_accuracy": next(told)})

        return judge_as

    @pytest.mark.parametrize(
        ("values", "steps", "best"),
        [
            ([0.5, 0.6, 0.6, 0.55], 4, 3),  # as good as before is no better
            ([0.5, 0.4, 0.6, 0.4, 0.3], 5, 3),
            ([0.1, 0.2, 0.3, 0.4, 0.5, 0.6], 6, 6),
        ],
    )
    def test_it_stops_after_two_that_are_no_better_and_keeps_the_best(
        self,
        tiny: Tiny,
        tmp_path: Path,
        judged: Callable[[list[float]], None],
        values: list[float],
        steps: int,
        best: int,
    ) -> None:
        settings = config(tiny, tmp_path, data={"validation": 0.25}, early_stopping=2)
        judged([*values, 0.0])  # one more, of the model that is kept
        watching = Watching()

        run = finetune(settings, device="cpu", listener=watching)

        assert (run.progress.step, run.progress.best_step) == (steps, best)
        found = written(tmp_path)
        assert all(torch.equal(found[name], each) for name, each in watching.weights[best - 1].items())


def test_the_rate_that_is_told_is_that_of_the_head(tiny: Tiny, tmp_path: Path) -> None:
    run = ready(config(tiny, tmp_path, layer_decay=0.5, schedule="constant", warmup_steps=0))

    assert next(run.loop.run()).learning_rate == 1e-3


def test_noise_is_in_the_training_and_not_in_the_evaluation(tiny: Tiny, tmp_path: Path) -> None:
    plain, noisy = ready(config(tiny, tmp_path)), ready(config(tiny, tmp_path, neftune_alpha=5.0))

    figures = [figures_of(run, run.data.train, "eval") for run in (plain, noisy)]
    assert figures[0] == figures[1]
    assert abs(first_step(plain)[0] - first_step(noisy)[0]) > 1e-4


def test_compiled_it_takes_the_same_step(tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a compiler of the test's own, which runs the graphs that it is given as they are."""
    graphs = []

    def compiler(graph: torch.fx.GraphModule, inputs: list[Any]) -> Callable[..., Any]:
        graphs.append(graph)
        return graph.forward

    own = torch.nn.Module.compile
    monkeypatch.setattr(torch.nn.Module, "compile", lambda module: own(module, backend=compiler))
    plain = first_step(ready(config(tiny, tmp_path)))

    compiled = first_step(ready(config(tiny, tmp_path, compile=True)))

    assert graphs
    assert_same_step(compiled, plain)


def test_without_a_compiler_it_is_said_before_the_first_step(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", str(tmp_path / "none"))
    with pytest.raises(UsageError, match=r"training\.compile: .*no C\+\+ compiler") as caught:
        ready(config(tiny, tmp_path, compile=True))
    assert caught.value.hint is not None
    assert "CXX" in caught.value.hint


class TestFloat16:
    def test_a_cpu_does_not_train_in_it(self, tiny: Tiny, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match=r"training\.precision: float16: cpu does not train in it"):
            ready(config(tiny, tmp_path, precision="fp16"))

    @pytest.fixture
    def scaled(self, tiny: Tiny, tmp_path: Path) -> Callable[..., Run]:
        """A run whose loss is scaled as on a GPU; computed in float32."""

        def make(scale: float = 1024.0) -> Run:
            run = ready(config(tiny, tmp_path))
            accelerator, optimizer = run.accelerator, run.loop.optimizer.optimizer
            accelerator.native_amp, accelerator.state._mixed_precision = True, "fp16"
            accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=scale, growth_interval=2)
            accelerator._optimizers.clear()
            run.loop.optimizer = accelerator.prepare_optimizer(optimizer)
            return run

        return make

    def test_the_weights_do_not_feel_the_scale(
        self, tiny: Tiny, tmp_path: Path, scaled: Callable[..., Run]
    ) -> None:
        plain = list(ready(config(tiny, tmp_path)).loop.run())
        run = scaled()
        for found, expected in zip(run.loop.run(), plain, strict=True):
            assert found.loss == pytest.approx(expected.loss, rel=1e-4)
            assert found.gradient_norm == pytest.approx(expected.gradient_norm, rel=1e-4)
        assert run.accelerator.scaler.get_scale() > 1024

    def test_the_scale_goes_through_a_checkpoint(self, scaled: Callable[..., Run]) -> None:
        straight = scaled()
        list(straight.loop.run())
        broken = scaled()
        steps = broken.loop.run()
        for _ in range(3):
            next(steps)
        save(broken)
        resumed = scaled()
        resume_run(resumed)
        assert resumed.accelerator.scaler.state_dict() == broken.accelerator.scaler.state_dict()
        list(resumed.loop.run())
        assert all(torch.equal(each, weights(straight)[name]) for name, each in weights(resumed).items())

    def test_too_large_a_gradient_halves_the_scale_until_there_is_none(
        self, scaled: Callable[..., Run]
    ) -> None:
        run = scaled(4.0)
        run.model.classifier.bias.register_hook(lambda gradient: gradient * torch.inf)
        before, steps = weights(run), run.loop.run()
        for left in (2.0, 1.0):
            next(steps)
            assert run.accelerator.scaler.get_scale() == left
        with pytest.raises(NotFiniteError, match="step 3: the gradient is not a finite number"):
            next(steps)
        assert all(torch.equal(each, before[name]) for name, each in weights(run).items())

    def test_a_loss_that_is_not_finite_stops_it_all_the_same(self, scaled: Callable[..., Run]) -> None:
        run = scaled()
        with torch.no_grad():
            run.model.classifier.bias.fill_(float("nan"))
        with pytest.raises(NotFiniteError, match="step 1: the loss is not a finite number"):
            next(run.loop.run())
