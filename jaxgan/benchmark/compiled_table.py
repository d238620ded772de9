"""A table of presets compiled for a target: `benchmark --target`."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jaxgan.benchmark.compiled import as_row, compile_for
from jaxgan.benchmark.targets import Target
from jaxgan.benchmark.workload import num_classes, with_options
from jaxgan.config import Config
from jaxgan.errors import InputError

_KINDS = ("convForward", "convBiasActivationForward", "convBackwardInput", "convBackwardFilter")


def header(target: Target) -> str:
    """The head of the table, in Markdown, to which `summary` gives the rows."""
    calls = "dtype | forward | with bias and activation | backward input | backward filter | dilated"
    own = calls if target.chip.platform == "gpu" else "kcycles expected"
    names = (
        f"| preset | precision | batch | {own} | temporaries MiB | memory MiB | fits | largest batch, estimated | GFLOP"
        " | bound ms | collectives | of them waited for | compile s |"
    )
    return names + "\n|" + "---|" * (names.count("|") - 1)


def summary(row: Mapping[str, Any]) -> str:
    """One row of the table: of `as_row` with the keys "preset" and "plain" added."""
    calls = row["cudnn_calls"]
    counts = [sum(call["count"] for call in calls if call["kind"] == kind) for kind in _KINDS]
    dilated = sum(call["count"] for call in calls if call["window"] == "dilated")
    dtypes = ", ".join(sorted({call["dtype"] for call in calls}))
    cycles = sum(row["estimated_cycles"].values())
    cells = [
        row["preset"] + (" (plain)" if row["plain"] else ""),
        row["precision"],
        row["batch_size"],
        *([dtypes, *counts, dilated] if calls else [f"{cycles / 1000:.0f}"]),
        f"{row['temporary_bytes'] / 2**20:.0f}",
        f"{row['memory_bytes'] / 2**20:.0f}",
        "yes" if row["fits"] else f"NO: {next(iter(row['refused']), row['batch_size'])}",
        "-" if row["largest_batch_estimated"] is None else row["largest_batch_estimated"],
        f"{row['flops_per_iteration_per_device'] / 1e9:.1f}",
        f"{1e3 * row['bound_seconds_by_product']:.2f}",
        sum(collective["count"] for collective in row["collectives"]),
        sum(collective["count"] for collective in row["collectives"] if not collective["beside_operations"]),
        f"{row['compile_seconds']:.0f}",
    ]
    return "| " + " | ".join(map(str, cells)) + " |"


def fill_table(
    report: dict[str, Any],
    keep: Callable[[], None],
    target: Target,
    presets: Mapping[str, Config],
    precisions: Sequence[str],
    batch_size: int | None,
    plain: bool,
) -> None:
    """Compiles presets, and prints and keeps a row of each when it is there; of many presets one may fail.

    Args:
      report: its "rows" and "failed" are added to.
      keep: called after each.
      target: what for.
      presets: by name.
      precisions: each is compiled.
      batch_size: of a device; None: the preset's.
      plain: compile each with native convolutions and JAX's own derivatives, too.

    Raises:
      InputError: the target's compiler is missing, or the only preset fails.
    """
    target.devices()  # Without a compiler all would fail.
    print(header(target))
    for name, precision, is_plain in itertools.product(presets, precisions, (False, True) if plain else (False,)):
        try:
            config = with_options(presets[name], batch_size, precision, target.count)
            compiled = compile_for(target, config, num_classes(config), is_plain)
        except InputError as error:
            if len(presets) == 1:
                raise
            report["failed"].append({"preset": name, "precision": precision, "plain": is_plain, "why": str(error)})
            print(f"error: --config {name} --precision {precision}: {error}", file=sys.stderr)
        else:
            report["rows"].append({"preset": name, "plain": is_plain, **as_row(compiled)})
            print(summary(report["rows"][-1]), flush=True)
        keep()
