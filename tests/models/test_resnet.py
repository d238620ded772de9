"""Residual networks: resampling joined with convolutions is exact, and every choice does what its name says."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxgan.config import Config
from jaxgan.errors import InputError
from jaxgan.gan.build import build_gan
from jaxgan.gan.state import layer_table
from jaxgan.models import resnet
from jaxgan.models.resample import DownConv, UpConv, average_down, bilinear_up, nearest_up
from jaxgan.models.resnet import minibatch_deviation

KEY = jax.random.key(0)


def images(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def plain_convolution(x, kernel):
    letters = "DHW"[3 - (x.ndim - 2) :]
    layout = (f"N{letters}C", f"{letters}IO", f"N{letters}C")
    return lax.conv_general_dilated(x, kernel, (1,) * len(letters), "SAME", dimension_numbers=layout)


@pytest.mark.parametrize("shape", [(2, 5, 4, 3), (2, 3, 2, 4, 3)])
def test_repeated_pixels_and_convolution_are_one_transposed_convolution(shape):
    x, layer = images(*shape), UpConv(6, use_bias=False)
    y, variables = layer.init_with_output(KEY, x, True)
    expected = plain_convolution(nearest_up(x), variables["params"]["kernel"])
    np.testing.assert_allclose(y, expected, atol=1e-5)


@pytest.mark.parametrize("shape", [(2, 6, 4, 3), (2, 4, 2, 6, 3)])
def test_convolution_and_mean_of_blocks_are_one_strided_convolution(shape):
    x, layer = images(*shape), DownConv(6, use_bias=False)
    y, variables = layer.init_with_output(KEY, x, True)
    np.testing.assert_allclose(y, average_down(plain_convolution(x, variables["params"]["kernel"])), atol=1e-5)


def test_bilinear_up_is_what_image_libraries_do():
    x = images(2, 5, 3, 2)
    np.testing.assert_allclose(bilinear_up(x), jax.image.resize(x, (2, 10, 6, 2), "bilinear"), atol=1e-6)
    volume = images(1, 3, 2, 4, 2)
    np.testing.assert_allclose(bilinear_up(volume), jax.image.resize(volume, (1, 6, 4, 8, 2), "bilinear"), atol=1e-6)


def test_means_undo_repetition():
    x = images(2, 3, 4, 5, 2)
    np.testing.assert_allclose(average_down(nearest_up(x)), x, atol=1e-6)


@pytest.mark.parametrize(
    ("shape", "steps"), [((28, 28, 1), 2), ((64, 64, 3), 4), ((256, 256, 1), 6), ((48, 48, 48, 1), 4)]
)
def test_any_square_or_cube_whose_side_is_a_start_times_a_power_of_two(shape, steps):
    widths, side = (4,) * steps, shape[0] >> steps
    generator = resnet.Generator(shape=shape, widths=widths, attention=(side,))
    critic = resnet.Critic(widths=widths, attention=(side,), minibatch_std=2)

    def run():
        z = jnp.zeros((2, 10))
        sample = generator.apply(generator.init(KEY, z, train=True), z, train=False)
        return sample, critic.apply(critic.init(KEY, sample, train=True), sample, train=False)

    sample, (scores, logits) = jax.eval_shape(run)
    assert (sample.shape, sample.dtype) == ((2, *shape), jnp.float32)
    assert (scores.shape, scores.dtype, logits) == ((2,), jnp.float32, None)


@pytest.mark.parametrize("start", [1.0, 0.0])
def test_the_signal_keeps_its_scale_through_many_blocks_without_norms(start):
    critic = resnet.Critic(widths=(16,) * 5, branch_start=start)
    rough = jax.image.resize(images(2, 2, 2, 3), (2, 64, 64, 3), "cubic") * 2
    _, seen = critic.apply(
        critic.init(KEY, rough, train=True), rough, capture_intermediates=True, mutable=["intermediates"]
    )
    spread = [float(jnp.std(seen["intermediates"][f"block{i}"]["__call__"][0])) for i in range(5)]
    assert max(spread) / min(spread) < 4 and 0.2 < spread[-1] < 5


def test_branches_that_start_at_nothing_leave_the_shortcut_alone():
    block = resnet.UpBlock(4, resnet.Generator(shape=(8, 8, 1), widths=(4,), branch_start=0.0).style(0))
    x = images(2, 3, 3, 4)
    y, _ = block.init_with_output(KEY, x, True)
    np.testing.assert_allclose(y, nearest_up(x), atol=1e-6)


def test_minibatch_deviation_is_of_neighbours_by_place():
    x = images(8, 3, 3, 5)
    y = np.asarray(minibatch_deviation(x, 4))
    assert y.shape == (8, 3, 3, 6)
    for group in (slice(0, 4), slice(4, 8)):
        expected = np.asarray(x[group]).std(axis=0).mean()
        np.testing.assert_allclose(y[group, ..., -1], expected, rtol=1e-4)
    # A part of the batch that holds whole groups gives what the whole batch gives.
    np.testing.assert_array_equal(minibatch_deviation(x[4:], 4), y[4:])


def test_a_batch_that_groups_do_not_divide_is_refused():
    critic = resnet.Critic(widths=(4,), minibatch_std=4)
    x = images(6, 4, 4, 1)
    variables = critic.init(KEY, x, train=True)
    with pytest.raises(InputError, match=r"critic\.minibatch_std=4 .*6 samples"):
        critic.apply(variables, x, train=True)


def config(**sections):
    values = {
        "data": {"size": 16},
        "generator": {"network": "resnet", "widths": [8, 4]},
        "critic": {"network": "resnet", "widths": [4, 8]},
    }
    return Config.from_dict({name: values.get(name, {}) | sections.get(name, {}) for name in {*values, *sections}})


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"generator": {"network": "lean", "attention": [16]}}, "generator.attention.*below 16"),
        ({"generator": {"network": "dcgan", "attention": [8]}}, "generator.attention.*dcgan.*resnet"),
        ({"critic": {"attention": [16]}}, r"critic.attention.*\[8, 4\]"),
        ({"critic": {"resample": "nearest"}}, "critic.resample.*average, strided"),
        ({"critic": {"minibatch_std": 1}}, "critic.minibatch_std=1"),
        ({"generator": {"spectral": True, "branch_start": 0.0}}, "generator.branch_start"),
        ({"generator": {"widths": [4] * 5}}, "generator.widths.*give at most 4"),
    ],
)
def test_settings_that_do_not_fit_are_refused_by_name(sections, message):
    with pytest.raises(InputError, match=message):
        config(**sections)


def test_the_config_reaches_the_networks():
    options = {"equalized": True, "branch_start": 0.5, "attention": [4]}
    made = config(
        generator=options | {"resample": "bilinear", "norm": "pixel"},
        critic=options | {"resample": "strided", "minibatch_std": 2, "norm": "layer"},
    )
    gan, state = build_gan(made)
    assert gan.couples_samples
    for net in (state.generator.params, state.critic.params):
        assert "attention4" in net
        first = net["block1"]["conv1"]["kernel"]
        assert 0.8 < float(jnp.std(first)) < 1.2
        assert 0.4 < float(jnp.std(net["block1"]["conv2"]["kernel"])) < 0.6
    assert state.critic.params["block0"]["conv2"]["kernel"].shape[:2] == (4, 4)
    assert not build_gan(config())[0].couples_samples


def test_the_layer_table_names_layers_inside_blocks_and_counts_all_parameters():
    module = resnet.Generator(shape=(8, 8, 1), widths=(8, 4), attention=(4,))
    rows, total = layer_table(module, jnp.zeros((1, 5)), jnp.zeros((1,), jnp.int32))
    names = [name for name, _, _ in rows]
    assert names.index("block1/conv1") < names.index("attention4/query") < names.index("block2/conv1")
    assert {name: shape for name, shape, _ in rows}["block2/conv2"] == "[N, 8, 8, 4]"
    assert sum(count for _, _, count in rows) == total
