"""The results folder: what is in it, and the only hand that writes it.

Order of events when a slide is written, so that kill -9 at any moment leaves the slide complete or missing:

1. all its files are written and forced to disk in `RESULTS/.partial/`, `slide.json` last;
2. a new slide: the whole folder is renamed into its place in one step;
3. a slide scored again, whose folder holds verdicts that must stay where they are: the old `slide.json` is moved
   out first (from here on the slide counts as missing and would be scored again), then the other old files, then the
   new ones are moved in, `slide.json` last (from here on the slide is complete). An error on the way, unlike a kill,
   leaves time to put the old ones back.

A slide is done if and only if its `slide.json` is there and can be read. `verdicts/` is created, never touched again.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from dtcseg.errors import SlideError, UsageError
from dtcseg.results.atomic import OutputError, remove_leftovers, sync_folder, write_file, write_through, writing_to
from dtcseg.results.candidates import cells_csv, cells_geojson, nuclei_parquet
from dtcseg.results.lock import FolderLock
from dtcseg.results.record import FailedSlide, SlideRecord, from_json, to_json
from dtcseg.results.text import one_line
from dtcseg.runlog import LOG_FILE

if TYPE_CHECKING:
    from dtcseg.cells import SlideScore
    from dtcseg.config import SlideJob
    from dtcseg.report.sheets import SheetFiles

Row = SlideRecord | FailedSlide

SLIDE_FILES = ("cells.csv", "cells.geojson", "nuclei.parquet")
RECORD = "slide.json"
_PARTS = ("crops", *SLIDE_FILES, RECORD)
EXPORTED = (
    "qupath.geojson",
    "qupath.geojson.gz",
    "cells.dcm",
    "labels.ome.zarr",
    "labels-0.4.ome.zarr",
    "stage.csv",
)
"""What `dtcseg export` puts beside a slide's files. It goes when the slide is scored again: it shows the old cells."""
COCO_FILE = "coco.json"
_TOP_FILES = ("run.json", "slides.csv", "patients.csv", "report.html", COCO_FILE, LOG_FILE)
_LONGEST_NAME = 240
_REPORT_SHARE = 0.05
"""Share of the run's time that may be spent on refreshing the report before the end."""


@dataclass(frozen=True)
class RunInfo:
    """What run.json says; times are UTC, ISO 8601, `ended` is empty while the run is going on."""

    program: str
    weights: dict[str, str]
    device: str
    settings: dict[str, Any]
    started: str
    ended: str = ""


class ResultsFolder:
    """A results folder opened for writing, a context manager; one run at a time.

    Parameters
    ----------
    root : Path
        Made when it is not there.

    Attributes
    ----------
    records : dict of str to SlideRecord
        Finished slides by name.
    failures : dict of str to FailedSlide
        Slides that failed and have not been scored since, by name. A failed slide that an earlier run finished keeps
        its older files, but counts as failed.

    Raises
    ------
    UsageError
        The folder cannot be one, cannot be written, or another run is writing in it.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.records: dict[str, SlideRecord] = {}
        self.failures: dict[str, FailedSlide] = {}
        self.info: RunInfo | None = None
        self._lock = FolderLock(root)
        self._partial = root / ".partial"
        self._report_due = 0.0

    def __enter__(self) -> ResultsFolder:
        """Make the folder, lock it, clear what a killed run left, and read what is there."""
        name = one_line(self.root)
        if self.root.exists() and not self.root.is_dir():
            raise UsageError(f"{name}: is a file; give --out a folder")
        table = self.root / "slides.csv"
        if table.exists() and not is_slides_csv(table):
            raise UsageError(f"{name}: holds a slides.csv that is no result; give --out a folder of its own")
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            self._lock.__enter__()
        except OSError as error:
            reason = one_line(error.strerror or error)
            raise UsageError(f"{name}: results cannot be written here ({reason}); give --out another folder") from error
        try:
            self._clear_leftovers()
            self.records = read_records(self.root)
            self.info, self.failures = read_run(self.root)
        except BaseException:
            self._lock.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Clear what was not finished and let go of the folder."""
        with suppress(OSError):
            self._clear_leftovers()
        self._lock.__exit__(kind, error, trace)

    def rows(self) -> list[Row]:
        """Every slide of the folder, sorted by name; a slide that failed last counts as failed."""
        return merge_rows(self.records, self.failures)

    def write_slide(self, job: SlideJob, score: SlideScore, record: SlideRecord, crops: Sequence[bytes] = ()) -> None:
        """Write everything about one slide; it is there whole when this returns.

        Parameters
        ----------
        job : SlideJob
            Its name is the folder's name.
        score : SlideScore
        record : SlideRecord
            Made from both, by `make_record`.
        crops : sequence of bytes
            PNG images of the first candidates, in their order, for the report; may be empty.

        Raises
        ------
        OutputError
            The disk is full or gone; nothing of this slide is left behind.
        SlideError
            The slide's name cannot be the name of a folder here.
        """
        place = self._place(job)
        contents = {
            "cells.csv": cells_csv(job.name, score.candidates, score.mpp_um),
            "cells.geojson": cells_geojson(job.name, score.candidates, score.mpp_um),
            "nuclei.parquet": nuclei_parquet(score.nuclei_px),
            RECORD: to_json(record),
        }
        stage = self._partial / "slide"
        self._check_there()
        with writing_to(self.root):
            try:
                self._partial.mkdir(exist_ok=True)
                _fill(stage, contents, crops)
                if place.is_dir():
                    _replace_content(stage, place, self._partial / "old")
                else:
                    os.rename(stage, place)
                sync_folder(self.root)
            finally:
                shutil.rmtree(self._partial, ignore_errors=True)
        self.records[job.name] = record
        self.failures.pop(job.name, None)

    def update_record(self, record: SlideRecord) -> None:
        """Rewrite the record of a finished slide, when only its patient, time point or role changed."""
        self._check_there()
        with writing_to(self.root):
            write_file(self.root / record.slide / RECORD, to_json(record))
        self.records[record.slide] = record

    def note_failure(self, failure: FailedSlide) -> None:
        """Remember that a slide failed; it is written down by the next `write_summaries`."""
        if failure.slide in self.records:
            reason = f"{failure.reason} (its folder still holds the older results)"
            failure = FailedSlide(**(asdict(failure) | {"reason": reason}))
        self.failures[failure.slide] = failure

    def forget_failure(self, name: str) -> None:
        """Let go of an earlier failure: the slide is done now."""
        self.failures.pop(name, None)

    def write_summaries(
        self, info: RunInfo, *, last: bool = False, sheets: SheetFiles | None = None
    ) -> tuple[str, ...]:
        """Write run.json, slides.csv, patients.csv and report.html from the records and the verdicts.

        The report takes longest to make; before the end it is refreshed as often as `_REPORT_SHARE` allows.

        Parameters
        ----------
        info : RunInfo
        last : bool
            Nothing more is to come.
        sheets : SheetFiles, optional
            Tables of the laboratory that do not lie in the folder.

        Returns
        -------
        tuple of str
            What is amiss, one line each; the report shows it too.
        """
        from dtcseg.report.page import render_report
        from dtcseg.report.sheets import SheetFiles
        from dtcseg.report.study import make_study
        from dtcseg.report.tables import patients_csv, slides_csv

        self.info = info
        start = time.monotonic()
        whole = last or start >= self._report_due
        self._check_there()
        study = make_study(self.root, self.rows(), files=sheets or SheetFiles(), with_arms=whole)
        self._check_there()
        with writing_to(self.root):
            write_file(self.root / "run.json", _run_json(info, self.failures))
            write_file(self.root / "slides.csv", slides_csv(study.rows, study.counts))
            write_file(self.root / "patients.csv", patients_csv(study))
            if whole:
                write_file(self.root / "report.html", render_report(self.root, study, info))
                took = time.monotonic() - start
                self._report_due = start + took + took / _REPORT_SHARE
        return study.warnings

    def _check_there(self) -> None:
        """Look before writing: where a share went away, its empty mount point is a folder too.

        Raises
        ------
        OutputError
            The folder is not the one that was opened.
        """
        if not self._lock.is_held():
            raise OutputError(f"{one_line(self.root)}: the results folder went away; finished slides are kept in it")

    def _place(self, job: SlideJob) -> Path:
        place = self.root / job.name
        bad = not job.name or job.name.startswith(".") or "/" in job.name or "\\" in job.name or "\0" in job.name
        if bad or job.name in _TOP_FILES or len(os.fsencode(job.name)) > _LONGEST_NAME:
            raise SlideError(
                job.files[0], f"{one_line(job.name)!r} cannot be the name of a results folder; rename the file"
            )
        if place.is_symlink() or (place.exists() and not place.is_dir()):
            raise SlideError(job.files[0], f"{one_line(place)} is in the way of its results folder; move it away")
        return place

    def _clear_leftovers(self) -> None:
        if self._partial.is_symlink():
            self._partial.unlink()
        shutil.rmtree(self._partial, ignore_errors=True)
        remove_leftovers(self.root)
        for name in self.records or (path.parent.name for path in self.root.glob(f"*/{RECORD}")):
            remove_leftovers(self.root / name)


def read_records(root: Path) -> dict[str, SlideRecord]:
    """Read the finished slides of a results folder, by name; what is not complete is not finished."""
    records = {}
    for path in sorted(root.glob(f"*/{RECORD}")):
        folder = path.parent
        if folder.is_symlink() or not all((folder / name).is_file() for name in SLIDE_FILES):
            continue
        with suppress(ValueError, TypeError, KeyError, OSError):
            record = from_json(path.read_bytes())
            if record.slide == folder.name:
                records[folder.name] = record
    return records


def is_slides_csv(path: Path) -> bool:
    """Tell a slides.csv of results from one that lists slides to score."""
    try:
        with open(path, "rb") as file:
            header = file.readline(4096)
        return header.startswith(b"slide,file,") and b",mnc_low," in header  # other versions may have other columns
    except OSError:
        return False


def read_run(root: Path) -> tuple[RunInfo | None, dict[str, FailedSlide]]:
    """Read run.json: what the last run was, and which slides have failed; empty-handed when it cannot be read."""
    try:
        values = json.loads((root / "run.json").read_bytes())
        failures = {entry["slide"]: FailedSlide(**entry) for entry in values.pop("failed")}
        known = {field.name for field in fields(RunInfo)}
        return RunInfo(**{name: value for name, value in values.items() if name in known}), failures
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None, {}


def merge_rows(records: dict[str, SlideRecord], failures: dict[str, FailedSlide]) -> list[Row]:
    """Put finished and failed slides in one list, sorted by name."""
    rows: dict[str, Row] = {**records, **failures}
    return [rows[name] for name in sorted(rows)]


def _run_json(info: RunInfo, failures: dict[str, FailedSlide]) -> bytes:
    failed: Iterable[FailedSlide] = (failures[name] for name in sorted(failures))
    values = {**asdict(info), "failed": [asdict(failure) for failure in failed]}
    return (json.dumps(values, indent=1, allow_nan=False) + "\n").encode("ascii")


def _fill(stage: Path, contents: dict[str, bytes], crops: Sequence[bytes]) -> None:
    shutil.rmtree(stage, ignore_errors=True)
    stage.mkdir()
    (stage / "verdicts").mkdir()
    if crops:
        (stage / "crops").mkdir()
    for number, crop in enumerate(crops, start=1):
        write_through(stage / "crops" / f"{number:03d}.png", crop)
    for name, content in contents.items():
        write_through(stage / name, content)
    sync_folder(stage)


def _replace_content(stage: Path, place: Path, aside: Path) -> None:
    """Put new files in the place of old ones; where that fails, the old ones come back."""
    aside.mkdir()
    (place / "verdicts").mkdir(exist_ok=True)
    moves = [(place / name, aside / name) for name in reversed((*EXPORTED, *_PARTS))]  # the old record goes first …
    moves += [(stage / name, place / name) for name in _PARTS]  # … and the new one comes last
    moved = []
    try:
        for source, target in moves:
            if source.exists():
                os.rename(source, target)
                moved.append((source, target))
        sync_folder(place)
    except BaseException:
        for source, target in reversed(moved):
            os.rename(target, source)
        raise


@dataclass(frozen=True)
class Refreshed:
    """The report's path, and what is amiss, one line each."""

    report: Path
    warnings: tuple[str, ...]


def refresh(root: Path, sheets: SheetFiles | None = None) -> Refreshed:
    """Write the tables and the report again from the slides' records and the verdicts.

    Parameters
    ----------
    root : Path
    sheets : SheetFiles, optional
        Tables of the laboratory that do not lie in the folder.

    Raises
    ------
    UsageError
        It is no results folder, a run is writing in it, or a table that was named cannot be read.
    """
    info, _ = read_run(root)
    if info is None:
        raise UsageError(f"{one_line(root)}: is no results folder (it has no run.json that can be read)")
    with ResultsFolder(root) as folder:
        warnings = folder.write_summaries(folder.info or info, last=True, sheets=sheets)
    return Refreshed(root / "report.html", warnings)
