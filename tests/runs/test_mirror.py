"""A run at a cloud address loses nothing there by what happens to its local copy, the network or on other machines."""

import contextlib
import fcntl
import os
import shutil
import time

import pytest

from jaxgan import clouds
from jaxgan.errors import InputError, Stopped
from jaxgan.runs import lease, mirror, upload
from jaxgan.runs.checkpoint_folder import set_aside
from jaxgan.runs.mirror import mirrored
from tests import test_clouds
from tests.test_clouds import checkpoint, dying, failing, names_in, wait_until

ADDRESS = "memory://bucket/run"
store = test_clouds.store


def make_run(*steps):
    """A run at the address, with the files that every run has; its names there."""
    with mirrored(ADDRESS) as folder:
        (folder / "config.json").write_text("{}")
        (folder / "metrics.jsonl").write_text("10")
        for step in steps:
            checkpoint(folder, step)
            (folder / "checkpoints" / str(step) / "b").write_text("x")
    return folder


def empty(folder):
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.mark.parametrize("how", ["removed", "replaced", "while it is looked at"])
def test_a_copy_that_is_removed_deletes_nothing_at_the_address(store, tmp_path, monkeypatch, how):
    make_run(10, 20, 30)
    before = names_in(store)
    removed = pytest.raises(Stopped, match="was removed or replaced")
    with monkeypatch.context() as patch, removed, mirrored(ADDRESS) as folder:
        if how == "while it is looked at":
            shutil.rmtree(folder / "checkpoints" / "30")
            patch.setattr(upload.time, "sleep", lambda seconds: shutil.rmtree(tmp_path / "cache"))
        else:
            shutil.rmtree(tmp_path / "cache")
        if how == "replaced":
            checkpoint(folder, 5)
    assert names_in(store) == before
    with mirrored(ADDRESS) as folder:
        assert sorted(os.listdir(folder / "checkpoints")) == ["10", "20", "30"]


@pytest.mark.parametrize("how", ["emptied", "by age"])
def test_a_copy_that_is_cleaned_deletes_nothing_and_sends_on(store, caplog, monkeypatch, how):
    monkeypatch.setattr(mirror, "_SECONDS_BETWEEN", 0.01)
    monkeypatch.setattr(upload, "_SECONDS_TO_SETTLE", 0.2)  # It is emptied within that time.
    make_run(10, 20, 30)
    before = names_in(store)
    with mirrored(ADDRESS) as folder:
        if how == "emptied":
            empty(folder)
        else:
            (folder / "config.json").unlink()
            shutil.rmtree(folder / "checkpoints" / "10")
            (folder / "checkpoints" / "20" / "b").unlink()
        checkpoint(folder, 40)
        wait_until(lambda: "checkpoints/40/COMMITTED" in names_in(store))
        time.sleep(0.05)
    assert names_in(store) == before | {"checkpoints/40/a", "checkpoints/40/COMMITTED"}
    assert [message for message in caplog.messages if "something removes files" in message] == caplog.messages[:1]


@pytest.mark.parametrize("step", [10, 20])
def test_a_checkpoint_that_lost_a_file_here_stays_whole_there(store, step):
    make_run(10, 20)
    before = names_in(store)
    with mirrored(ADDRESS) as folder:
        (folder / "checkpoints" / str(step) / "a").unlink()
    assert names_in(store) == before
    with mirrored(ADDRESS) as folder:
        assert (folder / "checkpoints" / str(step) / "a").is_file()


def test_only_what_the_run_dropped_is_deleted(store):
    make_run(10, 20, 30, 40)
    with mirrored(ADDRESS) as folder:
        (folder / "origin.json").write_text("{}")
    with mirrored(ADDRESS) as folder:
        (folder / "origin.json").unlink()
        shutil.rmtree(folder / "checkpoints" / "10")  # rotated out
        set_aside(folder, 30)  # gone back behind
        shutil.rmtree(folder / "checkpoints" / "30")  # lost: no newer one is here
    whole = {name for name in names_in(store) if name.endswith("COMMITTED")}
    assert whole == {"checkpoints/20/COMMITTED", "checkpoints/30/COMMITTED"} and "origin.json" not in names_in(store)
    assert not [name for name in names_in(store) if name.startswith(("checkpoints/10/", "checkpoints/40/"))]


def test_a_checkpoint_that_vanishes_while_it_is_sent_is_not_marked(store, monkeypatch):
    real = clouds.Store.put
    with mirrored(ADDRESS) as folder:
        checkpoint(folder, 10)
        (folder / "checkpoints" / "10" / "b").write_text("x")

        def put(self, source, below):
            real(self, source, below)
            (folder / "checkpoints" / "10" / "a").unlink(missing_ok=True)

        monkeypatch.setattr(clouds.Store, "put", put)
    assert "checkpoints/10/COMMITTED" not in names_in(store)


def test_what_cannot_be_read_is_not_taken_for_gone(tmp_path, monkeypatch):
    checkpoint(tmp_path, 10)
    real = os.scandir

    def scandir(path):
        if str(path).endswith("10"):
            raise PermissionError(path)
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(PermissionError):
        upload.look(tmp_path)


@pytest.mark.parametrize("method", ["pipe_file", "rm_file"])
def test_what_cannot_be_written_is_said_before_the_work(store, monkeypatch, method):
    def refused(*args, **kwargs):
        raise PermissionError("AccessDenied")

    monkeypatch.setattr(type(store), method, refused)
    with pytest.raises(InputError, match="memory://bucket/run: cannot be written .* allow that, or choose another"):
        mirrored(ADDRESS).__enter__()


def test_uploads_that_fail_are_said_now_and_then(store, monkeypatch, caplog):
    monkeypatch.setattr(mirror, "_SECONDS_BETWEEN", 0.01)
    away, tries = [], []
    failing(store, monkeypatch, away)
    real = upload.Upload.send
    monkeypatch.setattr(upload.Upload, "send", lambda self: tries.append(1) or real(self))
    with contextlib.suppress(InputError), mirrored(ADDRESS) as folder:
        away.append("run")
        (folder / "metrics.jsonl").write_text("10")
        wait_until(lambda: len(tries) > 5)
        assert len(caplog.messages) == 1
        monkeypatch.setattr(mirror, "_SECONDS_BETWEEN_WARNINGS", 0.02)
        wait_until(lambda: len(caplog.messages) > 2)
    assert all("the last upload that worked was 0:00:0" in message for message in caplog.messages)


def leave_unsent(store, monkeypatch):
    """A run whose checkpoint was sent, but nothing after it."""
    make_run(10)
    with monkeypatch.context() as patch:
        failing(store, patch, ["run"])
        with pytest.raises(InputError, match="cannot be written"), mirrored(ADDRESS) as folder:
            (folder / "report.html").write_text("report")
            (folder / "metrics.jsonl").write_text("10 11 12")


def test_files_of_no_checkpoint_that_could_not_be_sent_are_sent_by_the_next_start(store, monkeypatch):
    leave_unsent(store, monkeypatch)
    with mirrored(ADDRESS) as folder:
        assert (folder / "report.html").is_file() and (folder / "metrics.jsonl").read_text() == "10 11 12"
        assert store.cat_file("/bucket/run/metrics.jsonl") == b"10 11 12" and "report.html" in names_in(store)


def test_they_yield_to_what_others_wrote_since_and_are_kept(store, monkeypatch, caplog):
    leave_unsent(store, monkeypatch)
    store.pipe_file("/bucket/run/metrics.jsonl", b"10 11 of another machine")
    with mirrored(ADDRESS) as folder:
        assert (folder / "metrics.jsonl").read_text() == "10 11 of another machine"
        (aside,) = folder.parent.glob("run.unsent-*")
    assert (aside / "report.html").read_text() == "report" and (aside / "metrics.jsonl").read_text() == "10 11 12"
    assert str(aside) in caplog.text and "report.html" not in names_in(store)


def test_a_log_that_was_sent_before_a_kill_and_grew_is_not_that_of_others(store, monkeypatch):
    make_run(10)
    with monkeypatch.context() as patch, contextlib.suppress(KeyboardInterrupt), mirrored(ADDRESS) as folder:
        (folder / "metrics.jsonl").write_text("10 11")
        dying(patch, 2, True)
    assert store.cat_file("/bucket/run/metrics.jsonl") == b"10 11"
    (folder / "metrics.jsonl").write_text("10 11 12")
    with mirrored(ADDRESS) as folder:
        assert (folder / "metrics.jsonl").read_text() == "10 11 12"


@pytest.mark.parametrize("last", range(1, 10))
@pytest.mark.parametrize("after", [True, False])
@pytest.mark.parametrize("what", ["gone back behind", "made anew"])
def test_a_kill_leaves_no_checkpoint_that_is_not_whole(store, monkeypatch, last, after, what):
    make_run(5, 10)
    with monkeypatch.context() as patch, contextlib.suppress(KeyboardInterrupt):
        with mirrored(ADDRESS) as folder:
            done = dying(patch, last, after)
            set_aside(folder, 5)
            checkpoint(folder, 7 if what == "gone back behind" else 10, "anew")
        assert len(done) < last
    whole = {name for name in names_in(store) if name.endswith("COMMITTED")}
    assert "checkpoints/5/COMMITTED" in whole
    assert all(name.replace("COMMITTED", "a") in names_in(store) for name in whole)
    with mirrored(ADDRESS) as folder:
        step = "7" if what == "gone back behind" else "10"
        assert sorted(os.listdir(folder / "checkpoints")) == sorted(["5", step])
        assert os.listdir(folder / "checkpoints" / step) == ["a"]
        assert (folder / "checkpoints" / step / "a").read_text() == "anew"


def as_machine(monkeypatch, tmp_path, name):
    monkeypatch.setenv("JAXGAN_CACHE", str(tmp_path / name))
    monkeypatch.setattr(lease.socket, "gethostname", lambda: name)


def test_a_second_machine_is_refused_and_writes_nothing(store, tmp_path, monkeypatch):
    as_machine(monkeypatch, tmp_path, "first")
    with mirrored(ADDRESS) as folder:
        (folder / "metrics.jsonl").write_text("first")
        before = dict(store.store)
        as_machine(monkeypatch, tmp_path, "second")
        with pytest.raises(
            InputError, match=r"process \d+ on first, since .*, trains there: .* wait 5 minutes, or rem"
        ):
            mirrored(ADDRESS).__enter__()
        assert store.store == before
        as_machine(monkeypatch, tmp_path, "first")
    assert names_in(store) == {"metrics.jsonl"}
    as_machine(monkeypatch, tmp_path, "second")
    with mirrored(ADDRESS) as folder:
        assert (folder / "metrics.jsonl").read_text() == "first"


def test_who_lost_the_address_sends_nothing_more(store, tmp_path, monkeypatch, caplog):
    as_machine(monkeypatch, tmp_path, "first")
    monkeypatch.setattr(mirror, "_SECONDS_BETWEEN", 0.01)
    with contextlib.ExitStack() as second:
        lost = pytest.raises(Stopped, match=r"process \d+ on second, since .*, has taken it over")
        with lost, mirrored(ADDRESS) as folder:
            store.rm_file(f"/bucket/run/{lease.NAME}")
            as_machine(monkeypatch, tmp_path, "second")
            second.enter_context(mirrored(ADDRESS))
            checkpoint(folder, 10)
            wait_until(lambda: caplog.messages)
            as_machine(monkeypatch, tmp_path, "first")
        assert names_in(store) == {lease.NAME} and len(caplog.messages) == 1
        as_machine(monkeypatch, tmp_path, "second")
    assert not names_in(store)


def test_a_machine_that_slept_does_not_come_back(store, monkeypatch):
    monkeypatch.setattr(lease, "_STALE_SECONDS", 0.0)
    with pytest.raises(Stopped, match="another process has taken it over"), mirrored(ADDRESS) as folder:
        checkpoint(folder, 10)
        store.rm_file(f"/bucket/run/{lease.NAME}")  # by another, which has come and ended meanwhile
    assert not names_in(store)


def test_a_lease_is_renewed_while_a_long_file_is_sent(store, monkeypatch):
    monkeypatch.setattr(lease, "_SECONDS_BETWEEN", 0.01)
    with mirrored(ADDRESS):
        path = f"/bucket/run/{lease.NAME}"
        first = store.modified(path)
        wait_until(lambda: store.modified(path) > first)


@pytest.mark.parametrize("what", ["another machine", "no locks"])
def test_only_a_lock_of_this_machine_proves_a_holder_dead(store, tmp_path, monkeypatch, what):
    with monkeypatch.context() as patch, contextlib.suppress(KeyboardInterrupt), mirrored(ADDRESS):
        dying(patch, 1, False)
    if what == "another machine":
        as_machine(monkeypatch, tmp_path, "cache")  # that has the same cache
    else:

        def flock(*args):
            raise OSError("no locks")

        monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(InputError, match="trains there"):
        mirrored(ADDRESS).__enter__()
    monkeypatch.setattr(lease, "_STALE_SECONDS", 0.01)
    time.sleep(0.02)
    with mirrored(ADDRESS):
        pass
