"""The options that mean the same in every command, said once, in the order in which every ``--help`` has them.

Where one means something else for a command (which model is the default, what a column holds) a variant of it stands
beside it under a name of its own. A test holds the order, and that no command declares one of these by itself.
"""

from __future__ import annotations

from typing import Annotated

import typer

from llmkit.cli import completion
from llmkit.cli.option_kinds import (
    choice_option,
    format_option,
    model_option,
    named,
    output_option,
    rejects_option,
    set_debug,
    set_embedded,
)
from llmkit.embeddings.settings import LEVELS, LONG_CHOICES, MERGES, POOLINGS, SUBWORDS

_DEVICES = completion.one_of("auto", "cpu", "cuda", "mps")
_DTYPES = completion.one_of("auto", "float32", "bfloat16", "float16")
_TABLES = "[default: table on a terminal, else jsonl]"


# Which model

Model = Annotated[
    str | None,
    model_option("Folder, file, hub id, or 'minilm' for the embedded encoder.  [default: the task's]"),
]
EncoderModel = Annotated[
    str | None, model_option("Folder, hub id, or short name such as bert-base.  [default: all-MiniLM-L6-v2]")
]
SearchModel = Annotated[
    str | None,
    model_option(
        "Folder, hub id or short name.  [default: the one that made the vectors, else all-MiniLM-L6-v2]"
    ),
]
SeveralModels = Annotated[
    list[str] | None,
    model_option(
        "Folder, hub id, or short name such as bert-base; repeat it to see several side by side."
        "  [default: all-MiniLM-L6-v2]"
    ),
]
Revision = Annotated[str | None, typer.Option(help="Branch, tag or commit on the hub.", show_default=False)]
Embedded = Annotated[
    bool | None,
    typer.Option(
        "--embedded/--no-embedded",
        help="Take the embedded model for the default one, or never.  [default: where no hub answers]",
        show_default=False,
        callback=set_embedded,
        is_eager=True,
        expose_value=False,
    ),
]

Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="Another value of the config: training.learning_rate=3e-5. Repeatable.",
        show_default=False,
        autocompletion=completion.complete_config_key,
    ),
]
ModelSet = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="key=value, another value of the model's config: text_config.hidden_size=64. Repeatable.",
        show_default=False,
        autocompletion=completion.complete_model_key,
    ),
]
CostSet = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="key=value, another value of the model's config, or of the --finetune config. Repeatable.",
        show_default=False,
        autocompletion=completion.complete_model_key,
    ),
]

# What is read

Input = Annotated[
    list[str] | None,
    named(
        "--input",
        "-i",
        help="File or glob: txt, csv, tsv, json, jsonl, parquet, or .gz of them. Repeatable; - is stdin.",
    ),
]
JudgedData = Annotated[
    list[str] | None,
    named(
        "--data",
        "--input",
        "-i",
        help="csv tsv json jsonl parquet txt conll, a folder, or hub:NAME[:config][:split]. Repeatable."
        "  [default: what the run was judged on]",
    ),
]
SearchedTexts = Annotated[
    str,
    typer.Option(
        "--in",
        "--input",
        "-i",
        help="Texts (txt, csv, tsv, json, jsonl, parquet), embedded once and kept; or vectors that `llmkit embed` "
        "wrote (npy, safetensors, parquet, jsonl, csv).",
        show_default=False,
    ),
]
InputFormat = Annotated[
    str | None,
    typer.Option(
        help="Read the input as this format, whatever its ending.",
        show_default=False,
        autocompletion=completion.complete_input_format,
    ),
]
Column = Annotated[str | None, typer.Option(help="The column that holds the input.", show_default=False)]
ComparedColumn = Annotated[
    str | None,
    typer.Option(
        "--column",
        help="The column of texts to compare each with each other; without it a file has pairs.",
        show_default=False,
    ),
]
SearchedColumn = Annotated[
    str | None, typer.Option("--column", help="The column of the texts in --in.", show_default=False)
]
Map = Annotated[
    str | None,
    typer.Option("--map", help="Fields to columns: question=q,context=passage.", show_default=False),
]
PairColumns = Annotated[
    str | None,
    typer.Option("--map", help="The columns of a file's pairs: a=sentence1,b=sentence2.", show_default=False),
]
TrainingColumns = Annotated[
    str | None,
    typer.Option(
        "--columns",
        "--map",
        help="The task's fields and your columns: text=review,label=stars.",
        show_default=False,
    ),
]
Dataset = Annotated[
    str | None, typer.Option(help="A dataset of the hub, NAME or NAME:CONFIG, streamed.", show_default=False)
]
Split = Annotated[str | None, typer.Option(help="The dataset's split.", show_default=False)]

# Which vectors

Measure = Annotated[
    str, choice_option("cosine, dot, or euclidean: the distance.", ("cosine", "dot", "euclidean"))
]
Level = Annotated[str, choice_option("sentence, token or word: what a vector is of.", LEVELS)]
Pooling = Annotated[
    str | None,
    choice_option(
        "mean, cls, max, pooler, last-token, weighted-mean, mean-sqrt-length, none."
        "  [default: the model's own, else mean]",
        POOLINGS,
        default=False,
    ),
]
Layer = Annotated[
    str, typer.Option(help="0 is the embedding, -1 the last; several: 1,2,3 or -4: for the last four.")
]
AttentionLayer = Annotated[
    str | None,
    typer.Option(
        "--layer",
        help="1 is the first, -1 the last; several: 1,2; all.  [default: the last in tables and plots, else all]",
        show_default=False,
    ),
]
LayersMerge = Annotated[str, choice_option("Several layers into one: mean, sum, concat.", MERGES)]
Normalize = Annotated[
    bool | None,
    typer.Option(
        "--normalize/--no-normalize", help="Length 1.  [default: the model's own]", show_default=False
    ),
]
Dim = Annotated[
    int | None, typer.Option(help="Keep the first so many numbers (Matryoshka).", show_default=False)
]
QueryPrefix = Annotated[
    str | None,
    typer.Option(
        "--query-prefix",
        help="Put before each query: words, or the name of one of the model's prompts.  [default: its 'query']",
        show_default=False,
    ),
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
SearchedPrompt = Annotated[
    str | None,
    typer.Option(
        "--prompt",
        help="Put before each text of --in, in the same way.  [default: its 'document' or 'passage']",
        show_default=False,
    ),
]
Word = Annotated[str | None, typer.Option(help="This word's vector in each text.", show_default=False)]
Subwords = Annotated[str, choice_option("A word's tokens into one: mean, first, max.", SUBWORDS)]

# How long a text may be

Long = Annotated[
    str, choice_option("Texts longer than the model takes: truncate, split-mean, error.", LONG_CHOICES)
]
LongOfTask = Annotated[
    str,
    typer.Option(
        "--long",
        help="Texts longer than the model takes: chunk, truncate, error.",
        autocompletion=completion.one_of("chunk", "truncate", "error"),
    ),
]
MaxLength = Annotated[
    int | None, typer.Option(help="Take at most so many tokens of a text.", show_default=False)
]

# Where it runs

Port = Annotated[int, typer.Option(help="The port; 0 takes a free one.")]
AllowHost = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME", help="Another name that it is asked by. Repeatable.", show_default=False),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.", autocompletion=_DEVICES)]
Gpus = Annotated[
    str | None,
    typer.Option(
        "--gpus",
        help="How many GPUs, or which: 2, or 0,1.  [default: all that can be seen]",
        show_default=False,
    ),
]
PlannedGpus = Annotated[
    int | None, typer.Option("--gpus", help="How many of them (--gpu).", show_default=False)
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
    int | None,
    typer.Option(
        help="Begin again so often, from what is whole, when a process or a machine is lost."
        "  [default: 0; of a job of SLURM 3]",
        show_default=False,
    ),
]
Dtype = Annotated[
    str | None,
    typer.Option(
        help="auto (bfloat16 where the device computes in it natively), float32, bfloat16, float16."
        "  [default: as the model was saved]",
        show_default=False,
        autocompletion=_DTYPES,
    ),
]
ExactDtype = Annotated[
    str | None,
    typer.Option(
        "--dtype",
        help="float32, bfloat16, float16, auto.  [default: float32]",
        show_default=False,
        autocompletion=_DTYPES,
    ),
]
JudgedDtype = Annotated[
    str | None,
    typer.Option(
        "--dtype",
        help="auto, float32, bfloat16, float16.  [default: what the run computed in, else as saved]",
        show_default=False,
        autocompletion=_DTYPES,
    ),
]
BatchSize = Annotated[
    str,
    choice_option(
        "Rows that go through the model together; auto sorts by length under a budget of tokens.", ("auto",)
    ),
]
CostBatchSize = Annotated[int, typer.Option("--batch-size", help="Inputs at once, for the costs.")]
DeviceBatchSize = Annotated[
    int, typer.Option("--batch-size", help="Sequences on a device at once, for the memory.")
]
Seed = Annotated[int | None, typer.Option(help="Make sampling repeatable.", show_default=False)]
JudgedSeed = Annotated[
    int | None,
    typer.Option(
        "--seed", help="Of the masks and the resamples.  [default: the run's, and 0]", show_default=False
    ),
]

# What is written

OutputFormat = Annotated[
    str | None,
    format_option(f"table, jsonl, json, csv, tsv, parquet.  {_TABLES}", completion.complete_format),
]
ReportFormat = Annotated[
    str | None,
    format_option(
        f"table, jsonl, json, csv, tsv, markdown, latex.  {_TABLES}", completion.complete_report_format
    ),
]
VectorFormat = Annotated[
    str | None,
    format_option(
        f"table, jsonl, json, csv, tsv; files also parquet, npy, safetensors.  {_TABLES}",
        completion.complete_vector_format,
    ),
]
SimilarityFormat = Annotated[
    str | None,
    format_option(
        f"table, jsonl, json, csv, tsv; a matrix also markdown, latex; pairs also parquet.  {_TABLES}",
        completion.complete_any_format,
    ),
]
Output = Annotated[str | None, output_option("Write to this file; its ending says the format.")]
ArrayOutput = Annotated[
    str | None,
    output_option("Write to this file; its ending says the format; .npy: (layers, heads, query, key)."),
]
TextOutput = Annotated[str | None, output_option("Write to this file.")]
FolderOutput = Annotated[str | None, output_option("The folder to write.  [default: RUN-FORM]", "DIR")]
OutputDir = Annotated[
    str | None,
    typer.Option(
        help="Folder for images, audio and arrays that results hold.  [default: OUTPUT.files, else a new llmkit-files]",
        show_default=False,
    ),
]
Rejects = Annotated[str | None, rejects_option("rows")]
RejectedQueries = Annotated[str | None, rejects_option("queries")]
KeepInput = Annotated[bool, typer.Option("--keep-input", help="Copy the input's columns beside the result.")]
KeepFound = Annotated[bool, typer.Option("--keep-input", help="Copy the columns of what is found beside it.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an output that is there.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with an output that was not finished.")]
ResumeRun = Annotated[
    bool, typer.Option("--resume", help="Go on from the newest whole checkpoint in the output folder.")
]

# What is allowed, and what is said

TrustRemoteCode = Annotated[
    bool, typer.Option("--trust-remote-code", help="Run Python code that came with the model.")
]
AllowPickle = Annotated[
    bool, typer.Option("--allow-pickle", help="Read weights from pickles where there are no safetensors.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no notes.")]
Debug = Annotated[
    bool,
    typer.Option("--debug", help="Show tracebacks.", callback=set_debug, is_eager=True, expose_value=False),
]
