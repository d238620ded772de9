"""Data sets that come as one archive: the MNIST family's IDX files, MedMNIST's npz, a stack in a `.npy`."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from jaxgan.data.listing import medmnist
from jaxgan.data.listing.collection import SPLIT_ALIASES, Collection, Entry
from jaxgan.data.readers import Decoded, check_regular, idx
from jaxgan.data.readers.arrays import MAX_CHANNELS, ArchiveFile, load_npy
from jaxgan.errors import InputError

# Every class number up to the largest is a class: a stray value would make billions of them.
MAX_CLASSES = 10_000
# A volume's last axis is seldom this many times shorter than its others; that of an image with channels mostly is.
_MANY_CHANNELS = 4
_IDX_NAME = re.compile(r"(.*?)(train|test|t10k)-(images|labels)[-.]idx[1-4]-(?:ubyte|int)(\.gz)?$")


def find_idx(root: Path) -> dict[str, dict[tuple[str, str], Path]]:
    """`{prefix: {(split, "images" or "labels"): file}}` of the IDX files in a folder, e.g. prefix "" for MNIST."""
    found: dict[str, dict[tuple[str, str], Path]] = {}
    for path in sorted(root.iterdir()):
        if match := _IDX_NAME.match(path.name):
            prefix, split, kind, _ = match.groups()
            found.setdefault(prefix, {}).setdefault((SPLIT_ALIASES[split], kind), path)
    return found


def list_idx(source: Path, labelled: bool | None = None) -> Collection:
    """Lists the IDX files of one data set.

    Args:
      source: the folder with the files, or one of the files.
      labelled: False leaves the labels out; True insists on them.

    Raises:
      InputError: no such files, several data sets, missing or damaged files, labels that do not fit the images.
    """
    root = source if source.is_dir() else source.parent
    if not root.is_dir():
        raise InputError(f"{source}: no such file or folder")
    found = find_idx(root)
    if source.is_file():
        match = _IDX_NAME.match(source.name)
        found = {match.group(1): found[match.group(1)]} if match else {}
    if not found:
        raise InputError(f"{source}: no IDX files with names like train-images-idx3-ubyte(.gz); rename them")
    if len(found) > 1:
        raise InputError(f"{root}: holds {len(found)} IDX data sets ({', '.join(found)}); name one of the files")
    prefix, files = next(iter(found.items()))
    splits: dict[str, list[Entry]] = {}
    used, classes = [], 0
    for split in ("train", "test"):
        if (split, "images") not in files:
            continue
        path = files[split, "images"]
        check_regular(path)
        images = idx.read(path)
        if images.ndim != 3:
            raise InputError(f"{path}: holds {images.ndim} axes {images.shape}, not [N, H, W]; is it a label file?")
        if prefix.startswith("emnist"):
            # EMNIST stores its images transposed against all others of the family.
            images = images.swapaxes(1, 2)
        labels = None
        used.append(path)
        if labelled is not False:
            labels = _idx_labels(files.get((split, "labels")), path, len(images), labelled)
            if labels is not None:
                used.append(files[split, "labels"])
                classes = max(classes, int(labels.max()) + 1)
        splits[split] = stack_entries(path, images[..., None], labels)
    if not splits:
        raise InputError(f"{root}: has label files but no image files; add them")
    return Collection(root, 2, splits, tuple(str(c) for c in range(classes)), tuple(used))


def _idx_labels(path: Path | None, images: Path, count: int, labelled: bool | None) -> np.ndarray | None:
    if path is None:
        if labelled:
            raise InputError(f"{images}: has no label file beside it; add it or prepare without labels")
        return None
    check_regular(path)
    labels = idx.read(path)
    # QMNIST keeps the class in the first of eight columns.
    labels = labels if labels.ndim == 1 else labels[:, 0]
    if len(labels) != count:
        raise InputError(f"{path}: has {len(labels)} labels for the {count} images of {images}; download both again")
    _check_classes(path, labels)
    return labels


def find_npz(root: Path) -> list[Path]:
    """The MedMNIST archives of a folder."""

    def fits(path: Path) -> bool:
        try:
            return "train_images" in ArchiveFile(path).shapes
        except InputError:
            return False  # whoever reads it as an image will say what is wrong with it

    return [path for path in sorted(root.glob("*.npz")) if fits(path)]


def list_npz(source: Path, labelled: bool | None = None, spatial_rank: int | None = None) -> Collection:
    """Lists an archive in MedMNIST's schema (`train_images`, `train_labels`, ...), `images`/`labels`, or a stack.

    Args:
      source: an `.npz` or `.npy` file, or a folder with exactly one MedMNIST archive.
      labelled: False leaves the labels out; True insists on them.
      spatial_rank: 2 or 3; needed only where a shape fits both.

    Raises:
      InputError: damaged archives, arrays that are no images, several archives, labels that are no single class.
    """
    if source.is_dir():
        archives = find_npz(source)
        if len(archives) != 1:
            names = ", ".join(path.name for path in archives) or "none"
            raise InputError(f"{source}: needs exactly one MedMNIST archive, found {names}; name the file")
        source = archives[0]
    if not source.exists():
        raise InputError(f"{source}: no such file")
    check_regular(source)
    arrays = _open(source)
    splits: dict[str, list[Entry]] = {}
    top, rank = -1, spatial_rank
    for split, (images, labels) in arrays.items():
        if len(images) == 0:
            continue
        images, rank = _with_rank(source, images, rank)
        if labels is not None and labelled is not False:
            labels = _single_class(source, labels, len(images))
            top = max(top, int(labels.max()))
        elif labelled:
            raise InputError(f"{source}: has no labels; prepare it without")
        else:
            labels = None
        splits[split] = stack_entries(source, images, labels, prefix=f"{split}_images")
    if not splits or rank is None:
        raise InputError(f"{source}: holds no image; download it again")
    return Collection(source, rank, splits, medmnist.class_names(source.stem, top + 1), (source,))


def stack_entries(path: Path, images: np.ndarray, labels: np.ndarray | None, prefix: str = "") -> list[Entry]:
    """One entry a row of `images`, `[N, *spatial, C]`."""

    def reader(i: int):
        return lambda: [Decoded(images[i])]

    classes = [None] * len(images) if labels is None else labels.tolist()
    return [Entry(f"{path}:{prefix}[{i}]", reader(i), classes[i]) for i in range(len(images))]


def _open(source: Path) -> dict[str, tuple[np.ndarray, np.ndarray | None]]:
    """`{split: (images, labels)}`."""
    if source.suffix.lower() == ".npy":
        try:
            return {"train": (load_npy(source), None)}
        except Exception as error:
            raise InputError(f"{source}: cannot be read as npy ({error}); replace it") from None
    archive = ArchiveFile(source)
    found = {}
    for split in ("train", "val", "test"):
        if f"{split}_images" in archive.shapes:
            labels = f"{split}_labels"
            found[split] = (
                archive.load(f"{split}_images"),
                archive.load(labels) if labels in archive.shapes else None,
            )
    if not found and "images" in archive.shapes:
        labels = archive.load("labels") if "labels" in archive.shapes else None
        found["train"] = (archive.load("images"), labels)
    if not found:
        raise InputError(f"{source}: has neither train_images nor images (it has {archive.names}); rename its arrays")
    return found


def _with_rank(source: Path, images: np.ndarray, rank: int | None) -> tuple[np.ndarray, int]:
    """`[N, *spatial(, C)]` to `[N, *spatial, C]` and the spatial rank."""
    channels_last = images.ndim >= 4 and images.shape[-1] <= MAX_CHANNELS
    given = rank is not None
    if rank is None:
        rank = images.ndim - 1 - channels_last
    if images.dtype.kind not in "buif" or rank not in (2, 3) or images.ndim - 1 - rank not in (0, 1):
        raise InputError(f"{source}: {images.dtype} array of shape {images.shape} is no stack of images or volumes")
    if reason := _doubt(images.shape[1:], rank, given):
        raise InputError(
            f"{source}: arrays of shape {images.shape} {reason}; transpose them to (N, H, W, C) or (N, D, H, W, C)"
            + ("" if given else ", or say the spatial rank (--spatial_rank, or config.data.spatial_rank)")
        )
    return (images if images.ndim == rank + 2 else images[..., None]), rank


def _doubt(shape: tuple[int, ...], rank: int, given: bool) -> str:
    """Why one of a stack may be something else than what `rank` makes of its shape; "" where it is plain."""
    spatial, channels = shape[:rank], shape[rank:]
    # Channels first would pass for a flat volume, or for rows of an image with as many channels as it is wide.
    if min(spatial) <= MAX_CHANNELS and (not given or (channels and channels[0] > MAX_CHANNELS)):
        return f"have an axis of {min(spatial)} that looks like channels"
    # Five and more channels would pass for a volume of as many columns.
    if not given and rank == 3 and not channels and _MANY_CHANNELS * shape[-1] < min(shape[:-1]):
        return f"are volumes, or images of {shape[-1]} channels"
    return ""


def _single_class(source: Path, labels: np.ndarray, count: int) -> np.ndarray:
    if labels.ndim == 0 or len(labels) != count:
        found = "a single value" if labels.ndim == 0 else f"{len(labels)} rows"
        raise InputError(f"{source}: its labels, {found}, do not fit {count} images; download it again")
    labels = labels.reshape(count, -1)
    if labels.shape[1] != 1:
        raise InputError(
            f"{source}: has {labels.shape[1]} labels an image (a multi-label set), and a condition is one class; "
            "prepare it without labels"
        )
    _check_classes(source, labels)
    return labels[:, 0]


def _check_classes(source: Path, labels: np.ndarray) -> None:
    if labels.size and (labels.dtype.kind not in "ui" or labels.min() < 0 or labels.max() >= MAX_CLASSES):
        raise InputError(
            f"{source}: its labels ({labels.dtype} from {labels.min()} to {labels.max()}) are no numbers of classes"
            f" from 0 to {MAX_CLASSES - 1}; renumber them"
        )
