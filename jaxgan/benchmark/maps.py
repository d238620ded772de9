"""How long each map of each kind of convolution of a preset's critic takes under each scheme of the CPU lowering:

    python -m jaxgan.benchmark.maps configs/cell256.py [--batch_size N] [--network generator]

Milliseconds of C, Cx and Cw alone, for the critic pass over reals and samples together (twice the batch) or for a batch
of the generator, lines for each kind of layer with its kernel and stride ("4/2"); `*` marks what the lowering chooses.
In a whole update the maps share transforms, so the sum of a line is an upper bound.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from math import prod
from unittest import mock

import jax
import jax.numpy as jnp
from jax import lax

from jaxgan.benchmark.workload import best_seconds, num_classes
from jaxgan.commands import cli, flags
from jaxgan.config import Config
from jaxgan.config.presets import load_config
from jaxgan.models import build_critic, build_generator
from jaxgan.ops import conv, lowering_cpu
from jaxgan.ops.geometry import Geometry
from jaxgan.ops.schemes import Columns, Minimal, Spread

Scheme = Columns | Spread | Minimal

# One compiled program repeats a map, so that its temporaries are reused as they are in training.
REPEATS, ROUNDS = 16, 3


def layers(config: Config, batch_size: int, network: str = "critic") -> list[tuple[Geometry, int, int, int]]:
    """(geometry, samples, channels, features) of each convolution of a network, in the order in which they run."""
    found: list[tuple[Geometry, int, int, int]] = []

    def noted(map_: Callable, geometry: Geometry, a: jax.Array, w: jax.Array) -> jax.Array:
        found.append((geometry, len(a), w.shape[-2], w.shape[-1]))
        return map_(geometry, a, w)

    samples = 2 * batch_size if network == "critic" else batch_size
    module = (build_critic if network == "critic" else build_generator)(config, num_classes(config), platform="cpu")
    shape = config.data.shape if network == "critic" else (config.generator.latent_dim,)
    operands = jax.ShapeDtypeStruct((samples, *shape), jnp.float32), jax.ShapeDtypeStruct((samples,), jnp.int32)
    with mock.patch.dict(conv._CLOSED, {name: partial(noted, conv._CLOSED[name]) for name in ("C", "Cx")}):
        jax.eval_shape(module.init, jax.random.key(0), *operands)
    return found


# By the taps along an axis, how many outputs small and large tiles have.
_SMALL, _LARGE = {1: 1, 2: 2, 3: 2}, {1: 1, 2: 4, 3: 3}


def schemes(geometry: Geometry) -> list[Scheme]:
    """Windows of the input and of the output, of one and of several neighbours; small tiles, tiles that are large along
    two axes, large tiles."""
    taps, size = lowering_cpu.Blocks(geometry).taps, geometry.output
    found: list[Scheme] = [kind(taps, size, fold) for kind in (Columns, Spread) for fold in lowering_cpu.FOLDS]
    if 1 < max(taps) <= max(_LARGE):
        small, large = (tuple(sizes[t] for t in taps) for sizes in (_SMALL, _LARGE))
        tiles = dict.fromkeys([small, small[:-2] + large[-2:], large])
        found += [Minimal(taps, size, tile) for tile in tiles]
    return found


def milliseconds(function: Callable, a: jax.Array, b: jax.Array) -> float:
    """Of one application, the best of `ROUNDS` programs of `REPEATS`."""
    result = jax.eval_shape(function, a, b)

    def body(_, carry):
        last, a, b = carry
        # Not before the last one is done, and nothing of either operand once for all.
        a, b, _ = lax.optimization_barrier((a, b, last[(0,) * last.ndim]))
        return function(a, b), a, b

    start = jnp.zeros(result.shape, result.dtype)
    program = jax.jit(lambda a, b: lax.fori_loop(0, REPEATS, body, (start, a, b))[0]).lower(a, b).compile()
    return best_seconds(partial(program, a, b), ROUNDS) / REPEATS * 1e3


def measure(geometry: Geometry, samples: int, channels: int, features: int) -> dict[str, list[str]]:
    """Milliseconds of C, Cx and Cw under each scheme, by the scheme's name, with a mark where it is chosen."""
    keys = jax.random.split(jax.random.key(0), 3)
    x = jax.random.normal(keys[0], (samples, *geometry.size, channels))
    w = jax.random.normal(keys[1], (*geometry.kernel, channels, features))
    g = jax.random.normal(keys[2], (samples, *geometry.output, features))
    operands = {"C": (x, w), "Cx": (g, w), "Cw": (x, g)}
    blocks = lowering_cpu.Blocks(geometry)
    chosen = {name: lowering_cpu.choose(name, geometry, samples, channels, features)[1] for name in operands}
    times: dict[str, list[str]] = {}
    for scheme in {_name(s): s for s in [*schemes(geometry), *chosen.values()]}.values():
        with mock.patch.object(lowering_cpu, "choose", lambda *_, scheme=scheme: (blocks, scheme)):
            times[_name(scheme)] = [
                f"{milliseconds(partial(lowering_cpu.MAPS[name], geometry), *pair):.1f}"
                + ("*" if _name(scheme) == _name(chosen[name]) else "")
                for name, pair in operands.items()
            ]
    return times


def _name(scheme: Scheme) -> str:
    if isinstance(scheme, Minimal):
        return "tiles of " + "x".join(map(str, scheme.tile))
    return f"{'columns' if isinstance(scheme, Columns) else 'spread'} of {scheme.fold}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the lines of each layer."""
    parser = flags.ArgumentParser(prog="python -m jaxgan.benchmark.maps", description=__doc__)
    parser.add_argument("config", metavar="PRESET", help="preset file[:variant]")
    parser.add_argument("--batch_size", type=flags.whole(1, 100_000), help="default: the preset's")
    parser.add_argument("--network", choices=("critic", "generator"), default="critic", help="default: critic")
    args = parser.parse_args(arguments)
    config = load_config(args.config)
    for geometry, samples, channels, features in dict.fromkeys(
        layers(config, args.batch_size or config.train.batch_size, args.network)
    ):
        work = 2 * samples * prod(geometry.output) * prod(geometry.kernel) * channels * features / 1e9
        size, kernel, stride = "x".join(map(str, geometry.size)), geometry.kernel[0], geometry.stride[0]
        times = measure(geometry, samples, channels, features)
        print(f"{samples} x {size} x {channels} to {features}  {kernel}/{stride}  {work:.2f} GFLOP")
        for name, cells in times.items():
            print(f"    {name:16} {' / '.join(cells)}", flush=True)


if __name__ == "__main__":
    cli.run(main)
