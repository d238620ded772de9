"""Wrong command lines: exit status 2, one line that names what is wrong, and nothing left behind."""

import json
import sys

import numpy as np
import pytest
from PIL import Image

from jaxgan.commands.main import entry_point

TRAIN = "train --config mnist --data_dir demo --workdir run"
PREPARE = "prepare folder --source images --data_dir data"
GENERATE = "generate --checkpoint run --output_dir out"
EVALUATE = "evaluate --checkpoint run --metrics swd"
LONG = "x" * 5000

# The command line, and words of its answer.
CASES = [
    ("train --config mnist --data_dir demo --workdir=", "--workdir"),
    ("train --config mnist --data_dir= --workdir run", "--data_dir"),
    ("prepare folder --source= --data_dir data", "--source"),
    ("prepare folder --source images --data_dir=", "--data_dir"),
    (f"{PREPARE} --name=", "--name"),
    ("prepare check --data_dir data --name=", "--name"),
    ("generate --checkpoint=", "--checkpoint"),
    ("report \t", "is empty"),
    ("train --config mnist --data_dir ~nosuchuser/data", "no such user"),
    ("train --config mnist --data_dir demo --workdir ~nosuchuser/run", "no such user"),
    ("prepare folder --source ~nosuchuser --data_dir data", "no such user"),
    (f"train --config {LONG} --data_dir demo", "--config"),
    (f"train --config mnist --data_dir {LONG}", "--data_dir"),
    (f"train --config mnist --data_dir demo --workdir {LONG}", "--workdir"),
    (f"prepare folder --source {LONG} --data_dir data", "--source"),
    (f"generate --checkpoint {LONG}", "--checkpoint"),
    (f"{TRAIN} --config.train.batch_size=1000000000", "config.train.batch_size"),
    (f"{TRAIN} --config.train.num_samples=1000000000000", "config.train.num_samples"),
    (f"{TRAIN} --config.train.steps_per_call=1000000000", "config.train.steps_per_call"),
    (f"{TRAIN} --config.generator.latent_dim=1000000000000", "config.generator.latent_dim"),
    (f"{TRAIN} --config.objective.n_critic=1000000000", "config.objective.n_critic"),
    (f"{TRAIN} --config.data.size=1000000000000", "config.data.size"),
    (f"{TRAIN} --config.train=3", "config.train"),
    (f"{TRAIN} --config.train.batch_size=\u0663\u0662", "config.train.batch_size"),
    (f"{GENERATE} --num_samples 1000000000000", "--num_samples"),
    (f"{GENERATE} --num_samples \u0663", "--num_samples"),
    (f"{GENERATE} --interpolate --num_steps 1000000000", "--num_steps"),
    (f"{GENERATE} --truncation inf", "--truncation"),
    (f"{GENERATE} --seed -1", "--seed"),
    (f"{GENERATE} --step \u00b2", "--step"),
    (f"{EVALUATE} --num_samples 1000000000000", "--num_samples"),
    (f"{EVALUATE} --seed -1", "--seed"),
    (f"{PREPARE} --size 1000000000", "--size"),
    (f"{PREPARE} --split nan", "split"),
    (f"{PREPARE} --seed -1", "--seed"),
    (f"{PREPARE} --size 16 --fit contain --pad_value nan", "--pad_value"),
    (f"{PREPARE} --label_column grade", "--label_column"),
    (f"{PREPARE} --scaling fixed --low 0", "fixed"),
    (f"{PREPARE} --scaling percentile --percentiles 90 10", "percentiles"),
    (f"{PREPARE} --scaling percentile --percentiles nan 10", "--percentiles"),
    (f"{PREPARE} --name {'n' * 200}", "200 characters"),
    (f"{PREPARE} --stain_normalise", "leave it out"),
    ("generate --checkpoint digits", "digits"),
    ("prepare npz --source empty.npz --data_dir data", "empty.npz"),
    ("prepare npz --source scalar.npz --data_dir data", "scalar.npz"),
    ("prepare npz --source huge.npz --data_dir data", "huge.npz"),
    ("train --config mnist --data_dir record --workdir run", "jaxgan.json"),
    ("report number", "metrics.jsonl"),
    ("report text", "metrics.jsonl"),
    ("evaluate --checkpoint place --metrics swd", "place"),
    # The nearest name.
    ("trian --config mnist", "did you mean train?"),
    ("prepare slide --source x --data_dir data", "did you mean slides?"),
    ("prepare slides --source x --data_dir data --max_patch 3", "did you mean --max_patches?"),
    ("generate --chekpoint run", "did you mean --checkpoint?"),
    (f"{TRAIN} --resumee never", "did you mean --resume?"),
    (f"{TRAIN} --batch_size 8", "did you mean --config.train.batch_size?"),
    (f"{TRAIN} --optimizer.lr=1e-4", "did you mean --config.optimizer.lr?"),
    (f"{TRAIN} --config.optimiser.lr=1e-4", "did you mean config.optimizer?"),
    (f"{TRAIN} --config.objective.loss=hinje", "did you mean hinge?"),
    (f"{TRAIN} --config.train.best_metric=critic_los", "did you mean critic_loss?"),
    ("train --config minst --data_dir demo", "did you mean mnist?"),
    ("train --config mnist:wgan_pg --data_dir demo", "did you mean wgan_gp?"),
    ("evaluate --checkpoint run --metrics prcd", "did you mean prdc?"),
    ("benchmark --config mnist --compare tortch", "did you mean torch?"),
]  # fmt: skip


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Images, odd archives and odd runs, made once: no command may change anything among them."""
    folder = tmp_path_factory.mktemp("wrong")
    rng = np.random.default_rng(0)
    (folder / "images").mkdir()
    for i in range(4):
        Image.fromarray(rng.integers(0, 256, (20, 20), np.uint8)).save(folder / "images" / f"{i}.png")
    images = rng.integers(0, 256, (4, 8, 8), np.uint8)
    for name, labels in (("empty", np.zeros(0, int)), ("scalar", np.int64(3)), ("huge", np.full(4, 2**32 - 1))):
        np.savez(folder / f"{name}.npz", train_images=images, train_labels=labels)
    (folder / "record" / "x" / "y" / "1.0.0").mkdir(parents=True)
    (folder / "record" / "x" / "y" / "1.0.0" / "jaxgan.json").write_text(json.dumps({"shape": 3, "splits": "train"}))
    for name, line in (("number", "3"), ("text", '{"step": "many", "critic_loss": [1], "generator_loss": {}}')):
        (folder / name).mkdir()
        (folder / name / "metrics.jsonl").write_text(line + "\n" + line + "\n")
    (folder / "digits" / "checkpoints" / "\u00b2").mkdir(parents=True)
    (folder / "place").mkdir()
    (folder / "place" / "data.json").write_text(json.dumps({"data_dir": 3}))
    return folder


def tree(folder):
    return {path: path.stat().st_size if path.is_file() else None for path in folder.rglob("*")}


@pytest.mark.timeout(60)  # Some of these ran for ever.
@pytest.mark.parametrize(("line", "words"), CASES, ids=lambda text: text[:60])
def test_a_wrong_command_is_one_line_and_leaves_nothing(line, words, files, capsys, monkeypatch):
    monkeypatch.chdir(files)
    monkeypatch.setattr(sys, "argv", ["jaxgan", *line.split(" ")])
    before = tree(files)

    with pytest.raises(SystemExit) as left:
        entry_point()
    error = capsys.readouterr().err
    assert left.value.code == 2, error
    assert error.startswith("error: ") and error.count("\n") == 1 and len(error) < 600, error
    assert words in error, error
    assert tree(files) == before
