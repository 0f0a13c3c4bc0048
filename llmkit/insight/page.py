"""One page to look into every layer and head: a single file that needs no network.

Weights are written in two characters each, twelve bits of the square root, so that small ones keep their digits: a
weight of the page is within 0.00025 of the model's. Tokens and texts are data that the page's script shows as text,
never as markup, and its policy lets no other script run and nothing be fetched.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Sequence
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from llmkit.errors import UsageError
from llmkit.insight.attention import AttentionWeights, Reading
from llmkit.insight.labels import visible
from llmkit.insight.predictions import Prediction
from llmkit.insight.prepared import Side

if TYPE_CHECKING:
    import numpy

    Array = numpy.ndarray[Any, Any]

MOST_WEIGHTS = 12 * 12 * 128 * 128
"""Of one page: 4.7 MB of it."""
_DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_LARGEST = 4095
_CANDIDATES = 200
_MARK = re.compile(r"\{\{(\w+)\}\}")


def page_of(reading: Reading, kinds: Sequence[AttentionWeights]) -> bytes:
    """Return the page of a text's weights, in UTF-8.

    Raises:
        UsageError: there are more weights than a page holds.
    """
    count = sum(_count(each) for each in kinds)
    if count > MOST_WEIGHTS:
        raise UsageError(
            f"--html: the page would hold {count:,} weights, and at most {MOST_WEIGHTS:,} keep it under 5 MB.",
            hint="Take a shorter text, or some of them: --layer 1,6 or --head mean.",
        )
    data = {
        "model": reading.model,
        "text": visible(reading.text),
        "pair": None if reading.pair is None else visible(reading.pair),
        "kinds": [_kind(each) for each in kinds],
        "predictions": [_prediction(each) for each in reading.predictions],
    }
    style, script, page = (_file(name) for name in ("page.css", "page.js", "page.html"))
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_digest(style)}'; script-src '{_digest(script)}'"
    )
    parts = {
        "title": html.escape(f"Attention of {reading.model}"),
        "policy": policy,
        "style": style,
        "script": script,
        "data": _as_data(data),
    }
    # In one pass: a mark inside a part is no mark.
    return _MARK.sub(lambda mark: parts[mark[1]], page).encode()


def _file(name: str) -> str:
    return (files("llmkit.insight") / "page_files" / name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _as_data(value: Any) -> str:
    """Return JSON that ends no element and begins no comment, whatever is in it: no `<`, and ASCII alone."""
    return json.dumps(value, ensure_ascii=True, separators=(",", ":")).replace("<", "\\u003c")


def _count(found: AttentionWeights) -> int:
    queries, keys = len(found.queries), len(found.keys)
    matrices = len(found.layers) * len(found.heads)
    return matrices * (queries * (queries + 1) // 2 if found.is_causal else queries * keys)


def _kind(found: AttentionWeights) -> dict[str, Any]:
    import numpy

    weights = found.weights
    if found.is_causal:
        weights = weights[:, :, *numpy.tril_indices(len(found.queries))]
    codes = numpy.rint(numpy.sqrt(weights.clip(0, 1)) * _LARGEST)
    return {
        "kind": found.kind,
        "isCausal": found.is_causal,
        "layers": list(found.layers),
        "heads": list(found.heads),
        "queries": _side(found.queries),
        "keys": _side(found.keys),
        "weights": _written(codes),
    }


def _side(side: Side) -> dict[str, Any]:
    return {"labels": side.labels, "segments": side.segments}


def _written(codes: Array) -> str:
    """Return whole numbers up to 4095 as two characters each."""
    import numpy

    digits = numpy.frombuffer(_DIGITS.encode(), dtype=numpy.uint8)
    whole = codes.astype(numpy.uint16).ravel()
    return numpy.stack([digits[whole >> 6], digits[whole & 63]], axis=1).tobytes().decode()


def _prediction(prediction: Prediction) -> dict[str, Any]:
    """Return the best candidates with their logits, and the logits of all others in twelve bits each."""
    import numpy

    best = prediction.top(_CANDIDATES)
    rest = numpy.delete(prediction.logits.astype(numpy.float64), [each.id for each in best])
    low, high = (float(rest.min()), float(rest.max())) if len(rest) else (0.0, 0.0)
    codes = numpy.rint((rest - low) / ((high - low) or 1.0) * _LARGEST)
    return {
        "position": prediction.position,
        "isBlank": prediction.is_blank,
        "labels": [each.label for each in best],
        "logits": [round(each.logit, 5) for each in best],
        "rest": _written(codes),
        "low": low,
        "high": high,
    }
