"""The benchmark: its report has the promised form, counts work rightly, and needs the core alone."""

import dataclasses
import json
import subprocess
import sys
from argparse import Namespace
from functools import partial
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxgan.benchmark import maps, workload
from jaxgan.benchmark.products import products, total_flops
from jaxgan.commands import benchmark as run
from jaxgan.config import Config
from jaxgan.errors import InputError
from jaxgan.gan.build import build_gan
from jaxgan.gan.step import critic_update, generator_update
from jaxgan.models import build_critic
from jaxgan.ops.conv import lowering
from jaxgan.ops.schemes import Minimal

ROOT = Path(__file__).parents[2]
TINY = {
    "data": {"size": 8, "labelled": True},
    "generator": {"latent_dim": 5, "widths": [6, 4]},
    "critic": {"widths": [4, 6], "conditioning": "projection", "norm": "layer"},
    "objective": {"loss": "wgan", "n_critic": 2},
    "train": {"batch_size": 4},
}


@pytest.fixture
def preset(tmp_path):
    path = tmp_path / "tiny.py"
    path.write_text(f"from jaxgan.config import Config\ndef get_config():\n    return Config.from_dict({TINY!r})\n")
    return str(path)


def arguments(preset, **changes):
    values = {"config": preset, "batch_size": None, "precision": "float32", "devices": "1", "compare": None}
    values |= {"seconds": 0.1, "output": None, "overwrite": False, "target": None}
    return Namespace(**{**values, **changes})


def test_the_report_has_the_promised_form(preset, tmp_path, capsys):
    output = tmp_path / "report.json"
    run.benchmark(arguments(preset, devices="1,2", compare="plain", output=str(output)))
    report = json.loads(output.read_text())
    assert report.keys() == {"device", "versions", "peak_flops", "rows"}
    one, two = report["rows"]
    assert (one["preset"], one["precision"], one["batch_size"], one["devices"]) == ("tiny", "float32", 4, 1)
    assert (two["batch_size"], two["devices"]) == (8, 2)
    for row in report["rows"]:
        seconds = row["seconds_per_iteration"]
        assert 0 < seconds["min"] <= seconds["median"] <= seconds["max"]
        np.testing.assert_allclose(row["images_per_second"], 2 * row["batch_size"] / seconds["median"])
        assert row["flops_per_iteration"] > 0 and row["peak_memory_bytes"] > 0 and row["compile_seconds"] > 0
        assert 0 <= row["host_idle_share"] <= 1 and row["peak_share"] > 0
    plain = one["compare"]["plain"]
    np.testing.assert_allclose(
        plain["ratio"], plain["seconds_per_iteration"]["median"] / one["seconds_per_iteration"]["median"]
    )
    assert "tiny" in capsys.readouterr().out


def test_work_is_counted_as_by_hand():
    """A convolution has 2 * outputs * taps * inputs * features operations; work is linear in the batch."""
    config = Config.from_dict(TINY)
    double = dataclasses.replace(config, train=dataclasses.replace(config.train, batch_size=8))
    flops, moved = workload.work(config)
    flops2, _ = workload.work(double)
    assert moved > 0 and 1.8 < flops2 / flops < 2.05
    # Without padding a kernel of 4 at stride 2 would meet 16 pixels everywhere: an upper bound on one forward pass.
    layers = [(4, 1, 4), (2, 4, 6)]
    forward = sum(2 * 4 * side**2 * 16 * a * b for side, a, b in layers)
    # Critic: reals and fakes forward and weight gradients, penalty forward, backward and its own backward: at least 8.
    assert flops > config.objective.n_critic * 8 * 0.5 * forward


def test_attention_is_counted_whole():
    """On a CPU it is a loop over queries, whose body XLA counts once."""
    values = {**TINY, "data": {"size": 32}, "train": {"batch_size": 2}}
    networks = {"generator": {"network": "resnet", "widths": [4, 4]}, "critic": {"network": "resnet", "widths": [4, 4]}}
    flops, counted = [], []
    for attention in ([], [16]):
        of = {name: settings | {"attention": attention} for name, settings in networks.items()}
        config = Config.from_dict({**values, **of})
        flops.append(workload.work(config)[0])
        gan, state = build_gan(config, 0)
        real = jax.ShapeDtypeStruct((2, 32, 32, 1), np.float32)
        counted.append(0)
        for update, times in ((critic_update, gan.n_critic), (generator_update, 1)):
            with lowering("plain"):
                traced = jax.jit(partial(update, gan)).trace(state, real, None)
            counted[-1] += times * total_flops(list(products(traced.jaxpr.jaxpr)))
    # Products by arithmetic are fewer than all operations.
    assert flops[1] - flops[0] >= 0.95 * (counted[1] - counted[0]) > 0


def test_presets_whose_iterations_differ_are_refused():
    with pytest.raises(InputError, match="has a penalty at every 16th critic update"):
        run.benchmark(arguments("panda256:small_r1"))


def test_a_loss_that_is_not_timed_is_refused(monkeypatch):
    changed = Config.from_dict({**TINY, "objective": {**TINY.get("objective", {}), "perceptual_weight": 1.0}})
    monkeypatch.setattr(run, "load_config", lambda _: changed)
    with pytest.raises(InputError, match="mnist: has a perceptual loss"):
        run.benchmark(arguments("mnist"))


def test_a_run_changes_the_state_and_counts_its_iterations():
    ours = workload.Workload(Config.from_dict(TINY), 1, 3)
    before = jax.tree.map(np.asarray, ours._state)
    ours.run()
    after = jax.tree.map(np.asarray, ours._state)
    assert int(after.step) == int(before.step) + 3
    assert any(
        np.any(a != b) for a, b in zip(jax.tree.leaves(after.critic), jax.tree.leaves(before.critic), strict=True)
    )


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"config": "configs/none.py"}, "no such file"),
        ({"precision": "float16"}, "--precision 'float16'"),
        ({"compare": "numpy"}, "--compare 'numpy'"),
        ({"devices": "64"}, "has 4 device"),
        ({"devices": "two"}, "--devices 'two'"),
        ({"compare": "plain,noinput", "devices": "2"}, "--compare plain is timed on one device, not with --devices 2"),
        ({"output": "/nowhere/report.json"}, "--output"),
    ],
)
def test_wrong_arguments_are_one_line(preset, changes, part):
    with pytest.raises(InputError, match=part):
        run.benchmark(arguments(preset, **changes))


def test_a_report_in_the_way_is_refused_before_the_work(preset, tmp_path, monkeypatch):
    output = tmp_path / "report.json"
    output.write_text("precious")
    monkeypatch.setattr(run, "_row", lambda *_: pytest.fail("worked before it looked"))
    for target in ([], ["--target", "h100"]):
        with pytest.raises(InputError, match="--output .*report.json exists: give another file, or --overwrite"):
            run.main(["--config", preset, "--output", str(output), *target])
    assert output.read_text() == "precious"


def test_a_row_is_kept_when_a_later_one_fails(preset, tmp_path, monkeypatch):
    output = tmp_path / "report.json"
    output.write_text("{}")
    rows = iter([{"preset": "tiny"}])
    monkeypatch.setattr(run, "_row", lambda *_: next(rows))
    monkeypatch.setattr(run, "_line", str)
    monkeypatch.setattr(run, "matrix_peak", lambda _: 1.0)
    with pytest.raises(StopIteration):
        run.benchmark(arguments(preset, devices="1,2", output=str(output), overwrite=True))
    assert json.loads(output.read_text())["rows"] == [{"preset": "tiny"}]


def test_missing_pytorch_is_one_line(preset, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(InputError, match="PyTorch is not installed"):
        run.benchmark(arguments(preset, compare="torch"))


def test_the_core_is_enough():
    """A bare accelerator image has jax, flax, optax and numpy."""
    code = (
        "import sys\n"
        "from jaxgan.commands import benchmark as run\n"
        f"run.load_config({str(ROOT / 'configs' / 'mnist.py')!r})\n"
        "heavy = {'orbax.checkpoint', 'tensorflow_datasets', 'grain', 'ml_collections', 'matplotlib', 'tifffile',"
        " 'PIL', 'tensorboardX', 'torch', 'tqdm'} & sys.modules.keys()\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


@pytest.mark.parametrize(("network", "samples"), [("critic", 4), ("generator", 2)])
def test_maps_are_timed_under_each_scheme(network, samples, preset, capsys, monkeypatch):
    monkeypatch.setattr(maps, "REPEATS", 1)
    maps.main([preset, "--batch_size", "2", "--network", network])
    layers = capsys.readouterr().out.split(f"\n{samples} x ")
    assert len(layers) == len(TINY[network]["widths"])
    for layer in layers:
        _, *lines = layer.splitlines()
        assert layer.count("*") == 3, "one scheme for each map"
        found = {line.strip()[: line.strip().index("  ")] for line in lines}
        assert {"columns of 1", "spread of 2", "tiles of 2x2", "tiles of 4x4"} <= found


def test_the_layers_of_residual_critics_are_those_that_have_weights():
    critic = {"network": "resnet", "widths": [4, 6], "attention": [4], "minibatch_std": 2}
    config = Config.from_dict({"data": {"size": 8}, "critic": critic})
    found = maps.layers(config, 3)
    weights = jax.eval_shape(
        build_critic(config, 0).init, jax.random.key(0), jax.ShapeDtypeStruct((6, *config.data.shape), "float32")
    )["params"]
    kernels = [leaf.shape for leaf in jax.tree.leaves(weights) if leaf.ndim == 4]
    assert sorted(widths for _, _, *widths in found) == sorted([*shape[-2:]] for shape in kernels)
    assert {samples for _, samples, _, _ in found} == {6}
    assert {(g.kernel[0], g.stride[0]) for g, *_ in found} == {(3, 1), (4, 2), (1, 1)}
    tiles = {scheme.tile for g, *_ in found for scheme in maps.schemes(g) if isinstance(scheme, Minimal)}
    assert tiles == {(2, 2), (3, 3), (4, 4)}


def test_what_takes_minutes_is_run_once():
    class Contender:
        iterations = 1

        def __init__(self, seconds):
            self.seconds, self.runs = seconds, 0

        def run(self):
            self.runs += 1
            return self.seconds, 0.5

    contenders = {"jaxgan": Contender(1.0), "plain": Contender(200.0)}
    times, idle = run._time(contenders, 0.1)
    assert times["plain"] == [200.0]
    assert contenders["plain"].runs == 1
    assert len(times["jaxgan"]) == len(idle) >= 3
    assert run._time({"jaxgan": Contender(200.0)}, 0.1) == ({"jaxgan": [200.0]}, [0.5])
