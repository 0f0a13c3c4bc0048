"""An adapter and its base made one model, by peft; compared with the two of them side by side."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from llmkit.errors import MissingExtraError, UsageError
from llmkit.models.loading import load_config, load_model, load_to_train
from llmkit.models.resolved import ResolvedModel
from llmkit.sharing.export.compared import Compared, compare, encode_examples, tensors_of
from llmkit.sharing.export.source import Source


def check_adapter(model: ResolvedModel) -> None:
    """Check that there is something to merge, and something to merge it with.

    Raises:
        UsageError: the model is whole already.
        MissingExtraError: peft is not installed.
    """
    import importlib.util

    if model.adapter is None:
        raise UsageError(
            f"{model.name} has no adapter: it is a whole model already.",
            hint="--to merged is for a run that was trained with an adapter.",
        )
    if importlib.util.find_spec("peft") is None:
        raise MissingExtraError("llmkit export --to merged", "adapter")


def export_merged(source: Source, folder: Path) -> list[Compared]:
    """Write an adapter's model as one that needs neither peft nor its base, load it again, and compare.

    Raises:
        ModelError: the model cannot be had, or its adapter is none that peft reads.
        LlmkitError: what was written does not compute what the original does.
    """
    import torch
    from peft import PeftModel

    adapter = source.model.adapter
    assert adapter is not None
    config = load_config(source.model, source.load, source.call.name)
    base, _ = load_to_train(
        replace(source.model, adapter=None),
        source.heads,
        replace(source.load, config=config),
        task=source.call.name,
    )
    side_by_side = PeftModel.from_pretrained(base, adapter).eval()
    tokenizer = source.tokenizer()
    examples = encode_examples(source.call.task, source.rows, tokenizer, config)
    with torch.no_grad():
        # Before they are merged: merging changes the base for good.
        before = [tensors_of(side_by_side(**example.encoded)) for example in examples]
        whole = side_by_side.merge_and_unload()
        whole.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        found = ResolvedModel(str(folder), str(folder))
        again = load_model(found, source.heads, source.load, task=source.call.name, speed_up=False)
        answers = iter(before)
        return compare(examples, lambda encoded: next(answers), lambda encoded: tensors_of(again(**encoded)))
