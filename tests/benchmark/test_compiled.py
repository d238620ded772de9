"""What is read from a compiled program and said of it: by hand-made text, and end to end where there is a compiler."""

import json

import jax
import pytest

from jaxgan.benchmark import compiled_table, hlo, targets
from jaxgan.benchmark.compiled import Compiled, as_row, compile_for, report
from jaxgan.benchmark.compiled_table import header, summary
from jaxgan.benchmark.products import Product
from jaxgan.benchmark.targets import CHIPS, find_target
from jaxgan.commands import benchmark, train
from jaxgan.errors import InputError
from tests.benchmark.test_targets import gpu, small, tpu

PROGRAM = """HloModule jit_step, is_scheduled=true

%add (a: f32[], b: f32[]) -> f32[] {
  ROOT %sum = f32[] add(%a, %b)
}

%inside (p: f32[4]) -> f32[4] {
  ROOT %n = f32[4]{0} negate(%p), backend_config={"estimated_cycles":"1000"}
}

%body (arg: (bf16[2,8,8,1], bf16[4,4,1,8])) -> (bf16[2,8,8,1], bf16[4,4,1,8]) {
  %x = bf16[2,8,8,1]{3,2,1,0} get-tuple-element(%arg), index=0
  %w = bf16[4,4,1,8]{3,2,1,0} get-tuple-element(%arg), index=1
  %c.1 = (bf16[2,4,4,8]{3,2,1,0}, u8[0]{0}) custom-call(%x, %w), window={size=4x4 stride=2x2}, custom_call_target="__cudnn$convForward"
  %c.2 = (bf16[4,4,4,8]{3,2,1,0}, u8[0]{0}) custom-call(%x, %w), window={size=4x4 rhs_dilate=2x2}, custom_call_target="__cudnn$convForward"
  %k = bf16[4,4,1,8]{2,3,1,0:T(8,128)} copy(%w)
  %f = f32[4]{0:T(8,128)} fusion(%x), calls=%inside, metadata={op_name="jit(step)/jvp(Critic)/down0/conv"}, backend_config={"estimated_cycles":"30"}
  ROOT %t = (bf16[2,8,8,1]{3,2,1,0}, bf16[4,4,1,8]{3,2,1,0}) tuple(%x, %w)
}

%until (arg: (bf16[2,8,8,1], bf16[4,4,1,8])) -> pred[] {
  %i = s32[] get-tuple-element(%arg), index=0
  %limit = s32[]{:T(128)} constant(5)
  ROOT %less = pred[] compare(%i, %limit), direction=LT
}

ENTRY %main (p: f32[4]) -> f32[4] {
  %loop = (bf16[2,8,8,1]{3,2,1,0}, bf16[4,4,1,8]{3,2,1,0}) while(%init), condition=%until, body=%body, backend_config={"known_trip_count":{"n":"5"}}
  %r = (f32[4]{0}, bf16[3,2]{1,0}) all-reduce(%p, %q), to_apply=%add
  %s = f32[4]{0} all-reduce-start(%p), to_apply=%add
  %u = f32[4]{0} copy(%p)
  %v = f32[4]{0} fusion(%u), calls=%inside, metadata={op_name="jvp(Critic)/jit(leaky_relu)/mul"}, backend_config={"estimated_cycles":"2"}
  %d = f32[4]{0} all-reduce-done(%s)
  %s.1 = f32[2]{0} all-reduce-start(%d), to_apply=%add
  %e.0 = f32[4]{0} copy(%d)
  %d.1 = f32[2]{0} all-reduce-done(f32[2]{0} %s.1)
  ROOT %out = f32[4]{0} fusion(%s), calls=%inside, backend_config={"estimated_cycles":"7"}
}
"""  # noqa: E501


@pytest.mark.parametrize("says_how_often", [True, False])
def test_a_program_is_read_with_its_loops(says_how_often):
    """XLA:GPU notes how often a loop runs; XLA:TPU leaves it to the loop's condition."""
    program = PROGRAM if says_how_often else PROGRAM.replace("known_trip_count", "something_else")
    assert hlo.cudnn_calls(program) == {("convForward", "bf16", "strided"): 5, ("convForward", "bf16", "dilated"): 5}
    assert hlo.estimated_cycles(program) == {"Critic/down0": 150, "other": 7, "Critic/leaky_relu": 2}
    assert hlo.looped_copies(program) == {"bf16[4,4,1,8]": 5}


def test_a_device_waits_for_what_nothing_stands_beside():
    """Whatever the operation is called: between the start and the end of the second there is no work."""
    found = {("all-reduce", 16 + 12, 0): 1, ("all-reduce", 16, 1): 1, ("all-reduce", 8, 0): 1}
    assert hlo.collectives(PROGRAM) == found
    at_once = PROGRAM.replace("all-reduce-start(%p), to_apply=%add", 'all-reduce-start(%p), x={"is_sync":true}')
    assert hlo.collectives(at_once)["all-reduce", 16, 0] == 1


def compiled(name, **changes):
    made = [Product("C", 10**9, 10**6, 3), Product("dot", 10**8, 10**7, 1)]
    text = PROGRAM if name.startswith("h100") else PROGRAM.replace("__cudnn$", "other")
    whole = Compiled(find_target(name), 8, "bfloat16", 12.0, 2**20, 2**22, 2**21, 2**20, made, text)
    return whole._replace(**changes)


def test_a_report_says_what_the_program_holds():
    lines = "\n".join(report(compiled("h100:2")))
    for line in (
        "compiled for h100:2, 2 device(s), bfloat16, batch 8, in 12 s on this machine",
        "memory of one step: 4.0 MiB a device, of which the state is 1.0 MiB and temporaries 2.0 MiB: fits (60756 MiB",
        "work of one iteration: 3.1 GFLOP a device in convolutions and matrix products; bound by peak (989 TFLOP/s):"
        " 0.003 ms, by each product's operations or bytes: 0.006 ms",
        "products of one iteration: 3 C, 1 dot",
        "cuDNN calls of one iteration:\n     5  convForward bf16 dilated\n     5  convForward bf16 strided\n",
        "collectives of one iteration: 3\n     1  all-reduce, 28 bytes each, waited for\n"
        "     1  all-reduce, 16 bytes each, beside 1 operation(s)\n     1  all-reduce, 8 bytes each, waited for",
    ):
        assert line in lines, lines
    lines = "\n".join(report(compiled("v5e:2x2")))
    assert "by layer (a ranking, not times):\n           150   94%  Critic/down0\n             7    4%  other" in lines
    assert "cuDNN" not in lines
    assert report(compiled("h100", text="ENTRY %main (p: f32[4]) -> f32[4] {\n}"))[-1].endswith("iteration: none")


def test_a_report_says_whether_it_fits():
    state, size = 100 * 2**20, int(CHIPS["h100"].memory)
    whole = compiled("h100:2", state_bytes=state, memory_bytes=size)
    assert not whole.fits and "DOES NOT FIT" in "\n".join(report(whole))
    # Three quarters of the memory hold the state and three quarters of the samples, nearly: an even number of them.
    assert whole.largest_batch == 4 and "estimated (were all but the state to grow with it): 4" in "\n".join(
        report(whole)
    )
    assert whole._replace(memory_bytes=size // 2).fits


def test_an_estimated_batch_is_one_that_the_config_takes_and_the_compiler_did_not_refuse():
    free = compiled("v5e:2x2", state_bytes=0, memory_bytes=2**30, temporary_bytes=2**29, unit=24)
    assert free._replace(unit=1).largest_batch == 4 * 31 and free.largest_batch == 5 * 24
    assert free._replace(refused={96: "Used 17G of 15.75G"}).largest_batch == 3 * 24
    on_chip = free._replace(temporary_bytes=2**20)
    assert on_chip.largest_batch is None and "it): not from this one" in "\n".join(report(on_chip))


def test_what_the_compiler_refuses_is_halved_until_it_fits(monkeypatch):
    """As libtpu refuses: a program that is too large is not compiled at all, so nothing else would name a batch."""
    whole = jax.stages.Lowered.compile
    words = (
        "Ran out of memory on HBM, the total memory required (64.00G) exceeds available HBM (15.75G).",
        "XLA:TPU compile permanent error. Ran out of memory in memory space hbm. Used 31.8G of 15.75G hbm.\n\nTotal",
    )
    answers = iter([*words, ""])

    def refuse(lowered):
        if said := next(answers, words[1]):
            raise jax.errors.JaxRuntimeError(f"RESOURCE_EXHAUSTED: {said}")
        return whole(lowered)

    monkeypatch.setattr(jax.stages.Lowered, "compile", refuse)
    monkeypatch.setattr(targets.Target, "devices", lambda self: jax.devices()[: self.count])
    found = compile_for(find_target("h100:2"), small(batch_size=36, accumulate=3), 0)
    assert (found.batch_size, found.unit) == (6, 6) and found.refused.keys() == {36, 18} and not found.fits
    lines = report(found)
    assert lines[0] == f"batch 36 DOES NOT FIT a device of h100:2: {words[0].removesuffix('.')}"
    assert "batch 18 DOES NOT FIT" in lines[1] and lines[1].endswith("31.8G of 15.75G hbm")
    assert ", batch 6, in" in lines[2] and "MiB: fits" in lines[3]
    assert lines[4].endswith(": 12; the largest that was compiled: 6")
    assert "| NO: 36 | 12 |" in summary({"preset": "tiny", "plain": False, **as_row(found)})
    with pytest.raises(InputError, match="batch_size=6, the smallest there is, .*Used 31.8G of 15.75G hbm") as error:
        compile_for(find_target("h100:2"), small(batch_size=12, accumulate=3), 0)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("name", "cells"), [("h100", "| bf16 | 10 | 0 | 0 | 0 | 5 | 2 |"), ("v5e:2x2", "| 0 | 2 |")])
def test_a_row_of_the_table_has_a_cell_for_each_title(name, cells):
    title, rule = header(find_target(name)).splitlines()
    row = summary({"preset": "tiny", "plain": True, **as_row(compiled(name))})
    assert title.count("|") == rule.count("|") == row.count("|")
    assert row.startswith("| tiny (plain) | bfloat16 | 8 " + cells)
    assert dict(zip(title.split(" | "), row.split(" | "), strict=True))["collectives"] == "3"


def test_a_file_keeps_what_a_report_prints():
    row = json.loads(json.dumps(as_row(compiled("h100"))))
    found = {name: row[name] for name in ("state_bytes", "alias_bytes", "largest_batch_estimated", "products")}
    expected = {"state_bytes": 2**20, "alias_bytes": 2**20, "products": {"C": 3, "dot": 1}}
    assert found == expected | {"largest_batch_estimated": compiled("h100").largest_batch}
    assert row["bound_seconds_by_peak"] == 3.1e9 / 989e12 < row["bound_seconds_by_product"]
    assert {"kind": "all-reduce", "bytes": 16, "beside_operations": 1, "count": 1} in row["collectives"]


def test_of_many_presets_one_may_fail_and_no_row_is_lost(tmp_path, monkeypatch, capsys):
    output, kept = tmp_path / "report.json", []

    def compile_or_fail(target, config, num_classes, plain):
        kept.append(len(json.loads(output.read_text())["rows"]) if output.exists() else 0)
        if config.data.size == 256:
            raise InputError("does not fit: give less")
        return compiled("h100")

    monkeypatch.setattr(compiled_table, "compile_for", compile_or_fail)
    monkeypatch.setattr(targets.Target, "devices", lambda self: jax.devices()[:1])
    monkeypatch.setattr(benchmark, "ALL", ("mnist", "cell256", "pathmnist"))
    arguments = ["--target", "h100", "--output", str(output)]
    assert benchmark.main(["--config", "all", *arguments]) == 1
    said = capsys.readouterr()
    assert said.err == "error: --config cell256 --precision float32: does not fit: give less\n"
    assert said.out.count("\n| ") == 2 and kept == [0, 1, 1]
    report = json.loads(output.read_text())
    assert [row["preset"] for row in report["rows"]] == ["mnist", "pathmnist"]
    assert [(row["preset"], row["why"]) for row in report["failed"]] == [("cell256", "does not fit: give less")]
    with pytest.raises(InputError, match="does not fit"):
        benchmark.main(["--config", "cell256", *arguments, "--overwrite"])


@pytest.mark.accelerator_compile
@pytest.mark.parametrize("name", [pytest.param("h100:2", marks=gpu), pytest.param("v5e:2x2", marks=tpu)])
def test_a_dry_run_and_a_row_of_the_benchmark_say_the_same(name, tmp_path, capsys):
    preset, output = tmp_path / "tiny.py", tmp_path / "report.json"
    values = small().to_dict()
    preset.write_text(f"from jaxgan.config import Config\ndef get_config():\n    return Config.from_dict({values!r})\n")
    assert train.main(["--config", str(preset), "--dry_run", "--target", name]) == 0
    lines = capsys.readouterr().out
    count, precision = find_target(name).count, values["train"]["precision"]
    arguments = ["--config", str(preset), "--target", name, "--precision", precision, "--output", str(output)]
    assert benchmark.main([*arguments, "--batch_size", str(8 // count)]) == 0
    title, _, line = capsys.readouterr().out.splitlines()
    assert title.count("|") == line.count("|") and line.startswith("| tiny | bfloat16 | 8 |")
    (row,) = json.loads(output.read_text())["rows"]
    assert row["fits"] and f"batch {row['batch_size']}, in " in lines
    assert f"memory of one step: {row['memory_bytes'] / 2**20:.1f} MiB a device, of which the state is" in lines
    assert f"grow with it): {row['largest_batch_estimated'] or 'not from this one'}" in lines
    assert f"collectives of one iteration: {sum(found['count'] for found in row['collectives'])}\n" in lines
    assert "memory of reals, on top of that" in lines
    for kind, found in (("gpu", row["cudnn_calls"]), ("tpu", row["estimated_cycles"])):
        assert bool(found) == (find_target(name).chip.platform == kind)
