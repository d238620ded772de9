"""Cuts patches that hold tissue from whole-slide images."""

from __future__ import annotations

import collections
import dataclasses
import functools
import threading
from pathlib import Path

import numpy as np

from jaxgan.data.listing.collection import Collection, Entry, natural, walk
from jaxgan.data.listing.label_table import match
from jaxgan.data.listing.slides import Slide, open_slide, tissue
from jaxgan.data.preparing.disk_buffer import ordered_map
from jaxgan.data.preparing.geometry import resample
from jaxgan.data.preparing.stain import Stain, estimate
from jaxgan.data.readers import Decoded
from jaxgan.errors import InputError
from jaxgan.processes.progress import counted

SLIDE_SUFFIXES = (".svs", ".tif", ".tiff", ".ndpi", ".scn", ".bif")


@dataclasses.dataclass(frozen=True)
class Cutting:
    """How patches are cut.

    Attributes:
      size: pixels a side of a patch.
      level: of the slide's pyramid, 0 the finest; not together with `mpp`.
      mpp: micrometres a pixel of the patches: read from the coarsest level that is fine enough, then resampled.
      overlap: share of a patch's side that neighbours share, 0 to below 1.
      min_tissue: smallest share of tissue in a patch.
      max_patches: of all slides together, spread evenly, None for all.
      seed: of the choice among the patches.
    """

    size: int = 256
    level: int | None = None
    mpp: float | None = None
    overlap: float = 0.0
    min_tissue: float = 0.5
    max_patches: int | None = None
    seed: int = 0

    def __post_init__(self):
        if self.level is not None and self.mpp is not None:
            raise InputError("level and mpp both name a resolution; give one of them")
        for field, holds, rule in (
            ("size", self.size >= 1, "at least 1"),
            ("level", (self.level or 0) >= 0, "at least 0"),
            ("mpp", self.mpp is None or self.mpp > 0, "above 0"),
            ("overlap", 0 <= self.overlap < 1, "at least 0 and below 1"),
            ("min_tissue", 0 <= self.min_tissue <= 1, "between 0 and 1"),
            ("max_patches", self.max_patches is None or self.max_patches >= 1, "at least 1"),
        ):
            if not holds:
                raise InputError(f"{field}={getattr(self, field)}: must be {rule}")


def list_slides(
    source: Path,
    cutting: Cutting,
    labels: dict[str, str] | None = None,
    *,
    labelled: bool = False,
    progress: bool = False,
) -> Collection:
    """Lists the patches of a slide or a folder of slides.

    Args:
      source: a slide, or a folder with slides at any depth.
      cutting: how.
      labels: classes by slide, see `label_table.match`, e.g. the grades of PANDA's train.csv.
      labelled: without `labels`, the class of a slide is the sub-folder of `source` it lies in.
      progress: shows progress.

    Returns:
      One entry a patch that holds enough tissue, in the order of slides, rows and columns; all "train". A slide
      that cannot be read is one entry whose `read` raises, so that it is counted and listed as rejected.

    Raises:
      InputError: no slide, no tissue anywhere, a slide without a label.
    """
    ignored: list[tuple[str, str]] = []
    paths = [source] if source.is_file() else [p for p in walk(source, ignored) if _is_slide(p, ignored)]
    if not paths or not source.exists():
        raise InputError(f"{source}: holds no slides; they must be one of {' '.join(SLIDE_SUFFIXES)}")
    class_of = dict.fromkeys(paths, "")
    if labels is not None:
        class_of = match(paths, source, labels)
    elif labelled and source.is_dir():
        class_of = {path: path.relative_to(source).parts[0] if path.parent != source else "" for path in paths}
    if (labels is not None or labelled) and not all(class_of.values()):
        without = next(path for path in paths if not class_of[path])
        way = "lies in no class folder" if labels is None else "is not in the table of labels"
        raise InputError(f"{without}: {way}; add its class, or prepare without labels")
    classes = tuple(sorted(set(class_of.values()) - {""}, key=natural))

    def survey(numbered: tuple[int, Path]) -> list[Entry]:
        number, path = numbered
        label = classes.index(class_of[path]) if classes else None
        try:
            return _patches(path, cutting, label, np.random.default_rng([cutting.seed, number]))
        except InputError as error:
            return [Entry(str(path), functools.partial(_raise, error), label, str(path))]

    with ordered_map(survey, enumerate(paths)) as steps:
        found = list(counted(steps, "finding tissue", len(paths), "slide", progress))
    ignored += [(str(path), "no patch with enough tissue") for path, got in zip(paths, found, strict=True) if not got]
    chosen = _spread(found, cutting.max_patches, cutting.seed)
    if not chosen:
        raise InputError(
            f"{source}: no patch of {cutting.size} pixels holds {cutting.min_tissue:.0%} tissue; lower --min_tissue "
            "or --size, or look at the slides"
        )
    return Collection(source, 2, {"train": chosen}, classes, tuple(paths), tuple(ignored))


def _patches(path: Path, cutting: Cutting, label: int | None, rng: np.random.Generator) -> list[Entry]:
    """The patches of one slide with enough tissue, in random order."""
    slide = open_slide(path)
    level, side = _resolution(slide, cutting)
    height, width = slide.shape(level)
    if side > min(height, width):
        raise InputError(
            f"{path}: level {level} of {height}x{width} is smaller than a patch; lower --size or choose a finer --level"
        )
    # About 16 thumbnail pixels along a patch are enough to measure its tissue, and bound the work on large slides.
    factor = max(1, int(side * slide.downsample(level) // 16))
    thumbnail, factor = slide.thumbnail(factor)
    mask = tissue(thumbnail).astype(np.float64)
    sums = np.pad(mask.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    scale = slide.downsample(level) / factor
    step = max(1, round(side * (1 - cutting.overlap)))
    stain = _SlideStain(path, level, side)
    entries = []
    for top in range(0, height - side + 1, step):
        for left in range(0, width - side + 1, step):
            y0, y1 = (min(int(v * scale), mask.shape[0]) for v in (top, top + side))
            x0, x1 = (min(int(v * scale), mask.shape[1]) for v in (left, left + side))
            area = max((y1 - y0) * (x1 - x0), 1)
            share = (sums[y1, x1] - sums[y0, x1] - sums[y1, x0] + sums[y0, x0]) / area
            if share >= cutting.min_tissue:
                read = functools.partial(_read_patch, path, level, top, left, side, cutting.size, stain)
                entries.append(Entry(f"{path}@{level}/{side}:{top},{left}", read, label, str(path)))
                stain.corners.append((top, left))
    return [entries[i] for i in rng.permutation(len(entries))]


def _spread(found: list[list[Entry]], limit: int | None, seed: int) -> list[Entry]:
    """At most `limit` entries, as evenly from all slides as they allow, in the order of slides and places."""
    turns = _turns(found, seed)
    quotas = [len(entries) for entries in found]
    if limit is not None:
        left, quotas = limit, [0] * len(found)
        while left > 0 and quotas != [len(entries) for entries in found]:
            for i in turns:
                if quotas[i] < len(found[i]) and left > 0:
                    quotas[i], left = quotas[i] + 1, left - 1
    kept = (entries[:quota] for entries, quota in zip(found, quotas, strict=True))
    return [entry for entries in kept for entry in sorted(entries, key=lambda entry: natural(entry.name))]


def _turns(found: list[list[Entry]], seed: int) -> list[int]:
    """The numbers of the slides that have patches, by chance, but one of each class before the second of any."""
    before: collections.Counter[int | None] = collections.Counter()
    turns = []
    for i in np.random.default_rng(seed).permutation(len(found)).tolist():
        if found[i]:
            label = found[i][0].label
            turns.append((before[label], i))
            before[label] += 1
    return [i for _, i in sorted(turns, key=lambda turn: turn[0])]


class _SlideStain:
    """The stain of a slide from up to 16 of its patches, estimated when first asked for."""

    def __init__(self, path: Path, level: int, side: int):
        self.corners: list[tuple[int, int]] = []
        self._path, self._level, self._side = path, level, side
        self._lock, self._known = threading.Lock(), False
        self._stain: Stain | None = None

    def __call__(self) -> Stain | None:
        with self._lock:
            if not self._known:
                picked = self.corners[:: max(1, len(self.corners) // 16)][:16]
                window = (self._side, self._side)
                slide = open_slide(self._path)
                pixels = [slide.read(self._level, *corner, *window)[::2, ::2] for corner in picked]
                self._stain, self._known = estimate(np.stack(pixels)), True
            return self._stain


def _read_patch(path: Path, level: int, top: int, left: int, side: int, size: int, stain) -> list[Decoded]:
    slide = open_slide(path)
    pixels = slide.read(level, top, left, side, side)
    # Micrometres of the finest level to millimetres of the patch.
    spacing = None if slide.mpp is None else (1e-3 * slide.mpp * slide.downsample(level) * side / size,) * 2
    return [Decoded(resample(pixels, (size, size)), spacing=spacing, stain=stain)]


def _resolution(slide: Slide, cutting: Cutting) -> tuple[int, int]:
    """The level to read and the side of a patch in its pixels."""
    levels = len(slide.pages)
    if cutting.mpp is None:
        level = cutting.level or 0
        if level >= levels:
            raise InputError(f"{slide.path}: has levels 0 to {levels - 1}, not {level}; choose another --level")
        return level, cutting.size
    if slide.mpp is None:
        raise InputError(f"{slide.path}: does not say its micrometres a pixel; use --level instead of --mpp")
    fine = [i for i in range(levels) if slide.mpp * slide.downsample(i) <= cutting.mpp * 1.01]
    if not fine:
        raise InputError(f"{slide.path}: has {slide.mpp:g} micrometres a pixel at best, not {cutting.mpp:g}")
    level = max(fine)
    return level, max(1, round(cutting.size * cutting.mpp / (slide.mpp * slide.downsample(level))))


def _is_slide(path: Path, ignored: list[tuple[str, str]]) -> bool:
    if path.suffix.lower() in SLIDE_SUFFIXES and not path.name.startswith("."):
        return True
    ignored.append((str(path), "not a slide format"))
    return False


def _raise(error: InputError) -> list[Decoded]:
    raise error
