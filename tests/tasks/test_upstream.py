"""What is read from transformers' source is what transformers says when it is imported."""

import inspect

import pytest
import transformers.pipelines
from transformers.pipelines import SUPPORTED_TASKS, TASK_ALIASES

from llmkit.tasks.upstream import package_file, parse_module, upstream_aliases, upstream_tasks

THEIRS = {name: row for name, row in SUPPORTED_TASKS.items() if not str(row["impl"]).count("llmkit")}


def test_the_same_tasks_and_aliases():
    assert set(upstream_tasks()) == set(THEIRS)
    # Registering llmkit's own adds aliases of its own.
    assert upstream_aliases().items() <= TASK_ALIASES.items()


@pytest.mark.parametrize("name", THEIRS)
def test_each_is_as_they_say(name):
    read, row = upstream_tasks()[name], THEIRS[name]
    impl = row["impl"]
    assert read.impl == (impl if isinstance(impl, str) else f"{impl.__module__}.{impl.__qualname__}")
    heads = row["pt"] if isinstance(row["pt"], tuple) else (row["pt"],)
    assert read.heads == tuple(head.__name__ for head in heads)
    assert read.modality == row["type"]
    model = row.get("default", {}).get("model")
    assert read.default_model == tuple(model.get("pt", ()) if isinstance(model, dict) else model)


def test_the_file_is_found_without_importing():
    assert str(package_file("transformers.pipelines")) == inspect.getfile(transformers.pipelines)
    assert package_file("transformers.pipelines.base").name == "base.py"
    assert package_file("transformers.nowhere") is None
    assert package_file("no_such_package.at.all") is None
    assert parse_module("no_such_package") is None
