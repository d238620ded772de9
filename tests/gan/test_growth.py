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
from jaxgan.gan.step import train_many
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
    return build_gan(config(), 0, 20, parallel.AXIS)


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
    state, history, traces = jax.tree.map(np.asarray, state), [], [0]
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
    half, _ = train(
        game, programs, jax.tree.map(np.asarray, build_gan(config(), 0, 20, parallel.AXIS)[1]), 0, 12, cut=1
    )
    assert half.critic.stats["growth"]["alpha"] == 0.25  # Of the last iteration done: the next one has 0.5.
    got, _ = train(game, programs, half, 12, 15, cut=2)
    jax.tree.map(np.testing.assert_array_equal, got, final)


def test_layers_of_coming_stages_exist_and_wait(game):
    gan, state = game
    programs = Programs(gan, LoadBatch())
    before = jax.tree.map(np.asarray, state)
    after, _ = train(game, programs, before, 0, 2)
    for net, waiting in (("generator", ("image1", "image2", "block2", "block3")), ("critic", ("block0", "image1"))):
        old, new = getattr(before, net).params, getattr(after, net).params
        for name in waiting:
            jax.tree.map(np.testing.assert_array_equal, old[name], new[name])
    assert np.any(before.generator.params["image0"]["kernel"] != after.generator.params["image0"]["kernel"])


@pytest.mark.parametrize("reset", [True, False])
def test_optimizers_start_anew_at_both_ends_of_a_fade_where_asked(reset):
    gan, state = build_gan(config(growing={"reset_optimizer": reset}), 0, 20)
    state = jax.tree.map(np.asarray, state)
    used = jax.tree.map(lambda leaf: np.full_like(leaf, 3), state.critic.opt_state)
    state = state._replace(critic=state.critic._replace(opt_state=used))
    stage = gan.at(3)
    enter = partial(
        stage.stage.enter, generator_optimizer=gan.generator_optimizer, critic_optimizer=gan.critic_optimizer
    )
    for step, due in ((3, True), (4, False), (7, True), (8, False)):
        entered = enter(state._replace(step=jnp.int32(step)))
        moments = [leaf for leaf in jax.tree.leaves(entered.critic.opt_state) if leaf.ndim]
        assert all(np.all(leaf == (0 if due and reset else 3)) for leaf in moments), step


def test_rates_of_a_stage_scale_its_updates():
    sections = {"optimizer": {"name": "sgd", "lr": 0.01, "beta1": 0.0}}
    plain, state = build_gan(config(**sections), 0, 20)
    scaled, _ = build_gan(config(**sections, growing={"rate_factors": [0.5, 1.0, 2.0]}), 0, 20)
    batch = jax.tree.map(lambda leaf: leaf[:1], reals(0, 1))
    changes = []
    for gan in (plain, scaled):
        after, _ = jax.jit(partial(train_many, gan.at(0), LoadBatch()))(state, (), batch, 1)
        changes.append(
            np.asarray(after.critic.params["score"]["kernel"]) - np.asarray(state.critic.params["score"]["kernel"])
        )
    np.testing.assert_allclose(changes[1], 0.5 * changes[0], rtol=1e-3, atol=1e-7)


def test_reals_fade_as_the_generator_does(game):
    gan, _ = game
    images = jax.random.normal(KEY, (2, 16, 16, 1))
    small = average_down(images)
    np.testing.assert_allclose(gan.at(3).stage.shown(jnp.int32(9), images), small, atol=1e-6)
    smallest = nearest_up(average_down(small))
    np.testing.assert_allclose(gan.at(3).stage.shown(jnp.int32(3), images), smallest, atol=1e-6)
    np.testing.assert_allclose(gan.at(3).stage.shown(jnp.int32(5), images), (small + smallest) / 2, atol=1e-6)
    np.testing.assert_array_equal(gan.at(15).stage.shown(jnp.int32(15), images), images)


def test_samples_have_the_full_side_and_the_alpha_of_their_state(game, whole):
    gan, _ = game
    z = jax.random.normal(KEY, (2, 5))
    state = jax.tree.map(np.asarray, build_gan(config(), 0, 20, parallel.AXIS)[1])
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
