"""Figures: what is drawn, read back from the figure or the file, and what a damaged or empty run gives."""

import json

import numpy as np
import pytest
from PIL import Image
from scipy.stats import wasserstein_distance

from jaxgan.config.augmentation import Augmentation, DiffAugmentation
from jaxgan.data.scaling import Scaling
from jaxgan.errors import InputError
from jaxgan.pictures import image_grid, write_grid
from jaxgan.reporting import metric_curves, sample_figures
from jaxgan.reporting.contents import find_snapshots
from jaxgan.reporting.preview import preview
from jaxgan.reporting.run_figures import interpolation_strip, make_figures, save
from jaxgan.runs.metrics_log import MetricsLog

SCALING = Scaling("float32", 10.0, 30.0, "µm")


def samples(*shape, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


def records(count, wasserstein=1.0):
    rng = np.random.default_rng(0)
    return [
        {
            "step": 10 * i,
            "images": 320 * i,
            "epoch": i / 4,
            "critic_loss": -wasserstein + rng.normal(),
            "generator_loss": float(rng.normal()) if i != 3 else float("nan"),
            "wasserstein": wasserstein * (1 + 0.1 * rng.normal()),
            "gradient_penalty": 0.1,
            **({"fd_vgg16": 50.0 / i} if i % 10 == 0 else {}),
        }
        for i in range(1, count + 1)
    ]


@pytest.fixture
def run_dir(tmp_path):
    folder = tmp_path / "run"
    with MetricsLog(folder) as log:
        for record in records(124):
            log.write(record)
    config = {"seed": 3, "data": {"note": "<b>&"}, "objective": {"weight_clip": 0.01, "n_critic": 5}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "samples").mkdir()
    for step in (0, 400, 800, 1240):
        np.save(folder / "samples" / f"step_{step:08d}.npy", samples(16, 8, 8, 1, seed=step))
    write_grid(folder / "samples" / "step_00001240.png", samples(16, 8, 8, 1))
    np.save(folder / "samples" / "real.npy", samples(16, 8, 8, 1))
    np.save(folder / "samples" / "interpolation_spherical.npy", samples(10, 8, 8, 1))
    (folder / "samples" / "scaling.json").write_text(json.dumps(SCALING.to_dict()))
    return folder


def lines(axes):
    return {line.get_label(): line.get_ydata() for line in axes.lines}


def test_smooth_keeps_lines_and_ignores_spikes():
    flat = np.full(60, 2.5)
    np.testing.assert_allclose(metric_curves.smooth(flat, 9), flat)
    ramp = np.arange(60.0)
    np.testing.assert_allclose(metric_curves.smooth(ramp, 9)[8:-8], ramp[8:-8])
    spiked = flat.copy()
    spiked[[0, 30, 31]] = 1e6
    np.testing.assert_allclose(metric_curves.smooth(spiked, 9), flat)
    assert metric_curves.smooth(np.arange(3.0), 9).shape == (3,)
    noise = np.random.default_rng(0).normal(size=500)
    assert metric_curves.smooth(noise, 21).std() < 0.35


def test_losses_have_two_axes_against_epochs_and_marks_at_critic_updates():
    left, right = metric_curves.losses(records(30), n_critic=5).axes
    assert left.get_xlabel() == "epoch"
    assert left.get_ylabel() == "generator loss" and right.get_ylabel() == "critic loss"
    (label,) = [name for name in lines(right) if "5 critic updates" in name]
    np.testing.assert_allclose(lines(right)[label], [r["critic_loss"] for r in records(30)])
    assert len(left.lines[0].get_xdata()) == 29, "the NaN is left out"
    assert metric_curves.losses([]) is None


@pytest.mark.parametrize("size", [1.0, 0.01, 1e-5])
def test_wasserstein_marks_zero_and_the_clipping_bounds_visibly(size):
    found = records(100, size)
    found[60]["wasserstein"] *= 1e4
    figure = metric_curves.wasserstein(found, weight_clip=0.01)
    (axes,) = figure.axes
    heights = [line.get_ydata()[0] for line in axes.lines if list(line.get_xdata()) == [0, 1]]
    assert heights == [0.0, 0.01, -0.01]
    figure.draw_without_rendering()
    pixels = axes.transData.transform([(0, y) for y in (-0.01, 0.0, 0.01, size)])[:, 1]
    bottom, top = axes.get_window_extent().extents[[1, 3]]
    assert (np.diff(pixels[:3]) > 20).all(), "bounds and 0 can be told apart"
    assert pixels[3] - pixels[1] > 20, "and so can curve and 0"
    assert (bottom <= pixels).all() and (pixels <= top).all()
    assert len(metric_curves.wasserstein(records(100), weight_clip=0.0).axes[0].lines) == 3


def test_outside_wasserstein_games_the_figure_says_that_it_is_only_the_gap():
    (axes,) = metric_curves.wasserstein(records(10), loss="hinge").axes
    assert axes.get_title() == "Score gap; no Wasserstein distance, since the loss is hinge"
    (axes,) = metric_curves.wasserstein(records(10), loss="wgan").axes
    assert axes.get_title().startswith("Wasserstein distance")


def test_a_spike_does_not_flatten_the_curve_and_is_told():
    found = records(100)
    found[50]["critic_loss"] = 1e9
    _, right = metric_curves.losses(found).axes
    assert right.get_ylim()[1] < 100
    assert "beyond the axis: 1" in right.get_ylabel()


def test_other_metrics_get_a_panel_each():
    panels = [axes for axes in metric_curves.other_metrics(records(30)).axes if axes.get_visible()]
    assert [axes.get_title() for axes in panels] == ["gradient penalty", "fd vgg16"]
    np.testing.assert_allclose(panels[1].lines[0].get_xdata(), [2.5, 5.0, 7.5])


def test_snapshots_know_their_epochs(run_dir):
    found = find_snapshots(run_dir / "samples", [{"step": 200, "epoch": 1.0}, {"step": 1000, "epoch": 5.0}])
    assert [snapshot.title for snapshot in found] == ["epoch 0", "epoch 2", "epoch 4", "epoch 6.2"]


def test_epoch_comparison_shows_up_to_sixteen_moments_with_labels(tmp_path):
    np.save(tmp_path / "s.npy", samples(16, 8, 8, 3))
    snapshots = [sample_figures.Snapshot(i, float(i), tmp_path / "s.npy") for i in range(40)]
    cells = sample_figures.epoch_comparison(snapshots).axes
    titles = [axes.get_title() for axes in cells]
    assert len(titles) == 16 and titles[0] == "epoch 0" and titles[-1] == "epoch 39"
    assert cells[0].get_subplotspec().get_gridspec().get_geometry() == (4, 4)
    np.testing.assert_array_equal(cells[5].images[0].get_array(), image_grid(samples(16, 8, 8, 3)[:4]))


@pytest.mark.parametrize("shape", [(6, 8, 8, 3), (4, 6, 6, 6, 1), (5, 8, 8, 2)])
def test_real_and_generated_in_original_units(shape):
    real, generated = samples(*shape), 0.5 * samples(*shape, seed=1)
    figure = sample_figures.real_and_generated(real, generated, SCALING)
    panels = [axes for axes in figure.axes if "distance" in axes.get_title()]
    assert len(panels) == shape[-1] and panels[-1].get_xlabel() == "µm"
    for channel, axes in enumerate(panels):
        values = [SCALING.restore(x[..., channel].ravel()) for x in (real, generated)]
        shown = float(axes.get_title().split()[-1])
        assert shown == pytest.approx(wasserstein_distance(*values), rel=0.02)
        shares, edges, _ = axes.patches[1].get_data()
        np.testing.assert_allclose(shares, np.histogram(values[1], edges)[0] / values[1].size)
        assert edges[0] == 10.0 and edges[-1] == 30.0


def test_make_figures(run_dir):
    """Everything that a run has the data for."""
    written = make_figures(run_dir)
    names = {path.name for path in written}
    assert names == {
        "losses.png", "wasserstein.png", "metrics.png", "epoch_comparison.png", "progress.gif",
        "samples_epoch_10.png", "samples_final.png", "training_samples.png",
        "real_and_generated.png", "interpolation_spherical.png",
    }  # fmt: skip
    assert names == {path.name for path in (run_dir / "figures").iterdir()}
    for path in written:
        with Image.open(path) as picture:
            picture.load()
            assert np.ptp(np.asarray(picture.convert("L"))) > 100, f"{path.name} is empty"
            assert picture.width >= 260
    with Image.open(run_dir / "figures" / "progress.gif") as movie:
        assert movie.n_frames == 4 and movie.info["loop"] == 0

    assert make_figures(run_dir), "drawn again over the old ones"


def test_automatic_critic_updates_are_told_as_what_they_mean(make_run, monkeypatch):
    told = []
    monkeypatch.setattr(metric_curves, "losses", lambda records, updates: told.append(updates))
    make_figures(make_run("run", (8, 8, 1), objective__n_critic=0))
    assert told == [5]


def test_what_an_abandoned_attempt_has_drawn_is_deleted(run_dir):
    # Epoch 31: further than the run has come since.
    np.save(run_dir / "samples" / "step_00001200.npy", samples(16, 8, 8, 1))
    (run_dir / "samples" / "interpolation_spherical.json").write_text('{"step": 1240}')
    make_figures(run_dir)
    (run_dir / "figures" / "mine.png").write_bytes(b"precious")
    assert {"samples_epoch_30.png", "interpolation_spherical.png"} < {p.name for p in (run_dir / "figures").iterdir()}
    for step in (1200, 1240):
        (run_dir / "samples" / f"step_{step:08d}.npy").unlink()
    with MetricsLog(run_dir, 1000):
        written = make_figures(run_dir)
    left = {path.name for path in (run_dir / "figures").iterdir()}
    assert left == {path.name for path in written} | {"mine.png"}
    assert not {"samples_epoch_30.png", "interpolation_spherical.png"} & left


def test_a_run_that_has_just_begun_or_diverged(tmp_path):
    assert make_figures(tmp_path) == []
    with MetricsLog(tmp_path) as log:
        log.write({"step": 1, "epoch": 0.1, "critic_loss": float("nan"), "generator_loss": 0.1})
    assert [path.name for path in make_figures(tmp_path)] == ["losses.png"]


@pytest.mark.parametrize("name", ["samples/step_00000400.npy", "config.json", "samples/real.npy"])
def test_damaged_files_are_named(run_dir, name):
    (run_dir / name).write_bytes(b"\x93NUMPY broken")
    with pytest.raises(InputError, match=f"{name.split('/')[-1]} is damaged"):
        make_figures(run_dir)


def test_a_strip_has_the_window_and_the_orientation_of_grids(tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(sample_figures, "strip", lambda samples, title, affine: shown.append((samples, affine)))
    monkeypatch.setattr("jaxgan.reporting.run_figures.save", lambda path, figure: path)
    dark = np.full((4, 32, 32, 1), -0.97, np.float32)
    dark[:, 8:14, 8:14] = -0.6
    interpolation_strip(tmp_path / "strip.png", dark, affine=np.eye(4))
    ((samples, affine),) = shown
    assert samples.max() == 1.0 and samples.min() == -1.0, "a map of small values is not black"
    np.testing.assert_array_equal(affine, np.eye(4))


def test_a_panel_says_how_many_points_lie_beyond_it():
    values = np.random.default_rng(0).normal(1, 0.01, 200)
    values[50] = 500.0
    records = [{"step": i, "epoch": float(i), "penalty": float(value)} for i, value in enumerate(values)]
    (axes,) = metric_curves.other_metrics(records).axes
    assert axes.get_ylabel() == "(beyond the axis: 1)" and axes.get_ylim()[1] < 2


def test_volumes_in_every_gallery(tmp_path):
    volumes = samples(16, 6, 6, 6, 1)
    save(tmp_path / "pair.png", sample_figures.real_and_generated(volumes, volumes, None))
    interpolation_strip(tmp_path / "strip.png", volumes[:10])
    np.save(tmp_path / "s.npy", volumes)
    snapshots = [sample_figures.Snapshot(i, float(i), tmp_path / "s.npy") for i in range(3)]
    sample_figures.progress_gif(tmp_path / "movie.gif", snapshots)
    for name in ("pair.png", "strip.png", "movie.gif"):
        with Image.open(tmp_path / name) as picture:
            assert np.ptp(np.asarray(picture.convert("L"))) > 100
    titles = [axes.get_title() for axes in sample_figures.strip(volumes[:10], "path").axes]
    assert titles[:10] == [f"{i / 9:.2f}" for i in range(10)]


def test_preview_shows_each_operation_that_is_on(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr("jaxgan.reporting.preview.show", lambda axes, grid: drawn.append(grid))
    images = samples(8, 8, 8, 1)
    preview(tmp_path / "augment_preview.png", images, Augmentation(flip=0.5, rot90=0.1))
    assert (tmp_path / "augment_preview.png").stat().st_size > 1000
    assert len(drawn) == 5
    np.testing.assert_array_equal(drawn[0], image_grid(images[:6], columns=1))
    np.testing.assert_array_equal(drawn[1], image_grid(images[:6, ::-1, ::-1], columns=1))
    drawn.clear()
    both = DiffAugmentation(policy=("cutout",), adaptive=True)
    preview(tmp_path / "both.png", images, Augmentation(flip=1.0), both)
    assert len(drawn) == 5
    cut = (drawn[2] == 128).mean()
    assert 0.1 < cut < 0.6 and not np.array_equal(drawn[2], drawn[3])
    with pytest.raises(InputError, match=r"config\.augment\.flip.*config\.diffaugment\.policy"):
        preview(tmp_path / "no.png", images, Augmentation())
