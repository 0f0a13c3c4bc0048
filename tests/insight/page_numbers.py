"""Reading the numbers out of a page again."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy

_DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


def page_data(content: str) -> dict[str, Any]:
    """What a page says in its element of data."""
    return json.loads(
        re.search(r'<script type="application/json" id="data">(.*?)</script>', content, re.DOTALL)[1]
    )


def weights_of(kind: dict[str, Any]) -> numpy.ndarray:
    """The weights of one kind, (layers, heads, query, key)."""
    table = numpy.zeros(128, dtype=int)
    table[[ord(each) for each in _DIGITS]] = range(64)
    digits = table[numpy.frombuffer(kind["weights"].encode(), dtype=numpy.uint8)].reshape(-1, 2)
    values = ((digits[:, 0] * 64 + digits[:, 1]) / 4095) ** 2
    layers, heads = len(kind["layers"]), len(kind["heads"])
    queries, keys = len(kind["queries"]["labels"]), len(kind["keys"]["labels"])
    if not kind["isCausal"]:
        return values.reshape(layers, heads, queries, keys)
    found = numpy.zeros((layers, heads, queries, keys))
    found[:, :, *numpy.tril_indices(queries)] = values.reshape(layers, heads, -1)
    return found
