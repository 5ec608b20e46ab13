"""report.html: one self-contained page that asks nothing of the network, for the screen and for paper."""

from __future__ import annotations

import base64
import csv
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import jinja2

from dtcseg.results.record import FailedSlide, SlideRecord
from dtcseg.results.tables import PatientResult, Row, by_patient
from dtcseg.results.text import one_line, utf8
from dtcseg.statistics import figure

if TYPE_CHECKING:
    from dtcseg.results.folder import RunInfo

TOP_CANDIDATES = 24
"""Candidates of one slide that are listed."""
MOST_CROPS = 480
"""Crops in one page; the first slides have them, a page of hundreds of megabytes helps nobody."""

ROLE_WORDS = {
    "sample": "sample",
    "isotype_control": "isotype control",
    "negative_control": "negative control",
    "positive_control": "positive control",
}
STAIN_WORDS = {
    "new_fuchsin": "new fuchsin",
    "fast_red": "fast red",
    "aec": "AEC",
    "dab": "DAB",
    "if": "fluorescence",
}


@dataclass(frozen=True)
class ListedCandidate:
    """One row of cells.csv as the report shows it; `crop` is a data URI or empty."""

    cell_id: str
    call: str
    score: str
    diameter_um: str
    ck_od: str
    x_px: str
    y_px: str
    crop: str


@dataclass(frozen=True)
class ListedSlide:
    """One finished slide with its first candidates."""

    record: SlideRecord
    candidates: tuple[ListedCandidate, ...]


@dataclass(frozen=True)
class IntervalBar:
    """Where a rate and its interval stand on the common axis, in per cent of its length."""

    low: float
    high: float
    mark: float | None


def render_report(root: Path, rows: Sequence[Row], info: RunInfo) -> bytes:
    """Make the report.

    Parameters
    ----------
    root : Path
        The results folder; candidates and crops are read from it.
    rows : sequence of Row
        Every slide, finished or failed.
    info : RunInfo
        The run that wrote them last.

    Returns
    -------
    bytes
        HTML in UTF-8.
    """
    done = [row for row in rows if isinstance(row, SlideRecord)]
    patients = by_patient(rows)
    html = (
        _environment()
        .get_template("report.html.j2")
        .render(
            info=info,
            done=done,
            failed=[row for row in rows if isinstance(row, FailedSlide)],
            slides=_listed(root, done),
            patients=list(zip(patients, _bars(patients), strict=True)),
            totals=_totals(done, patients),
            weights=sorted({(row.weights.name, row.weights.sha256) for row in done}),
            programs=sorted({row.program for row in done}),
            stains=sorted({STAIN_WORDS.get(row.stain, row.stain) for row in done}),
            top_candidates=TOP_CANDIDATES,
        )
    )
    return utf8(html + "\n")


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("dtcseg", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "count": lambda value: f"{value:,}".replace(",", "\N{NARROW NO-BREAK SPACE}"),
        "figure": figure,
        "line": one_line,
        "role": lambda value: ROLE_WORDS.get(value, value),
        "stain": lambda value: STAIN_WORDS.get(value, value),
    }
    return environment


def _totals(done: Iterable[SlideRecord], patients: Iterable[PatientResult]) -> dict[str, int]:
    people = list(patients)
    return {
        "patients": len(people),
        "with_dtc": sum(patient.dtc > 0 for patient in people),
        "not_assessable": sum(patient.result == "not assessable" for patient in people),
        "mnc": sum(patient.mnc for patient in people),
        "dtc": sum(patient.dtc for patient in people),
        "controls": sum(row.role != "sample" for row in done),
    }


def _bars(patients: Sequence[PatientResult]) -> list[IntervalBar | None]:
    """Place every interval on one axis that runs with the square root, so that 0 and 1 and 100 all have room."""
    rates = [patient.rate for patient in patients]
    longest = math.sqrt(max((rate.high for rate in rates if rate), default=1.0))
    bars: list[IntervalBar | None] = []
    for rate in rates:
        if rate is None:
            bars.append(None)
            continue
        low, mark, high = (
            round(100 * math.sqrt(value) / longest, 2) for value in (rate.low, rate.per_million, rate.high)
        )
        bars.append(IntervalBar(low, high, mark if rate.count else None))
    return bars


def _listed(root: Path, done: Iterable[SlideRecord]) -> list[ListedSlide]:
    room = MOST_CROPS
    slides = []
    for record in done:
        candidates = _first_candidates(root / record.slide, room)
        room -= sum(bool(candidate.crop) for candidate in candidates)
        if candidates:
            slides.append(ListedSlide(record, candidates))
    return slides


def _first_candidates(folder: Path, room: int) -> tuple[ListedCandidate, ...]:
    try:
        with open(folder / "cells.csv", encoding="utf-8", newline="") as file:
            rows = list(islice(csv.DictReader(file), TOP_CANDIDATES))
    except OSError:
        return ()
    shown = ("cell_id", "call", "score", "diameter_um", "ck_od", "x_px", "y_px")
    return tuple(
        ListedCandidate(**{name: row.get(name) or "" for name in shown}, crop=_crop(folder, number, room))
        for number, row in enumerate(rows, start=1)
    )


def _crop(folder: Path, number: int, room: int) -> str:
    if number > room:
        return ""
    try:
        content = (folder / "crops" / f"{number:03d}.png").read_bytes()
    except OSError:
        return ""
    return f"data:image/png;base64,{base64.b64encode(content).decode('ascii')}"
