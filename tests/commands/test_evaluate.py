"""The command: two folders, a checkpoint; JSON, figures and table; one line for every mistake."""

import csv
import dataclasses
import json
import os
import re
import subprocess
import sys
import types
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import jaxgan
from jaxgan import evaluation
from jaxgan.commands import evaluate as run
from jaxgan.config import Config
from jaxgan.data.dataset import from_arrays
from jaxgan.errors import InputError

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("JAXGAN_CACHE", str(tmp_path / "cache"))


def save(folder, images):
    folder.mkdir(parents=True)
    for number, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{number:03}.png")
    return folder


def pictures(count, side=16):
    return np.random.default_rng().integers(0, 256, (count, side, side), np.uint8)


def flags(**changes):
    defaults = {
        "checkpoint": None, "step": None, "data_dir": None, "num_samples": None, "seed": None, "truncation": None,
        "real": None, "generated": None, "value_range": None, "generated_range": None,
        "metrics": "swd,msssim,spectrum,histogram,nearest", "inception_weights": None, "output": None,
        "overwrite": False, "split": None, "bootstrap": 0, "heldout": None, "card": False, "intended_use": "",
    }  # fmt: skip
    return Namespace(**(defaults | changes))


def test_two_folders_give_json_figures_and_a_table(tmp_path, capsys):
    images = pictures(30)
    real, fake = save(tmp_path / "a", images), save(tmp_path / "b", images[::-1])
    args = flags(real=str(real), generated=str(fake), output=str(tmp_path / "out" / "report.json"))
    _, files = run.evaluate_command(args)
    record = json.loads(files[0].read_text())
    assert record["metrics"]["histogram"]["value"] == 0.0
    assert record["metrics"]["memorisation_pixels"]["value"] == 1.0
    assert record["metrics"]["memorisation_pixels"]["details"]["flagged"] is True
    assert record["metrics"]["swd"]["protocol"]["n_real"] == 30
    assert record["value_range"] == record["generated_range"] == [0.0, 255.0] and record["heldout"] is None
    assert {path.name for path in files[1:]} == set(record["figures"].values())
    assert {"histogram", "spectrum", "nearest_pixels"} == set(record["figures"])
    for path in files[1:]:
        assert Image.open(path).size[0] > 300
    shown = capsys.readouterr().out
    assert "memorisation_pixels" in shown
    assert "copies of training images" in shown
    assert len(shown.splitlines()) < 25
    with pytest.raises(InputError, match="--overwrite"):
        run.evaluate_command(args)


@pytest.mark.parametrize(("conditional", "names", "measured"), [(True, (), 0), (True, ("a",), 1), (False, (), 1)])
def test_a_critic_that_takes_classes_wants_those_of_held_out_images(conditional, names, measured):
    held_out = types.SimpleNamespace(class_names=names)
    task = types.SimpleNamespace(real=held_out, critic=abs, conditional=conditional, heldout=held_out, training=None)
    assert (run._obstacle("critic_membership", task) is None) == measured


def test_held_out_images_and_intervals(tmp_path):
    images = pictures(60)
    real, fake = save(tmp_path / "a", images[:20]), save(tmp_path / "b", images[:20, :, ::-1])
    output = tmp_path / "report.json"
    arguments = ["--real", real, "--generated", fake, "--heldout", save(tmp_path / "c", images[20:40])]
    arguments += ["--metrics", "privacy,spectrum", "--bootstrap", "20", "--output", output, "--card"]
    assert run.main(list(map(str, arguments))) == 0
    record = json.loads(output.read_text())
    found = record["metrics"]
    assert record["heldout"] == str(tmp_path / "c")
    assert found["privacy_copies"]["value"] == found["membership_auroc"]["value"] == 1.0
    assert found["privacy_copies"]["details"]["closest"][0]["transform"].startswith("axes +0,-1")
    for name in ("privacy_copies", "membership_auroc", "membership_tpr", "spectrum"):
        low, high = found[name]["interval"]
        assert low <= found[name]["value"] <= high
    assert (tmp_path / "report_nearest_symmetries.png").is_file()
    with (tmp_path / "report_nearest.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 20, "every sample that was looked up"
    for row in rows:
        assert Path(row["sample_file"]).name == Path(row["training_file"]).name
        assert row["transform"].startswith("axes +0,-1") and float(row["distance"]) == 0.0 and row["copy"] == "True"
    card = (tmp_path / "model_card.md").read_text()
    assert "| privacy_copies | 1 |" in card and "red (green: at most" in card
    with pytest.raises(SystemExit):
        run.main(["--real", str(real), "--generated", str(fake), "--bootstrap", "3"])


def test_a_card_has_all_that_the_samples_allow_with_intervals(tmp_path, monkeypatch):
    images = pictures(20)
    real, fake = save(tmp_path / "a", images), save(tmp_path / "b", images[::-1])
    given = flags(real=real, generated=fake, output=str(tmp_path / "x.json"), card=True, metrics=None, bootstrap=None)
    asked = []

    def evaluate(real, generated, metrics, **options):
        asked.append(metrics)
        return evaluation.evaluate(real, generated, ("spectrum",), **options)

    monkeypatch.setattr(run, "evaluate", evaluate)
    found, _ = run.evaluate_command(given)
    low, high = found.metrics["spectrum"].interval
    assert low <= found.values()["spectrum"] <= high
    # No classes, no critic, no volumes, no weights of Inception's; and what takes long needs to be asked for.
    left_out = {"is", "slices", "critic_membership", "class_agreement", "class_balance", "utility", "learning_curve"}
    assert set(asked[0]) == evaluation.METRICS.keys() - left_out
    run.evaluate_command(flags(**vars(given) | {"output": str(tmp_path / "y.json"), "card": False}))
    assert asked[1] == evaluation.default_metrics()


def test_what_could_not_be_written_is_said_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr(run, "evaluate", lambda *args, **options: pytest.fail("work before the check"))
    given = {"real": save(tmp_path / "a", pictures(4)), "generated": tmp_path / "a", "metrics": "swd"}
    out = tmp_path / "out"
    for name in ("e1_histogram.png", "e1_nearest_pixels.png", "e1_nearest.csv", "e1.json"):
        (out / name).parent.mkdir(exist_ok=True)
        (out / name).write_text("precious")
        with pytest.raises(InputError, match=f"{name} exists: .*--overwrite"):
            run.evaluate_command(flags(**given, output=out / "e1.json"))
        (out / name).unlink()
    (out / "e1_2_histogram.png").write_text("of another evaluation")
    (out / "model_card.md").write_text("of an export")
    with pytest.raises(InputError, match=r"model_card\.md exists: .*--overwrite"):
        run.evaluate_command(flags(**given, output=out / "e1.json", card=True))
    with pytest.raises(pytest.fail.Exception):
        run.evaluate_command(flags(**given, output=out / "e1.json", card=True, overwrite=True))
    with pytest.raises(InputError, match=r"cannot be written \(Not a directory\); give another --output"):
        run.evaluate_command(flags(**given, output=out / "model_card.md" / "e1.json"))
    assert {path.name for path in out.iterdir()} == {"e1_2_histogram.png", "model_card.md"}


def test_the_table_is_shown_though_nothing_can_be_written(tmp_path, monkeypatch, capsys):
    def full(*args, **options):
        raise InputError("cannot write: disk full")

    monkeypatch.setattr(run, "write_report", full)
    real = save(tmp_path / "a", pictures(4))
    with pytest.raises(InputError, match="disk full"):
        run.evaluate_command(flags(real=real, generated=real, metrics="histogram", output=tmp_path / "x.json"))
    assert "histogram" in capsys.readouterr().out


def test_flags_that_would_change_nothing_are_refused(tmp_path, capsys):
    folders = {"real": save(tmp_path / "a", pictures(4)), "generated": tmp_path / "a"}
    of_runs = {"step": "3", "data_dir": "x", "split": "train", "num_samples": 9, "seed": 0, "truncation": 0.5}
    for name, value in of_runs.items():
        with pytest.raises(InputError, match=f"^--{name} goes with --checkpoint alone: leave it out$"):
            run.evaluate_command(flags(**folders, **{name: value}))
    for name in ("value_range", "generated_range"):
        with pytest.raises(InputError, match=f"^--{name} goes with --real and --generated alone: leave it out$"):
            run.evaluate_command(flags(checkpoint="run", **{name: "0,1"}))
    with pytest.raises(InputError, match="--intended_use is for the card"):
        run.evaluate_command(flags(**folders, intended_use="Teaching"))
    for given in (["--seed", "0"], ["--card"], ["--overwrite"], ["--bootstrap", "0"], ["--metrics", "swd"]):
        with pytest.raises(InputError, match=f"^{given[0]} does nothing beside --figures_only: leave it out$"):
            run.main(["--checkpoint", "run", "--figures_only", *given])


def test_slices_of_images_are_refused_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr(run, "evaluate", lambda *args, **options: pytest.fail("work before the check"))
    images = save(tmp_path / "a", pictures(4))
    with pytest.raises(InputError, match="--metrics slices: needs volumes"):
        run.evaluate_command(flags(real=images, generated=images, metrics="swd,slices", output=tmp_path / "x.json"))


def test_classes_are_compared_only_where_their_names_agree(tmp_path):
    for name, classes in (("real", "ab"), ("same", "ab"), ("other", "cd")):
        for label in classes:
            save(tmp_path / name / label, pictures(25))
    for name, expected in (("same", {"a", "b"}), ("other", set())):
        output = str(tmp_path / f"{name}.json")
        args = flags(real=tmp_path / "real", generated=tmp_path / name, metrics="kid", output=output)
        evaluation, _ = run.evaluate_command(args)
        assert set(evaluation.per_class) == expected


def test_float_files_need_a_range_and_must_keep_it(tmp_path):
    values = np.random.default_rng().uniform(0, 5, (12, 16, 16, 1)).astype(np.float32)
    np.save(tmp_path / "real.npy", values)
    np.save(tmp_path / "fake.npy", values / 2.5 - 1)
    arguments = {"real": tmp_path / "real.npy", "generated": tmp_path / "fake.npy", "metrics": "histogram"}
    with pytest.raises(InputError, match=r"--value_range"):
        run.evaluate_command(flags(**arguments))
    with pytest.raises(InputError, match=r"leave the declared range 0 to 4"):
        run.evaluate_command(flags(**arguments, value_range="0,4"))
    output = str(tmp_path / "report.json")
    evaluation, _ = run.evaluate_command(flags(**arguments, value_range="0,5", generated_range="-1,1", output=output))
    record = json.loads(Path(output).read_text())
    assert (record["value_range"], record["generated_range"]) == ([0.0, 5.0], [-1.0, 1.0])
    assert evaluation.values()["histogram"] == pytest.approx(0, abs=1e-3)
    assert evaluation.metrics["histogram"].details["real_mean"] == pytest.approx(values.mean(), rel=1e-3)


def test_mistakes_are_one_line(tmp_path):
    good = save(tmp_path / "good", pictures(4))
    (tmp_path / "empty").mkdir()
    save(tmp_path / "mixed", pictures(2))
    Image.fromarray(pictures(1, 20)[0]).save(tmp_path / "mixed" / "z.png")
    large = save(tmp_path / "large", pictures(3, 20))
    (tmp_path / "weights.pth").write_bytes(b"\x80\x02cos\nsystem\nX\x04\x00\x00\x00true\x85R.")
    cases = [
        (flags(), "--checkpoint RUN"),
        (flags(real=str(good)), "--generated DIR"),
        (flags(real=str(good), generated=str(tmp_path / "none")), "no such"),
        (flags(real=str(good), generated=str(tmp_path / "empty")), "empty"),
        (flags(real=str(good), generated=str(tmp_path / "mixed")), "z.png"),
        (flags(real=str(good), generated=str(large)), "make them equal"),
        (flags(real=str(good), generated=str(good), metrics="fid,psnr"), "psnr"),
        (flags(real=str(good), generated=str(good), value_range="1,0"), "--value_range"),
        (flags(real=str(good), generated=str(good), value_range="abc"), "--value_range"),
        (flags(real=str(good), generated=str(good), metrics="fid", inception_weights="none.pth"), "none.pth"),
        (
            flags(real=str(good), generated=str(good), metrics="fid", inception_weights=tmp_path / "weights.pth"),
            "nothing in it was run",
        ),
        (flags(real=str(good), generated=str(good), metrics="is"), "--inception_weights"),
        (flags(checkpoint=str(tmp_path), real=str(good)), "one or the other"),
        (flags(real=str(good), generated=str(good), metrics="class_agreement"), "classes"),
        (flags(real=str(good), generated=str(good), metrics="critic_membership"), "--checkpoint"),
    ]
    for args, words in cases:
        args.output = str(tmp_path / "out.json")
        with pytest.raises(InputError) as error:
            run.evaluate_command(args)
        assert words in str(error.value), error.value
        assert not list(tmp_path.glob("out*"))


def test_a_checkpoint_is_compared_with_its_data(tmp_path, monkeypatch, capsys):
    images = pictures(40)[..., None]
    dataset = from_arrays("toy", images, np.arange(40) % 2, fingerprint="f")
    model = types.SimpleNamespace(
        config=Config(), run_dir=tmp_path / "run", step=7, class_names=("a", "b"), data_fingerprint="f",
        params={"w": np.zeros((3, 4))}, critic=(None, {"w": np.zeros(5)}, {}),
    )  # fmt: skip
    opened = []
    asked = []

    def generate_samples(model, n, labels, seed, truncation):
        asked.append((n, labels, seed))
        return np.random.default_rng(seed).uniform(-1, 1, (n, 16, 16, 1)).astype(np.float32)

    monkeypatch.setattr(jaxgan, "load_trained_model", lambda path, step: model, raising=False)
    monkeypatch.setattr(jaxgan, "open_data", lambda *args: opened.append(args[1]) or dataset, raising=False)
    monkeypatch.setattr(jaxgan, "generate_samples", generate_samples, raising=False)
    args = flags(checkpoint=str(tmp_path / "run"), num_samples=300, metrics="histogram,nearest")
    with pytest.raises(InputError, match="--data_dir"):
        run.evaluate_command(args)
    model.run_dir.mkdir()
    (model.run_dir / "data.json").write_text(json.dumps({"data_dir": "somewhere"}))
    _, (report, *figures) = run.evaluate_command(args)
    assert opened == ["somewhere"]
    assert report.parent == model.run_dir / "evaluation"
    record = json.loads(report.read_text())
    assert record["step"] == 7
    assert record["metrics"]["histogram"]["protocol"]["n_generated"] == 300
    *figures, page = figures
    assert len(figures) == 2
    assert page == model.run_dir / "report.html"
    assert "memorisation_pixels" in page.read_text() and "nearest to a training image" in page.read_text()
    assert {n for n, _, _ in asked} == {256}  # One compiled size, the last chunk cut.
    assert set(np.unique(asked[0][1])) == {0, 1}
    np.save(tmp_path / "far.npy", np.full((4, 16, 16, 1), 999, np.int16))
    away = {"heldout": tmp_path / "far.npy", "metrics": "privacy", "output": str(tmp_path / "far.json")}
    with pytest.raises(InputError, match=r"leave the declared range 0 to 255; store them as the run's data are"):
        run.evaluate_command(flags(**vars(args) | away))

    # The run is another's: what was asked for elsewhere is written nevertheless.
    def refused(run_dir):
        raise InputError("no right")

    with monkeypatch.context() as patch, pytest.warns(UserWarning, match=r"was not drawn anew \(no right\)"):
        patch.setattr(run.report, "write_report", refused)
        _, written = run.evaluate_command(flags(**vars(args) | {"output": str(tmp_path / "mine.json")}))
    assert written[0].is_file() and page not in written
    held_out = from_arrays("toy", images[:13], np.arange(13) % 2, fingerprint="h")
    dataset = dataclasses.replace(dataset, held_out=held_out)
    evaluation, (report, *figures) = run.evaluate_command(flags(**vars(args) | {"output": str(tmp_path / "held.json")}))
    protocol = json.loads(report.read_text())["metrics"]["histogram"]["protocol"]
    assert (protocol["n_real"], protocol["split"]) == (13, "holdout")
    # What looks for copies looks among the training images nevertheless.
    assert evaluation.metrics["memorisation_pixels"].protocol["searched"] == 40 and evaluation.copies["pixels"]
    split = {"output": str(tmp_path / "t.json"), "split": "train", "card": True, "intended_use": "Teaching alone"}
    evaluation, files = run.evaluate_command(flags(**vars(args) | split))
    assert evaluation.copies["pixels"] and evaluation.metrics["histogram"].protocol["n_real"] == 40
    assert model.run_dir / "model_card.md" in files
    page = (model.run_dir / "report.html").read_text()
    section = page[page.index('<section id="card"') :]
    for words in ("Teaching alone", "memorisation_pixels", "13 held out, never trained on", "(green: at most"):
        assert words in section[: section.index("</section>")], words
    with pytest.raises(InputError, match=r"--split holdout: toy has nothing held out; .* another of its splits"):
        dataset = dataclasses.replace(dataset, held_out=None)
        run.evaluate_command(flags(**vars(args) | {"split": "holdout"}))
    model.data_fingerprint = "other"
    with pytest.raises(InputError, match="not those that"):
        run.evaluate_command(args)
    assert "protocol: 300 generated against 40 real" in capsys.readouterr().out


def test_a_checkpoint_is_compared_with_any_split_of_its_data(tmp_path, monkeypatch):
    images = pictures(40)
    np.savez(tmp_path / "toy.npz", train_images=images[:25], val_images=images[25:33], test_images=images[33:])
    config = Config.from_dict({"data": {"size": 16, "channels": 1, "split": "train+val", "holdout": "test"}})
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    (run_dir / "data.json").write_text(json.dumps({"data_dir": str(tmp_path / "toy.npz")}))
    model = types.SimpleNamespace(
        config=config, run_dir=run_dir, step=7, class_names=(), critic=None, params={},
        data_fingerprint=jaxgan.open_data(config, tmp_path / "toy.npz").fingerprint,
    )  # fmt: skip
    fakes = np.random.default_rng(0).uniform(-1, 1, (64, 16, 16, 1)).astype(np.float32)
    monkeypatch.setattr(jaxgan, "load_trained_model", lambda path, step: model)
    monkeypatch.setattr(jaxgan, "generate_samples", lambda model, n, *_: fakes[:n])
    for split, real in ((None, 7), ("holdout", 7), ("test", 7), ("train", 33)):
        output = tmp_path / f"{split}.json"
        args = flags(
            checkpoint=str(run_dir), num_samples=9, metrics="histogram,nearest", split=split, output=str(output)
        )
        found = run.evaluate_command(args)[0].metrics
        assert found["histogram"].protocol["n_real"] == real, split
        assert found["memorisation_pixels"].protocol["searched"] == 33, "what the run saw"
    for split in ("val", "val+test", "all"):
        with pytest.raises(InputError, match=rf"--split {re.escape(split)}: the run was trained on it, or on a part"):
            run.evaluate_command(flags(checkpoint=str(run_dir), num_samples=9, split=split))
    with pytest.raises(InputError, match=r"split='hold_out': toy has no 'hold_out', only train, val, test"):
        run.evaluate_command(flags(checkpoint=str(run_dir), num_samples=9, split="hold_out"))


@pytest.mark.real_data
def test_float_maps_are_judged_in_their_units(shared_data, tmp_path):
    maps = shared_data / "cells" / "dsb2018_probmap_f32"
    args = flags(
        real=maps, generated=maps, value_range="0,1", metrics="spectrum,histogram,nearest",
        output=str(tmp_path / "report.json"),
    )  # fmt: skip
    evaluation, _ = run.evaluate_command(args)
    assert evaluation.values()["histogram"] == evaluation.values()["spectrum"] == 0.0
    assert evaluation.copies["pixels"].flagged
    assert 0 < evaluation.metrics["histogram"].details["real_mean"] < 0.97


def test_the_script_exits_2_with_one_line():
    command = [sys.executable, str(ROOT / "scripts" / "evaluate.py"), "--real", "nowhere", "--generated", "nowhere"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([*command, "--metrics", "swd"], capture_output=True, text=True, cwd=ROOT, env=environment)
    assert done.returncode == 2
    assert done.stderr.startswith("error: --real nowhere")
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""
