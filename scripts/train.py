#!/usr/bin/env python3
"""Trains a GAN, or goes on with a run.

    python scripts/train.py --config configs/mnist.py:wgan_gp --data_dir demo --workdir runs/digits
    python scripts/train.py --config configs/mnist.py --data_dir DATA --config.optimizer.lr=1e-4 --dry_run

Any field of the configuration is set with --config.SECTION.FIELD=VALUE. Exit status: 0 success, 2 wrong input (one line
on stderr), 1 anything else, a stop by SIGTERM or SIGINT among them (after a checkpoint: the same command goes on).
"""

from jaxgan.commands import cli


def main() -> int:
    """Reads the flags and trains."""
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--config", required=True, help="preset file, e.g. configs/mnist.py or configs/mnist.py:wgan_gp"
    )
    parser.add_argument("--data_dir", help="prepared dataset, raw images or archives, or 'demo' (5,000 digits)")
    parser.add_argument("--workdir", help="folder of the run (default: runs/<preset>-<time>)")
    parser.add_argument(
        "--resume",
        default="auto",
        metavar="auto|never|CHECKPOINT",
        help="auto: go on with the newest checkpoint in --workdir, if any; never: refuse a folder that holds a run;"
        " or the path of a run or checkpoint to start from (default: auto)",
    )
    parser.add_argument("--dry_run", action="store_true", help="print settings, networks and memory, and train nothing")
    parser.add_argument("--augment_preview", metavar="FILE.png", help="draw augmented reals there, and train nothing")
    args, overrides = parser.parse_known_args()

    from jaxgan.commands.train import launch

    return launch(args, overrides)


if __name__ == "__main__":
    cli.run(main)
