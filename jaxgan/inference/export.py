"""A trained generator as a folder that others can use without jaxgan: StableHLO, safetensors, a card, a loader."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy
from jax import export

import jaxgan
from jaxgan.config.timetable import Timetable
from jaxgan.errors import InputError
from jaxgan.files import atomic_files
from jaxgan.inference.exported import CONFIG, WEIGHTS, is_export, named
from jaxgan.inference.trained_model import TrainedModel, networks
from jaxgan.runs.folder import CARD

PLATFORMS = ("cpu", "cuda", "tpu")
PROGRAM, SHARED = ("model.stablehlo", "load.py"), ("README.md", "metadata.json", "__init__.py")

LOADER = '''"""Loads the generator beside this file. Needs jax, numpy and flatbuffers (for jax.export)."""

import pathlib

import jax
import jax.export
import numpy as np

HERE = pathlib.Path(__file__).parent
program = jax.export.deserialize(bytearray((HERE / "model.stablehlo").read_bytes()))
# generate(latents float32 [n, latent_dim]{labels_signature}) -> float32 {shape} in original units
generate = jax.jit(program.call)

if __name__ == "__main__":  # python load.py: 4 samples into samples.npy
    latents = np.random.default_rng(0).standard_normal((4, {latent_dim}), np.float32)
    np.save("samples.npy", generate(latents{labels_call}))
'''


def export_model(
    model: TrainedModel,
    output: str | os.PathLike,
    overwrite: bool = False,
    *,
    with_program: bool = True,
    half: bool = False,
) -> list[Path]:
    """Writes `model.stablehlo`, `weights.safetensors`, `config.json`, `model_card.md` and `load.py`.

    Args:
      model: from `load_trained_model`.
      output: folder of the files; it must not exist, or be empty.
      overwrite: write into a folder that holds files, in place of an export there.
      with_program: False leaves out `model.stablehlo` and `load.py`: then only jaxgan can read the folder.
      half: round the parameters to float16; the program computes with the rounded ones too.

    Returns:
      the files written.

    Raises:
      InputError: the folder holds files and `overwrite` is False, or cannot be written; nothing is written then.
    """
    check_output(output, overwrite)
    # All is made before the first byte is written: what fails leaves no folder behind.
    return write_folder(output, contents(model, with_program, half), overwrite)


def check_output(output: str | os.PathLike, overwrite: bool) -> None:
    """Raises `InputError` unless the folder can be written to: new or empty, or `overwrite`."""
    folder = Path(output)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"--output {folder} is a file: give a folder")
    if folder.is_dir() and any(folder.iterdir()) and not overwrite:
        raise InputError(f"--output {folder} exists: give another folder, or --overwrite")


def write_folder(output: str | os.PathLike, files: dict[str, bytes], overwrite: bool) -> list[Path]:
    """Writes all files of a folder or none, and deletes what else an earlier export has there; returns their paths."""
    folder = Path(output)
    paths = [folder / name for name in files]
    with atomic_files(paths, overwrite) as temporary:
        for path, content in zip(temporary, files.values(), strict=True):
            path.write_bytes(content)
        if is_export(folder):
            # A README of the user's own is none of these: what `share` wrote are all three.
            shared = SHARED if all((folder / name).is_file() for name in SHARED) else ()
            for name in {*PROGRAM, *shared} - files.keys():
                (folder / name).unlink(missing_ok=True)
    return paths


def contents(model: TrainedModel, with_program: bool = True, half: bool = False) -> dict[str, bytes]:
    """The files of an export by name; see `export_model`."""
    weights = named({"params": model.params, "stats": model.stats})
    if half:
        weights = {name: _halved(name, leaf) for name, leaf in weights.items()}
        rounded = {name: leaf for name, leaf in weights.items() if name.startswith("params/")}
        leaves = [jnp.asarray(leaf, jnp.float32) for leaf in rounded.values()]
        model = dataclasses.replace(model, params=jax.tree.unflatten(jax.tree.structure(model.params), leaves))
    # The library takes an array's memory as it lies.
    plain = {name: np.require(leaf, requirements="C") for name, leaf in weights.items()}
    files = {
        WEIGHTS: safetensors.numpy.save(plain, {"jaxgan": json.dumps(_facts(model))}),
        CONFIG: (json.dumps(model.config.to_dict(), indent=2) + "\n").encode(),
        CARD: model_card(model, with_program).encode(),
    }
    if with_program:
        files["model.stablehlo"] = bytes(program(model).serialize())
        files["load.py"] = _loader(model).encode()
    return files


def _halved(name: str, leaf: np.ndarray) -> np.ndarray:
    """A parameter as float16; running statistics are few, and may be beyond its range."""
    if not name.startswith("params/"):
        return leaf
    rounded = np.asarray(leaf).astype(np.float16)
    if not np.isfinite(rounded).all():
        raise InputError(f"the parameter {name} is beyond float16: leave --half out")
    return rounded


def program(model: TrainedModel) -> export.Exported:
    """The generator with its weights inside, for any batch size and for each of `PLATFORMS`.

    It takes latents, float32 `[n, latent_dim]`, and of conditional models labels, int32 `[n]`; it returns float32
    `[n, *S, C]` in the units of the training data. Convolutions are lowered for each platform in its own way.
    Activations are float32, also of a model trained in bfloat16, of which products alone stay in it: what CPUs would
    emulate, and one program serves all.
    """
    generator_fn = networks(model.config, len(model.class_names), platform="cpu")[0].generator
    # float32 here, where `Scaling.restore` computes in float64: integers are exact up to 24 bits.
    centre = float(model.scaling.restore(np.zeros(())))
    half = float(model.scaling.restore(np.ones(()))) - centre

    # JAX's arrays: labels, which are traced, cannot index NumPy's.
    params, stats = jax.tree.map(jnp.asarray, (model.params, model.stats))

    def generate(latents: jax.Array, labels: jax.Array | None = None) -> jax.Array:
        samples = generator_fn(params, stats, latents, labels, train=False)[0]
        if model.stretch is not None:
            samples = model.stretch.back(samples)
        return samples.astype(jnp.float32) * half + centre

    (count,) = export.symbolic_shape("n")
    latents = jax.ShapeDtypeStruct((count, model.config.generator.latent_dim), jnp.float32)
    labels = [jax.ShapeDtypeStruct((count,), jnp.int32)] if model.class_names else []
    return export.export(jax.jit(generate), platforms=PLATFORMS)(latents, *labels)


def _facts(model: TrainedModel) -> dict[str, Any]:
    """What a sample means, beside the configuration; in the header of the weights."""
    return {
        "version": jaxgan.__version__,
        "run": model.name,
        "step": model.step,
        "scaling": model.scaling.to_dict(),
        "class_names": list(model.class_names),
        "data_fingerprint": model.data_fingerprint,
        "affine": None if model.affine is None else model.affine.tolist(),
        "spacing": model.spacing,
    }


def _loader(model: TrainedModel) -> str:
    shape = f"[n, {', '.join(map(str, model.config.data.shape))}]"
    fields = {
        "{latent_dim}": str(model.config.generator.latent_dim),
        "{shape}": shape,
        "{labels_signature}": ", labels int32 [n]" if model.class_names else "",
        "{labels_call}": f", np.arange(4, dtype=np.int32) % {len(model.class_names)}" if model.class_names else "",
    }
    text = LOADER
    for field, value in fields.items():
        text = text.replace(field, value)
    return text


def model_card(model: TrainedModel, with_program: bool = True) -> str:
    """A short card in Markdown: what the samples are, what they mean, and how the model was made."""
    config, scaling, objective = model.config, model.scaling, model.config.objective.resolved()
    updates, _ = Timetable.of(config).in_words
    classes = ", ".join(f"{i} = {name}" for i, name in enumerate(model.class_names)) or "none (unconditional)"
    spacing = " x ".join(f"{side:g}" for side in model.spacing) + " mm" if model.spacing else "not known"
    weights = sum(leaf.size for leaf in jax.tree.leaves(model.params))
    runs = f"`load.py` runs `model.stablehlo` (made by `jax.export` for {', '.join(PLATFORMS)}) without jaxgan; "
    return f"""# {model.name}

A generator of synthetic images, trained with jaxgan {jaxgan.__version__}. Its samples are not measurements.

| | |
|---|---|
| samples | `[n, {", ".join(map(str, config.data.shape))}]` (batch, space, channels), float32 |
| values | {scaling.units or "units not known"}; trained on {scaling.dtype} from {scaling.low:g} to {scaling.high:g} |
| size of a pixel | {spacing} |
| classes | {classes} |
| data | fingerprint `{model.data_fingerprint}` |
| networks | generator `{config.generator.network}`, critic `{config.critic.network}`; {weights:,} parameters sampled |
| game | `{objective.loss}`, penalty `{objective.penalty}`, {updates} critic updates |
| iteration | {model.step:,}; the exponential moving average of the generator's weights |
| evaluation | {"below" if (found := _evaluation(model)) else "none is stated here"} |
| licence | not stated: the owner of the data and of the model chooses it |

{runs if with_program else ""}`weights.safetensors` has the weights by name, and what is in
this table in its header; `config.json` is the run's configuration. `jaxgan generate --checkpoint` takes the folder.
{found}"""


def _evaluation(model: TrainedModel) -> str:
    """What `evaluate --card` wrote of this step into the run's folder, without its title and local paths; else ""."""
    try:
        lines = (model.run_dir / CARD).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return ""
    if not any(line.startswith("- Checkpoint: ") and line.endswith(f" step {model.step:,}") for line in lines):
        return ""
    kept = [line for line in lines[1:] if not line.startswith(("- Checkpoint: ", "- Name: "))]
    return "\n## Evaluation\n\n" + "\n".join(line.replace("## ", "### ", 1) for line in kept).strip() + "\n"
