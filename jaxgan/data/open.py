"""`open_dataset`: whatever the user has, prepared or not, as a `Dataset`."""

from __future__ import annotations

import contextlib
import json
import os
import re
import tempfile
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from jaxgan import clouds, files, parallel
from jaxgan.config import Config
from jaxgan.config.presets import as_config
from jaxgan.data import demo
from jaxgan.data.dataset import Dataset
from jaxgan.data.listing.archives import find_idx, find_npz, list_idx, list_npz
from jaxgan.data.listing.collection import CACHE_SUFFIX, Collection, guess_rank, list_folder, walk
from jaxgan.data.preparing import fingerprint
from jaxgan.data.preparing.convert import Conversion
from jaxgan.data.preparing.prepare import Policy, prepare
from jaxgan.data.preparing.prepared import find_prepared, open_prepared
from jaxgan.data.preparing.seal import load_record
from jaxgan.errors import InputError


def open_dataset(
    data_dir: str | os.PathLike,
    *,
    name: str | None = None,
    size: int | None = None,
    channels: int | None = None,
    labelled: bool | None = None,
    spatial_rank: int | None = None,
    split: str = "train",
    cache_dir: str | os.PathLike | None = None,
    scaling: str | None = None,
    normalise: str | None = None,
    fit: str | None = None,
    spacing: float | str | None = None,
    holdout: str = "",
    group: str = "",
    progress: bool = False,
) -> Dataset:
    """Opens a prepared dataset, or a raw source, which is prepared on first use.

    Args:
      data_dir: what `prepare_data.py` wrote, or a folder of images or volumes, class folders, a folder with IDX
        files, a MedMNIST npz or a folder with exactly one; also at `s3://BUCKET/KEY` or `gs://...`, see `clouds.fetch`.
      name: which of several datasets in `data_dir`.
      size: every spatial axis; None keeps the source's.
      channels: 1, 3 or None to keep the source's.
      labelled: False leaves labels out, True insists on them, None takes them if the source has them.
      spatial_rank: 2 for images, 3 for volumes; None goes by the files.
      split: "train", "val", "test", several joined by "+", or "all".
      cache_dir: where a raw source is prepared if `<data_dir>.jaxgan` beside it cannot be written. Where the
        environment variable JAXGAN_CACHE is set, `$JAXGAN_CACHE/data` takes the place of both.
      scaling: policy for a raw source, see `scaling.choose`.
      normalise: None, or "percentile" for a raw source of MRI volumes, see `convert.Conversion`.
      fit: how images of another shape come to `size`, see `geometry.fit`.
      holdout: share or split of a raw source that is never trained on, see `holdout.divide`.
      group: regular expression of what a holdout must not tear apart.
      spacing: of a raw source of volumes in mm, "auto" or "none", see `convert.Conversion`.
      progress: shows a progress bar while preparing.

    Returns:
      The dataset; opening it again is quick, and a source that changed is prepared anew.

    Raises:
      InputError: one line that names the file or field and the way out.
    """
    source = clouds.fetch(str(data_dir)) if clouds.is_remote(data_dir) else Path(data_dir).expanduser()
    if not source.exists():
        raise InputError(f"data_dir={source}: no such file or folder")
    found = find_prepared(source) if source.is_dir() else []
    if found:
        folder = _pick(source, found, name, size, channels)
        dataset = open_prepared(folder, split, labelled)
        _check_fits(folder, dataset, size, channels, spatial_rank)
        return dataset
    conversion = Conversion(size=size, channels=channels, fit=fit, normalise=normalise, spacing=spacing)
    policy = Policy(scaling=scaling, holdout=holdout, group=group)
    listed = _listed(source)
    note = (
        f"listing-{fingerprint.of_listing(listed, _RULES, labelled, spatial_rank, vars(conversion), vars(policy))}.json"
    )
    caches = _caches(source, cache_dir)
    folder = next(filter(None, (_remembered(cache / note) for cache in caches)), None)
    if folder is None:
        cache = _first_writable(caches)
        try:
            collection = list_source(source, labelled=labelled, spatial_rank=spatial_rank)
            folder = prepare(collection, cache, name or identifier(source), conversion, policy, progress=progress)
            files.write_json(cache / note, {"prepared": str(folder.relative_to(cache))})
        except InputError:
            with contextlib.suppress(OSError):
                cache.rmdir()  # if there is nothing in it
            raise
    dataset = open_prepared(folder, split, labelled)
    _check_fits(folder, dataset, size, channels, spatial_rank)
    return dataset


# Raised when what a folder holds is told otherwise: what was prepared by other rules is prepared anew.
_RULES = 2


def _listed(source: Path) -> Iterable[Path]:
    """The files that decide what a raw source holds; of IDX files one names those of the other kind and split."""
    if source.is_dir():
        return walk(source, [])
    return next((of.values() for of in find_idx(source.parent).values() if source in of.values()), [source])


def list_source(source: Path, *, labelled: bool | None = None, spatial_rank: int | None = None) -> Collection:
    """Lists a raw source of any kind; several data sets in one folder are an `InputError` that names them."""
    if source.is_file():
        if source.suffix.lower() in (".npz", ".npy"):
            return list_npz(source, labelled, spatial_rank)
        if "idx" in source.name:
            return list_idx(source, labelled)
        raise InputError(f"{source}: is one file, not a data set; give a folder of images, an npz or IDX files")
    idx, npz = find_idx(source), find_npz(source)
    if len(npz) + len(idx) > 1:
        choices = [path.name for path in npz] + [f"{prefix or ''}train-images..." for prefix in idx]
        raise InputError(f"{source}: holds {len(choices)} data sets; name one file of {', '.join(choices)}")
    if idx:
        return list_idx(source, labelled)
    if npz:
        return list_npz(npz[0], labelled, spatial_rank)
    return list_folder(source, labelled=labelled, spatial_rank=spatial_rank or guess_rank(source))


def identifier(source: Path) -> str:
    """A dataset name from a file or folder name."""
    stem = source.name.split(".")[0] or source.absolute().name
    plain = unicodedata.normalize("NFKD", stem.casefold()).encode("ascii", "ignore").decode()
    name = re.sub(r"[^a-z0-9]+", "_", plain).strip("_")
    return name if name[:1].isalpha() else f"data_{name}".rstrip("_")


def _pick(source: Path, found: list[Path], name: str | None, size: int | None, channels: int | None) -> Path:
    """The one prepared dataset that is meant."""

    def text(path: Path) -> str:
        return "/".join(path.parts[-3:-1])

    fitting = [p for p in found if name in (None, p.parts[-3], text(p))]
    if not fitting:
        raise InputError(f"name={name!r}: not in {source}, which has {', '.join(sorted({text(p) for p in found}))}")
    if len(fitting) > 1:
        shapes = {p: load_record(p)["shape"] for p in fitting}
        better = [p for p, shape in shapes.items() if size in (None, shape[0]) and channels in (None, shape[-1])]
        fitting = better or fitting
    if len(fitting) > 1:
        raise InputError(
            f"{source}: holds {len(fitting)} prepared datasets that fit; give the folder of one: "
            f"{', '.join(str(p.parent) for p in fitting)}"
        )
    return fitting[0]


def _check_fits(
    folder: Path, dataset: Dataset, size: int | None, channels: int | None, spatial_rank: int | None
) -> None:
    """Raises `InputError` if the dataset is not what was asked for."""
    spatial = dataset.shape[:-1]
    if spatial_rank not in (None, len(spatial)):
        raise InputError(f"{folder}: holds {len(spatial)}-D samples {dataset.shape}, asked for {spatial_rank}-D ones")
    if size is not None and set(spatial) != {size}:
        raise InputError(f"{folder}: was prepared at {spatial}, asked for size {size}; prepare it with --size {size}")
    if channels not in (None, dataset.shape[-1]):
        raise InputError(
            f"{folder}: was prepared with {dataset.shape[-1]} channels, asked for {channels}; prepare it with "
            f"--channels {channels}"
        )


def _caches(source: Path, cache_dir: str | os.PathLike | None) -> list[Path]:
    """Where a raw source may be prepared, the first choice first."""
    name = f"{source.absolute().name}{CACHE_SUFFIX}"
    if os.environ.get("JAXGAN_CACHE"):
        return [files.cache_folder() / "data" / name]
    return [source.absolute().with_name(name)] + ([] if cache_dir is None else [Path(cache_dir) / name])


def _first_writable(caches: list[Path]) -> Path:
    for cache in caches:
        try:
            cache.mkdir(parents=True, exist_ok=True)
            # Asking for permissions is not enough on network file systems: try.
            with tempfile.TemporaryFile(dir=cache):
                return cache
        except OSError as error:
            reason = error.strerror
    raise InputError(f"{caches[-1]}: cannot be written ({reason}); give a cache_dir or set JAXGAN_CACHE")


def _remembered(note: Path) -> Path | None:
    """The prepared folder that an unchanged listing led to before."""
    try:
        folder = note.parent / json.loads(note.read_text())["prepared"]
        load_record(folder)
        return folder
    except (OSError, ValueError, KeyError, InputError):
        return None


def open_data(
    config: Config | Mapping[str, Any] | str | os.PathLike,
    data_dir: str | os.PathLike,
    run_dir: str | os.PathLike | None = None,
    split: str | None = None,
) -> Dataset:
    """The data that a config and a `--data_dir` name.

    Args:
      config: a `Config`, nested fields or the name of a preset; its `data` section says size, channels, labels and
        scaling.
      data_dir: a prepared dataset, raw images, volumes or archives (prepared on first use, see `data.open_dataset`), or
        "demo", the 5,000 digits of `data.demo`.
      run_dir: where to prepare raw data when the folder beside them is not writable.
      split: which part, as for `open_dataset`; None: the config's. The demo has but one.

    Raises:
      InputError: nothing usable lies there.

    Example:
      >>> digits = open_data("mnist", "demo")
      >>> digits.size, digits.shape
      (5000, (28, 28, 1))
    """
    config = as_config(config)
    if str(data_dir) == "demo":
        return demo.digits()
    wanted = config.data
    dataset = open_dataset(
        data_dir,
        size=wanted.size,
        channels=wanted.channels,
        labelled=wanted.labelled,
        spatial_rank=wanted.spatial_rank,
        split=wanted.split if split is None else split,
        scaling=None if wanted.scaling == "auto" else wanted.scaling,
        normalise=None if wanted.normalise == "none" else wanted.normalise,
        spacing=None if wanted.spatial_rank == 2 or wanted.spacing == "auto" else wanted.spacing,
        holdout=wanted.holdout,
        group=wanted.group,
        cache_dir=None if run_dir is None else Path(run_dir) / "data",
        progress=parallel.is_main_process(),
    )
    # Prepared data were scaled when they were prepared; that must be what is asked for now.
    if wanted.scaling not in ("auto", dataset.scaling.policy):
        raise InputError(
            f"config.data.scaling={wanted.scaling!r}, but {data_dir} was prepared with {dataset.scaling.policy!r}:"
            " prepare it again, or set config.data.scaling=auto"
        )
    if wanted.holdout and dataset.held_out is None and dataset.trainable:
        raise InputError(
            f"config.data.holdout={wanted.holdout!r}, but {data_dir} was prepared without: prepare it again with"
            f" --holdout {wanted.holdout}, or leave the field empty"
        )
    normalised = (dataset.scaling.policy, dataset.scaling.low, dataset.scaling.high) == ("fixed", 0.0, 1.0)
    if wanted.normalise != "none" and not normalised:
        raise InputError(
            f"config.data.normalise={wanted.normalise!r}, but {data_dir} was prepared without: prepare it again with"
            f" --normalise {wanted.normalise}, or set config.data.normalise=none"
        )
    return dataset
