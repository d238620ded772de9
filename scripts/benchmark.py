#!/usr/bin/env python3
"""Times an iteration (n_critic critic updates and one generator update) of a preset, or of all.

    python scripts/benchmark.py --config all --compare plain,torch --output benchmark.json
    python scripts/benchmark.py --config configs/cell256.py --precision float32,bfloat16 --batch_size 16

A ratio above 1 means that jaxgan is faster. Batch sizes are a device's: with --devices 1,2,4 the work grows with them.
Exit status: 0 success, 2 wrong input (one line on stderr), 1 anything else.
"""

from jaxgan.commands import cli


def main() -> None:
    """Reads the flags and times."""
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument("--config", required=True, metavar="PRESET|all", help="preset file[:variant], or all")
    parser.add_argument("--batch_size", type=int, help="samples a device (default: the preset's)")
    parser.add_argument("--precision", default="float32", help="float32, bfloat16, or both with a comma")
    parser.add_argument("--devices", default="1", metavar="N[,N]", help="numbers of devices (default: 1)")
    parser.add_argument("--compare", metavar="plain,torch,noinput", help="time the same work otherwise, interleaved")
    parser.add_argument("--seconds", type=float, default=20.0, help="time for each row, about (default: 20)")
    parser.add_argument("--output", metavar="FILE.json", help="write the report there")
    args = parser.parse_args()

    from jaxgan.commands.benchmark import benchmark

    benchmark(args)


if __name__ == "__main__":
    cli.run(main)
