"""A run over many slides: what is left to do, who does it, and what is written when.

The results folder is written by this process alone (see `dtcseg.workers` for why), one slide at a time as they end.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from dtcseg import __version__
from dtcseg.errors import SlideError, UsageError
from dtcseg.progress import Reporter
from dtcseg.results.atomic import OutputError
from dtcseg.results.folder import ResultsFolder, RunInfo, read_records
from dtcseg.results.placing import place_failure, place_jobs
from dtcseg.results.record import SlideRecord, Weights, failed_slide, make_record, now_utc, resume_key
from dtcseg.results.text import one_line
from dtcseg.workers import Outcome, Scorer, in_process, in_processes, on_cluster

if TYPE_CHECKING:
    from dtcseg.config import ScoreConfig, SlideJob
    from dtcseg.manifest import SlideFailure
    from dtcseg.results.folder import Row

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130


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


def run(jobs: Sequence[SlideJob], failures: Sequence[SlideFailure], config: ScoreConfig) -> int:
    """Score the slides into the results folder and return the exit status; see `score_jobs`."""
    return score_jobs(jobs, failures, config).status


def score_jobs(
    jobs: Sequence[SlideJob],
    failures: Sequence[SlideFailure],
    config: ScoreConfig,
    *,
    scorer: Scorer | None = None,
    weights: Weights | None = None,
) -> RunResult:
    """Score what is missing in the results folder.

    Parameters
    ----------
    jobs : sequence of SlideJob
    failures : sequence of SlideFailure
        Inputs that already failed; they become rows of slides.csv.
    config : ScoreConfig
    scorer : callable or None
        None: `dtcseg.score.score_slide`. Must be importable by name where slides are scored in other processes.
    weights : Weights or None
        None: those that `config.model` names.

    Raises
    ------
    UsageError
        The settings cannot be used, or the results folder cannot be written.
    OutputError
        The results folder could not be written any more; slides finished before are kept.
    """
    if config.workers < 1:
        raise UsageError(f"--workers must be at least 1, not {config.workers}")
    _check_place(config.out, jobs)
    weights = weights or _find_weights(config.model)
    with ResultsFolder(config.out) as folder:
        return _Run(folder, config, weights, scorer).go(jobs, failures)


class _Run:
    def __init__(self, folder: ResultsFolder, config: ScoreConfig, weights: Weights, scorer: Scorer | None) -> None:
        self.folder = folder
        self.config = config
        self.weights = weights
        self.scorer = scorer
        self.started = now_utc()
        self.settings: dict[str, object] = {}

    def go(self, jobs: Sequence[SlideJob], failures: Sequence[SlideFailure]) -> RunResult:
        jobs = place_jobs(jobs, self.folder.records)
        self.settings = _settings(jobs, self.config)
        names = [job.name for job in jobs]
        todo = [job for job in jobs if not self._is_done(job)]
        with Reporter(len(jobs), len(jobs) - len(todo)) as reporter:
            for failure in failures:
                names.append(self._note_input(failure, names, reporter))
            try:
                self._score(todo, reporter)
            except KeyboardInterrupt:
                self.folder.records = read_records(self.folder.root)  # one may just have been put in its place
                self._summarise(last=True)
                reporter.say("interrupted; the same command goes on with what is missing")
                return RunResult(EXIT_INTERRUPTED, self._rows(names))
        rows = self._rows(names)
        failed = any(row.slide in self.folder.failures for row in rows)
        return RunResult(EXIT_FAILED if failed else EXIT_DONE, rows)

    def _score(self, todo: Sequence[SlideJob], reporter: Reporter) -> None:
        self._summarise()
        try:
            with closing(self._outcomes(todo, reporter)) as outcomes:
                for outcome in outcomes:
                    self._settle(outcome, reporter)
                    self._summarise()
        except (OutputError, UsageError):
            with suppress(OutputError):
                self._summarise(last=True)
            raise
        self._summarise(last=True)

    def _outcomes(self, todo: Sequence[SlideJob], reporter: Reporter) -> Generator[Outcome]:
        if not todo:
            return in_process([], self.config, self.scorer, reporter)
        if self.config.scheduler is not None:
            return on_cluster(todo, self.config, self.scorer, reporter)
        way = in_processes if min(self.config.workers, len(todo)) > 1 else in_process
        return way(todo, self.config, self.scorer, reporter)

    def _is_done(self, job: SlideJob) -> bool:
        """Whether the slide needs no scoring; who it belongs to may have changed all the same."""
        record = self.folder.records.get(job.name)
        try:
            if record is None or record.key != resume_key(job, self.weights):
                return False
        except OSError:
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
            self.folder.update_record(now)
        return True

    def _note_input(self, failure: SlideFailure, names: Sequence[str], reporter: Reporter) -> str:
        row = place_failure(failure, self.folder.records, names)
        self.folder.note_failure(row)
        reporter.failed(row.slide, row.file or row.slide, row.reason)
        return row.slide

    def _settle(self, outcome: Outcome, reporter: Reporter) -> None:
        """Write down how a slide ended."""
        reason = outcome.reason
        if outcome.score is not None:
            try:
                self._write(outcome)
            except SlideError as error:
                reason = error.problem
            except OSError as error:
                reason = f"the file went away while it was scored ({error.strerror or error})"
            else:
                reporter.finished(outcome.job.name)
                return
        self.folder.note_failure(failed_slide(outcome.job, reason))
        reporter.failed(outcome.job.name, outcome.job.files[0].name, reason)

    def _write(self, outcome: Outcome) -> None:
        if outcome.score is None:
            raise ValueError("only a scored slide can be written")
        record = make_record(
            outcome.job,
            outcome.score,
            key=resume_key(outcome.job, self.weights),
            weights=self.weights,
            program=__version__,
            seconds=outcome.seconds,
        )
        self.folder.write_slide(outcome.job, outcome.score, record, outcome.score.crops)

    def _summarise(self, *, last: bool = False) -> None:
        info = RunInfo(
            program=__version__,
            weights={"name": self.weights.name, "sha256": self.weights.sha256},
            device=_device(self.folder.records, self.config),
            settings=self.settings,
            started=self.started,
            ended=now_utc() if last else "",
        )
        self.folder.write_summaries(info, last=last)

    def _rows(self, names: Sequence[str]) -> tuple[Row, ...]:
        asked = set(names)
        return tuple(row for row in self.folder.rows() if row.slide in asked)


def _check_place(out: Path, jobs: Sequence[SlideJob]) -> None:
    """Keep results and slides apart: among slides, slides.csv would overwrite the laboratory's own.

    Raises
    ------
    UsageError
        The results folder holds slides, or lies in a slide that is a folder.
    """
    place = out.resolve()
    for path in {path.resolve() for job in jobs for path in job.files}:
        if place == path.parent or (path.is_dir() and place.is_relative_to(path)):
            raise UsageError(f"{one_line(out)}: holds slides; give --out a folder of its own")


def _find_weights(model: str) -> Weights:
    from dtcseg.network.weights import resolve

    found = resolve(model)
    return Weights(found.name, found.sha256)


def _settings(jobs: Sequence[SlideJob], config: ScoreConfig) -> dict[str, object]:
    """List the settings for the record; no path and no host, so that the same run elsewhere reads the same."""
    return {
        "model": Path(config.model).name,
        "device": config.device,
        "stain": next((job.stain for job in jobs if job.stain_source == "flag"), None),
        "mpp": next((job.mpp_um for job in jobs if job.mpp_source == "flag"), None),
        "workers": config.workers,
        "scheduler": config.scheduler is not None,
        "tile_px": config.tile_px,
        "batch": config.batch,
    }


def _device(records: dict[str, SlideRecord], config: ScoreConfig) -> str:
    """Where the network really ran, as the slides scored last tell it."""
    latest = max(records.values(), key=lambda record: record.finished, default=None)
    return str(latest.details.get("device", config.device)) if latest is not None else config.device
