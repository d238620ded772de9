"""A generator that learnt 50 digits by heart gives them away: membership is told, copies are found."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgan.config import Config
from jaxgan.data.demo import digits
from jaxgan.evaluation import evaluate
from jaxgan.models import build_generator

MEMBERS = 50


def samples_of_a_memorising_generator(images, count, *, updates=300):
    """Samples `[count, H, W, C]` of a generator with a class an image, fitted to these by squared error."""
    sections = {"data": {"labelled": True}, "critic": {"conditioning": "projection"}}
    config = Config.from_dict(sections | {"generator": {"widths": (32, 16), "norm": "none"}})
    generator, labels = build_generator(config, len(images)), jnp.arange(len(images))
    latents = jax.random.normal(jax.random.key(0), (updates, len(images), config.generator.latent_dim))
    variables = generator.init(jax.random.key(1), latents[0], labels)
    optimizer = optax.adam(2e-3)

    def loss(variables, z):
        return jnp.mean((generator.apply(variables, z, labels) - images) ** 2)

    @jax.jit
    def update(variables, state, z):
        changes, state = optimizer.update(jax.grad(loss)(variables, z), state)
        return optax.apply_updates(variables, changes), state

    state = optimizer.init(variables)
    for z in latents:
        variables, state = update(variables, state, z)
    # Latents that it never saw: what comes out is what it learnt.
    z = jax.random.normal(jax.random.key(2), (count, config.generator.latent_dim))
    return np.asarray(generator.apply(variables, z, jnp.arange(count) % len(images)))


@pytest.mark.slow
def test_a_model_that_memorised_is_told_by_membership_and_by_copies():
    data = digits()
    order = np.random.default_rng(0).permutation(data.size)
    images = data.scaling.decode(data.read(order[: 2 * MEMBERS]))
    members, heldout = images[:MEMBERS], images[MEMBERS:]
    samples = samples_of_a_memorising_generator(members, 2 * MEMBERS)
    metrics = evaluate([members], [samples], ("privacy",), heldout_batches=[heldout], resamples=50).metrics
    assert metrics["membership_auroc"].value > 0.9 and metrics["membership_auroc"].interval[0] > 0.8
    assert metrics["membership_auroc"].details["baseline"] == pytest.approx(0.5, abs=0.25)
    assert metrics["membership_tpr"].value > 0.5
    assert metrics["privacy_copies"].details["flagged"] and metrics["privacy_copies"].value > 0.3
