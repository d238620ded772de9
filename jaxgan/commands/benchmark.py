"""Times an iteration (n_critic critic updates and one generator update) of a preset, or of all.

    jaxgan benchmark --config all --compare plain,torch --output benchmark.json
    jaxgan benchmark --config cell256 --precision float32,bfloat16 --batch_size 16
    jaxgan benchmark --config all --precision float32,bfloat16 --target h100 --compare plain

A ratio above 1 means that jaxgan is faster. Batch sizes are a device's: with --devices 1,2,4 the work grows with them.
Exit status: 0 success, 2 wrong input (one line on stderr), 1 anything else.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from argparse import Namespace
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import jax

import jaxgan
from jaxgan import files
from jaxgan.benchmark.compiled_table import fill_table
from jaxgan.benchmark.targets import find_target, stay_on_host
from jaxgan.benchmark.torch_modes import MODES
from jaxgan.benchmark.workload import ALL, PlainWorkload, Workload, matrix_peak, num_classes, with_options, work
from jaxgan.commands import flags
from jaxgan.config.presets import load_config, title
from jaxgan.config.schema import Config
from jaxgan.errors import InputError, way_out
from jaxgan.models import PRECISIONS
from jaxgan.training.call_length import CallLength
from jaxgan.training.machine import warn_of_the_machine

COMPARISONS = ("plain", *MODES, "noinput")
_ROUNDS = 5
# A first run that took as many seconds is not spoiled by having been the first: it counts, and is the only one.
_MINUTES = 90.0


def parser() -> flags.ArgumentParser:
    """The flags."""
    own = flags.ArgumentParser(prog=flags.program("benchmark"), description=__doc__)
    add = own.add_argument
    add(
        "--config",
        required=True,
        type=flags.path,
        metavar="PRESET|all",
        help="preset[:variant], a file of your own, or all",
    )
    add("--batch_size", type=flags.whole(1, 100_000), help="samples a device (default: the preset's)")
    add("--precision", default="float32", help="float32, bfloat16, or both with a comma")
    add("--devices", default="1", metavar="N[,N]", help="numbers of devices (default: 1)")
    add(
        "--compare",
        metavar="plain,torch,...",
        help=f"time the same work otherwise, interleaved: any of {', '.join(COMPARISONS)}",
    )
    add("--seconds", type=flags.finite, default=20.0, help="time for each row, about (default: 20)")
    add(
        "--target",
        metavar="h100[:N]|a100[:N]|v5e:2x2|...",
        help="time nothing: compile for devices that need not be there, and print a table of what the programs hold",
    )
    add("--output", type=flags.path, metavar="FILE.json", help="write the report there, anew after every row")
    add("--overwrite", action="store_true", help="let --output replace a file that exists")
    return own


def main(arguments: Sequence[str] | None = None) -> int:
    """Times, prints the table, writes the report; returns the process's exit status."""
    return int(bool(benchmark(parser().parse_args(arguments)).get("failed")))


def benchmark(args: Namespace) -> dict[str, Any]:
    """Times presets and prints a table; returns (and with `args.output` writes) the report.

    Args:
      args: config, batch_size, precision, devices, compare, seconds, target, output, overwrite.

    Raises:
      InputError: no such preset, precision, comparison or number of devices, PyTorch missing, or a file in the way.
    """
    if args.target is not None:
        stay_on_host()
    presets = _presets(args.config)
    precisions = _choices("--precision", args.precision, PRECISIONS)
    compare = _choices("--compare", args.compare, COMPARISONS) if args.compare else []
    counts = _devices(args.devices)
    if args.target is not None and (counts != [1] or set(compare) - {"plain"}):
        raise InputError("--target takes --compare plain alone, and no --devices: h100:8 names eight of them")
    if alone := ", ".join(other for other in compare if other != "noinput" and 1 not in counts):
        raise InputError(f"--compare {alone} is timed on one device, not with --devices {args.devices}: give 1 with it")
    output = Path(args.output) if args.output else None
    if output is not None and (output.is_dir() or not os.access(output.parent, os.W_OK)):
        raise InputError(f"--output {output} cannot be written: give a file in a folder that exists")
    if output is not None and output.exists() and not args.overwrite:
        raise InputError(f"--output {output} exists: give another file, or --overwrite")
    # Of all presets those that PyTorch was written for are compared with it; one that was asked for by name must be.
    modes = [mode for mode in compare if mode in MODES]
    refused = {mode: {name: _refusal(mode, preset) for name, preset in presets.items()} for mode in modes}
    for reasons in refused.values():
        if all(reasons.values()):
            raise InputError(next(iter(reasons.values())))

    if args.target is not None:
        target = find_target(args.target)
        report: dict[str, Any] = {"target": target.name, "versions": _versions([]), "rows": [], "failed": []}
        kept = partial(_keep, report, output)
        fill_table(report, kept, target, presets, precisions, args.batch_size, "plain" in compare)
        return report
    for name, preset in presets.items():
        _check_timed(name, preset)
    peaks = {precision: matrix_peak(precision) for precision in precisions}
    report = {"device": _device(), "versions": _versions(compare), "peak_flops": peaks, "rows": []}
    print(f"{report['device']}; " + ", ".join(f"{k} {v}" for k, v in report["versions"].items()))
    print("matrix peak: " + ", ".join(f"{k} {v / 1e9:.0f} GFLOP/s" for k, v in peaks.items()))
    for precision in precisions:
        warn_of_the_machine(precision)
    print(_HEADER)
    for name, preset in presets.items():
        for precision in precisions:
            for devices in counts:
                config = with_options(preset, args.batch_size, precision, devices)
                # Of a CPU each device has all cores; of an accelerator, its own.
                own = 1 if jax.default_backend() == "cpu" else devices
                others = [other for other in compare if other not in MODES or not refused[other][name]]
                row = _row(name, config, devices, others, args.seconds, peaks[precision] * own)
                report["rows"].append(row)
                print(_line(row), flush=True)
                _keep(report, output)
    return report


def _check_timed(name: str, preset: Config) -> None:
    interval = preset.objective.resolved().penalty_interval
    if interval > 1:
        raise InputError(
            f"--config {name}: has a penalty at every {interval}th critic update, so that one iteration is not like"
            " another: give a preset with config.objective.penalty_interval 1"
        )
    if preset.objective.perceptual_weight:
        raise InputError(
            f"--config {name}: has a perceptual loss, which is not timed here: give a preset with"
            " config.objective.perceptual_weight 0"
        )


def _keep(report: dict[str, Any], output: Path | None) -> None:
    if output is not None:
        files.write_json(output, report)


def _refusal(mode: str, config: Config) -> str:
    """Why a preset cannot be compared with PyTorch in that mode, or nothing."""
    try:
        MODES[mode].check(config)
    except InputError as error:
        return str(error)
    return ""


def _row(name: str, config: Config, devices: int, compare: list[str], seconds: float, peak: float) -> dict[str, Any]:
    flops, moved = work(config)
    call_length = CallLength()
    ours = Workload(config, devices, call_length.longest)
    for _ in range(2):
        call_length.ran(1, ours.run(1)[0])
    ours.iterations = iterations = call_length.iterations
    contenders: dict[str, Any] = {"jaxgan": ours}
    if "noinput" in compare:
        contenders["noinput"] = Workload(config, devices, iterations, resident=False)
    if "plain" in compare and devices == 1:
        contenders["plain"] = PlainWorkload(config, 1)
    for mode in compare if devices == 1 else ():
        if mode in MODES:
            contenders[mode] = MODES[mode].workload(config, iterations, num_classes(config))
    times, idle = _time(contenders, seconds)
    spread = {label: _spread(values) for label, values in times.items()}
    median = spread["jaxgan"]["median"]
    images = config.objective.resolved().n_critic * config.train.batch_size
    return {
        "preset": name,
        "precision": config.train.precision,
        "batch_size": config.train.batch_size,
        "devices": devices,
        "seconds_per_iteration": spread["jaxgan"],
        "images_per_second": images / median,
        "images_per_second_per_device": images / median / devices,
        "compile_seconds": ours.compile_seconds,
        "flops_per_iteration": flops,
        "bytes_per_iteration_unfused": moved,
        "peak_share": flops / median / peak,
        "peak_memory_bytes": ours.memory_bytes,
        "host_idle_share": statistics.median(idle),
        "compare": {
            label: {"seconds_per_iteration": values, "ratio": values["median"] / median}
            for label, values in spread.items()
            if label != "jaxgan"
        },
    }


def _time(contenders: Mapping[str, Any], seconds: float) -> tuple[dict[str, list[float]], list[float]]:
    """Seconds an iteration of each, interleaved so that a busy machine slows all alike; and our host's idle shares.

    A contender that takes far longer than the others is run less often, at least twice; one that takes minutes, once.
    """
    times: dict[str, list[float]] = {label: [] for label in contenders}
    idle: list[float] = []
    warm = {}
    for label, contender in contenders.items():
        once, waiting = contender.run()
        warm[label] = once * contender.iterations
        if warm[label] > _MINUTES:
            times[label].append(once)
            idle.extend([waiting] if label == "jaxgan" else [])
        else:
            warm[label] = contender.run()[0] * contender.iterations
    rounds = max(_ROUNDS, min(200, int(seconds / sum(warm.values()))))
    deadline = time.monotonic() + max(seconds, 3 * sum(warm.values()))
    for number in range(rounds):
        for label, contender in contenders.items():
            slow = len(times[label]) >= 2 and warm[label] > 5 * min(warm.values()) and number % 5
            if slow or warm[label] > _MINUTES:
                continue
            elapsed, waiting = contender.run()
            times[label].append(elapsed)
            if label == "jaxgan":
                idle.append(waiting)
        if number >= 2 and time.monotonic() > deadline:
            break
    return times, idle


def _spread(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def _presets(spec: str) -> dict[str, Config]:
    return {title(name): load_config(name) for name in (ALL if spec == "all" else (spec,))}


def _choices(flag: str, text: str, known: Collection[str]) -> list[str]:
    chosen = text.split(",")
    for choice in chosen:
        if choice not in known:
            raise InputError(f"{flag} {choice!r} is not known: {way_out(choice, known)}")
    return chosen


def _devices(text: str) -> list[int]:
    try:
        counts = [int(part) for part in text.split(",")]
    except ValueError:
        raise InputError(f"--devices {text!r} is not valid: give numbers, e.g. 1,2,4") from None
    present = jax.local_device_count()
    for count in counts:
        if not 1 <= count <= present:
            way_out = "; on CPU set JAX_NUM_CPU_DEVICES" if jax.default_backend() == "cpu" else ""
            raise InputError(f"--devices {count} is not valid: this machine has {present} device(s){way_out}")
    return counts


def _device() -> str:
    device = jax.local_devices()[0]
    kind = device.device_kind
    return f"{kind} ({os.cpu_count()} cores)" if device.platform == "cpu" else kind


def _versions(compare: list[str]) -> dict[str, str]:
    names = ["jax", "flax", "optax", "numpy", *(["torch"] if MODES.keys() & set(compare) else [])]
    python = sys.version.split()[0]
    return {"jaxgan": jaxgan.__version__, "python": python} | {name: metadata.version(name) for name in names}


_HEADER = (
    f"{'preset':<18} {'precision':<9} {'batch':>5} {'dev':>3} {'ms/iteration (min-max)':>26} {'images/s':>9}"
    f" {'GFLOP':>8} {'peak':>5} {'MiB':>7} {'compile':>8} {'idle':>5}  against"
)


def _line(row: Mapping[str, Any]) -> str:
    t = {key: 1e3 * value for key, value in row["seconds_per_iteration"].items()}
    against = ", ".join(
        f"{label} {1e3 * other['seconds_per_iteration']['median']:.1f} ms = {other['ratio']:.2f}x"
        for label, other in row["compare"].items()
    )
    timing = f"{t['median']:.1f} ({t['min']:.1f}-{t['max']:.1f})"
    memory, compiling, idle = row["peak_memory_bytes"] / 2**20, row["compile_seconds"], row["host_idle_share"]
    return (
        f"{row['preset']:<18} {row['precision']:<9} {row['batch_size']:>5} {row['devices']:>3} {timing:>26}"
        f" {row['images_per_second']:>9.0f} {row['flops_per_iteration'] / 1e9:>8.1f} {row['peak_share']:>5.0%}"
        f" {memory:>7.0f} {compiling:>7.1f}s {idle:>5.0%}  {against}"
    )
