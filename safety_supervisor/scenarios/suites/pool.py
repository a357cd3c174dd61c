"""Cases over processes: results in order of id, the same whatever the number of processes."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor

from safety_supervisor.core.config import Config
from safety_supervisor.scenarios.suites.suite import Options, Row

CHUNK = 20
"""Fewest cases that are handed to a process at once."""
CHUNKS = 16
"""Number of chunks that a large suite is cut into."""

Work = Callable[[Sequence[int], Config, Options], list[Row]]


def chunks(ids: Sequence[int], size: int | None = None) -> list[list[int]]:
    """Cut ids into pieces; how does not depend on the number of processes, so that nothing else does."""
    step = size or max(CHUNK, -(-len(ids) // CHUNKS))
    return [list(ids[i : i + step]) for i in range(0, len(ids), step)]


def run(
    name: str, find: Callable[[str], Work], pieces: Sequence[Sequence[int]], config: Config, options: Options, jobs: int
) -> Iterator[list[Row]]:
    """Yield the rows of each piece in order; `find` gives the work of the suite `name` inside each process."""
    if jobs == 1 or len(pieces) == 1:
        work = find(name)
        for piece in pieces:
            yield work(piece, config, options)
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(jobs, len(pieces)), context, _prepare, (name, find, config, options))
    try:
        yield from pool.map(_serve, pieces)
    except BaseException:
        for worker in list(multiprocessing.active_children()):
            worker.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


# --- inside a worker ------------------------------------------------------------------------------------------

_worker: tuple[Work, Config, Options] | None = None


def _prepare(name: str, find: Callable[[str], Work], config: Config, options: Options) -> None:
    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends us
    _worker = (find(name), config, options)


def _serve(piece: Sequence[int]) -> list[Row]:
    if _worker is None:
        raise RuntimeError("a worker was not prepared")
    work, config, options = _worker
    return work(piece, config, options)
