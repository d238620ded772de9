"""The quality table: rows are read, run within a budget and judged; results become a table and a picture."""

import contextlib
import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from jaxgan.benchmark import quality, quality_row
from jaxgan.benchmark.torch_baseline import TorchWorkload
from jaxgan.config import Config
from jaxgan.data.dataset import from_arrays
from jaxgan.errors import InputError
from jaxgan.evaluation.sources import generator_source
from jaxgan.training.stop_signal import Interrupted, StopSignal

TINY = {
    "data": {"size": 8},
    "generator": {"widths": (4, 4), "latent_dim": 4},
    "critic": {"widths": (4, 4)},
    "train": {"batch_size": 8},
}


@pytest.fixture(scope="module")
def preset(tmp_path_factory):
    path = tmp_path_factory.mktemp("preset") / "tiny.py"
    path.write_text(f"from jaxgan.config import Config\ndef get_config():\n    return Config.from_dict({TINY!r})\n")
    return path


def test_a_row_is_a_preset_with_overrides_or_a_peer(preset):
    name, peer, config = quality.parse_row(f"slow = {preset} --config.optimizer.lr=0.5", None)
    assert (name, peer, config.optimizer.lr) == ("slow", "", 0.5)
    assert quality.parse_row("theirs = peer:sngan64", config) == ("theirs", "sngan64", config)
    for wrong, before in (("no preset", None), ("x = peer:sngan64", None), ("= y.py", None)):
        with pytest.raises(InputError, match="--row"):
            quality.parse_row(wrong, before)


@pytest.mark.slow
def test_rows_run_within_their_budget_and_are_not_run_again(preset, tmp_path, capsys):
    """Row b ends where its rate reaches 0, row a with the budget, also when a signal came between. Only what is
    missing is made again."""
    rng = np.random.default_rng(0)
    data = tmp_path / "set.npz"
    np.savez(data, **{f"{split}_images": rng.integers(0, 255, (40, 8, 8), np.uint8) for split in ("train", "test")})
    flags = ["--data", str(data), "--output", str(tmp_path / "out"), "--seeds", "1", "--processor_seconds", "20"]
    flags += ["--num_samples", "40", "--metrics", "swd,histogram", "--row", f"a = {preset}"]
    flags += ["--row", f"b = {preset} --config.optimizer.schedule=linear --config.train.iterations=3"]
    folder = tmp_path / "out" / "a" / "seed1"
    table = subprocess.Popen([sys.executable, "-m", "jaxgan.benchmark.quality", *flags], stderr=subprocess.PIPE)
    while quality_row.spent(folder / quality_row.SPENT) < 10:
        assert table.poll() is None
        time.sleep(0.1)
    table.terminate()
    said = table.communicate(timeout=120)[1].decode()
    assert table.returncode == 1 and "the same command goes on" in said
    assert list((folder / "run" / "checkpoints").glob("[0-9]*")), "the row has saved before the table ends"
    first_part = quality_row.spent(folder / quality_row.SPENT)
    assert 10 <= first_part < 20
    assert quality.main(flags) == 0
    assert 20 <= quality_row.spent(folder / quality_row.SPENT) < 20 + first_part
    of_b = tmp_path / "out" / "b" / "seed1" / quality_row.RESULT
    first = json.loads(of_b.read_text())
    assert first["facts"]["step"] == 3
    of_b.unlink()
    before = (folder / quality_row.RESULT).stat().st_mtime_ns
    capsys.readouterr()
    assert quality.main(flags) == 0
    assert (folder / quality_row.RESULT).stat().st_mtime_ns == before
    assert json.loads(of_b.read_text())["values"] == first["values"]
    printed = capsys.readouterr().out
    assert "| a | 1 |" in printed and "| b | 1 | 3 |" in printed and "swd" in printed
    assert Image.open(tmp_path / "out" / "grids.png").size[0] > 6 * 8
    with pytest.raises(InputError, match="/nope: no such file or folder"):
        quality.main(["--data", "/nope", "--output", str(tmp_path / "none"), "--row", f"a = {preset}"])
    assert not (tmp_path / "none").exists()
    with pytest.raises(InputError, match="another row"):
        quality.main([*flags, "--train_split", "test"])


def test_a_killed_attempt_has_used_its_share_of_the_budget(tmp_path, monkeypatch):
    """What is spent is written down meanwhile; an account of earlier attempts goes on; the end comes as SIGTERM."""
    account = tmp_path / "spent.json"
    account.write_text('{"seconds": 100.0}')
    monkeypatch.setattr(quality_row, "_ACCOUNT_EVERY", 0.0)
    clock = iter(range(1, 1000))
    before, seen = signal.getsignal(signal.SIGTERM), []
    with pytest.raises(Interrupted), quality_row.ended_after(110.0, account, lambda: float(next(clock))):
        while True:  # What takes no heed of signals.
            seen.append(quality_row.spent(account))
            time.sleep(0.05)
    assert 100 < max(seen) <= 112, "written before the end of the block"
    assert quality_row.spent(account) >= 110 and signal.getsignal(signal.SIGTERM) == before


def test_a_stop_that_is_lost_comes_again_and_one_that_is_noted_does_not(tmp_path, monkeypatch):
    """Python ignores exceptions in callbacks of its garbage collector, also the signal's; a run of its own notes it."""
    monkeypatch.setattr(quality_row, "_AGAIN_AFTER", 0.3)
    lost = 0
    with pytest.raises(Interrupted), quality_row.ended_after(0.0, tmp_path / "spent.json", time.monotonic):
        while True:
            try:
                time.sleep(5)
            except Interrupted:
                lost += 1
                if lost == 3:
                    raise
    with quality_row.ended_after(0.0, tmp_path / "spent.json", time.monotonic), StopSignal() as stop:
        stop.begin()
        time.sleep(1.5)  # A second signal would raise here.
        assert stop.seen
    with pytest.raises(Interrupted), quality_row.ended_after(1e9, tmp_path / "spent.json", time.monotonic):
        with contextlib.suppress(Interrupted):
            signal.raise_signal(signal.SIGTERM)  # Somebody else's.
        time.sleep(5)


def test_a_budget_is_of_the_processor_or_of_the_wall(preset, tmp_path, monkeypatch, capsys):
    """On an accelerator the host may wait for as long as it likes: a sleeping process spends its budget on the wall."""
    data = tmp_path / "set.npz"
    images = np.zeros((40, 8, 8), np.uint8)
    np.savez(data, train_images=images, test_images=images)
    monkeypatch.setattr(quality.subprocess, "Popen", lambda *_, **__: pytest.fail("a row was run"))
    arguments = ["--data", str(data), "--row", f"a = {preset}", "--seeds", "1", "--metrics", "swd"]
    for flag, budget in (("--processor_seconds", 7.0), ("--seconds", 3.0)):
        with pytest.raises(pytest.fail.Exception):
            quality.main([*arguments, "--output", str(tmp_path / flag), flag, str(budget)])
        row = json.loads((tmp_path / flag / "a" / "seed1" / "row.json").read_text())
        assert (row["budget"], row.get("clock")) == (budget, "wall" if flag == "--seconds" else None)
    with pytest.raises(SystemExit) as caught:
        quality.main([*arguments, "--output", str(tmp_path / "both"), "--seconds", "1", "--processor_seconds", "1"])
    assert caught.value.code == 2 and "not allowed with" in capsys.readouterr().err
    before = {name: clock() for name, clock in quality_row.CLOCKS.items()}
    time.sleep(0.5)
    spent = {name: clock() - before[name] for name, clock in quality_row.CLOCKS.items()}
    assert spent["wall"] >= 0.5 > spent["processor"]


def test_the_judge_prefers_samples_of_the_same_kind():
    rng = np.random.default_rng(1)
    kind = lambda n: rng.integers(0, 40, (n, 16, 16, 1), np.uint8)  # noqa: E731
    held_out, trained_on = from_arrays("test", kind(64)), from_arrays("train", kind(64))
    good = np.asarray(held_out.scaling.decode(kind(64)))
    values = {
        name: quality_row.judge(samples, None, held_out, trained_on, ("swd", "histogram"))
        for name, samples in (("good", good), ("bad", -good))
    }
    assert values["good"]["swd"] < values["bad"]["swd"] and values["good"]["histogram"] < values["bad"]["histogram"]


def test_a_table_has_means_spreads_and_gaps():
    def one(seed, **values):
        return {"seed": seed, "values": values, "facts": {"step": 10}}

    table = quality.markdown({"a": [one("0", swd=1.0), one("1", swd=3.0)], "b": [one("0", swd=5.0, fd=2.0)]})
    assert "| a | 2 | 10 | 2 ± 1 | - |" in table and "| b | 1 | 10 | 5 | 2 |" in table


def test_configs_of_rows_are_read_back(preset):
    config = quality.parse_row(f"a = {preset}", None)[2]
    assert Config.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize("count", [40, 256, 600])
def test_every_sample_is_judged_once_with_its_own_label(count):
    """An evaluator takes samples chunk by chunk; judging the first chunk again and again would look much the same."""
    samples = np.linspace(-1, 1, count, dtype=np.float32)[:, None, None, None] * np.ones((1, 4, 4, 1), np.float32)
    labels = np.arange(count) % 3
    source = generator_source(quality_row.in_order(samples), count, samples.shape[1:], 0, labels)
    images, classes = (np.concatenate(parts) for parts in zip(*source.batches(), strict=True))
    np.testing.assert_array_equal(images, samples)
    np.testing.assert_array_equal(classes, labels)


def test_peers_see_new_reals_in_every_update_turned_one_by_one():
    torch = pytest.importorskip("torch")
    from jaxgan.benchmark import quality_peers

    ramp = np.linspace(-1, 1, 64 * 64, dtype=np.float32).reshape(1, 1, 64, 64)
    reals = torch.from_numpy(np.repeat(ramp, 8, axis=0))
    batch = next(quality_peers._batches(reals, 64)).numpy()
    assert len({image.tobytes() for image in batch}) == 8, "every symmetry of a square"
    digits = torch.rand(40, 1, 28, 28)
    known = {image.numpy().tobytes() for image in digits}
    assert all(image.numpy().tobytes() in known for image in next(quality_peers._batches(digits, 64)))
    step, _, _ = quality_peers._dcgan_gp(digits, 0)
    shown = []
    update = TorchWorkload.critic_update
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            TorchWorkload, "critic_update", lambda self, real, draws: shown.append(real) or update(self, real, draws)
        )
        step()
    assert len({real.numpy().tobytes() for real in shown}) == len(shown) >= 5


def test_a_peer_is_sampled_where_its_generator_is():
    """Latents on its device, and what it makes on the host before it becomes an array."""
    torch = pytest.importorskip("torch")
    from types import SimpleNamespace

    from jaxgan.benchmark import quality_peers

    class Elsewhere(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros((), device="meta"))

        def forward(self, z):
            assert z.device.type == "meta" and not self.training
            picture = torch.zeros(len(z), 1, 8, 8)
            return SimpleNamespace(clamp=lambda *_: SimpleNamespace(cpu=lambda: picture))

    assert quality_peers._sample(Elsewhere(), 4, 60).shape == (60, 8, 8, 1)
