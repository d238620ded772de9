"""Cloud addresses: copies that are complete and current, checkpoints that are whole or not there, plain errors."""

import contextlib
import io
import shutil
import sys
import time

import numpy as np
import pytest
import tifffile

from jaxgan import clouds, files
from jaxgan.commands import flags, generate
from jaxgan.commands import train as command
from jaxgan.data.open import open_dataset
from jaxgan.errors import InputError
from jaxgan.processes import ending
from jaxgan.runs import lease, mirror, upload
from jaxgan.runs.checkpoint import Checkpoints
from jaxgan.runs.checkpoint_folder import set_aside
from jaxgan.runs.metrics_log import read_metrics
from jaxgan.runs.mirror import mirrored
from jaxgan.training import drawing

fsspec = pytest.importorskip("fsspec")


@pytest.fixture
def store(tmp_path, monkeypatch):
    """A store in this process's memory; its client is fsspec's own."""
    monkeypatch.setenv("JAXGAN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(clouds.EXTRAS, "memory", "memory")
    monkeypatch.setattr(upload, "_SECONDS_TO_SETTLE", 0.0)
    files = fsspec.filesystem("memory")
    files.store.clear()
    yield files
    files.store.clear()


def tiff(image):
    stream = io.BytesIO()
    tifffile.imwrite(stream, image)
    return stream.getvalue()


def fill(files, folder, count=3):
    images = np.random.default_rng(0).integers(0, 256, (count, 8, 8)).astype(np.uint8)
    for number, image in enumerate(images):
        files.pipe_file(f"{folder}/{number}.tif", tiff(image))
    return images


def test_a_folder_is_copied_and_only_what_changed_again(store, monkeypatch):
    images = fill(store, "/bucket/maps")
    fill(store, "/bucket/maps2", 1)  # whose name begins alike
    data = open_dataset("memory://bucket/maps")
    np.testing.assert_array_equal(data.read([0, 1, 2])[..., 0], images)
    sent = []
    whole = clouds.Store.get
    monkeypatch.setattr(clouds.Store, "get", lambda self, name, target: sent.append(name) or whole(self, name, target))
    folder = clouds.fetch("memory://bucket/maps/")
    assert sorted(path.name for path in folder.iterdir()) == ["0.tif", "1.tif", "2.tif"] and not sent
    store.pipe_file("/bucket/maps/1.tif", tiff(images[0]))
    store.rm("/bucket/maps/2.tif")
    (folder / "0.tif").unlink()
    data = open_dataset("memory://bucket/maps")
    assert sorted(sent) == ["0.tif", "1.tif"]
    np.testing.assert_array_equal(data.read([0, 1])[..., 0], images[[0, 0]])


def test_a_single_file_is_copied(store):
    store.pipe_file("/bucket/a.npz", b"content")
    path = clouds.fetch("memory://bucket/a.npz")
    assert path.name == "a.npz" and path.read_bytes() == b"content"
    store.rm("/bucket/a.npz")
    store.pipe_file("/bucket/a.npz/inner", b"now a folder")
    assert (clouds.fetch("memory://bucket/a.npz") / "inner").read_bytes() == b"now a folder"


def test_names_that_lead_out_of_the_folder_are_refused(store, monkeypatch):
    found = {"/bucket/maps/../../evil": {"size": 1, "type": "file"}}
    monkeypatch.setattr(type(store), "find", lambda *args, **kwargs: found)
    with pytest.raises(InputError, match="is none of a file"):
        clouds.fetch("memory://bucket/maps")


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("memory://bucket/none", "nothing is there"),
        ("memory://", "names no bucket"),
        ("memory://bucket/..", "names no bucket or no folder"),
        ("memory://bucket//x", "names no bucket or no folder"),
        ("ftp://host/x", "ftp:// is not known, only s3://, gs://"),
    ],
)
def test_what_is_not_there_is_one_line(store, address, message):
    with pytest.raises(InputError, match=message):
        clouds.fetch(address)


@pytest.mark.parametrize(("scheme", "client"), [("s3", "s3fs"), ("gs", "gcsfs")])
def test_without_a_client_the_extra_is_named(monkeypatch, scheme, client):
    monkeypatch.setitem(sys.modules, client, None)
    fsspec.registry._registry.pop(scheme, None) if hasattr(fsspec.registry, "_registry") else None
    with pytest.raises(InputError, match=rf"pip install 'jaxgan\[{scheme}\]'"):
        open_dataset(f"{scheme}://bucket/x")


def test_flags_that_write_take_no_address(capsys):
    with pytest.raises(SystemExit):
        generate.parser().parse_args(["--checkpoint", "s3://b/run", "--output_dir", "s3://b/out"])
    assert "s3://b/out: is an address, and this must be a local path" in capsys.readouterr().err
    assert flags.source("s3://b/run") == "s3://b/run"


def test_a_checkpoint_is_whole_when_its_marker_is_there(store, tmp_path):
    with mirrored("memory://bucket/run") as folder:
        for name in ("checkpoints/5/state/a", "checkpoints/7/state/a", "metrics.jsonl", "lock.json",
                     "checkpoints/9.orbax-checkpoint-tmp/a"):  # fmt: skip
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(name)
    names = {name.removeprefix("/bucket/run/") for name in store.store}
    assert names == {"checkpoints/5/state/a", "checkpoints/5/COMMITTED", "checkpoints/7/state/a",
                     "checkpoints/7/COMMITTED", "metrics.jsonl"}  # fmt: skip
    store.rm("/bucket/run/checkpoints/7/COMMITTED")  # as a kill amid the upload leaves it
    with mirrored("memory://bucket/run") as folder:
        assert not (folder / "checkpoints" / "7").exists() and (folder / "checkpoints" / "5" / "state" / "a").is_file()
        assert not list(folder.rglob("COMMITTED"))


def test_a_marker_comes_last_and_goes_first(store, monkeypatch):
    order = []
    for method in ("put_file", "pipe_file", "rm_file"):
        real = getattr(type(store), method)

        def noted(self, *args, real=real, method=method, **kwargs):
            name = args[method == "put_file"].split("run/")[1]
            order.extend([] if name.startswith(clouds.PRIVATE) else [(method, name)])
            return real(self, *args, **kwargs)

        monkeypatch.setattr(type(store), method, noted)
    with mirrored("memory://bucket/run") as folder:
        checkpoint(folder, 3)
        (folder / "metrics.jsonl").write_text("x")
    assert order == [
        ("put_file", "checkpoints/3/a"),
        ("put_file", "metrics.jsonl"),
        ("pipe_file", "checkpoints/3/COMMITTED"),
    ]
    order.clear()
    with mirrored("memory://bucket/run") as folder:
        shutil.rmtree(folder / "checkpoints" / "3")
        checkpoint(folder, 4)
    assert order[2:] == [("rm_file", "checkpoints/3/COMMITTED"), ("rm_file", "checkpoints/3/a")]


def checkpoint(folder, step, content="x"):
    path = folder / "checkpoints" / str(step) / "a"
    path.parent.mkdir(parents=True)
    path.write_text(content)


def wait_until(condition):
    for _ in range(1000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it does not come")


def names_in(store):
    return {name.removeprefix("/bucket/run/") for name in store.store}


def test_a_run_in_training_is_read_and_trained_by_nobody_else(store):
    with mirrored("memory://bucket/run") as folder:
        checkpoint(folder, 10)
        (folder / "metrics.jsonl").write_text("1")
        with (
            pytest.raises(InputError, match="another process of this machine trains there"),
            mirrored("memory://bucket/run"),
        ):
            pass
        with pytest.raises(InputError, match="nothing is there"):
            clouds.fetch("memory://bucket/run")
        assert (folder / "checkpoints" / "10" / "a").is_file() and (folder / "metrics.jsonl").read_text() == "1"
        assert not list(clouds.local_copy(clouds.Store("memory://bucket/run"), "read").parent.rglob("*"))
    copy = clouds.fetch("memory://bucket/run")
    assert copy != folder and copy.name == folder.name == "run" and (copy / "checkpoints" / "10" / "a").is_file()


def failing(store, monkeypatch, names):
    """The network is away for files that have one of the names in them."""
    real = type(store).put_file

    def put_file(self, source, target, **kwargs):
        if any(name in target for name in names):
            raise ConnectionError("away")
        return real(self, source, target, **kwargs)

    monkeypatch.setattr(type(store), "put_file", put_file)


def test_what_could_not_be_sent_is_sent_by_the_next_start(store, monkeypatch):
    with mirrored("memory://bucket/run") as folder:
        checkpoint(folder, 10)
    away = ["/20/"]
    failing(store, monkeypatch, away)
    with pytest.raises(InputError, match="cannot be written"), mirrored("memory://bucket/run") as folder:
        shutil.rmtree(folder / "checkpoints" / "10")
        checkpoint(folder, 20)
        (folder / "metrics.jsonl").write_text("20")
    assert "checkpoints/10/COMMITTED" in names_in(store), "the old one stays until the new one is there"
    away.clear()
    with mirrored("memory://bucket/run") as folder:
        assert (folder / "checkpoints" / "20" / "a").is_file() and (folder / "metrics.jsonl").read_text() == "20"
    assert {"checkpoints/20/a", "checkpoints/20/COMMITTED", "metrics.jsonl"} <= names_in(store)


def test_what_could_not_be_sent_yields_to_nobody_silently(store, monkeypatch):
    with mirrored("memory://bucket/run") as folder:
        checkpoint(folder, 10)
    with monkeypatch.context() as patch:
        failing(store, patch, ["/20/"])
        with pytest.raises(InputError, match="cannot be written"), mirrored("memory://bucket/run") as folder:
            checkpoint(folder, 20)
    for name in ("a", "COMMITTED"):  # Another machine went on.
        store.pipe_file(f"/bucket/run/checkpoints/15/{name}", b"x")
    with (
        pytest.raises(InputError, match=r"holds checkpoints/20, which was never sent"),
        mirrored("memory://bucket/run"),
    ):
        pass
    assert (folder / "checkpoints" / "20" / "a").is_file()


def test_a_fetch_that_was_cut_off_is_no_work_left(store, monkeypatch):
    with mirrored("memory://bucket/run") as folder:
        checkpoint(folder, 10)
        (folder / "metrics.jsonl").write_text("10")
    for name, content in (("checkpoints/20/a", b"x"), ("checkpoints/20/COMMITTED", b"x"), ("metrics.jsonl", b"1020")):
        store.pipe_file(f"/bucket/run/{name}", content)  # Another machine went on.
    with monkeypatch.context() as patch:
        real = clouds.Store.get

        def get(self, name, target):
            if name == "metrics.jsonl":
                raise InputError("cut off")
            real(self, name, target)

        patch.setattr(clouds.Store, "get", get)
        with pytest.raises(InputError, match="cut off"), mirrored("memory://bucket/run"):
            pass
    assert (folder / "checkpoints" / "20" / "a").is_file()
    with mirrored("memory://bucket/run") as folder:
        assert (folder / "metrics.jsonl").read_text() == "1020"
    assert store.cat_file("/bucket/run/metrics.jsonl") == b"1020"


def test_an_old_checkpoint_stays_while_no_new_one_is_whole(store, monkeypatch):
    with mirrored("memory://bucket/run") as folder:
        checkpoint(folder, 10)
        (folder / "checkpoints" / "10" / "b").write_text("x")
    real = type(store).put_file

    def rotated(self, source, target, **kwargs):
        if "/20/b" in target:
            shutil.rmtree(folder / "checkpoints" / "20")
            raise FileNotFoundError(source)
        return real(self, source, target, **kwargs)

    monkeypatch.setattr(type(store), "put_file", rotated)
    with mirrored("memory://bucket/run") as folder:
        shutil.rmtree(folder / "checkpoints" / "10")
        checkpoint(folder, 20)
        (folder / "checkpoints" / "20" / "b").write_text("x")
    assert names_in(store) >= {"checkpoints/10/a", "checkpoints/10/b", "checkpoints/10/COMMITTED"}
    with mirrored("memory://bucket/run") as folder:
        assert (folder / "checkpoints" / "10" / "b").is_file()


def test_what_a_run_went_back_behind_does_not_come_again(store, monkeypatch):
    with mirrored("memory://bucket/run") as folder:
        checkpoint(folder, 10)
        checkpoint(folder, 30)
    with (
        monkeypatch.context() as patch,
        pytest.raises(InputError, match="cannot be written"),
        mirrored("memory://bucket/run") as folder,
    ):
        failing(store, patch, ["run"])
        patch.setattr(type(store), "rm_file", lambda *args: (_ for _ in ()).throw(ConnectionError("away")))
        assert len(set_aside(folder, 10)) == 1
        checkpoint(folder, 20)
    with mirrored("memory://bucket/run") as folder:
        assert sorted(path.name for path in (folder / "checkpoints").iterdir()) == ["10", "20"]
    assert "checkpoints/20/COMMITTED" in names_in(store) and not [n for n in names_in(store) if "checkpoints/30/" in n]


def dying(patch, last, after):
    """Ends what is done on the store before or after its `last` operation from now on; a list that grows with each."""
    done = []
    for name in ("put", "write", "remove"):
        real = getattr(clouds.Store, name)

        def counted(self, *args, real=real):
            done.append(args)
            if len(done) > last or (len(done) == last and not after):
                raise KeyboardInterrupt  # Who is dead does nothing more there.
            real(self, *args)
            if len(done) == last:
                raise KeyboardInterrupt

        patch.setattr(clouds.Store, name, counted)
    patch.setattr(upload, "write_json", lambda *args: files.write_json(*args) if len(done) < last else None)
    return done


@pytest.mark.parametrize("last", range(1, 12))
@pytest.mark.parametrize("after", [True, False])
@pytest.mark.parametrize("where", ["same cache", "another machine"])
def test_a_kill_at_any_time_leaves_what_the_next_start_takes(store, tmp_path, monkeypatch, last, after, where):
    """Before or after any operation on the store, of the probe, the lease and the upload, while a new checkpoint takes
    the place of an old one."""
    with mirrored("memory://bucket/run") as folder:
        checkpoint(folder, 10)
    begun = False
    with monkeypatch.context() as patch, contextlib.suppress(KeyboardInterrupt):
        done = dying(patch, last, after)
        with mirrored("memory://bucket/run") as folder:
            begun = True
            shutil.rmtree(folder / "checkpoints" / "10")
            checkpoint(folder, 20)
            (folder / "metrics.jsonl").write_text("1020")
        assert len(done) < last
    whole = [name for name in names_in(store) if name.endswith("COMMITTED")]
    assert whole and all(name.replace("COMMITTED", "a") in names_in(store) for name in whole)
    steps = {int(name.split("/")[1]) for name in whole}
    if where == "another machine":
        monkeypatch.setenv("JAXGAN_CACHE", str(tmp_path / "another"))
        if lease.NAME in names_in(store):
            with pytest.raises(InputError, match="trains there"), mirrored("memory://bucket/run"):
                pass
            monkeypatch.setattr(lease, "_STALE_SECONDS", 0.0)
        with mirrored("memory://bucket/run") as folder:
            assert {int(path.name) for path in (folder / "checkpoints").iterdir()} == steps
            monkeypatch.setattr(lease, "_STALE_SECONDS", 300.0)
        assert lease.NAME not in names_in(store)
        return
    with mirrored("memory://bucket/run") as folder:
        if not begun:
            assert (folder / "checkpoints" / "10" / "a").is_file()
            return
        assert (folder / "checkpoints" / "20" / "a").is_file() and (folder / "metrics.jsonl").read_text() == "1020"
    assert names_in(store) == {"checkpoints/20/a", "checkpoints/20/COMMITTED", "metrics.jsonl"}


def test_a_checkpoint_that_is_made_anew_is_never_half_marked(store, monkeypatch):
    with mirrored("memory://bucket/run") as folder:
        checkpoint(folder, 10, "old")
    failing(store, monkeypatch, ["/10/"])
    with pytest.raises(InputError, match="cannot be written"), mirrored("memory://bucket/run") as folder:
        shutil.rmtree(folder / "checkpoints" / "10")
        checkpoint(folder, 10, "new one")
    assert "checkpoints/10/COMMITTED" not in names_in(store)


def test_a_signal_waits_for_the_last_upload(store, monkeypatch):
    seen = []
    real = clouds.Store.put
    monkeypatch.setattr(clouds.Store, "put", lambda *args: seen.append(ending._State.holder) or real(*args))
    with mirrored("memory://bucket/run") as folder:
        checkpoint(folder, 10)
    assert [holder.activity for holder in seen] == ["the upload to memory://bucket/run"]
    assert ending._State.holder is None


def test_an_error_of_a_moment_is_said_and_does_not_end_the_sending(store, monkeypatch, caplog):
    monkeypatch.setattr(mirror, "_SECONDS_BETWEEN", 0.01)
    away = []
    failing(store, monkeypatch, away)
    with mirrored("memory://bucket/run") as folder:
        away.append("run")
        checkpoint(folder, 10)
        wait_until(lambda: caplog.messages)
        away.clear()
        wait_until(lambda: len(caplog.messages) > 1)
        assert "checkpoints/10/COMMITTED" in names_in(store)
    failed, works = caplog.messages
    assert "cannot be written (ConnectionError: away); the last upload that worked was 0:00:0" in failed
    assert works == "memory://bucket/run: the upload works again, and all is there"


TINY = ["--config", "mnist:wgan_gp", "--data_dir", "demo", "--config.train.batch_size=8",
        "--config.objective.n_critic=1", "--config.generator.widths=(4,4)", "--config.critic.widths=(4,4)",
        "--config.train.num_samples=4", "--config.train.log_every_iterations=1"]  # fmt: skip


def test_a_run_goes_on_from_the_store_on_another_machine(store, tmp_path, monkeypatch):
    for name in ("make_figures", "write_report"):
        monkeypatch.setattr(drawing, name, lambda run_dir: None)
    there = ["--workdir", "memory://bucket/runs/digits"]
    assert command.main([*TINY, *there, "--config.train.iterations=2"]) == 0
    monkeypatch.setenv("JAXGAN_CACHE", str(tmp_path / "another"))
    assert command.main([*TINY, *there, "--config.train.iterations=4"]) == 0
    assert command.main([*TINY, "--workdir", str(tmp_path / "local"), "--config.train.iterations=4"]) == 0
    monkeypatch.setenv("JAXGAN_CACHE", str(tmp_path / "third"))
    copy = clouds.fetch("memory://bucket/runs/digits")
    assert [record["step"] for record in read_metrics(copy)] == [1, 2, 3, 4]
    arrays = []
    for folder in (copy, tmp_path / "local"):
        with Checkpoints(folder) as checkpoints:
            arrays.append(checkpoints.read(4)[0])
    for name, array in arrays[0].items():
        np.testing.assert_array_equal(array, arrays[1][name])
    monkeypatch.chdir(tmp_path)
    flags = ["--checkpoint", "memory://bucket/runs/digits", "--formats", "npy", "--num_samples", "2"]
    assert generate.main(flags) == 0
    assert len(list((tmp_path / "generated").glob("digits-*/samples.npy"))) == 1


@pytest.fixture
def s3(tmp_path, monkeypatch):
    """moto's server, which speaks S3, on this machine."""
    pytest.importorskip("s3fs")
    server = pytest.importorskip("moto.server")
    running = server.ThreadedMotoServer(port=0, verbose=False)
    running.start()
    _, port = running.get_host_and_port()
    for name, value in {
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "JAXGAN_CACHE": str(tmp_path / "cache"),
    }.items():
        monkeypatch.setenv(name, value)  # fmt: skip
    fsspec.filesystem("s3", skip_instance_cache=True).mkdir("bucket")
    yield fsspec.filesystem("s3", skip_instance_cache=True)
    running.stop()


@pytest.mark.extras
def test_a_local_s3_server_holds_data_and_runs(s3, tmp_path, monkeypatch):
    images = fill(s3, "bucket/maps")
    np.testing.assert_array_equal(open_dataset("s3://bucket/maps").read([0, 1, 2])[..., 0], images)
    with mirrored("s3://bucket/run") as folder:
        (folder / "checkpoints" / "3").mkdir(parents=True)
        (folder / "checkpoints" / "3" / "a").write_bytes(b"")  # empty files are files too
        (folder / "metrics.jsonl").write_text("{}\n")
    names = {name.removeprefix("bucket/run/") for name in s3.find("bucket/run")}
    assert names == {"checkpoints/3/a", "checkpoints/3/COMMITTED", "metrics.jsonl"}
    with mirrored("s3://bucket/run") as folder:
        (folder / "metrics.jsonl").write_text("{}\n{}\n")
        monkeypatch.setenv("JAXGAN_CACHE", str(tmp_path / "another"))
        with pytest.raises(InputError, match="wait 5 minutes"), mirrored("s3://bucket/run"):
            pass
    assert s3.cat_file("bucket/run/metrics.jsonl") == b"{}\n{}\n"
    with (
        pytest.raises(InputError, match="cannot be (written|read)"),
        mirrored("s3://no-such-bucket/run") as folder,
    ):
        (folder / "a").write_text("a")
