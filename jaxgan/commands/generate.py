"""From the command line of `scripts/generate.py` to files."""

from __future__ import annotations

import datetime
from argparse import Namespace
from pathlib import Path

from jaxgan.errors import InputError
from jaxgan.inference.trained_model import generate_interpolation, generate_samples, load_trained_model, sample_labels
from jaxgan.inference.writers import write_samples
from jaxgan.reporting.run_figures import interpolation_strip


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
    model = load_trained_model(args.checkpoint, args.step)
    labels = _numbers(args.labels)
    if args.interpolate:
        if args.truncation is not None:
            raise InputError("--truncation does not go with --interpolate: leave one out")
        if labels is not None and len(labels) != 1:
            raise InputError(f"--labels {args.labels}: an interpolation stays within one class: give one")
        label = None if labels is None else labels[0]
        samples = generate_interpolation(model, args.num_steps, label, args.seed, spherical=not args.linear)
        shown, stem = None, "interpolation"
    else:
        samples = generate_samples(model, args.num_samples, labels, args.seed, args.truncation)
        shown, stem = sample_labels(model, args.num_samples, labels), "sample"
    now = f"{datetime.datetime.now():%Y%m%d-%H%M%S}"
    folder = Path(args.output_dir) if args.output_dir else model.run_dir / "generated" / now
    formats = list(dict.fromkeys(name for name in args.formats.split(",") if name))
    strip = folder / "interpolation_strip.png" if args.interpolate and "grid" in formats else None
    if strip is None:
        drawn = []
    else:
        # One row from the first to the last, not a square.
        formats.remove("grid")
        if strip.exists() and not args.overwrite:
            raise InputError(f"{strip} exists: give another output folder, or --overwrite")
        drawn = [strip]
    written = []
    if formats or not drawn:
        written = write_samples(
            samples,
            folder,
            formats,
            scaling=model.scaling,
            affine=model.affine,
            spacing=model.spacing,
            provenance={
                "run": model.run_dir.name,
                "step": model.step,
                "seed": args.seed,
                "data": model.data_fingerprint,
            },
            stem=stem,
            overwrite=args.overwrite,
            labels=shown,
        )
    return [interpolation_strip(path, samples) for path in drawn] + written


def _numbers(text: str | None) -> list[int] | None:
    if text is None:
        return None
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise InputError(f"--labels {text!r} is not valid: give class numbers, e.g. 0,1") from None
