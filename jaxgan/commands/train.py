"""From the command line of `scripts/train.py` to the loop."""

from __future__ import annotations

import sys
import warnings
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jaxgan import parallel
from jaxgan.commands.compilation_cache import use_compilation_cache
from jaxgan.config import Config, presets
from jaxgan.errors import InputError
from jaxgan.runs import folder as run_folder


def launch(args: Namespace, overrides: Sequence[str]) -> int:
    """Trains, or describes what would be trained; returns the process's exit status.

    Args:
      args: config, data_dir, workdir, resume, dry_run, augment_preview.
      overrides: the `--config.field=value` arguments.
    """
    config = presets.override(presets.load_preset(args.config), overrides)
    # One line each, as errors are; where in our code a warning arose is no help to the user.
    warnings.showwarning = lambda message, *_, **__: print(f"warning: {message}", file=sys.stderr)
    parallel.initialize()
    use_compilation_cache()
    if args.dry_run:
        from jaxgan.commands.dry_run import describe

        report = describe(config, args.data_dir)
        if parallel.is_main_process():
            print(report)
        return 0
    if not args.data_dir:
        raise InputError("--data_dir is missing: give a prepared dataset, a folder of images, or 'demo'")

    if args.augment_preview:
        _preview(config, args.data_dir, Path(args.augment_preview))
        return 0

    if not args.workdir and parallel.process_count() > 1:
        raise InputError("--workdir is missing: the processes of a job need one folder that all of them see")

    from jaxgan.parallel import say
    from jaxgan.training import loop as training

    workdir = Path(args.workdir) if args.workdir else run_folder.default_name(Path(args.config.split(":")[0]).stem)
    try:
        run_dir = training.train(config, workdir, args.data_dir, args.resume)
    except (training.Interrupted, FloatingPointError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    say(f"run folder: {run_dir}")
    return 0


def _preview(config: Config, data_dir: str, path: Path) -> None:
    from jaxgan.data.open import open_data
    from jaxgan.reporting.preview import preview

    if path.exists():
        raise InputError(f"--augment_preview {path} exists: give another file")
    dataset = open_data(config, data_dir)
    chosen = np.linspace(0, dataset.size - 1, min(4, dataset.size)).astype(int)
    preview(path, np.asarray(dataset.scaling.decode(dataset.read(chosen))), config.augment, config.seed)
    print(path)
