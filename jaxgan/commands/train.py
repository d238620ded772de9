"""Trains a GAN, or goes on with a run.

    jaxgan train --config mnist:wgan_gp --data_dir demo --workdir runs/digits
    jaxgan train --config mnist --data_dir DATA --config.optimizer.lr=1e-4 --dry_run
    jaxgan train --config cell256 --config.train.precision=bfloat16 --dry_run --target h100

Any field of the configuration is set with --config.SECTION.FIELD=VALUE (listed below). Exit status: 0 success, 2 wrong
input (one line on stderr), 1 anything else, a stop by SIGTERM or SIGINT among them (after a checkpoint: the same
command goes on).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from jaxgan import clouds
from jaxgan.commands import flags
from jaxgan.config import Config, presets
from jaxgan.config.fields import describe_fields
from jaxgan.config.overrides import override
from jaxgan.errors import InputError
from jaxgan.processes.cluster import find_place


def parser() -> flags.ArgumentParser:
    """The flags; what they leave over are overrides of config fields."""
    own = flags.ArgumentParser(prog=flags.program("train"), description=__doc__, epilog=describe_fields())
    add = own.add_argument
    add(
        "--config",
        required=True,
        type=flags.path,
        metavar="PRESET",
        help="mnist, mnist:wgan_gp, ..., or a .py, .json or .yaml file",
    )
    add(
        "--data_dir",
        type=flags.source,
        help="prepared dataset, raw images or archives, also s3://... or gs://..., or 'demo' (5,000 digits)",
    )
    add(
        "--workdir",
        type=flags.source,
        help="folder of the run, also s3://... or gs://... (default: runs/<preset>-<time>)",
    )
    add(
        "--resume",
        type=flags.source,
        default="auto",
        metavar="auto|never|CHECKPOINT",
        help="auto: go on with the newest checkpoint in --workdir, if any; never: refuse a folder that holds a run;"
        " or the path of a run or checkpoint to start from (default: auto)",
    )
    add("--dry_run", action="store_true", help="print settings, networks and memory, and train nothing")
    add(
        "--target",
        metavar="h100[:N]|a100[:N]|v5e:2x2|...",
        help="with --dry_run: compile for devices that need not be there, and print memory, work and calls",
    )
    add("--track", default="", metavar="wandb,mlflow", help="tell these trackers of the run, besides its own folder")
    add("--augment_preview", type=flags.path, metavar="FILE.png", help="draw augmented reals there, and train nothing")
    return own


def main(arguments: Sequence[str] | None = None) -> int:
    """Trains, or describes what would be trained; returns the process's exit status."""
    own = parser()
    args, overrides = own.parse_known_args(arguments)
    if find_place(os.environ) is not None:
        # Before what may be wrong in one process alone, so that the others need not wait for it in vain.
        from jaxgan import parallel

        parallel.initialize()
    config = override(presets.load_config(args.config), overrides, own.flags())
    if args.target is not None and not args.dry_run:
        raise InputError(f"--target {args.target} only describes a run: give --dry_run with it")
    if args.augment_preview and args.dry_run:
        raise InputError(f"--augment_preview {args.augment_preview} is not drawn by a --dry_run: leave one out")

    from jaxgan import parallel
    from jaxgan.commands.compilation_cache import use_compilation_cache
    from jaxgan.runs import folder as run_folder

    if args.target is None:  # Programs for devices that are not here can be written, and never be read.
        use_compilation_cache()
    if args.dry_run:
        from jaxgan.commands.dry_run import describe

        report = describe(config, args.data_dir, args.target, args.config)
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

    from jaxgan.training import loop as training

    track = [name for name in args.track.split(",") if name]
    if args.workdir and clouds.is_remote(args.workdir):
        from jaxgan.runs.mirror import mirrored

        if parallel.process_count() > 1:
            raise InputError(f"--workdir {args.workdir}: several processes need a folder that all see: give its path")
        with mirrored(args.workdir) as folder:
            resume = str(folder) if args.resume.rstrip("/") == args.workdir.rstrip("/") else _local(args.resume)
            training.train(config, folder, args.data_dir, resume, args.config, track)
        parallel.say(f"run folder: {args.workdir}")
        return 0
    default = run_folder.default_name(presets.title(args.config).partition(":")[0])
    run_dir = training.train(config, args.workdir or default, args.data_dir, _local(args.resume), args.config, track)
    parallel.say(f"run folder: {run_dir}")
    return 0


def _local(resume: str) -> str:
    return str(clouds.fetch(resume)) if clouds.is_remote(resume) else resume


def _preview(config: Config, data_dir: str, path: Path) -> None:
    import numpy as np

    from jaxgan.data.open import open_data
    from jaxgan.gan.stretch import STRETCHES
    from jaxgan.reporting.preview import preview

    if path.exists():
        raise InputError(f"--augment_preview {path} exists: give another file")
    dataset = open_data(config, data_dir)
    chosen = np.linspace(0, dataset.size - 1, min(4, dataset.size)).astype(int)
    images = dataset.scaling.decode(dataset.read(chosen))
    if stretch := STRETCHES.get(config.data.stretch):
        images = stretch.forward(images)  # As it is augmented.
    preview(path, np.asarray(images), config.augment, config.diffaugment, config.seed)
    print(path)
