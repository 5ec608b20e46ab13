"""One slide, one process: what crashes or hangs while it is scored takes nothing with it.

Slide readers are C libraries, and a damaged file can end the process that reads it. So no slide is scored in the
process that runs the batch, nor in a Dask worker, but in a process of its own beside it, which is kept for the next
slide (the networks are loaded once), killed when a slide does not move on, and ends with its parent.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import connection
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Literal

from dtcseg import __version__
from dtcseg.cells import SlideScore
from dtcseg.config import ScoreConfig, SlideJob
from dtcseg.errors import DtcsegError, SlideError, UsageError
from dtcseg.parallel import share_cores
from dtcseg.results.text import one_line

OnProgress = Callable[[float], None]
Scorer = Callable[[SlideJob, ScoreConfig, OnProgress], SlideScore]
Again = Literal["", "later", "alone"]

_Scorer = Callable[[SlideJob, ScoreConfig, OnProgress], "SlideScore | HandedOn"]
_TERMINATE_S = 3.0
_PROGRESS_EVERY_S = 0.25
_START_S = 300.0
"""Starting takes seconds, on a busy machine more; the limit for a slide that hangs does not count it."""
_IDLE_S = 600.0
"""A process that waits longer than this for its next slide ends, so that none is left when a batch died far away."""
_LATER: Again = "later"
_TRIM = "MALLOC_TRIM_THRESHOLD_"
_starting = threading.Lock()


@dataclass(frozen=True)
class Order:
    """What all slides of a run have in common for the process that scores them.

    Attributes
    ----------
    config : ScoreConfig
    scorer : callable or None
        None: `dtcseg.score.score_slide`. Must be importable by name.
    sha256 : str
        Of the weights; a process that finds others under their name refuses to work.
    program : str
        Version of dtcseg, checked in the same way.
    """

    config: ScoreConfig
    scorer: Scorer | None = None
    sha256: str = ""
    program: str = __version__


@dataclass(frozen=True)
class Step:
    """One step of scoring a slide in parts (`dtcseg.parts`).

    Attributes
    ----------
    kind : {"begin", "look", "finish"}
    part : int
        To look at, from 0.
    """

    kind: Literal["begin", "look", "finish"]
    part: int = 0


@dataclass(frozen=True)
class HandedOn:
    """What a step hands on, in the process that scores.

    Attributes
    ----------
    content : object
    parts : int
        Of the first step: into how many parts the slide is cut.
    """

    content: object
    parts: int = 0


@dataclass(frozen=True)
class Handed:
    """What a step hands on, elsewhere: the message of one process that scores, to be sent to another as it is.

    So the process that runs the batch, and Dask's, never load what it takes to read it.
    """

    message: bytes
    parts: int = 0


@dataclass(frozen=True)
class Outcome:
    """How one slide ended, or one step of it: with a score, with what is handed on, or with a reason why not.

    Attributes
    ----------
    job : SlideJob
    score : SlideScore or None
    reason : str
        One line; empty with a score, or with what is handed on.
    seconds : float
    again : {"", "later", "alone"}
        Whether another try may end otherwise: once files are back or a network is well again ("later"), or when
        nothing else takes memory beside it ("alone").
    handed : Handed or None
        After any but the last step of a slide in parts.
    """

    job: SlideJob
    score: SlideScore | None
    reason: str
    seconds: float
    again: Again = ""
    handed: Handed | None = None


class ScoringProcess:
    """A process that scores one slide after the other; started when first needed, and again when it died.

    Parameters
    ----------
    order : Order
    threads : int
        Cores it may use.
    place : int
        Its number among those of this machine, from 0; chooses its GPU.
    """

    def __init__(self, order: Order, threads: int, place: int) -> None:
        self.order = order
        self._threads = threads
        self._place = place
        self._process: BaseProcess | None = None
        self._pipe: Connection | None = None
        self._stopped = False

    def score(
        self,
        job: SlideJob,
        on_progress: OnProgress = lambda share: None,
        step: Step | None = None,
        handed: Sequence[Handed] = (),
    ) -> Outcome:
        """Score a slide, or take one step of it, and wait for the end, whatever it is.

        Parameters
        ----------
        job : SlideJob
        on_progress : callable
            Told the share done, 0..1.
        step : Step or None
            None: the whole slide.
        handed : sequence of Handed
            By the steps that this one needs: the first, and to finish, those of all parts.

        Raises
        ------
        UsageError
            The settings cannot be used for any slide.
        """
        start = time.monotonic()
        pipe = self._ready()
        limit_s = self.order.config.limit_s
        try:
            pipe.send((job, step, len(handed)))
            for one in handed:
                pipe.send_bytes(one.message)
            wait_s = max(limit_s, _START_S)
            while pipe.poll(wait_s):
                kind, value = pipe.recv()
                wait_s = limit_s
                if kind == "progress":
                    on_progress(value)
                elif kind == "usage":
                    raise UsageError(value)
                else:
                    outcome: Outcome = value
                    if outcome.handed is not None:
                        outcome = replace(outcome, handed=replace(outcome.handed, message=pipe.recv_bytes()))
                    return replace(outcome, job=job)
            reason, again = f"made no progress for {_duration(limit_s)} and was stopped", _LATER
        except (EOFError, OSError):
            reason, again = self._how_it_died()
        self.end()
        return Outcome(job, None, reason, time.monotonic() - start, again)

    def stop(self) -> None:
        """Kill the process for good; for another thread, while `score` waits."""
        self._stopped = True
        self._kill()

    def end(self) -> None:
        """Kill the process and let go of it; `score` would start another."""
        self._kill()
        if self._process is not None:
            self._process.join()
            self._process.close()
        if self._pipe is not None:
            self._pipe.close()
        self._process = self._pipe = None

    def _kill(self) -> None:
        process = self._process
        if process is not None:
            with suppress(ValueError, OSError):  # it has just been let go of
                process.kill()  # works on a stopped process too

    def _ready(self) -> Connection:
        if self._pipe is not None and self._process is not None and self._process.is_alive():
            return self._pipe
        self.end()
        context = multiprocessing.get_context("spawn")  # a fork would copy threads' locks and a CUDA context
        ours, theirs = context.Pipe()
        process = context.Process(
            target=_work, args=(theirs, self.order, self._threads, self._place), daemon=True, name="dtcseg"
        )
        with _starting, _interrupts_held(), _own_memory_settings():
            if multiprocessing.current_process().daemon:  # a Dask worker is one, and a daemon may not have children
                multiprocessing.current_process().daemon = False
            process.start()
        theirs.close()
        self._process, self._pipe = process, ours
        if self._stopped:
            self._kill()
        return ours

    def _how_it_died(self) -> tuple[str, Again]:
        if self._stopped or self._process is None:
            return "was stopped", _LATER
        self._process.join(_TERMINATE_S)
        code = self._process.exitcode
        if code is not None and code < 0:
            try:
                name = signal.Signals(-code).name
            except ValueError:
                name = f"signal {-code}"
            hint = ", perhaps for want of memory: try fewer --workers" if name == "SIGKILL" else ""
            return f"the process that scored it was ended by {name}{hint}", "alone"
        return f"the process that scored it ended by itself (exit status {code})", "alone"


def score_one(job: SlideJob, config: ScoreConfig, scorer: _Scorer, on_progress: OnProgress) -> tuple[Outcome, object]:
    """Score one slide here, or take one step of it; whatever is wrong with it becomes the reason.

    The second value is what a step hands on, of which the outcome says only that there is something.

    Raises
    ------
    UsageError
        The settings cannot be used for any slide.
    """
    start = time.monotonic()
    score, handed, content, reason = None, None, None, ""
    again: Again = ""
    try:
        found = scorer(job, config, on_progress)
        if isinstance(found, HandedOn):
            handed, content = Handed(b"", found.parts), found.content
        else:
            score = found
            if score.excluded_mm2.get("unreadable", 0) > 0:  # perhaps only now: a share may have been away for a moment
                again, reason = "later", "parts of it could not be read"
    except UsageError:
        raise
    except MemoryError:
        reason, again = "there is not enough memory to score it", "alone"
    except Exception as error:  # a fault of the program in one slide must not take the others with it
        reason = _reason(error)
        again = "later" if _is_of_the_system(error) else ""
    return Outcome(job, score, one_line(reason), time.monotonic() - start, again, handed), content


def _reason(error: Exception) -> str:
    if isinstance(error, SlideError):
        return error.problem
    if isinstance(error, DtcsegError):
        return str(error)
    frames = traceback.extract_tb(error.__traceback__)
    place = f", {Path(frames[-1].filename).name} line {frames[-1].lineno}" if frames else ""
    return f"unexpected {type(error).__name__}: {error}{place}; please report this"


def _is_of_the_system(error: BaseException | None) -> bool:
    """Whether an error began with one of the file system: a share may come back, a damaged file does not heal."""
    while error is not None:
        if isinstance(error, OSError) and error.errno is not None:
            return True
        error = error.__cause__ or error.__context__
    return False


def _real_scorer(step: Step | None, handed: list[object]) -> _Scorer:
    if step is None:
        from dtcseg.score import score_slide

        scorer: Scorer = score_slide
        return scorer
    from dtcseg.parts import take_step

    return partial(take_step, step=step, handed=handed)


def _duration(seconds: float) -> str:
    return f"{seconds / 60:g} min" if seconds >= 60 else f"{seconds:g} s"


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


@contextmanager
def _own_memory_settings() -> Iterator[None]:
    """Let a new process keep what it frees for its next tile.

    Dask's nannies tell glibc to hand memory back at once, and processes inherit that: a slide took a quarter longer.
    """
    told = os.environ.pop(_TRIM, None)
    try:
        yield
    finally:
        if told is not None:
            os.environ[_TRIM] = told


def _work(pipe: Connection, order: Order, threads: int, place: int) -> None:
    """Score slide after slide until the pipe is closed: the life of a scoring process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent alone answers it
    threading.Thread(target=_die_with_parent, daemon=True).start()
    spoke, speaking = 0.0, threading.Lock()

    def on_progress(share: float) -> None:
        nonlocal spoke
        with speaking:  # a scorer may count in several threads
            if time.monotonic() - spoke >= _PROGRESS_EVERY_S:
                spoke = time.monotonic()
                pipe.send(("progress", float(share)))

    config: ScoreConfig | None = None
    try:
        while pipe.poll(_IDLE_S):
            job, step, count = pipe.recv()
            handed = [pipe.recv() for _ in range(count)]
            try:
                config = config or _prepared(order, threads, place)
                pipe.send(("progress", 0.0))  # from here on the limit counts
                scorer = order.scorer or _real_scorer(step, handed)
                outcome, content = score_one(job, config, scorer, on_progress)
                pipe.send(("outcome", outcome))
                if outcome.handed is not None:
                    pipe.send(content)
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


def _prepared(order: Order, threads: int, place: int) -> ScoreConfig:
    """Take the share of cores and the GPU of this process, and check that program and weights are those of the run.

    Raises
    ------
    UsageError
        They are others.
    """
    if order.program != __version__:
        raise UsageError(f"a worker runs dtcseg {__version__}, the run is of {order.program}; install the same on all")
    limit_threads(threads)
    if order.scorer is not None:
        return replace(order.config, workers=1)
    import torch

    from dtcseg.network.weights import resolve

    torch.set_num_threads(threads)
    found = resolve(order.config.model)
    if order.sha256 and found.sha256 != order.sha256:
        raise UsageError(f"a worker has other weights under the name {found.name}; install the same on all machines")
    gpus = torch.cuda.device_count() if order.config.device in ("auto", "cuda") else 0
    return replace(order.config, workers=1, device=own_device(order.config.device, place, gpus))


def limit_threads(threads: int) -> None:
    """Keep libraries loaded from here on, and `dtcseg.parallel`, to so many cores."""
    share_cores(threads)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(threads)


def own_device(device: str, place: int, gpus: int) -> str:
    """Give each process a GPU of its own where there are several; with more processes than GPUs they take turns.

    Parameters
    ----------
    device : str
        As asked for: "auto", "cuda" and so on.
    place : int
        The process's number on its machine, from 0.
    gpus : int
        CUDA devices that it sees.
    """
    return f"cuda:{place % gpus}" if gpus > 1 and device in ("auto", "cuda") else device
