"""Whoever consumes outcomes may take its time: a job that ended meanwhile is not a job that ran too long."""

import os
import time
from multiprocessing import Pipe
from types import SimpleNamespace

from deepfake_core.faces.workers import Outcome, _Supervisor, _Task, _Worker


def worker_at(job):
    ours, theirs = Pipe()
    process = SimpleNamespace(pid=os.getpid(), kill=lambda: None, join=lambda: None)
    return _Worker(process, ours, ready=True, job=job, began=time.monotonic()), theirs


def test_a_job_that_ends_while_the_consumer_is_busy_is_not_a_timeout():
    supervisor = _Supervisor(_Task(print, None, None), workers=2, seconds_per_job=0.5, memory_mb=1 << 20)
    (first, first_end), (second, second_end) = worker_at("first"), worker_at("second")
    supervisor._workers = [first, second]

    first_end.send(Outcome("first", "ok"))
    looking = supervisor._look()
    outcomes = [next(looking)]
    second_end.send(Outcome("second", "ok"))
    time.sleep(0.6)  # the consumer, at work on the first outcome
    outcomes += [*looking, *supervisor._look()]

    assert [(outcome.key, outcome.status) for outcome in outcomes] == [("first", "ok"), ("second", "ok")]
