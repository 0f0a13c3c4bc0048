"""The page in a real browser, from a file: `make browser` installs what it takes."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy
import pytest

from llmkit.insight.attention import AttentionWeights, Reading
from llmkit.insight.page import page_of
from llmkit.insight.prepared import Side
from tests.insight.reading import opened
from tests.insight.test_page import random_weights

pytestmark = pytest.mark.browser
TEXT = "Your cat is a lovely cat"
HOSTILE = "<script>window.hacked = 1</script> <b onload=alert(1)>\"quotes\"</b> 'and' 😀 שלום עולם \u202eabc a\u200bb"
KEYS = "#keys .token"
QUERIES = "#queries .token"


@dataclass
class Shown:
    """A page that is open, and what went wrong or outside."""

    page: Any
    faults: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def said(self) -> str:
        return self.page.inner_text("#said")

    def weights(self, tokens: str) -> list[float]:
        return [float(each) for each in self.page.locator(f"{tokens} .weight").all_inner_texts()]


@pytest.fixture
def show(chromium, tmp_path):
    made = []

    def show_it(content: bytes, **settings: Any) -> Shown:
        file = tmp_path / f"page{len(made)}.html"
        file.write_bytes(content)
        context = chromium.new_context(**{"viewport": {"width": 1280, "height": 900}} | settings)
        shown = Shown(context.new_page())
        made.append((context, shown))
        page = shown.page
        page.on("console", lambda message: shown.faults.append(message.text))
        page.on("pageerror", lambda error: shown.faults.append(str(error)))
        page.on("dialog", lambda dialog: (shown.faults.append(dialog.message), dialog.dismiss()))
        page.on("request", lambda request: shown.requests.append(request.url))
        page.goto(file.as_uri())
        return shown

    yield show_it
    for context, shown in made:
        assert shown.faults == []
        assert [url for url in shown.requests if not url.startswith(("file:", "data:"))] == []
        context.close()


@pytest.fixture(scope="module")
def minilm():
    return opened("minilm").read(TEXT)


@pytest.fixture(scope="module")
def gpt2(tiny):
    return opened(str(tiny("text-generation"))).read("The quick brown fox jumps")


def whole(reading: Reading) -> bytes:
    return page_of(reading, list(reading.kinds.values()))


def close_to(weights: Any) -> Any:
    """Three digits are shown, of a number that is within 0.00025."""
    return pytest.approx(list(map(float, weights)), abs=0.00076)


def test_pointing_at_a_token_shows_what_it_attends_to(show, minilm):
    shown = show(whole(minilm))
    weights = minilm.kinds["encoder"].weights
    assert shown.page.locator(QUERIES).count() == 8
    shown.page.hover(f"{QUERIES} >> nth=2")
    assert shown.weights(KEYS) == close_to(weights[5].mean(0)[2])
    best = int(weights[5].mean(0)[2].argmax())
    label = minilm.kinds["encoder"].keys.labels[best]
    assert f"cat attends most to {label} " in shown.said()
    lines = shown.page.locator("#lines line").count()
    assert lines == int((weights[5].mean(0)[2] >= 0.02).sum())
    shown.page.hover(f"{KEYS} >> nth=5")
    assert shown.weights(QUERIES) == close_to(weights[5].mean(0)[:, 5])
    shown.page.hover("h1")
    assert shown.said().endswith("No token is chosen.")


def test_a_later_token_is_not_said_to_be_attended_to(show, gpt2):
    shown = show(whole(gpt2))
    shown.page.hover(f"{QUERIES} >> nth=1")
    first, own = gpt2.kinds["decoder"].queries.labels[:2]
    assert sorted(re.findall(r"(\S+) \d\.\d{3}", shown.said().partition("most to")[2])) == sorted(
        [first, own]
    )


def test_a_click_keeps_a_token(show, minilm):
    shown = show(whole(minilm))
    shown.page.click(f"{QUERIES} >> nth=1")
    shown.page.hover("h1")
    assert "your attends most to" in shown.said()
    shown.page.keyboard.press("Escape")
    assert shown.said().endswith("No token is chosen.")


def test_heads_are_picked_by_keyboard(show, minilm):
    shown = show(whole(minilm))
    weights = minilm.kinds["encoder"].weights
    assert "layer 6, mean over heads" in shown.said()
    shown.page.locator('#grid [aria-checked="true"]').focus()
    for key in ("ArrowRight", "ArrowRight", "ArrowUp"):
        shown.page.keyboard.press(key)
    assert "layer 5, head 2" in shown.said()
    assert shown.page.locator('#grid [aria-checked="true"]').get_attribute("aria-label") == "layer 5, head 2"
    assert shown.page.input_value("#layer") == "4"
    shown.page.locator(QUERIES).first.focus()
    shown.page.keyboard.press("ArrowDown")
    shown.page.keyboard.press("ArrowDown")
    assert shown.weights(KEYS) == close_to(weights[4, 1, 2])
    shown.page.keyboard.press("ArrowRight")
    assert shown.weights(QUERIES) == close_to(weights[4, 1, :, 2])


def test_layer_and_head_are_picked_from_lists(show, minilm):
    shown = show(whole(minilm))
    shown.page.select_option("#layer", label="1")
    shown.page.select_option("#head", label="head 12")
    shown.page.hover(f"{QUERIES} >> nth=0")
    assert shown.weights(KEYS) == close_to(minilm.kinds["encoder"].weights[0, 11, 0])
    shown.page.hover("#large", position={"x": 200, "y": 200})
    assert re.search(r": 0\.\d{3}$", shown.page.inner_text("#cell"))


def test_the_table_has_every_number(show, gpt2):
    shown = show(whole(gpt2))
    shown.page.click("#table summary")
    cells = [float(each) for each in shown.page.locator("#table td").all_inner_texts()]
    assert cells == close_to(gpt2.kinds["decoder"].weights[1].mean(0).ravel())


def softmax(logits, temperature=1.0, count=None):
    best = numpy.sort(logits.astype(float))[::-1][:count]
    spread = numpy.exp((best - best[0]) / temperature)
    return spread / spread.sum()


def set_slider(shown: Shown, name: str, value: float) -> None:
    shown.page.locator(name).evaluate(
        "(slider, value) => { slider.value = value; slider.dispatchEvent(new Event('input')); }", value
    )


def test_the_next_token_with_temperature_and_top_k(show, gpt2):
    shown = show(whole(gpt2))
    logits = gpt2.predictions[0].logits

    def probabilities():
        texts = shown.page.locator("#candidates .number").all_inner_texts()
        return [float(text.removesuffix(" %")) / 100 for text in texts]

    assert probabilities() == pytest.approx(softmax(logits)[:15].tolist(), abs=2e-4)
    assert shown.page.locator("#candidates bdi").all_text_contents()[0] == gpt2.predictions[0].top(1)[0].label
    set_slider(shown, "#temperature", 0.5)
    assert shown.page.inner_text("#temperature-value") == "0.5"
    assert probabilities() == pytest.approx(softmax(logits, 0.5)[:15].tolist(), abs=2e-4)
    set_slider(shown, "#top-k", 5)
    assert probabilities() == pytest.approx(softmax(logits, 0.5, 5).tolist(), abs=2e-4)
    # The slider moves by keyboard, too.
    shown.page.locator("#top-k").focus()
    shown.page.keyboard.press("ArrowLeft")
    assert probabilities() == pytest.approx(softmax(logits, 0.5, 4).tolist(), abs=2e-4)


def test_the_candidates_of_a_blank(show, tiny):
    reading = opened(str(tiny("fill-mask"))).read("Paris is the ___ of ___.")
    shown = show(whole(reading))
    assert shown.page.inner_text("#next-title") == "What the blank may be"
    for place, prediction in enumerate(reading.predictions):
        shown.page.select_option("#place", str(place))
        labels = shown.page.locator("#candidates bdi").all_text_contents()
        assert labels == [each.label for each in prediction.top(15)]


def test_an_encoder_has_nothing_to_predict(show, minilm):
    assert show(whole(minilm)).page.locator("#predictions").is_hidden()


def test_encoder_decoder_and_cross(show, tiny):
    reading = opened(str(tiny("translation"))).read("The house is wonderful.")
    shown = show(whole(reading))
    shown.page.select_option("#kind", label="cross")
    cross = reading.kinds["cross"]
    assert shown.page.locator(QUERIES).count() == len(cross.queries)
    assert shown.page.locator(KEYS).count() == len(cross.keys)
    shown.page.hover(f"{QUERIES} >> nth=0")
    assert shown.weights(KEYS) == close_to(cross.weights[-1].mean(0)[0])


def test_any_text_is_shown_as_text(show, tiny):
    reading = opened(str(tiny("text-generation"))).read(HOSTILE)
    shown = show(whole(reading))
    visible = shown.page.locator("#text").text_content()
    assert visible == HOSTILE.replace("\u202e", "\\u202e").replace("\u200b", "\\u200b")
    labels = shown.page.locator(f"{QUERIES} bdi").all_text_contents()
    assert labels == reading.kinds["decoder"].queries.labels
    assert shown.page.evaluate("window.hacked") is None
    assert shown.page.locator("script").count() == 2
    assert shown.page.locator("b").count() == 0


def test_labels_that_are_markup_are_text(show):
    given = random_weights(1, 2, 2, 2)
    labels = Side([HOSTILE] * 2, ["<img src=x onerror=alert(1)>", "שלום</bdi><script>"], [0, 1])
    weights = AttentionWeights("encoder", given.weights, (1,), (1, 2), labels, labels, False)
    shown = show(page_of(Reading(HOSTILE, HOSTILE, HOSTILE, {"encoder": weights}), [weights]))
    shown.page.click(f"{QUERIES} >> nth=0")
    shown.page.click("#table summary")
    assert labels.labels[0] in shown.said()
    assert shown.page.locator("#table tbody th").all_text_contents() == labels.labels
    assert shown.page.locator("img").count() == 0


def test_every_control_has_a_name(show, gpt2):
    shown = show(whole(gpt2))
    nameless = shown.page.evaluate(
        """() => [...document.querySelectorAll("button, select, input, [role]")].filter((each) =>
          !(each.textContent.trim() || each.ariaLabel || (each.labels && each.labels.length) ||
            each.getAttribute("aria-labelledby") || each.ariaHidden === "true" || each.role === "status")
        ).map((each) => each.outerHTML)"""
    )
    assert nameless == []
    assert shown.page.locator("h1").count() == 1
    assert shown.page.locator("html").get_attribute("lang") == "en"


CONTRAST = """() => {
  const channel = (part) => (part /= 255) <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  const light = (color) => {
    const [red, green, blue] = color.match(/[\\d.]+/g).map(Number);
    return 0.2126 * channel(red) + 0.7152 * channel(green) + 0.0722 * channel(blue);
  };
  const behind = (each) => {
    for (let at = each; at; at = at.parentElement) {
      const color = getComputedStyle(at).backgroundColor;
      if (!/, 0\\)$|transparent/.test(color)) return color;
    }
    return "rgb(255, 255, 255)";
  };
  return [...document.querySelectorAll("h1, h2, h3, p, label, .token bdi, #candidates span")].map((each) => {
    const [one, other] = [light(getComputedStyle(each).color), light(behind(each))].sort();
    return (other + 0.05) / (one + 0.05);
  });
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_in_light_and_dark(scheme, show, gpt2):
    shown = show(whole(gpt2), color_scheme=scheme)
    assert shown.page.locator("html").get_attribute("data-theme") == scheme
    shown.page.click(f"{QUERIES} >> nth=3")
    # WCAG 2.2, 1.4.3: 4.5 for text.
    assert min(shown.page.evaluate(CONTRAST)) >= 4.5
    shown.page.click("#theme")
    assert shown.page.locator("html").get_attribute("data-theme") != scheme


def test_as_many_tokens_as_a_page_holds(show):
    weights = random_weights(12, 12, 128, 128)
    labels = replace(weights.queries, segments=[0] * 64 + [1] * 64)
    weights = replace(weights, queries=labels, keys=labels)
    shown = show(page_of(Reading("big", "text", None, {"encoder": weights}), [weights]))
    assert shown.page.locator("#grid button").count() == 12 * 13
    shown.page.hover(f"{QUERIES} >> nth=20")
    assert shown.weights(KEYS) == close_to(weights.weights[11].mean(0)[20])


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_looks_like_this(scheme, show, gpt2, minilm):
    """Pictures for docs/, where LLMKIT_SCREENSHOTS names a folder for them."""
    folder = os.environ.get("LLMKIT_SCREENSHOTS")
    if not folder:
        pytest.skip("LLMKIT_SCREENSHOTS names no folder")
    for name, reading in (("attention", minilm), ("next-token", gpt2)):
        shown = show(whole(reading), color_scheme=scheme, viewport={"width": 1180, "height": 860})
        shown.page.click(f"{QUERIES} >> nth=2")
        shown.page.screenshot(path=Path(folder) / f"{name}-{scheme}.png", full_page=name == "next-token")
