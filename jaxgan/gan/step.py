"""One GAN iteration as a pure function of (state, data): written per device, no I/O, no placement.

Under a mapped axis (`GAN.axis_name`) the gradients are averaged over devices; everything else is per sample, and
every random number is keyed by the sample's place in the GLOBAL batch. So the number of devices changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import lax

from jaxgan.gan.draws import AUGMENT_FAKE, AUGMENT_REAL, PENALTY, augmented, latents, sample_keys, stream, with_symmetry
from jaxgan.gan.game import GAN, Metrics
from jaxgan.gan.state import GANState, NetState
from jaxgan.objectives.losses import classification
from jaxgan.objectives.penalties import Penalty, r1

Array = jax.Array
Tree = Any
# load_batch(data, batch_ref) -> (images float32 [B, *S, C] in [-1, 1], labels int32 [B] or None)
LoadBatch = Callable[[Tree, Tree], tuple[Array, Array | None]]

# What `train_step` reports in every game; an auxiliary classifier adds its `accuracy`, an adaptive augmentation
# `score_sign` and what it reports of itself.
METRICS = (
    "critic_loss",
    "generator_loss",
    "wasserstein",
    "gradient_penalty",
    "critic_gradient_norm",
    "generator_gradient_norm",
)


def critic_update(
    gan: GAN,
    state: GANState,
    real: Array,
    labels: Array | None,
    update: Array | int = 0,
    fake: Array | None = None,
) -> tuple[GANState, Metrics]:
    """One update of the critic; the generator is left as it is.

    Args:
      gan: what the update closes over.
      state: the whole game.
      real: float32 `[B, *S, C]` in [-1, 1], this device's share of the batch.
      labels: int32 `[B]` or None; the fakes take the labels of the reals.
      update: which of the iteration's critic updates this is.
      fake: its samples `[B, *S, C]` where they are made already, or None.
    """

    def part(keys: Array, real: Array, labels: Array | None, fake: Array | None) -> tuple[Tree, tuple[Tree, Metrics]]:
        real = with_symmetry(gan, keys, real)
        if fake is None:
            fake, _ = gan.generator(*state.generator[:2], latents(gan, keys), labels, train=True)
        seen = augmented(gan, state, keys, real, AUGMENT_REAL), augmented(gan, state, keys, fake, AUGMENT_FAKE)

        def objective(params: Tree) -> tuple[Array, tuple[Tree, Metrics]]:
            (real_scores, real_logits), (fake_scores, _), stats = _score_pair(
                gan, params, state.critic.stats, *seen, labels
            )
            loss = jnp.mean(gan.loss.critic(real_scores, fake_scores))
            metrics = {"wasserstein": jnp.mean(real_scores) - jnp.mean(fake_scores)}
            if gan.augment is not None and gan.augment.update is not None:
                metrics["score_sign"] = jnp.mean(jnp.sign(real_scores))
            if gan.drift_weight:
                loss += gan.drift_weight * jnp.mean(real_scores**2)
            if real_logits is not None:
                assert labels is not None  # a critic that classifies is trained on labelled images
                loss += gan.auxiliary_weight * jnp.mean(classification(real_logits, labels))
                metrics["accuracy"] = jnp.mean(jnp.argmax(real_logits, -1) == labels, dtype=jnp.float32)
            metrics["gradient_penalty"] = jnp.zeros(())
            for name, penalty, weight, before in _penalties(gan):
                reals, fakes = (real, fake) if before else seen
                value, metrics[name] = _penalty(gan, penalty, before, params, state, reals, fakes, labels, keys, update)
                loss += weight * value
            return loss, (stats, metrics | {"critic_loss": loss})

        return jax.grad(objective, has_aux=True)(state.critic.params)

    keys = sample_keys(gan, state, update, len(real))
    gradient, (stats, metrics) = _mean_over_parts(gan.accumulate, part, keys, real, labels, fake)
    critic, norm = _descend(gan, gan.critic_optimizer, state.critic, gradient, stats)
    if gan.weight_clip:
        critic = critic._replace(
            params=jax.tree.map(lambda p: jnp.clip(p, -gan.weight_clip, gan.weight_clip), critic.params)
        )
    return state._replace(critic=critic), metrics | {"critic_gradient_norm": norm}


def generator_update(gan: GAN, state: GANState, real: Array, labels: Array | None) -> tuple[GANState, Metrics]:
    """One update of the generator and of its moving average; the critic is left as it is.

    Args:
      gan: what the update closes over.
      state: the whole game.
      real: float32 `[B, *S, C]`; looked at by relative losses and the perceptual loss only.
      labels: int32 `[B]` of the samples to make, or None.
    """

    def part(keys: Array, real: Array, labels: Array | None) -> tuple[Tree, tuple[Tree, Metrics]]:
        z = latents(gan, keys)

        def objective(params: Tree) -> tuple[Array, tuple[Tree, Metrics]]:
            fake, stats = gan.generator(params, state.generator.stats, z, labels, train=True)
            seen_fake = augmented(gan, state, keys, fake, AUGMENT_FAKE)
            if gan.loss.relative:
                seen = augmented(gan, state, keys, with_symmetry(gan, keys, real), AUGMENT_REAL)
                (real_scores, _), (fake_scores, logits), _ = _score_pair(
                    gan, *state.critic[:2], seen, seen_fake, labels
                )
            else:
                (fake_scores, logits), _ = gan.critic(*state.critic[:2], seen_fake, labels, train=True)
                real_scores = jnp.zeros_like(fake_scores)
            loss = jnp.mean(gan.loss.generator(real_scores, fake_scores))
            if logits is not None:
                assert labels is not None  # as in critic_update
                loss += gan.auxiliary_weight * jnp.mean(classification(logits, labels))
            metrics = {}
            if gan.perceptual is not None:
                metrics["perceptual_loss"] = gan.perceptual(with_symmetry(gan, keys, real), fake, gan.axis_name)
                loss += gan.perceptual_weight * metrics["perceptual_loss"]
            return loss, (stats, metrics | {"generator_loss": loss})

        return jax.grad(objective, has_aux=True)(state.generator.params)

    keys = sample_keys(gan, state, gan.n_critic, len(real))
    gradient, (stats, metrics) = _mean_over_parts(gan.accumulate, part, keys, real, labels)
    generator, norm = _descend(gan, gan.generator_optimizer, state.generator, gradient, stats)
    decay = gan.ema_decay(state.step)
    average = partial(jax.tree.map, lambda old, new: new + decay * (old - new))
    state = state._replace(
        generator=generator,
        ema_params=average(state.ema_params, generator.params),
    )
    return state, metrics | {"generator_gradient_norm": norm}


def train_step(
    gan: GAN, load_batch: LoadBatch, state: GANState, data: Tree, batch_refs: Tree
) -> tuple[GANState, Metrics]:
    """One iteration: `n_critic` critic updates, each with fresh reals and latents, then one generator update.

    Args:
      gan: what the iteration closes over.
      load_batch: turns one batch_ref into this device's reals.
      state: the whole game.
      data: what `load_batch` reads from, e.g. the resident set.
      batch_refs: pytree with leading axis `n_critic`, one batch_ref a critic update.

    Returns:
      The new state and float32 scalars, means over the critic updates and over devices. `critic_loss` is all that
      the critic minimises, `gradient_penalty` the penalty before its weight (NaN where a lazy penalty was not due),
      `wasserstein` is `mean score(real) - mean score(fake)`.
    """

    if gan.stage is not None:
        state = gan.stage.enter(state, gan.generator_optimizer, gan.critic_optimizer)
    step, growth = state.step, {} if gan.stage is None else dict(state.critic.stats["growth"])

    def load(batch_ref: Tree) -> tuple[Array, Array | None]:
        images, labels = load_batch(data, batch_ref)
        if gan.stretch is not None:
            images = gan.stretch.forward(images)
        return images if gan.stage is None else gan.stage.shown(step, images), labels

    def body(state: GANState, of_update: tuple[Array, Tree, Array | None]) -> tuple[GANState, Metrics]:
        update, batch_ref, fake = of_update
        return critic_update(gan, state, *load(batch_ref), update, fake)

    updates = jnp.arange(gan.n_critic)
    state, metrics = lax.scan(body, state, (updates, batch_refs, _fakes_at_once(gan, state, load, updates, batch_refs)))
    last = jax.tree.map(lambda leaf: leaf[-1], batch_refs)
    state, generator_metrics = generator_update(gan, state, *load(last))
    # Only a lazy penalty may be missing: elsewhere a NaN must show.
    means = {name: jnp.nanmean if name.endswith("_penalty") else jnp.mean for name in metrics}
    metrics = {name: means[name](values) for name, values in metrics.items()} | generator_metrics | growth
    metrics = _mean_over_devices(gan, metrics)
    if gan.augment is not None and gan.augment.update is not None:
        augment, reported = gan.augment.update(state.augment, metrics)
        state, metrics = state._replace(augment=augment), metrics | reported
    return state._replace(step=state.step + 1), metrics


def train_many(
    gan: GAN, load_batch: LoadBatch, state: GANState, data: Tree, batch_refs: Tree, count: Array
) -> tuple[GANState, Metrics]:
    """`count` iterations in one program.

    The trip count is a run-time value, so that every call, however long, runs the same compiled iteration: a resumed
    run, whose calls are cut elsewhere, stays bit-identical.

    Args:
      gan: what the iteration closes over.
      load_batch: as in `train_step`.
      state: the whole game.
      data: as in `train_step`.
      batch_refs: pytree with leading axes `[K, n_critic]`.
      count: int32 scalar, at most K.

    Returns:
      The new state and the metrics of each iteration, `[K]`, zero from `count` on.
    """

    def ref_of(i: Array | int) -> Tree:
        return jax.tree.map(lambda leaf: lax.dynamic_index_in_dim(leaf, i, keepdims=False), batch_refs)

    # Traced once, although it is asked for its shapes first; `inline` leaves no trace of the function in the program.
    step = jax.jit(partial(train_step, gan, load_batch), inline=True)
    length = len(jax.tree.leaves(batch_refs)[0])
    _, shapes = jax.eval_shape(step, state, data, ref_of(0))
    metrics = jax.tree.map(lambda leaf: jnp.zeros((length, *leaf.shape), leaf.dtype), shapes)

    def body(i: Array, carry: tuple[GANState, Metrics]) -> tuple[GANState, Metrics]:
        state, metrics = carry
        state, new = step(state, data, ref_of(i))
        return state, jax.tree.map(lambda all_, one: all_.at[i].set(one), metrics, new)

    return lax.fori_loop(0, count, body, (state, metrics))


def _fakes_at_once(
    gan: GAN, state: GANState, load: Callable[[Tree], tuple[Array, Array | None]], updates: Array, batch_refs: Tree
) -> Array | None:
    """The samples of all critic updates of an iteration, `[n_critic, B, *S, C]`, where devices share statistics; else
    None, and each update makes its own.

    The generator is the same in all of them, so they can be made side by side: each update's statistics are its own,
    and the messages of a layer, which devices wait for, are one in place of `n_critic`.
    """
    if not (gan.shares_statistics and gan.n_critic > 1 and gan.axis_name and lax.psum(1, gan.axis_name) > 1):
        return None

    def make(update: Array, batch_ref: Tree) -> Array:
        real, labels = load(batch_ref)  # Their number and classes: nothing else of them is computed.
        keys = sample_keys(gan, state, update, len(real))
        return gan.generator(*state.generator[:2], latents(gan, keys), labels, train=True)[0]

    return jax.vmap(make)(updates, batch_refs)


def _score_pair(
    gan: GAN, params: Tree, stats: Tree, real: Array, fake: Array, labels: Array | None
) -> tuple[tuple[Array, Array | None], tuple[Array, Array | None], Tree]:
    """(scores, logits) of reals and of fakes, and new statistics; in one pass unless the critic couples samples."""
    if gan.couples_samples:
        of_real, stats = gan.critic(params, stats, real, labels, train=True)
        of_fake, stats = gan.critic(params, stats, fake, labels, train=True)
        return of_real, of_fake, stats
    both = None if labels is None else jnp.concatenate([labels, labels])
    (scores, logits), stats = gan.critic(params, stats, jnp.concatenate([real, fake]), both, train=True)
    split = len(real)
    halves = (None, None) if logits is None else (logits[:split], logits[split:])
    return (scores[:split], halves[0]), (scores[split:], halves[1]), stats


def _penalties(gan: GAN) -> Iterator[tuple[str, Penalty, float, bool]]:
    """(reported name, penalty, weight, whether on the images before `augment`) of each penalty of the game."""
    if gan.penalty is not None:
        yield "gradient_penalty", gan.penalty, gan.penalty_weight, gan.penalty_before_augment
    if gan.r1_weight:
        yield "r1_penalty", r1, gan.r1_weight, True


def _penalty(
    gan: GAN,
    penalty: Penalty,
    before_augment: bool,
    params: Tree,
    state: GANState,
    real: Array,
    fake: Array,
    labels: Array | None,
    keys: Array,
    update: Array | int,
) -> tuple[Array, Array]:
    """The penalty as it enters the loss, and as it is reported."""

    def score(x: Array) -> Array:
        if before_augment:
            x = augmented(gan, state, keys, x, AUGMENT_REAL)
        (scores, _), _ = gan.critic(params, state.critic.stats, x, labels, train=True)
        return scores

    def value() -> Array:
        return jnp.mean(penalty(score, real, fake, stream(keys, PENALTY)))

    if gan.penalty_interval == 1:
        now = value()
        return now, now
    # The whole penalty enters this very update, so the optimizer needs no correction: lazy regularisation as a step of
    # its own (Karras et al. 2020, arXiv:1912.04958) makes more steps than it replaces, and corrects its rate for them.
    due = (state.step * gan.n_critic + update) % gan.penalty_interval == 0
    now = lax.cond(due, value, lambda: jnp.zeros(()))
    return gan.penalty_interval * now, jnp.where(due, now, jnp.nan)


def _mean_over_parts(count: int, part: Callable[..., Tree], *samples: Array | None) -> Tree:
    """The mean of `part(*samples)` over equal, contiguous parts of the samples, one after another.

    Statistics that do not depend on the samples (spectral norm's vectors) are the same in every part, and their mean
    is they themselves.
    """
    if count == 1:
        return part(*samples)
    parts = jax.tree.map(lambda leaf: leaf.reshape(count, -1, *leaf.shape[1:]), samples)
    shapes = jax.eval_shape(part, *jax.tree.map(lambda leaf: leaf[0], parts))
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)

    def add(total: Tree, one: Tree) -> tuple[Tree, None]:
        return jax.tree.map(jnp.add, total, part(*one)), None

    total, _ = lax.scan(add, zeros, parts)
    return jax.tree.map(lambda leaf: leaf / count, total)


def _mean_over_devices(gan: GAN, tree: Tree) -> Tree:
    """The one place where devices meet, beside synchronised batch norm."""
    return lax.pmean(tree, gan.axis_name) if gan.axis_name else tree


def _descend(
    gan: GAN, optimizer: optax.GradientTransformation, net: NetState, gradient: Tree, stats: Tree
) -> tuple[NetState, Array]:
    if gan.axis_name and gan.reduce_dtype is not None:
        rounded = jax.tree.map(lambda leaf: leaf.astype(gan.reduce_dtype), gradient)
        gradient = jax.tree.map(lambda mean, leaf: mean.astype(leaf.dtype), _mean_over_devices(gan, rounded), gradient)
    else:
        gradient = _mean_over_devices(gan, gradient)
    updates, opt_state = optimizer.update(gradient, net.opt_state, net.params)
    return NetState(optax.apply_updates(net.params, updates), stats, opt_state), optax.tree.norm(gradient)
