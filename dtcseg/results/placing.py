"""Which folder a slide has: its own from before, else a free name; never that of another slide."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from dtcseg.cells import ROLES, STAINS
from dtcseg.results.record import FailedSlide, SlideRecord, file_identity
from dtcseg.results.text import one_line

if TYPE_CHECKING:
    from dtcseg.config import SlideJob
    from dtcseg.manifest import SlideFailure


def place_jobs(
    jobs: Sequence[SlideJob], records: Mapping[str, SlideRecord], placed: Mapping[tuple[Path, ...], str] | None = None
) -> list[SlideJob]:
    """Give every job the name of its folder, and absolute paths.

    A results folder can outlive many runs, and another run may have scored another slide of the same file name into
    it. A slide is known again by its path, or, when it was moved, by name, size and time of its files.

    Parameters
    ----------
    jobs : sequence of SlideJob
    records : mapping of str to SlideRecord
        Finished slides of the folder.
    placed : mapping of tuple of Path to str, optional
        Names that this run has given already, by the slides' files; they stay.
    """
    placed = placed or {}
    jobs = [replace(job, files=_absolute(job.files)) for job in jobs]
    jobs = list({job.files: job for job in reversed(jobs)}.values())[::-1]  # a slide named twice is scored once
    by_path = {record.files: name for name, record in records.items()}
    names = {job.files: by_path[_as_text(job.files)] for job in jobs if _as_text(job.files) in by_path}
    names = {**placed, **names}
    for job in jobs:
        if job.files not in names:
            free = {name: record for name, record in records.items() if name not in names.values()}
            moved = _moved_from(job, free)
            names[job.files] = moved or free_name(job.name, {*records, *names.values()})
    return [replace(job, name=names[job.files]) for job in jobs]


def place_failure(failure: SlideFailure, records: Mapping[str, SlideRecord], taken: Sequence[str]) -> FailedSlide:
    """Name the row of an input that did not become a job, such that it stands for no other slide."""
    files = _absolute((failure.file,))
    own = next((own for own, record in records.items() if record.files == _as_text(files)), None)
    if own is None or own in taken:
        own = free_name(failure.name, {*records, *taken})
    return FailedSlide(
        slide=own,
        file=files[0].name,
        reason=one_line(failure.reason),
        patient=failure.patient,
        timepoint=failure.timepoint,
        role=failure.role if failure.role in ROLES else "" if failure.role else "sample",
        stain=failure.stain if failure.stain in STAINS else "",
    )


def free_name(name: str, taken: set[str]) -> str:
    """Find a name that no other slide has; names that differ only in case are one on some file systems."""
    folded = {other.casefold() for other in taken}
    number, candidate = 1, name
    while candidate.casefold() in folded:
        number += 1
        candidate = f"{name}-{number}"
    return candidate


def _moved_from(job: SlideJob, records: Mapping[str, SlideRecord]) -> str | None:
    """Find the record of the same files at a place where they are no longer."""
    names = tuple(path.name for path in job.files)
    alike = [name for name, record in records.items() if tuple(entry.name for entry in record.identity) == names]
    if not alike:
        return None
    try:
        identity = file_identity(job.files)
    except OSError:
        return None
    sizes = [entry.size for entry in identity]
    for name in sorted(alike, key=lambda name: (records[name].identity != identity, name != job.name, name)):
        same_sizes = [entry.size for entry in records[name].identity] == sizes
        if same_sizes and not any(os.path.exists(path) for path in records[name].files):
            return name
    return None


def _absolute(files: tuple[Path, ...]) -> tuple[Path, ...]:
    return tuple(Path(os.path.abspath(path)) for path in files)


def _as_text(files: tuple[Path, ...]) -> tuple[str, ...]:
    return tuple(str(path) for path in files)
