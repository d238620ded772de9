"""Features of images and volumes in every symmetry, by as few passes through the network as these need."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from jaxgan.evaluation.metrics.neighbours import distance_blocks
from jaxgan.evaluation.networks.extractor import Extractor
from jaxgan.evaluation.symmetric_search import Neighbours, Symmetry, symmetries

_BLOCK = 128


def _planes(turn: Symmetry) -> list[tuple]:
    """What the planes across each axis of a turned sample are: across which axis of the original, and turned how."""
    if len(turn.axes) == 2:
        return [(0, *turn)]
    found = []
    for axis in range(3):
        b, c = (other for other in range(3) if other != axis)
        found.append((turn.axes[axis], turn.axes[b] > turn.axes[c], turn.backwards[b], turn.backwards[c]))
    return found


def passes(spatial: tuple[int, ...]) -> list[Symmetry]:
    """Turns among whose planes are those of every symmetry of the shape: 8 of a square; of the 48 of a cube, 8 or a few
    more, since a mean over slices does not know their order."""
    turns, chosen, missing = symmetries(spatial), [], {plane for t in symmetries(spatial) for plane in _planes(t)}
    while missing:
        best = max(turns, key=lambda turn: len(missing.intersection(_planes(turn))))
        chosen.append(best)
        missing -= set(_planes(best))
    return chosen


def turned_features(extractor: Extractor, images: np.ndarray) -> np.ndarray:
    """Descriptors `[M, T, A * width]` of `[M, *spatial, C]` in each of the T symmetries of the shape.

    A is 1 for images and 3 for volumes, whose planes across an axis are averaged. Exact for images; for volumes the
    slices of a reversed axis may lie one voxel beside those of the original.
    """
    spatial, size = images.shape[1:-1], extractor.batch_size(images.shape[1:])
    found: dict[tuple, np.ndarray] = {}
    for turn in passes(spatial):
        parts = []
        for start in range(0, len(images), size):
            block = turn(images[start : start + size])
            padded = np.concatenate([block, np.repeat(block[:1], size - len(block), axis=0)])
            features, _ = extractor.extract(extractor.variables, jnp.asarray(padded))
            parts.append(np.asarray(features)[:, : len(block)].mean(axis=2))
        for plane, vectors in zip(_planes(turn), np.concatenate(parts, axis=1), strict=True):
            found.setdefault(plane, vectors)
    turns = symmetries(spatial)
    return np.stack([np.concatenate([found[p] for p in _planes(turn)], axis=-1) for turn in turns], axis=1)


def nearest_turned(turned: np.ndarray, others: np.ndarray, own: np.ndarray | None = None) -> Neighbours:
    """The nearest and second nearest of `others` to each sample in any of its turns; distances are Euclidean.

    Args:
      turned: `[M, T, D]` from `turned_features`.
      others: `[N, D]`, N at least 2 (3 with `own`).
      own: `[M]` places in `others` of the samples themselves, which are not their own neighbours; None: none are.
    """
    mean = others.mean(axis=0, dtype=np.float64)
    others = np.asarray(others - mean, np.float32)
    parts = []
    for start in range(0, len(turned), _BLOCK):
        block = np.asarray(turned[start : start + _BLOCK] - mean, np.float32)
        best = np.full((len(block), len(others)), np.inf, np.float32)
        which = np.zeros(best.shape, np.int64)
        for number in range(block.shape[1]):
            for rows, distances in distance_blocks(block[:, number], others):
                which[rows] = np.where(distances < best[rows], number, which[rows])
                best[rows] = np.minimum(best[rows], distances)
        if own is not None:
            best[np.arange(len(block)), own[start : start + _BLOCK]] = np.inf
        order = np.argsort(best, axis=1, kind="stable")[:, :2]
        index = order[:, 0]
        parts.append((np.take_along_axis(best, order, axis=1), index, which[np.arange(len(block)), index]))
    return Neighbours(*(np.concatenate(column) for column in zip(*parts, strict=True)))
