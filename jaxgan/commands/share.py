"""Lays a trained generator out as a repository of the Hugging Face Hub, and uploads it.

    jaxgan share --checkpoint runs/digits --output digits-shared
    jaxgan share --checkpoint runs/digits --to hf://ORGANISATION/NAME --license cc-by-4.0

The folder is an export (`jaxgan export`) with a README.md as the hub reads it, and with the metadata.json and the
package that medigan asks for. Others then write `jaxgan generate --checkpoint hf://ORGANISATION/NAME`. A new repository
is private unless you say --public: a generator can give its training images away (`jaxgan evaluate --metrics privacy`).
Prints what was written. Exit status: 0 success, 2 wrong input (one line on stderr), 1 anything else.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from jaxgan.commands import flags
from jaxgan.errors import library


def parser() -> flags.ArgumentParser:
    """The flags."""
    own = flags.ArgumentParser(prog=flags.program("share"), description=__doc__)
    add = own.add_argument
    flags.add_model_flags(own)
    add("--output", type=flags.path, help="folder for the files; it must not hold any")
    add("--to", metavar="hf://ORGANISATION/NAME", help="upload there; needs the extra hub and 'hf auth login'")
    add("--public", action="store_true", help="make a new repository public")
    add("--license", default="", help="of the model, as the hub writes it: cc-by-4.0, mit, ...")
    for name, about in (
        ("modality", "kinds of image, e.g. MRI"),
        ("organ", "what is shown, e.g. hippocampus"),
        ("dataset", "names of the training data"),
        ("tags", "further words to find it by"),
    ):
        add(f"--{name}", default="", metavar="A,B", help=about)
    add("--half", action="store_true", help="round the parameters to float16: half the size, nearly the same samples")
    add("--overwrite", action="store_true", help="replace files that exist")
    return own


def main(arguments: Sequence[str] | None = None) -> int:
    """Lays out, uploads, and names what was written."""
    own = parser()
    args = own.parse_args(arguments)
    if args.output is None and args.to is None:
        own.error("give --output FOLDER, --to hf://ORGANISATION/NAME, or both")
    if args.public and args.to is None:
        own.error("--public is of a repository: give --to hf://ORGANISATION/NAME too, or leave it out")

    from jaxgan.config.presets import load_config
    from jaxgan.inference.locations import repository
    from jaxgan.inference.medigan import About
    from jaxgan.inference.sharing import lay_out, upload
    from jaxgan.inference.trained_model import load_trained_model

    if args.to is not None:  # What cannot be uploaded is said before the work.
        repository(args.to)
        library("huggingface_hub", "hub", f"--to {args.to}")
    if args.config:
        load_config(args.config)  # For what it adds to the registries: the config is the run's own.
    lists = ("modality", "organ", "dataset", "tags")
    words = {name: tuple(filter(None, getattr(args, name).split(","))) for name in lists}
    about = About(licence=args.license, **words)
    model = load_trained_model(args.checkpoint, args.step)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "shared" if args.output is None else Path(args.output)
        written = lay_out(model, folder, about, args.overwrite, args.half)
        if args.output is not None:
            for path in written:
                print(path)
        if args.to is not None:
            print(upload(folder, written, args.to, args.public))
    return 0
