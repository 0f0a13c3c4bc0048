"""Running one call of ``llmkit attention``: the text, the model, and where its weights go."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.cli.answers import Answer, deliver, write_to
from llmkit.cli.attention_formats import ARRAY
from llmkit.cli.channels import ResultStream, note
from llmkit.cli.loading import quiet_libraries
from llmkit.errors import UsageError

if TYPE_CHECKING:
    from llmkit.insight.attention import AttentionWeights, Reading
    from llmkit.insight.prepared import PreparedText
    from llmkit.models.loading import LoadOptions
    from llmkit.models.resolved import ResolvedModel

_TASK = "attention"


@dataclass(frozen=True, slots=True)
class AttentionCall:
    """What is looked at, and what is made of it.

    Attributes:
        layer, head: as named; None for what the format shows by default.
        which: encoder, decoder, cross; None for all that there are.
        explain: the token whose calculation is shown.
        plot, html: files.
    """

    text: str
    pair: str | None
    model: str | None
    revision: str | None
    load: LoadOptions
    layer: str | None
    head: str | None
    which: str | None
    explain: str | None
    plot: str | None
    html: str | None


@dataclass(frozen=True, slots=True)
class _Opened:
    """A model with the text that it is to read."""

    model: Any
    tokenizer: Any
    prepared: PreparedText
    name: str


@dataclass(frozen=True, slots=True)
class _Place:
    """Where results go: standard output or a file, in which format."""

    results: ResultStream
    format_name: str | None
    output: str | None
    overwrite: bool

    def deliver(self, answer: Answer) -> None:
        """Write an answer there."""
        deliver(answer, self.results, self.format_name, self.output, overwrite=self.overwrite)


def run_attention(
    call: AttentionCall,
    results: ResultStream,
    format_name: str | None,
    output: str | None,
    *,
    overwrite: bool,
) -> None:
    """Run a call whose options have been checked.

    Raises:
        LlmkitError: it cannot be done; see `check_texts`, `prepare_text`, `read_text` and `explain`.
    """
    from llmkit.cli.destination import refuse_one_place
    from llmkit.data.sinks import refuse_existing
    from llmkit.insight.prepared import check_texts

    files = {"--output": output, "--plot": call.plot, "--html": call.html}
    refuse_one_place(files)
    for path in filter(None, files.values()):
        refuse_existing(Path(path), overwrite=overwrite)
    text = _read_stdin() if call.text == "-" else call.text
    check_texts(text, call.pair)
    resolved = _find(call)
    with quiet_libraries():
        tokenizer, prepared = _prepared(call, resolved, text)
        from llmkit.insight.attention import load_eager_model

        model = load_eager_model(resolved, call.load)
    opened = _Opened(model, tokenizer, prepared, resolved.name)
    run = _show if call.explain is None else _explain
    run(call, opened, _Place(results, format_name, output, overwrite))


def _find(call: AttentionCall) -> ResolvedModel:
    from llmkit.embeddings.api import DEFAULT_MODEL
    from llmkit.models.resolving import ENCODER, resolve_model

    resolved = resolve_model(
        call.model,
        revision=call.revision,
        default=DEFAULT_MODEL,
        stand_in=ENCODER,
        task=_TASK,
        allow_pickle=call.load.allow_pickle,
    )
    if resolved.note:
        note(resolved.note)
    return resolved


def _read_stdin() -> str:
    from llmkit.data.lines import read_beginning
    from llmkit.data.sources import STDIN
    from llmkit.insight.prepared import MOST_CHARACTERS

    if sys.stdin is None:
        raise UsageError("there is no text: standard input is closed.")
    # One more than is taken, so that a longer text is refused by the length that is known.
    return read_beginning(sys.stdin.buffer, STDIN, 4 * (MOST_CHARACTERS + 1)).removesuffix("\n")


def _prepared(call: AttentionCall, resolved: ResolvedModel, text: str) -> tuple[Any, PreparedText]:
    from llmkit.insight.prepared import prepare_text
    from llmkit.models.loading import load_config
    from llmkit.models.tokenizing import load_tokenizer

    config = load_config(resolved, call.load, _TASK)
    tokenizer = load_tokenizer(resolved, _TASK)
    return tokenizer, prepare_text(tokenizer, config, resolved.name, text, call.pair)


def _show(call: AttentionCall, opened: _Opened, place: _Place) -> None:
    from llmkit.insight.attention import read_text

    reading = read_text(opened.model, opened.tokenizer, opened.prepared, opened.name)
    # Every file is made before the first is written: a call that fails leaves nothing.
    made: list[tuple[str, bytes]] = []
    if call.plot:
        made.append((call.plot, _picture(call, reading, Path(call.plot))))
    if call.html:
        made.append((call.html, _page(call, reading)))
    if place.format_name == ARRAY and place.output is not None:
        made.append((place.output, _array(call, reading)))
    for path, content in made:
        write_to(Path(path), content, overwrite=place.overwrite)
        note(f"wrote {path}")
    # A page or a picture is what was asked for: the weights themselves only where the call says so, too.
    is_asked_for = not made or place.format_name is not None or place.output is not None
    if place.format_name != ARRAY and is_asked_for:
        place.deliver(_answer(call, reading))


def _answer(call: AttentionCall, reading: Reading) -> Answer:
    from llmkit.cli.attention_drawing import drawn_reading
    from llmkit.cli.attention_views import reading_object, weight_rows, weight_sheets
    from llmkit.insight.attention import LAST, MEAN

    # For a person one matrix a kind, for a program everything.
    shown = _selected(call, reading, LAST, MEAN)
    everything = _selected(call, reading, "all", "all")
    return Answer(
        lambda: weight_sheets(reading, shown),
        lambda: [reading_object(reading, everything)],
        lambda: weight_rows(everything),
        single=True,
        drawing=lambda: drawn_reading(reading, shown),
    )


def _selected(call: AttentionCall, reading: Reading, layer: str, head: str) -> Sequence[AttentionWeights]:
    from llmkit.insight.attention import selected

    if call.which is not None and call.which not in reading.kinds:
        raise UsageError(
            f"--which {call.which}: {reading.model} has only {' and '.join(reading.kinds)} attention."
        )
    return [
        selected(each, call.layer or layer, call.head or head, reading.model)
        for kind, each in reading.kinds.items()
        if call.which in (None, kind)
    ]


def _picture(call: AttentionCall, reading: Reading, path: Path) -> bytes:
    from llmkit.insight.attention import LAST, MEAN
    from llmkit.insight.heat_map import drawn_weights

    return drawn_weights(_selected(call, reading, LAST, MEAN), reading.model, path)


def _page(call: AttentionCall, reading: Reading) -> bytes:
    from llmkit.insight.page import page_of

    return page_of(reading, _selected(call, reading, "all", "all"))


def _array(call: AttentionCall, reading: Reading) -> bytes:
    import numpy

    found = _selected(call, reading, "all", "all")
    if len(found) > 1:
        raise UsageError(
            f"{reading.model} has {', '.join(each.kind for each in found)} attention, and an array holds one.",
            hint="Say which: --which cross",
        )
    out = io.BytesIO()
    numpy.save(out, found[0].weights, allow_pickle=False)
    return out.getvalue()


def _explain(call: AttentionCall, opened: _Opened, place: _Place) -> None:
    from llmkit.cli.explanation_views import explanation_object, explanation_sheets, step_rows
    from llmkit.insight.explaining import Where, explain

    where = Where(call.explain or "", call.which, call.layer or "1", call.head or "1")
    prepared = opened.prepared
    found = explain(opened.model, opened.tokenizer, prepared, where, opened.name)
    place.deliver(
        Answer(
            lambda: explanation_sheets(opened.name, found),
            lambda: [explanation_object(opened.name, prepared.text, prepared.pair, found)],
            lambda: step_rows(found),
            single=True,
        )
    )
