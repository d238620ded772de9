"""What a TPU's compiler expects of each convolution of a preset alone, with and without folded columns:

    python -m jaxgan.benchmark.map_cycles configs/panda256.py --target v5e:1x1 [--batch_size N] [--network generator]
    python -m jaxgan.benchmark.map_cycles configs/panda256.py --target v5e:1x1 [--batch_size N] --whole
    python -m jaxgan.benchmark.map_cycles configs/cell256.py:small --whole --config.data.size=128

Thousands of cycles of C, Cx and Cw for the layers that fold (`jaxgan.ops.folding`), or, `--whole`, of one iteration of
the preset; products in bfloat16: an estimate that ranks, not a time. Needs no TPU, but its compiler (extra
`target-tpu`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from unittest import mock

import jax
import jax.numpy as jnp

from jaxgan.benchmark.compiled import compile_for
from jaxgan.benchmark.hlo import estimated_cycles
from jaxgan.benchmark.maps import layers
from jaxgan.benchmark.targets import Target, find_target, stay_on_host
from jaxgan.benchmark.workload import num_classes
from jaxgan.commands import cli, flags
from jaxgan.config import Config
from jaxgan.config.overrides import override
from jaxgan.config.presets import load_config
from jaxgan.config.timetable import in_last_stage
from jaxgan.errors import InputError
from jaxgan.ops import lowering_native
from jaxgan.ops.folding import fold
from jaxgan.ops.geometry import Geometry


def expected(
    device: jax.Device, geometry: Geometry, samples: int, channels: int, features: int, columns: int
) -> list[int]:
    """Cycles of C, Cx and Cw.

    Args:
      device: what to compile for.
      geometry: of the convolution.
      samples: how many images.
      channels: of the input.
      features: of the output.
      columns: how many to fold; 1: none.
    """
    geometry = geometry._replace(matmul_dtype=jnp.bfloat16)
    place = jax.sharding.SingleDeviceSharding(device)
    x, w, g = (
        jax.ShapeDtypeStruct(shape, jnp.float32, sharding=place)
        for shape in (
            (samples, *geometry.size, channels),
            (*geometry.kernel, channels, features),
            (samples, *geometry.output, features),
        )
    )
    found = []
    for name, operands in {"C": (x, w), "Cx": (g, w), "Cw": (x, g)}.items():

        def compute(a: jax.Array, b: jax.Array, name: str = name) -> jax.Array:
            return lowering_native.compute_tpu(name, geometry, a, b, columns)

        lowered = jax.jit(compute).trace(*operands).lower(lowering_platforms=("tpu",))
        found.append(sum(estimated_cycles(lowered.compile().as_text()).values()))
    return found


def whole(target: Target, config: Config) -> None:
    """Print two lines for an iteration of a config: without and with folded columns."""
    config = dataclasses.replace(config, train=dataclasses.replace(config.train, precision="bfloat16"))
    print("| columns | kcycles | of them in the largest layer | temporaries MiB | compile s |\n|---|---|---|---|---|")
    for name, chosen in (("plain", lambda *_: 1), ("folded", fold)):
        jax.clear_caches()  # Or the second program would be made of what the first one traced.
        with mock.patch.object(lowering_native, "fold", chosen):
            compiled = compile_for(target, config, num_classes(config))
        if compiled.refused:
            raise InputError(f"{name}: a batch of {config.train.batch_size} does not fit: give a smaller --batch_size")
        cycles = estimated_cycles(compiled.text)
        layer, most = next(iter(cycles.items()))
        cells = f"{sum(cycles.values()) / 1e3:.0f}", f"{most / 1e3:.0f} ({layer})"
        print(
            f"| {name} | {' | '.join(cells)} | {compiled.temporary_bytes / 2**20:.0f} | {compiled.seconds:.0f} |",
            flush=True,
        )


def main(arguments: Sequence[str] | None = None) -> None:
    """Print two lines for each layer that folds, or for the whole."""
    parser = flags.ArgumentParser(prog="python -m jaxgan.benchmark.map_cycles", description=__doc__)
    parser.add_argument("config", metavar="PRESET", help="preset file[:variant]")
    parser.add_argument("--target", default="v5e:1x1", help="default: v5e:1x1")
    parser.add_argument("--batch_size", type=flags.whole(1, 100_000), help="default: the preset's")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--network", choices=("critic", "generator"), default="critic", help="default: critic")
    what.add_argument("--whole", action="store_true", help="a whole iteration, not layer by layer")
    args, overrides = parser.parse_known_args(arguments)
    config = override(load_config(args.config), overrides, parser.flags())
    target = find_target(args.target)
    if target.chip.platform != "tpu":
        raise InputError(f"--target {args.target}: columns are folded on TPUs alone: give e.g. v5e:1x1")
    if args.whole:
        config = in_last_stage(config)
        size = args.batch_size or config.train.batch_size
        return whole(target, dataclasses.replace(config, train=dataclasses.replace(config.train, batch_size=size)))
    stay_on_host()
    device = target.devices()[0]
    found = layers(config, args.batch_size or config.train.batch_size, args.network)
    print("| layer | kernel, stride | columns | C | Cx | Cw |\n|---|---|---|---|---|---|")
    for geometry, samples, channels, features in dict.fromkeys(found):
        folded = fold(geometry, channels, features)
        for columns in (1, folded) if folded > 1 else ():
            cycles = expected(device, geometry, samples, channels, features, columns)
            size, form = "x".join(map(str, geometry.size)), f"{geometry.kernel[0]}, {geometry.stride[0]}"
            cells = [f"{samples} x {size} x {channels} to {features}", form, columns]
            print("| " + " | ".join(map(str, [*cells, *(f"{count / 1e3:.0f}" for count in cycles)])) + " |", flush=True)


if __name__ == "__main__":
    cli.run(main)
