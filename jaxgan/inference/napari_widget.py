"""A widget of napari: samples of a run or an export as layers, in the units of the data and the size of its pixels.

It comes with the extra `napari` and stands in napari's menu of plugins (`napari.yaml`); `layer` is what it shows, and
works without a window.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxgan.errors import InputError
from jaxgan.inference.exported import WEIGHTS, is_export
from jaxgan.inference.locations import locate
from jaxgan.inference.trained_model import TrainedModel, generate_samples, load_trained_model, sample_labels
from jaxgan.runs.checkpoint_folder import saved_steps, split_path

if TYPE_CHECKING:
    import napari.types
    from magicgui.widgets import FunctionGui

_MOST = 256


def layer(
    model: TrainedModel,
    count: int,
    labels: str = "",
    seed: int = 0,
    truncation: float = 0.0,
) -> tuple[np.ndarray, dict[str, Any], str]:
    """Samples as napari takes a layer: data, what it is called with, and its kind.

    Args:
      model: from `load_trained_model`.
      count: samples; they lie behind one another, along the first axis.
      labels: classes to make, by name or number, with commas; "" for all in turn. Conditional models only.
      seed: of the latents.
      truncation: cut latents off at +-truncation; 0: not cut.

    Returns:
      `[count, *S]` or, in colour, `[count, *S, 3]`, in original units and, where the pixels' size is known, in mm.

    Raises:
      InputError: labels that the model does not have, or any other argument that does not fit.
    """
    chosen = [label for label in labels.split(",") if label.strip()] or None
    samples = generate_samples(model, count, chosen, seed, truncation or None)
    values = model.scaling.restore(samples)
    colour = values.shape[-1] == 3 and model.scaling.dtype == "uint8"
    if colour:
        values = np.rint(values).clip(0, 255).astype(np.uint8)
    elif values.shape[-1] == 1:
        values = values[..., 0].astype(np.float32)
    else:
        values = np.moveaxis(values, -1, 1).astype(np.float32)
    classes = sample_labels(model, count, chosen)
    told: dict[str, Any] = {
        "name": f"{model.name} step {model.step} seed {seed}",
        "metadata": {
            "run": str(model.run_dir), "step": model.step, "seed": seed, "units": model.scaling.units,
            "classes": None if classes is None else [model.class_names[label] for label in classes],
        },
    }  # fmt: skip
    if colour:
        told["rgb"] = True
    else:
        told["contrast_limits"] = (float(model.scaling.low), float(model.scaling.high))
    if model.spacing is not None:
        shown = values.ndim - colour
        told["scale"] = (1.0,) * (shown - len(model.spacing)) + tuple(map(float, model.spacing))
        told["units"] = ("pixel",) * (shown - len(model.spacing)) + ("mm",) * len(model.spacing)
    return values, told, "image"


def _load(source: str, step: str) -> TrainedModel:
    """The model last asked for stays, as whoever looks asks for many seeds of one, until another is written there."""
    folder = locate(source)
    if not is_export(folder):
        return _kept(folder, step, tuple(saved_steps(split_path(folder)[0])))
    file = (folder / WEIGHTS).stat()
    return _kept(folder, step, (file.st_mtime_ns, file.st_ino, file.st_size))


@functools.lru_cache(1)
def _kept(folder: Path, step: str, _written: tuple[int, ...]) -> TrainedModel:
    return load_trained_model(folder, step)


def sample_widget() -> FunctionGui:
    """The widget; napari calls it when it is chosen from the menu."""
    from magicgui import magicgui
    from napari.utils.notifications import show_error

    @magicgui(
        call_button="Sample",
        source={"label": "run or export", "tooltip": "folder of a run or an export, demo:digits, or hf://NAME"},
        step={"tooltip": "best, latest or a number"},
        count={"min": 1, "max": _MOST},
        labels={"tooltip": "classes by name or number, with commas; empty: all in turn"},
        seed={"min": 0, "max": 2**31 - 1},
        truncation={"min": 0.0, "max": 10.0, "tooltip": "0: latents are not cut off"},
    )
    def sample(
        source: str = "demo:digits", step: str = "best", count: int = 16, labels: str = "", seed: int = 0,
        truncation: float = 0.0,
    ) -> list[napari.types.LayerDataTuple]:  # fmt: skip
        try:
            return [layer(_load(source, step), count, labels, seed, truncation)]
        except InputError as error:
            show_error(str(error))
            return []

    return sample
