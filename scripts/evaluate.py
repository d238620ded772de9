#!/usr/bin/env python3
"""Measures generated images or volumes against real ones.

    python scripts/evaluate.py --checkpoint runs/digits --metrics fid,kid,prdc,swd,msssim,spectrum,histogram,nearest
    python scripts/evaluate.py --real data/cells --generated out/cells --output cells.json

Writes a JSON file, with the protocol beside every number, and figures beside it; prints a table. Feature metrics use
VGG16 (reported as fd_vgg16, kd_vgg16, ...), or FID's Inception-v3 once its weights are given. Exit status: 0 success,
2 wrong input (one line on stderr, nothing written), 1 anything else.
"""

from jaxgan.commands import cli
from jaxgan.evaluation.registry import default_metrics, help_text


def main() -> int:
    """Reads the flags, evaluates, prints the table."""
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", metavar="RUN", help="a run's folder, or one of its checkpoints")
    parser.add_argument("--step", default="best", metavar="latest|best|N", help="which checkpoint (default: best)")
    parser.add_argument("--data_dir", metavar="DIR", help="the run's data (default: where it found them)")
    parser.add_argument("--num_samples", type=int, metavar="N", help="default: as many as the data, 1000 to 10000")
    parser.add_argument("--seed", type=int, default=0, help="of the latents (default: 0)")
    parser.add_argument("--truncation", type=float, metavar="T", help="cut latents off at +-T")
    parser.add_argument("--real", metavar="DIR", help="folder (or npz, npy) of real images, instead of a checkpoint")
    parser.add_argument("--generated", metavar="DIR", help="folder (or npz, npy) of any model's images")
    parser.add_argument("--value_range", metavar="LOW,HIGH", help="of the stored values (default: of the integer type)")
    parser.add_argument("--generated_range", metavar="LOW,HIGH", help="of the generated ones, when it is another")
    parser.add_argument("--metrics", default=",".join(default_metrics()), metavar="A,B,...", help=help_text())
    parser.add_argument("--inception_weights", metavar="FILE", help="FID's Inception-v3: .pth or safetensors")
    parser.add_argument("--output", metavar="FILE.json", help="default: in RUN/evaluation, or the current folder")
    parser.add_argument(
        "--figures_only", action="store_true", help="draw the run's figures and report anew, nothing else"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace files that exist")
    args = parser.parse_args()

    from jaxgan.commands.compilation_cache import use_compilation_cache
    from jaxgan.commands.evaluate import evaluate_command, redraw

    use_compilation_cache()
    if args.figures_only:
        for path in redraw(args.checkpoint):
            print(path)
    else:
        evaluate_command(args)
    return 0


if __name__ == "__main__":
    cli.run(main)
