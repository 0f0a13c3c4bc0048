"""One call of ``llmkit cost``: what was asked, the figures, and the answer made of them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from llmkit.cli.answers import Answer, deliver
from llmkit.cli.channels import ResultStream, note
from llmkit.cli.collection import collection_paused
from llmkit.errors import UsageError

if TYPE_CHECKING:
    from llmkit.architectures.count import ModelCount
    from llmkit.costs.choice import Choice
    from llmkit.costs.estimate import Estimate
    from llmkit.costs.published import PublishedRun

_WAYS = "Name a model (llmkit cost gpt-3 --tokens 300B), a config (--finetune FILE), --table, or a --budget."


@dataclass(frozen=True, slots=True)
class Asked:
    """What the options of one call say, as they were typed."""

    model: str | None = None
    texts: Mapping[str, str | None] = field(default_factory=dict)
    gpu: str | None = None
    gpus: int | None = None
    grid: str | None = None
    recompute: str = "none"
    sequence_length: int | None = None
    batch_size: int = 1
    lora: str | None = None
    finetune: str | None = None
    settings: tuple[str, ...] = ()
    revision: str | None = None
    device: str = "auto"
    is_table: bool = False
    is_accelerators: bool = False

    @property
    def given(self) -> list[str]:
        """The options that were given, but for those that say which question is asked."""
        others = {
            "gpu": self.gpu, "gpus": self.gpus, "grid": self.grid, "lora": self.lora, "revision": self.revision,
            "recompute": None if self.recompute == "none" else self.recompute,
            "sequence-length": self.sequence_length,
            "batch-size": None if self.batch_size == 1 else self.batch_size,
            "device": None if self.device == "auto" else self.device,
            "set": self.settings or None,
        }  # fmt: skip
        return [f"--{name}" for name, value in {**self.texts, **others}.items() if value is not None]


def run_cost(
    asked: Asked, results: ResultStream, format_name: str | None, output: str | None, *, overwrite: bool
) -> None:
    """Work out what was asked for and write the answer.

    Raises:
        UsageError: options that do not go together, an amount without its unit, a model that cannot be counted.
        ModelError, HubError: a config that cannot be had.
        OutputError: the answer cannot be written.
    """
    deliver(_answer(asked), results, format_name, output, overwrite=overwrite)


def _answer(asked: Asked) -> Answer:
    questions = {
        "--table": asked.is_table,
        "--accelerators": asked.is_accelerators,
        "--finetune": asked.finetune is not None,
    }
    chosen = [name for name, is_asked in questions.items() if is_asked]
    if len(chosen) + (asked.model is not None) > 1:
        both = [*chosen, *([] if asked.model is None else [asked.model])]
        raise UsageError(f"{' and '.join(both)} are questions of their own: ask one of them.")
    if asked.is_table or asked.is_accelerators:
        if asked.given:
            raise UsageError(
                f"{chosen[0]} takes no {asked.given[0]}: its figures are as they were published."
            )
        return _table_answer() if asked.is_table else _accelerators_answer()
    if asked.finetune is not None:
        from llmkit.cli.cost_finetune import plan_of_config

        return _estimate_answer(lambda: plan_of_config(asked), None)
    return _model_answer(asked)


def _model_answer(asked: Asked) -> Answer:
    from llmkit.architectures.lora import parse
    from llmkit.costs.choice import read_choice

    if asked.device != "auto":
        raise UsageError("--device is for --finetune: a device of the table is named by --gpu.")
    choice = read_choice(
        asked.texts,
        gpu=asked.gpu,
        gpus=asked.gpus,
        grid=asked.grid,
        sequence_length=asked.sequence_length,
        batch_size=asked.batch_size,
        recompute=asked.recompute,
    )
    if asked.model is None:
        if choice.budget is None:
            raise UsageError("what is to be trained?", hint=_WAYS)
        idle = [
            name for name in ("--lora", "--set", "--revision", "--sequence-length") if name in asked.given
        ]
        if idle:
            raise UsageError(f"{idle[0]} is of a model: name one.", hint=_WAYS)
        return _estimate_answer(lambda: _estimate(None, choice), None)
    if choice.tokens is None and choice.budget is None:
        raise UsageError(
            f"on how many tokens is {asked.model} trained?",
            hint="Say it: --tokens 15T; or turn it round: --budget 5000usd.",
        )
    if asked.lora is not None:
        parse(asked.lora)
    return _of_model(asked, choice)


def _of_model(asked: Asked, choice: Choice) -> Answer:
    from llmkit.architectures.cache import key_of
    from llmkit.architectures.naming import name_model
    from llmkit.cli.parameters import parse_pairs
    from llmkit.hardware.accelerators import CPU

    settings = parse_pairs(asked.settings, "--set") if asked.settings else {}
    named = name_model(asked.model, revision=asked.revision)
    for text in named.notes:
        note(text)

    def make() -> Estimate:
        with collection_paused():
            from llmkit.architectures.count import count_named

            return _estimate(count_named(named, settings, None, asked.lora), choice)

    def key(look: str) -> str | None:
        if choice.gpu is not None and choice.gpu.strip().lower() == CPU:
            return None  # measured anew each time
        return key_of(kind="cost", look=look, named=asdict(named), asked=asdict(asked))

    return _estimate_answer(make, key)


def _estimate(count: ModelCount | None, choice: Choice) -> Estimate:
    from llmkit.costs.budget import within_budget
    from llmkit.costs.estimate import estimate

    if choice.budget is not None:
        return within_budget(count, choice)
    assert count is not None
    return estimate(count, choice)


def _estimate_answer(make: Callable[[], Estimate], key: Callable[[str], str | None] | None) -> Answer:
    """Return the answer of one estimate.

    Args:
        key: under which a written answer is kept; None to keep none.
    """
    from llmkit.cli import cost_sheets

    found = functools.cache(make)
    return Answer(
        sheets=lambda: [cost_sheets.estimate_sheet(found())],
        objects=lambda: [cost_sheets.estimate_object(found())],
        rows=lambda: cost_sheets.estimate_rows(found()),
        single=True,
        kept=_kept_under(key),
    )


def _kept_under(key: Callable[[str], str | None] | None) -> Callable[[str, Callable[[], str]], str]:
    """Return what gives an answer as it was written before in the same format, or writes it and keeps it."""

    def kept(look: str, write: Callable[[], str]) -> str:
        from llmkit.architectures.cache import keep, read_kept

        where = None if key is None else key(look)
        text = read_kept(where)
        if not isinstance(text, str):
            text = write()
            keep(where, text)
        return text

    return kept


def _table_answer() -> Answer:
    from llmkit.architectures.cache import key_of
    from llmkit.cli import cost_sheets

    @functools.cache
    def runs() -> Sequence[PublishedRun]:
        with collection_paused():
            from llmkit.costs.published import published_runs

            return published_runs()

    return Answer(
        sheets=lambda: [cost_sheets.published_sheet(runs())],
        objects=lambda: [run.to_json() for run in runs()],
        rows=lambda: cost_sheets.published_rows(runs()),
        kept=_kept_under(lambda look: key_of(kind="published runs", look=look)),
    )


def _accelerators_answer() -> Answer:
    from llmkit.cli import cost_sheets
    from llmkit.hardware.accelerators import accelerators

    rows = list(accelerators().values())
    return Answer(
        sheets=lambda: [cost_sheets.accelerators_sheet(rows)],
        objects=lambda: [row.to_json() for row in rows],
        rows=lambda: cost_sheets.accelerators_rows(rows),
    )
