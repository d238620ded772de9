"""Samples a trained generator: the moving average of its weights.

    jaxgan generate --checkpoint runs/digits --output_dir out --num_samples 25 --formats grid,npy
    jaxgan generate --checkpoint runs/digits --output_dir out --interpolate --num_steps 10
    jaxgan generate --checkpoint hf://ORGANISATION/NAME --output_dir out

The same checkpoint, seed and count give the same bytes on the same device. Exit status: 0 success, 2 wrong input (one
line on stderr, nothing written), 1 anything else.
"""

from __future__ import annotations

import datetime
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxgan import clouds
from jaxgan.commands import flags
from jaxgan.errors import InputError

if TYPE_CHECKING:
    from jaxgan.inference.trained_model import TrainedModel


def parser() -> flags.ArgumentParser:
    """The flags."""
    from jaxgan.inference.formats import FORMATS

    own = flags.ArgumentParser(prog=flags.program("generate"), description=__doc__)
    add = own.add_argument
    flags.add_model_flags(own)
    add(
        "--output_dir",
        type=flags.path,
        help="folder for the files (default: CHECKPOINT/generated/<time>; of an export, and of what lies elsewhere,"
        " generated/<name>-<time> in the current folder)",
    )
    add("--num_samples", type=flags.whole(1, flags.MOST_SAMPLES), help="how many (default: 25)")
    add(
        "--labels",
        metavar="A,B",
        help="classes to make, by name or number, in turn (default: all; of an interpolation the first; conditional"
        " models)",
    )
    add("--seed", type=flags.whole(*flags.SEEDS), default=0, help="of the latents (default: 0)")
    add("--truncation", type=flags.finite, metavar="T", help="cut latents off at +-T: less variety, fewer odd ones")
    add("--interpolate", action="store_true", help="go from one latent to another instead")
    add("--num_steps", type=flags.whole(2, flags.MOST_SAMPLES), help="samples of an interpolation (default: 10)")
    add(
        "--linear",
        action="store_true",
        default=None,
        help="interpolate along a straight line (default: great circle)",
    )
    add("--formats", default="grid,npy", help=f"any of {','.join(FORMATS)} (default: grid,npy)")
    add("--overwrite", action="store_true", help="replace files that exist")
    return own


def main(arguments: Sequence[str] | None = None) -> int:
    """Samples, and names the files."""
    args = parser().parse_args(arguments)
    _formats(args)  # What is wrong in the flags alone is said before JAX is imported.

    from jaxgan.commands.compilation_cache import use_compilation_cache
    from jaxgan.config.presets import load_config

    use_compilation_cache()
    if args.config:
        load_config(args.config)  # For what it adds to the registries: the config is the run's own.
    for path in generate_files(args):
        print(path)
    return 0


def generate_files(args: Namespace) -> list[Path]:
    """Samples a checkpoint and writes what was asked for.

    Args:
      args: checkpoint, step, output_dir, num_samples, labels, seed, truncation, interpolate, linear, num_steps,
        formats, overwrite.

    Returns:
      the files written.

    Raises:
      InputError: anything given does not fit; nothing is written then.
    """
    from jaxgan.files import check_targets
    from jaxgan.inference.formats import check_shape, file_names
    from jaxgan.inference.trained_model import (
        generate_interpolation,
        generate_samples,
        label_numbers,
        load_trained_model,
        sample_labels,
    )
    from jaxgan.inference.writers import write_samples
    from jaxgan.reporting.run_figures import interpolation_strip

    formats = _formats(args)
    model = load_trained_model(args.checkpoint, args.step)
    check_shape(formats, model.config.data.shape)
    labels = None if args.labels is None else label_numbers(args.labels.split(","), model.class_names)
    if args.interpolate and model.class_names:
        labels = [0] if labels is None else labels
        if len(labels) != 1:
            raise InputError(f"--labels {args.labels}: an interpolation stays within one class: give one")
    count = args.num_steps or 10 if args.interpolate else args.num_samples or 25
    stem = "interpolation" if args.interpolate else "sample"
    shown = sample_labels(model, count, labels)
    folder = _folder(args, model)
    drawn = []
    if args.interpolate and "grid" in formats:
        # One row from the first to the last, not a square.
        formats.remove("grid")
        drawn = [folder / "interpolation_strip.png"]
    listed = [*formats, *(["labels"] if formats and shown is not None else [])]
    names = [name for form in listed for name in file_names(form, count, stem, shown, model.class_names)]
    check_targets([*drawn, *(folder / name for name in names)], args.overwrite)
    made: dict[str, Any] = {"run": model.name, "step": model.step, "seed": args.seed, "data": model.data_fingerprint}
    if labels is not None:
        made["labels"] = [model.class_names[label] for label in labels]
    if args.interpolate:
        made["interpolation"] = {"steps": count, "path": "line" if args.linear else "great circle"}
        label = None if labels is None else labels[0]
        samples = generate_interpolation(model, count, label, args.seed, spherical=not args.linear)
    else:
        made["truncation"] = args.truncation
        samples = generate_samples(model, count, labels, args.seed, args.truncation, progress=True)
    written = []
    if formats:
        written = write_samples(
            samples,
            folder,
            formats,
            scaling=model.scaling,
            affine=model.affine,
            spacing=model.spacing,
            provenance=made,
            stem=stem,
            overwrite=args.overwrite,
            labels=shown,
            class_names=model.class_names,
        )
    title = f"interpolation, class {made['labels'][0]}" if labels else "interpolation"
    return [interpolation_strip(path, samples, title, model.affine) for path in drawn] + written


def _folder(args: Namespace, model: TrainedModel) -> Path:
    """Where the files go; raises `InputError` where a file is in the way."""
    from jaxgan.inference.locations import HUB, repository

    now = f"{datetime.datetime.now():%Y%m%d-%H%M%S}"
    if args.output_dir:
        folder = Path(args.output_dir)
    elif args.checkpoint.startswith(HUB):  # The folder in the hub's cache is called by a hash.
        folder = Path("generated") / f"{repository(args.checkpoint)[0].partition('/')[2]}-{now}"
    elif model.critic is None or clouds.is_remote(args.checkpoint):  # In a package or a cache nobody looks.
        folder = Path("generated") / f"{model.run_dir.resolve().name}-{now}"
    else:
        folder = model.run_dir / "generated" / now
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir():
        raise InputError(f"--output_dir {folder}: {there} is a file: give another folder")
    return folder


def _formats(args: Namespace) -> list[str]:
    """The formats, each once; raises `InputError` for flags that are wrong whatever the checkpoint is."""
    from jaxgan.inference.formats import check_formats

    formats = list(dict.fromkeys(name for name in args.formats.split(",") if name))
    check_formats(formats)
    if args.interpolate:
        refused, way_out = ("truncation", "num_samples"), "does not go with --interpolate: leave one out"
    else:
        refused, way_out = ("num_steps", "linear"), "is of an interpolation: give --interpolate too"
    for name in refused:
        if getattr(args, name) is not None:
            raise InputError(f"--{name} {way_out}")
    return formats
