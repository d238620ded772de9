"""Networks: shapes for every kind of sample, no coupling of samples, conditioning that is not ignored."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.gan.state import make_apply
from jaxgan.models.dcgan import Critic, Generator
from jaxgan.models.layers import Conv, ConvTranspose, Dense
from jaxgan.models.norms import NORMS, Norm
from jaxgan.models.spectral import spectral_normalise

KEY = jax.random.key(0)


@pytest.mark.parametrize(
    ("shape", "widths"),
    [
        ((28, 28, 1), (8, 4)),
        ((64, 64, 3), (8, 8, 4, 4)),
        ((256, 256, 1), (8, 8, 4, 4, 2, 2)),
        ((64, 64, 64, 1), (8, 4, 2)),
    ],
)
def test_any_square_or_cube_whose_side_is_base_times_a_power_of_two(shape, widths):
    z = jnp.zeros((2, 10))
    generator, critic = Generator(shape=shape, widths=widths), Critic(widths[::-1], norm="layer")

    def run():
        sample = generator.apply(generator.init(KEY, z, train=True), z, train=False)
        scores, logits = critic.apply(critic.init(KEY, sample, train=True), sample)
        return sample, scores, logits

    sample, scores, logits = jax.eval_shape(run)
    assert (sample.shape, sample.dtype) == ((2, *shape), jnp.float32)
    assert (scores.shape, scores.dtype, logits) == ((2,), jnp.float32, None)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("norm", NORMS)
def test_every_norm_and_precision_has_float32_parameters_and_outputs(norm, dtype):
    x = jnp.zeros((2, 8, 8, 1))
    generator = Generator(shape=(8, 8, 1), widths=(8, 4), norm=norm, activation_dtype=dtype)
    critic = Critic((4, 8), norm=norm, activation_dtype=dtype)
    for module, inputs in ((generator, jnp.zeros((2, 5))), (critic, x)):
        variables = jax.eval_shape(lambda m=module, i=inputs: m.init(KEY, i, train=True))
        assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype(jnp.float32)}
        output = jax.eval_shape(lambda v, m=module, i=inputs: m.apply(v, i, train=False), variables)
        assert jax.tree.leaves(output)[0].dtype == jnp.float32


def random_reals(count, seed=0):
    return jnp.asarray(np.random.default_rng(seed).uniform(-1, 1, (count, 8, 8, 1)), jnp.float32)


@pytest.mark.parametrize("norm", NORMS)
def test_batch_norm_alone_couples_samples(norm):
    assert couples(norm) == (norm == "batch")


def couples(norm):
    critic = Critic((4, 8), norm=norm)
    x = random_reals(4)
    variables = critic.init(KEY, x, train=True)
    score = jax.jit(lambda x: critic.apply(variables, x, train=True, mutable=["batch_stats"])[0][0])
    changed = x.at[1:].multiply(0.3)
    return abs(float(score(x)[0] - score(changed)[0])) > 1e-5


def test_spectral_norm_finds_the_largest_singular_value():
    conv = Conv(6, kernel=3, stride=1, spectral=True)
    x = random_reals(1)
    variables = conv.init(KEY, x, True)
    for _ in range(60):
        _, changed = conv.apply(variables, x, True, mutable=["batch_stats"])
        variables = {**variables, **changed}
    kernel = variables["params"]["kernel"]

    class Alone(nn.Module):
        @nn.compact
        def __call__(self, kernel):
            return spectral_normalise(self, kernel, False)

    normalised = Alone().apply({"batch_stats": variables["batch_stats"]}, kernel)
    top = np.linalg.svd(np.asarray(normalised).reshape(-1, 6), compute_uv=False)[0]
    np.testing.assert_allclose(top, 1.0, rtol=1e-3)


def test_statistics_do_not_move_outside_training():
    critic = Critic((4, 8), spectral=True)
    x = random_reals(2)
    variables = critic.init(KEY, x, train=True)
    apply = make_apply(critic)
    _, same = apply(variables["params"], variables["batch_stats"], x, None, train=False)
    _, moved = apply(variables["params"], variables["batch_stats"], x, None, train=True)
    jax.tree.map(np.testing.assert_array_equal, same, variables["batch_stats"])
    assert any(np.any(a != b) for a, b in zip(jax.tree.leaves(moved), jax.tree.leaves(same), strict=True))


def test_layer_norm_is_over_space_and_channels_of_each_sample():
    x = jax.random.normal(KEY, (3, 4, 4, 5)) * 7 + 2
    y = np.asarray(Norm("layer").init_with_output(KEY, x, True)[0])
    np.testing.assert_allclose(y.mean(axis=(1, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(y.std(axis=(1, 2, 3)), 1, atol=1e-4)
    assert np.abs(y.mean(axis=(1, 2))).max() > 0.05  # Not each channel by itself: that is instance norm.


def test_instance_norm_keeps_a_batch_of_one_stable_in_three_dimensions():
    x = jax.random.normal(KEY, (1, 4, 4, 4, 2)) * 7 + 2
    y = np.asarray(Norm("instance").init_with_output(KEY, x, True)[0])
    np.testing.assert_allclose(y.mean(axis=(1, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(y.std(axis=(1, 2, 3)), 1, atol=1e-3)


def test_pixel_norm_gives_every_pixel_a_root_mean_square_of_one():
    x = jax.random.normal(KEY, (2, 4, 4, 4, 6)) * 7 + 2
    y = np.asarray(Norm("pixel").init_with_output(KEY, x, True)[0])
    np.testing.assert_allclose((y**2).mean(axis=-1), 1, atol=1e-5)
    np.testing.assert_allclose(
        y / np.sqrt((y**2).sum(-1, keepdims=True)), x / np.linalg.norm(x, axis=-1)[..., None], atol=1e-5
    )


def test_a_norm_and_spectral_normalisation_go_together():
    generator = Generator(shape=(8, 8, 1), widths=(8, 4), norm="batch", spectral=True)
    variables = generator.init(KEY, jnp.zeros((2, 5)), train=True)
    assert set(variables["batch_stats"]["up1"]) == {"singular_vector"}
    assert set(variables["batch_stats"]["norm1"]["norm"]) == {"mean", "var"}


@pytest.mark.parametrize("layer", [Conv, ConvTranspose, Dense])
def test_equalized_weights_have_variance_one_and_the_same_outputs_spread(layer):
    x = jax.random.normal(KEY, (8, 8, 8, 16))
    plain, equal = layer(32), layer(32, equalized=True)
    stored = np.asarray(equal.init(KEY, x, True)["params"]["kernel"])
    np.testing.assert_allclose(stored.std(), 1, atol=0.1)
    outputs = [np.asarray(module.init_with_output(KEY, x, True)[0]) for module in (plain, equal)]
    np.testing.assert_allclose(*outputs, rtol=1e-4, atol=1e-5)


def test_a_start_of_zero_is_a_layer_that_begins_as_nothing():
    y, variables = Conv(4, start=0.0).init_with_output(KEY, random_reals(2), True)
    assert not np.any(y) and set(variables["params"]) == {"kernel", "bias"}


@pytest.mark.parametrize("conditioning", ["projection", "auxiliary"])
def test_labels_change_scores_or_logits_and_samples(conditioning):
    x, z = random_reals(2), jax.random.normal(KEY, (2, 5))
    labels = [jnp.int32([0, 1]), jnp.int32([2, 1])]
    critic = Critic((4, 8), num_classes=3, conditioning=conditioning)
    variables = critic.init(KEY, x, labels[0], train=True)
    scores, logits = zip(*(critic.apply(variables, x, label) for label in labels), strict=True)
    if conditioning == "projection":
        assert scores[0][0] != scores[1][0] and scores[0][1] == scores[1][1]
    else:
        assert logits[0].shape == (2, 3)
        np.testing.assert_array_equal(scores[0], scores[1])
    generator = Generator(shape=(8, 8, 1), widths=(8, 4), norm="batch", num_classes=3)
    variables = generator.init(KEY, z, labels[0], train=True)
    samples = [np.asarray(generator.apply(variables, z, label)) for label in labels]
    assert np.abs(samples[0][0] - samples[1][0]).max() > 1e-4
    np.testing.assert_array_equal(samples[0][1], samples[1][1])


def test_outputs_start_at_the_scale_of_their_inputs():
    """With He's gain the signal neither dies nor explodes on its way through six levels without norms."""
    critic = Critic((32,) * 6, norm="none")
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 64, 64, 1)), jnp.float32)
    features = jax.jit(partial(capture, critic))(x)
    spread = [float(jnp.std(feature)) for feature in features]
    assert max(spread) / min(spread) < 4 and 0.3 < spread[-1] < 3


def capture(critic, x):
    variables = critic.init(KEY, x, train=True)
    _, seen = critic.apply(variables, x, capture_intermediates=True, mutable=["intermediates"])
    return [seen["intermediates"][f"down{i}"]["__call__"][0] for i in range(6)]
