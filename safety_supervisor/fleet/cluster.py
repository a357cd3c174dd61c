"""Jobs over workers: Dask, on this machine or on any cluster by its address; or in this process, for one worker.

Results come back in the order in which they are done. Only a few jobs per worker are under way at a time, so that a
list of 10^5 recordings costs the scheduler no more than a short one.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from safety_supervisor.fleet.errors import FleetError, require
from safety_supervisor.fleet.jobs import Job
from safety_supervisor.fleet.work import Result, examine, failed

AHEAD = 3
"""Jobs per worker that are handed to the scheduler at a time."""
PATIENCE = "20 s"
"""How long a scheduler may take to answer."""


def finished(jobs: Sequence[Job], scheduler: str | None, workers: int) -> Iterator[tuple[Job, Result]]:
    """Yield each job with its result as soon as it is done; `workers` 0 works in this process."""
    if workers == 0 and scheduler is None:
        for job in jobs:
            yield job, examine(job)
        return
    require("fleet", "dask", "distributed")
    if not jobs:
        return
    with _client(scheduler, workers) as client:
        yield from _collected(client, jobs)


def cores() -> int:
    """Return how many cores this process may use."""
    with contextlib.suppress(AttributeError):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextlib.contextmanager
def _client(scheduler: str | None, workers: int) -> Iterator[Any]:
    import dask
    from distributed import Client, LocalCluster

    dask.config.set({"distributed.scheduler.allowed-failures": 1})  # a recording that kills its worker: twice is enough
    for name in ("distributed", "distributed.nanny", "distributed.scheduler", "distributed.worker"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # a lost worker is reported as a failed job, in one line
    if scheduler is None:
        cluster = LocalCluster(
            n_workers=workers, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address=None,
            silence_logs=logging.CRITICAL,
        )  # fmt: skip
        with cluster, Client(cluster, timeout=PATIENCE) as client:
            yield client
        return
    try:
        client = Client(scheduler, timeout=PATIENCE)
    except Exception as error:  # an address that is none, nobody there, another version
        text = " ".join(str(error).split())
        raise FleetError(f"--scheduler {scheduler}: no Dask scheduler answers there ({text})") from None
    with client:
        yield client


def _collected(client: Any, jobs: Sequence[Job]) -> Iterator[tuple[Job, Result]]:
    from distributed import as_completed

    waiting = iter(jobs)
    slots = max(sum(client.nthreads().values()), 1) * AHEAD
    of_future = {_submitted(client, job): job for job in islice(waiting, slots)}
    done = as_completed(list(of_future))
    for future in done:
        job = of_future.pop(future)
        for more in islice(waiting, 1):
            new = _submitted(client, more)
            of_future[new] = more
            done.add(new)
        error = future.exception()
        yield job, (failed(job, _why(error)) if error is not None else future.result())


def _submitted(client: Any, job: Job) -> Any:
    return client.submit(examine, job, key=f"job-{job.key}", pure=False)


def _why(error: BaseException) -> str:
    """Say what happened to a job whose worker did not report: `examine` itself never raises."""
    text = " ".join(str(error).split())
    return f"the worker was lost ({type(error).__name__}: {text})"
