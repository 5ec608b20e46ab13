"""Slides scored on a Dask cluster, one task a slide.

Dask starts a task again when its worker is lost. What Dask does not do is done here: a slide that crashes its reader
or hangs does not reach the worker (it has a process of its own, as everywhere); and when the scheduler goes away, this
waits for it and gives the slides again that have no outcome yet. A task that is run twice does no harm, since only
the first outcome of a slide is told.
"""

from __future__ import annotations

import importlib
import logging
import queue
import secrets
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dtcseg.errors import UsageError
from dtcseg.isolation import Order, Outcome, ScoringProcess
from dtcseg.results.text import one_line
from dtcseg.workers import Event, Moved, Started

if TYPE_CHECKING:
    from dtcseg.config import SlideJob

_CONNECT_S = 15
_SCHEDULER_S = 900.0
"""How long a scheduler that went away is waited for: a supervisor starts it again, or nobody does."""
_FETCH_S = 60.0
_TELL_EVERY_S = 2.0


@dataclass(frozen=True)
class _Ended:
    """A task that ended, or was lost together with its scheduler; of the client of that number."""

    client: int
    future: Any
    job: SlideJob


class ClusterPool:
    """Scores slides on a Dask cluster; see `dtcseg.workers.Pool`.

    Parameters
    ----------
    order : Order
        Its `config.scheduler` is the address.
    say : callable
        Told in one line what a person should know: where the dashboard is, that the scheduler went away.

    Raises
    ------
    UsageError
        Dask is not installed, or no scheduler answers at the address.
    """

    def __init__(self, order: Order, say: Callable[[str], None]) -> None:
        self._order = order
        self._say = say
        self._address = str(order.config.scheduler)
        self._events: queue.SimpleQueue[Event | _Ended] = queue.SimpleQueue()
        self._in_work: dict[str, SlideJob] = {}
        self._futures: dict[str, Any] = {}
        self._distributed = _import_dask()
        self._number = 0
        self._run = secrets.token_hex(8)
        try:
            self._client = self._connected()
        except (OSError, ValueError, TypeError) as error:  # a wrong address is any of these
            raise UsageError(f"{one_line(self._address)}: no Dask scheduler answers there") from error
        if not self._client.scheduler_info().get("workers"):
            say(f"the Dask scheduler at {self._address} has no workers yet; slides wait for them")

    def give(self, job: SlideJob) -> None:
        """Take a slide to score; see `dtcseg.workers.Pool`."""
        self._in_work[job.name] = job
        self._submit(job)

    def hear(self, timeout_s: float) -> Event | None:
        """Wait for the next event; see `dtcseg.workers.Pool`."""
        try:
            event = self._events.get(timeout=timeout_s)
        except queue.Empty:
            return None
        if not isinstance(event, _Ended):
            return event
        if event.client != self._number or event.job.name not in self._in_work:
            return None
        outcome = self._outcome(event.future, event.job)
        if outcome is None:
            if event.future is not None and event.future.status == "finished" and self._client.status == "running":
                self._submit(event.job)  # only the worker that held the result is gone
            else:
                self._start_over()
            return None
        del self._in_work[event.job.name], self._futures[event.job.name]
        return outcome

    def close(self) -> None:
        """Cancel what has not ended, and end the processes on the workers; see `dtcseg.workers.Pool`."""
        self._number += 1
        with suppress(Exception):  # the scheduler may be gone
            self._client.cancel(list(self._futures.values()), force=True)
            self._client.run(_forget, self._run, wait=False)
        self._let_go()

    def _connected(self) -> Any:
        client = self._distributed.Client(self._address, timeout=_CONNECT_S, set_as_default=False)
        with suppress(Exception):  # a scheduler without a dashboard has no link
            self._say(f"Dask dashboard: {client.dashboard_link}")
        client.subscribe_topic(self._run, self._told)
        return client

    def _told(self, event: tuple[float, dict[str, Any]]) -> None:
        """Take what a worker says about a slide; called in Dask's own thread."""
        message = event[1]
        if "share" in message:
            self._events.put(Moved(str(message["slide"]), float(message["share"])))
        else:
            self._events.put(Started(str(message["slide"]), str(message["worker"])))

    def _submit(self, job: SlideJob) -> None:
        number = self._number
        key = f"dtcseg-{one_line(job.name)}-{secrets.token_hex(8)}"
        try:
            future = self._client.submit(_score, job, self._order, self._run, key=key, pure=False)
        except Exception:  # the client closes itself when its scheduler is gone
            self._events.put(_Ended(number, None, job))
            return
        self._futures[job.name] = future
        future.add_done_callback(lambda future: self._events.put(_Ended(number, future, job)))

    def _outcome(self, future: Any, job: SlideJob) -> Outcome | None:
        """Fetch how a slide ended; None where it was lost on the way."""
        if future is None or future.status not in ("finished", "error"):
            return None
        try:
            outcome: Outcome = future.result(timeout=_FETCH_S)
        except UsageError:
            raise
        except Exception as error:
            kind = type(error).__name__
            if kind == "KilledWorker":
                return Outcome(job, None, "the cluster workers that scored it died, one after the other", 0.0, "alone")
            if future.status == "error":
                return Outcome(job, None, one_line(f"the cluster did not finish it ({kind}: {error})"), 0.0, "later")
            return None
        return outcome

    def _start_over(self) -> None:
        """Wait for the scheduler, and give it again what it had.

        Raises
        ------
        UsageError
            It does not come back.
        """
        self._say(f"the Dask scheduler at {self._address} is gone; waiting for it")
        self._number += 1
        self._let_go()
        deadline = time.monotonic() + _SCHEDULER_S
        while True:
            try:
                self._client = self._connected()
                break
            except (OSError, ValueError, TypeError) as error:
                if time.monotonic() > deadline:
                    raise UsageError(
                        f"{one_line(self._address)}: the Dask scheduler did not come back; the same command goes on "
                        "with what is missing"
                    ) from error
                time.sleep(1)
        self._say(f"the Dask scheduler is back; {len(self._in_work)} slides are given to it again")
        for job in list(self._in_work.values()):
            self._submit(job)

    def _let_go(self) -> None:
        self._futures.clear()
        with suppress(Exception):  # whatever a client says that lost its scheduler
            self._client.close(timeout=2)


def _import_dask() -> Any:
    try:
        distributed = importlib.import_module("distributed")
    except ImportError as error:
        raise UsageError("--scheduler needs Dask: install dtcseg[cluster]") from error
    for name in list(logging.Logger.manager.loggerDict):
        if name.partition(".")[0] == "distributed":  # it would print tracebacks; what matters becomes a reason here
            logging.getLogger(name).setLevel(logging.CRITICAL)
    return distributed


@dataclass
class _Bench:
    """The processes that a Dask worker has for one run."""

    spare: list[ScoringProcess] = field(default_factory=list)
    all: list[ScoringProcess] = field(default_factory=list)


_benches: dict[str, _Bench] = {}
_sharing = threading.Lock()


def _score(job: SlideJob, order: Order, run: str) -> Outcome:
    """Score a slide in a process beside the Dask worker that calls this: the task."""
    worker = importlib.import_module("distributed").get_worker()
    worker.log_event(run, {"slide": job.name, "worker": str(worker.name)})
    spoke = time.monotonic()

    def on_progress(share: float) -> None:
        nonlocal spoke
        if time.monotonic() - spoke >= _TELL_EVERY_S:
            spoke = time.monotonic()
            worker.log_event(run, {"slide": job.name, "share": share})

    with _sharing:
        bench = _benches.setdefault(run, _Bench())
        process = bench.spare.pop() if bench.spare else _new_process(worker, order, bench)
    try:
        return process.score(job, on_progress)
    finally:
        with _sharing:
            bench.spare.append(process)


def _new_process(worker: Any, order: Order, bench: _Bench) -> ScoringProcess:
    """Make one more process; it may use its part of the cores that the worker's resource `cores` promises, else one."""
    slots = worker.state.nthreads
    cores = int(worker.state.total_resources.get("cores", slots))
    process = ScoringProcess(order, max(1, cores // slots), len(bench.all))
    bench.all.append(process)
    return process


def _forget(run: str) -> None:
    """Stop the processes of a run that is over, whatever they do; called on each worker."""
    with _sharing:
        bench = _benches.pop(run, _Bench())
    for process in bench.all:
        process.stop()
