"""Square crops of tissue from slides and tiles, as one archive with a held-out split: the histology of docs/quality.md.

    python -m jaxgan.benchmark.quality_crops --source HISTOLOGY --side 64 --output histology64.npz

Crops do not overlap; those of glass are left out. Every fifth column of crops, counted through all files, is held out:
so both splits have the same mix of stains and tissues, without which a distance measures the split, and share no pixel.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jaxgan.commands import cli, flags
from jaxgan.data.listing.slides import Slide
from jaxgan.data.readers import SUFFIXES, read_file, suffix_of
from jaxgan.errors import InputError
from jaxgan.files import atomic_files

HELD_OUT_EVERY = 5


def read_rgb(path: Path) -> np.ndarray:
    """A slide's finest level or an image, uint8 `[H, W, 3]`."""
    if suffix_of(path) == ".svs":
        slide = Slide(path)
        return slide.read(0, 0, 0, *slide.shape(0))
    (image,) = read_file(path)
    if image.pixels.dtype != np.uint8 or image.pixels.ndim != 3 or image.pixels.shape[2] != 3:
        raise InputError(f"{path}: is {image.pixels.dtype} of shape {image.pixels.shape}, not 8-bit RGB")
    return image.pixels


def is_tissue(crop: np.ndarray) -> bool:
    """Whether a third of a crop has colour, or it is dark on the whole."""
    spread = crop.max(axis=-1).astype(int) - crop.min(axis=-1)
    return bool((spread > 20).mean() > 0.3 or crop.mean() < 190)


def split_crops(paths: Sequence[Path], side: int) -> dict[str, np.ndarray]:
    """`train` and `test` crops of some files, uint8 `[N, side, side, 3]`; the order of the files decides the split."""
    found: dict[str, list[np.ndarray]] = {"train": [], "test": []}
    column = 0
    for path in paths:
        image = read_rgb(path)
        height, width = image.shape[:2]
        for left in range(0, width - side + 1, side):
            column += 1
            chosen = found["test" if column % HELD_OUT_EVERY == 0 else "train"]
            rows = (image[top : top + side, left : left + side] for top in range(0, height - side + 1, side))
            chosen.extend(filter(is_tissue, rows))
    for name, chosen in found.items():
        if not chosen:
            raise InputError(f"no crop of {side} pixels with tissue for the split {name}: give more or larger images")
    return {name: np.stack(chosen) for name, chosen in found.items()}


def main(arguments: Sequence[str] | None = None) -> None:
    """Writes the archive and says what is in it."""
    parser = flags.ArgumentParser(prog="python -m jaxgan.benchmark.quality_crops", description=__doc__)
    parser.add_argument("--source", required=True, help="folder of slides (.svs) and 8-bit RGB images, searched whole")
    parser.add_argument("--side", type=int, default=64, help="of a crop (default: 64)")
    parser.add_argument("--output", required=True, metavar="FILE.npz", help="in MedMNIST's schema, without labels")
    args = parser.parse_args(arguments)
    known = (*SUFFIXES, ".svs")
    paths = sorted(path for path in Path(args.source).rglob("*") if path.is_file() and suffix_of(path) in known)
    if not paths:
        raise InputError(f"--source {args.source}: no slides or images in it")
    splits = split_crops(paths, args.side)
    with atomic_files([args.output]) as (temporary,):
        np.savez(temporary, train_images=splits["train"], test_images=splits["test"])
    print(f"{args.output}: " + ", ".join(f"{name} {len(images)}" for name, images in splits.items()))


if __name__ == "__main__":
    cli.run(main)
