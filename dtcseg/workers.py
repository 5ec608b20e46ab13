"""Where slides are scored on this machine: processes side by side, fed by threads of this one.

A `Pool` takes slides and tells what happens to them; `dtcseg.cluster` has the same for a Dask cluster. No pool writes
a file: the process that runs the batch writes all results. So each slide is written exactly once even when a worker
dies or a scheduler runs a task twice, a dying worker leaves nothing half-written, and a cluster needs to read the
slides but not to write.
"""

from __future__ import annotations

import queue
import threading
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

from dtcseg.isolation import Order, Outcome, ScoringProcess
from dtcseg.parallel import cores

if TYPE_CHECKING:
    from dtcseg.config import SlideJob


@dataclass(frozen=True)
class Started:
    """Scoring of a slide began, by a worker of this name."""

    name: str
    worker: str


@dataclass(frozen=True)
class Moved:
    """A slide is done to this share, 0..1."""

    name: str
    share: float


Event = Started | Moved | Outcome


class Pool(Protocol):
    """Takes slides and tells what happens to them."""

    def give(self, job: SlideJob) -> None:
        """Take a slide to score; it waits its turn."""

    def hear(self, timeout_s: float) -> Event | None:
        """Wait for the next event; None when there was none in that time.

        Raises
        ------
        UsageError
            The settings cannot be used for any slide.
        """

    def close(self) -> None:
        """Stop whatever is being scored."""


class LocalPool:
    """Scores slides side by side on this machine, at most `order.config.workers` at once, one process each."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._waiting: queue.SimpleQueue[SlideJob | None] = queue.SimpleQueue()
        self._events: queue.SimpleQueue[Event | BaseException] = queue.SimpleQueue()
        self._processes: list[ScoringProcess] = []
        self._threads: list[threading.Thread] = []
        self._given = 0
        self._closed = False

    def give(self, job: SlideJob) -> None:
        """Take a slide to score; see `Pool`."""
        self._waiting.put(job)
        self._given += 1
        if len(self._threads) < min(self._order.config.workers, self._given):
            self._add_worker()

    def hear(self, timeout_s: float) -> Event | None:
        """Wait for the next event; see `Pool`."""
        try:
            event = self._events.get(timeout=timeout_s)
        except queue.Empty:
            return None
        if isinstance(event, BaseException):
            raise event
        return event

    def close(self) -> None:
        """Kill the processes and end the threads; see `Pool`."""
        self._closed = True
        for _ in self._threads:
            self._waiting.put(None)
        for process in self._processes:
            process.stop()
        for thread in self._threads:
            thread.join()

    def _add_worker(self) -> None:
        place = len(self._threads)
        process = ScoringProcess(self._order, max(1, cores() // self._order.config.workers), place)
        self._processes.append(process)
        self._threads.append(threading.Thread(target=self._serve, args=(process, f"process {place + 1}"), daemon=True))
        self._threads[-1].start()

    def _serve(self, process: ScoringProcess, worker: str) -> None:
        """Score what waits, until told to end: the life of a thread."""
        while (job := self._waiting.get()) is not None and not self._closed:
            self._events.put(Started(job.name, worker))
            try:
                self._events.put(process.score(job, partial(self._moved, job.name)))
            except BaseException as error:  # the thread that runs the batch has to hear of it, whatever it is
                self._events.put(error)
                break
        process.end()

    def _moved(self, name: str, share: float) -> None:
        self._events.put(Moved(name, share))
