"""Points drawn in characters."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from llmkit.cli.scatter import scatter

coordinates = st.floats(-1e6, 1e6, allow_subnormal=False)


def place_of(label, lines):
    return next((row, line.index(label)) for row, line in enumerate(lines) if label in line)


def test_where_points_stand():
    lines = scatter([(0, 0), (4, 0), (0, 2)], ["a", "b", "c"], 34)
    (row_a, a), (row_b, b), (row_c, c) = (place_of(label, lines) for label in "abc")
    assert row_a == row_b and a == c
    assert row_c < row_a
    # Both directions at one scale: a character is twice as high as wide.
    assert b - a == (row_a - row_c) * 2 * 2


@given(st.lists(st.tuples(coordinates, coordinates), min_size=1, max_size=99), st.integers(20, 120))
def test_every_label_is_there(points, width):
    labels = [str(number) for number in range(1, len(points) + 1)]
    lines = scatter(points, labels, width)
    assert len({len(line) for line in lines}) == 1
    assert len(lines[0]) <= max(width, 18)
    shown = [word for line in lines[1:-1] for word in line.strip("│").split()]
    assert set(shown) <= set(labels)
    assert len(shown) == len(set(shown))
    assert len(shown) == len(labels) or len(lines) * len(lines[0]) < 12 * len(labels)


def test_equal_points_stand_beside_each_other():
    lines = scatter([(1, 1)] * 3, ["1", "2", "3"], 40)
    assert sum(line.count(label) for line in lines for label in "123") == 3
