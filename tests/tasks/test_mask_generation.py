"""Masks that are the same thing, joined without torchvision."""

import numpy
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from llmkit.tasks.mask_generation import join_masks, suppress_overlaps

BOX = st.tuples(st.integers(0, 20), st.integers(0, 20), st.integers(1, 12), st.integers(1, 12)).map(
    lambda box: (box[0], box[1], box[0] + box[2], box[1] + box[3])
)


def overlap(one, two):
    """Intersection over union, by counting the cells."""
    cells = [{(x, y) for x in range(box[0], box[2]) for y in range(box[1], box[3])} for box in (one, two)]
    return len(cells[0] & cells[1]) / len(cells[0] | cells[1])


def brute(boxes, scores, threshold):
    """The rule as it is written: best first, each box that no better kept one overlaps too much."""
    kept = []
    for index in sorted(range(len(boxes)), key=lambda each: (-scores[each], each)):
        if all(overlap(boxes[index], boxes[other]) <= threshold for other in kept):
            kept.append(index)
    return kept


@settings(deadline=None)
@given(st.lists(st.tuples(BOX, st.integers(0, 9)), max_size=14), st.sampled_from([0.1, 0.33, 0.7, 0.95]))
def test_the_same_as_by_counting_cells(found, threshold):
    boxes, scores = [box for box, _ in found], [score / 10 for _, score in found]
    kept = suppress_overlaps(torch.tensor(boxes).reshape(-1, 4).float(), torch.tensor(scores), threshold)
    assert kept.tolist() == brute(boxes, scores, threshold)


@settings(deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.data())
def test_masks_come_back_from_their_run_lengths(height, width, data):
    mask = numpy.array(
        data.draw(st.lists(st.booleans(), min_size=height * width, max_size=height * width))
    ).reshape(height, width)
    column_wise = mask.T.reshape(-1)
    counts, current, length = [], False, 0
    for value in column_wise:
        if value != current:
            counts.append(length)
            current, length = value, 0
        length += 1
    rle = {"size": [height, width], "counts": [*counts, length]}
    masks, scores, rles, boxes = join_masks([rle], torch.tensor([0.5]), torch.tensor([[0, 0, width, height]]))
    assert numpy.array_equal(masks[0], mask)
    assert (masks[0].dtype, rles, scores.tolist(), boxes.tolist()) == (
        bool,
        [rle],
        [0.5],
        [[0, 0, width, height]],
    )


def test_the_best_of_each_group_is_kept_best_first():
    rles = [
        {"size": [1, 2], "counts": [0, 1, 1]},
        {"size": [1, 2], "counts": [1, 1]},
        {"size": [1, 2], "counts": [2]},
    ]
    boxes = torch.tensor([[0, 0, 10, 10], [20, 20, 30, 30], [0, 0, 10, 9]])
    masks, scores, kept, _ = join_masks(rles, torch.tensor([0.5, 0.9, 0.8]), boxes, 0.7)
    assert scores.tolist() == pytest.approx([0.9, 0.8])
    assert kept == [rles[1], rles[2]]
    assert [mask.tolist() for mask in masks] == [[[False, True]], [[False, False]]]


def test_the_same_as_torchvision():
    ops = pytest.importorskip("torchvision.ops")
    low = torch.rand(200, 2) * 50
    boxes, scores = torch.cat([low, low + torch.rand(200, 2) * 20], dim=1), torch.rand(200)
    assert suppress_overlaps(boxes, scores, 0.5).tolist() == ops.nms(boxes, scores, 0.5).tolist()
