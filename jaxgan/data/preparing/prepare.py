"""From a listed source to a prepared dataset: decode once, choose the scaling over all of it, write, rename."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import logging
import os
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from jaxgan.data.listing.collection import Collection, Entry
from jaxgan.data.preparing import fingerprint
from jaxgan.data.preparing.convert import Conversion, convert
from jaxgan.data.preparing.disk_buffer import DiskBuffer, chunked, ordered_map
from jaxgan.data.preparing.holdout import divide
from jaxgan.data.preparing.records import VERSION, write_records
from jaxgan.data.preparing.seal import RECORD_FILE, is_sound, write_record
from jaxgan.data.preparing.spacing import Geometry, common_grid, settle
from jaxgan.data.scaling import choose
from jaxgan.errors import InputError, printable
from jaxgan.files import temporary_folder
from jaxgan.processes import ending
from jaxgan.processes.progress import counted


@dataclasses.dataclass(frozen=True)
class Policy:
    """Choices about a whole set; with `Conversion` and the content they are the identity of a prepared dataset.

    Attributes:
      scaling: see `scaling.choose`; None for its default.
      low: with scaling "fixed".
      high: with scaling "fixed".
      percentiles: with scaling "percentile".
      units: what the values measure.
      max_rejected: largest share of unusable files.
      split: a share held out as "test", or names to keep; see `holdout.divide`.
      seed: of the held-out choice.
      holdout: what is never trained on and evaluation compares with; see `holdout.divide`.
      group: regular expression of what must stay on one side; see `holdout.divide`.
    """

    scaling: str | None = None
    low: float | None = None
    high: float | None = None
    percentiles: tuple[float, float] = (0.1, 99.9)
    units: str = ""
    max_rejected: float = 0.01
    split: str | None = None
    seed: int = 0
    holdout: str = ""
    group: str = ""

    def identity(self) -> dict[str, Any]:
        """All choices that decide what is stored; without a holdout the same as before there was one."""
        choices = dataclasses.asdict(self)
        return {name: value for name, value in choices.items() if value or name not in ("holdout", "group")}

    def __post_init__(self):
        # Before anything is decoded: what follows may take hours.
        if self.scaling == "fixed" and (self.low is None or self.high is None):
            raise InputError("scaling='fixed': needs the values that become -1 and +1: give --low and --high")
        if (self.low is None) != (self.high is None):
            raise InputError(f"low={self.low}, high={self.high}: give both ends, --low and --high, or none")
        if self.low is not None and self.scaling not in (None, "fixed"):
            raise InputError(f"low={self.low}: goes with scaling fixed, not {self.scaling}: leave --low and --high out")
        if self.low is not None and self.high is not None and not self.low < self.high:
            raise InputError(f"low={self.low}: must be below high={self.high}")
        if not 0 <= self.percentiles[0] < self.percentiles[1] <= 100:
            raise InputError(f"percentiles={self.percentiles}: must be two rising numbers between 0 and 100")


def prepare(
    collection: Collection,
    data_dir: Path,
    name: str,
    conversion: Conversion,
    policy: Policy | None = None,
    *,
    progress: bool = False,
) -> Path:
    """Writes `data_dir/name/CONFIG/1.0.0`, or finds it already written from the same content with the same choices.

    Everything is written to a temporary folder and renamed at the end, so a prepared dataset is whole or absent.

    Args:
      collection: the listed source.
      data_dir: made if absent.
      name: of the dataset; letters, digits, `_`, `-` and `.`.
      conversion: how a file becomes samples.
      policy: choices about the whole set.
      progress: shows progress.

    Raises:
      InputError: too many unusable files, shapes or dtypes that do not agree, a constant set, no space.
    """
    policy = policy or Policy()
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise InputError(f"name={name!r}: may have letters, digits and _ - . only, and no point first")
    if len(name) > 100:
        raise InputError(f"name={name[:40]}...: has {len(name)} characters, give at most 100")
    if not 0 <= policy.max_rejected <= 1:
        raise InputError(f"max_rejected={policy.max_rejected}: must be a share between 0 and 1")
    collection, holdout = divide(collection, policy.split, policy.holdout, policy.group, policy.seed)
    identity = _identity(collection, conversion, policy)
    config = f"{conversion.size or 'native'}-{identity[:16]}"
    final = data_dir / name / config / VERSION
    if is_sound(final):
        return final
    made = [folder for folder in (data_dir, *data_dir.parents) if not folder.exists()]
    temporary = _make_temporary(data_dir)
    stack = contextlib.ExitStack()
    try:
        stack.enter_context(ending.scratch(temporary))
        collection, geometry = settle(collection, conversion, progress)
        with DiskBuffer(temporary) as buffer:
            _fill(buffer, collection, geometry.conversion, policy, data_dir / f"{name}.rejected.csv", progress)
            folder = _write(buffer, temporary, name, config, collection, geometry, policy, identity, holdout)
        final.parent.parent.mkdir(exist_ok=True)
        if (final / RECORD_FILE).exists() and not is_sound(final):
            os.rename(final.parent, temporary / "damaged")
        try:
            os.rename(folder.parent, final.parent)
        except OSError:
            # Another process prepared the same content meanwhile: its result is as good as ours.
            if not (final / RECORD_FILE).exists():
                raise
    except OSError as error:
        raise InputError(f"{data_dir}: writing failed ({error.strerror or error}); make room and try again") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        stack.close()
        with contextlib.suppress(OSError):  # Of folders made for this, those that stayed empty go.
            for folder in made:
                folder.rmdir()
    return final


def _identity(collection: Collection, conversion: Conversion, policy: Policy) -> str:
    """Hash of all that decides what is stored."""

    def subject(entry: Entry) -> tuple[str, ...]:
        return (entry.group,) if collection.grouped_by else ()

    entries = {
        split: [(entry.name.removeprefix(str(collection.root)), entry.label, *subject(entry)) for entry in listed]
        for split, listed in collection.splits.items()
    }
    return fingerprint.combine(
        fingerprint.of_content(collection.files, collection.root),
        [collection.spatial_rank, collection.class_names, entries],
        conversion.identity(collection.spatial_rank),
        policy.identity(),
    )


def _make_temporary(data_dir: Path) -> Path:
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        return temporary_folder(data_dir)
    except OSError as error:
        raise InputError(f"{data_dir}: cannot be written ({error.strerror}); give another folder") from None


def _fill(
    buffer: DiskBuffer, collection: Collection, conversion: Conversion, policy: Policy, report: Path, progress: bool
) -> None:
    """Decodes and converts all entries in parallel, in order; too many failures are an `InputError`."""
    jobs = [(split, entry) for split, entries in collection.splits.items() for entry in entries]

    def work(job):
        index, (_, entry) = job
        try:
            decoded = entry.read()
            samples = [sample for image in decoded for sample in convert(image, conversion, index)]
            return samples, sum(image.composited for image in decoded), None
        except InputError as error:
            return [], 0, str(error)

    with ordered_map(work, enumerate(jobs)) as done:
        results = counted(zip(jobs, done, strict=True), "preparing", len(jobs), "image", progress)
        for (split, entry), (samples, composited, reason) in results:
            for sample in samples:
                buffer.add(split, entry, sample)
            buffer.composited += composited
            if reason is not None:
                buffer.rejected.append((entry.name, reason.removeprefix(f"{entry.name}: ")))
    if len(buffer.rejected) > policy.max_rejected * len(jobs) or not buffer.names:
        name, reason = buffer.rejected[0]
        if len({why for _, why in buffer.rejected}) == 1 and len(buffer.rejected) == len(jobs) > 1:
            # A flag is wrong rather than files: there is nothing to list.
            raise InputError(f"{name}: {reason} (as in all {len(jobs)} images)")
        write_rejected(report, buffer.rejected, collection.ignored)
        raise InputError(
            f"{name}: {reason} ({len(buffer.rejected)} of {len(jobs)} images cannot be used, more than "
            f"max_rejected={policy.max_rejected:g} allows; all are listed in {report})"
        )
    if empty := [split for split in collection.splits if not buffer.names.get(split)]:
        name, reason = next(iter(buffer.rejected))
        raise InputError(
            f"{name}: {reason}; with it the split {empty[0]!r} has no image left: mend the file, or hold out more"
        )


def _write(
    buffer: DiskBuffer,
    temporary: Path,
    name: str,
    config: str,
    collection: Collection,
    geometry: Geometry,
    policy: Policy,
    identity: str,
    holdout: dict[str, Any] | None,
) -> Path:
    """Chooses the scaling, writes the records and, last, the record of what they are."""
    conversion, images = geometry.conversion, buffer.images()
    grid = common_grid(buffer.affines, buffer.spacings, buffer.shape[:-1], geometry.claims)
    warnings = [*geometry.warnings, *([grid.warning] if grid.warning else [])]
    for warning in warnings:
        logging.getLogger("jaxgan").warning("%s: %s", name, printable(warning))
    scale, low, high, units = policy.scaling, policy.low, policy.high, policy.units
    if conversion.normalise is not None and scale is None and low is None and high is None:
        scale, low, high, units = "fixed", 0.0, 1.0, units or "normalised intensity"
    try:
        scaling, statistics = choose(
            lambda: chunked(images.values()),
            buffer.dtype,
            scale,
            low=low,
            high=high,
            percentiles=policy.percentiles,
            units=units,
        )
    except InputError as error:
        raise InputError(f"{error} ({_extremes(images, buffer.names)})") from None
    labels = {s: np.array(buffer.labels[s], np.int32) if collection.class_names else None for s in images}
    splits = {split: (images[split], labels[split]) for split in images}
    folder = write_records(temporary, name, config, splits, collection.class_names)
    with (folder / "samples.csv").open("w", newline="", errors="surrogateescape") as stream:
        table = csv.writer(stream)
        table.writerow(("split", "index", "source", "class", "group"))
        for split, names in buffer.names.items():
            for i, source in enumerate(names):
                label = buffer.labels[split][i]
                label = "" if label is None else collection.class_names[label]
                table.writerow((split, i, source, label, buffer.groups[split][i]))
    for split, values in labels.items():
        if values is not None:
            np.save(folder / f"labels-{split}.npy", values)
    write_rejected(folder / "rejected.csv", buffer.rejected, collection.ignored)
    record = {
        "format": 2,
        "name": name,
        "source": str(collection.root.absolute()),
        "fingerprint": identity,
        "shape": list(buffer.shape),
        "splits": {split: len(names) for split, names in buffer.names.items()},
        "class_names": list(collection.class_names),
        "scaling": scaling.to_dict(),
        "affine": None if grid.affine is None else grid.affine.tolist(),
        "spacing": grid.spacing,
        "volumes": geometry.record,
        "holdout": holdout,
        "warnings": warnings,
        "conversion": dataclasses.asdict(conversion),
        "policy": dataclasses.asdict(policy),
        "statistics": dataclasses.asdict(statistics),
        "rejected": len(buffer.rejected),
        "ignored": len(collection.ignored),
        "composited_on_white": buffer.composited,
        "masked": buffer.masked,
    }
    write_record(folder, record)
    return folder


def _extremes(images: dict[str, np.ndarray], names: dict[str, list[str]]) -> str:
    """Which files hold the smallest and the largest value of a set."""
    found = [
        (value, name)
        for split, stack in images.items()
        for image, name in zip(stack, names[split], strict=True)
        for value in (image.min(), image.max())
    ]
    low, high = min(found, key=lambda pair: pair[0]), max(found, key=lambda pair: pair[0])
    return f"{low[1]} holds {low[0]:g}, {high[1]} holds {high[0]:g}"


def write_rejected(path: Path, rejected: list[tuple[str, str]], ignored: tuple[tuple[str, str], ...]) -> None:
    """Lists what was not used: "rejected" is an image that failed, "ignored" is no image."""
    with path.open("w", newline="", errors="surrogateescape") as stream:
        table = csv.writer(stream)
        table.writerow(("file", "kind", "reason"))
        table.writerows((name, "rejected", reason) for name, reason in rejected)
        table.writerows((name, "ignored", reason) for name, reason in ignored)
