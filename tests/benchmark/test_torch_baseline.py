"""What is timed as PyTorch does the same work: with jaxgan's parameters it gives jaxgan's numbers."""

import dataclasses
import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxgan.augment import diffaugment
from jaxgan.benchmark import torch_baseline
from jaxgan.benchmark.torch_baseline import Draws, TorchWorkload, check
from jaxgan.commands.benchmark import ALL
from jaxgan.config import Config, OptimizerConfig
from jaxgan.config.presets import load_config
from jaxgan.errors import InputError
from jaxgan.gan import draws, step
from jaxgan.gan.build import build_gan

BATCH, CLASSES, RATE = 4, 3, 0.5
RESIDUAL, GROWING = {"network": "resnet", "widths": [6, 5]}, {"network": "growing", "widths": [6, 5]}
# Networks and games as presets have them, and what presets may come to have.
CASES = {
    "histology": {
        "data": {"channels": 3},
        "generator": {**RESIDUAL, "norm": "batch", "attention": [4]},
        "critic": {**RESIDUAL, "attention": [4]},
        "objective": {"loss": "wgan", "r1_weight": 0.3, "drift_weight": 0.1, "n_critic": 1},
        "diffaugment": {"policy": ["color", "translation", "cutout"], "probability": 0.5},
    },
    "volumes by class": {
        "data": {"spatial_rank": 3, "labelled": True},
        "generator": {**RESIDUAL, "norm": "instance"},
        "critic": {"widths": [4, 6], "conditioning": "projection"},
        "objective": {"loss": "wgan", "drift_weight": 0.1, "n_critic": 1},
    },
    "spectral": {
        "generator": {**RESIDUAL, "norm": "instance", "spectral": True},
        "critic": {**RESIDUAL, "norm": "instance", "spectral": True, "attention": [4]},
        "objective": {"loss": "hinge", "penalty": "gp"},
    },
    "growing": {
        "generator": {**GROWING, "norm": "pixel", "equalized": True, "resample": "bilinear"},
        "critic": {**GROWING, "equalized": True, "minibatch_std": 2, "resample": "strided"},
        "growing": {"start_side": 4, "hold_images": 4, "fade_images": 4},
        "objective": {"loss": "non_saturating", "penalty": "r1", "penalty_interval": 16},
    },
    "residual volumes": {
        "data": {"spatial_rank": 3, "labelled": True},
        "generator": {**RESIDUAL, "norm": "batch", "resample": "transposed", "branch_start": 0.5},
        "critic": {**RESIDUAL, "norm": "layer", "conditioning": "projection", "resample": "average"},
        "objective": {"loss": "relativistic", "penalty": "r1+r2"},
        "diffaugment": {"policy": ["flip", "shift"], "probability": 0.5},
    },
    "lean": {
        "data": {"size": 16},
        "generator": {"network": "lean", "widths": [6, 5, 4], "norm": "batch", "attention": [4]},
        "critic": {"widths": [4, 5]},
        "objective": {"loss": "wgan", "n_critic": 1},
    },
    "lean volumes by class": {
        "data": {"spatial_rank": 3, "labelled": True, "size": 16},
        "generator": {"network": "lean", "widths": [6, 5, 4], "norm": "instance", "resample": "transposed"},
        "critic": {"widths": [4, 5], "conditioning": "projection"},
        "objective": {"loss": "wgan", "n_critic": 1},
    },
    "plain": {
        "data": {"labelled": True},
        "generator": {"widths": [6, 4], "norm": "batch"},
        "critic": {"widths": [4, 6], "norm": "group", "conditioning": "projection", "spectral": True},
        "objective": {"loss": "lsgan", "penalty": "lp"},
    },
}


def config(name):
    values = CASES[name]
    common = {
        "data": {"size": 8},
        "generator": {"latent_dim": 5},
        "optimizer": {"name": "sgd", "lr": RATE, "beta1": 0.0},
        "train": {"batch_size": BATCH},
    }
    return Config.from_dict(
        {section: common.get(section, {}) | values.get(section, {}) for section in {*common, *values}}
    )


def disturbed(net, seed):
    """Its parameters moved, so that no scale is 1 and no gain is 0; vectors of spectral norm where iterating ends."""
    random = np.random.default_rng(seed)
    params = {
        path: np.asarray(leaf + 0.2 * random.normal(size=leaf.shape), np.float32)
        for path, leaf in flatten_dict(net.params).items()
    }
    stats = flatten_dict(jax.tree.map(np.asarray, net.stats))
    for path in stats:
        if path[-1] == "singular_vector":
            kernel = params[*path[:-1], "kernel"]
            stats[path] = np.linalg.svd(kernel.reshape(-1, kernel.shape[-1]), full_matrices=False)[2][0]
    return net._replace(params=unflatten_dict(params), stats=unflatten_dict(stats))


def theirs(module, params):
    """PyTorch's parameter for each path of jaxgan's; every parameter of PyTorch is one of them."""
    last = max([int(path[5:]) for path in params if path.startswith("image") and path[5:].isdecimal()], default=-1)
    named, found = dict(module.named_parameters()), {}
    for path in flatten_dict(params):
        first, *rest, leaf = path
        if first.startswith("image") and first not in ("image", f"image{last}", f"image_norm{last}"):
            continue  # Image layers of stages before the last.
        if first == f"image{last}" and "score" in params:
            continue  # The last stage of a critic takes images as they are.
        first = {f"image{last}": "image", f"image_norm{last}": "last_norm"}.get(first, first)
        room = {"embedding": ["start"], "project": ["start"], "score": ["judge"], "projection": ["judge"]}
        inner = first.rstrip("0123456789") in ("up", "down", "norm", "block", "attention", "excite")
        leaf = {"kernel": "weight", "scale": "weight", "embedding": "weight"}.get(leaf, leaf)
        name = ".".join([*(["body"] if inner else room.get(first, [])), first, *rest, leaf])
        if name not in named:
            name = name.removesuffix("weight") + "parametrizations.weight.original"
        found[path] = named.pop(name)
    assert not named, sorted(named)
    return found


def as_theirs(path, leaf):
    """An array of jaxgan as PyTorch lays it out: kernels [*K, I, O] become [O, I, *K]."""
    return np.array(leaf) if path[-1] != "kernel" else np.moveaxis(np.asarray(leaf), (-1, -2), (0, 1)).copy()


def copy(torch, params, module):
    """jaxgan's parameters into a PyTorch network, and the vectors of spectral norm where iterating ends."""
    flat = flatten_dict(params)
    with torch.no_grad():
        for path, parameter in theirs(module, params).items():
            parameter.copy_(torch.from_numpy(as_theirs(path, flat[path])))
        for layer in module.modules():
            if torch.nn.utils.parametrize.is_parametrized(layer, "weight"):
                chain = layer.parametrizations.weight
                left, _, right = torch.linalg.svd(chain.original.flatten(1), full_matrices=False)
                for part in chain:
                    if hasattr(part, "_u"):
                        part._u.copy_(left[:, 0])
                        part._v.copy_(right[0])


def channels_first(torch, x):
    return torch.from_numpy(np.moveaxis(np.asarray(x), -1, 1).copy())


def draws_of(torch, gan, state, update, rank, policy):
    """The random numbers of an update of jaxgan, for PyTorch."""
    keys = draws.sample_keys(gan, state, update, BATCH)

    def numbers(purpose):
        drawn = jax.vmap(partial(diffaugment.draw, rank=rank))(draws.stream(keys, purpose))
        return {name: torch.from_numpy(np.array(drawn[name])) for name in policy}

    share = jax.vmap(jax.random.uniform)(draws.stream(keys, draws.PENALTY))
    return Draws(
        torch.from_numpy(np.array(draws.latents(gan, keys))),
        torch.from_numpy(np.array(share)),
        numbers(draws.AUGMENT_REAL),
        numbers(draws.AUGMENT_FAKE),
    )


def assert_close(found, expected, rate=1.0, sizes=None):
    """Equal up to the rounding of two libraries that sum in other orders: to 0.05% of the largest number of an array
    or, where a gradient is 0 but for rounding (a bias before a norm), to 2e-6 of the largest of all; times the rate."""
    sizes = sizes or {path: np.abs(leaf).max() for path, leaf in expected.items()}
    for path, leaf in expected.items():
        tolerance = rate * max(5e-4 * sizes[path], 2e-6 * max(sizes.values()))
        np.testing.assert_allclose(found[path], leaf, rtol=0, atol=tolerance, err_msg=str(path))
    return sizes


@pytest.mark.parity
@pytest.mark.parametrize("name", CASES)
def test_outputs_gradients_and_a_descent_are_those_of_jaxgan(name):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    made = config(name)
    classes = CLASSES if made.data.labelled else 0
    gan, state = build_gan(made, classes, 10)
    state = state._replace(generator=disturbed(state.generator, 0), critic=disturbed(state.critic, 1))
    if gan.growth is not None:  # The last stage, faded in.
        state = state._replace(step=jnp.int32(gan.growth.begin(gan.growth.stages - 1) + gan.growth.timetable.fades[-1]))
        gan = gan.at(math.inf)
        state = gan.stage.enter(state, gan.generator_optimizer, gan.critic_optimizer)
        state = state._replace(step=state.step + (-state.step) % made.objective.penalty_interval)
    work = TorchWorkload(made, 1, classes)
    work.place(channels_last=name != "spectral")
    copy(torch, state.generator.params, work.generator)
    copy(torch, state.critic.params, work.critic)

    random = np.random.default_rng(2)
    real = random.uniform(-1, 1, (BATCH, *made.data.shape)).astype(np.float32)
    labels = random.integers(0, CLASSES, BATCH) if classes else None
    work.real = channels_first(torch, real)
    work.labels = torch.from_numpy(labels) if classes else torch.zeros(BATCH, dtype=torch.int64)
    z = random.normal(size=(BATCH, 5)).astype(np.float32)
    images, _ = jax.jit(partial(gan.generator, train=True))(*state.generator[:2], z, labels)
    (scores, _), _ = jax.jit(partial(gan.critic, train=True))(*state.critic[:2], real, labels)
    with torch.no_grad():
        found = np.moveaxis(work.generator(torch.from_numpy(z), work.labels).numpy(), 1, -1)
        np.testing.assert_allclose(found, images, atol=2e-5)
        np.testing.assert_allclose(work.critic(work.real, work.labels), scores, rtol=1e-4, atol=1e-4)

    rank, policy = made.data.spatial_rank, made.diffaugment.policy
    for which, number, update in (
        ("critic", 0, step.critic_update),
        ("generator", gan.n_critic, step.generator_update),
    ):
        copy(torch, state.critic.params, work.critic)  # The generator's update is against the critic as it was.
        after, _ = jax.jit(partial(update, gan))(state, real, labels)
        getattr(work, f"{which}_update")(work.real, draws_of(torch, gan, state, number, rank, policy))
        before, changed = (flatten_dict(jax.tree.map(np.asarray, getattr(s, which).params)) for s in (state, after))
        parameters = theirs(getattr(work, which), unflatten_dict(before))
        descents = {path: as_theirs(path, (before[path] - changed[path]) / RATE) for path in parameters}
        assert max(np.abs(leaf).max() for leaf in descents.values()) > 1e-2
        sizes = assert_close({path: parameter.grad.numpy() for path, parameter in parameters.items()}, descents)
        moved = {path: as_theirs(path, changed[path]) for path in parameters}
        assert_close({path: parameter.detach() for path, parameter in parameters.items()}, moved, RATE, sizes)


@pytest.mark.parity
@pytest.mark.parametrize("rank", [2, 3])
def test_augmentation_is_that_of_jaxgan_for_the_same_numbers(rank):
    torch = pytest.importorskip("torch")
    from jaxgan.benchmark import torch_augment

    assert diffaugment.DIFFAUGMENTATIONS.keys() - torch_augment.OPERATIONS.keys() == set(torch_baseline._WITHOUT)
    policy = [name for name in torch_augment.OPERATIONS if rank == 2 or name != "anisotropy"]
    x = np.random.default_rng(0).normal(size=(6, *(9, 8, 7)[:rank], 3)).astype(np.float32)
    keys = jax.random.split(jax.random.key(3), len(x))
    drawn = jax.vmap(partial(diffaugment.draw, rank=rank))(keys)
    for names in (*([name] for name in policy), policy):
        numbers = {name: np.array(drawn[name]) for name in names}
        expected = jax.vmap(partial(diffaugment.transform, probability=0.7))(draws=numbers, image=x)
        got = torch_augment.augment({k: torch.from_numpy(v) for k, v in numbers.items()}, 0.7, channels_first(torch, x))
        np.testing.assert_allclose(np.moveaxis(got.numpy(), 1, -1), expected, atol=1e-4, err_msg=str(names))


@pytest.mark.parity
def test_a_run_tries_both_layouts_and_changes_both_networks():
    torch = pytest.importorskip("torch")
    made = config("histology")
    made = dataclasses.replace(made, optimizer=OptimizerConfig(lr=1e-3))
    work = TorchWorkload(made, 2, 0)
    before = [parameter.detach().clone() for net in (work.generator, work.critic) for parameter in net.parameters()]
    seconds, waiting = work.run()
    assert seconds > 0 and waiting == 0
    after = [parameter for net in (work.generator, work.critic) for parameter in net.parameters()]
    assert sum(bool((old != new).any()) for old, new in zip(before, after, strict=True)) > 0.8 * len(after)
    assert all(torch.isfinite(parameter).all() for parameter in after)
    last = dict(zip((False, True), (torch.contiguous_format, torch.channels_last), strict=True))
    for channels_last, layout in last.items():
        work.place(channels_last)
        images = work.generator(work._draw().z, None)
        assert work.real.is_contiguous(memory_format=layout) and images.is_contiguous(memory_format=layout)


@pytest.mark.parity
def test_every_preset_of_the_table_can_be_compared():
    for name in ALL:
        check(load_config(name))


@pytest.mark.parity
@pytest.mark.parametrize(
    ("sections", "part"),
    [
        ({"objective": {"penalty": "dragan"}}, "config.objective.penalty=dragan"),
        ({"diffaugment": {"policy": ["rotation"]}}, "rotation"),
        ({"augment": {"noise": 0.5}}, "noise"),
        ({"train": {"accumulate": 2}, "generator": {"norm": "none"}}, "accumulation"),
    ],
)
def test_games_that_are_not_written_are_refused_in_one_line(sections, part):
    with pytest.raises(InputError, match=part):
        check(Config.from_dict(sections))
