"""Every target of the fuzzing takes its seeds, and what hypothesis makes of them."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzzing.seeds import GOOD, seeds
from tests.fuzzing.targets import NAMES, call


@pytest.mark.parametrize("name", NAMES)
def test_a_target_takes_what_it_begins_with(name: str) -> None:
    for seed in seeds(name):
        call(name, seed)


@st.composite
def changed(draw: st.DrawFn, seed: bytes) -> bytes:
    """Some bytes of a seed cut out, doubled or replaced."""
    data = bytearray(seed)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        end = draw(st.integers(start, min(len(data), start + 16)))
        data[start:end] = draw(st.one_of(st.binary(max_size=8), st.just(data[start:end] * 2)))
    return bytes(data)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_target_takes_anything(name: str) -> None:
    @given(data=changed(GOOD[name]))
    @settings(max_examples=400, suppress_health_check=list(HealthCheck), database=None)
    def check(data: bytes) -> None:
        call(name, data)

    check()
