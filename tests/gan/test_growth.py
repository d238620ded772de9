"""Growing: stage and alpha follow from the step, a fade joins two stages exactly, also when resumed in its middle."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan import parallel
from jaxgan.config import Config
from jaxgan.errors import InputError
from jaxgan.gan.averaging import with_own_statistics
from jaxgan.gan.build import build_gan
from jaxgan.gan.step import train_step
from jaxgan.models import build_critic, build_generator
from jaxgan.models.resample import average_down, nearest_up
from jaxgan.models.spectral import STATS
from jaxgan.training.programs import Programs

KEY = jax.random.key(0)
BATCH = 4


def config(**sections):
    """Sides 4, 8, 16; an iteration shows 4 reals: 3 iterations of the first stage, then fades of 4 and holds of 3."""
    values = {
        "data": {"size": 16, "channels": 1},
        "generator": {"network": "growing", "latent_dim": 5, "widths": [6, 5, 4], "norm": "pixel"},
        "critic": {"network": "growing", "widths": [4, 5, 6]},
        "objective": {"loss": "wgan", "n_critic": 1},
        "growing": {"start_side": 4, "fade_images": 4 * BATCH, "hold_images": 3 * BATCH},
        "optimizer": {"lr": 1e-3, "beta1": 0.0},
        "train": {"batch_size": BATCH},
    }
    return Config.from_dict({name: values.get(name, {}) | sections.get(name, {}) for name in {*values, *sections}})


@pytest.fixture(scope="module")
def game():
    """The game, and its fresh state on the host: programs take what they are given."""
    gan, state = build_gan(config(), 0, 20, parallel.AXIS)
    return gan, jax.tree.map(np.array, state)


def traced(config):
    """The game and the shapes of its state: nothing is computed."""
    found = {}

    def build():
        found["gan"], state = build_gan(config, 0, 20)
        return state

    shapes = jax.eval_shape(build)
    return found["gan"], shapes


def with_alpha(variables, alpha):
    growth = {"growth": {**variables[STATS]["growth"], "alpha": jnp.float32(alpha)}}
    return {**variables, STATS: {**variables[STATS], **growth}}


@pytest.mark.parametrize(("rank", "stage"), [(2, 1), (2, 2), (3, 1)])
def test_alpha_joins_the_stage_before_with_the_plain_stage(rank, stage):
    made = config(data={"spatial_rank": rank}, critic={"norm": "layer"})
    generator, critic = build_generator(made, 0), build_critic(made, 0)
    z = jax.random.normal(KEY, (2, 5))
    x = jax.random.normal(KEY, (2, *(4 << stage,) * rank, 1))
    for module, now, before, merge in (
        (generator, z, z, nearest_up),
        (critic, x, average_down(x), lambda scores: scores[0]),
    ):
        full = z if module is generator else jnp.zeros((1, *made.data.shape))
        variables = jax.jit(partial(module.init, train=True))(KEY, full)
        apply = {k: jax.jit(partial(module.clone(stage=k).apply, train=False)) for k in (stage - 1, stage)}
        of_before = merge(apply[stage - 1](with_alpha(variables, 1.0), before))
        at_zero, at_one, half = (apply[stage](with_alpha(variables, alpha), now) for alpha in (0.0, 1.0, 0.5))
        if module is critic:
            at_zero, at_one, half = at_zero[0], at_one[0], half[0]
        np.testing.assert_allclose(at_zero, of_before, atol=1e-5)
        assert float(jnp.abs(at_one - at_zero).max()) > 1e-3
        if module is generator:  # Linear in alpha; and at 1 nothing is left of the stage before.
            np.testing.assert_allclose(half, (at_zero + at_one) / 2, atol=1e-6)
        old = f"image{stage - 1}"

        def energy(params, module=module, variables=variables, now=now):
            output = module.clone(stage=stage).apply({**with_alpha(variables, 1.0), "params": params}, now, train=False)
            return jnp.sum(jax.tree.leaves(output)[0] ** 2)

        gradient = jax.jit(jax.grad(energy))(variables["params"])
        assert not any(np.any(leaf) for leaf in jax.tree.leaves(gradient[old]))


def test_the_plan_is_a_function_of_the_images_seen(game):
    growth = game[0].growth
    assert [growth.begin(k) for k in range(3)] == [0, 3, 10]
    assert [growth.stage(step) for step in (0, 2, 3, 9, 10, 10**6)] == [0, 0, 1, 1, 2, 2]
    alphas = [float(growth.alpha(jnp.int32(step), growth.stage(step))) for step in range(16)]
    assert alphas == [1, 1, 1, 0, 0.25, 0.5, 0.75, 1, 1, 1, 0, 0.25, 0.5, 0.75, 1, 1]
    first = build_gan(config(growing={"fade_first": True}))[0].growth
    assert [first.begin(k) for k in range(3)] == [0, 7, 14]


def reals(step, count, longest=8):
    """Batches by step, as a source gives them."""
    rng = [np.random.default_rng(i) for i in range(step, step + longest)]
    return (np.stack([r.uniform(-1, 1, (1, BATCH, 16, 16, 1)) for r in rng]).astype(np.float32),)


class LoadBatch:
    """Gives the reals of a batch, and counts how often it is traced."""

    traces = 0

    def __call__(self, data, batch_ref):
        self.traces += 1
        return batch_ref[0], None


def train(game, programs, state, step, stop, cut=8):
    history = []
    while step < stop:
        count = int(min(cut, stop - step, programs.next_change(step) - step))
        batch = parallel.split_batch(reals(step, count))
        state, metrics = programs.at(step)(parallel.replicate(state), (), batch, np.int32(count))
        history += [{name: float(series[i]) for name, series in metrics.items()} for i in range(count)]
        step += count
    return jax.tree.map(np.asarray, state), history


@pytest.fixture(scope="module")
def whole(game):
    gan, state = game
    load_batch = LoadBatch()
    programs = Programs(gan, load_batch)
    history, traces = [], [0]
    for step in range(15):
        state, lines = train(game, programs, state, step, step + 1)
        history += lines
        traces.append(load_batch.traces)
    return programs, state, history, np.diff(traces) > 0


def test_one_program_a_stage_for_every_alpha(whole):
    _, _, history, traced = whole
    assert list(np.flatnonzero(traced)) == [0, 3, 10]
    assert [line["stage"] for line in history] == [0] * 3 + [1] * 7 + [2] * 5
    assert [line["alpha"] for line in history] == [1, 1, 1, 0, 0.25, 0.5, 0.75, 1, 1, 1, 0, 0.25, 0.5, 0.75, 1]
    assert all(np.isfinite(value) for line in history for value in line.values())


def test_a_run_that_goes_on_in_the_middle_of_a_fade_is_the_same_bit_for_bit(game, whole):
    programs, final, _, _ = whole
    half, _ = train(game, programs, game[1], 0, 12, cut=1)
    assert half.critic.stats["growth"]["alpha"] == 0.25  # Of the last iteration done: the next one has 0.5.
    got, _ = train(game, programs, half, 12, 15, cut=2)
    jax.tree.map(np.testing.assert_array_equal, got, final)


def test_layers_of_coming_stages_exist_and_wait(game, whole):
    (_, before), (programs, *_) = game, whole
    after, _ = train(game, programs, before, 0, 2)
    for net, waiting in (("generator", ("image1", "image2", "block2", "block3")), ("critic", ("block0", "image1"))):
        old, new = getattr(before, net).params, getattr(after, net).params
        for name in waiting:
            jax.tree.map(np.testing.assert_array_equal, old[name], new[name])
    assert np.any(before.generator.params["image0"]["kernel"] != after.generator.params["image0"]["kernel"])


@pytest.mark.parametrize("reset", [True, False])
def test_optimizers_start_anew_at_both_ends_of_a_fade_where_asked(reset):
    gan, shapes = traced(config(growing={"reset_optimizer": reset}, optimizer={"lr": 1e-3, "schedule": "linear"}))
    state = jax.tree.map(lambda leaf: np.full(leaf.shape, 3, leaf.dtype), shapes)
    stage = gan.at(3)
    enter = partial(
        stage.stage.enter, generator_optimizer=gan.generator_optimizer, critic_optimizer=gan.critic_optimizer
    )
    for step, due in ((3, True), (4, False), (7, True), (8, False)):
        entered = enter(state._replace(step=jnp.int32(step)))
        for net in (entered.generator, entered.critic):
            kept = 0 if due and reset else 3
            moments = [leaf for leaf in jax.tree.leaves(net.opt_state) if leaf.ndim]
            assert moments and all(np.all(leaf == kept) for leaf in moments), step
            # Adam's own count starts anew with its moments; that of the schedule is the run's.
            assert [int(leaf) for leaf in jax.tree.leaves(net.opt_state) if not leaf.ndim] == [kept, 3], step


def test_rates_of_a_stage_scale_the_updates_of_both_networks():
    gan, _ = traced(
        config(
            optimizer={"name": "sgd", "lr": 0.01, "critic_lr": 0.04, "beta1": 0.0},
            growing={"rate_factors": [0.5, 1.0, 2.0]},
        )
    )
    for step, factor in ((0, 0.5), (2, 0.5), (3, 1.0), (9, 1.0), (10, 2.0)):
        stage, ones = gan.at(step), jnp.ones(1)
        for optimizer, rate in ((stage.generator_optimizer, 0.01), (stage.critic_optimizer, 0.04)):
            update, _ = optimizer.update(ones, optimizer.init(ones), ones)
            np.testing.assert_allclose(update, [-rate * factor], rtol=1e-6)


def test_the_average_counts_images_whatever_the_batches_of_the_stages():
    """2 iterations of 8, then 7 of 4 (4 of them a fade), then of 2; an iteration's own images count."""
    plan = {"batch_sizes": [8, 4, 2], "n_critics": [1, 1, 1]}
    gan, _ = traced(config(growing=plan, train={"ema_halflife_images": 22.0, "ema_rampup": 0.5}))
    for step, batch, halflife in ((0, 8, 4.0), (1, 8, 8.0), (2, 4, 10.0), (6, 4, 18.0), (9, 2, 22.0)):
        np.testing.assert_allclose(gan.at(step).ema_decay(jnp.int32(step)), 0.5 ** (batch / halflife), rtol=1e-5)


def test_volumes_of_64_are_traced_in_the_last_stage():
    gan, state = traced(
        config(
            data={"size": 64, "spatial_rank": 3},
            generator={"widths": [6, 5, 4, 4, 4]},
            critic={"widths": [4, 4, 4, 5, 6]},
        )
    )
    last = gan.at(10**6)
    assert last.stage.stage == 4
    images = jax.ShapeDtypeStruct((1, BATCH, 64, 64, 64, 1), jnp.float32)
    after, _ = jax.eval_shape(partial(train_step, last, LoadBatch()), state, (), (images,))
    assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), after) == jax.tree.map(
        lambda leaf: (leaf.shape, leaf.dtype), state
    )
    z = jax.ShapeDtypeStruct((2, 5), jnp.float32)
    sample = partial(gan.generator, train=False)
    assert jax.eval_shape(sample, state.ema_params, state.ema_stats, z, None)[0].shape == (2, 64, 64, 64, 1)


def test_reals_fade_as_the_generator_does(game):
    gan, _ = game
    images = jax.random.normal(KEY, (2, 16, 16, 1))
    small = average_down(images)
    np.testing.assert_allclose(gan.at(3).stage.shown(jnp.int32(9), images), small, atol=1e-6)
    smallest = nearest_up(average_down(small))
    np.testing.assert_allclose(gan.at(3).stage.shown(jnp.int32(3), images), smallest, atol=1e-6)
    np.testing.assert_allclose(gan.at(3).stage.shown(jnp.int32(5), images), (small + smallest) / 2, atol=1e-6)
    np.testing.assert_array_equal(gan.at(15).stage.shown(jnp.int32(15), images), images)


def test_samples_have_the_full_side_and_the_alpha_of_their_state(game):
    gan, state = game
    z = jax.random.normal(KEY, (2, 5))
    module = build_generator(config(), 0)
    for stage, alpha in ((0, 1.0), (2, 0.25)):
        stats = {**state.generator.stats, "growth": {"stage": np.float32(stage), "alpha": np.float32(alpha)}}
        grown = with_own_statistics(
            gan.generator, state._replace(generator=state.generator._replace(stats=stats)), 5, None, parallel.AXIS
        )
        samples, _ = gan.generator(grown.ema_params, grown.ema_stats, z, None, train=False)
        variables = {"params": state.ema_params, STATS: stats}
        expected = module.clone(stage=stage).apply(variables, z, train=False)
        for _ in range(2 - stage):
            expected = nearest_up(expected)
        assert samples.shape == (2, 16, 16, 1)
        np.testing.assert_allclose(samples, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"critic": {"network": "resnet"}}, "generator.network.*alike"),
        ({"growing": {"start_side": 6}}, "growing.start_side=6.*16"),
        ({"growing": {"start_side": 1}}, "growing.start_side=1.*4 widths"),
        ({"growing": {"rate_factors": [1.0]}}, "growing.rate_factors.*3 stages"),
        ({"growing": {"batch_sizes": [8, 4]}}, "growing.batch_sizes.*3 stages"),
        ({"growing": {"n_critics": [1, 0, 1]}}, "growing.n_critics.*above 0"),
        (
            {"growing": {"batch_sizes": [8, 4, 3]}, "train": {"accumulate": 2}},
            "train.accumulate=2.*growing.batch_sizes=8,4,3",
        ),
    ],
)
def test_plans_that_do_not_fit_are_refused_by_name(sections, message):
    with pytest.raises(InputError, match=message):
        config(**sections)
