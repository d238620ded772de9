"""Samples out: PNG grids, TIFF, NIfTI and npy files, each written whole or not at all.

Samples come in as the library holds them: float32 in [-1, 1], `[N, H, W, C]` or `[N, D, H, W, C]`. Every file
is written under a temporary name in its folder and then moved into place, so a reader never sees half a file,
and nothing is overwritten unless the caller says so.
"""

from __future__ import annotations

import contextlib
import math
import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from jaxgan.data.scaling import Scaling
from jaxgan.errors import InputError

FORMATS = ("grid", "png", "tiff8", "tiff32", "tiff01", "tiff_units", "npy", "nifti")
_IN_UNITS = ("tiff_units", "nifti")
_SEPARATOR = 128
_SHAPES = "give [N, H, W, C] images or [N, D, H, W, C] volumes"


@contextlib.contextmanager
def atomic_files(targets: Sequence[str | os.PathLike], overwrite: bool = False) -> Iterator[list[Path]]:
    """Yields one temporary path per target; moves all into place when the block succeeds, else removes them.

    Args:
      targets: the files to make; their folders are made too.
      overwrite: replace files that exist.

    Raises:
      InputError: a target exists and `overwrite` is False (checked before anything is written), or the
        system refuses to write (no permission, disk full, a folder of that name).
    """
    targets = [Path(target) for target in targets]
    for target in targets:
        if target.is_dir():
            raise InputError(f"{target} is a folder: give a file name")
        if target.exists() and not overwrite:
            raise InputError(f"{target} exists: give another output folder, or --overwrite")
    # The suffix stays last, because NumPy and nibabel choose the format by it.
    temporary = [target.with_name(f".tmp-{secrets.token_hex(4)}-{target.name}") for target in targets]
    try:
        for target in targets:
            target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        for source, target in zip(temporary, targets, strict=True):
            os.replace(source, target)
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"cannot write to {targets[0].parent}: {reason}; give another folder") from error
    finally:
        for source in temporary:
            with contextlib.suppress(OSError):
                source.unlink()


def to_uint8(samples: np.ndarray) -> np.ndarray:
    """[-1, 1] to [0, 255], rounded and clipped; NaN becomes 0, so that a diverged run can be looked at."""
    scaled = np.nan_to_num((np.asarray(samples, np.float32) + 1.0) * 127.5, nan=0.0)
    return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)


def flatten_volumes(samples: np.ndarray) -> np.ndarray:
    """What a screen can show of samples: images with 1 or 3 channels.

    A volume becomes its three orthogonal middle slices side by side (`[H, W]`, `[D, W]`, `[D, H]`); channels
    that are neither gray nor RGB become gray panels side by side.

    Args:
      samples: float32 in [-1, 1], `[N, H, W, C]` or `[N, D, H, W, C]`.

    Returns:
      `[N, H', W', 1]` or `[N, H', W', 3]`, float32 in [-1, 1].
    """
    if samples.ndim not in (4, 5):
        raise InputError(f"samples have shape {samples.shape}: {_SHAPES}")
    if samples.ndim == 5:
        depth, height, width = (size // 2 for size in samples.shape[1:4])
        slices = (samples[:, depth], samples[:, :, height], samples[:, :, :, width])
        samples = _side_by_side(slices)
    if samples.shape[-1] not in (1, 3):
        samples = _side_by_side([samples[..., i : i + 1] for i in range(samples.shape[-1])])
    return samples


def _side_by_side(panels: Sequence[np.ndarray]) -> np.ndarray:
    """Joins `[N, h, w, C]` panels along the width, centred, one pixel of the separating gray between them."""
    tallest = max(panel.shape[1] for panel in panels)
    padded = []
    for i, panel in enumerate(panels):
        extra = tallest - panel.shape[1]
        widths = ((0, 0), (extra // 2, extra - extra // 2), (int(i > 0), 0), (0, 0))
        padded.append(np.pad(panel, widths, constant_values=0.0))
    return np.concatenate(padded, axis=2)


def image_grid(samples: np.ndarray, columns: int | None = None, pad: int = 2) -> np.ndarray:
    """One picture of many samples, row by row on a gray ground.

    Args:
      samples: float32 in [-1, 1], `[N, H, W, C]` or `[N, D, H, W, C]` (volumes show their middle slices).
      columns: samples per row; by default the grid is about square.
      pad: pixels between samples and around the grid.

    Returns:
      uint8 `[H', W', 1]` or `[H', W', 3]`.
    """
    tiles = to_uint8(flatten_volumes(np.asarray(samples)))
    count, height, width, channels = tiles.shape
    if count == 0:
        raise InputError("a grid needs at least one sample: give --num_samples 1 or more")
    if columns is None:
        columns = max(1, round(math.sqrt(count * height / width)))
    columns = min(columns, count)
    rows = math.ceil(count / columns)
    grid = np.full((rows * (height + pad) + pad, columns * (width + pad) + pad, channels), _SEPARATOR, dtype=np.uint8)
    for index, tile in enumerate(tiles):
        top = pad + index // columns * (height + pad)
        left = pad + index % columns * (width + pad)
        grid[top : top + height, left : left + width] = tile
    return grid


def labelled_grid(samples: np.ndarray, labels: Sequence[int], columns: int | None = None, pad: int = 2) -> np.ndarray:
    """A grid with one block of rows per class, in rising order, and the class in the left margin.

    Args:
      samples: as for `image_grid`.
      labels: `[N]` class numbers.
      columns: samples per row; by default the largest class fills one row, up to 16.
      pad: pixels between samples.

    Returns:
      uint8 `[H', W', 1]` or `[H', W', 3]`.
    """
    from PIL import Image, ImageDraw, ImageFont

    samples, labels = np.asarray(samples), np.asarray(labels)
    if labels.shape != (len(samples),):
        raise InputError(f"labels have shape {labels.shape} for {len(samples)} samples: give one a sample")
    classes, counts = np.unique(labels, return_counts=True)
    columns = columns or min(16, counts.max(initial=1))
    blocks = [image_grid(samples[labels == name], columns, pad) for name in classes]
    width = max(block.shape[1] for block in blocks)
    font = ImageFont.load_default(size=max(11, min(24, blocks[0].shape[0] // 4)))
    margin = 12 + math.ceil(max(font.getlength(str(name)) for name in classes))
    rows = []
    for name, block in zip(classes, blocks, strict=True):
        block = np.pad(block, ((0, 0), (0, width - block.shape[1]), (0, 0)), constant_values=_SEPARATOR)
        caption = Image.new("L", (margin, block.shape[0]), 255)
        centre = (margin / 2, block.shape[0] / 2)
        ImageDraw.Draw(caption).text(centre, str(name), fill=0, font=font, anchor="mm")
        caption = np.repeat(np.asarray(caption)[..., None], block.shape[-1], axis=-1)
        rows.append(np.concatenate([caption, block], axis=1))
    return np.concatenate(rows)


def write_png(path: str | os.PathLike, image: np.ndarray, overwrite: bool = False) -> Path:
    """Writes a uint8 image `[H, W]`, `[H, W, 1]` or `[H, W, 3]` as PNG; raises as `atomic_files` does."""
    with atomic_files([path], overwrite) as (temporary,):
        _write_image(temporary, image)
    return Path(path)


def write_grid(
    path: str | os.PathLike,
    samples: np.ndarray,
    columns: int | None = None,
    overwrite: bool = False,
    labels: Sequence[int] | None = None,
) -> Path:
    """Writes samples as one PNG: `image_grid`, or `labelled_grid` when there are labels."""
    return write_png(path, _grid(samples, columns, labels), overwrite)


def _grid(samples: np.ndarray, columns: int | None, labels: Sequence[int] | None) -> np.ndarray:
    return image_grid(samples, columns) if labels is None else labelled_grid(samples, labels, columns)


def write_samples(
    samples: np.ndarray,
    output_dir: str | os.PathLike,
    formats: Sequence[str],
    *,
    scaling: Scaling | None,
    affine: np.ndarray | None = None,
    stem: str = "sample",
    overwrite: bool = False,
    labels: Sequence[int] | None = None,
) -> list[Path]:
    """Writes samples in any of `FORMATS`; either every file appears or none does.

    | format | files | values |
    |---|---|---|
    | `grid` | `sample_grid.png` | 8 bits, all samples (a block of rows per class when labels are given) |
    | `png` | `sample_00000.png` ... | 8 bits |
    | `tiff8` | `sample_00000_tiff8.tif` ... | uint8, [0, 255] |
    | `tiff32` | `sample_00000_tiff32.tif` ... | float32, raw [-1, 1] |
    | `tiff01` | `sample_00000_tiff01.tif` ... | float32, [0, 1] |
    | `tiff_units` | `sample_00000_tiff_units.tif` ... | float32, the data's original units |
    | `npy` | `samples.npy` | float32, raw [-1, 1], `[N, ..., C]` |
    | `nifti` | `sample_00000.nii.gz` ... | float32, the data's original units, volumes only |

    With labels, `_class3` stands after the number, and `samples_labels.csv` lists number and class.

    Args:
      samples: float32 in [-1, 1], `[N, H, W, C]` or `[N, D, H, W, C]`.
      output_dir: folder, made if needed.
      formats: subset of `FORMATS`.
      scaling: the data's record, for the formats in original units; None if none of these is asked for.
      affine: 4x4 voxel-to-world matrix for NIfTI, in the order `D, H, W` of the axes; identity by default.
      stem: first part of every file name.
      overwrite: replace files that exist.
      labels: `[N]` class numbers.

    Returns:
      the files written.

    Raises:
      InputError: an unknown format, samples that the format cannot hold or that are not finite, a file that
        exists, or a folder that cannot be written to.
    """
    samples = np.asarray(samples, np.float32)
    _check(samples, formats, scaling, labels)
    numbers = [f"{stem}_{i:05d}" for i in range(len(samples))]
    plan: dict[str, Callable[[Path], object]] = {}
    if labels is not None:
        numbers = [f"{number}_class{int(label)}" for number, label in zip(numbers, labels, strict=True)]
        lines = ["sample,class", *(f"{i},{int(label)}" for i, label in enumerate(labels))]
        plan[f"{stem}s_labels.csv"] = partial(Path.write_text, data="\n".join(lines) + "\n")
    for form in formats:
        if form == "grid":
            plan[f"{stem}_grid.png"] = partial(_write_image, image=_grid(samples, None, labels))
        elif form == "npy":
            plan[f"{stem}s.npy"] = partial(np.save, arr=samples, allow_pickle=False)
        for number, sample in zip(numbers, samples, strict=True):
            if form == "png":
                plan[f"{number}.png"] = partial(_write_sample_png, sample=sample)
            elif form == "nifti":
                plan[f"{number}.nii.gz"] = partial(_write_nifti, sample=sample, scaling=scaling, affine=affine)
            elif form.startswith("tiff"):
                plan[f"{number}_{form}.tif"] = partial(_write_tiff, sample=sample, form=form, scaling=scaling)
    targets = [Path(output_dir) / name for name in plan]
    with atomic_files(targets, overwrite) as temporary:
        for path, write in zip(temporary, plan.values(), strict=True):
            write(path)
    return targets


def _check(samples: np.ndarray, formats: Sequence[str], scaling: Scaling | None, labels) -> None:
    if not formats:
        raise InputError(f"--formats is empty: choose from {','.join(FORMATS)}")
    for form in formats:
        if form not in FORMATS:
            raise InputError(f"--formats: {form!r} is not known, choose from {','.join(FORMATS)}")
        if form in _IN_UNITS and scaling is None:
            raise InputError(f"--formats: {form} needs the data's scaling record: use tiff32 or npy")
    if samples.ndim not in (4, 5) or not samples.size:
        raise InputError(f"samples have shape {samples.shape}: {_SHAPES}")
    if "nifti" in formats and samples.ndim != 5:
        raise InputError("--formats: nifti holds volumes, these samples are images: use tiff_units")
    if labels is not None and len(labels) != len(samples):
        raise InputError(f"--labels: {len(labels)} labels for {len(samples)} samples, give one a sample")
    if not np.isfinite(samples).all():
        raise InputError("samples hold NaN or Inf, the training has diverged: choose an earlier --step")


def _write_image(path: Path, image: np.ndarray) -> None:
    from PIL import Image

    image = np.asarray(image)
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or image.shape[2:] not in ((), (1,), (3,)):
        raise InputError(f"a PNG needs uint8 [H, W], [H, W, 1] or [H, W, 3], got {image.dtype} {image.shape}")
    Image.fromarray(image[..., 0] if image.shape[2:] == (1,) else image).save(path, format="png")


def _write_sample_png(path: Path, sample: np.ndarray) -> None:
    _write_image(path, to_uint8(flatten_volumes(sample[None])[0]))


def _write_tiff(path: Path, sample: np.ndarray, form: str, scaling: Scaling | None) -> None:
    """One `[H, W, C]` or `[D, H, W, C]` sample as ImageJ TIFF: tifffile, ImageJ and napari read its axes."""
    import tifffile

    if form == "tiff8":
        values, low, high = to_uint8(sample), 0.0, 255.0
    elif form == "tiff32":
        values, low, high = sample, -1.0, 1.0
    elif form == "tiff01":
        values, low, high = np.clip((sample + 1.0) * np.float32(0.5), 0.0, 1.0), 0.0, 1.0
    else:
        values, low, high = scaling.restore(sample).astype(np.float32), scaling.low, scaling.high
    axes = "ZYX" if sample.ndim == 4 else "YX"
    if sample.shape[-1] == 1:
        values = values[..., 0]
    elif sample.shape[-1] == 3 and values.dtype == np.uint8:
        axes += "S"
    else:
        # ImageJ has no interleaved float RGB: channels become planes.
        values, axes = np.moveaxis(values, -1, -3), axes[:-2] + "CYX"
    # min and max fix the display range, so that all samples of a set look alike when opened.
    metadata = {"axes": axes, "min": float(low), "max": float(high)}
    if form == "tiff_units" and scaling.units:
        metadata["Info"] = f"values in {scaling.units}\n"
    photometric = "rgb" if axes.endswith("S") else "minisblack"
    tifffile.imwrite(path, np.ascontiguousarray(values), imagej=True, photometric=photometric, metadata=metadata)


def _write_nifti(path: Path, sample: np.ndarray, scaling: Scaling, affine: np.ndarray | None) -> None:
    """One `[D, H, W, C]` sample; several channels go to NIfTI's fifth axis, the fourth being time."""
    import nibabel

    values = scaling.restore(sample).astype(np.float32)
    values = values[..., 0] if values.shape[-1] == 1 else values[..., None, :]
    image = nibabel.Nifti1Image(values, np.eye(4) if affine is None else np.asarray(affine, np.float64))
    nibabel.save(image, path)
