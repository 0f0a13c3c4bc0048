"""The options that mean the same in every command, said once."""

from __future__ import annotations

import os
from typing import Annotated

import typer


def _set_debug(value: bool) -> bool:
    if value:
        os.environ["LLMKIT_DEBUG"] = "1"
    return value


def _set_embedded(value: bool | None) -> bool | None:
    if value is not None:
        os.environ["LLMKIT_EMBEDDED"] = "always" if value else "never"
    return value


Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        help="Folder, file, hub id, or 'minilm' for the embedded encoder.  [default: the task's]",
        show_default=False,
    ),
]
EncoderModel = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        help="Folder, hub id, or short name such as bert-base.  [default: all-MiniLM-L6-v2]",
        show_default=False,
    ),
]
Level = Annotated[str, typer.Option(help="sentence, token or word: what a vector is of.")]
Pooling = Annotated[
    str | None,
    typer.Option(
        help="mean, cls, max, pooler, last-token, weighted-mean, mean-sqrt-length, none."
        "  [default: the model's own, else mean]",
        show_default=False,
    ),
]
Layer = Annotated[
    str, typer.Option(help="0 is the embedding, -1 the last; several: 1,2,3 or -4: for the last four.")
]
LayersMerge = Annotated[str, typer.Option(help="Several layers into one: mean, sum, concat.")]
Normalize = Annotated[
    bool | None,
    typer.Option(
        "--normalize/--no-normalize", help="Length 1.  [default: the model's own]", show_default=False
    ),
]
Dim = Annotated[
    int | None, typer.Option(help="Keep the first so many numbers (Matryoshka).", show_default=False)
]
Prompt = Annotated[
    str | None,
    typer.Option(
        "--prompt",
        "--query-prefix",
        help="Put before each text: words, or the name of one of the model's own prompts.",
        show_default=False,
    ),
]
Word = Annotated[str | None, typer.Option(help="This word's vector in each text.", show_default=False)]
Subwords = Annotated[str, typer.Option(help="A word's tokens into one: mean, first, max.")]
Long = Annotated[str, typer.Option(help="Texts longer than the model takes: truncate, split-mean, error.")]
MaxLength = Annotated[
    int | None, typer.Option(help="Take at most so many tokens of a text.", show_default=False)
]
Measure = Annotated[str, typer.Option(help="cosine, dot, or euclidean: the distance.")]
Embedded = Annotated[
    bool | None,
    typer.Option(
        "--embedded/--no-embedded",
        help="Take the embedded model for the default one, or never.  [default: where no hub answers]",
        show_default=False,
        callback=_set_embedded,
        is_eager=True,
        expose_value=False,
    ),
]
Revision = Annotated[
    str | None, typer.Option(help="Branch, tag or commit of a hub model.", show_default=False)
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")]
Dtype = Annotated[
    str | None,
    typer.Option(
        help="auto (bfloat16 where the device computes in it natively), float32, bfloat16, float16."
        "  [default: as the model was saved]",
        show_default=False,
    ),
]
BatchSize = Annotated[
    str,
    typer.Option(
        help="Rows that go through the model together; auto sorts by length under a budget of tokens."
    ),
]
Input = Annotated[
    list[str] | None,
    typer.Option(
        "--input",
        "-i",
        help="File or glob: txt, csv, tsv, json, jsonl, parquet, or .gz of them. Repeatable; - is stdin.",
        show_default=False,
    ),
]
InputFormat = Annotated[
    str | None, typer.Option(help="Read the input as this format, whatever its ending.", show_default=False)
]
Column = Annotated[str | None, typer.Option(help="The column that holds the input.", show_default=False)]
Map = Annotated[
    str | None,
    typer.Option("--map", help="Fields to columns: question=q,context=passage.", show_default=False),
]
Dataset = Annotated[
    str | None, typer.Option(help="A dataset of the hub, NAME or NAME:CONFIG, streamed.", show_default=False)
]
Split = Annotated[str | None, typer.Option(help="The dataset's split.", show_default=False)]
Output = Annotated[
    str | None,
    typer.Option(
        "--output", "-o", help="Write to this file; its ending says the format.", show_default=False
    ),
]
OutputFormat = Annotated[
    str | None,
    typer.Option(
        "--format",
        "-f",
        help="table, jsonl, json, csv, tsv, parquet.  [default: table on a terminal, else jsonl]",
        show_default=False,
    ),
]
ReportFormat = Annotated[
    str | None,
    typer.Option(
        "--format",
        "-f",
        help="table, json, jsonl, csv, tsv, markdown, latex.  [default: table on a terminal, else jsonl]",
        show_default=False,
    ),
]
OutputDir = Annotated[
    str | None,
    typer.Option(
        help="Folder for images, audio and arrays that results hold.  [default: OUTPUT.files, else a new llmkit-files]",
        show_default=False,
    ),
]
Rejects = Annotated[
    str | None,
    typer.Option(help="File for the rows that fail.  [default: OUTPUT.rejects.jsonl]", show_default=False),
]
KeepInput = Annotated[bool, typer.Option("--keep-input", help="Copy the input's columns beside the result.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an output that is there.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with an output that was not finished.")]
Seed = Annotated[int | None, typer.Option(help="Make sampling repeatable.", show_default=False)]
TrustRemoteCode = Annotated[
    bool, typer.Option("--trust-remote-code", help="Run Python code that came with the model.")
]
AllowPickle = Annotated[
    bool, typer.Option("--allow-pickle", help="Read weights from pickles where there are no safetensors.")
]
Gpus = Annotated[
    str | None,
    typer.Option(
        "--gpus",
        help="How many GPUs, or which: 2, or 0,1.  [default: all that can be seen]",
        show_default=False,
    ),
]
Processes = Annotated[
    int | None,
    typer.Option(
        help="Processes on this machine; with --device cpu any number.  [default: one a GPU]",
        show_default=False,
    ),
]
Nodes = Annotated[
    int | None, typer.Option(help="Machines; the same command is given on each.", show_default=False)
]
NodeRank = Annotated[
    int | None, typer.Option(help="Which of them this is, from 0; the first writes.", show_default=False)
]
Rendezvous = Annotated[
    str | None,
    typer.Option(metavar="HOST:PORT", help="Where they meet: on the first machine.", show_default=False),
]
MaxRestarts = Annotated[
    int, typer.Option(help="Begin again so often, from what is whole, when a process or a machine is lost.")
]
LOOPBACK = ("127.0.0.1", "::1", "localhost")
"""Hosts that nobody but this machine reaches."""

Port = Annotated[int, typer.Option(min=0, max=65535, help="The port; 0 takes a free one.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no notes.")]
Debug = Annotated[
    bool,
    typer.Option("--debug", help="Show tracebacks.", callback=_set_debug, is_eager=True, expose_value=False),
]
