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

from jaxgan import clouds
from jaxgan.commands import flags
from jaxgan.errors import InputError


def parser() -> flags.ArgumentParser:
    """The flags."""
    from jaxgan.inference.formats import FORMATS

    own = flags.ArgumentParser(prog=flags.program("generate"), description=__doc__)
    add = own.add_argument
    flags.add_model_flags(own)
    add(
        "--output_dir",
        type=flags.path,
        help="folder for the files (default: CHECKPOINT/generated/<time>; of an export"
        " generated/<name>-<time> in the current folder)",
    )
    add("--num_samples", type=flags.whole(1, flags.MOST_SAMPLES), default=25, help="how many (default: 25)")
    add(
        "--labels", metavar="A,B", help="classes to make, by name or number, in turn (default: all; conditional models)"
    )
    add("--seed", type=flags.whole(*flags.SEEDS), default=0, help="of the latents (default: 0)")
    add("--truncation", type=flags.finite, metavar="T", help="cut latents off at +-T: less variety, fewer odd ones")
    add("--interpolate", action="store_true", help="go from one latent to another instead")
    add(
        "--num_steps",
        type=flags.whole(2, flags.MOST_SAMPLES),
        default=10,
        help="samples of an interpolation (default: 10)",
    )
    add("--linear", action="store_true", help="interpolate along a straight line (default: great circle)")
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
    if args.interpolate and labels is not None and len(labels) != 1:
        raise InputError(f"--labels {args.labels}: an interpolation stays within one class: give one")
    shown = None if args.interpolate else sample_labels(model, args.num_samples, labels)
    stem, count = ("interpolation", args.num_steps) if args.interpolate else ("sample", args.num_samples)
    now = f"{datetime.datetime.now():%Y%m%d-%H%M%S}"
    if model.critic is None or clouds.is_remote(args.checkpoint):  # In a package or a cache nobody looks.
        default = Path("generated") / f"{model.run_dir.name}-{now}"
    else:
        default = model.run_dir / "generated" / now
    folder = Path(args.output_dir) if args.output_dir else default
    drawn = []
    if args.interpolate and "grid" in formats:
        # One row from the first to the last, not a square.
        formats.remove("grid")
        drawn = [folder / "interpolation_strip.png"]
    listed = [*formats, *([] if shown is None else ["labels"])]
    names = [name for form in listed for name in file_names(form, count, stem, shown, model.class_names)]
    check_targets([*drawn, *(folder / name for name in names)], args.overwrite)
    if args.interpolate:
        label = None if labels is None else labels[0]
        samples = generate_interpolation(model, args.num_steps, label, args.seed, spherical=not args.linear)
    else:
        samples = generate_samples(model, args.num_samples, labels, args.seed, args.truncation, progress=True)
    written = []
    if formats:
        written = write_samples(
            samples,
            folder,
            formats,
            scaling=model.scaling,
            affine=model.affine,
            spacing=model.spacing,
            provenance={
                "run": model.name,
                "step": model.step,
                "seed": args.seed,
                "data": model.data_fingerprint,
            },
            stem=stem,
            overwrite=args.overwrite,
            labels=shown,
            class_names=model.class_names,
        )
    return [interpolation_strip(path, samples, affine=model.affine) for path in drawn] + written


def _formats(args: Namespace) -> list[str]:
    """The formats, each once; raises `InputError` for flags that are wrong whatever the checkpoint is."""
    from jaxgan.inference.formats import check_formats

    formats = list(dict.fromkeys(name for name in args.formats.split(",") if name))
    check_formats(formats)
    if args.truncation is not None and args.interpolate:
        raise InputError("--truncation does not go with --interpolate: leave one out")
    return formats
