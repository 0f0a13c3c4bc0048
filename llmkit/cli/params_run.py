"""One call of ``llmkit params``: the counts, their costs, and the answer made of them."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.architectures.cache import keep, key_of, read_kept
from llmkit.architectures.cost_choice import CostChoice, check_choice
from llmkit.architectures.heads import check_head
from llmkit.architectures.naming import STANDARD_INPUT, name_model
from llmkit.cli.answers import Answer, deliver, put, write_to
from llmkit.cli.channels import ResultStream, note
from llmkit.cli.collection import collection_paused
from llmkit.cli.destination import refuse_to_replace
from llmkit.errors import UsageError
from llmkit.wanted import at_least

if TYPE_CHECKING:
    from llmkit.architectures.checkpoint import Report
    from llmkit.architectures.count import ModelCount
    from llmkit.architectures.naming import Named
    from llmkit.architectures.report import Costs
    from llmkit.cli.sheets import Sheet


@dataclass(frozen=True, slots=True)
class Asked:
    """What the options of one call say, as they were typed."""

    models: tuple[str, ...]
    model_types: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    head: str | None = None
    revision: str | None = None
    lora: str | None = None
    fits: str | None = None
    batch_size: int = 1
    sequence_length: int | None = None
    context: int | None = None
    checkpoint: bool = False
    checkpoint_file: str | None = None
    is_total: bool = False
    is_tree: bool = False
    depth: int | None = None
    is_formula: bool = False

    @property
    def is_single(self) -> bool:
        """Whether the call is about one model."""
        return len(self.models) + len(self.model_types) == 1


@dataclass(frozen=True, slots=True)
class Found:
    """A model's count with what was asked about it."""

    count: ModelCount
    costs: Costs
    report: Report | None = None


def run_params(
    asked: Asked, results: ResultStream, format_name: str | None, output: str | None, *, overwrite: bool
) -> None:
    """Count what was asked for and write the answer.

    Raises:
        UsageError: options that do not go together, values out of range, a model that cannot be counted.
        ModelError, HubError: a config or a checkpoint that cannot be had.
        OutputError: the answer cannot be written.
    """
    choice = _checked(asked)
    given = [os.path.expanduser(each) for each in asked.models]  # noqa: PTH111 - as the config is looked for
    refuse_to_replace(output, [f"{each}/config.json" if os.path.isdir(each) else each for each in given])  # noqa: PTH112
    _check_shown(asked, format_name)
    call = _Call(asked, choice)
    for named in call.named:
        for text in named.notes:
            note(text)
    if asked.is_total and format_name is None:
        numbers = "".join(f"{count.total}\n" for count in call.counts).encode()
        if output is None:
            put(numbers, results)
        else:
            write_to(Path(output), numbers, overwrite=overwrite)
        return
    answer = call.totals() if asked.is_total else call.answer()
    deliver(answer, results, format_name, output, overwrite=overwrite)


class _Call:
    """One call whose parts are made when they are needed: a kept answer needs no count."""

    def __init__(self, asked: Asked, choice: CostChoice) -> None:
        self.asked = asked
        self.choice = choice
        self.settings: Mapping[str, Any] = {}
        if asked.settings:
            from llmkit.cli.parameters import parse_pairs

            self.settings = parse_pairs(asked.settings, "--set")
        self.named = [name_model(model, revision=asked.revision) for model in asked.models]
        revision = None if asked.models else asked.revision
        self.named += [
            name_model(None, model_type=model_type, revision=revision) for model_type in asked.model_types
        ]

    @functools.cached_property
    def counts(self) -> list[ModelCount]:
        with collection_paused():
            return [self._count(named) for named in self.named]

    def _count(self, named: Named) -> ModelCount:
        from llmkit.architectures.count import count_named

        try:
            return count_named(named, self.settings, self.asked.head, self.asked.lora)
        except UsageError as error:
            # Which config it is, where that is not plain: of a file, or of several.
            is_plain = self.asked.is_single and named.origin in ("catalogue", "type")
            if not is_plain and not error.message.startswith(named.where):
                raise UsageError(f"{named.where}: {error.message}", hint=error.hint) from error
            raise

    @functools.cached_property
    def found(self) -> list[Found]:
        from llmkit.architectures.report import costs_of

        return [
            Found(count, costs_of(count, self.choice), _report(self.asked, count)) for count in self.counts
        ]

    def answer(self) -> Answer:
        """Return the answer; its parts are made when a format asks for them."""
        return Answer(
            sheets=lambda: list(_sheets(self.asked, self.found)),
            objects=lambda: [_object(each) for each in self.found],
            rows=lambda: [row for each in self.found for row in _rows(self.asked, each)],
            single=self.asked.is_single,
            kept=self._kept,
        )

    def totals(self) -> Answer:
        """Return the numbers alone as an answer, a row a model."""

        def rows() -> list[dict[str, Any]]:
            return [{"model": count.label, "total": count.total} for count in self.counts]

        def sheets() -> list[Sheet]:
            from llmkit.cli.params_views import totals_sheet

            return [totals_sheet(self.counts)]

        return Answer(sheets, rows, rows, single=self.asked.is_single)

    def _kept(self, look: str, make: Callable[[], str]) -> str:
        """Return the answer as it was written before in the same format, or write it and keep it.

        What a checkpoint holds may change, and is read each time.
        """
        named = [asdict(each) for each in self.named]
        key = None if self.asked.checkpoint else key_of(look=look, named=named, asked=asdict(self.asked))
        text = read_kept(key)
        if not isinstance(text, str):
            text = make()
            keep(key, text)
        return text


def _checked(asked: Asked) -> CostChoice:
    """Check what can be checked before anything is counted."""
    at_least(1, asked.depth, "--depth")
    if asked.models.count(STANDARD_INPUT) > 1:
        raise UsageError("standard input is one config, and '-' is there twice.")
    if asked.is_tree and asked.is_formula:
        raise UsageError("--tree and --formula are two tables: ask for one of them.")
    if asked.checkpoint_file is not None and not asked.checkpoint_file.strip():
        raise UsageError("--checkpoint-file is empty: it is a file, a folder or a hub id.")
    if asked.checkpoint_file is not None and not asked.is_single:
        raise UsageError("--checkpoint-file is held against one model: name one.")
    if asked.head is not None:
        check_head(asked.head)
    if asked.lora is not None:
        from llmkit.architectures.lora import parse

        parse(asked.lora)
    size: int | None = None
    if asked.fits is not None:
        from llmkit.architectures.fitting import parse_size

        size = parse_size(asked.fits)
    choice = CostChoice(asked.batch_size, asked.sequence_length, asked.context, size)
    check_choice(choice)
    return choice


def _check_shown(asked: Asked, format_name: str | None) -> None:
    """Check that what was asked for is in the answer: a number alone and a row a component have no room for all."""
    where = (
        "--total" if asked.is_total else f"--format {format_name}" if format_name in ("csv", "tsv") else ""
    )
    given = {
        "--tree" if asked.depth is None else "--depth": asked.is_tree and asked.is_total,
        "--formula": asked.is_formula and asked.is_total,
        "--fits": asked.fits is not None,
        "--checkpoint-file" if asked.checkpoint_file else "--checkpoint": asked.checkpoint,
        "--lora": asked.lora is not None and not asked.is_total,  # a total has the adapters in it
        "--batch-size": asked.batch_size != 1,
        "--sequence-length": asked.sequence_length is not None,
        "--context": asked.context is not None,
    }
    lost = [name for name, is_given in given.items() if is_given]
    if where and lost:
        raise UsageError(
            f"{where} does not show what {' and '.join(lost)} {'asks' if len(lost) == 1 else 'ask'} for.",
            hint="--format table, jsonl, json, markdown and latex do.",
        )


def _report(asked: Asked, count: ModelCount) -> Report | None:
    if not asked.checkpoint:
        return None
    from llmkit.architectures.checkpoint import check_checkpoint

    location = asked.checkpoint_file or count.named.location
    if not location:
        raise UsageError(
            f"--checkpoint: nobody says where weights of {count.label} are.",
            hint="Name them: --checkpoint-file PATH.",
        )
    return check_checkpoint(count.counted, location, None if asked.checkpoint_file else count.named.revision)


def _sheets(asked: Asked, found: Sequence[Found]) -> Iterator[Sheet]:
    from llmkit.cli import cost_views, params_views

    if len(found) > 1 and not (asked.is_tree or asked.is_formula):
        yield params_views.comparison_sheet([each.count for each in found])
        yield cost_views.costs_comparison_sheet([(each.count, each.costs) for each in found])
    for each in found:
        yield from _sheets_of(asked, each, is_single=len(found) == 1)


def _sheets_of(asked: Asked, each: Found, *, is_single: bool) -> Iterator[Sheet]:
    from llmkit.cli import cost_views, params_views

    if asked.is_tree:
        yield params_views.tree_sheet(each.count, asked.depth)
    elif asked.is_formula:
        yield params_views.tensors_sheet(each.count)
    elif is_single:
        yield params_views.count_sheet(each.count)
    if each.count.lora is not None:
        yield cost_views.lora_sheet(each.count)
    if each.report is not None:
        yield cost_views.checkpoint_sheet(each.count, each.report)
    if asked.fits is not None:
        yield cost_views.fits_sheet(each.count, each.costs)
    elif is_single and not (asked.is_tree or asked.is_formula or asked.checkpoint):
        yield cost_views.costs_sheet(each.count, each.costs)


def _object(each: Found) -> dict[str, Any]:
    from llmkit.architectures.report import checkpoint_as_json, costs_as_json

    report = {"checkpoint": checkpoint_as_json(each.report)} if each.report else {}
    return {**each.count.to_json(), **costs_as_json(each.costs), **report}


def _rows(asked: Asked, each: Found) -> Iterator[dict[str, Any]]:
    from llmkit.architectures.report import branches, tensor_as_json

    name = {"model": each.count.label}
    if asked.is_tree:
        yield from ({**name, **row} for row in branches(each.count.counted, asked.depth))
    elif asked.is_formula:
        yield from ({**name, **tensor_as_json(tensor)} for tensor in each.count.counted.tensors)
    else:
        yield from ({**name, **asdict(row)} for row in each.count.rows)


def _check_listed(asked: Asked) -> None:
    """Check that nothing is asked of a list that only a model has."""
    names = {"settings": "set", "model_types": "type"}
    plain = Asked(asked.models)
    given = [
        "--" + names.get(field.name, field.name).removeprefix("is_").replace("_", "-")
        for field in fields(Asked)
        if getattr(asked, field.name) != getattr(plain, field.name)
    ]
    if given:
        raise UsageError(
            f"--list shows the catalogue: {' and '.join(given)} {'is' if len(given) == 1 else 'are'} for a model.",
            hint="Words after --list narrow it: `llmkit params --list mixtral`.",
        )


def list_catalogue(
    asked: Asked,
    results: ResultStream,
    format_name: str | None,
    output: str | None,
    *,
    overwrite: bool,
) -> None:
    """Write the catalogue, or the entries that have all of the words in their names, paper or year.

    Raises:
        UsageError: no entry has them, and the message has the nearest names; or an option is not for a list.
    """
    from llmkit.architectures import catalogue

    _check_listed(asked)
    wanted = " ".join(asked.models)
    entries = catalogue.matching(wanted)
    if not entries:
        near = ", ".join(catalogue.nearest(wanted))
        raise UsageError(
            f"the catalogue has nothing with '{wanted}'.",
            hint=f"It has {near}." if near else "`llmkit params --list` shows all of it.",
        )

    def sheets() -> list[Sheet]:
        from llmkit.cli.params_views import list_sheet

        return [list_sheet(entries, wanted)]

    def rows() -> list[dict[str, Any]]:
        from llmkit.architectures.report import entry_as_json

        return [entry_as_json(entry) for entry in entries]

    deliver(Answer(sheets, rows, rows), results, format_name, output, overwrite=overwrite)
