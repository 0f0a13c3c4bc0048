"""``llmkit evaluate``: the figures of fine-tuning for any model, how sure they are, and where it is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmkit.cli import options
from llmkit.cli.answers import Answer, checked_format, deliver
from llmkit.cli.channels import claim_stdout, note, set_quiet
from llmkit.cli.completion import complete_metric, complete_model, complete_training_task
from llmkit.cli.examples import examples
from llmkit.cli.parameters import parse_mapping
from llmkit.cli.pipeline_call import rows_a_batch
from llmkit.cli.progress import progress
from llmkit.models.loading import LoadOptions, check_options
from llmkit.wanted import at_least, should_be

if TYPE_CHECKING:
    from collections.abc import Callable

    from llmkit.training.evaluating import Evaluation
    from llmkit.training.trained import Asked

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command(
    epilog=examples(
        "llmkit evaluate runs/reviews --data test.csv",
        "llmkit evaluate runs/reviews --data hub:stanfordnlp/sst2:validation --columns text=sentence",
        "llmkit evaluate OWNER/NAME --data test.conll --format json --output figures.json",
    )
)
def evaluate(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="The folder of a run or of a model, a hub id, or 'minilm'.",
            autocompletion=complete_model,
        ),
    ],
    revision: options.Revision = None,
    data: options.JudgedData = None,
    input_format: options.InputFormat = None,
    columns: options.TrainingColumns = None,
    task: Annotated[
        str | None,
        typer.Option(
            help="The training task.  [default: the run's, else what the model was saved for]",
            show_default=False,
            autocompletion=complete_training_task,
        ),
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(
            help="Names for the model's classes, in its order: negative,positive.", show_default=False
        ),
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            help="Judge by this metric; hub:NAME loads one by evaluate.load. Repeatable."
            "  [default: the run's, else the task's]",
            show_default=False,
            autocompletion=complete_metric,
        ),
    ] = None,
    worst: Annotated[int, typer.Option(help="Show so many examples with the highest loss.")] = 10,
    confidence: Annotated[
        str, typer.Option(help="What the intervals hold of the resamples: 0.95 or 95%.")
    ] = "0.95",
    resamples: Annotated[
        int, typer.Option(help="Resamples of the bootstrap, up to 1,000,000; 0 for none.")
    ] = 1000,
    max_rows: Annotated[int | None, typer.Option(help="Only the first rows.", show_default=False)] = None,
    max_length: options.MaxLength = None,
    device: options.Device = "auto",
    dtype: options.JudgedDtype = None,
    batch_size: options.BatchSize = "auto",
    seed: options.JudgedSeed = None,
    format: options.ReportFormat = None,  # noqa: A002
    output: options.Output = None,
    overwrite: options.Overwrite = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Judge a model on data: figures with confidence intervals, each class, confusions, the worst examples."""
    set_quiet(quiet)
    chosen = checked_format(format, output, overwrite=overwrite)
    results = claim_stdout()
    check_options(LoadOptions(device=device, dtype=dtype))
    from llmkit.cli.destination import refuse_to_replace
    from llmkit.training.objectives import check_task
    from llmkit.training.trained import Asked
    from llmkit.units import CONFIDENCE, parse

    refuse_to_replace(output, data or ())
    level = parse(confidence, "--confidence", CONFIDENCE).value
    if level >= 1:
        raise should_be(f"--confidence {confidence}", "below 1", hint=f"Write it as {CONFIDENCE.examples}.")
    check_task(task)
    asked = Asked(
        model,
        revision=revision,
        data=tuple(data or ()),
        task=task,
        format=input_format,
        columns=parse_mapping(columns, "--columns"),
        labels=_names(labels),
        metrics=metric,
        max_rows=at_least(1, max_rows, "--max-rows"),
        max_length=at_least(1, max_length, "--max-length"),
        batch_size=rows_a_batch(batch_size),
        seed=seed,
    )
    found = _judged(asked, {"device": device, "dtype": dtype, "worst": worst}, level, resamples, seed or 0)
    if not data:  # a run names its own
        refuse_to_replace(output, found.data)
    answer = _answer(found)
    deliver(answer, results, chosen, output, overwrite=overwrite)


def _names(text: str | None) -> list[str] | None:
    return None if text is None else [name.strip() for name in text.split(",")]


def _judged(asked: Asked, how: dict[str, Any], level: float, resamples: int, seed: int) -> Evaluation:
    from llmkit.cli.loading import quiet_libraries

    with quiet_libraries():
        from llmkit.training.evaluating import Sureness, evaluate_model
    with _heard() as heard:
        found = evaluate_model(asked, **how, sureness=Sureness(level, resamples, seed), heard=heard)
    for each in found.notes:
        note(each)
    return found


def _answer(found: Evaluation) -> Answer:
    from llmkit.cli.evaluate_view import rows, sheets

    return Answer(
        sheets=lambda: list(sheets(found)),
        objects=lambda: [found.as_object()],
        rows=lambda: list(rows(found)),
        single=True,
    )


@contextmanager
def _heard() -> Iterator[Callable[[int, int], None]]:
    """Give what shows the progress; its clock starts when it first hears how much there is."""
    with ExitStack() as stack:
        advance: Callable[[int], None] | None = None

        def heard(count: int, total: int) -> None:
            nonlocal advance
            advance = advance or stack.enter_context(progress(total))
            advance(count)

        yield heard
