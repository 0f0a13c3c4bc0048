"""Amounts: no number without its unit, neither made, printed, formatted nor read."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmkit import units
from llmkit.errors import UsageError
from llmkit.units import UNITS, Amount, parse

READINGS = {name: value for name, value in vars(units).items() if isinstance(value, units.Reading)}
amounts = st.floats(min_value=1e-6, max_value=1e27)


class TestNoNumberWithoutAUnit:
    @pytest.mark.parametrize("unit", ["", " ", "furlongs", "FLOPS", "Tokens"])
    def test_none_is_made(self, unit):
        with pytest.raises(ValueError, match="no unit"):
            Amount(1.0, unit)

    @pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
    def test_none_is_made_of_no_number(self, value):
        with pytest.raises(ValueError, match="no amount"):
            Amount(value, "tokens")

    @pytest.mark.parametrize("convert", [float, int, round, math.floor])
    def test_it_is_no_number_by_itself(self, convert):
        with pytest.raises(TypeError):
            convert(Amount(1.0, "tokens"))

    @pytest.mark.parametrize("spec", [".2f", ",", "e", ">10", "d"])
    def test_it_is_not_formatted_as_one(self, spec):
        with pytest.raises(ValueError, match="lose its unit"):
            format(Amount(1.0, "tokens"), spec)

    @given(amounts, st.sampled_from(sorted(UNITS)))
    def test_its_text_has_the_unit_after_the_number(self, value, unit):
        text = str(Amount(value, unit))
        assert f"{Amount(value, unit)}" == text
        number = re.match(r"[\d.,]+(e[+-]?\d+)?", text)
        assert number and re.search(r"[A-Za-z%×]", text[number.end() :]), text

    def test_as_json_it_stands_beside_its_unit(self):
        assert Amount(3e23, "FLOPs").to_json() == {"value": 3e23, "unit": "FLOPs"}


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (Amount(3.14e23, "FLOPs"), "3.14e23 FLOPs"),
        (Amount(15e12, "tokens"), "15.0T tokens"),
        (Amount(300, "tokens"), "300 tokens"),
        (Amount(1_287_000, "kWh"), "1,287 MWh"),
        (Amount(0.0123, "kWh"), "12.3 Wh"),
        (Amount(80e9, "bytes"), "80.0 GB"),
        (Amount(989.4e12, "FLOP/s"), "989 TFLOP/s"),
        (Amount(36, "h"), "1.50 days"),
        (Amount(90, "s"), "90.0 s"),
        (Amount(552_100, "kg CO2e"), "552 t CO2e"),
        (Amount(0.4, "of the peak"), "40.0 % of the peak"),
        (Amount(1, "devices"), "1 devices"),
        (Amount(1_082_990, "device hours"), "1.08M device h"),
        (Amount(2.5, "USD/device hour"), "2.50 USD/device hour"),
        (Amount(1e30, "tokens"), "1.00e+18T tokens"),
        (Amount(1e20, "days"), "1.00e+20 days"),
        (Amount(1e20, "W"), "1.00e+20 W"),
        (Amount(1e20, "USD"), "1.00e+20 USD"),
        (Amount(1_234_567, "USD"), "1,234,567 USD"),
        (Amount(2.5, "USD"), "2.50 USD"),
        (Amount(0.0004, "USD"), "0.000400 USD"),
        (Amount(0.0001, "of the peak"), "0.0100 % of the peak"),
    ],
)
def test_how_amounts_are_read(amount, text):
    assert str(amount) == text


class TestConverting:
    def test_within_a_kind(self):
        assert Amount(1.5, "MWh").of("kWh") == 1500
        assert Amount(2, "days").of("h") == 48
        assert Amount(385, "g CO2e/kWh").of("kg CO2e/kWh") == pytest.approx(0.385)

    @pytest.mark.parametrize(
        ("unit", "other"), [("tokens", "parameters"), ("h", "device hours"), ("W", "Wh")]
    )
    def test_and_to_no_other(self, unit, other):
        with pytest.raises(ValueError, match="are no"):
            Amount(1, unit).of(other)


class TestReading:
    @pytest.mark.parametrize(
        ("text", "reading", "value"),
        [
            ("15T", units.TOKENS, 15e12),
            ("15.6T", units.TOKENS, 15.6e12),
            ("300 B", units.TOKENS, 300e9),
            ("300 billion tokens", units.TOKENS, 300e9),
            ("2_000_000tokens", units.TOKENS, 2e6),
            ("1e9tokens", units.TOKENS, 1e9),
            ("100gpuh", units.DEVICE_HOURS, 100),
            ("1.5Mgpuh", units.DEVICE_HOURS, 1.5e6),
            ("5000usd", units.MONEY, 5000),
            ("$5000", units.MONEY, 5000),
            ("5000 USD", units.MONEY, 5000),
            ("$5000 USD", units.MONEY, 5000),
            ("$2.5/h", units.PRICE, 2.5),
            ("1e23flops", units.COMPUTE, 1e23),
            ("3ZFLOPs", units.COMPUTE, 3e21),
            ("2.5", units.PRICE, 2.5),
            ("2.5usd/h", units.PRICE, 2.5),
            ("0.385", units.INTENSITY, 0.385),
            ("385g/kWh", units.INTENSITY, 0.385),
            ("0.4", units.SHARE, 0.4),
            ("40%", units.SHARE, 0.4),
            ("700W", units.POWER, 700),
            ("24GB", units.MEMORY, 24e9),
            ("24 GiB", units.MEMORY, 24 * 2**30),
        ],
    )
    def test_what_is_meant(self, text, reading, value):
        found = parse(text, "--x", reading)
        assert found.unit == reading.unit
        assert found.value == pytest.approx(value)

    @pytest.mark.parametrize(
        ("text", "reading", "said"),
        [
            ("15", units.TOKENS, "has no unit"),
            ("15 trillionn", units.TOKENS, "did you mean trillion?"),
            ("2,5", units.TOKENS, "a comma is no decimal point"),
            ("2,5T", units.TOKENS, "a comma is no decimal point"),
            ("15GB", units.TOKENS, "no such unit as 'GB'"),
            ("T", units.TOKENS, "it should be a number"),
            ("", units.TOKENS, "it should be a number"),
            ("nanT", units.TOKENS, "it should be a number"),
            ("0T", units.TOKENS, "above 0"),
            ("-1T", units.TOKENS, "above 0"),
            ("1e999T", units.TOKENS, "too large to be meant"),
            ("1e300T", units.TOKENS, "too large to be meant"),
            ("1e-300T", units.TOKENS, "too small to be meant"),
            ("$15T", units.TOKENS, "no such unit as '$T'"),
            ("$0.4", units.SHARE, "no such unit as '$'"),
            ("$100gpuh", units.DEVICE_HOURS, "no such unit as '$gpuh'"),
            ("$5,000", units.MONEY, "a comma is no decimal point"),
            ("5000", units.MONEY, "has no unit"),
            ("5000eur", units.MONEY, "no such unit as 'eur'"),
            ("400", units.POWER, "has no unit"),
            ("24", units.MEMORY, "has no unit"),
            ("24 gigs", units.MEMORY, "no such unit as 'gigs'"),
            ("1.2.3", units.OVERHEAD, "no such unit as '.3'"),
        ],
    )
    def test_what_is_refused(self, text, reading, said):
        with pytest.raises(UsageError, match=re.escape(said)) as error:
            parse(text, "--x", reading)
        assert error.value.message.startswith(f"--x {text}")
        assert reading.examples in error.value.hint

    @pytest.mark.parametrize("name", READINGS)
    def test_the_examples_are_good_ones(self, name):
        reading = READINGS[name]
        for example in re.split(r", | or ", reading.examples):
            if example not in ("us", "fr", "world"):
                assert parse(example, "--x", reading).unit == reading.unit

    @given(st.text(max_size=12), st.sampled_from(sorted(READINGS)))
    def test_any_text_is_read_or_refused(self, text, name):
        try:
            found = parse(text, "--x", READINGS[name])
        except UsageError:
            return
        assert found.unit == READINGS[name].unit and 0 < found.value < math.inf
