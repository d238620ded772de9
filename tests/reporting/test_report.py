"""The report page: what stands in it, and what it does in a real browser."""

import html
import json
import re
import time

import numpy as np
import pytest
from PIL import Image

from jaxgan.commands import report as command
from jaxgan.errors import InputError
from jaxgan.files import write_json
from jaxgan.reporting.contents import read_contents
from jaxgan.reporting.markdown import to_html
from jaxgan.reporting.page_curves import all_series
from jaxgan.reporting.report import write_comparison, write_report
from jaxgan.runs.metrics_log import MetricsLog
from tests.reporting.browser import Browser

# Array axis 0 runs from front to back, axis 1 from bottom to top, axis 2 from right to left.
TURNED = [[0, 0, -1, 0], [-1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]]


def data_of(page):
    text = page.read_text(encoding="utf-8")
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)[1])


def evaluation(folder, created="2026-01-02T03:04:05+00:00", value=65.8):
    protocol = {"n_generated": 1000, "n_real": 640, "split": "train", "extractor": "vgg16"}
    metric = {"value": value, "interval": [60.0, 70.0], "reading": "lower is nearer <b>", "protocol": protocol}
    other = {"value": None, "protocol": protocol | {"n_real": 80, "split": "holdout"}}
    record = {"created": created, "step": 623, "metrics": {"fd_vgg16": metric, "swd": other}}
    record |= {"per_class": {"tumour": {"kd_vgg16": 0.5}}, "skipped": {"fid": "no weights"}, "warnings": ["few images"]}
    record["figures"] = {"nearest_pixels": "e_nearest_pixels.png", "histogram": "gone.png"}
    write_json(folder / "evaluation" / f"{created[:4]}.json", record)
    Image.fromarray(np.zeros((30, 40), np.uint8)).save(folder / "evaluation" / "e_nearest_pixels.png")


def test_the_page_is_one_file_with_everything_that_the_run_has(make_run):
    folder = make_run("digits", (8, 8, 1), ["tumour", "stroma"], train__batch_size=7)
    evaluation(folder)
    evaluation(folder, "2025-01-02T03:04:05+00:00", 99.9)
    (folder / "model_card.md").write_text("# Card\n\n| a | b |\n|---|---|\n| **x** | <script> |\n")
    (folder / "checkpoints" / "688").mkdir(parents=True)
    path = write_report(folder)
    page = path.read_text(encoding="utf-8")
    assert "http" not in page and page.count("<img ") == page.count(" alt=") and 'alt=""' not in page
    assert all(address.startswith("data:") for address in re.findall(r'src="([^"]*)"', page))
    # The last step is the checkpoint's, not the last logged one's.
    assert "688 iterations, 34.4 epochs, 22,016 images." in page
    assert "65.8" in page and "99.9" not in page and "60 to 70" in page and "lower is nearer &lt;b&gt;" in page
    assert "tumour" in page and "no weights" in page and "few images" in page and "not finite" in page
    assert "Interpolation: 10 samples on the way from one latent to another" in page
    (folder / "samples" / "interpolation.json").write_text('{"step": 310}')
    assert "Interpolation, iteration 310: 10 samples on the way" in write_report(folder).read_text()
    assert "1000 generated against 640 real samples (train)" in page
    assert "swd: 1000 generated against 80 real samples (holdout)." in page
    assert "nearest to a training image" in page and "gone.png" not in page
    assert "<strong>x</strong>" in page and "&lt;script&gt;" in page
    assert re.search(r'class="changed"><td>batch_size</td><td>7 .*was \d+', page)
    assert page.count('class="changed"') == 1
    assert "preset mnist:wgan_gp" in page and "jaxlib" in page
    data = data_of(path)
    assert [frame["step"] for frame in data["frames"][0]] == [0, 310, 623]
    found = data["runs"][0]["series"]["critic_loss"]
    assert found["step"] == list(range(5, 625, 5)) and len(found["y"]) == len(found["epoch"]) == 124
    assert not [file for file in folder.iterdir() if file.name.startswith(".tmp")]


def test_a_damaged_picture_and_an_interval_without_ends_leave_the_rest_of_the_page(make_run):
    folder = make_run("digits", (8, 8, 1))
    evaluation(folder)
    (folder / "other.json").write_text('{"metrics": {"fid": 12.3}}')
    picture = folder / "evaluation" / "e_nearest_pixels.png"
    file = folder / "evaluation" / "2026.json"
    file.write_text(file.read_text().replace("60.0", "null").replace("70.0", "null"))
    for damaged in (picture.read_bytes()[:45], b"no picture", picture.read_bytes()[:12] + b"x" * 40):
        picture.write_bytes(damaged)
        page = write_report(folder).read_text()
        assert "65.8" in page and "nearest to a training image" not in page and "None" not in page


def test_a_run_that_has_nothing_yet_and_one_written_before(tmp_path, make_run):
    page = write_report(tmp_path).read_text()
    assert "Nothing was logged yet" in page and "Nothing has been trained yet" in page and "not recorded" in page
    folder = make_run("old", (8, 8, 3))
    for name in ("environment.json", "samples/about.json", "samples/scaling.json"):
        (folder / name).unlink()
    page = write_report(folder).read_text()
    assert "differs from the defaults" in page and "16 generated samples" in page


def test_what_an_iteration_shows_may_differ_between_stages(make_run):
    growing = {"fade_images": 800, "hold_images": 4000, "batch_sizes": [16, 8, 8], "n_critics": [5, 1, 1]}
    networks = {"generator__network": "growing", "critic__network": "growing"}
    folder = make_run("grown", (32, 32, 1), data__size=32, growing=growing, **networks)
    (folder / "checkpoints" / "688").mkdir(parents=True)
    run = read_contents(folder)
    # A stage of 50 iterations of 80 images, then iterations of 8.
    images = [min(50, step) * 80 + max(0, step - 50) * 8 for step in (620, 688)]
    assert run.position["images"] == pytest.approx(19_840 * images[1] / images[0])
    assert run.position["epoch"] == pytest.approx(31 * images[1] / images[0])


def test_a_page_names_no_path_of_its_machine_and_numbers_say_their_cut(make_run):
    folder = make_run("my run", (8, 8, 1))
    page = html.unescape(write_report(folder).read_text())
    assert "<code>jaxgan evaluate --checkpoint RUN</code>" in page and str(folder.parent) not in page
    evaluation(folder)
    file = folder / "evaluation" / "2026.json"
    write_json(file, json.loads(file.read_text()) | {"truncation": 0.5})
    cut = "fd_vgg16, latents cut off at 0.5 standard deviations"
    assert f"<dt>{cut}</dt>" in write_report(folder).read_text()
    other = make_run("other", (8, 8, 1))
    evaluation(other)
    page = write_comparison([folder, other], folder / "both.html").read_text()
    assert f"<tr><td>{cut}</td><td>65.8</td><td></td></tr>" in page
    assert "<tr><td>fd_vgg16</td><td></td><td>65.8</td></tr>" in page


def test_text_of_the_run_cannot_end_the_script(make_run):
    folder = make_run("run", (8, 8, 1))
    with MetricsLog(folder, 620) as log:
        log.write({"step": 623, "</script><b>": 1.0})
    assert "</script><b>" not in write_report(folder).read_text()


def test_long_curves_are_thinned_without_losing_their_spikes(tmp_path):
    with MetricsLog(tmp_path) as log:
        log.write({"step": 1, "images": 2, "epoch": 0.1, "x": 1.0})
    run = read_contents(tmp_path)
    values = np.random.default_rng(0).normal(size=20_000)
    values[[7_777, 19_001]] = 50, -60
    run.records[:] = [{"step": i, "x": float(value)} for i, value in enumerate(values)]
    found = all_series(run)["x"]
    assert len(found["y"]) <= 1502 and found["step"] == sorted(found["step"])
    assert len(found["mean"]) == len(found["y"])
    assert {50.0, -60.0} <= set(found["y"]) and found["step"][0] == 0 and found["step"][-1] == 19_999


def test_what_is_smoothed_of_a_long_curve_are_its_means(tmp_path):
    with MetricsLog(tmp_path) as log:
        log.write({"step": 1, "images": 2, "epoch": 0.1, "x": 1.0})
    run = read_contents(tmp_path)
    values = np.random.default_rng(0).exponential(size=20_000)
    run.records[:] = [{"step": i, "x": float(value)} for i, value in enumerate(values)]
    found = all_series(run)["x"]
    middle = (np.min(found["y"]) + np.max(found["y"])) / 2
    assert np.mean(found["mean"]) == pytest.approx(values.mean(), rel=0.01) and np.mean(found["y"]) > 1.8 < middle
    run.records[:] = run.records[:1000]
    assert "mean" not in all_series(run)["x"]


def test_large_samples_make_a_page_of_less_than_10_mb(make_run):
    folder = make_run("cells", (256, 256, 3))
    for step in range(1, 40):
        (folder / "samples" / f"step_{step:08d}.npy").write_bytes(
            (folder / "samples" / "step_00000310.npy").read_bytes()
        )
    path = write_report(folder)
    assert path.stat().st_size < 10e6
    assert 2 <= len(data_of(path)["frames"][0]) <= 24


def test_volumes_are_turned_as_the_letters_say(make_run):
    folder = make_run("mri", (6, 7, 8, 1), ["a", "b"], TURNED, "mri64:small")
    samples = np.full((16, 6, 7, 8, 1), -1, np.float32)
    samples[0, 1, 5, 2] = 1  # near the front, near the top, on the right
    np.save(folder / "samples" / "step_00000623.npy", samples)
    data = data_of(write_report(folder))
    volume = data["volumes"][0]
    assert volume["title"] == "generated 1, class a" and volume["size"] == [8, 6, 7]
    import base64
    import io

    sheet = np.asarray(Image.open(io.BytesIO(base64.b64decode(volume["src"].partition(",")[2]))))
    width, height, depth = volume["size"]
    slices = [
        sheet[z // volume["columns"] * height :, z % volume["columns"] * width :][:height, :width] for z in range(depth)
    ]
    z, y, x = np.argwhere(np.stack(slices) > 128)[0]
    assert (x, y, z) == (8 - 1 - 2, 6 - 1 - 1, 5), "right, front and top rise"
    letters = {plane["title"]: "".join(plane["letters"][side] for side in "lrtb") for plane in data["planes"]}
    assert letters == {"axial": "LRAP", "coronal": "LRSI", "sagittal": "PASI"}


def test_several_runs_are_compared(make_run, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    one, two = make_run("one", (8, 8, 1)), make_run("two", (8, 8, 1), optimizer__lr=0.5, seed=0)
    evaluation(one)
    assert command.main([str(one), str(two)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "comparison.html"
    page = (tmp_path / "comparison.html").read_text()
    rows = re.search(r"What differs in the configuration.*?</section>", page, re.S)[0]
    assert "optimizer.lr" in rows and "0.5" in rows and rows.count("<td>") == 3
    assert 'href="one/report.html"' in page and "65.8" in page
    data = data_of(tmp_path / "comparison.html")
    assert [run["name"] for run in data["runs"]] == ["one", "two"] and len(data["frames"]) == 2
    (tmp_path / "notes.txt").write_text("precious")
    with pytest.raises(InputError, match=r"notes\.txt exists and is no comparison.*--overwrite"):
        write_comparison([one, two], tmp_path / "notes.txt")
    with pytest.raises(InputError, match="second run"):
        command.main([str(one), "--output", "x.html"])
    assert write_comparison([one, two], tmp_path / "comparison.html").exists(), "its own page is replaced"


def test_markdown_of_cards():
    found = to_html(
        "---\nlicense: mit\n---\n# A\n\ntext `x<y` **b**\nmore\n\n- one\n  two\n- three\n\n```\n<i>\n```\n[l](u)"
    )
    assert "license" not in found and "<h3>A</h3>" in found
    assert "<p>text <code>x&lt;y</code> <strong>b</strong> more</p>" in found
    assert "<ul><li>one two</li><li>three</li></ul>" in found and "<pre>&lt;i&gt;</pre>" in found and "l (u)" in found


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.mark.slow
@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)])
def test_in_a_browser(browser, make_run, width, dark, tmp_path):
    folder = make_run("mri", (12, 12, 12, 1), ["a", "b"], TURNED, "mri64:small")
    evaluation(folder)
    path = write_report(folder)
    browser.size(width, 900, dark)
    seconds = browser.open(path)
    assert seconds < 5, "a second on an idle machine"
    assert browser.js("document.documentElement.scrollWidth") <= width, "nothing sticks out of a phone"
    ground = browser.js("getComputedStyle(document.body).backgroundColor")
    assert ground == ("rgb(20, 23, 27)" if dark else "rgb(255, 255, 255)")

    # The slider, by keyboard: pictures, captions and alternative texts follow.
    browser.js("document.getElementById('slider').focus()")
    last = browser.js("document.getElementById('frame').src")
    browser.key("ArrowLeft")
    caption = browser.js("document.getElementById('frame-caption').textContent")
    assert "iteration 310" in caption and browser.js("document.getElementById('frame').alt") == caption
    assert browser.js("document.getElementById('frame').src") != last

    # Hover: the readout has the values of the nearest point.
    left, top, wide, high = browser.place("#charts .plot")
    browser.mouse("mouseMoved", left + wide / 2, top + high / 2)
    readout = browser.js("document.querySelector('#charts output').textContent")
    step, values = re.match(r"step (\d+): (.*)", readout).groups()
    record = next(r for r in read_contents(folder).records if r["step"] == int(step))
    shown = float(re.search(r"critic loss (\S+)", values)[1].strip(","))
    assert shown == pytest.approx(record["critic_loss"], rel=1e-3), readout

    # Zoom: dragging narrows the axis, a double click gives all of it back.
    ends = "(() => { const t = [...document.querySelectorAll('#charts .plot')[0].querySelectorAll('text')]" \
           ".map((e) => e.textContent); return t[t.length - 1]; })()"  # fmt: skip
    before = browser.js("[view.range, view.charts.length]")
    assert before[0] is None and before[1] >= 4
    browser.mouse("mousePressed", left + wide * 0.5, top + high / 2, True)
    browser.mouse("mouseMoved", left + wide * 0.8, top + high / 2, True)
    browser.mouse("mouseReleased", left + wide * 0.8, top + high / 2)
    low, high_end = browser.js("view.range")
    assert 150 < low < high_end < 560 and browser.js(ends)
    browser.js("document.querySelector('#charts .plot').focus()")
    browser.key("0")
    assert browser.js("view.range") is None

    # Keys: the cursor goes from point to point, + zooms, L switches the scale.
    browser.key("ArrowRight")
    first = browser.js("document.querySelector('#charts output').textContent")
    browser.key("ArrowRight")
    assert first != browser.js("document.querySelector('#charts output').textContent") != ""
    browser.key("+")
    assert browser.js("view.range") is not None
    browser.key("l")
    assert browser.js("document.getElementById('log').getAttribute('aria-pressed')") == "true"
    browser.js("document.querySelector('.legend button').click()")
    assert browser.js("document.querySelector('.legend button').getAttribute('aria-pressed')") == "false"

    # Slices: the slider of the first plane draws another one.
    shot = "document.querySelector('#slices canvas').toDataURL()"
    wait_for(browser, "document.querySelector('#slices canvas').width === 12")
    middle = browser.js(shot)
    browser.js("document.querySelector('#slices input').focus()")
    browser.key("ArrowRight")
    assert browser.js(shot) != middle
    assert "axial 8 of 12" in browser.js("document.querySelector('#slices canvas').getAttribute('aria-label')")
    left, top, wide, high = browser.place("#slices .slice")
    browser.mouse("mousePressed", left + wide / 2, top + high / 2, True)
    browser.mouse("mouseMoved", left + wide / 2, top + high / 4, True)
    browser.mouse("mouseReleased", left + wide / 2, top + high / 4)
    assert "axial 8 of 12" not in browser.js("document.querySelector('#slices canvas').getAttribute('aria-label')")

    assert browser.complaints() == []
    browser.screenshot(tmp_path / "page.png")
    with Image.open(tmp_path / "page.png") as picture:
        assert picture.width == width and np.ptp(np.asarray(picture.convert("L"))) > 200


def wait_for(browser, condition):
    end = time.monotonic() + 10
    while not browser.js(condition):
        assert time.monotonic() < end, condition
        time.sleep(0.02)
