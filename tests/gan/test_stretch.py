"""A stretch changes what networks see, and nothing that anybody else does."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxgan
from jaxgan.config import Config
from jaxgan.data.dataset import from_arrays
from jaxgan.gan.build import build_gan
from jaxgan.gan.step import train_step
from jaxgan.gan.stretch import STRETCHES
from jaxgan.inference.export import program

SMALL = {
    "data": {"size": 8, "stretch": "sqrt"},
    "generator": {"widths": [4, 4], "latent_dim": 3},
    "critic": {"widths": [4, 4]},
    "train": {"batch_size": 4, "iterations": 2, "num_samples": 4},
}


@pytest.mark.parametrize("name", STRETCHES)
def test_a_stretch_rises_from_end_to_end_and_is_undone(name):
    stretch = STRETCHES[name]
    values = np.sort(np.random.default_rng().uniform(-1, 1, 1000)).astype(np.float32)
    values[[0, -1]] = -1, 1
    seen = np.asarray(stretch.forward(values))
    assert seen[0] == -1 and seen[-1] == 1 and (np.diff(seen) >= 0).all()
    np.testing.assert_allclose(stretch.back(seen), values, atol=1e-6)


def test_the_square_root_gives_dark_values_most_of_the_range():
    dark = jnp.array([-1.0, -0.5])  # a quarter of the range
    assert np.ptp(STRETCHES["sqrt"].forward(dark)) == pytest.approx(1.0)


def test_the_game_on_stretched_reals_is_the_game_of_data_that_were_stretched_before():
    reals = jnp.asarray(np.random.default_rng().uniform(-1, 1, (1, 4, 8, 8, 1)).astype(np.float32))
    plain = {**SMALL, "data": {"size": 8}}
    seen = STRETCHES["sqrt"].forward(reals)
    results = []
    for settings, data in ((SMALL, reals), (plain, seen)):
        gan, state = build_gan(Config.from_dict({**settings, "objective": {"n_critic": 1}}), 0)
        load = lambda data, ref: (data[ref], None)  # noqa: E731
        state, _ = jax.jit(train_step, static_argnums=(0, 1))(gan, load, state, data, jnp.zeros((1,), jnp.int32))
        results.append(state)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), *results)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    images = np.random.default_rng(0).integers(0, 60, (12, 8, 8, 1)).astype(np.uint8)
    dataset, folder = from_arrays("dark", images), tmp_path_factory.mktemp("stretch") / "run"
    jaxgan.train(Config.from_dict(SMALL), folder, dataset)
    return folder


def test_samples_files_and_programs_have_the_values_of_the_data(run):
    model = jaxgan.load_trained_model(run)
    made = jaxgan.generate_samples(model, 5, seed=3)
    z = jaxgan.inference.sampling.latents(3, 5, 3)
    seen = model.generator(model.params, model.stats, z, None, train=False)[0]
    np.testing.assert_allclose(made, STRETCHES["sqrt"].back(seen), atol=1e-5)
    exported = program(model).call(np.asarray(z))
    np.testing.assert_allclose(exported, model.scaling.restore(made), atol=2e-3)
    (last,) = (run / "samples").glob("step_*.npy")
    z = jaxgan.inference.sampling.latents(model.config.seed, 4, 3)
    seen = model.generator(model.params, model.stats, z, None, train=False)[0]
    np.testing.assert_allclose(np.load(last), STRETCHES["sqrt"].back(seen), atol=1e-5)


def test_a_critic_is_shown_what_it_was_trained_on(run):
    model = jaxgan.load_trained_model(run)
    images = np.random.default_rng(1).uniform(-1, 1, (5, 8, 8, 1)).astype(np.float32)
    apply, params, stats = model.critic
    (scores, _), _ = apply(params, stats, STRETCHES["sqrt"].forward(images), None, train=False)
    found = jaxgan.inference.trained_model.critic_scores(model, images)
    np.testing.assert_allclose(found, scores, rtol=1e-4, atol=1e-5)
