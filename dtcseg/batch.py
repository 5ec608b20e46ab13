"""A run over many slides: what is left to do, what is tried again, and what is written when.

The results folder is written by this process alone (see `dtcseg.workers` for why), one slide at a time as they end.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from dtcseg import __version__
from dtcseg.arrivals import LOOK_EVERY_S, REFUSED_S, Arrivals, Given
from dtcseg.errors import SlideError, UsageError
from dtcseg.isolation import Order, Outcome, Scorer
from dtcseg.memory import give_back
from dtcseg.news import News
from dtcseg.progress import Reporter
from dtcseg.results.atomic import DiskFull, OutputError
from dtcseg.results.folder import ResultsFolder, RunInfo, read_records
from dtcseg.results.placing import place_failure, place_jobs
from dtcseg.results.record import SlideRecord, Weights, failed_slide, make_record, now_utc, resume_key
from dtcseg.results.text import one_line
from dtcseg.runlog import RunLog
from dtcseg.tries import SHARE_S, SecondTries, Work
from dtcseg.workers import LocalPool, Moved, Started

if TYPE_CHECKING:
    from dtcseg.arrivals import Source
    from dtcseg.config import ScoreConfig, SlideJob
    from dtcseg.manifest import SlideFailure
    from dtcseg.results.folder import Row
    from dtcseg.workers import Pool

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130

_MOST_TRIES = 2
_LOOK_S = 2.0
_LISTENER_S = 0.2
_SUMMARY_SHARE = 0.05
"""Share of the run's time that may be spent on writing the tables before the end."""
_GONE = "the file went away while it was scored"
_CHANGED = "the file changed while it was scored"


@dataclass(frozen=True)
class RunResult:
    """How a run ended.

    Attributes
    ----------
    status : int
        Exit status: 0 all slides are done, 1 some failed, 130 interrupted.
    rows : tuple of Row
        The slides this run was asked for, done now or before, sorted by name; interrupted ones are missing.
    """

    status: int
    rows: tuple[Row, ...]


class Listener(Protocol):
    """Whoever started a run from a window: told how far it is, asked whether to go on."""

    def moved(self, name: str, share: float) -> None:
        """Hear that a slide is done to this share (0..1); called by the thread of the run."""

    @property
    def stopped(self) -> bool:
        """Whether the run is to end now, as after Ctrl-C: what is finished is kept."""


def score_jobs(
    jobs: Sequence[SlideJob],
    failures: Sequence[SlideFailure],
    config: ScoreConfig,
    *,
    scorer: Scorer | None = None,
    weights: Weights | None = None,
    listener: Listener | None = None,
) -> RunResult:
    """Score what is missing in the results folder.

    Parameters
    ----------
    jobs : sequence of SlideJob
    failures : sequence of SlideFailure
        Inputs that already failed; they become rows of slides.csv.
    config : ScoreConfig
    scorer : callable or None
        None: `dtcseg.score.score_slide`. Must be importable by name, since each slide is scored in another process.
    weights : Weights or None
        None: those that `config.model` names.
    listener : Listener, optional

    Raises
    ------
    UsageError
        The settings cannot be used, or the results folder cannot be written.
    OutputError
        The results folder could not be written any more; slides finished before are kept.
    """
    _check_place(config.out, [path for job in jobs for path in job.files])
    return _score_source(Given(jobs, failures), config, scorer, weights, listener)


def watch_folders(
    inputs: Sequence[Path],
    config: ScoreConfig,
    *,
    stain: str | None = None,
    mpp_um: float | None = None,
    scorer: Scorer | None = None,
    weights: Weights | None = None,
) -> RunResult:
    """Score what is in the folders and whatever a scanner brings into them, until interrupted.

    Parameters
    ----------
    inputs : sequence of Path
        Files and folders, as for `dtcseg.manifest.find_slides`; folders may be empty.
    config, scorer, weights
        As `score_jobs`.
    stain, mpp_um
        As `dtcseg.manifest.find_slides`.

    Raises
    ------
    UsageError, OutputError
        As `score_jobs`.
    """
    source = Arrivals(inputs, stain, mpp_um)
    _check_place(config.out, [path / "any" for path in inputs if path.is_dir()])
    return _score_source(source, config, scorer, weights)


def _score_source(
    source: Source,
    config: ScoreConfig,
    scorer: Scorer | None,
    weights: Weights | None,
    listener: Listener | None = None,
) -> RunResult:
    if config.workers < 1:
        raise UsageError(f"--workers must be at least 1, not {config.workers}")
    if config.limit_s <= 0:
        raise UsageError(f"--limit must be more than 0 minutes, not {config.limit_s / 60:g}")
    weights = weights or _find_weights(config.model)
    with ResultsFolder(config.out) as folder, Reporter() as reporter:
        news = News(reporter, RunLog(folder.root))
        return _Run(folder, config, weights, scorer, source, news, listener).go()


class _Run:
    def __init__(
        self,
        folder: ResultsFolder,
        config: ScoreConfig,
        weights: Weights,
        scorer: Scorer | None,
        source: Source,
        news: News,
        listener: Listener | None,
    ) -> None:
        self.listener = listener
        self.folder, self.config, self.weights, self.source, self.news = folder, config, weights, source, news
        self.order = Order(replace(config, model=_pinned(config.model, weights)), scorer, weights.sha256)
        self.pool: Pool | None = None
        self.started = now_utc()
        self.settings: dict[str, object] = _settings([], config)
        self.names: dict[tuple[Path, ...], str] = {}
        self.inputs_failed: list[str] = []
        self.in_work: dict[str, Work] = {}
        self.newer: dict[str, SlideJob] = {}
        self.second = SecondTries(news.say)
        self.summary_due_s = self.look_due_s = 0.0

    def go(self) -> RunResult:
        self.news.begin(program=__version__, weights=self.weights.name, settings=self.settings)
        try:
            self._score()
        except KeyboardInterrupt:
            return self._interrupted()
        except (OutputError, UsageError) as error:
            self._summarise_at_once()
            self.news.end(EXIT_USAGE if isinstance(error, UsageError) else EXIT_FAILED)
            raise
        return self._result()

    def _score(self) -> None:
        try:
            self._look()
            self._summarise()
            while self._go_on():
                event = self._hear()
                self._tell(event)
                if isinstance(event, Started):
                    if event.name in self.in_work:  # on a cluster, news of a start can come after the end
                        self.news.started(event.name, event.worker)
                elif isinstance(event, Moved):
                    self.news.moved(event.name, event.share)
                elif event is not None:
                    self._settle(event)
                    self._summarise()
                self._look()
        finally:
            if self.pool is not None:
                self.pool.close()
        self._summarise(last=True)

    def _go_on(self) -> bool:
        """Give what is due; whether anything is left to wait for."""
        self._try_again()
        return bool(self.in_work or self.second or self.source.open)

    def _tell(self, event: Outcome | Started | Moved | None) -> None:
        """Let the listener know; end the run where it wants no more."""
        if self.listener is None:
            return
        if isinstance(event, Started | Moved):
            self.listener.moved(event.name, event.share if isinstance(event, Moved) else 0.0)
        if self.listener.stopped:
            raise KeyboardInterrupt

    def _hear(self) -> Outcome | Started | Moved | None:
        wait_s = LOOK_EVERY_S if self.source.open else _LOOK_S
        if self.listener is not None:
            wait_s = min(wait_s, _LISTENER_S)
        if self.in_work and self.pool is not None:
            return self.pool.hear(wait_s)
        time.sleep(min(wait_s, _LOOK_S))
        return None

    def _interrupted(self) -> RunResult:
        self.folder.records |= read_records(self.folder.root)  # one may just have been put in its place
        for work in self.second.works():
            self.folder.note_failure(failed_slide(work.job, work.reason))
        busy = bool(self.in_work or self.second) or not self.source.open
        self._summarise_at_once()
        if not busy:  # somebody stopped watching
            return self._result()
        self.news.say("interrupted; the same command goes on with what is missing")
        self.news.end(EXIT_INTERRUPTED)
        return RunResult(EXIT_INTERRUPTED, self._rows())

    def _result(self) -> RunResult:
        rows = self._rows()
        status = EXIT_FAILED if any(row.slide in self.folder.failures for row in rows) else EXIT_DONE
        self.news.end(status)
        return RunResult(status, rows)

    def _look(self) -> None:
        """Take what the source brings."""
        if not self.source.open or time.monotonic() < self.look_due_s:
            return
        self.look_due_s = time.monotonic() + LOOK_EVERY_S
        jobs, failures = self.source.look(self.news.say)
        placed = place_jobs(jobs, self.folder.records, self.names)
        if placed and not self.names:
            self.settings = _settings(placed, self.config)
        self.names |= {job.files: job.name for job in placed}
        self._say_other_weights(placed)
        for job in placed:
            self._take(job)
        for failure in failures:
            row = place_failure(failure, self.folder.records, [*self.names.values(), *self.inputs_failed])
            self.inputs_failed.append(row.slide)
            self.folder.note_failure(row)
            self.news.failed(row)

    def _say_other_weights(self, jobs: Sequence[SlideJob]) -> None:
        """Say, before the first is begun, which slides are scored again because they were scored with other weights."""
        others = [self.folder.records[job.name].weights for job in jobs if job.name in self.folder.records]
        others = [weights for weights in others if weights.sha256 != self.weights.sha256]
        if others:
            names = sorted({f"{weights.name} ({weights.sha256[:12]})" for weights in others})
            self.news.say(
                f"{len(others)} slides here were scored with other weights, {', '.join(map(one_line, names))}; they "
                f"are scored again with {one_line(self.weights.name)} ({self.weights.sha256[:12]}), verdicts are kept. "
                f"To keep their results stop now, and give --model {others[0].sha256[:12]} or another --out"
            )

    def _take(self, job: SlideJob) -> None:
        if job.name in self.in_work:
            self.newer[job.name] = job
            return
        self.second.drop(job.name)
        if self._is_done(job):
            self.news.known(self.folder.records[job.name])
        else:
            self.news.waiting(job)
            self._give(Work(job))

    def _give(self, work: Work) -> None:
        if self.pool is None:
            self.pool = self._make_pool()
        self.in_work[work.job.name] = replace(work, key=self._key(work.job), tries=work.tries + 1)
        self.pool.give(work.job)

    def _make_pool(self) -> Pool:
        if self.config.scheduler is None:
            return LocalPool(self.order)
        from dtcseg.cluster import ClusterPool

        return ClusterPool(self.order, self.news.say)

    def _try_again(self) -> None:
        """Give once more what is due, and give up what stays away."""
        now, given_up = self.second.take(busy=bool(self.in_work), patient=self.source.open)
        for work in now:
            self._give(work)
        for work in given_up:
            self._fail(work.job, work.reason)

    def _key(self, job: SlideJob) -> str:
        """Hash what the results depend on; empty while the files are away."""
        try:
            return resume_key(job, self.weights, self.config.count)
        except OSError:
            return ""

    def _is_done(self, job: SlideJob) -> bool:
        """Whether the slide needs no scoring; who it belongs to may have changed all the same."""
        record = self.folder.records.get(job.name)
        if record is None or record.key != self._key(job):
            return False
        self.folder.forget_failure(job.name)
        files = tuple(str(path) for path in job.files)
        now = replace(
            record,
            files=files,
            patient=job.patient,
            timepoint=job.timepoint,
            role=job.role,
            expected=job.expected,
        )
        if now != record:
            self._patiently(lambda: self.folder.update_record(now))
        return True

    def _settle(self, outcome: Outcome) -> None:
        """Write down how a slide ended, or put it back."""
        work = self.in_work.pop(outcome.job.name, None)
        if work is None:
            return
        newer = self.newer.pop(work.job.name, None)
        job = newer or work.job
        key = self._key(job)
        if not key:
            outcome = replace(outcome, score=None, reason=_GONE, again="later")
        elif key != work.key and newer is not None:
            self._take(newer)
            return
        elif key != work.key and self.source.open:
            self.news.again(job, _CHANGED)  # the source brings it when it is complete
            return
        elif key != work.key:
            outcome = replace(outcome, score=None, reason=_CHANGED, again="later")
        elif outcome.score is None and self.source.open and not outcome.again:
            outcome = replace(outcome, again="later")  # perhaps it is not complete after all
        if outcome.again and work.tries < _MOST_TRIES:
            self._put_off(replace(work, job=job, reason=outcome.reason), alone=outcome.again == "alone")
        elif outcome.score is None:
            self._fail(job, outcome.reason)
        else:
            self._write(replace(outcome, job=job), key)

    def _put_off(self, work: Work, *, alone: bool) -> None:
        self.second.put_off(work, alone=alone, wait_s=REFUSED_S if self.source.open and not alone else 0.0)
        self.news.again(work.job, work.reason)

    def _fail(self, job: SlideJob, reason: str) -> None:
        row = failed_slide(job, reason)
        self.folder.note_failure(row)
        self.news.failed(row)

    def _write(self, outcome: Outcome, key: str) -> None:
        if outcome.score is None:
            raise ValueError("only a scored slide can be written")
        job, score = outcome.job, outcome.score
        try:
            record = make_record(
                job, score, key=key, weights=self.weights, program=__version__, seconds=outcome.seconds
            )
            self._patiently(lambda: self.folder.write_slide(job, score, record, score.crops))
        except SlideError as error:
            self._fail(job, error.problem)
        except OSError as error:
            self._fail(job, f"{_GONE} ({error.strerror or error})")
        else:
            self.news.done(record)

    def _summarise(self, *, last: bool = False) -> None:
        """Write the tables, now or, before the end, when enough time has passed since the last time."""
        start = time.monotonic()
        if last or start >= self.summary_due_s:
            self._patiently(lambda: self.folder.write_summaries(self._info(last), last=last))
            give_back()  # the page of 800 slides is 25 MB, and takes three times that to make
            end = time.monotonic()
            self.summary_due_s = end + (end - start) / _SUMMARY_SHARE

    def _summarise_at_once(self) -> None:
        """Write the tables when the run is cut short, if that can be done."""
        with suppress(OutputError):
            self.folder.write_summaries(self._info(last=True), last=True)

    def _info(self, last: bool) -> RunInfo:
        return RunInfo(
            program=__version__,
            weights={"name": self.weights.name, "sha256": self.weights.sha256},
            device=_device(self.folder.records, self.config),
            settings=self.settings,
            started=self.started,
            ended=now_utc() if last else "",
        )

    def _patiently(self, write: Callable[[], object]) -> None:
        """Write, and where the results folder is away, wait for it; slides are scored on meanwhile.

        Raises
        ------
        OutputError
            The disk is full, or the folder did not come back.
        """
        deadline = time.monotonic() + SHARE_S
        said = False
        while True:
            try:
                write()
                return
            except DiskFull:
                raise
            except OutputError as error:
                if time.monotonic() > deadline:
                    raise
                if not said:
                    self.news.say(f"{error}; waiting for it")
                    said = True
                time.sleep(_LOOK_S)

    def _rows(self) -> tuple[Row, ...]:
        asked = {*self.names.values(), *self.inputs_failed}
        return tuple(row for row in self.folder.rows() if row.slide in asked)


def _check_place(out: Path, files: Sequence[Path]) -> None:
    """Keep results and slides apart: among slides, slides.csv would overwrite the laboratory's own.

    Raises
    ------
    UsageError
        The results folder holds slides, or lies in a slide that is a folder.
    """
    place = out.resolve()
    for path in {path.resolve() for path in files}:
        if place == path.parent or (path.is_dir() and place.is_relative_to(path)):
            raise UsageError(f"{one_line(out)}: holds slides; give --out a folder of its own")


def _find_weights(model: str) -> Weights:
    from dtcseg.network.weights import resolve

    found = resolve(model)
    return Weights(found.name, found.sha256)


def _pinned(model: str, weights: Weights) -> str:
    """Name weights so that every process takes the same ones, whatever is taken into use while the run goes on."""
    return model if model.endswith(".safetensors") else f"sha256:{weights.sha256}"


def _settings(jobs: Sequence[SlideJob], config: ScoreConfig) -> dict[str, object]:
    """List the settings for the record; no path and no host, so that the same run elsewhere reads the same."""
    return {
        "model": Path(config.model).name,
        "device": config.device,
        "stain": next((job.stain for job in jobs if job.stain_source == "flag"), None),
        "mpp": next((job.mpp_um for job in jobs if job.mpp_source == "flag"), None),
        "workers": config.workers,
        "scheduler": config.scheduler is not None,
        "count": config.count,
        "tile_px": config.tile_px,
        "batch": config.batch,
        "limit_s": config.limit_s,
    }


def _device(records: dict[str, SlideRecord], config: ScoreConfig) -> str:
    """Where the network really ran, as the slides scored last tell it."""
    latest = max(records.values(), key=lambda record: record.finished, default=None)
    return str(latest.details.get("device", config.device)) if latest is not None else config.device
