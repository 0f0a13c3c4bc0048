"""What stands for the values in every ``--help``, in one table: the parser by itself would show Python's types."""

from __future__ import annotations

from typing import Any

_ANY = "VALUE"
_OPTIONS_BY_METAVAR = {
    "FILE": "--context-file --data --html --in --input --plot --queries --rejects --save --socket --table "
    "--texts",
    "FOLDER|FILE": "--checkpoint-file",
    "FILE|ADDRESS": "--image",
    "DIR": "--output-dir",
    "CONFIG": "--finetune",
    "FORMAT": "--format --input-format",
    "MODEL": "--model",
    "TASK": "--task",
    "REVISION": "--revision",
    "REPO": "--repo",
    "NAME[:CONFIG]": "--dataset",
    "NAME": "--column --license --metric --split --title --type --vector-column",
    "FIELD=COLUMN,…": "--columns --map",
    "KEY=VALUE": "--model-arg --parameter --set -p",
    "KEY=VALUE,…": "--lora",
    "A,B,…": "--labels",
    "TEXT": "--context --message --prompt --query-prefix --question --text-pair",
    "WORD": "--word",
    "LAYERS": "--layer",
    "ADDRESS": "--host",
    "TOKEN": "--token",
    "SECONDS": "--timeout",
    "BYTES": "--max-body",
    "DEVICE": "--device --gpu",
    "DTYPE": "--dtype",
    "GRID": "--grid",
    "SHARE": "--confidence --hfu --mfu",
    "N": "--batch-size --depth --dim --gpus --max-length --max-restarts --max-rows --max-waiting --node-rank --nodes "
    "--port --pretend-gpus --processes --resamples --seed --sequence-length --tokens --top-k --worst",
    "AMOUNT": "--budget --fits --memory --min-score --power --price --pue",
    "WHICH": "--head --level --layers-merge --long --measure --pooling --recompute --sort --subwords --which",
}
_METAVARS = {
    option: metavar for metavar, options in _OPTIONS_BY_METAVAR.items() for option in options.split()
}


def name_values(command: Any) -> None:
    """Give the values of a command's options names, and those of its subcommands; what is named stays as it is.

    A list of subcommands has the first sentence of each, which the parser would cut off.
    """
    for param in command.params:
        if param.param_type_name == "argument":
            # typer from 0.27 on puts the type after the name.
            param.display_type_rich = lambda ctx: ""
        elif param.metavar is None and not param.is_flag:
            param.metavar = next((_METAVARS[each] for each in param.opts if each in _METAVARS), _ANY)
    for inner in getattr(command, "commands", {}).values():
        inner.short_help = (inner.help or "").partition("\n\n")[0]
        name_values(inner)
