"""Which recipe makes the better images? Rows of presets and PyTorch peers, several seeds, one budget, one judge.

    python -m jaxgan.benchmark.quality --data HISTOLOGY.npz --output OUT --seeds 0,1,2 --processor_seconds 1440 \\
        --row 'new = panda256:small' --row 'plain = panda256:plain_small' --row 'sngan = peer:sngan64'

A row is `NAME = PRESET[:VARIANT] [--config.field=value ...]` or `NAME = peer:PEER` (`quality_peers.PEERS`). Every row
and seed trains in a process of its own for the same budget, of processor seconds or, where an accelerator computes, of
wall-clock seconds (`--seconds`), and is judged by `evaluate` on the held-out split, copies (`nearest`) on the training
split. A row whose rate falls (`optimizer.schedule`) has an end of its own, `train.iterations`: give it one that the
budget reaches, for the budget ends it too. What is done is not done again: the same command goes on after an
interruption. OUT gets `table.md`, `results.json` and `grids.png`.
"""

from __future__ import annotations

import json
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxgan.benchmark import quality_row
from jaxgan.commands import cli, flags
from jaxgan.config import Config
from jaxgan.config.overrides import override
from jaxgan.config.presets import load_config
from jaxgan.errors import InputError, Stopped
from jaxgan.evaluation import parse_metrics
from jaxgan.files import write_json
from jaxgan.pictures import image_grid, write_png
from jaxgan.processes import ending

SEPARATOR = 8


def parse_row(text: str, data: Config | None) -> tuple[str, str, Config]:
    """A `--row` as (name, peer or "", config).

    Args:
      text: `NAME = PRESET[:VARIANT] [--config.field=value ...]`, or `NAME = peer:PEER`.
      data: the config of a row before, whose data section a peer takes over.

    Raises:
      InputError: not of that form, or a peer in the first row.
    """
    name, equals, rest = text.partition("=")
    words = shlex.split(rest)
    if not equals or not name.strip() or not words:
        raise InputError(f"--row {text!r} is not valid: give 'NAME = PRESET[:VARIANT] [--config.field=value ...]'")
    spec, *overrides = words
    if spec.startswith("peer:"):
        if data is None:
            raise InputError(f"--row {text!r}: a peer takes its data settings from the row before: put a preset first")
        return name.strip(), spec.removeprefix("peer:"), data
    return name.strip(), "", override(load_config(spec), overrides)


def plan(args: Any) -> list[Path]:
    """Writes the description of every row and seed that is not there yet; returns the folders, seed by seed.

    Raises:
      InputError: a wrong row, seed or metric, data that do not fit, or a folder that holds another experiment.
    """
    metrics = parse_metrics(args.metrics)
    rows: list[tuple[str, str, Config]] = []
    for text in args.row:
        rows.append(parse_row(text, rows[-1][2] if rows else None))
    try:
        seeds = [int(seed) for seed in args.seeds.split(",")]
    except ValueError:
        raise InputError(f"--seeds {args.seeds!r} is not valid: give numbers, e.g. 0,1,2") from None
    for _, _, config in rows:  # Wrong data are found before anything is written.
        quality_row.open_splits(config, args.data, Path(args.output), (args.train_split, args.test_split), metrics)
    folders = []
    for seed in seeds:
        for name, peer, config in rows:
            folder = Path(args.output) / name / f"seed{seed}"
            description = {
                "peer": peer,
                "config": config.to_dict() | {"seed": seed},
                "data_dir": str(Path(args.data).absolute()),
                "train": args.train_split,
                "test": args.test_split,
                "budget": args.processor_seconds if args.seconds is None else args.seconds,
                **({} if args.seconds is None else {"clock": "wall"}),
                "num_samples": args.num_samples,
                "metrics": list(metrics),
            }
            description["config"]["train"] |= {"sample_every_epochs": 0.0}  # Nothing is drawn meanwhile.
            if config.optimizer.schedule == "constant":  # Without an end of its own: the budget ends it.
                description["config"]["train"] |= {"iterations": 0, "epochs": 1e9}
            there = folder / "row.json"
            if there.exists() and json.loads(there.read_text()) != json.loads(json.dumps(description)):
                raise InputError(f"{there} describes another row: choose another --output, or another name")
            write_json(there, description)
            folders.append(folder)
    return folders


def collect(output: Path, folders: Sequence[Path]) -> dict[str, list[dict[str, Any]]]:
    """Results by row, one a seed, of those that are done."""
    results: dict[str, list[dict[str, Any]]] = {}
    for folder in folders:
        if (folder / quality_row.RESULT).exists():
            found = json.loads((folder / quality_row.RESULT).read_text()) | {"seed": folder.name.removeprefix("seed")}
            results.setdefault(folder.parent.name, []).append(found)
    return results


def markdown(results: dict[str, list[dict[str, Any]]]) -> str:
    """A table with mean and, for several seeds, half the spread between the extremes."""
    names = list(dict.fromkeys(name for seeds in results.values() for one in seeds for name in one["values"]))
    lines = ["| row | seeds | iterations | " + " | ".join(names) + " |", "|" + "---|" * (len(names) + 3)]
    for row, seeds in results.items():
        cells = [row, str(len(seeds)), f"{statistics.mean(one['facts']['step'] for one in seeds):.0f}"]
        for name in names:
            values = [one["values"][name] for one in seeds if one["values"].get(name) is not None]
            text = f"{statistics.mean(values):.4g}" if values else "-"
            if len(values) > 1:
                text += f" ± {(max(values) - min(values)) / 2:.2g}"
            cells.append(text)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def draw(output: Path, results: dict[str, list[dict[str, Any]]]) -> Path:
    """Grids of the first seed of every row side by side, in the order of the table, on white."""
    grids: list[np.ndarray] = []
    for row, seeds in results.items():
        samples = np.load(output / row / f"seed{seeds[0]['seed']}" / quality_row.SAMPLES, allow_pickle=False)
        grid = image_grid(samples[:36], columns=6)
        edge = SEPARATOR if grids else 0
        grids.append(np.pad(grid, ((0, 0), (edge, 0), (0, 0)), constant_values=255))
    return write_png(output / "grids.png", np.concatenate(grids, axis=1), overwrite=True)


def _run(command: Sequence[str], log: Path) -> int:
    """The exit status of a row's process; a signal stops the row first, which saves, and then the table."""
    with log.open("a") as lines, ending.Hold() as hold:
        hold.activity = "the row's own stop"
        hold.begin()
        row, told = subprocess.Popen(command, stdout=lines, stderr=subprocess.STDOUT), False
        while row.poll() is None:
            if hold.seen and not told:
                row.terminate()
                told = True
            time.sleep(0.2)
        if hold.seen:
            raise Stopped("stopped; the same command goes on")
    return row.returncode


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs what is missing and writes table, JSON and picture."""
    parser = flags.ArgumentParser(prog="python -m jaxgan.benchmark.quality", description=__doc__)
    add = parser.add_argument
    add("--data", required=True, help="a prepared dataset or a raw source, as for train --data_dir")
    add("--row", action="append", required=True, metavar="'NAME = PRESET'", help="may be given several times")
    add("--output", required=True, metavar="DIR", help="of runs, results, table and picture")
    add("--seeds", default="0,1,2", help="default: 0,1,2")
    budget = parser.add_mutually_exclusive_group().add_argument
    about = "of a row and seed (default: 1440: 12 min on 2 cores)"
    budget("--processor_seconds", type=flags.finite, default=1440.0, help=about)
    about = "of a row and seed by the clock on the wall, instead: where an accelerator computes, and nobody else does"
    budget("--seconds", type=flags.finite, help=about)
    add("--num_samples", type=int, default=1000, help="to judge by (default: 1000)")
    add("--metrics", default="fid,kid,swd,prdc,spectrum,nearest", help="as for evaluate")
    add("--train_split", default="train", help="default: train")
    add("--test_split", default="test", help="the held-out split (default: test)")
    args = parser.parse_args(arguments)
    output, folders = Path(args.output), plan(args)
    failed = []
    for folder in folders:
        if (folder / quality_row.RESULT).exists():
            continue
        print(f"{folder.parent.name}, {folder.name} ...", flush=True)
        command = [sys.executable, "-m", "jaxgan.benchmark.quality_row", str(folder / "row.json")]
        if _run(command, folder / "log.txt"):
            failed.append(folder)
            print(f"failed: see {folder / 'log.txt'}", file=sys.stderr)
    results = collect(output, folders)
    if results:
        table = markdown(results)
        (output / "table.md").write_text(table)
        write_json(output / "results.json", results)
        print(table + str(draw(output, results)))
    return int(bool(failed))


if __name__ == "__main__":
    cli.run(main)
