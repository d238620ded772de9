"""What a machine cannot do is said by whatever would ask it of it, and by nothing else."""

import warnings

import numpy as np
import pytest

from jaxgan.commands import dry_run
from jaxgan.training import machine
from jaxgan.training.machine import warn_of_the_machine
from tests.training.test_preflight import IMAGES, UNLABELLED


@pytest.mark.parametrize(
    ("flags", "doubted"),
    [
        ("flags\t\t: fpu avx512f avx512_vnni", True),
        ("flags\t\t: fpu avx512_bf16 avx512_vnni", False),
        ("flags\t\t: amx_tile amx_bf16", False),
        ("Features\t: fp asimd bf16", False),
    ],
)
def test_a_cpu_that_cannot_multiply_bfloat16_is_named(flags, doubted, tmp_path, monkeypatch, recwarn):
    monkeypatch.setattr(machine, "CPU", tmp_path / "cpuinfo")
    warn_of_the_machine("bfloat16")
    assert not recwarn.list, "what cannot be known is not doubted"
    machine.CPU.write_text(f"processor\t: 0\n{flags}\n")
    warn_of_the_machine("float32")
    assert not recwarn.list
    warn_of_the_machine("bfloat16")
    assert ["no instructions for it" in str(line.message) for line in recwarn.list] == [True] * doubted


@pytest.mark.parametrize("with_data", [False, True])
def test_another_machine_is_not_judged_by_this_one(monkeypatch, tmp_path, with_data):
    monkeypatch.setattr(dry_run, "warn_of_the_machine", lambda _: warnings.warn("no instructions", stacklevel=1))
    monkeypatch.setattr(dry_run, "compile_for", lambda *_: pytest.fail("it was judged before"))
    monkeypatch.setattr(dry_run, "_memory", lambda *_: "")
    np.savez(tmp_path / "set.npz", train_images=IMAGES)
    data = tmp_path / "set.npz" if with_data else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.filterwarnings("error", "no instructions")
        with pytest.raises(UserWarning, match="no instructions"):
            dry_run.describe(UNLABELLED, data)
        with pytest.raises(pytest.fail.Exception):
            dry_run.describe(UNLABELLED, data, target="h100")
