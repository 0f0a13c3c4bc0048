"""The process that is forked for each call of the corpus, with all that those calls import and read of transformers."""

from __future__ import annotations

import contextlib
import gc
import importlib
import pkgutil

import llmkit
from llmkit.cli.main import main
from llmkit.tasks.catalogue import find_task
from llmkit.tasks.parameters import parameters_of
from tests.corpus.bounds import limit_memory
from tests.fixtures.command import serve

_READ = ("text-classification", "question-answering", "zero-shot-classification", "image-classification")


def _import_all() -> None:
    """Import every module of llmkit, and those of other packages that models of the corpus are of."""
    for module in pkgutil.walk_packages(llmkit.__path__, "llmkit."):
        if not module.name.endswith("__main__"):
            with contextlib.suppress(ImportError):  # of an extra that is not installed
                importlib.import_module(module.name)
    for name in ("bert", "gpt2", "qwen2", "auto"):
        for part in ("modeling", "configuration", "tokenization"):
            with contextlib.suppress(ImportError):
                importlib.import_module(f"transformers.models.{name}.{part}_{name}")
    for name in ("pyarrow.parquet", "soundfile", "soxr", "PIL.Image", "transformers.generation.utils"):
        importlib.import_module(name)


if __name__ == "__main__":
    _import_all()
    for task in _READ:
        parameters_of(find_task(task).task)
    with contextlib.suppress(
        ImportError, AttributeError
    ):  # what each model would make of regular expressions
        importlib.import_module("transformers.conversion_mapping").get_checkpoint_conversion_mapping("bert")
    limit_memory()
    gc.collect()
    gc.freeze()  # else each process that is forked would copy what its collector only looks at
    serve(main)
