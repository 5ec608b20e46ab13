"""Slides scored on a Dask cluster: a small slide is one task, a large one several (`dtcseg.parts`).

All workers have a share in each large slide, so that one slide alone is done soon, and none is left waiting for the
last slide of a batch. Slides keep their order: whatever belongs to an earlier one goes first.

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
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from dtcseg.config import PREPARED_SHARE, SCREENED_SHARE
from dtcseg.errors import UsageError
from dtcseg.isolation import Handed, Order, Outcome, ScoringProcess, Step
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
    """A first or last task of a slide that ended, or was lost with its scheduler; of the client of that number."""

    client: int
    future: Any
    job: SlideJob


@dataclass
class _InWork:
    """A slide that was given to Dask.

    Attributes
    ----------
    job : SlideJob
    place : int
        How many were given before it.
    futures : list of distributed.Future
        Its tasks; Dask keeps what a task found for as long as somebody holds its future.
    seconds : float
        What its first step took.
    shares : list of float
        How far each part is, 0..1.
    """

    job: SlideJob
    place: int
    futures: list[Any] = field(default_factory=list)
    seconds: float = 0.0
    shares: list[float] = field(default_factory=list)


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
        self._in_work: dict[str, _InWork] = {}
        self._given = 0
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
        self._in_work[job.name] = work = _InWork(job, self._given)
        self._given += 1
        self._begin(work)

    def hear(self, timeout_s: float) -> Event | None:
        """Wait for the next event; see `dtcseg.workers.Pool`."""
        try:
            event = self._events.get(timeout=timeout_s)
        except queue.Empty:
            return None
        if not isinstance(event, _Ended):
            return event
        work = self._in_work.get(event.job.name)
        if event.client != self._number or work is None:
            return None
        outcome = self._outcome(event.future, event.job)
        if outcome is None:
            if event.future is not None and event.future.status == "finished" and self._client.status == "running":
                self._begin(work)  # only the worker that held the result is gone
            else:
                self._start_over()
            return None
        if outcome.handed is not None:
            self._go_on(work, outcome.handed, outcome.seconds)
            return None
        del self._in_work[event.job.name]
        return outcome

    def close(self) -> None:
        """Cancel what has not ended, and end the processes on the workers; see `dtcseg.workers.Pool`."""
        self._number += 1
        with suppress(Exception):  # the scheduler may be gone
            self._client.cancel([one for work in self._in_work.values() for one in work.futures], force=True)
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
        name = str(message["slide"])
        if "share" not in message:
            self._events.put(Started(name, str(message["worker"])))
            return
        share, work = float(message["share"]), self._in_work.get(name)
        if "part" in message:
            if work is None or not work.shares:  # told late: the slide is done, or begun again
                return
            work.shares[int(message["part"])] = share
            share = PREPARED_SHARE + (SCREENED_SHARE - PREPARED_SHARE) * sum(work.shares) / len(work.shares)
        self._events.put(Moved(name, share))

    def _begin(self, work: _InWork) -> None:
        """Give a slide to Dask, from the start."""
        work.futures.clear()
        work.seconds, work.shares = 0.0, []
        self._follow(work, "begin", _score, None if self._order.scorer else Step("begin"))

    def _go_on(self, work: _InWork, begun: Handed, seconds: float) -> None:
        """Give the parts of a slide that was begun, and what puts them together."""
        work.seconds, work.shares = seconds, [0.0] * begun.parts
        try:
            parts = [self._submit(work, "look", _score, Step("look", part), [begun]) for part in range(begun.parts)]
        except Exception:  # as in `_follow`
            self._events.put(_Ended(self._number, None, work.job))
            return
        self._follow(work, "finish", _finish, begun, parts)

    def _follow(self, work: _InWork, kind: str, task: Callable[..., Outcome], *arguments: object) -> None:
        """Submit the task that settles how it goes on with a slide."""
        number, job = self._number, work.job
        try:
            future = self._submit(work, kind, task, *arguments)
        except Exception:  # the client closes itself when its scheduler is gone
            self._events.put(_Ended(number, None, job))
            return
        future.add_done_callback(lambda future: self._events.put(_Ended(number, future, job)))

    def _submit(self, work: _InWork, kind: str, task: Callable[..., Outcome], *arguments: object) -> Any:
        # Dask groups tasks by what their keys begin with: in one group with the last steps, which need others, later
        # first steps and parts would no longer queue by priority, but go to workers at once, ahead of earlier slides'
        key = f"dtcseg_{kind}-{one_line(work.job.name)}-{secrets.token_hex(8)}"
        options = {"key": key, "pure": False, "priority": -work.place}
        work.futures.append(self._client.submit(task, work.job, self._order, self._run, *arguments, **options))
        return work.futures[-1]

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
        return replace(outcome, seconds=outcome.seconds + self._in_work[job.name].seconds)

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
        for work in list(self._in_work.values()):
            self._begin(work)

    def _let_go(self) -> None:
        for work in self._in_work.values():
            work.futures.clear()
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


def _score(job: SlideJob, order: Order, run: str, step: Step | None, handed: Sequence[Handed] = ()) -> Outcome:
    """Score a slide, or take one step, in a process beside the Dask worker that calls this: a task."""
    worker = importlib.import_module("distributed").get_worker()
    if step is None or step.kind == "begin":
        worker.log_event(run, {"slide": job.name, "worker": str(worker.name)})
    place = {"slide": job.name, **({"part": step.part} if step is not None and step.kind == "look" else {})}
    spoke = time.monotonic()

    def on_progress(share: float) -> None:
        nonlocal spoke
        if time.monotonic() - spoke >= _TELL_EVERY_S:
            spoke = time.monotonic()
            worker.log_event(run, {**place, "share": share})

    with _sharing:
        bench = _benches.setdefault(run, _Bench())
        process = bench.spare.pop() if bench.spare else _new_process(worker, order, bench)
    try:
        return process.score(job, on_progress, step, handed)
    finally:
        with _sharing:
            bench.spare.append(process)
        if "part" in place:
            worker.log_event(run, {**place, "share": 1.0})


def _finish(job: SlideJob, order: Order, run: str, begun: Handed, parts: list[Outcome]) -> Outcome:
    """Put the parts of a slide together, the last task; or tell why a part could not be looked at."""
    handed = [part.handed for part in parts if part.handed is not None]
    if len(handed) < len(parts):
        return next(part for part in parts if part.handed is None)
    outcome = _score(job, order, run, Step("finish"), [begun, *handed])
    return replace(outcome, seconds=outcome.seconds + sum(part.seconds for part in parts))


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
