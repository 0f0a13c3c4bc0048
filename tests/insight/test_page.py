"""The page holds the model's numbers, in little room, and shows any text as text."""

from __future__ import annotations

import base64
import hashlib
import json
import re

import numpy
import pytest

from llmkit.errors import UsageError
from llmkit.insight.attention import AttentionWeights, Reading
from llmkit.insight.page import page_of
from llmkit.insight.predictions import Prediction
from llmkit.insight.prepared import Side
from tests.fixtures.tiny import vocabulary
from tests.insight.page_numbers import page_data, weights_of

HOSTILE = "</script><script>alert(1)</script> & \"quotes\" 'too' <!-- 😀 שלום \u202e\u200b {{data}} \u2028"


def side(count, label="token"):
    labels = [f"{label}{number}" for number in range(count)]
    return Side(labels, labels, list(range(count)))


def random_weights(layers, heads, queries, keys, kind="encoder", seed=0):
    scores = numpy.random.default_rng(seed).normal(0, 3, (layers, heads, queries, keys))
    is_causal = kind == "decoder"
    if is_causal:
        scores = numpy.where(numpy.tri(queries, dtype=bool), scores, -numpy.inf)
    spread = numpy.exp(scores - scores.max(-1, keepdims=True))
    weights = (spread / spread.sum(-1, keepdims=True)).astype(numpy.float32)
    numbers = tuple(range(1, layers + 1)), tuple(range(1, heads + 1))
    return AttentionWeights(kind, weights, *numbers, side(queries), side(keys), is_causal)


def page(*kinds, **fields):
    reading = Reading("model", fields.get("text", "a text"), None, {each.kind: each for each in kinds},
                      fields.get("predictions", ()))  # fmt: skip
    return page_of(reading, kinds).decode()


@pytest.mark.parametrize("kind", ["encoder", "decoder", "cross"])
def test_the_numbers_are_the_models(kind):
    given = random_weights(2, 3, 9, 5 if kind == "cross" else 9, kind)
    data = page_data(page(given))
    numpy.testing.assert_allclose(weights_of(data["kinds"][0]), given.weights, atol=2.5e-4)
    assert data["kinds"][0]["isCausal"] == (kind == "decoder")


@pytest.mark.parametrize("kind", ["encoder", "decoder"])
def test_twelve_layers_of_twelve_heads_on_128_tokens_are_under_5_megabytes(kind):
    content = page(random_weights(12, 12, 128, 128, kind))
    assert len(content.encode()) < (5_000_000 if kind == "encoder" else 2_500_000)


def test_more_than_that_is_refused():
    with pytest.raises(UsageError, match="at most 2,359,296 keep it under 5 MB"):
        page(random_weights(12, 12, 129, 129))


def test_any_text_is_data_alone():
    given = random_weights(1, 1, 2, 2)
    hostile = Side([HOSTILE] * 2, [HOSTILE] * 2, [0, 1])
    weights = AttentionWeights("encoder", given.weights, (1,), (1,), hostile, hostile, False)
    reading = Reading(HOSTILE, HOSTILE, HOSTILE, {"encoder": weights})
    content = page_of(reading, [weights]).decode()
    scripts = re.findall(r"<script[^>]*>", content)
    assert scripts == ['<script type="application/json" id="data">', "<script>"]
    assert "alert(1)" not in re.sub(
        r'<script type="application/json" id="data">.*?</script>', "", content
    ).replace("&lt;script&gt;alert(1)", "")
    data = page_data(content)
    assert data["kinds"][0]["queries"]["labels"] == [HOSTILE] * 2
    assert data["model"] == HOSTILE


def test_the_policy_lets_nothing_in_but_its_own_script():
    content = page(random_weights(1, 1, 2, 2))
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', content)[1]
    for name in ("script", "style"):
        own = re.search(rf"<{name}>(.*?)</{name}>", content, re.DOTALL)[1]
        digest = base64.b64encode(hashlib.sha256(own.encode()).digest()).decode()
        assert f"{name}-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'")
    assert not re.search(r'(src|href)="(?!data:|#)', content)
    # Text reaches the page as text alone.
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", content)


def test_predictions_are_the_whole_vocabulary():
    tokenizer = vocabulary.gpt()
    logits = numpy.random.default_rng(1).normal(0, 4, len(tokenizer)).astype(numpy.float32)
    data = page_data(page(random_weights(1, 1, 2, 2), predictions=[Prediction(1, False, logits, tokenizer)]))
    (found,) = data["predictions"]
    rest = found["low"] + (found["high"] - found["low"]) * numpy.array(codes(found["rest"])) / 4095
    everything = numpy.concatenate([found["logits"], rest])
    for temperature in (0.5, 1.0, 2.0):
        own = numpy.exp(logits.astype(float) / temperature)
        shown = numpy.exp(everything / temperature)
        best = numpy.sort(own / own.sum())[::-1][:10]
        numpy.testing.assert_allclose((shown / shown.sum())[:10], best, rtol=1e-3)


def codes(text):
    digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    return [
        digits.index(text[place]) * 64 + digits.index(text[place + 1]) for place in range(0, len(text), 2)
    ]


def test_the_data_is_json_in_ascii():
    content = page(random_weights(1, 1, 2, 2), text="é 😀")
    own = re.search(r'id="data">(.*?)</script>', content, re.DOTALL)[1]
    assert own.isascii()
    assert json.loads(own)["text"] == "é 😀"
