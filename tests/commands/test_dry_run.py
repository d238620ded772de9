"""What `--dry_run` says of memory on the host: the game with all that it looks through, and the reals beside it."""

import re

import jax
import numpy as np
import pytest

from jaxgan.commands import compilation_cache, dry_run, train
from jaxgan.commands.dry_run import describe
from jaxgan.config import Config
from jaxgan.evaluation.networks import vgg


def game(size=8, **objective):
    return Config.from_dict(
        {
            "data": {"size": size},
            "generator": {"latent_dim": 5, "widths": [6, 4]},
            "critic": {"widths": [4, 6]},
            "objective": {"loss": "hinge", "n_critic": 2, **objective},
            "train": {"batch_size": 8},
        }
    )


def memory(config):
    return float(re.search(r"memory of one step: ([\d.]+) MiB", describe(config))[1])


def test_the_perceptual_loss_is_counted_without_its_weights(monkeypatch):
    """Its widest maps alone, 64 channels of the whole image, are kept twice a stage on the way back."""
    monkeypatch.setattr(vgg, "load_vgg16", lambda: pytest.fail("the weights need not be installed"))
    images = 8 // jax.device_count()
    assert memory(game(16, perceptual_weight=1.0)) - memory(game(16)) > 2 * images * 16 * 16 * 64 * 4 / 2**20


def test_memory_is_asked_of_code_that_is_made_quickly(monkeypatch):
    """To the byte the same as of the code that trains: mnist:wgan_gp, cell256:source and mri64:small were compared."""
    compile_, options = jax.stages.Lowered.compile, []
    monkeypatch.setattr(jax.stages.Lowered, "compile", lambda self, *given: options.append(given) or compile_(self))
    describe(game())
    assert options == [({"xla_backend_optimization_level": "0"},)]


def test_a_penalty_that_is_seldom_due_is_said_to_be_counted(monkeypatch):
    monkeypatch.setattr(dry_run, "compile_for", lambda *_: None)
    monkeypatch.setattr(dry_run, "report", lambda _: ["work of one iteration"])
    lines = describe(game(penalty="gp", penalty_interval=4), target="h100").splitlines()
    before = lines[lines.index("work of one iteration") - 2]
    assert before == "what follows is of updates whose penalty is due, as it is at every 4th"
    assert not [line for line in describe(game(penalty="gp"), target="h100").splitlines() if "is due" in line]


def test_programs_for_other_devices_are_not_kept(monkeypatch, capsys):
    """JAX would keep them, fail to read them at the next start, and warn of that."""
    used = []
    monkeypatch.setattr(compilation_cache, "use_compilation_cache", lambda: used.append(True))
    monkeypatch.setattr(dry_run, "describe", lambda *_: "described")
    for flags, expected in ((["--target", "h100"], []), ([], [True])):
        assert train.main(["--config", "mnist", "--dry_run", *flags]) == 0
        assert used == expected and "described" in capsys.readouterr().out


def test_what_reals_add_is_said_of_a_set_and_of_none(tmp_path, monkeypatch):
    """16-bit samples: 40 of them held whole or in parts of four devices, or sent by two calls of 8 iterations."""
    monkeypatch.setattr(dry_run, "_memory", lambda *_: "")
    np.savez(tmp_path / "set.npz", train_images=np.arange(40 * 64 * 64, dtype=np.uint16).reshape(40, 64, 64))
    said = describe(game(64), tmp_path / "set.npz").splitlines()[-1]
    assert "0.3 MiB resident, 0.1 MiB sharded, or 0.5 MiB streamed (two calls of 8 iterations) a device" in said
    said = describe(game(64)).splitlines()[-1]
    assert "at most config.data.resident_budget_gib=2 GiB resident or sharded, or 0.2 MiB streamed" in said
    assert "8 iterations, a byte a value" in said
