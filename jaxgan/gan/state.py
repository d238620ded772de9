"""What an iteration carries: arrays only, so that it is a loop carry, a pmap argument and a checkpoint as it stands."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, Protocol

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from jaxgan.models.spectral import STATS

Array = jax.Array
Tree = Any


class NetState(NamedTuple):
    """One network: its parameters, its running statistics and its optimizer's state."""

    params: Tree
    stats: Tree
    opt_state: Tree


class GANState(NamedTuple):
    """The whole game.

    Attributes:
      step: int32 scalar, iterations done.
      key: uint32 `[2]`, the run's PRNG key data; never changes, every draw is derived from it and `step`.
      generator: the generator being trained.
      critic: the critic.
      ema_params: exponential moving average of the generator's parameters: what is sampled and judged.
      ema_stats: running statistics of the averaged generator itself, as last measured (`averaging`).
      augment: state of an adaptive augmentation (see `step.Augment`); empty where none is used.
    """

    step: Array
    key: Array
    generator: NetState
    critic: NetState
    ema_params: Tree
    ema_stats: Tree
    augment: Tree = ()


class ApplyFn(Protocol):
    """A network as a pure function: `(params, stats, x, labels, train) -> (output, new_stats)`."""

    def __call__(self, params: Tree, stats: Tree, x: Array, labels: Array | None, train: bool) -> tuple[Any, Tree]:
        """`x` `[N, ...]`, `labels` int `[N]` or None; `train`: whether statistics are of the batch, and move."""
        ...


def make_apply(module: nn.Module) -> ApplyFn:
    """A flax module as a pure function of its variables; outside training the statistics come back unchanged."""

    def apply(params: Tree, stats: Tree, x: Array, labels: Array | None, train: bool) -> tuple[Any, Tree]:
        variables = {"params": params, STATS: stats}
        if not train:
            return module.apply(variables, x, labels, train=False), stats
        output, changed = module.apply(variables, x, labels, train=True, mutable=[STATS])
        return output, changed.get(STATS, {})

    return apply


def create_state(
    seed: int,
    generator: nn.Module,
    critic: nn.Module,
    generator_optimizer: optax.GradientTransformation,
    critic_optimizer: optax.GradientTransformation,
    shape: tuple[int, ...],
    latent_dim: int,
) -> GANState:
    """A fresh state: parameters float32, EMA equal to the generator, step 0.

    Args:
      seed: of the initial weights and of every later draw.
      generator: flax module, latents to samples.
      critic: flax module, samples to scores.
      generator_optimizer: optax transformation of the generator's gradients.
      critic_optimizer: optax transformation of the critic's gradients.
      shape: of one sample, `(*S, C)`.
      latent_dim: length of a latent.
    """
    run_key, generator_key, critic_key = jax.random.split(jax.random.key(seed), 3)
    labels = jnp.zeros((1,), jnp.int32)

    def network(module: nn.Module, key: Array, x: Array, initial: Callable[[Tree], Tree]) -> NetState:
        variables = module.init(key, x, labels, train=True)
        params = variables["params"]
        return NetState(params, variables.get(STATS, {}), initial(params))

    # Compiled: run one by one, the many small operations of an initialisation would each be compiled by itself.
    generator_state = jax.jit(partial(network, generator, initial=generator_optimizer.init))(
        generator_key, jnp.zeros((1, latent_dim))
    )
    critic_state = jax.jit(partial(network, critic, initial=critic_optimizer.init))(critic_key, jnp.zeros((1, *shape)))
    return GANState(
        step=jnp.zeros((), jnp.int32),
        key=jax.random.key_data(run_key),
        generator=generator_state,
        critic=critic_state,
        # Copies: the state is donated, and one buffer cannot be given away twice.
        ema_params=jax.tree.map(jnp.copy, generator_state.params),
        ema_stats=jax.tree.map(jnp.copy, generator_state.stats),
    )


def layer_table(module: nn.Module, x: Array, labels: Array) -> tuple[list[tuple[str, str, int]], int]:
    """What each layer puts out and holds.

    Args:
      module: a network.
      x: an input, `[1, ...]`; only its shape is used.
      labels: int `[1]`.

    Returns:
      Rows of (path, output shape as text with N for the batch, number of parameters), and the total number. The
      layers of a block stand before it, and it counts what is its own.
    """
    rows, total = [], 0

    def size(tree: Tree) -> int:
        return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))

    def walk(path: str, seen: Tree, params: Tree) -> None:
        for name, inner in seen.items():
            if name == "__call__":
                continue
            (output,), own = inner["__call__"], params.get(name, {})
            layers = {key for key in inner if key in own and isinstance(own[key], dict)} - {"norm"}
            if layers:
                walk(f"{path}{name}/", inner, own)
                own = {key: leaf for key, leaf in own.items() if key not in layers}
            if own:
                rows.append((path + name, "[N, " + ", ".join(map(str, output.shape[1:])) + "]", size(own)))

    def run() -> None:
        # Under eval_shape nothing is computed; the rows are read off here, while the layers still stand in order.
        nonlocal total
        variables = module.init(jax.random.key(0), x, labels, train=True)
        _, seen = module.apply(variables, x, labels, train=False, capture_intermediates=True, mutable=["intermediates"])
        total = size(variables["params"])
        walk("", seen["intermediates"], variables["params"])
        if rest := total - sum(count for _, _, count in rows):
            rows.append(("image layers of other stages", "", rest))

    jax.eval_shape(run)
    return rows, total
