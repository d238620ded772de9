"""The widget of napari shows samples in the units of the data; without a window, and with one that nobody sees."""

import importlib
import os
from pathlib import Path

import numpy as np
import pytest
import yaml

import jaxgan
from jaxgan.errors import InputError
from jaxgan.files import atomic_files
from jaxgan.inference import napari_widget
from jaxgan.inference.exported import WEIGHTS
from jaxgan.inference.napari_widget import layer

ROOT = Path(jaxgan.__file__).parent


@pytest.mark.parametrize("name", ["digits", "hippocampus"])
def test_a_layer_holds_the_samples_in_their_units_and_size(name):
    model = jaxgan.load_trained_model(f"demo:{name}")
    data, told, kind = layer(model, 2, seed=3)
    samples = jaxgan.generate_samples(model, 2, seed=3)
    assert kind == "image" and data.shape == samples.shape[:-1]
    np.testing.assert_allclose(data, model.scaling.restore(samples)[..., 0], rtol=1e-6)
    assert told["contrast_limits"] == (model.scaling.low, model.scaling.high)
    assert told["metadata"]["seed"] == 3 and told["metadata"]["step"] == model.step
    if model.spacing is None:
        assert "scale" not in told
    else:
        assert told["scale"] == (1.0, *model.spacing) and told["units"][-1] == "mm"
    if model.class_names:
        one = layer(model, 3, model.class_names[1])[1]
        assert one["metadata"]["classes"] == [model.class_names[1]] * 3
        with pytest.raises(InputError, match="labels="):
            layer(model, 1, "nonsense")


def test_a_model_is_read_again_once_its_run_has_saved_another_step(tmp_path, monkeypatch):
    read = []
    monkeypatch.setattr(napari_widget, "load_trained_model", lambda folder, step: read.append(step) or len(read))
    for saved, expected in ((1, 1), (1, 1), (2, 2), (2, 2)):
        (tmp_path / "checkpoints" / str(saved)).mkdir(parents=True, exist_ok=True)
        assert napari_widget._load(str(tmp_path), "latest") == expected


def test_an_export_is_read_again_once_it_is_overwritten(tmp_path, monkeypatch):
    read = []
    monkeypatch.setattr(napari_widget, "load_trained_model", lambda folder, step: read.append(step) or len(read))
    for expected in (1, 2):
        with atomic_files([tmp_path / WEIGHTS], overwrite=True) as (path,):
            path.write_bytes(b"as long as before")
        assert [napari_widget._load(str(tmp_path), "best") for _ in range(2)] == [expected] * 2


@pytest.mark.extras
def test_the_manifest_names_what_is_there():
    manifest = yaml.safe_load((ROOT / "inference" / "napari.yaml").read_text())
    module, _, function = manifest["contributions"]["commands"][0]["python_name"].partition(":")
    assert callable(getattr(importlib.import_module(module), function))
    npe2 = pytest.importorskip("npe2", reason="needs the extra napari")
    npe2.PluginManifest.from_file(ROOT / "inference" / "napari.yaml").validate_imports()


@pytest.mark.extras
def test_the_widget_gives_what_a_viewer_takes():
    """Qt draws into memory; a window's canvas would need OpenGL, so the viewer is napari's without one."""
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    napari = pytest.importorskip("napari", reason="needs the extra napari")
    from napari.components import ViewerModel
    from napari.utils.notifications import notification_manager

    from jaxgan.inference.napari_widget import sample_widget

    viewer, widget = ViewerModel(), sample_widget()
    assert {"source", "step", "count", "labels", "seed", "truncation"} <= {part.name for part in widget}
    ((data, told, kind),) = widget(source="demo:digits", count=3, seed=1)
    shown = viewer.add_layer(napari.layers.Layer.create(data, told, kind))
    assert shown.data.shape == (3, 28, 28) and shown.data.min() < 30 and shown.data.max() > 200
    assert tuple(shown.contrast_limits) == told["contrast_limits"] and shown.metadata["step"] > 0
    ((data, told, kind),) = widget(source="demo:hippocampus", count=2)
    shown = viewer.add_layer(napari.layers.Layer.create(data, told, kind))
    assert shown.ndim == 4 and tuple(shown.scale) == told["scale"] and str(shown.units[-1]) == "millimeter"
    # What is wrong is said, and gives nothing.
    assert widget(source="demo:digits", labels="nonsense") == []
    assert "labels" in notification_manager.records[-1].message
