"""Looks a prepared dataset through and says what is wrong with it."""

from __future__ import annotations

import collections
import csv
import dataclasses
import hashlib
from pathlib import Path

import numpy as np

from jaxgan.data.dataset import Dataset
from jaxgan.data.preparing.geometry import resample
from jaxgan.data.preparing.prepared import open_prepared
from jaxgan.data.preparing.seal import load_record
from jaxgan.data.preparing.spacing import text
from jaxgan.data.preparing.statistics import Statistics, summarise
from jaxgan.errors import InputError, printable
from jaxgan.pictures import write_grid

_NEAR = 0.999
_NEAR_LIMIT = 20_000
_CHUNK_BYTES = 32 << 20


@dataclasses.dataclass(frozen=True)
class Report:
    """What `check` found.

    Attributes:
      lines: the findings, for reading.
      problems: what is wrong, one line each; empty if nothing is.
      preview: the picture of some samples.
    """

    lines: tuple[str, ...]
    problems: tuple[str, ...]
    preview: Path


def check(folder: Path, preview: Path | None = None) -> Report:
    """Checks every sample of every split of a prepared dataset.

    Wrong are: damaged files, NaN or infinite values, constant images, exact duplicates, a class without samples, more
    than 1% clipped values, and values that fill less than 5% of the scaling's range (they would train as flat images).
    Near duplicates and unbalanced classes are named, but may be meant.

    Args:
      folder: what `prepare` returned.
      preview: where the picture goes; None: `preview.png` in the folder.

    Raises:
      InputError: the dataset cannot be opened.
    """
    record = load_record(folder)
    dataset = open_prepared(folder, "all")
    sources = _sources(folder, dataset.size)
    lines, problems = _describe(record, dataset), []
    constant, digests = [], collections.defaultdict(list)
    thumbnails = np.empty((min(dataset.size, _NEAR_LIMIT), 16 * 16), np.float32)
    for start, images in _chunks(dataset):
        for i, image in enumerate(images, start):
            if image.min() == image.max():
                constant.append(i)
            digests[hashlib.blake2b(image.tobytes(), digest_size=16).digest()].append(i)
            if i < len(thumbnails):
                thumbnails[i] = _thumbnail(image)
    statistics = summarise(lambda: (images for _, images in _chunks(dataset)))
    lines += _values(statistics)
    if statistics.nonfinite:
        problems.append(f"{statistics.nonfinite} NaN or infinite values")
    if constant:
        problems.append(f"{len(constant)} constant images, e.g. {sources[constant[0]]}")
    twins = [group for group in digests.values() if len(group) > 1]
    lines.append(f"exact duplicates: {sum(len(group) - 1 for group in twins)}")
    if twins:
        first, second = twins[0][:2]
        problems.append(
            f"{sum(len(group) - 1 for group in twins)} exact duplicates, e.g. {sources[first]} and {sources[second]}"
        )
    lines.append(_near_duplicates(thumbnails, twins, sources, dataset.size))
    problems += _scaling_problems(statistics, dataset)
    problems += _class_problems(dataset, lines)
    preview = preview or folder / "preview.png"
    write_preview(dataset, preview)
    lines.append(f"preview: {preview}")
    return Report(tuple(map(printable, lines)), tuple(map(printable, problems)), preview)


def write_preview(dataset: Dataset, path: Path, count: int = 64) -> None:
    """A grid of samples from all over the set, as training sees them; of volumes the three middle planes."""
    picked = np.linspace(0, dataset.size - 1, min(count, dataset.size)).round().astype(int)
    try:
        samples = np.asarray(dataset.scaling.decode(dataset.read(picked)))
        write_grid(path, samples, overwrite=True, affine=dataset.affine)
    except InputError as error:
        raise InputError(f"{path} cannot be written: {error}; choose another file by --preview") from None


def _chunks(dataset: Dataset):
    """`(first index, images)` a few MB at a time."""
    step = max(1, _CHUNK_BYTES // (dataset.nbytes // dataset.size))
    for start in range(0, dataset.size, step):
        yield start, dataset.read(np.arange(start, min(start + step, dataset.size)))


def _describe(record: dict, dataset: Dataset) -> list[str]:
    scaling = dataset.scaling
    splits = ", ".join(f"{split} {count}" for split, count in record["splits"].items())
    unit = f" {scaling.units}" if scaling.units else ""
    lines = [
        f"dataset: {record['name']} from {record['source']}",
        f"samples: {dataset.size} ({splits}); rejected {record['rejected']}, ignored {record['ignored']} other files",
        f"shape: {'x'.join(str(n) for n in dataset.shape)} {scaling.dtype}",
        f"scaling: {scaling.policy}, {scaling.low:g} to {scaling.high:g}{unit} become -1 to 1; "
        f"{scaling.clipped} values clipped",
    ]
    if holdout := record.get("holdout"):
        lines.append(
            f"held out, never trained on: {holdout['split']!r}, {record['splits'][holdout['split']]} samples of "
            f"{holdout['groups']} {holdout['by']}s"
        )
    lines += [*describe_space(record), *(f"warning: {warning}" for warning in record.get("warnings", ()))]
    if record.get("masked"):
        lines.append(f"values that marked missing data: {record['masked']}")
    if record["composited_on_white"]:
        lines.append(f"transparent pictures laid on white: {record['composited_on_white']}")
    return lines


def describe_space(record: dict) -> list[str]:
    """Voxel sizes and extents of a prepared set, for reading."""
    spacing, volumes = record.get("spacing"), record.get("volumes")
    spatial = record["shape"][:-1]
    lines = ["spacing: unknown, so nothing that is generated claims a size"]
    if spacing is not None:
        extent = [size * count for size, count in zip(spacing, spatial, strict=True)]
        how = "" if volumes is None else f" ({volumes['policy']})"
        lines = [f"spacing: {text(spacing)} mm{how}, extent {text(extent)} mm"]
    if volumes is not None:
        for name, what in (("voxels_mm", "voxels"), ("extents_mm", "extents")):
            ranges = ", ".join(f"{which} {text(sizes)}" for which, sizes in volumes[name].items())
            lines.append(f"{what} of the files in mm: {ranges}")
        lines.append(f"largest volume: {volumes['largest']}; {volumes['cut']} volumes lose their border")
    return lines


def _values(statistics: Statistics) -> list[str]:
    quantiles = ", ".join(f"{100 * p:g}% {value:g}" for p, value in statistics.quantiles.items())
    return [
        f"values: {statistics.low:g} to {statistics.high:g}, mean {statistics.mean:.6g}, std {statistics.std:.6g}",
        f"percentiles: {quantiles}",
    ]


def _scaling_problems(statistics: Statistics, dataset: Dataset) -> list[str]:
    scaling = dataset.scaling
    problems: list[str] = []
    if statistics.count == 0:
        return problems
    filled = (statistics.high - statistics.low) / (scaling.high - scaling.low)
    if filled < 0.05:
        problems.append(
            f"values {statistics.low:g} to {statistics.high:g} fill {filled:.1%} of the scaling's range "
            f"{scaling.low:g} to {scaling.high:g}: prepare with --scaling minmax"
        )
    if scaling.clipped > 0.01 * statistics.count:
        problems.append(f"{scaling.clipped / statistics.count:.1%} of the values are clipped by the scaling")
    return problems


def _class_problems(dataset: Dataset, lines: list[str]) -> list[str]:
    if dataset.labels is None:
        lines.append("classes: none")
        return []
    counts = np.bincount(dataset.labels, minlength=dataset.num_classes)
    balance = ", ".join(f"{name} {count}" for name, count in zip(dataset.class_names, counts, strict=True))
    ratio = counts.max() / max(counts.min(), 1)
    lines.append(f"classes: {balance} (largest to smallest {ratio:.3g})")
    empty = [name for name, count in zip(dataset.class_names, counts, strict=True) if count == 0]
    return [f"class {empty[0]} has no samples ({len(empty)} such classes)"] if empty else []


def _thumbnail(image: np.ndarray) -> np.ndarray:
    """A 16x16 picture of the image (a volume's mean along its first axis), standardised, flat."""
    values = np.nan_to_num(image.astype(np.float32), posinf=0, neginf=0).mean(-1)
    values = values.mean(0) if values.ndim == 3 else values
    small = resample(values[..., None], (16, 16)).ravel()
    small = small - small.mean()
    norm = np.linalg.norm(small)
    return small / norm if norm > 0 else small


def _near_duplicates(thumbnails: np.ndarray, twins: list[list[int]], sources: list[str], size: int) -> str:
    """Pairs whose thumbnails correlate almost perfectly but that are not equal."""
    # Pairs of twins would be as many as the square of their number: each image has the number of its group instead.
    group_of = np.arange(size)
    for group in twins:
        group_of[group] = group[0]
    count, example = 0, ""
    for start in range(0, len(thumbnails), 1024):
        block = thumbnails[start : start + 1024] @ thumbnails.T
        near = np.triu(block > _NEAR, start + 1)
        near &= group_of[start : start + len(block), None] != group_of[: len(thumbnails)]
        count += int(near.sum())
        if not example and near.any():
            row, column = np.unravel_index(near.argmax(), near.shape)
            example = f", e.g. {sources[start + row]} and {sources[column]}"
    scope = "" if size <= len(thumbnails) else f" among the first {len(thumbnails)}"
    return f"near duplicates{scope} (16x16 thumbnails correlate above {_NEAR}): {count} pairs{example}"


def _sources(folder: Path, size: int) -> list[str]:
    with (folder / "samples.csv").open(newline="", errors="surrogateescape") as stream:
        rows = list(csv.DictReader(stream))
    return [f"{row['split']} {row['index']} ({row['source']})" for row in rows][:size]
