"""Augmentation of reals and fakes: one contract for every operation, DiffAugment's formulas, gradients, symmetries."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxgan.augment.diffaugment import DIFFAUGMENTATIONS, augment_both, draw, transform
from jaxgan.config import Config, DiffAugmentation
from jaxgan.errors import InputError

VOLUME = tuple(name for name in DIFFAUGMENTATIONS if name not in ("anisotropy", "rotation"))
COUNT = 24
CASES = [((8, 8, 3), name) for name in DIFFAUGMENTATIONS] + [((8, 8, 8, 1), name) for name in VOLUME]
CASES += [
    ((8, 8, 3), ",".join(DIFFAUGMENTATIONS)),
    ((8, 8, 8, 1), ",".join(VOLUME)),
    ((9, 9, 1), ",".join(DIFFAUGMENTATIONS)),
]


def batch(count, shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).uniform(-1, 1, (count, *shape)), jnp.float32)


def keys(count, seed=0):
    return jax.vmap(partial(jax.random.fold_in, jax.random.key(seed)))(jnp.arange(count))


@pytest.fixture(scope="module")
def apply():
    """`(policy, probability, keys, images)`, compiled; the probability is a value known at run time."""
    return jax.jit(augment_both, static_argnums=0)


@pytest.mark.parametrize(("shape", "policy"), CASES)
def test_contract_of_every_operation(apply, shape, policy):
    policy, images = tuple(policy.split(",")), batch(COUNT, shape)
    np.testing.assert_array_equal(apply(policy, 0.0, keys(COUNT), images), images)
    result = apply(policy, 1.0, keys(COUNT), images)
    assert result.shape == images.shape and result.dtype == images.dtype and np.isfinite(result).all()
    changed = np.abs(np.asarray(result - images)).reshape(COUNT, -1).max(1) > 1e-6
    # A flip is by a fair coin and a shift may be by 0: seven or more of 24 all but never fail.
    works = shape[-1] > 1 or not set(policy) <= {"saturation", "hue"}
    assert changed.sum() >= 7 if works else not changed.any()
    # Each sample by its own key: neither its neighbours nor the size of the batch matter, and keys differ.
    alone = apply(policy, 1.0, keys(COUNT)[5:6], images[5:6])
    np.testing.assert_allclose(alone[0], result[5], atol=1e-6)
    same = jnp.broadcast_to(images[:1], images.shape)
    if works:
        spread = np.asarray(apply(policy, 1.0, keys(COUNT), same)).reshape(COUNT, -1)
        assert len(np.unique(spread.round(5), axis=0)) > 1
    # The derivative by hand of an affine map, in both float types of the networks; the second one is 0.
    for dtype in (jnp.float32, jnp.bfloat16):
        x, towards = images[:3].astype(dtype), batch(3, shape, 1).astype(dtype)
        f = partial(augment_both, policy, 1.0, keys(3))
        _, slope = jax.jvp(f, (x,), (towards,))
        assert slope.dtype == dtype
        _, curvature = jax.jvp(lambda x, f=f, t=towards: jax.jvp(f, (x,), (t,))[1], (x,), (towards,))
        assert np.isfinite(np.asarray(slope, np.float32)).all() and not np.asarray(curvature, np.float32).any()


@pytest.mark.parametrize(("shape", "policy"), CASES[-3:])
def test_gradients_agree_with_finite_differences(shape, policy):
    with jax.enable_x64(True):
        images = jnp.asarray(np.random.default_rng(0).uniform(-1, 1, (2, *shape)))
        f = jax.jit(partial(augment_both, tuple(policy.split(",")), 0.9, keys(2)))
        assert f(images).dtype == jnp.float64
        check_grads(lambda x: jnp.sum(jnp.sin(f(x))), (images,), order=1, modes=["rev"], eps=1e-5, rtol=1e-6)


def diffaugment_numpy(image, draws):
    """DiffAugment as published, pixel by pixel."""
    x = np.array(image, np.float64)
    shape, rank = x.shape[:-1], x.ndim - 1
    brightness, saturation, contrast = draws["color"][3:]
    x = x + (brightness - 0.5)
    mean = x.mean(-1, keepdims=True)
    x = (x - mean) * (saturation * 2) + mean
    x = (x - x.mean()) * (contrast + 0.5) + x.mean()
    shifts = []
    for axis in range(rank):
        most = int(shape[axis] * 0.125 + 0.5)
        shifts.append(list(range(-most, most + 1))[int(draws["translation"][1 + axis] * (2 * most + 1))])
    moved = np.zeros_like(x)
    for place in itertools.product(*map(range, shape)):
        source = tuple(p + s for p, s in zip(place, shifts, strict=True))
        if all(0 <= s < n for s, n in zip(source, shape, strict=True)):
            moved[place] = x[source]
    cuts = []
    for axis in range(rank):
        length = int(shape[axis] * 0.5 + 0.5)
        offset = int(draws["cutout"][1 + axis] * (shape[axis] + 1 - length % 2))
        cuts.append(np.clip(np.arange(length) + offset - length // 2, 0, shape[axis] - 1))
    moved[np.ix_(*cuts)] = 0.0
    return moved


@pytest.mark.parametrize("shape", [(8, 8, 3), (9, 13, 1), (16, 16, 2), (6, 8, 5, 1)])
def test_diffaugment_is_as_published(apply, shape):
    images, policy = batch(24, shape), ("color", "translation", "cutout")
    result = apply(policy, 1.0, keys(24), images)
    draws = jax.vmap(partial(draw, rank=len(shape) - 1))(keys(24))
    for i in range(24):
        of_one = {name: np.asarray(values[i]) for name, values in draws.items()}
        np.testing.assert_allclose(result[i], diffaugment_numpy(images[i], of_one), atol=2e-6)


def rotations(image):
    """All rotations of a cube or square, by hand: reorderings and reversals of axes with determinant 1."""
    rank = image.ndim - 1
    for order in itertools.permutations(range(rank)):
        for signs in itertools.product((1, -1), repeat=rank):
            if np.linalg.det(np.eye(rank)[list(order)]) * np.prod(signs) > 0:
                turned = np.transpose(image, (*order, rank))
                yield np.flip(turned, [axis for axis in range(rank) if signs[axis] < 0])


@pytest.mark.parametrize(("shape", "turns"), [((5, 5, 2), 4), ((4, 4, 4, 1), 24)])
def test_turns_are_all_rotations_equally_often(apply, shape, turns):
    image, count = batch(1, shape), 40 * turns
    result = np.asarray(apply(("turn",), 1.0, keys(count), jnp.broadcast_to(image, (count, *shape))))
    wanted = np.stack(list(rotations(np.asarray(image[0]))))
    assert len(wanted) == turns
    hits = (result[:, None] == wanted).reshape(count, turns, -1).all(-1)
    assert (hits.sum(1) == 1).all()
    # 40 of each are expected; six standard deviations.
    assert np.abs(hits.sum(0) - 40).max() < 40


def test_flips_mirror_images_left_to_right_and_volumes_every_way(apply):
    image = batch(1, (4, 4, 1))
    result = np.asarray(apply(("flip",), 1.0, keys(64), jnp.broadcast_to(image, (64, 4, 4, 1))))
    mirrored = (result == np.flip(np.asarray(image), 2)).all((1, 2, 3))
    assert 12 < mirrored.sum() < 52
    np.testing.assert_array_equal(result[~mirrored], np.broadcast_to(image, (64, 4, 4, 1))[~mirrored])
    volume = batch(1, (3, 3, 3, 1))
    result = np.asarray(apply(("flip",), 1.0, keys(256), jnp.broadcast_to(volume, (256, 3, 3, 3, 1))))
    assert len(np.unique(result.reshape(256, -1), axis=0)) == 8


def test_shift_mirrors_at_the_border(apply):
    image = batch(1, (16, 16, 1))
    padded = np.pad(np.asarray(image[0]), ((2, 2), (2, 2), (0, 0)), mode="reflect")
    result = np.asarray(apply(("shift",), 1.0, keys(128), jnp.broadcast_to(image, (128, 16, 16, 1))))
    windows = np.stack([padded[y : y + 16, x : x + 16] for y in range(5) for x in range(5)])
    hits = (result[:, None] == windows).reshape(128, 25, -1).all(-1)
    assert (hits.sum(1) == 1).all() and (hits.sum(0) > 0).sum() > 20


def test_strengths_are_those_of_ada(apply):
    """Measured on what the operations do to a ramp and to a constant, over 4,000 samples."""
    count = 4000
    constant = jnp.full((count, 4, 4, 1), 0.5)
    brightness = np.asarray(apply(("brightness",), 1.0, keys(count), constant))[:, 0, 0, 0] - 0.5
    contrast = np.log2(np.asarray(apply(("contrast",), 1.0, keys(count), constant))[:, 0, 0, 0] / 0.5)
    ramp = jnp.broadcast_to((jnp.arange(33.0) - 16)[None, None, :, None], (count, 33, 33, 1))
    middle = slice(15, 18)
    scaled = np.asarray(apply(("scale",), 1.0, keys(count), ramp))[:, 0, middle, 0]
    scale = -np.log2(scaled[:, 2] - scaled[:, 1])
    moved = -np.asarray(apply(("fraction",), 1.0, keys(count), ramp))[:, 0, 16, 0] / 33
    gray = jnp.broadcast_to(jnp.array([0.1, 0.5, 0.9]), (count, 4, 4, 3))
    saturated = np.asarray(apply(("saturation",), 1.0, keys(count), gray))
    np.testing.assert_allclose(saturated[..., 1], 0.5, atol=1e-6)
    saturation = np.log2((saturated[:, 0, 0, 2] - 0.5) / 0.4)
    for found, std in ((brightness, 0.2), (contrast, 0.5), (scale, 0.2), (moved, 0.125), (saturation, 1.0)):
        # Five standard errors of a standard deviation are 6% here, of a mean 8% of the deviation.
        assert abs(found.mean()) < 0.1 * std and abs(found.std() / std - 1) < 0.08
    half = np.asarray(apply(("brightness",), 0.5, keys(count), constant))[:, 0, 0, 0] != 0.5
    assert abs(half.mean() - 0.5) < 0.05


def test_rotation_agrees_with_scipy():
    from scipy import ndimage

    image = jnp.asarray(ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(17, 17)), 2), jnp.float32)
    result = transform({"rotation": jnp.array([0.0, 0.6])}, 1.0, image[..., None])[..., 0]
    angle = 0.2 * np.pi
    matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    centre = np.array([8.0, 8.0])
    wanted = ndimage.affine_transform(np.asarray(image), matrix, centre - matrix @ centre, order=1, mode="mirror")
    np.testing.assert_allclose(result, wanted, atol=2e-6)


def test_hues_turn_about_gray(apply):
    """Grays and lengths stay, after a third of a turn red is green, and all turns are as likely."""
    image = batch(1, (5, 5, 3))[0]
    third = transform({"hue": jnp.array([0.0, 0.5 + 1 / 3])}, 1.0, image)
    np.testing.assert_allclose(third, np.roll(image, 1, axis=-1), atol=1e-6)
    turned = transform({"hue": jnp.array([0.0, 0.2])}, 1.0, image)
    np.testing.assert_allclose(turned.mean(-1), image.mean(-1), atol=1e-6)
    np.testing.assert_allclose(jnp.sum(turned**2, -1), jnp.sum(image**2, -1), atol=1e-5)
    assert float(jnp.linalg.det(jnp.stack(list(turned.reshape(-1, 3)[:3])))) == pytest.approx(
        float(jnp.linalg.det(jnp.stack(list(image.reshape(-1, 3)[:3])))), rel=1e-4
    ), "a turn, no mirror image"
    # Every angle is as likely: where the colours of a red image come to lie in their plane.
    red = jnp.broadcast_to(jnp.array([0.8, -0.4, -0.4]), (4000, 1, 1, 3))
    r, g, b = np.asarray(apply(("hue",), 1.0, keys(4000), red))[:, 0, 0].T
    angles = np.arctan2((g - b) * np.sqrt(3) / 2, r - (g + b) / 2)
    counts, _ = np.histogram(angles, 8, (-np.pi, np.pi))
    assert np.abs(counts - 500).max() < 5 * np.sqrt(500)


def test_what_does_not_fit_is_refused():
    with pytest.raises(InputError, match=r"config\.diffaugment\.policy='colour'.*color"):
        DiffAugmentation(policy=("colour",))
    with pytest.raises(InputError, match="twice"):
        DiffAugmentation(policy=("color", "color"))
    with pytest.raises(InputError, match=r"config\.diffaugment\.probability=1\.5.*0 to 1"):
        DiffAugmentation(policy=("color",), probability=1.5)
    with pytest.raises(InputError, match=r"rotation.*volumes"):
        Config.from_dict({"data": {"spatial_rank": 3}, "diffaugment": {"policy": ["rotation"]}})
    with pytest.raises(InputError, match=r"'hue'.*RGB.*channels=1"):
        Config.from_dict({"diffaugment": {"policy": ["hue"]}})
    Config.from_dict({"data": {"spatial_rank": 3, "channels": 3}, "diffaugment": {"policy": ["hue"]}})
    with pytest.raises(InputError, match=r"equal sides"):
        augment_both(("turn",), 1.0, keys(1), batch(1, (4, 6, 1)))
    adaptive = {"policy": ["flip"], "adaptive": True}
    with pytest.raises(InputError, match=r"config\.diffaugment\.adaptive=True.*'wgan'.*hinge"):
        Config.from_dict({"diffaugment": adaptive})
    Config.from_dict({"diffaugment": adaptive, "objective": {"loss": "hinge"}})
    with pytest.raises(InputError, match="nothing to adapt"):
        DiffAugmentation(adaptive=True)


def test_leaks_are_warned_of():
    def warned(**sections):
        return " ".join(Config.from_dict(sections).warnings())

    learned = warned(augment={"flip": 0.5, "rot90": 0.75, "noise": 0.1, "gamma": 0.1})
    assert "config.augment.noise" in learned and "config.augment.gamma" in learned
    assert "config.augment.flip" not in learned and "rot90" not in learned
    assert "policy=turn" in warned(diffaugment={"policy": ["turn", "color"]})
    assert "policy=turn" not in warned(diffaugment={"policy": ["turn"]}, augment={"rot90": 0.75})
    rgb = {"channels": 3}
    assert "policy=hue" in warned(data=rgb, diffaugment={"policy": ["hue"]}, augment={"flip": 0.5, "rot90": 0.75})
    assert "policy=" not in warned(data=rgb, diffaugment={"policy": ["turn", "flip", "hue"], "probability": 0.8})
