"""The three maps agree with JAX's own convolution, with its derivatives up to the third, and with each
other."""

import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxgan.ops import lowering_cpu, lowering_native
from jaxgan.ops.conv import conv, conv_transpose, conv_weight_adjoint, lowering
from jaxgan.ops.geometry import Geometry
from jaxgan.ops.schemes import Columns, Minimal, Spread

LAYOUT = {1: ("NWC", "WIO", "NWC"), 2: ("NHWC", "HWIO", "NHWC"), 3: ("NDHWC", "DHWIO", "NDHWC")}

# size, kernel, stride, padding, channels, features; few channels take the columns, many the minimal filters
CASES = [
    ((7,), (4,), 2, "SAME", 3, 9),
    ((8,), (5,), 1, "SAME", 8, 8),
    ((9,), (2,), 4, "VALID", 1, 3),
    ((9,), (7,), 2, ((3, 1),), 2, 8),
    ((8, 8), (4, 4), 2, "SAME", 8, 8),
    ((8, 8), (4, 4), 2, "SAME", 1, 8),
    ((7, 6), (3, 3), 1, "SAME", 9, 8),
    ((7, 6), (3, 3), 2, "SAME", 8, 9),
    ((5, 6), (1, 1), 2, "SAME", 3, 8),
    ((9, 8), (5, 5), 2, "SAME", 8, 8),
    ((9, 8), (4, 3), (2, 1), ((0, 3), (2, -1)), 8, 8),
    ((6, 5, 4), (4, 4, 4), 2, "SAME", 8, 8),
    ((5, 4, 5), (3, 3, 3), 1, "SAME", 2, 1),
    ((4, 4, 4), (3, 3, 3), (1, 2, 2), "SAME", 8, 8),
]


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def reference(geometry, x, w):
    return lax.conv_general_dilated(
        x, w, geometry.stride, geometry.padding, dimension_numbers=LAYOUT[len(geometry.size)]
    )


def draw(case, seed=0, samples=2):
    size, kernel, stride, padding, channels, features = case
    geometry = Geometry.resolve(size, kernel, stride, padding)
    rng = np.random.default_rng(seed)
    x = jnp.asarray(rng.normal(size=(samples, *size, channels)))
    w = jnp.asarray(rng.normal(size=(*kernel, channels, features)))
    g = jnp.asarray(rng.normal(size=(samples, *geometry.output, features)))
    return geometry, x, w, g


def quickly(f):
    """Compile with little optimisation: these programs run once."""
    return jax.jit(f, compiler_options={"xla_backend_optimization_level": 0})


def close(a, b, tolerance=1e-11):
    assert a.shape == b.shape and a.dtype == b.dtype
    np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * max(1.0, float(jnp.abs(b).max())))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_values_and_adjoints_match_jax(case):
    """Values, both adjoints, and `<C(x, w), g> = <x, Cx(g, w)> = <w, Cw(x, g)>`, natively and on CPU."""
    geometry, x, w, g = draw(case)
    size, kernel, stride, padding, _, _ = case
    options = {"stride": stride, "padding": padding}

    @quickly
    def compute(x, w, g):
        y, pull = jax.vjp(lambda x, w: reference(geometry, x, w), x, w)
        got = (
            conv(x, w, **options),
            conv_transpose(g, w, output_shape=size, **options),
            conv_weight_adjoint(x, g, kernel_shape=kernel, **options),
        )
        native = [lowering_native.MAPS[name](geometry, *pair) for name, pair in pairs(x, w, g).items()]
        return got, native, (y, *pull(g))

    got, native, expected = compute(x, w, g)
    for a, b, c in zip(got, native, expected, strict=True):
        close(a, c)
        close(b, c)
    products = [float(jnp.vdot(a, b)) for a, b in zip(got, (g, x, w), strict=True)]
    np.testing.assert_allclose(products, products[0], rtol=1e-10)


def pairs(x, w, g):
    return {"C": (x, w), "Cx": (g, w), "Cw": (x, g)}


def tiles(taps, size, outputs):
    return Minimal(taps, size, tuple(1 if t == 1 else 2 if t == 3 else outputs for t in taps))


@pytest.mark.parametrize(
    "scheme",
    [Columns, *[partial(kind, fold=fold) for kind in (Columns, Spread) for fold in (1, 2, 3, 8)],
     partial(tiles, outputs=2), partial(tiles, outputs=4)],
    ids=["columns", *[f"{kind} of {fold}" for kind in ("columns", "spread") for fold in (1, 2, 3, 8)],
         "tiles of 2", "tiles of 4"],
)  # fmt: skip
@pytest.mark.parametrize("case", [CASES[i] for i in (0, 4, 7)], ids=str)
def test_all_schemes_compute_the_same_maps(case, scheme, monkeypatch):
    geometry, x, w, g = draw(case, seed=1)
    blocks = lowering_cpu.Blocks(geometry)
    scheme = scheme(blocks.taps, geometry.output)
    monkeypatch.setattr(lowering_cpu, "choose", lambda *_: (blocks, scheme))
    for name, operands in pairs(x, w, g).items():

        def both(a, b, name=name):
            return lowering_cpu.MAPS[name](geometry, a, b), lowering_native.MAPS[name](geometry, a, b)

        close(*quickly(both)(*operands))


@pytest.mark.parametrize("features", [6, 80], ids=["fewer columns of g", "more columns of g"])
def test_large_matrices_are_transposed_by_the_product(features, monkeypatch):
    """The same weight adjoint, and no transpose in memory."""
    geometry, x, _, g = draw(((8, 8), (4, 4), 2, "SAME", 8, features))
    blocks = lowering_cpu.Blocks(geometry)
    scheme = Minimal(blocks.taps, geometry.output, (2, 2))  # of 32 columns of x
    monkeypatch.setattr(lowering_cpu, "choose", lambda *_: (blocks, scheme))

    def lowered_weight_adjoint():
        return jax.jit(lambda x, g: lowering_cpu.weight_adjoint(geometry, x, g)).lower(x, g)

    small = lowered_weight_adjoint()
    monkeypatch.setattr(lowering_cpu, "_OUT_OF_CACHE", 1)
    large = lowered_weight_adjoint()
    close(large.compile()(x, g), lowering_native.MAPS["Cw"](geometry, x, g))
    sums = [re.search(r"dot_general.*contracting_dims = (\[\d\] x \[\d\])", p.as_text())[1] for p in (small, large)]
    assert sums == ["[2] x [1]", "[1] x [1]"]


def errors(geometry, samples, channels, schemes, monkeypatch):
    """`[scheme][map]` (root mean square, largest) error against float64, over that of the result."""
    rng = np.random.default_rng(11)
    shapes = (samples, *geometry.size, channels), (*geometry.kernel, channels, channels)
    x, w, g = (rng.normal(size=shape) for shape in (*shapes, (samples, *geometry.output, channels)))
    blocks = lowering_cpu.Blocks(geometry)
    found = []
    for scheme in schemes:
        monkeypatch.setattr(lowering_cpu, "choose", lambda *_, scheme=scheme: (blocks, scheme))
        found.append([])
        for name, operands in pairs(x, w, g).items():
            exact = lowering_native.MAPS[name](geometry._replace(matmul_dtype=None), *operands)
            got = quickly(partial(lowering_cpu.MAPS[name], geometry))(*(jnp.float32(a) for a in operands))
            assert got.dtype == jnp.float32
            error = np.abs(got - exact)
            found[-1].append((np.sqrt(np.mean(error**2) / np.mean(exact**2)), error.max() / np.abs(exact).max()))
    return np.array(found)


SIZES = [((32, 32), 4, 2), ((16, 16), 3, 1), ((16, 16, 16), 4, 2)]


@pytest.mark.parametrize(("size", "kernel", "stride"), SIZES, ids=str)
def test_large_tiles_keep_float32_accuracy(size, kernel, stride, monkeypatch):
    """The largest error of any map is a few millionths of the largest entry."""
    geometry = Geometry.resolve(size, (kernel,) * len(size), stride, "SAME", "float32")
    taps = lowering_cpu.Blocks(geometry).taps
    tiles = Minimal(taps, geometry.output, (6 - max(taps),) * len(size))
    assert errors(geometry, 2, 16, [tiles], monkeypatch)[..., 1].max() < 4e-6


@pytest.mark.parametrize(("size", "kernel", "stride"), SIZES, ids=str)
def test_tiles_of_bfloat16_lose_less_than_a_bit_along_an_axis(size, kernel, stride, monkeypatch):
    """Against a convolution whose operands are rounded without a transform, in every map."""
    geometry = Geometry.resolve(size, (kernel,) * len(size), stride, "SAME", "bfloat16")
    taps = lowering_cpu.Blocks(geometry).taps
    schemes = [Columns(taps, geometry.output)]
    schemes += [Minimal(taps, geometry.output, (tile,) * len(size)) for tile in (2, 6 - max(taps))]
    direct, small, large = errors(geometry, 2, 16, schemes, monkeypatch)[..., 0]
    assert 1e-3 < direct.min() and direct.max() < 4e-3
    assert (small < 1.4 ** len(size) * direct).all()
    assert (large < 1.8 ** len(size) * direct).all()


def test_choice_of_scheme():
    """Windows are gathered where they have few channels, of the input or of the output; layers of many channels get
    tiles of four, for all three maps together, because these share transforms."""

    def chosen(size, samples, channels, features, dtype="float32", kernel=4):
        geometry = Geometry.resolve(size, (kernel,) * len(size), 2 if kernel == 4 else 1, "SAME", dtype)
        found = [lowering_cpu.choose(name, geometry, samples, channels, features)[1] for name in ("C", "Cx", "Cw")]
        kinds = {type(scheme) for scheme in found}
        return kinds.pop() if kinds != {Minimal} else {scheme.tile for scheme in found}

    assert chosen((256, 256), 16, 1, 32) == chosen((256, 256), 8, 3, 16, kernel=3) == Columns
    assert chosen((64, 64), 32, 32, 3, kernel=3) == chosen((32, 32, 32), 8, 16, 1, kernel=3) == Spread
    assert chosen((128, 128), 16, 32, 64) == {(4, 4)}
    assert chosen((64, 64, 64), 8, 32, 64) == {(4, 4, 4)}
    assert chosen((128, 128), 16, 32, 64, "bfloat16") == {(4, 4)}


def test_a_symbolic_batch_is_reckoned_with():
    """`jax.export` for any number of samples: an estimate must be a number."""
    (batch,) = jax.export.symbolic_shape("n")
    geometry = Geometry.resolve((28, 28), (4, 4), 2, "SAME", "float32")
    assert lowering_cpu.choose("C", geometry, batch, 1, 32)[1].taps == (2, 2)


@pytest.mark.parametrize("case", [CASES[0], CASES[4], CASES[10]], ids=str)
def test_derivatives_up_to_third_order(case):
    """A scalar that needs three derivatives of the maps: the gradient of a gradient penalty's gradient."""
    geometry, x, w, _ = draw(case, seed=2, samples=1)
    v = jnp.asarray(np.random.default_rng(3).normal(size=x.shape))

    def third(convolve):
        def score(x, w):
            return jnp.sum(jnp.tanh(0.2 * convolve(x, w)) ** 2)

        def penalty(x, w):
            return jnp.sum(jax.grad(score)(x, w) ** 2)

        def slope(x, w):
            return jnp.vdot(jax.grad(penalty)(x, w), v)

        return quickly(lambda x, w: [jax.grad(f, (0, 1))(x, w) for f in (score, penalty, slope)])(x, w)

    got = third(lambda x, w: conv(x, w, stride=geometry.stride, padding=geometry.padding))
    expected = third(lambda x, w: reference(geometry, x, w))
    jax.tree.map(lambda a, b: close(a, b, 1e-9), got, expected)


def test_each_map_differentiates_into_the_other_two():
    geometry, x, w, g = draw(CASES[4], seed=4)
    options = {"stride": geometry.stride, "padding": geometry.padding}
    maps = {
        "C": lambda x, w: conv(x, w, **options),
        "Cx": lambda g, w: conv_transpose(g, w, output_shape=geometry.size, **options),
        "Cw": lambda x, g: conv_weight_adjoint(x, g, kernel_shape=geometry.kernel, **options),
    }
    for name, (a, b) in pairs(x, w, g).items():

        def both(a, b, name=name):
            y, pull = jax.vjp(maps[name], a, b)
            z, pull_native = jax.vjp(lambda a, b: lowering_native.MAPS[name](geometry, a, b), a, b)
            cotangent = jnp.cos(jnp.arange(y.size)).reshape(y.shape)
            return (y, *pull(cotangent)), (z, *pull_native(cotangent))

        jax.tree.map(close, *quickly(both)(a, b))


def test_plain_lowering_uses_jax_derivatives():
    geometry, x, w, g = draw(CASES[4])

    def maps():
        y, pull = jax.vjp(lambda x, w: conv(x, w, stride=2), x, w)
        return (y, *pull(g), conv_transpose(g, w, stride=2, padding="SAME", output_shape=geometry.size))

    with lowering("plain"):
        plain = maps()
        text = str(jax.make_jaxpr(lambda x, w: conv(x, w, stride=2))(x, w))
    assert "conv_general_dilated" in text and "custom_vjp" not in text
    jax.tree.map(close, plain, quickly(maps)())
    with pytest.raises(ValueError, match="lowering"), lowering("fast"):
        pass


@pytest.mark.parametrize("case", [CASES[4], CASES[5], CASES[11]], ids=str)
def test_bfloat16_operands_accumulate_in_float32(case):
    """One rounding of the operands and one of the result; minimal filters round differences too."""
    geometry, x, w, g = draw(case, seed=5)
    options = {"stride": geometry.stride, "padding": geometry.padding}
    low_x, low_w = x.astype(jnp.bfloat16), w.astype(jnp.bfloat16)

    @quickly
    def compute(x, w):
        return conv(x, w, **options), conv(
            x.astype(jnp.float32), w.astype(jnp.float32), matmul_dtype=jnp.bfloat16, **options
        )

    y, rounded = compute(low_x, low_w)
    assert y.dtype == jnp.bfloat16
    exact = reference(geometry, low_x.astype(float), low_w.astype(float))
    scale = float(jnp.std(exact))
    assert float(jnp.abs(y.astype(float) - exact).max()) < 0.06 * scale
    assert rounded.dtype == jnp.float32
    assert float(jnp.sqrt(jnp.mean((rounded.astype(float) - exact) ** 2))) < 0.02 * scale
    low_g = g.astype(jnp.bfloat16)
    dx = jax.eval_shape(jax.grad(lambda x: jnp.vdot(conv(x, low_w, **options), low_g)), low_x)
    assert dx.dtype == jnp.bfloat16


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_accelerators_round_operands_and_the_result_once(case, dtype):
    """Each map as it is asked of a GPU and of a TPU, against float64 on operands rounded before.

    (8, 8) to (4, 4) among the cases is the weight adjoint that a GPU is given with zeros appended.
    """
    geometry, *operands = draw(case, seed=12)
    geometry = geometry._replace(matmul_dtype=jnp.dtype(dtype))
    operands = [a.astype(dtype) for a in operands]
    for name, (a, b) in pairs(*operands).items():
        exact = lowering_native.MAPS[name](geometry, a.astype(float), b.astype(float))
        for_gpu = quickly(partial(lowering_native.compute_gpu, name, geometry))(a, b)
        for_tpu = quickly(partial(lowering_native.compute_tpu, name, geometry))(a, b)
        assert (for_gpu.dtype, for_tpu.dtype) == (jnp.dtype(dtype), jnp.float32)
        sums = 1e-5 * jnp.abs(exact).max()  # What float32 sums may lose; bfloat16 ones would lose a hundred times that.
        assert (jnp.abs(for_tpu - exact) <= sums).all()
        assert (jnp.abs(for_gpu.astype(float) - exact) <= sums + float(jnp.finfo(dtype).eps) / 2 * jnp.abs(exact)).all()


def test_float32_error_stays_near_rounding():
    geometry, x, w, _ = draw(((16, 16), (4, 4), 2, "SAME", 32, 32), seed=6)
    exact = reference(geometry, x, w)
    y = quickly(lambda x, w: conv(x, w, stride=2))(x.astype(jnp.float32), w.astype(jnp.float32))
    assert float(jnp.abs(y - exact).max()) < 2e-6 * float(jnp.abs(exact).max())


def test_inside_scan_pmap_and_vmap():
    geometry, x, w, g = draw(CASES[4])

    def gradient(x):
        return jax.grad(lambda w: jnp.vdot(conv(x, w, stride=2), g))(w)

    expected = lowering_native.weight_adjoint(geometry, x, g)
    _, scanned = jax.jit(lambda x: lax.scan(lambda c, x: (c, gradient(x)), 0, x[None]))(x)
    close(scanned[0], expected)
    close(jax.pmap(gradient)(x[None])[0], expected)
    close(jax.vmap(gradient)(x[None])[0], expected)


def test_linear_in_each_operand():
    _, x, w, _ = draw(CASES[6])
    _, u, v, _ = draw(CASES[6], seed=7)
    f = quickly(conv)
    close(f(2 * x - u, w), 2 * f(x, w) - f(u, w))
    close(f(x, w + 3 * v), f(x, w) + 3 * f(x, v))


@pytest.mark.parametrize(
    "options, word",
    [
        ({"stride": 0}, "stride"),
        ({"stride": (2, 2, 2)}, "stride"),
        ({"padding": "same"}, "padding"),
        ({"padding": ((1, 1),)}, "padding"),
    ],
)
def test_wrong_arguments_are_named(options, word):
    _, x, w, _ = draw(CASES[6])
    with pytest.raises(ValueError, match=word):
        conv(x, w, **options)
    with pytest.raises(ValueError, match="spatial shape"):
        conv_transpose(x, w.swapaxes(2, 3), stride=2, padding="SAME", output_shape=(3, 3))


def penalised_critic_step(w, real, fake):
    """Critic loss with gradient penalty and its gradient, on three strided convolutions."""

    def critic(w, x):
        for kernel in w:
            x = jax.nn.leaky_relu(conv(x, kernel, stride=2), 0.2)
        return x.sum(axis=(1, 2, 3))

    def loss(w):
        slope = jax.grad(lambda x: critic(w, x).sum())((real + fake) / 2)
        penalty = (jnp.sqrt(jnp.sum(slope**2, axis=(1, 2, 3)) + 1e-12) - 1) ** 2
        return jnp.mean(critic(w, fake) - critic(w, real) + 10 * penalty)

    return jax.grad(loss)(w)


def lowered(platform, dtype="float32"):
    w = [jax.ShapeDtypeStruct((4, 4, a, b), dtype) for a, b in ((1, 8), (8, 16), (16, 16))]
    x = jax.ShapeDtypeStruct((2, 16, 16, 1), dtype)
    with jax.enable_x64(False):
        text = jax.jit(penalised_critic_step).trace(w, x, x).lower(lowering_platforms=(platform,)).as_text()
    return re.findall(r"stablehlo\.convolution.*", text), text


def product_operands(f, *operands):
    """The dtypes of the operands of the matrix products in the program compiled for this CPU."""
    text = jax.jit(f).lower(*operands).compile().as_text()
    dtypes = dict(re.findall(r"%([\w.\-]+) = (\w+)\[", text))
    products = re.findall(r" dot\(%([\w.\-]+), %([\w.\-]+)\)", text)
    return {dtypes[name] for names in products for name in names}


@pytest.mark.parametrize(
    ("kernel", "stride", "channels", "features", "kind"),
    [(4, 2, 32, 32, Minimal), (3, 1, 3, 32, Columns), (3, 1, 32, 3, Spread)],
)
def test_cpu_multiplies_what_is_rounded_to_bfloat16_as_such(kernel, stride, channels, features, kind):
    """XLA widens the operands of a product that it sees transposed, as the weight adjoint has one: no map may be slower
    here than a plain product is."""
    geometry = Geometry.resolve((16, 16), (kernel, kernel), stride, "SAME", "bfloat16")
    shapes = (16, 16, 16, channels), (kernel, kernel, channels, features), (16, *geometry.output, features)
    x, w, g = (jax.ShapeDtypeStruct(shape, "float32") for shape in shapes)
    matrix = jax.ShapeDtypeStruct((256, 256), "bfloat16")
    plain = product_operands(partial(jnp.dot, preferred_element_type=jnp.float32), matrix, matrix)
    assert len(plain) == 1
    for name, operands in pairs(x, w, g).items():
        assert isinstance(lowering_cpu.choose(name, geometry, 16, channels, features)[1], kind)
        assert product_operands(partial(lowering_cpu.MAPS[name], geometry), *operands) == plain, name


def test_cpu_program_has_no_convolution_left():
    convolutions, text = lowered("cpu")
    assert not convolutions
    assert "stablehlo.dot_general" in text
    _, x, w, _ = draw(CASES[0])
    assert "conditional" not in quickly(lambda x, w: conv(x, w, stride=2)).lower(x, w).compile().as_text()


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_accelerator_program_has_only_the_three_canonical_forms(platform):
    """Never both operands dilated, and a weight gradient never reads zero-dilated images."""
    convolutions, _ = lowered(platform)
    forms = {"forward": 0, "input adjoint": 0, "weight adjoint": 0}
    for line in convolutions:
        stride, images, kernel = (
            tuple(map(int, m[1].split(","))) if (m := re.search(rf"{key} = \[([\d, ]+)\]", line)) else (1, 1)
            for key in ("stride", "lhs_dilate", "rhs_dilate")
        )
        sums_samples = "[f, 0, 1, b]" in line
        form = {
            (True, False, False): "forward",
            (False, True, False): "input adjoint",
            (False, False, True): "weight adjoint",
        }[stride != (1, 1), images != (1, 1), kernel != (1, 1)]
        assert sums_samples == (form == "weight adjoint"), line
        forms[form] += 1
    assert all(forms.values()), forms


@pytest.mark.parametrize(("platform", "result"), [("cuda", "bf16"), ("rocm", "bf16"), ("tpu", "f32")])
def test_no_bfloat16_operand_is_widened(platform, result):
    """cuDNN is asked for results in the operands' dtype: see `lowering_native`."""
    convolutions, _ = lowered(platform, "bfloat16")
    assert convolutions
    for line in convolutions:
        types = re.search(r": \(tensor<[\dx]+x(\w+)>, tensor<[\dx]+x(\w+)>\) -> tensor<[\dx]+x(\w+)>", line)
        assert types.groups() == ("bf16", "bf16", result)
