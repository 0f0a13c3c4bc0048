"""Mask generation without torchvision: the one function of it that transformers' Pillow route still wants."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from typing import Any

import numpy
import torch


def work_without_torchvision(pipe: Any) -> None:
    """Give the pipeline's image processor a join of overlapping masks that needs torch alone."""
    if importlib.util.find_spec("torchvision") is None:
        pipe.image_processor.post_process_for_mask_generation = join_masks


def join_masks(
    rle_masks: Sequence[Mapping[str, Any]],
    scores: torch.Tensor,
    boxes: torch.Tensor,
    crops_nms_thresh: float = 0.7,
) -> tuple[list[numpy.ndarray], torch.Tensor, list[Mapping[str, Any]], torch.Tensor]:
    """Keep the best of each group of masks whose boxes overlap.

    Args:
        rle_masks: masks as run lengths in column order, as pycocotools writes them.
        scores: (masks,)
        boxes: (masks, 4), as x0, y0, x1, y1.
        crops_nms_thresh: intersection over union above which two boxes are the same thing.

    Returns:
        The kept masks as boolean arrays (height, width), their scores, run lengths and boxes, best first.
    """
    kept = suppress_overlaps(boxes.float(), scores, crops_nms_thresh)
    chosen = [rle_masks[index] for index in kept.tolist()]
    return [_decode(mask) for mask in chosen], scores[kept], chosen, boxes[kept]


def suppress_overlaps(boxes: torch.Tensor, scores: torch.Tensor, threshold: float) -> torch.Tensor:
    """Return the indices of the boxes that greedy non-maximum suppression keeps, best score first.

    Args:
        boxes: (boxes, 4), as x0, y0, x1, y1.
        scores: (boxes,)
        threshold: a box that overlaps a better one by more (intersection over union) is dropped.
    """
    remaining = scores.argsort(descending=True, stable=True)
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    kept = []
    while len(remaining):
        best, others = remaining[0], remaining[1:]
        kept.append(best)
        low = torch.maximum(boxes[best, :2], boxes[others, :2])
        high = torch.minimum(boxes[best, 2:], boxes[others, 2:])
        shared = (high - low).clamp(min=0).prod(dim=1)
        overlap = shared / (areas[best] + areas[others] - shared)
        remaining = others[~(overlap > threshold)]
    return torch.stack(kept) if kept else remaining


def _decode(mask: Mapping[str, Any]) -> numpy.ndarray:
    """Return a mask (height, width) from its run lengths, which begin with the outside and go down the columns."""
    height, width = mask["size"]
    values = numpy.arange(len(mask["counts"])) % 2 == 1
    return numpy.repeat(values, mask["counts"]).reshape(width, height).T
