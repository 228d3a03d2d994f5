"""A hostile job costs itself, never the run."""

import importlib
import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import psutil
import pytest

from deepfake_core.errors import DeepfakeError, WeightsError
from deepfake_core.faces.workers import supervise

JOBS = """
import os, signal, sys, time
from pathlib import Path
from deepfake_core.errors import DeepfakeError, MediaError, WeightsError

def setup(argument):
    if argument == "no weights":
        raise WeightsError("no weights")
    if argument == "die":
        os._exit(3)
    return [argument]

def work(state, payload):
    state.append(payload)
    if payload == "unreadable":
        raise MediaError("no video")
    if payload == "bug":
        raise KeyError("surprise")
    if payload == "full disk":
        raise DeepfakeError("no room")
    if payload == "hang":
        time.sleep(600)
    if payload == "eat":
        held = []
        while True:
            held.append(b"x" * (64 << 20))
    if payload == "segfault":
        os.kill(os.getpid(), signal.SIGSEGV)
    if payload == "unpicklable":
        return lambda: None
    if payload == "pid":
        return os.getpid()
    if payload == "modules":
        return sorted(name for name in sys.modules if name in ("tensorflow", "prefect", "mlflow", "pytest"))
    return (payload, len(state), state[0])

def supervise_inside():
    from deepfake_core.faces.workers import supervise
    jobs = [("a", "a"), ("b", "unreadable"), ("c", "c")]
    outcomes = supervise(jobs, function=work, setup=setup, workers=4, seconds_per_job=30.0, memory_mb=4096)
    return [outcome.status for outcome in outcomes]

def leave_pid(folder, payload):
    Path(folder, str(os.getpid())).touch()
    time.sleep(600)
"""


@pytest.fixture
def jobs(tmp_path, monkeypatch):
    """Return a module of job functions that spawned processes can import too."""
    (tmp_path / "hostile_jobs.py").write_text(JOBS)
    monkeypatch.syspath_prepend(str(tmp_path))
    sys.modules.pop("hostile_jobs", None)
    return importlib.import_module("hostile_jobs")


def run(jobs, payloads, *, workers=1, seconds=30.0, memory_mb=4096, argument="state"):
    outcomes = supervise(
        [(f"{place} {payload}", payload) for place, payload in enumerate(payloads)],
        function=jobs.work,
        setup=jobs.setup,
        setup_argument=argument,
        workers=workers,
        seconds_per_job=seconds,
        memory_mb=memory_mb,
    )
    return {outcome.key.split(" ", 1)[1]: outcome for outcome in outcomes}


def test_a_worker_makes_its_state_once_and_keeps_it(jobs):
    outcomes = run(jobs, ["a", "b", "c"])

    assert [outcome.value for outcome in outcomes.values()] == [("a", 2, "state"), ("b", 3, "state"), ("c", 4, "state")]
    assert {outcome.status for outcome in outcomes.values()} == {"ok"}


def test_every_kind_of_bad_job_is_an_outcome_and_the_good_ones_are_done(jobs):
    payloads = ["unreadable", "a", "segfault", "b", "bug", "hang", "c", "unpicklable", "d"]

    outcomes = run(jobs, payloads, workers=2, seconds=1.5)

    assert {key: outcome.status for key, outcome in outcomes.items()} == {
        "unreadable": "failed",
        "segfault": "crashed",
        "bug": "crashed",
        "hang": "timeout",
        "unpicklable": "crashed",
        "a": "ok",
        "b": "ok",
        "c": "ok",
        "d": "ok",
    }
    assert outcomes["unreadable"].reason == "no video"
    assert outcomes["segfault"].reason == "its worker process died (signal SIGSEGV)"
    assert outcomes["bug"].reason == "KeyError: 'surprise'"
    assert outcomes["hang"].reason == "stopped after 1.5 seconds, the limit"


def test_a_job_that_eats_memory_is_stopped(jobs):
    outcomes = run(jobs, ["eat", "a"], memory_mb=400)

    assert outcomes["eat"].status == "memory"
    assert "400 MiB" in outcomes["eat"].reason
    assert outcomes["a"].status == "ok"


def test_a_worker_killed_from_outside_costs_one_job(jobs):
    outcomes = supervise(
        iter([("first", "pid"), ("second", "hang"), ("third", "c")]),
        function=jobs.work,
        workers=1,
        setup=jobs.setup,
        seconds_per_job=30.0,
        memory_mb=4096,
    )
    pid = next(outcomes).value
    threading.Timer(0.5, os.kill, (pid, signal.SIGKILL)).start()  # by then it has the next job
    rest = {outcome.key: outcome for outcome in outcomes}

    assert rest["second"].status == "crashed"
    assert "SIGKILL" in rest["second"].reason
    assert rest["third"].status == "ok"


def test_jobs_are_taken_only_when_a_worker_is_free(jobs):
    taken = []

    def endless():
        for number in range(10_000):
            taken.append(number)
            yield str(number), number

    outcomes = supervise(
        endless(), function=jobs.work, setup=jobs.setup, workers=1, seconds_per_job=30.0, memory_mb=4096
    )
    for _ in range(3):
        next(outcomes)
    outcomes.close()

    assert len(taken) <= 6


def test_what_breaks_the_run_ends_it(jobs):
    with pytest.raises(DeepfakeError, match="no room"):
        run(jobs, ["a", "full disk", "b"])
    with pytest.raises(WeightsError, match="no weights"):
        run(jobs, ["a"], argument="no weights")
    with pytest.raises(DeepfakeError, match="3 worker processes in a row ended before their first job"):
        run(jobs, ["a"], argument="die")


def test_no_process_is_left_when_the_consumer_stops(jobs):
    outcomes = supervise(
        [("a", "pid"), ("b", "hang")], function=jobs.work, setup=jobs.setup, workers=2, seconds_per_job=60.0,
        memory_mb=4096,
    )  # fmt: skip
    pid = next(outcomes).value

    outcomes.close()

    assert not psutil.pid_exists(pid)
    assert multiprocessing.active_children() == []


def test_workers_import_neither_the_running_program_nor_a_framework(jobs):
    assert run(jobs, ["modules"])["modules"].value == []


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_workers_end_with_their_supervisor(jobs, tmp_path, how):
    pids = tmp_path / "pids"
    pids.mkdir()
    program = textwrap.dedent(
        f"""
        import sys
        sys.path.insert(0, {str(tmp_path)!r})
        import hostile_jobs
        from deepfake_core.faces.workers import supervise
        jobs = [("a", None), ("b", None)]
        list(supervise(jobs, function=hostile_jobs.leave_pid, setup=str, setup_argument={str(pids)!r}, workers=2,
                       seconds_per_job=600, memory_mb=4096))
        """
    )
    supervisor = subprocess.Popen([sys.executable, "-c", program], start_new_session=True)
    wait_until(lambda: len(list(pids.iterdir())) == 2, seconds=60)
    workers = [psutil.Process(int(path.name)) for path in pids.iterdir()]

    os.kill(supervisor.pid, how)
    supervisor.wait(timeout=20)

    wait_until(lambda: not any(worker.is_running() and worker.status() != "zombie" for worker in workers), seconds=20)


def wait_until(condition, *, seconds):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def test_inside_a_daemon_jobs_are_done_one_after_the_other(jobs):
    with multiprocessing.get_context("spawn").Pool(1) as pool:  # its processes are daemons
        statuses = pool.apply(jobs.supervise_inside)

    assert statuses == ["ok", "failed", "ok"]
