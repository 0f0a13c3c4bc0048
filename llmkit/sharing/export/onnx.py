"""To ONNX by transformers' own exporter, and run again in ONNX Runtime."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from llmkit.errors import LlmkitError, MissingExtraError, ModelError
from llmkit.sharing.export.compared import Compared, compare, encode_examples, tensors_of
from llmkit.sharing.export.source import Source

_PACKAGES = ("onnx", "onnxscript", "onnxruntime")


def check_packages() -> None:
    """Check that what is needed is here, without importing it.

    Raises:
        MissingExtraError: a package of the extra is not.
        LlmkitError: the installed transformers cannot do it.
    """
    import importlib.util

    if any(importlib.util.find_spec(name) is None for name in _PACKAGES):
        raise MissingExtraError("llmkit export --to onnx", "onnx")
    # 5.15, the oldest that llmkit takes, exports; what runs an export again came with 5.23.
    if importlib.util.find_spec("transformers.exporters.runners") is None:
        raise LlmkitError(
            "the installed transformers does not run what it exports to ONNX: that came with 5.23.",
            hint="Install a newer one: pip install 'transformers>=5.23'",
        )


def export_onnx(source: Source, folder: Path) -> list[Compared]:
    """Write a model as ONNX with its config and tokenizer, load it again, and compare.

    The graph takes any number of texts of any length: it is traced with names for both.

    Raises:
        ModelError: the model cannot be had, or transformers cannot trace it.
        LlmkitError: what was written does not compute what the original does.
    """
    import torch
    from transformers.exporters import ExportedModel, OnnxConfig, OnnxExporter

    model, tokenizer = source.loaded(), source.tokenizer()
    model.config.use_cache = False  # the whole text goes in at once; a cache would be one more input a layer
    examples = encode_examples(source.call.task, source.rows, tokenizer, model.config)
    with _explained(source), _in_silence(), torch.no_grad():
        exported = OnnxExporter().export(model, _sample(model, tokenizer), OnnxConfig(dynamic=True))
        exported.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    again = ExportedModel.from_pretrained(folder, device="cpu")
    with torch.no_grad():
        return compare(
            examples,
            lambda encoded: tensors_of(model(**_taken(model, encoded))),
            lambda encoded: tensors_of(again(**_taken(model, encoded))),
        )


def _sample(model: Any, tokenizer: Any) -> dict[str, Any]:
    """Return what the model is traced with: two texts, padded, so that neither number is taken for a constant."""
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    encoded = tokenizer(
        ["A text to trace the model with.", "A shorter one."], padding=True, return_tensors="pt"
    )
    return _taken(model, dict(encoded))


def _taken(model: Any, encoded: Any) -> dict[str, Any]:
    """Return the inputs that a model takes; an encoder-decoder begins its answer with its start token."""
    import torch

    inputs = dict(encoded)
    if model.config.is_encoder_decoder:
        start = model.config.decoder_start_token_id
        rows = inputs["input_ids"].shape[0]
        inputs["decoder_input_ids"] = torch.full((rows, 2), start, dtype=torch.long)
    return inputs


@contextmanager
def _in_silence() -> Iterator[None]:
    """Keep back what torch and transformers say while they trace: steps, and what other models would need."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


@contextmanager
def _explained(source: Source) -> Iterator[None]:
    try:
        yield
    except LlmkitError:
        raise
    except Exception as error:
        said = str(error).strip().partition("\n")[0]
        raise ModelError(
            f"transformers cannot write {source.model.name} as ONNX: {type(error).__name__}: {said}",
            hint="--debug shows where; a newer transformers may know this architecture.",
        ) from error
