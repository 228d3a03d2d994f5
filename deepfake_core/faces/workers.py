"""Supervised worker processes: a hostile job costs itself, never the run.

Each worker is a spawned process that does one job at a time. The supervisor watches its clock and its memory, ends it
when it exceeds either, and puts a new one in its place; a worker that dies (a crashing decoder, the kernel's
out-of-memory killer) is replaced as well, and its job becomes an ``Outcome`` that says so. A plain
``ProcessPoolExecutor`` would lose every remaining job, and ``RLIMIT_AS`` counts address space that numerical libraries
reserve and never touch.

When the supervisor itself is killed, its workers notice within a second and end.
"""

import multiprocessing
import os
import signal
import sys
import threading
import time
import types
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import connection
from typing import Any, Literal

import cv2
import psutil

from deepfake_core.errors import DeepfakeError, MediaError

Status = Literal["ok", "failed", "timeout", "memory", "crashed"]
Function = Callable[[Any, Any], Any]
Setup = Callable[[Any], Any]

TICK_SECONDS = 0.2
"""How often clocks and memory are looked at."""
START_ATTEMPTS = 3
"""Workers in a row that may die before they are ready."""
START_SECONDS = 120.0
"""Time for a process to import its modules and make its state, on a machine that is busy."""
MIB = 1 << 20

_SPAWN = multiprocessing.get_context("spawn")
_STARTING = threading.Lock()


@dataclass(frozen=True)
class Outcome:
    """What became of a job.

    Attributes:
        key: of the job.
        status: ``ok``; ``failed`` (its function raised MediaError); ``timeout``; ``memory``; ``crashed`` (its process
            died, or its function raised anything else).
        value: what the function returned, for ``ok``.
        reason: a sentence, empty for ``ok``.
        seconds: wall time of the job.
    """

    key: str
    status: Status
    value: Any = None
    reason: str = ""
    seconds: float = 0.0


def supervise(
    jobs: Iterable[tuple[str, Any]],
    *,
    function: Function,
    setup: Setup | None = None,
    setup_argument: Any = None,
    workers: int,
    seconds_per_job: float,
    memory_mb: int,
) -> Iterator[Outcome]:
    """Do jobs in worker processes; yield an outcome for each, in the order in which they end.

    Inside a daemonic process, such as a Dask worker, which may not have children, the jobs are done one after the
    other in the process itself, without limits.

    Args:
        jobs: (key, payload) pairs, taken one at a time when a worker is free.
        function: called as ``function(state, payload)``; importable by name, as its arguments and value are pickled.
        setup: makes ``state`` once a process; None: ``state`` is None.
        setup_argument: its argument.
        workers: processes.
        seconds_per_job: time limit of a job.
        memory_mb: limit of a process' resident memory, in MiB.

    Raises:
        DeepfakeError: what ``setup`` raised; what ``function`` raised, other than MediaError; or no worker starts.
    """
    task = _Task(function, setup, setup_argument)
    if multiprocessing.current_process().daemon:
        return _serial(jobs, task)
    return _Supervisor(task, workers=workers, seconds_per_job=seconds_per_job, memory_mb=memory_mb).run(jobs)


@dataclass(frozen=True)
class _Task:
    function: Function
    setup: Setup | None
    setup_argument: Any

    def state(self) -> Any:
        return None if self.setup is None else self.setup(self.setup_argument)

    def outcome(self, state: Any, key: str, payload: Any) -> Outcome:
        """Do one job. This is the one place where whatever a bad input causes becomes a row.

        Raises:
            DeepfakeError: any but MediaError is about the run, such as a full disk, and not about the input.
        """
        began = time.monotonic()
        try:
            value = self.function(state, payload)
        except MediaError as error:
            return Outcome(key, "failed", reason=str(error), seconds=time.monotonic() - began)
        except DeepfakeError:
            raise
        except Exception as error:  # noqa: BLE001
            reason = f"{type(error).__name__}: {error}"
            return Outcome(key, "crashed", reason=reason, seconds=time.monotonic() - began)
        return Outcome(key, "ok", value=value, seconds=time.monotonic() - began)


def _serial(jobs: Iterable[tuple[str, Any]], task: _Task) -> Iterator[Outcome]:
    state = task.state()
    for key, payload in jobs:
        yield task.outcome(state, key, payload)


@dataclass
class _Worker:
    """One process, as its supervisor sees it."""

    process: Any
    pipe: Any
    ready: bool = False
    job: str | None = None
    began: float = 0.0
    ended: bool = False

    def memory(self) -> int:
        """Return the resident bytes of the process; zero once it is gone."""
        try:
            return int(psutil.Process(self.process.pid).memory_info().rss)
        except psutil.Error:
            return 0

    def end(self) -> None:
        """Kill the process and wait for it."""
        self.ended = True
        self.process.kill()
        self.process.join()
        self.pipe.close()


class _Supervisor:
    def __init__(self, task: _Task, *, workers: int, seconds_per_job: float, memory_mb: int) -> None:
        self._task = task
        self._most = max(1, workers)
        self._seconds = seconds_per_job
        self._memory_mb = memory_mb
        self._workers: list[_Worker] = []
        self._stillborn = 0

    def run(self, jobs: Iterable[tuple[str, Any]]) -> Iterator[Outcome]:
        waiting = iter(jobs)
        upcoming = next(waiting, None)
        try:
            while upcoming is not None or any(worker.job is not None for worker in self._workers):
                busy = sum(worker.job is not None for worker in self._workers)
                if upcoming is not None and len(self._workers) < self._most and busy == len(self._workers):
                    self._workers.append(self._start())
                for worker in self._workers:
                    if upcoming is not None and worker.ready and worker.job is None:
                        self._give(worker, upcoming)
                        upcoming = next(waiting, None)
                yield from self._look()
        finally:
            for worker in self._workers:
                worker.end()
            self._workers.clear()

    def _start(self) -> _Worker:
        ours, theirs = _SPAWN.Pipe()
        process = _SPAWN.Process(target=_work, args=(theirs, self._task), daemon=True)
        with _STARTING, _without_main(), _without_interrupt():
            process.start()
        theirs.close()
        return _Worker(process, ours, began=time.monotonic())

    def _give(self, worker: _Worker, job: tuple[str, Any]) -> None:
        worker.job, worker.began = job[0], time.monotonic()
        with suppress(BrokenPipeError):  # it died just now; the next look finds out
            worker.pipe.send(job)

    def _look(self) -> Iterator[Outcome]:
        """Wait a moment for messages; yield the outcomes of jobs that ended in whatever way."""
        heard = set(connection.wait([worker.pipe for worker in self._workers], timeout=TICK_SECONDS))
        outcomes = []  # yielded last: while the consumer is busy with one, a job may end and must not look overdue
        for worker in list(self._workers):
            outcome = self._listen(worker) if worker.pipe in heard else self._limits(worker)
            if worker.ended:
                self._workers.remove(worker)
            if outcome is not None:
                worker.job = None
                outcomes.append(outcome)
        yield from outcomes

    def _listen(self, worker: _Worker) -> Outcome | None:
        try:
            message = worker.pipe.recv()
        except (EOFError, OSError):
            return self._dead(worker)
        if isinstance(message, Outcome):
            return message
        if isinstance(message, DeepfakeError):
            raise message
        worker.ready, self._stillborn = True, 0
        return None

    def _limits(self, worker: _Worker) -> Outcome | None:
        seconds = time.monotonic() - worker.began
        memory = worker.memory()
        if memory > self._memory_mb * MIB:
            worker.end()
            reason = f"stopped: its worker needed more than {self._memory_mb} MiB of memory, the limit"
            return self._ended(worker, "memory", reason, seconds)
        limit = self._seconds if worker.ready else START_SECONDS
        if seconds > limit and (worker.job is not None or not worker.ready):
            worker.end()
            return self._ended(worker, "timeout", f"stopped after {limit:g} seconds, the limit", seconds)
        return None

    def _dead(self, worker: _Worker) -> Outcome | None:
        worker.process.join(timeout=5)
        code = worker.process.exitcode
        worker.end()
        reason = f"its worker process died ({_cause(code)})"
        return self._ended(worker, "crashed", reason, time.monotonic() - worker.began)

    def _ended(self, worker: _Worker, status: Status, reason: str, seconds: float) -> Outcome | None:
        if worker.job is not None:
            return Outcome(worker.job, status, reason=reason, seconds=seconds)
        self._stillborn += not worker.ready
        if self._stillborn >= START_ATTEMPTS:
            message = f"{START_ATTEMPTS} worker processes in a row ended before their first job; the last: {reason}."
            raise DeepfakeError(message)
        return None


def _cause(code: int | None) -> str:
    if code is not None and code < 0:
        with suppress(ValueError):
            return f"signal {signal.Signals(-code).name}"
    return f"exit code {code}"


@contextmanager
def _without_main() -> Iterator[None]:
    """Hide the running program from ``multiprocessing`` while a process starts.

    A spawned process would import it again; that is Prefect's engine in a flow and may be a script that trains. Jobs
    are functions of importable modules, so no worker needs it.
    """
    program = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = program


@contextmanager
def _without_interrupt() -> Iterator[None]:
    """Let a process inherit that Ctrl-C is ignored: it reaches the whole group, and the supervisor tidies up."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)


def _work(pipe: Any, task: _Task) -> None:
    """Be a worker: make the state, then do jobs until the supervisor goes away."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # also where it was started from a thread
    threading.Thread(target=_end_with_parent, daemon=True).start()
    cv2.setNumThreads(1)
    with suppress(EOFError, BrokenPipeError):  # the supervisor went away
        try:
            state = task.state()
            pipe.send("ready")
            while True:
                key, payload = pipe.recv()
                pipe.send(task.outcome(state, key, payload))
        except DeepfakeError as error:
            pipe.send(error)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)
