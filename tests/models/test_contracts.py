"""What every registered generator and critic must hold, whatever it is made of."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan import parallel
from jaxgan.config import Config
from jaxgan.gan.build import build_gan
from jaxgan.gan.step import train_many, train_step
from jaxgan.models import CRITICS, GENERATORS, build_critic, build_generator
from jaxgan.models.norms import Norm
from jaxgan.models.spectral import STATS

KEY = jax.random.key(0)
SIDE, LATENT, CLASSES, BATCH = 8, 5, 3, 8
# Every entry is tried as it is; these are further ways to make one.
GENERATOR_VARIANTS = {
    "dcgan": [{"norm": "batch", "spectral": True}, {"norm": "pixel"}],
    "resnet": [
        {"norm": "batch", "spectral": True, "attention": [4]},
        {"norm": "pixel", "equalized": True, "resample": "bilinear"},
        {"norm": "instance", "resample": "transposed", "branch_start": 0.0},
    ],
    # Three widths, so that a map excites another.
    "lean": [{"norm": "pixel", "equalized": True, "resample": "bilinear", "attention": [4], "widths": [6, 4, 4]}],
}
CRITIC_VARIANTS = {
    "dcgan": [{"norm": "batch"}, {"norm": "layer", "spectral": True}],
    "resnet": [
        {"norm": "layer", "attention": [4], "resample": "strided"},
        {"spectral": True, "attention": [4]},
        {"equalized": True, "minibatch_std": 2},
        {"norm": "batch", "branch_start": 0.0},
    ],
}


def cases(registry, variants):
    return [
        pytest.param({"network": name} | settings, id=f"{name} {settings}")
        for name in registry
        for settings in [{}, *variants.get(name, [])]
    ]


def make(generator=None, critic=None, rank=2, precision="float32"):
    """A config of small networks with classes; SGD, whose changes are the gradients: Adam would hide a wrong scale."""
    if "growing" in [(settings or {}).get("network") for settings in (generator, critic)]:  # Both grow, or neither.
        generator, critic = generator or {"network": "growing"}, critic or {"network": "growing"}
    return Config.from_dict(
        {
            "data": {"size": SIDE, "spatial_rank": rank, "channels": 2, "labelled": True},
            "generator": {"latent_dim": LATENT, "widths": [6, 4]} | (generator or {}),
            "critic": {"widths": [4, 6], "conditioning": "projection"} | (critic or {}),
            # One iteration of the first stage, then a fade of four.
            "growing": {"start_side": 4, "hold_images": 2 * BATCH, "fade_images": 8 * BATCH},
            "objective": {"loss": "wgan", "n_critic": 2},
            "optimizer": {"name": "sgd", "lr": 0.01, "beta1": 0.0},
            "train": {"batch_size": BATCH, "ema_halflife_images": 16.0, "precision": precision},
        }
    )


def network(config, which):
    """(module, its inputs, labels) with activations in the precision of the products, as on an accelerator."""
    build, shape = {
        "generator": (build_generator, (LATENT,)),
        "critic": (build_critic, config.data.shape),
    }[which]
    module = build(config, CLASSES)
    module = module.clone(activation_dtype=module.matmul_dtype)
    rng = np.random.default_rng(0)
    return module, jnp.asarray(rng.normal(size=(4, *shape)), jnp.float32), jnp.int32([0, 1, 2, 0])


_INITIALISED: dict = {}


def initialised(which, settings, rank=2, precision="float32"):
    """(inputs, labels, variables, compiled `apply(variables, inputs, labels, train=...)`); each is compiled once."""
    name = which, str(settings), rank, precision
    if name not in _INITIALISED:
        module, inputs, labels = network(make(**{which: settings}, rank=rank, precision=precision), which)
        variables = jax.jit(partial(module.init, train=True))(KEY, inputs, labels)
        apply = jax.jit(partial(module.apply, mutable=[STATS]), static_argnames="train")
        _INITIALISED[name] = inputs, labels, variables, apply
    return _INITIALISED[name]


def first_output(output):
    return output[0] if isinstance(output, tuple) else output


BOTH = [
    *(
        pytest.param("generator", *case.values, id=f"generator {case.id}")
        for case in cases(GENERATORS, GENERATOR_VARIANTS)
    ),
    *(pytest.param("critic", *case.values, id=f"critic {case.id}") for case in cases(CRITICS, CRITIC_VARIANTS)),
]
both = pytest.mark.parametrize(("which", "settings"), BOTH)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("rank", [2, 3])
@both
def test_shapes_and_dtypes(which, settings, rank, precision):
    config = make(**{which: settings}, rank=rank, precision=precision)
    module, inputs, labels = network(config, which)
    variables = jax.eval_shape(partial(module.init, train=True), KEY, inputs, labels)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype(jnp.float32)}
    for train in (True, False):
        output, _ = jax.eval_shape(partial(module.apply, train=train, mutable=[STATS]), variables, inputs, labels)
        expected = (4, *config.data.shape) if which == "generator" else (4,)
        assert (first_output(output).shape, first_output(output).dtype) == (expected, jnp.float32)


def slow_if(condition):
    return pytest.mark.slow if condition else ()


def is_variant(settings):
    return settings.keys() != {"network"}


@pytest.mark.parametrize(
    ("which", "settings", "rank", "precision"),
    [
        pytest.param(
            *case.values,
            rank,
            precision,
            id=f"{case.id} {rank}D",
            marks=slow_if(rank == 3 and is_variant(case.values[1])),
        )
        for case in BOTH
        for rank, precision in ((2, "float32"), (3, "bfloat16"))
    ],
)
def test_first_and_second_derivatives_are_finite_and_reach_every_weight(which, settings, rank, precision):
    inputs, labels, variables, apply = initialised(which, settings, rank, precision)
    if growth := variables.get(STATS, {}).get("growth"):  # In the middle of a fade, where both image layers count.
        half = {"growth": {**growth, "alpha": jnp.float32(0.5)}}
        variables = {**variables, STATS: {**variables[STATS], **half}}
    # What starts at 0 hides what lies behind it: attention before its gain, branches that begin as nothing.
    params = jax.tree.map(lambda leaf: leaf if leaf.any() else jnp.full_like(leaf, 0.1), variables["params"])

    def score(params, x):
        outputs, _ = apply({**variables, "params": params}, x, labels, train=True)
        return jnp.sum(jnp.sin(first_output(outputs)))

    def penalty(params):
        return jnp.sum(jax.grad(score, argnums=1)(params, inputs) ** 2)

    @jax.jit
    def derivatives(params):
        return jax.grad(score)(params, inputs), jax.grad(penalty)(params)

    first, second = derivatives(params)
    for leaf in jax.tree.leaves((first, second)):
        assert np.isfinite(leaf).all()
    silent = [jax.tree_util.keystr(path) for path, leaf in jax.tree_util.tree_leaves_with_path(first) if not leaf.any()]
    assert not silent


@both
def test_only_declared_networks_couple_samples(which, settings):
    inputs, labels, variables, run = initialised(which, settings)
    changed = inputs.at[1:].multiply(0.3)
    networks = {"generator": GENERATORS, "critic": CRITICS}[which]
    declared = networks[settings["network"]].couples(getattr(make(**{which: settings}), which))
    for train in (True, False):
        outputs = [first_output(run(variables, x, labels, train=train)[0])[0] for x in (inputs, changed)]
        couples = float(jnp.abs(outputs[0] - outputs[1]).max()) > 1e-5
        if train:
            assert couples == declared
        else:  # Samples are made one by one; scores are asked for in training alone.
            assert not couples or (declared and which == "critic")


@both
def test_evaluation_leaves_statistics_alone(which, settings):
    inputs, labels, variables, run = initialised(which, settings)
    before = {name: stats for name, stats in variables.get(STATS, {}).items() if name != "growth"}
    _, after = run(variables, inputs, labels, train=False)
    unchanged = {name: after[STATS][name] for name in before}
    jax.tree.map(np.testing.assert_array_equal, unchanged, before)
    _, after = run(variables, inputs, labels, train=True)
    new = {name: after[STATS][name] for name in before}
    moved = [np.any(a != b) for a, b in zip(*map(jax.tree.leaves, (new, before)), strict=True)]
    assert any(moved) == bool(moved)


def games():
    """Every generator and every critic takes part at least once."""
    all_ = cases(GENERATORS, GENERATOR_VARIANTS), cases(CRITICS, CRITIC_VARIANTS)
    for grows in (False, True):
        generators, critics = (
            [case for case in entries if networks[case.values[0]["network"]].grows == grows]
            for entries, networks in zip(all_, (GENERATORS, CRITICS), strict=True)
        )
        for i in range(max(len(generators), len(critics))):
            generator, critic = generators[i % len(generators)], critics[i % len(critics)]
            chosen = *generator.values, *critic.values
            name = f"{generator.id} against {critic.id}"
            yield pytest.param(*chosen, id=name, marks=slow_if(any(map(is_variant, chosen))))


def reals(k):
    rng = np.random.default_rng(0)
    shape = (k, 2, BATCH)
    return rng.uniform(-1, 1, (*shape, SIDE, SIDE, 2)).astype(np.float32), rng.integers(0, CLASSES, shape, np.int32)


def load_batch(data, batch_ref):
    return batch_ref


@pytest.mark.parametrize(("generator", "critic"), list(games()))
def test_the_state_keeps_its_structure_and_four_devices_give_the_changes_of_one(generator, critic):
    config = make(generator, critic)
    alone, state = build_gan(config, CLASSES, 10)
    made = {}

    def build():
        made["gan"], state = build_gan(config, CLASSES, 10, parallel.AXIS)
        return state

    shapes = jax.eval_shape(build)
    # A step at which growing networks fade.
    gan, alone, state = made["gan"].at(2), alone.at(2), state._replace(step=jnp.int32(2))
    draws = reals(1)
    shaped, _ = jax.eval_shape(partial(train_step, alone, load_batch), state, (), jax.tree.map(lambda x: x[0], draws))
    for other in (shaped, shapes):
        assert jax.tree.structure(other) == jax.tree.structure(state)
        assert [(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(other)] == [
            (leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(state)
        ]
    assert jax.local_device_count() == 4
    many, one = (
        parallel.map_train(partial(train_many, gan, load_batch)),
        jax.jit(partial(train_many, alone, load_batch)),
    )
    start = jax.tree.map(np.array, state)
    after, _ = many(parallel.replicate(jax.tree.map(jnp.copy, state)), (), parallel.split_batch(draws), np.int32(1))
    expected, _ = one(state, (), draws, np.int32(1))
    for which in ("critic", "generator"):
        old = getattr(start, which).params
        got, want = (
            jax.tree.map(lambda new, old: np.asarray(new) - old, getattr(tree, which).params, old)
            for tree in (after, expected)
        )
        largest = max(np.abs(leaf).max() for leaf in jax.tree.leaves(want))
        # A change is the difference of two rounded parameters: it is known to the spacing of floats there.
        spacing = max(np.spacing(np.abs(leaf).max()) for leaf in jax.tree.leaves(old))
        assert largest > 0
        jax.tree.map(partial(np.testing.assert_allclose, rtol=0, atol=2e-5 * largest + 2 * spacing), got, want)


@pytest.mark.parametrize(
    ("which", "settings"),
    [
        *(case for case in BOTH if case.values[0] == "critic"),
        # Layers that no critic has.
        pytest.param("generator", {"network": "dcgan"}, id="transposed convolutions"),
        pytest.param("generator", {"network": "lean", "resample": "nearest"}, id="up, then convolution"),
        pytest.param("generator", {"network": "lean", "resample": "transposed"}, id="up by transposed convolution"),
    ],
)
def test_spectral_normalisation_keeps_the_top_singular_value_of_every_matrix_at_one(which, settings):
    """By SVD, after 50 updates of the weights; the forward pass changes none of them."""
    settings = settings | {"spectral": True} | ({"branch_start": 1.0} if "branch_start" in settings else {})
    module, inputs, labels = network(make(**{which: settings}), which)
    variables = jax.jit(partial(module.init, train=True))(KEY, inputs, labels)
    random = np.random.default_rng(1)

    @jax.jit
    def update(variables, target):
        def loss(params):
            outputs, changed = module.apply(
                {**variables, "params": params}, inputs, labels, train=True, mutable=[STATS]
            )
            return jnp.mean((first_output(outputs) - target) ** 2), changed

        gradient, changed = jax.grad(loss, has_aux=True)(variables["params"])
        moved = jax.tree.map(lambda p, g: p - 0.05 * g, variables["params"], gradient)
        return {**variables, **changed, "params": moved}

    output, changed = module.apply(variables, inputs, labels, train=True, mutable=["params", STATS])
    jax.tree.map(np.testing.assert_array_equal, changed["params"], variables["params"])
    for _ in range(50):
        variables = update(variables, jnp.asarray(random.normal(size=first_output(output).shape), jnp.float32))
    kernels = {
        jax.tree_util.keystr(path): leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(variables["params"])
        if path[-1].key == "kernel"
    }
    stats = {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(variables[STATS])}
    assert kernels and len(kernels) == sum("singular_vector" in name for name in stats)
    for name, kernel in kernels.items():
        matrix = np.asarray(kernel).reshape(-1, kernel.shape[-1])
        vector = np.asarray(stats[name.replace("kernel", "singular_vector")])
        left = matrix @ vector
        sigma = np.linalg.norm(left / np.linalg.norm(left) @ matrix)  # By which the layer divides.
        np.testing.assert_allclose(np.linalg.svd(matrix, compute_uv=False)[0] / sigma, 1.0, rtol=0.05, err_msg=name)


@pytest.mark.parametrize("conditioning", ["projection", "auxiliary"])
def test_scores_tell_samples_apart_in_bfloat16_whatever_their_offset(conditioning):
    config = make(critic={"conditioning": conditioning}, precision="bfloat16")
    critic = build_critic(config, CLASSES, platform="gpu")
    x = jax.random.normal(KEY, (32, SIDE, SIDE, 2))
    labels = jnp.arange(32) % CLASSES
    variables = critic.init(KEY, x, labels, train=True)
    variables["params"]["score"]["bias"] += 1000.0
    scores, logits = critic.apply(variables, x, labels, train=False)
    assert scores.dtype == jnp.float32 and len(np.unique(scores)) == 32
    assert logits is None or (logits.dtype == jnp.float32 and len(np.unique(logits)) == logits.size)


@pytest.mark.parametrize(("channels", "groups"), [(3, 1), (6, 1), (16, 4), (24, 6), (128, 32), (512, 32)])
def test_group_norm_has_groups_of_several_channels(channels, groups):
    x = 3 + jnp.asarray(
        np.random.default_rng(0).normal(0, np.arange(1, channels + 1), (2, 5, 5, channels)), jnp.float32
    )
    norm = Norm("group")
    y, _ = norm.init_with_output(KEY, x, True)
    parts = np.asarray(x, np.float64).reshape(2, 25, groups, -1)
    mean, std = (getattr(parts, name)(axis=(1, 3), keepdims=True) for name in ("mean", "std"))
    np.testing.assert_allclose(y, ((parts - mean) / std).reshape(x.shape), atol=1e-3)
