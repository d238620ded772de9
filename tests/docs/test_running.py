"""The blocks of commands in README and docs that are marked `<!-- run: NAME -->` are run, a name's in one folder.

They run as they stand, on small data of the names that they give. `jaxgan` and `python` are scripts here that make
networks, trainings and evaluations small, and `pip` installs nothing.
"""

import os
import shlex
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import tifffile

from tests.docs.test_commands import PAGES, ROOT, blocks

RNG = np.random.default_rng(0)
GRADES = ("0", "1")


def write_maps(folder, count=20):
    folder.mkdir()
    for i in range(count):
        image = RNG.normal(300, 40, (64, 64)).astype(np.float32)
        image[RNG.integers(50) :, RNG.integers(50) :] += 500
        tifffile.imwrite(folder / f"{i}.tif", image)


def write_slide(path, side=512):
    slide = RNG.integers((160, 60, 110), (230, 130, 180), (side, side, 3)).astype(np.uint8)
    tifffile.imwrite(path, slide, tile=(128, 128), photometric="rgb", resolution=(2e4, 2e4), resolutionunit=3)


def make_maps(folder):
    write_maps(folder / "maps")


def make_tiffs(folder):
    write_maps(folder / "my_tiffs")


def make_mri(folder):
    for name in ("patient", "control"):
        (folder / "mri" / name).mkdir(parents=True)
        for i in range(4):
            np.save(folder / "mri" / name / f"{i}.npy", RNG.normal(100, 20, (24, 24, 24)).astype(np.float32))


def make_path(folder):
    """In the schema of MedMNIST, but for the labels: all nine classes."""
    content = {}
    for split, count in (("train", 90), ("val", 18), ("test", 18)):
        content[f"{split}_images"] = RNG.integers(0, 256, (count, 28, 28, 3), dtype=np.uint8)
        content[f"{split}_labels"] = (np.arange(count) % 9).astype(np.uint8)[:, None]
    np.savez_compressed(folder / "pathmnist.npz", **content)


def make_slides(folder):
    """A folder of slides, and Kaggle's archive in small."""
    (folder / "slides").mkdir()
    for i in range(10):
        write_slide(folder / "slides" / f"{i}.tif", 256)
    rows = ["image_id,data_provider,isup_grade,gleason_score"]
    with zipfile.ZipFile(folder / "prostate-cancer-grade-assessment.zip", "w") as archive:
        for i in range(20):
            write_slide(folder / "slide.tiff")
            archive.write(folder / "slide.tiff", f"train_images/s{i}.tiff")
            rows.append(f"s{i},karolinska,{GRADES[i % 2]},3+3")
        archive.writestr("train.csv", "\n".join(rows) + "\n")


def make_patches(folder):
    (folder / "patches").mkdir()
    for i in range(8):
        tifffile.imwrite(folder / "patches" / f"{i}.tif", RNG.integers(0, 256, (256, 256, 3), dtype=np.uint8))
    make_maps(folder)


def make_all(folder):
    for make in (make_maps, make_mri, make_path, make_slides):
        make(folder)
    (folder / "mnist").mkdir()
    header = np.array([0x803, 12, 28, 28], ">i4").tobytes()
    (folder / "mnist" / "train-images-idx3-ubyte").write_bytes(header + RNG.bytes(12 * 28 * 28))


# What makes the data of a name, and what its commands must leave.
RUN = {
    "readme": (make_tiffs, ["demo/sample_grid.png", "runs/cells/report.html", "out/sample_00015_tiff_units.tif"]),
    "digits": (lambda folder: None, ["runs/digits/report.html", "out/digits/sample_00024.png", "out/between"]),
    "path": (make_path, ["runs/path/report.html", "out/path/sample_grid.png", "out/path/samples_labels.csv"]),
    "maps": (
        make_maps,
        [
            "runs/cells/report.html",
            "out/cells/sample_grid.png",
            "out/cells/sample_00015_tiff8.tif",
            "runs/again/report.html",
            "cells-generator/model.stablehlo",
            "out/exported",
        ],
    ),
    "slides": (make_slides, ["preview.png", "runs/panda/report.html", "runs/panda/model_card.md"]),
    "mri": (make_mri, ["runs/mri/report.html", "out/mri/sample_grid.png", "out/mri/sample_00000_patient.nii.gz"]),
    "data": (make_all, ["data"]),
    "augmentation": (make_patches, ["preview.png"]),
    "recipes": (make_patches, ["runs/cells/report.html", "runs/again/report.html"]),
    "launch": (lambda folder: None, ["runs/two/report.html"]),
}
# They take minutes.
LONG = ("slides", "path", "augmentation", "digits", "maps", "recipes", "mri")
BLOCKS: dict[str, list[str]] = {}
for page in PAGES:
    for name, block in blocks(page):
        if name:
            BLOCKS.setdefault(name, []).append(block)


SMALL = shlex.join([
    "--config.train.iterations=1", "--config.train.batch_size=4", "--config.train.num_samples=4",
    "--config.train.log_every_iterations=1",
    "--config.generator.widths=(4,4)", "--config.critic.widths=(4,4)",
])  # fmt: skip
# With two widths no map has the side that panda256 attends to; and all metrics at 256x256 take minutes.
SMALL_256 = shlex.join(["--config.generator.attention=()", "--config.critic.attention=()"])


def write_script(path, text):
    path.write_text(f"#!/bin/bash\n{text}\n")
    path.chmod(0o755)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.nightly if name in LONG else ()) for name in RUN]
)
def test_the_commands_of_a_page_do_what_they_say(name, tmp_path):
    make, files = RUN[name]
    make(tmp_path)
    (tmp_path / "scripts").symlink_to(ROOT / "scripts")
    (tmp_path / "bin").mkdir()
    judge = "--num_samples 4 --metrics swd,nearest" if name == "slides" else "--num_samples 16"
    change = f"""[[ " $* " = *" train "* || $1 = scripts/train.py ]] && set -- "$@" {SMALL}
[[ " $* " = *" --config panda256 "* ]] && set -- "$@" {SMALL_256}
[ $1 = evaluate ] && set -- "$@" {judge}"""
    write_script(tmp_path / "bin" / "jaxgan", f'{change}\nexec {sys.executable} -m jaxgan "$@"')
    write_script(tmp_path / "bin" / "python", f'{change}\nexec {sys.executable} "$@"')
    write_script(tmp_path / "bin" / "pip", "")
    environment = {**os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    script = "set -euo pipefail\n" + "".join(BLOCKS[name])
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert not [file for file in files if not (tmp_path / file).exists()], done.stdout


def test_every_block_that_is_marked_is_run():
    assert set(RUN) == set(BLOCKS)
