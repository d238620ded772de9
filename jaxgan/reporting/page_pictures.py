"""The pictures of a report page, as `data:` addresses with a caption and an alternative text; small, to be mailed."""

from __future__ import annotations

import base64
import contextlib
import io
import math
from typing import Any

import numpy as np

from jaxgan.pictures import anatomical, image_grid, to_uint8, windowed
from jaxgan.reporting.contents import RunContents
from jaxgan.reporting.sample_figures import evenly, load_samples

# Moments of the training that the slider has, and what all of them together may take.
_FRAMES = 24
_FRAME_BYTES = 4_000_000
_SIDE = 640
# A picture above this is stored with losses.
_LOSSLESS_BYTES = 48_000
_VOLUMES = 4
_VOXELS_A_SIDE = 96
_BINS = 64


def encode(picture: Any, side: int = 1100) -> str:
    """A picture as a `data:` address: PNG, or of colours and where that is large WebP with slight losses.

    Args:
      picture: uint8 `[H, W, 1|3]`, or a PIL image.
      side: longer side above which it is shrunk.
    """
    from PIL import Image, features

    if isinstance(picture, np.ndarray):
        picture = Image.fromarray(picture[..., 0] if picture.shape[-1] == 1 else picture)
    if picture.mode not in ("L", "RGB"):
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture.convert("RGBA")).convert("RGB")
    if max(picture.size) > side:
        picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    lossy: tuple[str, dict[str, Any]] = (
        ("webp", {"quality": 88, "method": 3}) if features.check("webp") else ("jpeg", {})
    )
    kinds = [("png", {}), lossy] if picture.mode == "L" else [lossy]
    for kind, options in kinds:
        stored = io.BytesIO()
        picture.save(stored, format=kind, **options)
        if stored.tell() <= _LOSSLESS_BYTES:
            break
    return f"data:image/{kind};base64,{base64.b64encode(stored.getvalue()).decode()}"


def frames(run: RunContents, most: int = _FRAMES) -> list[dict[str, Any]]:
    """Samples at up to `most` moments of the training, oldest first: step, src, caption, alt."""
    made: list[dict[str, Any]] = []
    for snapshot in evenly(run.snapshots, most):
        samples = snapshot.load(run.shown)
        picture = run.picture(samples)
        caption = f"{len(samples)} generated samples at {snapshot.moment}"
        made.append({"step": snapshot.step, "src": encode(picture, _SIDE), "caption": caption, "alt": caption})
        size = sum(len(frame["src"]) for frame in made) / len(made)
        if len(made) == 1 and size * min(most, len(run.snapshots)) > 2 * _FRAME_BYTES:
            return frames(run, max(2, int(_FRAME_BYTES / size)))
    while len(made) > 2 and sum(len(frame["src"]) for frame in made) > _FRAME_BYTES:
        made = evenly(made, len(made) - 1)
    return made


def real_and_generated(run: RunContents) -> list[dict[str, str]]:
    """Reals beside the newest samples, of the same classes in the same order and in the same window of values."""
    if run.reals is None or not run.snapshots:
        return []
    pair = []
    generated = run.snapshots[-1].load(run.shown)
    for title, samples, of in (("real", run.reals, "real_labels"), ("generated", generated, "labels")):
        samples = samples[: run.shown]
        labels = run.labels(len(samples), of)
        picture = run.picture(samples, of)
        classes = f", one row of blocks for each of {len(set(labels.tolist()))} classes" if labels is not None else ""
        caption = f"{len(samples)} {title} samples"
        pair.append({"src": encode(picture, _SIDE), "caption": caption, "alt": caption + classes})
    return pair


def histograms(run: RunContents) -> list[dict[str, Any]]:
    """Shares of the values of reals and samples in original units, a chart a channel."""
    if run.reals is None or not run.snapshots:
        return []
    low, high = (run.scaling.low, run.scaling.high) if run.scaling else (-1.0, 1.0)
    unit = (run.scaling.units if run.scaling else "") or "value"
    edges = np.linspace(-1, 1, _BINS + 1)
    middles = (low + (edges[:-1] + edges[1:] + 2) / 4 * (high - low)).tolist()
    generated = run.snapshots[-1].load(run.shown)
    channels = run.reals.shape[-1]
    colours = ["red", "green", "blue"] if channels == 3 else [f"channel {i}" for i in range(channels)]
    made = []
    for channel in range(channels):
        curves = []
        for label, samples in (("real", run.reals), ("generated", generated)):
            values = samples[..., channel]
            counts = np.histogram(np.clip(values[np.isfinite(values)], -1, 1), edges)[0]
            shares = counts / max(1, counts.sum())
            curves.append({"label": label, "y": [round(float(share), 7) for share in shares]})
        title = "Distribution of the values" + (f", {colours[channel]}" if channels > 1 else "")
        made.append({"title": title, "unit": unit, "x": middles, "curves": curves})
    return made


def interpolations(run: RunContents) -> list[dict[str, str]]:
    """The walks between two latents that the run has saved, left to right."""
    made = []
    for path, title in run.walks:
        samples = windowed(load_samples(path), run.window)
        columns = len(samples) if samples.ndim == 4 else 2
        scale = max(1, 1024 // (columns * samples.shape[-2] * (1 if samples.ndim == 4 else 3)))
        picture = image_grid(samples, columns, scale=min(scale, 8), affine=run.affine)
        caption = f"{title.capitalize()}: {len(samples)} samples on the way from one latent to another"
        made.append({"src": encode(picture), "caption": caption, "alt": caption})
    return made


def volumes(run: RunContents) -> tuple[list[dict[str, Any]], list[dict[str, Any]], str]:
    """What the slice viewer needs: volumes as sheets of slices, its three planes, and what their letters mean."""
    if not run.snapshots:
        return [], [], ""
    generated = run.snapshots[-1].load(_VOLUMES)
    if generated.ndim != 5:
        return [], [], ""
    made = []
    for title, samples, of in (("generated", generated, "labels"), ("real", run.reals, "real_labels")):
        if samples is None:
            continue
        samples = windowed(samples[:_VOLUMES], run.window)
        labels = run.labels(len(samples), of)
        if run.affine is not None:
            samples = anatomical(samples, run.affine)
        for i, sample in enumerate(samples):
            name = "" if labels is None else f", class {_name(run, int(labels[i]))}"
            made.append({"title": f"{title} {i + 1}{name}", **_sheet(sample)})
    if run.affine is None:
        none: dict[str, str] = {}
        planes = [
            {"title": "across axis 1", "across": 0, "axes": [2, 1], "flip": False, "letters": none},
            {"title": "across axis 2", "across": 1, "axes": [2, 0], "flip": False, "letters": none},
            {"title": "across axis 3", "across": 2, "axes": [1, 0], "flip": False, "letters": none},
        ]
        return made, planes, "The data say nothing of orientation: axes are those of the files."
    # Through (third axis), columns and rows of each plane; rows go down from the front or the top.
    views = (("axial", 2, [0, 1], "LRAP"), ("coronal", 1, [0, 2], "LRSI"), ("sagittal", 0, [1, 2], "PASI"))
    planes = [
        {
            "title": title,
            "across": across,
            "axes": axes,
            "flip": True,
            "letters": dict(zip("lrtb", letters, strict=True)),
        }
        for title, across, axes, letters in views
    ]
    return made, planes, "L and R: left and right of the subject; A, P: front, back; S, I: top, bottom."


def _sheet(volume: np.ndarray) -> dict[str, Any]:
    """A volume `[X, Y, Z, C]` as one picture of its slices `[Y, X]` across the third axis, row by row."""
    stride = math.ceil(max(volume.shape[:3]) / _VOXELS_A_SIDE)
    volume = to_uint8(volume[::stride, ::stride, ::stride])
    volume = volume if volume.shape[-1] == 3 else volume[..., :1]
    width, height, depth, channels = volume.shape
    columns = math.ceil(math.sqrt(depth))
    rows = math.ceil(depth / columns)
    sheet = np.zeros((rows, columns, height, width, channels), np.uint8)
    sheet.reshape(-1, height, width, channels)[:depth] = volume.transpose(2, 1, 0, 3)
    picture = sheet.swapaxes(1, 2).reshape(rows * height, columns * width, channels)
    return {"src": encode(picture, 10_000), "size": [width, height, depth], "columns": columns}


def _name(run: RunContents, label: int) -> str:
    return run.class_names[label] if label < len(run.class_names) else str(label)


def evaluation_pictures(run: RunContents) -> list[dict[str, str]]:
    """The figures of the newest evaluation that lie beside it and can be read."""
    from PIL import Image

    captions = {
        "histogram": "Values of real and generated images",
        "spectrum": "Power against spatial frequency",
        "nearest": "The samples nearest to a training image (above), and these training images (below)",
    }
    made = []
    for name, file in (run.evaluation.get("figures") or {}).items():
        kind, _, space = name.partition("_")
        caption = captions.get(kind, name.replace("_", " ")) + (f", by {space}" if kind == "nearest" and space else "")
        # One that is gone or damaged is left out, in any of the ways in which the reader says so.
        path = run.evaluation["file"].parent / str(file)
        with contextlib.suppress(OSError, ValueError, SyntaxError), Image.open(path) as picture:
            made.append({"src": encode(picture, 1200), "caption": caption, "alt": caption})
    return made
