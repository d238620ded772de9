#!/usr/bin/env python3
"""Samples a trained generator: the moving average of its weights.

    python scripts/generate.py --checkpoint runs/digits --output_dir out --num_samples 25 --formats grid,npy
    python scripts/generate.py --checkpoint runs/digits --output_dir out --interpolate --num_steps 10

The same checkpoint, seed and count give the same bytes on the same device. Exit status: 0 success, 2 wrong input (one
line on stderr, nothing written), 1 anything else.
"""

from jaxgan.commands import cli


def main() -> int:
    """Reads the flags, samples, names the files."""
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", required=True, help="a run's folder, or one of its checkpoints")
    parser.add_argument("--step", default="best", metavar="latest|best|N", help="which checkpoint (default: best)")
    parser.add_argument("--output_dir", help="folder for the files (default: CHECKPOINT/generated/<time>)")
    parser.add_argument("--num_samples", type=int, default=25, help="how many (default: 25)")
    parser.add_argument("--labels", metavar="0,1", help="classes to make, in turn (default: all; conditional models)")
    parser.add_argument("--seed", type=int, default=0, help="of the latents (default: 0)")
    parser.add_argument(
        "--truncation", type=float, metavar="T", help="cut latents off at +-T: less variety, fewer odd ones"
    )
    parser.add_argument("--interpolate", action="store_true", help="go from one latent to another instead")
    parser.add_argument("--num_steps", type=int, default=10, help="samples of an interpolation (default: 10)")
    parser.add_argument(
        "--linear", action="store_true", help="interpolate along a straight line (default: great circle)"
    )
    parser.add_argument(
        "--formats",
        default="grid,npy",
        help="any of grid,png,tiff8,tiff32,tiff01,tiff_units,npy,nifti (default: grid,npy)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace files that exist")
    args = parser.parse_args()

    from jaxgan.commands.compilation_cache import use_compilation_cache
    from jaxgan.commands.generate import generate_files

    use_compilation_cache()
    for path in generate_files(args):
        print(path)
    return 0


if __name__ == "__main__":
    cli.run(main)
