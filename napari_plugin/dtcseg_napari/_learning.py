"""Learning from the window: the same run as `dtcseg train`, in a process of its own, so that the window stays quick.

The process is told to stop by an event and ends with the program that started it; whatever was done is kept, and the
same call goes on from there.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Sequence
from multiprocessing import connection
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from dtcseg.errors import DtcsegError
from dtcseg.results.text import one_line

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.synchronize import Event

    from dtcseg_training.learn import LearnOutcome, LearnProgress

OnProgress = Callable[["LearnProgress"], None]
Learner = Callable[..., "LearnOutcome"]

_EVERY_S = 0.25
_POLITE = 5
"""Niceness: whoever sits at the window comes first."""


class LearningEnded(DtcsegError):
    """Learning could not go on; the text says why and what to do."""


class LearningRun:
    """One run of learning; `stop` may be called from any thread.

    Parameters
    ----------
    results : sequence of Path
        Results folders with verdicts.
    out : Path
        The weights file to write.
    on_progress : callable
        Told how far it is, by the thread that called `run`.

    Attributes
    ----------
    learner : callable or None
        None: `dtcseg_training.learn.run.learn`. Must be importable by name.
    """

    learner: ClassVar[Learner | None] = None

    def __init__(self, results: Sequence[Path], out: Path, on_progress: OnProgress) -> None:
        self._results, self._out, self._on_progress = list(results), out, on_progress
        self._context = multiprocessing.get_context("spawn")
        self._stop = self._context.Event()

    def stop(self) -> None:
        """End the run at the next step; the same call goes on there."""
        self._stop.set()

    def run(self) -> LearnOutcome | None:
        """Learn, and wait for the end; None where it was stopped.

        Raises
        ------
        LearningEnded
            There is nothing to learn from, nothing can be written, or the process died.
        """
        here, there = self._context.Pipe(duplex=False)
        process = self._context.Process(
            target=_work,
            args=(there, self._stop, type(self).learner, self._results, self._out),
            name="dtcseg learning",
        )
        process.start()
        there.close()
        atexit.register(self.stop)  # Python waits for the process at its end
        try:
            while True:
                kind, value = here.recv()
                if kind == "progress":
                    self._on_progress(value)
                elif kind == "done":
                    outcome: LearnOutcome = value
                    return outcome
                elif kind == "stopped":
                    return None
                else:
                    raise LearningEnded(value)
        except EOFError:
            process.join()
            raise LearningEnded(
                f"the process that learned ended by itself (exit status {process.exitcode}), perhaps for want of "
                "memory; start again: what was done is kept"
            ) from None
        finally:
            here.close()
            process.join(timeout=10)
            atexit.unregister(self.stop)


def _work(pipe: Connection, stop: Event, learner: Learner | None, results: list[Path], out: Path) -> None:
    """Learn in the other process, and send what is to be told."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if hasattr(os, "nice"):
        os.nice(_POLITE)
    said, step = 0.0, ""

    def tell(told: LearnProgress) -> None:
        nonlocal said, step
        if told.step != step or time.monotonic() >= said + _EVERY_S or told.share >= 1:
            said, step = time.monotonic(), told.step
            pipe.send(("progress", told))

    pipe.send(_answer(learner, results, out, tell, stop))
    pipe.close()


def _answer(learner: Learner | None, results: list[Path], out: Path, tell: OnProgress, stop: Event) -> tuple[str, Any]:
    from dtcseg_training.learn import Stopped

    try:
        return "done", (learner or _learner())(results, out, progress=tell, stop=stop.is_set)
    except Stopped:
        return "stopped", None
    except DtcsegError as error:
        return "failed", str(error)
    except OSError as error:
        return "failed", f"{one_line(error.filename or out)}: {one_line(error.strerror or error)}"
    except Exception as error:
        return "failed", f"a fault of the program ({type(error).__name__}: {one_line(error)}); please report it"


def _learner() -> Learner:
    from dtcseg_training.learn.run import learn

    return learn


def _end_with_parent() -> None:
    """End at once when the window's program is gone, however it went."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)
