"""Programs compiled for accelerators that are not there: what they hold, and how that is read."""

import dataclasses
import importlib.util
import re
from collections import Counter
from functools import partial

import jax
import jax.numpy as jnp
import pytest

from jaxgan.benchmark import hlo, map_cycles, scaling, targets
from jaxgan.benchmark.compiled import compile_for
from jaxgan.benchmark.products import Product, products, roofline_seconds, total_flops
from jaxgan.benchmark.targets import find_target
from jaxgan.commands import train
from jaxgan.config import Config
from jaxgan.errors import InputError
from jaxgan.gan.build import build_gan
from jaxgan.gan.step import critic_update
from jaxgan.models import build_critic
from jaxgan.ops.conv import conv, lowering
from jaxgan.training.call_length import CallLength


def small(rank=2, precision="bfloat16", **train):
    """Networks whose last layer is 4 pixels wide, where XLA:GPU needs help (`lowering_native._outgrow_kernel`)."""
    return Config.from_dict(
        {
            "data": {"size": 16 if rank == 3 else 32, "spatial_rank": rank},
            "generator": {"latent_dim": 8, "widths": [32, 16] if rank == 3 else [32, 16, 8], "norm": "none"},
            "critic": {"widths": [16, 32] if rank == 3 else [8, 16, 32]},
            "objective": {"loss": "wgan", "penalty": "gp", "n_critic": 3},
            "train": {"batch_size": 8, "precision": precision, **train},
        }
    )


# ---- What needs no compiler ------------------------------------------------------------------------------------------


def forms(found):
    return sum((Counter({product.form: product.times}) for product in found), Counter())


def test_products_are_counted_by_arithmetic():
    """Pixels in the padding are not multiplied; loops count their bodies; what nothing reads is not done."""
    x, w = jnp.zeros((2, 4, 4, 3)), jnp.zeros((4, 4, 3, 5))

    def loop(x, w):
        def body(carry, _):
            return carry + conv(x, w, stride=2).sum() + conv(2 * x, w, stride=2).sum() * 0, None

        unused = conv(3 * x, w, stride=2)
        return jax.lax.scan(body, unused[0, 0, 0, 0] * 0 + (x[0, 0, 0] @ w[0, 0])[0], None, length=7)[0]

    found = list(products(jax.make_jaxpr(loop)(x, w).jaxpr))
    # Of 2 outputs and 4 taps along an axis, 6 pairs lie inside the image.
    one = 2 * 6 * 6 * 2 * 3 * 5
    assert Counter((p.form, p.flops, p.times) for p in found)[("C", one, 7)] == 2
    assert forms(found)["dot"] == 1
    dead = list(products(jax.make_jaxpr(lambda x, w: (conv(x, w, stride=2), x)[1])(x, w).jaxpr))
    assert dead == []


def test_the_count_agrees_with_xla_where_xla_counts_right():
    config, gan = small(precision="float32"), None

    def build():
        nonlocal gan
        gan, state = build_gan(config, platform="gpu")
        return state

    state, real = jax.eval_shape(build), jax.ShapeDtypeStruct((8, *config.data.shape), jnp.float32)
    ours = list(products(jax.make_jaxpr(partial(critic_update, gan))(state, real, None).jaxpr))
    with lowering("plain"):
        theirs = jax.jit(partial(critic_update, gan)).lower(state, real, None).cost_analysis()["flops"]
    # XLA adds what is done to every pixel: a few operations each.
    assert 0.8 * theirs < total_flops(ours) < theirs


def test_the_roofline_takes_operations_or_bytes_whichever_are_slower():
    found = [Product("C", 100, 10, 2), Product("dot", 10, 100, 1)]
    assert roofline_seconds(found, peak=10.0, bandwidth=10.0) == 2 * 10 + 10


def test_a_target_without_a_dry_run_is_refused():
    with pytest.raises(InputError, match="--target h100 .*--dry_run"):
        train.main(["--config", "mnist", "--target", "h100"])


@pytest.mark.parametrize(
    ("name", "way_out"),
    [("h200", "h100, "), ("h100:x", "h100:8"), ("v5e", "v5e:2x2"), ("v5p:2x2", "v5p:2x2x1"), ("v5e:0x2", "v5e:2x2")],
)
def test_wrong_targets_are_refused_with_an_example(name, way_out):
    with pytest.raises(InputError, match=way_out) as error:
        find_target(name)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("name", "extra"), [("h100", "target-gpu"), ("v5e:2x2", "target-tpu")])
def test_a_missing_compiler_is_named_by_its_extra(name, extra, monkeypatch):
    monkeypatch.setattr(targets, "_installed", lambda package: False)
    with pytest.raises(InputError, match=rf"--target {name} .*pip install 'jaxgan\[{extra}\]'"):
        compile_for(find_target(name), small(), 0)


def test_a_batch_is_shared_among_the_targets_devices():
    with pytest.raises(InputError, match="batch_size=8 does not divide by the 3 devices: use 6 or 9"):
        compile_for(find_target("h100:3"), small(), 0)


def test_what_depends_on_the_target_is_not_asked_of_the_host():
    """Activations stay float32 on a CPU alone, where calls are short too."""
    dtypes = {p: build_critic(small(), 0, platform=p).activation_dtype for p in ("cpu", "gpu", "tpu", None)}
    assert dtypes == {"cpu": jnp.float32, "gpu": jnp.bfloat16, "tpu": jnp.bfloat16, None: jnp.float32}
    assert CallLength(platform="tpu").longest > CallLength(platform="cpu").longest == CallLength().longest


def all_reduced(config):
    found = Counter()
    for message in scaling.messages(scaling.trace(config, "gpu")):
        found[message.bytes] += message.times
    return found


@pytest.mark.parametrize(("dtype", "width"), [("float32", 4), ("bfloat16", 2)])
def test_messages_are_gradients_as_often_as_there_are_updates_and_once_metrics(dtype, width):
    found = all_reduced(small(reduce_dtype=dtype))
    check_messages(found, {name: size * width // 4 for name, size in parameter_bytes(small()).items()}, others=2)


def test_statistics_of_an_iterations_critic_updates_travel_together():
    """Batch norm's messages of the fakes are as many for three critic updates as for two: one more is the gradient."""

    def times(n_critic):
        config = Config.from_dict(
            small().to_dict()
            | {"generator": {"latent_dim": 8, "widths": [32, 16, 8], "norm": "batch"}}
            | {"objective": {"loss": "wgan", "penalty": "gp", "n_critic": n_critic}}
        )
        return sum(all_reduced(config).values())

    assert times(3) - times(2) == 1


def test_waiting_is_a_latency_and_twice_the_bytes_round_the_ring():
    found = [scaling.Message(1000, 3), scaling.Message(10, 1)]
    assert scaling.waiting(found, 4, scaling.Links(100.0, 0.5)) == pytest.approx(4 * 0.5 + 1.5 * (3 * 10 + 0.1))


def test_the_table_of_scaling_has_a_column_for_each_number_of_devices(capsys):
    scaling.main(["--config", "mnist", "--target", "v5p"])
    title, rule, line = capsys.readouterr().out.splitlines()
    assert title.count("|") == rule.count("|") == line.count("|") == 9 and line.startswith("| mnist | ")
    assert all(f"waiting at {count}, ms" in title for count in (8, 64, 512))


# ---- Compiled programs -----------------------------------------------------------------------------------------------

gpu = pytest.mark.skipif(
    importlib.util.find_spec("jax_plugins") is None or importlib.util.find_spec("jax_plugins.xla_cuda12") is None,
    reason="no compiler for GPUs: pip install 'jaxgan[target-gpu]'",
)
tpu = pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None, reason="no compiler for TPUs: pip install 'jaxgan[target-tpu]'"
)


@gpu
@pytest.mark.accelerator_compile
@pytest.mark.parametrize(
    ("chip", "rank", "precision"),
    [
        ("h100", 2, "bfloat16"),
        ("h100", 2, "float32"),
        ("h100", 3, "bfloat16"),
        ("h100", 3, "float32"),
        ("a100", 2, "bfloat16"),
    ],
)
def test_every_map_is_the_call_of_cudnn_made_for_it(chip, rank, precision):
    """None is widened to float32, none dilated, and each of the three maps is the kind of call that is its own."""
    compiled = compile_for(find_target(chip), small(rank, precision), 0)
    calls, wanted = hlo.cudnn_calls(compiled.text), forms(compiled.products)
    assert {call.dtype for call in calls} == {"bf16" if precision == "bfloat16" else "f32"}
    assert {call.window for call in calls} == {"strided"}
    # Images keep their channels last; volumes XLA lays out with channels first, whatever the program says.
    layouts = re.findall(r"dim_labels=(\w+?)_\w+->(\w+)", compiled.text)
    assert {side for layout in layouts for side in layout} == {"b01f" if rank == 2 else "bf012"}
    kinds = Counter()
    for call, count in calls.items():
        kinds[call.kind.replace("BiasActivation", "")] += count
    assert kinds == {
        "convForward": wanted["C"], "convBackwardInput": wanted["Cx"], "convBackwardFilter": wanted["Cw"]
    }  # fmt: skip
    assert min(wanted.values()) >= 3
    assert compiled.alias_bytes == compiled.state_bytes, "the state is not updated in place"


@gpu
@pytest.mark.accelerator_compile
def test_devices_meet_once_an_update():
    compiled = compile_for(find_target("h100:2"), small(), 0)
    check_collectives(compiled)


@gpu
@pytest.mark.accelerator_compile
def test_a_compiled_program_sends_what_the_traced_one_does():
    """With synchronised batch norm; a compiler may let small messages ride along with others, but adds no byte."""
    values = small(reduce_dtype="bfloat16").to_dict()
    config = Config.from_dict({**values, "generator": {**values["generator"], "norm": "batch"}})
    found = hlo.collectives(compile_for(find_target("h100:2"), config, 0).text)
    expected = all_reduced(dataclasses.replace(config, train=dataclasses.replace(config.train, batch_size=4)))
    assert sum(size * count for (_, size, _), count in found.items()) == sum(s * n for s, n in expected.items())
    assert 0.5 * sum(expected.values()) < sum(found.values()) <= sum(expected.values())


@tpu
@pytest.mark.accelerator_compile
def test_a_tpu_program_meets_once_an_update_and_updates_in_place():
    compiled = compile_for(find_target("v5e:2x2"), small(), 0)
    check_collectives(compiled)
    assert compiled.alias_bytes >= compiled.state_bytes  # Tiled: padded to whole tiles.
    assert sum(hlo.estimated_cycles(compiled.text).values()) > 0
    state = jax.eval_shape(lambda: build_gan(small())[1])
    kernels = {leaf.shape for net in (state.generator, state.critic) for leaf in jax.tree.leaves(net.params)}
    kernels = {f"f32[{','.join(map(str, shape))}]" for shape in kernels if len(shape) > 1}
    copied = hlo.looped_copies(compiled.text)
    assert not kernels & copied.keys(), copied
    # Were 5.1 MiB, most of it images of one channel, which take a tile of 128.
    assert compiled.temporary_bytes < 8 * 2**20, compiled.temporary_bytes


@tpu
@pytest.mark.accelerator_compile
def test_folded_columns_save_cycles_of_a_whole_iteration(capsys):
    """Of volumes of 32^3, whose first and last layer fold; of images of 32^2, where none does, both are one program."""
    kcycles = {}
    for rank in (2, 3):
        values = small(rank).to_dict()
        config = Config.from_dict({**values, "data": {**values["data"], "size": 32}})
        map_cycles.whole(find_target("v5e:1x1"), config)
        rows = [line.split("|") for line in capsys.readouterr().out.splitlines()]
        kcycles[rank] = {row[1].strip(): float(row[2]) for row in rows[2:]}
    assert kcycles[3]["folded"] < 0.8 * kcycles[3]["plain"]
    assert kcycles[2]["folded"] == kcycles[2]["plain"]


def parameter_bytes(config):
    state = jax.eval_shape(lambda: build_gan(config)[1])
    nets = {"generator": state.generator, "critic": state.critic}
    return {name: 4 * sum(leaf.size for leaf in jax.tree.leaves(net.params)) for name, net in nets.items()}


def check_collectives(compiled):
    """One all-reduce of the gradients an update, and at most one for the metrics, some of which may ride along."""
    found = Counter()
    for (kind, size, _), count in hlo.collectives(compiled.text).items():
        assert kind == "all-reduce"
        found[size] += count
    check_messages(found, parameter_bytes(small()), others=1)


def check_messages(found, sizes, others):
    for name, updates in (("generator", 1), ("critic", 3)):
        carries = [size for size in found if sizes[name] <= size < sizes[name] + 64]
        assert sum(found.pop(size) for size in carries) == updates, (name, sizes, found)
    assert sum(found.values()) <= others and all(size < 64 for size in found), found
