"""A job of several processes: each says in one line who failed and why, soon; the run goes on elsewhere."""

import contextlib
import re
import socket
import threading
import time

import pytest

from jaxgan import parallel
from jaxgan.commands import cli
from jaxgan.errors import InputError
from jaxgan.processes import job as jobs
from jaxgan.processes import roll_call
from jaxgan.processes.cluster import Place, find_place
from jaxgan.runs.checkpoint import Checkpoints
from tests.faults.processes import (
    EVALUATE,
    FAILING,
    KILL,
    TERM,
    Command,
    job,
    make_material,
    one_line,
    temporaries,
    wait_for,
)

LONG = "--config.train.iterations=1000000"


@pytest.fixture(scope="module")
def train(tmp_path_factory):
    return ["train", *make_material(tmp_path_factory.mktemp("material"))]


@contextlib.contextmanager
def running(commands):
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(command) for command in commands]


def arrays(run):
    with Checkpoints(run) as checkpoints:
        step, found, _ = checkpoints.read_newest()
    return step, found


def free_address():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


def in_threads(works):
    """Runs all at once; returns results, exceptions among them."""
    results = [None] * len(works)

    def run(i):
        try:
            results[i] = works[i]()
        except Exception as error:
            results[i] = error

    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads)
    return results


@pytest.fixture(autouse=True)
def no_job_is_left(monkeypatch):
    """`join` sets the job of the whole process, in which tests of other files train later."""
    monkeypatch.setattr(jobs, "current", None)


@pytest.mark.parametrize(
    ("places", "message"),
    [
        ([(2, 0), (3, 1)], "process 1 of 3 .* and process 0 of 2 .* different numbers of processes"),
        ([(3, 0), (3, 1), (3, 1)], "two processes with the index 1"),
        ([(3, 0), (3, 2)], "process 1 of 3 did not come within 2 s"),
        ([(2, 1)], "process 1 of 2: process 0 did not answer at 127.0.0.1"),
    ],
    ids=["count", "twice", "missing", "no coordinator"],
)
def test_who_does_not_fit_ends_the_roll_call_for_all(places, message):
    address = free_address()
    begun = time.monotonic()
    found = in_threads([lambda p=place: roll_call.join(address, *p, {}, seconds=2) for place in places])
    assert time.monotonic() - begun < 12
    assert all(isinstance(error, jobs.JobFailed) for error in found), found
    for error in found:
        assert "\n" not in str(error) and re.search(message, str(error)), error


def test_other_versions_are_named():
    address = free_address()
    facts = [{"jax": "0.10.2", "numpy": "2"}, {"jax": "0.11.0", "numpy": "2"}]
    found = in_threads([lambda i=i: roll_call.join(address, 2, i, facts[i], seconds=5) for i in range(2)])
    assert all("jax 0.10.2 and 0.11.0" in str(error) and "numpy" not in str(error) for error in found), found


def trio(**options):
    address = free_address()
    return in_threads([lambda i=i: roll_call.join(address, 3, i, {}, seconds=10, **options) for i in range(3)])


def test_values_come_to_all_in_order_and_a_failure_to_all():
    heard = []
    members = trio(on_failure=heard.append)
    for n in range(3):
        found = in_threads([lambda m=m, n=n: m.exchange(f"round {n}", f"{m.index}-{n}") for m in members])
        assert found == [[f"{i}-{n}" for i in range(3)]] * 3
    # One fails while the others wait for it.
    found = in_threads(
        [lambda m=m: m.exchange("last") if m.index != 2 else (time.sleep(0.2), m.fail("no data")) for m in members]
    )
    assert all("process 2 of 3" in str(error) and "no data" in str(error) for error in found[:2]), found
    time.sleep(0.2)
    assert len(heard) == 2 and all("process 2 of 3" in line for line in heard)


def test_processes_at_different_places_and_those_that_have_ended_are_noticed():
    members = trio()
    found = in_threads([lambda m=m: m.exchange(f"place {m.index > 0}") for m in members])
    assert all("different places" in str(error) for error in found), found
    members = trio()
    found = in_threads([lambda m=m: m.exchange("last") if m.index else m.leave() for m in members])
    assert all("process 0 of 3" in str(error) and "ended while" in str(error) for error in found[1:]), found


def test_a_fault_of_ours_shows_where_it_is_in_its_own_process_alone(monkeypatch, capsys):
    members = trio()
    monkeypatch.setattr(cli, "_SECONDS_TO_HEAR", 1.0)

    def work():
        with parallel.sharing_failure():
            raise TypeError("no such thing")

    def collective():
        raise RuntimeError("connection closed by peer")

    for index, main, expected in ((1, work, ""), (2, collective, "process 1 of 3")):
        monkeypatch.setattr(jobs, "current", members[index])
        status, line = cli._outcome(main)
        assert status == 1 and (expected in line if expected else line == "")
        assert ("Traceback" in capsys.readouterr().err) == (not expected)
    assert "TypeError" in line or "no such thing" in line


def test_a_silent_process_is_given_up(monkeypatch):
    monkeypatch.setattr(jobs, "SILENCE_SECONDS", 0.5)
    monkeypatch.setattr(jobs, "_BEAT_SECONDS", 60.0)
    found = in_threads([lambda m=m: m.exchange("last") for m in trio() if m.index != 1])
    assert all("has not answered for 0.5 s" in str(error) for error in found), found


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, None),
        ({"SLURM_NTASKS": "1", "SLURM_NNODES": "1", "SLURM_STEP_NODELIST": "n1"}, None),
        ({"JAXGAN_COORDINATOR": "host:1", "JAXGAN_PROCESSES": "2", "JAXGAN_PROCESS": "1", "SLURM_NTASKS": "9"},
         Place("host:1", 2, 1)),
        ({"JAX_COORDINATOR_ADDRESS": "host:1", "JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": "1"}, Place("host:1", 2, 1)),
        # Kubernetes: an indexed job.
        ({"JAX_COORDINATOR_ADDRESS": "host:1", "JAX_NUM_PROCESSES": "4", "JOB_COMPLETION_INDEX": "3"},
         Place("host:1", 4, 3)),
        ({"JAX_COORDINATOR_ADDRESS": "host:1", "OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_RANK": "2"},
         Place("host:1", 4, 2)),
        ({"JAXGAN_COORDINATOR": "host:1", "JAXGAN_PROCESSES": "1", "JAXGAN_PROCESS": "0"}, None),
    ],
)  # fmt: skip
def test_jobs_are_found_in_their_environment(variables, expected):
    assert find_place(variables) == expected


SLURM = {"SLURM_JOB_ID": "5", "SLURM_STEP_NODELIST": "n[1-2]", "SLURM_PROCID": "1", "SLURM_LOCALID": "0"}


@pytest.mark.parametrize(
    ("variables", "devices"),
    [
        # One task a node drives all GPUs of its node; JAX by itself would give it the first.
        ({"SLURM_NTASKS": "2", "SLURM_NNODES": "2", "SLURM_GPUS_ON_NODE": "4"}, [0, 1, 2, 3]),
        # One task a GPU: as JAX decides.
        ({"SLURM_NTASKS": "4", "SLURM_NNODES": "2", "SLURM_GPUS_ON_NODE": "2"}, [0]),
    ],
)
def test_slurm_is_asked_through_jax(variables, devices, monkeypatch):
    for name, value in {**SLURM, **variables}.items():
        monkeypatch.setenv(name, value)
    place = find_place({**SLURM, **variables})
    assert (place.count, place.index, place.devices) == (int(variables["SLURM_NTASKS"]), 1, devices)
    assert place.address.startswith("n1:")


@pytest.mark.parametrize(
    "variables",
    [
        {"JAXGAN_COORDINATOR": "localhost:1"},
        {"JAXGAN_COORDINATOR": "host:1", "JAXGAN_PROCESSES": "2", "JAXGAN_PROCESS": "5"},
        {"JAX_COORDINATOR_ADDRESS": "host:1", "JAX_NUM_PROCESSES": "two", "JAX_PROCESS_ID": "0"},
    ],
)
def test_half_a_job_is_refused(variables):
    with pytest.raises(InputError, match="must all be set: host:port, count, index below it"):
        find_place(variables)


def test_open_mpi_5_is_asked_for_an_address():
    variables = {"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "1", "PMIX_RANK": "1"}
    with pytest.raises(InputError, match="2 processes .* mpirun -x JAX_COORDINATOR_ADDRESS=HOST:PORT") as caught:
        find_place(variables)
    assert "\n" not in str(caught.value)
    assert find_place({**variables, "OMPI_COMM_WORLD_SIZE": "1", "OMPI_COMM_WORLD_RANK": "0"}) is None
    assert find_place({**variables, "JAX_COORDINATOR_ADDRESS": "host:1"}) == Place("host:1", 2, 1)


def test_open_mpi_4_is_asked_through_jax(monkeypatch):
    variables = {"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_LOCAL_RANK": "1"}
    variables["OMPI_MCA_orte_hnp_uri"] = "1531576320.0;tcp://10.96.0.1,10.148.0.1:34911"
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    place = find_place(variables)
    assert (place.count, place.index) == (2, 1) and place.address.startswith("10.96.0.1:")


@pytest.mark.faults
@pytest.mark.parametrize("victim", [0, 1])
def test_when_one_is_killed_the_others_say_so_and_the_run_goes_on_elsewhere(train, tmp_path, victim):
    run = tmp_path / "run"
    with running(job(2, *train, "--workdir", run, LONG)) as pair:
        wait_for(run / "checkpoints" / "8", pair[victim])
        pair[victim].send(KILL)
        begun = time.monotonic()
        one_line(pair[1 - victim], 1, f"process {victim} of 2", "killed")
        assert time.monotonic() - begun < 60
    step, _ = arrays(run)
    with Command(*train, "--workdir", run, f"--config.train.iterations={step + 4}", devices=4) as alone:
        assert alone.end()[0] == 0
    assert arrays(run)[0] == step + 4


@pytest.mark.faults
def test_sigterm_to_one_process_stops_all_with_a_checkpoint(train, tmp_path):
    """Also where the first process still has much to do when the other one is done."""
    run = tmp_path / "run"
    slow = {0: {"LASTS": "jaxgan.training.drawing:write_report", "SECONDS": "15"}}
    with running(job(2, *train, "--workdir", run, LONG, program=FAILING, variables=slow)) as pair:
        wait_for(run / "checkpoints" / "4", pair[1])
        pair[1].send(TERM)
        lines = [one_line(command, 1, "stopped by a signal at step") for command in pair]
    assert len({line.split("step ")[1].split(";")[0] for line in lines}) == 1
    assert f"step {arrays(run)[0]};" in lines[0] and not (run / "lock.json").exists()


@pytest.mark.faults
@pytest.mark.parametrize("victim", [0, 1])
def test_a_checkpoint_that_one_process_cannot_read_is_passed_over_by_both(train, tmp_path, victim):
    run = tmp_path / "run"
    for iterations, variables in ((8, {}), (12, {victim: {"MISREADS": "1"}})):
        length = f"--config.train.iterations={iterations}"
        with running(job(2, *train, "--workdir", run, length, program=FAILING, variables=variables)) as pair:
            for command in pair:
                assert command.end(timeout=300) == (0, [])
    assert arrays(run)[0] == 12
    assert [path.name[:2] for path in (run / "checkpoints_set_aside").iterdir()] == ["8-"]


@pytest.mark.faults
@pytest.mark.parametrize(
    ("other", "words"),
    [
        (["--data_dir", "/nowhere"], ["process 1 of 2", "/nowhere: no such file"]),
        (["--workdir", "/tmp/another"], ["different settings", "--workdir"]),
        (["--config.seed=5"], ["different settings", "config.seed is 5 and 0"]),
    ],
    ids=["data", "workdir", "config"],
)
def test_what_is_wrong_in_one_process_ends_all(train, tmp_path, other, words):
    run = tmp_path / "run"
    with running(job(2, *train, "--workdir", run, each={1: other})) as pair:
        begun = time.monotonic()
        status = 2 if words[0] == "process 1 of 2" else 1
        one_line(pair[1], status, *words)
        one_line(pair[0], 1, *words)
        assert time.monotonic() - begun < 60
    assert not run.exists()


@pytest.mark.faults
@pytest.mark.parametrize(
    ("victim", "place"),
    [
        (0, "jaxgan.data.open:list_source"),
        (1, "jaxgan.data.open:open_prepared"),
        (0, "jaxgan.runs.folder:write_config"),
        (1, "jaxgan.data.source:ResidentSource.batch_refs@3"),
        (0, "jaxgan.evaluation.evaluator:Evaluator.__call__"),
        (0, "jaxgan.runs.metrics_log:MetricsLog.write@5"),
        (0, "jaxgan.runs.checkpoint:Checkpoints.save@2"),
        (1, "jaxgan.runs.checkpoint:Checkpoints.save@2"),
        (0, "jaxgan.training.recorder:write_png@2"),
    ],
)
def test_wherever_one_process_fails_both_end_with_its_reason(train, tmp_path, victim, place):
    """One may fail alone anywhere: preparing, opening, reading batches, evaluating, logging, saving, drawing."""
    arguments = [*train, "--workdir", tmp_path / "run", *EVALUATE]
    (tmp_path / "noise.npz").write_bytes(arguments[arguments.index("--data_dir") + 1].read_bytes())  # To be prepared.
    arguments[arguments.index("--data_dir") + 1] = tmp_path / "noise.npz"
    commands = job(2, *arguments, program=FAILING, variables={victim: {"FAILS": place}})
    with running(commands) as pair:
        for command in (pair[victim], pair[1 - victim]):
            one_line(command, 1, f"process {victim} of 2", "No space left on device", timeout=600)
    assert not (tmp_path / "run" / "lock.json").exists() and not temporaries(tmp_path)


@pytest.mark.faults
def test_a_command_line_that_is_wrong_in_one_process_ends_all_at_once(train, tmp_path):
    wrong = {1: ["--config.train.batch_size=0"]}
    with running(job(2, *train, "--workdir", tmp_path / "run", each=wrong)) as pair:
        one_line(pair[1], 2, "process 1 of 2", "config.train.batch_size=0")
        ended = time.monotonic()
        one_line(pair[0], 1, "process 1 of 2", "config.train.batch_size=0")
        assert time.monotonic() - ended < 30
