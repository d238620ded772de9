"""Writes a trained generator as a folder that others can use without jaxgan.

    jaxgan export --checkpoint runs/digits --output digits-generator

The folder holds the program for CPU, CUDA and TPU (StableHLO), the weights (safetensors), the configuration, a card and
a loader that needs jax and numpy; `jaxgan generate --checkpoint` reads it back. Prints the files written.
Exit status: 0 success, 2 wrong input (one line on stderr, nothing written), 1 anything else.
"""

from __future__ import annotations

from collections.abc import Sequence

from jaxgan.commands import flags


def parser() -> flags.ArgumentParser:
    """The flags."""
    own = flags.ArgumentParser(prog=flags.program("export"), description=__doc__)
    add = own.add_argument
    flags.add_model_flags(own)
    add("--output", required=True, type=flags.path, help="folder for the files; it must not hold any")
    add("--overwrite", action="store_true", help="write into a folder that holds files, in place of an export")
    add("--half", action="store_true", help="round the parameters to float16: half the size, nearly the same samples")
    add("--no_program", action="store_true", help="leave out the program and its loader: for jaxgan alone")
    return own


def main(arguments: Sequence[str] | None = None) -> int:
    """Exports, and names the files."""
    args = parser().parse_args(arguments)

    from jaxgan.config.presets import load_config
    from jaxgan.inference.export import export_model
    from jaxgan.inference.trained_model import load_trained_model

    if args.config:
        load_config(args.config)  # For what it adds to the registries: the config is the run's own.
    model = load_trained_model(args.checkpoint, args.step)
    options = {"with_program": not args.no_program, "half": args.half}
    for path in export_model(model, args.output, args.overwrite, **options):
        print(path)
    return 0
