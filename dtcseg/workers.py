"""Where slides are scored: in this process, in processes beside it, or on a Dask cluster.

Every way yields one `Outcome` a slide, in the order in which they end, and none of them writes a file: the process
that runs the batch writes all results. So each slide is written exactly once even when a worker dies or a scheduler
runs a task twice, a dying worker leaves nothing half-written, and a cluster needs to read the slides but not to write.
"""

from __future__ import annotations

import importlib
import logging
import multiprocessing
import os
import secrets
import signal
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import connection
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Protocol

from dtcseg.cells import SlideScore
from dtcseg.config import ScoreConfig, SlideJob
from dtcseg.errors import DtcsegError, SlideError, UsageError
from dtcseg.parallel import cores
from dtcseg.results.text import one_line

OnProgress = Callable[[float], None]
Scorer = Callable[[SlideJob, ScoreConfig, OnProgress], SlideScore]
_CONNECT_S = 5
_TERMINATE_S = 3.0
_PROGRESS_EVERY_S = 0.25


class Listener(Protocol):
    """Who is told how far the slides are."""

    def started(self, name: str) -> None:
        """Hear that scoring of a slide begins."""

    def moved(self, name: str, share: float) -> None:
        """Hear that a slide is done to this share, 0..1."""


@dataclass(frozen=True)
class Outcome:
    """How one slide ended: with a score, or with a reason why not."""

    job: SlideJob
    score: SlideScore | None
    reason: str
    seconds: float


def score_one(job: SlideJob, config: ScoreConfig, scorer: Scorer | None, on_progress: OnProgress) -> Outcome:
    """Score one slide; whatever is wrong with it becomes the reason.

    Parameters
    ----------
    scorer : callable or None
        None: `dtcseg.score.score_slide`, imported here because it loads torch.

    Raises
    ------
    UsageError
        The settings cannot be used for any slide.
    """
    start = time.monotonic()
    score, reason = None, ""
    try:
        score = (scorer or _real_scorer())(job, config, on_progress)
    except UsageError:
        raise
    except SlideError as error:
        reason = error.problem
    except DtcsegError as error:
        reason = str(error)
    except MemoryError:
        reason = "there is not enough memory to score it"
    except Exception as error:  # a fault of the program in one slide must not take the others with it
        reason = _unexpected(error)
    return Outcome(job, score, one_line(reason), time.monotonic() - start)


def in_process(
    jobs: Sequence[SlideJob], config: ScoreConfig, scorer: Scorer | None, listener: Listener
) -> Generator[Outcome]:
    """Score one slide after the other in this process."""
    for job in jobs:
        listener.started(job.name)
        yield score_one(job, config, scorer, partial(listener.moved, job.name))


@dataclass
class _Worker:
    """One process and our end of the pipe to it."""

    process: BaseProcess
    pipe: Connection
    job: SlideJob | None = None
    since: float = field(default_factory=time.monotonic)


def in_processes(
    jobs: Sequence[SlideJob], config: ScoreConfig, scorer: Scorer | None, listener: Listener
) -> Generator[Outcome]:
    """Score slides side by side, one process each, at most `config.workers` at once.

    A process that dies (killed for its memory, a crash inside a decoder) fails the slide it had and is replaced;
    `concurrent.futures` would give up all slides. Closing the iterator ends the processes.
    """
    waiting = deque(jobs)
    workers: list[_Worker] = []
    try:
        while waiting or workers:
            while waiting and len(workers) < config.workers:
                workers.append(_start_worker(config, scorer))
                _give_next(workers[-1], waiting, listener)
            pipes: list[Any] = [worker.pipe for worker in workers]
            ready = connection.wait(pipes)
            for worker in [worker for worker in workers if worker.pipe in ready]:
                outcome = _hear(worker, listener)
                if outcome is None:
                    continue
                if worker.job is None or not waiting:
                    workers.remove(worker)
                    _end([worker])
                else:
                    _give_next(worker, waiting, listener)
                yield outcome
    finally:
        _end(workers)


def on_cluster(
    jobs: Sequence[SlideJob], config: ScoreConfig, scorer: Scorer | None, listener: Listener
) -> Generator[Outcome]:
    """Score slides on a Dask cluster, one task a slide. Closing the iterator cancels what has not ended.

    Raises
    ------
    UsageError
        Dask is not installed, or no scheduler answers at the address.
    """
    distributed = _import_dask()
    address = str(config.scheduler)
    try:
        client = distributed.Client(address, timeout=_CONNECT_S, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:  # a wrong address is any of these
        raise UsageError(f"{one_line(address)}: no Dask scheduler answers there") from error
    suspects = []
    with client:
        for job, outcome in _submitted(client, jobs, config, scorer, listener):
            if outcome is None:
                suspects.append(job)
            else:
                yield outcome
        for suspect in suspects:  # a dying worker takes with it all slides it held: alone, only the guilty one fails
            for job, outcome in _submitted(client, [suspect], config, scorer, listener):
                yield outcome or Outcome(
                    job, None, "the cluster worker that scored it died, perhaps out of memory", 0.0
                )


def _import_dask() -> Any:
    try:
        distributed = importlib.import_module("distributed")
    except ImportError as error:
        raise UsageError("--scheduler needs Dask: install dtcseg[cluster]") from error
    for name in list(logging.Logger.manager.loggerDict):
        if name.partition(".")[0] == "distributed":  # it would print tracebacks; what matters becomes a reason here
            logging.getLogger(name).setLevel(logging.CRITICAL)
    return distributed


def _submitted(
    client: Any, jobs: Sequence[SlideJob], config: ScoreConfig, scorer: Scorer | None, listener: Listener
) -> Generator[tuple[SlideJob, Outcome | None]]:
    """Run one task a slide, and yield each as it ends; without an outcome where its worker died."""
    futures = {}
    for job in jobs:
        key = f"dtcseg-{secrets.token_hex(8)}"
        futures[client.submit(_cluster_task, job, config, scorer, retries=0, key=key)] = job
        listener.started(job.name)
    with client.as_current():
        completed = _import_dask().as_completed(list(futures))
    try:
        for future in completed:
            job = futures.pop(future)
            yield job, _cluster_outcome(future, job)
            future.release()
    finally:
        if futures:
            with suppress(OSError, RuntimeError):  # the scheduler may be gone
                client.cancel(list(futures), force=True)


def _cluster_task(job: SlideJob, config: ScoreConfig, scorer: Scorer | None) -> Outcome:
    return score_one(job, config, scorer, lambda share: None)


def _cluster_outcome(future: Any, job: SlideJob) -> Outcome | None:
    try:
        outcome = future.result()
    except UsageError:
        raise
    except Exception as error:  # a lost worker or scheduler, or a task that could not be sent
        kind = type(error).__name__
        if kind == "KilledWorker":
            return None
        if "Cancelled" in kind:
            return Outcome(job, None, "the Dask scheduler was lost; the same command goes on with what is missing", 0.0)
        return Outcome(job, None, one_line(f"the cluster did not finish it ({kind}: {error})"), 0.0)
    return Outcome(job, outcome.score, outcome.reason, outcome.seconds)


def _start_worker(config: ScoreConfig, scorer: Scorer | None) -> _Worker:
    context = multiprocessing.get_context("spawn")  # a fork would copy threads' locks and a CUDA context
    ours, theirs = context.Pipe()
    threads = max(1, cores() // config.workers)
    process = context.Process(target=_work, args=(theirs, config, scorer, threads), daemon=True)
    with _interrupts_held():
        process.start()
    theirs.close()
    return _Worker(process, ours)


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Let Ctrl-C wait: a process that hears it while it starts would end in a traceback."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # the new process inherits it
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _give_next(worker: _Worker, waiting: deque[SlideJob], listener: Listener) -> None:
    worker.job = waiting.popleft()
    worker.since = time.monotonic()
    listener.started(worker.job.name)
    with suppress(OSError):  # it died before its first word; `_hear` will find the pipe closed
        worker.pipe.send(worker.job)


def _hear(worker: _Worker, listener: Listener) -> Outcome | None:
    """Take one message; a closed pipe means that the process died, and its slide failed."""
    if worker.job is None:
        raise RuntimeError("a worker without a slide has nothing to say")
    job = worker.job
    try:
        kind, value = worker.pipe.recv()
    except (EOFError, OSError):
        worker.process.join(_TERMINATE_S)
        worker.job = None
        return Outcome(job, None, _death(worker.process.exitcode), time.monotonic() - worker.since)
    if kind == "progress":
        listener.moved(job.name, value)
        return None
    if kind == "usage":
        raise UsageError(value)
    outcome: Outcome = value
    return outcome


def _death(exitcode: int | None) -> str:
    if exitcode is not None and exitcode < 0:
        try:
            name = signal.Signals(-exitcode).name
        except ValueError:
            name = f"signal {-exitcode}"
        hint = ", perhaps for want of memory: try fewer --workers" if name == "SIGKILL" else ""
        return f"the process that scored it was ended by {name}{hint}"
    return f"the process that scored it ended by itself (exit status {exitcode})"


def _end(workers: list[_Worker]) -> None:
    for worker in workers:
        worker.pipe.close()
        if worker.job is not None and worker.process.is_alive():
            worker.process.terminate()
    for worker in workers:
        worker.process.join(_TERMINATE_S)
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()
        worker.process.close()


def _work(pipe: Connection, config: ScoreConfig, scorer: Scorer | None, threads: int) -> None:
    """Score slide after slide until the pipe is closed: the life of a worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent alone answers it
    threading.Thread(target=_die_with_parent, daemon=True).start()
    _limit_threads(threads, scorer is None)
    spoke, speaking = 0.0, threading.Lock()

    def on_progress(share: float) -> None:
        nonlocal spoke
        with speaking:  # a scorer may count in several threads
            if time.monotonic() - spoke >= _PROGRESS_EVERY_S:
                spoke = time.monotonic()
                pipe.send(("progress", float(share)))

    try:
        while True:
            job = pipe.recv()
            try:
                pipe.send(("outcome", score_one(job, config, scorer, on_progress)))
            except UsageError as error:
                pipe.send(("usage", str(error)))
    except (EOFError, OSError):
        return


def _die_with_parent() -> None:
    """End at once when the parent is gone, however it went: nobody is left to hear the result."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)


def _limit_threads(threads: int, loads_torch: bool) -> None:
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(threads)
    if loads_torch:
        import torch

        torch.set_num_threads(threads)


def _real_scorer() -> Scorer:
    from dtcseg.score import score_slide

    scorer: Scorer = score_slide
    return scorer


def _unexpected(error: Exception) -> str:
    """Say a fault of the program in one line, with the place it came from."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f", {Path(frames[-1].filename).name} line {frames[-1].lineno}" if frames else ""
    return f"unexpected {type(error).__name__}: {error}{place}; please report this"
