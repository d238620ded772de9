"""Run folders as training leaves them, made without training."""

import json

import numpy as np
import pytest

from jaxgan.config.presets import load_config
from jaxgan.data.scaling import Scaling
from jaxgan.runs.folder import write_config, write_environment
from jaxgan.runs.metrics_log import MetricsLog

SCALING = Scaling("float32", 10.0, 30.0, "µm")


@pytest.fixture
def make_run(tmp_path):
    """Makes a run's folder: `make_run(name, shape of a sample, class names, affine, preset, train__batch_size=7)`."""

    def make(name, shape, class_names=(), affine=None, preset="mnist:wgan_gp", **changes):
        folder = tmp_path / name
        rng = np.random.default_rng(len(shape))
        with MetricsLog(folder) as log:
            for i in range(1, 125):
                values = {
                    "critic_loss": 3.0 / i + rng.normal() / 9,
                    "generator_loss": rng.normal(),
                    "wasserstein": 5 / i,
                }
                evaluated = {"swd": 50.0 / i} if i % 10 == 0 else {}
                speed = None if i == 1 else 100.0 + i
                log.write(
                    {
                        "step": 5 * i,
                        "images": 160 * i,
                        "epoch": i / 4,
                        **values,
                        "images_per_second": speed,
                        **evaluated,
                    }
                )
        samples = folder / "samples"
        samples.mkdir()
        count = 16 if not class_names else len(class_names) * -(-16 // len(class_names))
        labels = (np.arange(count) % len(class_names)).tolist() if class_names else None
        for step in (0, 310, 623):
            np.save(samples / f"step_{step:08d}.npy", rng.uniform(-1, 1, (count, *shape)).astype(np.float32))
        np.save(samples / "real.npy", rng.uniform(-1, 1, (count, *shape)).astype(np.float32))
        np.save(samples / "interpolation.npy", rng.uniform(-1, 1, (10, *shape)).astype(np.float32))
        (samples / "scaling.json").write_text(json.dumps(SCALING.to_dict()))
        about = {"data": "made up", "data_size": 640, "class_names": list(class_names), "labels": labels}
        about |= {"real_labels": labels, "affine": affine, "spacing": None}
        (samples / "about.json").write_text(json.dumps(about))
        config = load_config(preset).to_dict()
        for field, value in changes.items():
            section, _, name = field.partition("__")
            if name:
                config[section][name] = value
            else:
                config[section] = value
        write_config(folder, type(load_config(preset)).from_dict(config))
        write_environment(folder, preset)
        return folder

    return make
