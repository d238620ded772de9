"""The iteration: devices do not matter, K iterations a call do not matter, and each network leaves the other alone."""

import dataclasses
import re
from functools import partial
from math import prod

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan import parallel
from jaxgan.config import Config
from jaxgan.errors import InputError
from jaxgan.gan.averaging import ema_decay
from jaxgan.gan.build import build_gan
from jaxgan.gan.game import GAN, Augment
from jaxgan.gan.step import critic_update, generator_update, train_many, train_step
from jaxgan.objectives.losses import LOSSES
from jaxgan.objectives.penalties import BEFORE_AUGMENTATION, PENALTIES

BATCH, CLASSES = 8, 3


def make(axis_name=None, **sections):
    """A small game with SGD, whose parameter changes are the gradients: Adam would hide a wrong scale."""
    values = {
        "data": {"size": 8, "channels": 1},
        "generator": {"latent_dim": 5, "widths": [6, 4], "norm": "batch"},
        "critic": {"widths": [4, 6], "norm": "layer"},
        "objective": {"loss": "wgan", "n_critic": 2},
        "optimizer": {"name": "sgd", "lr": 0.01, "beta1": 0.0},
        "train": {"batch_size": BATCH, "ema_halflife_images": 16.0},
    }
    for name, fields in sections.items():
        values[name] = {**values.get(name, {}), **fields}
    config = Config.from_dict(values)
    return build_gan(config, CLASSES if config.data.labelled else 0, 10, axis_name)


def game_of(**sections):
    """The game alone: no state is computed."""
    found = []
    jax.eval_shape(lambda: found.append(make(**sections)[0]))
    return found[0]


def reals(k, n_critic=2, seed=0):
    rng = np.random.default_rng(seed)
    images = rng.uniform(-1, 1, (k, n_critic, BATCH, 8, 8, 1)).astype(np.float32)
    return images, rng.integers(0, CLASSES, (k, n_critic, BATCH)).astype(np.int32)


def load_batch(data, batch_ref):
    return batch_ref


def load_unlabelled(data, batch_ref):
    return batch_ref[0], None


GAMES = {
    "synchronised batch norm": {},
    "conditional, augmented": {
        "data": {"labelled": True},
        "critic": {"conditioning": "projection"},
        "augment": {"flip": 0.5, "noise": 0.5},
        "diffaugment": {"policy": ["color", "translation", "cutout"]},
    },
    "adaptively augmented, R1 before it": {
        "objective": {"loss": "hinge", "penalty": "r1"},
        # The probability is 1/2 after two iterations.
        "diffaugment": {"policy": ["turn", "scale", "contrast"], "adaptive": True, "ramp_images": 64, "target": -1.0},
    },
    "batch norm in a relativistic critic": {
        "critic": {"norm": "batch"},
        "objective": {"loss": "relativistic", "penalty": "r1+r2", "penalty_weight": 1.0},
    },
    # One device takes the batch whole.
    "in parts, with a lazy R1": {
        "generator": {"norm": "instance"},
        "objective": {"loss": "hinge", "penalty": "none", "r1_weight": 0.5, "penalty_interval": 3},
        "train": {"accumulate": 2},
    },
}


@pytest.mark.parametrize("name", GAMES)
def test_four_devices_give_the_gradients_and_parameters_of_one(name):
    game = GAMES[name]
    source = load_batch if "data" in game else load_unlabelled
    gan, state = make(parallel.AXIS, **game)
    alone, state_alone = make(None, **{**game, "train": {}})
    batch_refs = reals(3)
    many = parallel.map_train(partial(train_many, gan, source))
    one = jax.jit(partial(train_many, alone, source))
    assert jax.local_device_count() == 4

    # The change of one SGD iteration is the gradient times the rate.
    first = np.int32(1)
    given = parallel.replicate(jax.tree.map(jnp.copy, state))  # A copy: the program takes what it is given.
    after, metrics = many(given, (), parallel.split_batch(batch_refs), first)
    expected, expected_metrics = one(state_alone, (), batch_refs, first)
    change = jax.tree.map(lambda new, old: np.asarray(new) - np.asarray(old), after, state)
    expected_change = jax.tree.map(lambda new, old: np.asarray(new) - np.asarray(old), expected, state_alone)
    for network in ("critic", "generator"):
        got, want = getattr(change, network).params, getattr(expected_change, network).params
        largest = max(np.abs(leaf).max() for leaf in jax.tree.leaves(want))
        # A change is the difference of two rounded parameters: it is known to the spacing of floats there.
        spacing = max(np.spacing(np.abs(leaf).max()) for leaf in jax.tree.leaves(getattr(state_alone, network).params))
        jax.tree.map(partial(np.testing.assert_allclose, rtol=0, atol=1e-5 * largest + 2 * spacing), got, want)
    assert metrics.keys() == expected_metrics.keys()
    for key in metrics:
        np.testing.assert_allclose(metrics[key][0], expected_metrics[key][0], rtol=1e-4, atol=1e-5, err_msg=key)

    after, _ = many(parallel.replicate(state), (), parallel.split_batch(batch_refs), np.int32(3))
    expected, _ = one(state_alone, (), batch_refs, np.int32(3))
    jax.tree.map(lambda g, w: np.testing.assert_allclose(g, w, rtol=1e-4, atol=1e-5), after, expected)
    if game.get("diffaugment", {}).get("adaptive"):
        assert float(after.augment.probability) == 0.5


def test_train_many_equals_calls_of_train_step():
    gan, state = make(data={"labelled": True}, critic={"conditioning": "projection"}, optimizer={"name": "adam"})
    batch_refs = reals(4)
    step = jax.jit(partial(train_step, gan, load_batch))
    many = jax.jit(partial(train_many, gan, load_batch))
    expected, logged = state, []
    for i in range(3):
        expected, metrics = step(expected, (), jax.tree.map(lambda leaf, i=i: leaf[i], batch_refs))
        logged.append(metrics)
    got, metrics = many(state, (), batch_refs, 3)
    assert int(got.step) == 3
    np.testing.assert_array_equal(got.key, expected.key)

    def same(g, w):
        np.testing.assert_allclose(g, w, rtol=1e-6, atol=1e-6 * np.abs(w).max())

    jax.tree.map(same, got, expected)
    for name, series in metrics.items():
        np.testing.assert_allclose(series[:3], [m[name] for m in logged], rtol=1e-5, atol=1e-6, err_msg=name)
        assert series[3] == 0.0


def test_calls_cut_anywhere_give_the_same_bits():
    gan, state = make()
    many = jax.jit(partial(train_many, gan, load_unlabelled))
    batch_refs = reals(4)
    whole, _ = many(state, (), batch_refs, 4)
    first, _ = many(state, (), batch_refs, 1)
    shifted = jax.tree.map(lambda leaf: np.roll(leaf, -1, axis=0), batch_refs)
    parts, _ = many(first, (), shifted, 3)
    jax.tree.map(np.testing.assert_array_equal, whole, parts)


def test_each_update_leaves_the_other_network_alone():
    gan, state = make(critic={"spectral": True})
    images = reals(1)[0][0, 0]
    after, _ = jax.jit(partial(critic_update, gan))(state, images, None)
    same = partial(jax.tree.map, np.testing.assert_array_equal)
    same(after.generator, state.generator)
    same((after.ema_params, after.ema_stats), (state.ema_params, state.ema_stats))
    assert differs(after.critic.params, state.critic.params) and differs(after.critic.stats, state.critic.stats)
    after, _ = jax.jit(partial(generator_update, gan))(state, images, None)
    same(after.critic, state.critic)
    assert differs(after.generator.params, state.generator.params)
    assert differs(after.generator.stats, state.generator.stats)
    assert differs(after.ema_params, state.ema_params)


def differs(a, b):
    return any(np.any(x != y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


@pytest.mark.parametrize("norm", ["batch", "spectral", "group"])
def test_structure_shapes_and_dtypes_survive_a_step(norm):
    gan, state = make(critic={"norm": norm}, generator={"norm": norm}, optimizer={"name": "adam"})
    images = jax.ShapeDtypeStruct((2, BATCH, 8, 8, 1), jnp.float32)
    after, metrics = jax.eval_shape(partial(train_step, gan, load_unlabelled), state, (), (images, None))
    assert jax.tree.structure(after) == jax.tree.structure(state)
    assert [(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(after)] == [
        (leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(state)
    ]
    assert {(m.shape, m.dtype) for m in metrics.values()} == {((), jnp.dtype(jnp.float32))}


def linear_game(**fields):
    """A game whose critic is the mean of its input times one weight, and whose generator shows its latents."""
    import optax

    from jaxgan.gan.state import GANState, NetState

    sgd = optax.sgd(1.0)
    gan = GAN(
        generator=lambda params, stats, z, labels, train: (z * params["g"], stats),
        critic=lambda params, stats, x, labels, train: ((params["c"] * x.mean(axis=1), None), stats),
        generator_optimizer=sgd,
        critic_optimizer=sgd,
        loss=LOSSES["wgan"],
        latent_dim=4,
        n_critic=2,
        ema_decay=lambda step: 0.9,
        **fields,
    )
    g, c = {"g": jnp.ones(())}, {"c": jnp.ones(())}
    key = jax.random.key_data(jax.random.key(3))
    state = GANState(jnp.zeros((), jnp.int32), key, NetState(g, {}, sgd.init(g)), NetState(c, {}, sgd.init(c)), g, {})
    return gan, state


def test_latents_are_fresh_for_every_update_and_iteration():
    gan, state = linear_game()
    zeros = jnp.zeros((6, 4))
    seen = [float(critic_update(gan, state, zeros, None, update)[1]["wasserstein"]) for update in (0, 1, 0)]
    later = critic_update(gan, state._replace(step=jnp.int32(1)), zeros, None, 0)[1]["wasserstein"]
    assert seen[0] == seen[2]
    assert len({seen[0], seen[1], float(later)}) == 3


def test_the_critic_rises_on_reals_and_the_generator_follows_it():
    gan, state = linear_game()
    real = jnp.full((6, 4), 3.0)
    after, metrics = critic_update(gan, state, real, None)
    # loss = c * (mean fake - mean real), so the gradient of c is -wasserstein at c = 1, and the rate is 1.
    np.testing.assert_allclose(after.critic.params["c"], 1.0 + metrics["wasserstein"], rtol=1e-6)
    np.testing.assert_allclose(metrics["critic_loss"], -metrics["wasserstein"], rtol=1e-6)
    after, metrics = generator_update(gan, state, real, None)
    np.testing.assert_allclose(after.generator.params["g"], 1.0 - metrics["generator_loss"], rtol=1e-6)
    np.testing.assert_allclose(after.ema_params["g"], 0.9 + 0.1 * after.generator.params["g"], rtol=1e-6)


def test_an_iteration_ends_with_its_last_batch_and_reports_means_of_what_was_due():
    """The relative loss of the generator sees reals; of two updates one had a penalty."""
    gan, state = linear_game(
        penalty=lambda score, real, fake, keys: score(real), penalty_weight=0.5, penalty_interval=3
    )
    gan = dataclasses.replace(gan, loss=LOSSES["relativistic"])
    batches = jnp.stack([jnp.full((6, 4), 1.0), jnp.full((6, 4), 3.0)])
    after, metrics = train_step(gan, load_unlabelled, state, (), (batches, None))
    first, one = critic_update(gan, state, batches[0], None, 0)
    second, other = critic_update(gan, first, batches[1], None, 1)
    last, expected = generator_update(gan, second, batches[1], None)
    for name in ("generator", "critic", "ema_params"):
        jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-6), getattr(after, name), getattr(last, name))
    np.testing.assert_allclose(metrics["generator_loss"], expected["generator_loss"], rtol=1e-6)
    np.testing.assert_allclose(metrics["wasserstein"], (one["wasserstein"] + other["wasserstein"]) / 2, rtol=1e-6)
    np.testing.assert_allclose((metrics["gradient_penalty"], other["gradient_penalty"]), (1.0, np.nan))


def test_a_classifier_learns_the_reals_and_the_generator_makes_what_it_names():
    """AC-GAN: logits are `a` times three pixels, whose cross-entropy both networks lower, each by its own weight."""
    drawn = []

    def critic(params, stats, x, labels, train):
        return (params["c"] * x.mean(axis=1), params["a"] * x[:, :3]), stats

    def generator(params, stats, z, labels, train):
        drawn.append(z)
        return z * params["g"], stats

    def slope(x, a):
        """Of the cross-entropy in `a`."""
        shares = np.exp(a * x) / np.exp(a * x).sum(axis=1, keepdims=True)
        return ((shares - np.eye(3)[labels]) * x).sum(axis=1).mean()

    gan, state = linear_game(auxiliary_weight=0.25)
    gan = dataclasses.replace(gan, critic=critic, generator=generator)
    plain = dataclasses.replace(gan, auxiliary_weight=0.0)
    state = state._replace(critic=state.critic._replace(params={"c": jnp.ones(()), "a": jnp.float32(2.0)}))
    rng = np.random.default_rng(0)
    real, labels = rng.normal(size=(6, 4)).astype(np.float32), rng.integers(0, 3, 6).astype(np.int32)

    after, metrics = critic_update(gan, state, real, labels)
    np.testing.assert_allclose(after.critic.params["a"], 2.0 - 0.25 * slope(real[:, :3], 2.0), rtol=1e-5)
    assert 0 < metrics["accuracy"] == np.mean(np.argmax(real[:, :3], axis=1) == labels, dtype=np.float32) < 1
    after, _ = generator_update(gan, state, real, labels)
    without, _ = generator_update(plain, state, real, labels)
    change = after.generator.params["g"] - without.generator.params["g"]
    np.testing.assert_allclose(change, -0.25 * 2.0 * slope(np.asarray(drawn[-1])[:, :3], 2.0), rtol=1e-5)


def augmented_game(apply, **fields):
    return linear_game(augment=Augment(lambda state, keys, images: apply(keys, images)), **fields)


def test_both_networks_see_augmented_samples_and_gradients_pass_through():
    gan, state = augmented_game(lambda keys, images: 5.0 * images)
    plain, _ = linear_game()
    real = jnp.full((6, 4), 3.0)
    (_, found), (_, wanted) = (critic_update(game, state, real, None) for game in (gan, plain))
    np.testing.assert_allclose(found["wasserstein"], 5.0 * wanted["wasserstein"], rtol=1e-6)
    (_, found), (_, wanted) = (generator_update(game, state, real, None) for game in (gan, plain))
    np.testing.assert_allclose(found["generator_loss"], 5.0 * wanted["generator_loss"], rtol=1e-6)
    np.testing.assert_allclose(found["generator_gradient_norm"], 5.0 * wanted["generator_gradient_norm"], rtol=1e-6)


@pytest.mark.parametrize(("name", "slope"), [("r1", 5.0), ("r2", 5.0), ("gp", 1.0)])
def test_zero_centred_penalties_are_taken_before_the_augmentation_and_others_after(name, slope):
    before = name in BEFORE_AUGMENTATION
    gan, state = augmented_game(
        lambda keys, images: 5.0 * images, penalty=PENALTIES[name], penalty_before_augment=before
    )
    _, metrics = critic_update(gan, state, jnp.ones((6, 4)), None)
    # The critic is the mean of four values: its gradient has length 1/2, that before an augmentation five times it.
    length = slope / 2
    wanted = 0.5 * length**2 if before else (length - 1) ** 2
    np.testing.assert_allclose(metrics["gradient_penalty"], wanted, rtol=1e-5)


def test_a_penalty_before_the_augmentation_has_the_draws_of_the_reals_and_fakes_have_others():
    gan, state = augmented_game(
        lambda keys, images: images + jax.vmap(jax.random.uniform)(keys)[:, None],
        penalty=lambda score, real, fake, keys: score(real),
        penalty_weight=1.0,
        penalty_before_augment=True,
    )
    zeros = jnp.zeros((6, 4))
    of_reals = dataclasses.replace(gan, loss=gan.loss._replace(critic=lambda real, fake: real))
    _, metrics = critic_update(of_reals, state, zeros, None)
    np.testing.assert_allclose(metrics["critic_loss"], 2.0 * metrics["gradient_penalty"], rtol=1e-6)
    silent = dataclasses.replace(gan, generator=lambda params, stats, z, labels, train: (jnp.zeros_like(z), stats))
    assert abs(float(critic_update(silent, state, zeros, None)[1]["wasserstein"])) > 1e-3


def test_clipping_bounds_every_weight_after_every_update():
    gan, state = make(objective={"weight_clip": 0.01}, optimizer={"name": "rmsprop", "lr": 0.01, "beta2": 0.9})
    images, _ = reals(1)
    update_critic = jax.jit(partial(critic_update, gan))
    for update in range(2):
        state, _ = update_critic(state, images[0, update], None, update)
        largest = max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(state.critic.params))
        assert 0.009 < largest <= np.float32(0.01)


def test_lazy_penalty_is_due_at_its_interval_and_that_much_stronger():
    penalty = lambda score, real, fake, keys: score(real)  # noqa: E731  (derivative in c: mean(real) = 3)
    every, state = linear_game(penalty=penalty, penalty_weight=0.5)
    lazy, _ = linear_game(penalty=penalty, penalty_weight=0.5, penalty_interval=3)
    real = jnp.full((6, 4), 3.0)
    plain, _ = linear_game()
    changes, reported = [], []
    for step, update in ((0, 0), (0, 1), (1, 0), (1, 1)):
        at = state._replace(step=jnp.int32(step))
        base = critic_update(plain, at, real, None, update)[0].critic.params["c"]
        after, metrics = critic_update(lazy, at, real, None, update)
        changes.append(float(after.critic.params["c"] - base))
        reported.append(float(metrics["gradient_penalty"]))
    np.testing.assert_allclose(changes, [-4.5, 0, 0, -4.5], atol=1e-5)
    np.testing.assert_allclose(reported, [3.0, np.nan, np.nan, 3.0])
    after, _ = critic_update(every, state, real, None)
    base = critic_update(plain, state, real, None)[0].critic.params["c"]
    np.testing.assert_allclose(after.critic.params["c"] - base, -1.5, atol=1e-5)


@pytest.mark.parametrize(
    ("objective", "spectral"),
    [
        pytest.param({"loss": "wgan", "penalty": "gp", "r1_weight": 0.5}, True, id="wgan"),
        pytest.param({"loss": "relativistic", "penalty": "none"}, False, id="relativistic"),
    ],
)
def test_a_batch_in_parts_gives_the_gradient_of_the_whole(objective, spectral):
    images, labels = reals(1)
    after = []
    for accumulate in (1, 4):
        gan, state = make(
            generator={"norm": "instance", "spectral": spectral},
            critic={"conditioning": "projection", "norm": "layer", "spectral": spectral},
            data={"labelled": True},
            objective=objective,
            optimizer={"name": "sgd", "lr": 0.1, "beta1": 0.0},
            train={"accumulate": accumulate},
            augment={"flip": 0.5},
            diffaugment={"policy": ("translation", "cutout")},
        )
        state, critic_metrics = jax.jit(partial(critic_update, gan))(state, images[0, 0], labels[0, 0], 0)
        state, generator_metrics = jax.jit(partial(generator_update, gan))(state, images[0, 1], labels[0, 1])
        after.append((state.generator[:2], state.critic[:2], critic_metrics, generator_metrics))
    jax.tree.map(partial(np.testing.assert_allclose, rtol=2e-4, atol=2e-6), *after)


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"generator": {"norm": "batch"}}, "batch norm would see a part .* another config.generator.norm"),
        ({"critic": {"norm": "batch"}}, "batch norm would see a part .* another config.critic.norm"),
        ({"objective": {"perceptual_weight": 1.0}}, "set config.objective.perceptual_weight=0"),
        ({"train": {"accumulate": 3}}, "must divide config.train.batch_size=8"),
    ],
)
def test_parts_that_cannot_be_are_refused(sections, message):
    values = {"generator": {"norm": "instance"}, "train": {"accumulate": 2, "batch_size": BATCH}}
    values |= {name: values.get(name, {}) | fields for name, fields in sections.items()}
    with pytest.raises(InputError, match=rf"train.accumulate=[23].*{message}"):
        Config.from_dict(values)


def test_r1_stands_beside_another_penalty():
    real = jnp.full((6, 4), 3.0)
    plain, state = linear_game()
    both, _ = linear_game(penalty=lambda score, real, fake, keys: 2.0 * score(real), penalty_weight=0.5, r1_weight=8.0)
    base = critic_update(plain, state, real, None)[0].critic.params["c"]
    after, metrics = critic_update(both, state, real, None)
    # score = c * mean(x): penalty's derivative in c is 0.5 * 2 * 3; R1 = c^2 / 8 has 8 * 2 * c / 8.
    np.testing.assert_allclose(after.critic.params["c"] - base, -(3.0 + 2.0), atol=1e-5)
    np.testing.assert_allclose((metrics["gradient_penalty"], metrics["r1_penalty"]), (6.0, 1 / 8), rtol=1e-5)


def test_ema_half_life_counts_images():
    decay = partial(ema_decay, batch_size=8, halflife_images=80.0, rampup=0.0)
    np.testing.assert_allclose(decay(jnp.int32(5)) ** 10, 0.5, rtol=1e-5)
    ramped = partial(ema_decay, batch_size=8, halflife_images=80.0, rampup=0.05)
    built = game_of(train={"ema_halflife_images": 80.0, "ema_rampup": 0.05}).ema_decay
    for step, halflife in ((0, 0.4), (10, 4.4), (100, 40.4), (10_000, 80.0)):  # 8 images a step, this one's too.
        for found in (ramped, built):
            np.testing.assert_allclose(found(jnp.int32(step)), 0.5 ** (8 / halflife), rtol=1e-4)


def test_weights_of_the_objective_reach_the_game():
    wanted = {
        "penalty_weight": 3.0, "penalty_interval": 4, "r1_weight": 0.5, "drift_weight": 0.001, "auxiliary_weight": 0.25,
        "perceptual_weight": 2.0,
    }  # fmt: skip
    gan = game_of(objective={"loss": "hinge", "penalty": "gp", **wanted})
    assert {name: getattr(gan, name) for name in wanted} == wanted


def test_gradients_may_travel_in_bfloat16():
    """Halved messages, and every parameter's change near that of whole ones; what else travels is a few numbers."""
    changes, elements = {}, {}
    for dtype in ("float32", "bfloat16"):
        gan, state = make(
            parallel.AXIS,
            generator={"norm": "none"},
            critic={"norm": "none"},
            objective={"loss": "hinge", "n_critic": 1},
            optimizer={"lr": 1.0},
            train={"reduce_dtype": dtype},
        )
        many = parallel.map_train(partial(train_many, gan, load_unlabelled))
        arguments = parallel.replicate(state), (), parallel.split_batch(reals(1, 1)), np.int32(1)
        messages = re.findall(r"all_reduce.*?: \((tensor<[^)]*)\) ->", many.lower(*arguments).as_text(), re.DOTALL)
        tensors = re.findall(r"tensor<((?:\d+x)*)(\w+)>", " ".join(messages))
        elements[dtype] = sum(
            prod(map(int, filter(None, shape.split("x")))) for shape, kind in tensors if kind == "bf16"
        )
        before = jax.tree.map(np.asarray, state)
        after, _ = many(*arguments)
        changes[dtype] = [
            jax.tree.map(lambda new, old: np.asarray(new) - old, net.params, old.params)
            for net, old in ((after.generator, before.generator), (after.critic, before.critic))
        ]
    assert elements == {"float32": 0, "bfloat16": sum(leaf.size for leaf in jax.tree.leaves(changes["float32"]))}
    assert differs(changes["bfloat16"], changes["float32"])
    for got, want in zip(*map(jax.tree.leaves, (changes["bfloat16"], changes["float32"])), strict=True):
        # A rounded gradient is off by 2^-9 of itself, and those of the devices are larger than their mean.
        np.testing.assert_allclose(got, want, rtol=0, atol=2.0**-6 * np.abs(want).max())
