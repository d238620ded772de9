"""How long each map of each convolution of a preset's critic takes under each scheme of the CPU lowering:

    python -m jaxgan.benchmark.maps configs/cell256.py [--batch_size N]

Milliseconds of C, Cx and Cw alone, for the critic pass over reals and samples together (twice the batch); `*` marks the
scheme that the lowering chooses. In a whole update the maps share transforms, so the sum of a row is an upper bound.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from math import prod
from unittest import mock

import jax
import jax.numpy as jnp
from jax import lax

from jaxgan.benchmark.workload import best_seconds
from jaxgan.commands import cli
from jaxgan.config import Config
from jaxgan.config.presets import load_config
from jaxgan.models.layers import Conv
from jaxgan.ops import lowering_cpu
from jaxgan.ops.geometry import Geometry
from jaxgan.ops.schemes import Columns, Minimal

# One compiled program repeats a map, so that its temporaries are reused as they are in training.
REPEATS, ROUNDS = 16, 3


def layers(config: Config, batch_size: int) -> Iterator[tuple[Geometry, int, int, int]]:
    """(geometry, samples, channels, features) of each convolution of the critic."""
    channels, shape = config.data.channels, config.data.shape[:-1]
    for features in config.critic.widths:
        geometry = Geometry.resolve(shape, (Conv.kernel,) * len(shape), Conv.stride, "SAME")
        yield geometry, 2 * batch_size, channels, features
        channels, shape = features, geometry.output


def schemes(geometry: Geometry) -> list[Columns | Minimal]:
    """Columns, tiles of two, tiles of four along two axes, tiles of four."""
    blocks = lowering_cpu.Blocks(geometry)
    rank = len(blocks.taps)
    tiles = dict.fromkeys([(2,) * rank, (2,) * (rank - 2) + (4, 4), (4,) * rank])
    return [Columns(blocks.taps, geometry.output)] + [Minimal(blocks.taps, geometry.output, t) for t in tiles]


def milliseconds(function: Callable, a: jax.Array, b: jax.Array) -> float:
    """Of one application, the best of `ROUNDS` programs of `REPEATS`."""
    result = jax.eval_shape(function, a, b)

    def body(_, carry):
        last, a = carry
        a, _ = lax.optimization_barrier((a, last[(0,) * last.ndim]))  # Not before the last one is done.
        return function(a, b), a

    start = jnp.zeros(result.shape, result.dtype)
    program = jax.jit(lambda a, b: lax.fori_loop(0, REPEATS, body, (start, a))[0]).lower(a, b).compile()
    return best_seconds(partial(program, a, b), ROUNDS) / REPEATS * 1e3


def measure(geometry: Geometry, samples: int, channels: int, features: int) -> dict[str, list[float]]:
    """Milliseconds of C, Cx and Cw under each scheme, by the scheme's name."""
    keys = jax.random.split(jax.random.key(0), 3)
    x = jax.random.normal(keys[0], (samples, *geometry.size, channels))
    w = jax.random.normal(keys[1], (*geometry.kernel, channels, features))
    g = jax.random.normal(keys[2], (samples, *geometry.output, features))
    blocks, chosen = lowering_cpu.choose(geometry, samples, channels, features)
    times = {}
    for scheme in {_name(s): s for s in [*schemes(geometry), chosen]}.values():
        with mock.patch.object(lowering_cpu, "choose", lambda *_, scheme=scheme: (blocks, scheme)):
            mark = "*" if _name(scheme) == _name(chosen) else ""
            times[_name(scheme) + mark] = [
                milliseconds(lambda a, b, name=name: lowering_cpu.MAPS[name](geometry, a, b), *operands)
                for name, operands in {"C": (x, w), "Cx": (g, w), "Cw": (x, g)}.items()
            ]
    return times


def _name(scheme: Columns | Minimal) -> str:
    return "columns" if isinstance(scheme, Columns) else "x".join(map(str, scheme.tile))


def main(arguments: Sequence[str] | None = None) -> None:
    """Print one line a layer."""
    parser = cli.ArgumentParser(prog="python -m jaxgan.benchmark.maps", description=__doc__)
    parser.add_argument("config", metavar="PRESET", help="preset file[:variant]")
    parser.add_argument("--batch_size", type=int, help="default: the preset's")
    args = parser.parse_args(arguments)
    config = load_config(args.config)
    for geometry, samples, channels, features in layers(config, args.batch_size or config.train.batch_size):
        work = 2 * samples * prod(geometry.output) * prod(geometry.kernel) * channels * features / 1e9
        size = "x".join(map(str, geometry.size))
        times = measure(geometry, samples, channels, features)
        cells = "  ".join(f"{name}: " + " / ".join(f"{t:.1f}" for t in ms) for name, ms in times.items())
        print(f"{samples} x {size} x {channels} to {features}  {work:.2f} GFLOP  {cells}", flush=True)


if __name__ == "__main__":
    cli.run(main)
