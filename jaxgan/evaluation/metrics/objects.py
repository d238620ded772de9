"""What is in the picture: area or volume, outline or surface of what a threshold finds, and its pieces."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from jaxgan.evaluation.metric import CannotMeasure, Metric, Report, Value
from jaxgan.evaluation.metrics.distances import READING, add_distance

# Pixels of each set that are measured, at most: outlines take their time.
MOST_PIXELS = 2**26
MOST = 1000


@dataclasses.dataclass(frozen=True)
class Objects:
    """What a threshold finds in one image or volume.

    Attributes:
      size: area or volume of all of it.
      outline: its circumference or surface.
      pieces: areas or volumes of its connected components (faces touch), rising.
    """

    size: float
    outline: float
    pieces: np.ndarray


def measure_objects(mask: np.ndarray, spacing: tuple[float, ...]) -> Objects:
    """Measures a foreground `[H, W]` or `[D, H, W]` of bool, with the lengths of a pixel along each axis.

    Surfaces of volumes are those of marching cubes (Lorensen and Cline 1987); circumferences Crofton's with four
    directions, for square pixels of the mean length.
    """
    from skimage import measure

    each = math.prod(spacing)
    pieces = np.bincount(np.asarray(measure.label(mask, connectivity=1)).reshape(-1))[1:] * each
    if not mask.any():
        outline = 0.0
    elif mask.ndim == 2:
        outline = float(measure.perimeter_crofton(np.pad(mask, 1), directions=4)) * float(np.mean(spacing))
    else:
        vertices, faces, _, _ = measure.marching_cubes(np.pad(mask, 1).astype(np.float32), 0.5, spacing=spacing)
        outline = float(measure.mesh_surface_area(vertices, faces))
    return Objects(float(mask.sum() * each), outline, np.sort(pieces.astype(float)))


def _measure(report: Report) -> None:
    try:
        from skimage.filters import threshold_otsu
    except ImportError:
        raise CannotMeasure("scikit-image is not installed: pip install 'jaxgan[evaluation]'") from None
    sets = [summary.arrays["samples"].mean(axis=-1) for summary in (report.real, report.generated)]
    most = max(2, min(MOST, MOST_PIXELS // sets[0][0].size))
    sets = [images[np.sort(np.random.default_rng(0).permutation(len(images))[:most])] for images in sets]
    threshold = float(threshold_otsu(sets[0]))
    # The object is what covers less of the real images: bright on dark, or dark on bright as in stained tissue.
    bright = float(np.mean(sets[0] > threshold)) <= 0.5
    rank = sets[0].ndim - 1
    spacing = report.spacing or (1.0,) * rank
    masks = [(images > threshold) if bright else (images <= threshold) for images in sets]
    real, generated = ([measure_objects(mask, spacing) for mask in kind] for kind in masks)
    unit = "mm" if report.spacing else "pixels" if rank == 2 else "voxels"

    def powered(power: int) -> str:
        if not report.spacing:
            return unit
        return unit if power == 1 else f"mm^{power}"

    scaling = report.scaling
    at = (threshold + 1) / 2 * (scaling.high - scaling.low) + scaling.low if scaling else threshold
    protocol: dict[str, Any] = {
        "foreground": f"values {'above' if bright else 'up to'} {at:.5g}, Otsu's threshold of the real images",
        "measured": [len(real), len(generated)],
    }
    what = ("area", "circumference") if rank == 2 else ("volume", "surface")
    for name, label, of in (
        ("object_size", f"{what[0]} [{powered(rank)}]", lambda o: np.array([o.size])),
        ("object_outline", f"{what[1]} [{powered(rank - 1)}]", lambda o: np.array([o.outline])),
        ("component_count", "connected components [pieces]", lambda o: np.array([float(len(o.pieces))])),
        ("component_size", f"{what[0]} of a component [{powered(rank)}]", lambda o: o.pieces),
    ):
        add_distance(report, name, ([of(o) for o in real], [of(o) for o in generated]), label, **protocol)


OBJECTS = Metric(
    "objects",
    "what Otsu's threshold of the real images finds: area or volume and circumference or surface in a sample, number"
    " and size of connected components (scikit-image); 1-D Wasserstein distances of the distributions, in mm where the"
    " pixel size is known",
    tuple(
        Value(name, "lower", READING, same=0.0, bounds=(0.0, np.inf))
        for name in ("object_size", "object_outline", "component_count", "component_size")
    ),
    needs=("samples",),
    measure=_measure,
    default=False,
)
