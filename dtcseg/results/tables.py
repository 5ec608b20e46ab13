"""slides.csv and patients.csv, from the records of the slides."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from dtcseg.results.record import FailedSlide, SlideRecord
from dtcseg.results.text import csv_bytes, fixed, one_line, spreadsheet_cell
from dtcseg.statistics import Rate, figure, rate_per_million

SLIDE_COLUMNS = (
    "slide",
    "file",
    "patient",
    "timepoint",
    "role",
    "stain",
    "status",
    "reason",
    "mpp",
    "area_mm2",
    "mnc",
    "mnc_low",
    "mnc_high",
    "candidates",
    "tumour",
    "uninterpretable",
    "haematopoietic",
    "artefact",
    "per_million",
    "per_million_low",
    "per_million_high",
    "qc",
    "seconds",
)
PATIENT_COLUMNS = (
    "patient",
    "timepoint",
    "slides",
    "mnc",
    "dtc",
    "per_million",
    "per_million_low",
    "per_million_high",
    "result",
    "reviewed",
    "uninterpretable",
    "slides_not_assessable",
    "slides_failed",
)
Row = SlideRecord | FailedSlide


@dataclass
class PatientResult:
    """One patient at one time point.

    A slide counts when a negative result on it would mean something, or when a tumour cell was found on it: cells
    screened on a slide that is not assessable must not thin the rate or pass for a negative result, and a tumour cell
    must not be lost because the rest of its slide is bad.

    Attributes
    ----------
    patient : str
        The slide's name where no patient is given.
    timepoint : str
    slides, not_assessable, failed : int
        Samples counted, samples that could not be judged, samples that could not be scored.
    mnc, dtc, uninterpretable : int
        Over the samples counted.
    """

    patient: str
    timepoint: str
    slides: int = 0
    not_assessable: int = 0
    failed: int = 0
    mnc: int = 0
    dtc: int = 0
    uninterpretable: int = 0
    names: list[str] = field(default_factory=list)

    @property
    def rate(self) -> Rate | None:
        """Tumour cells per 10^6; None when nothing could be judged."""
        return rate_per_million(self.dtc, self.mnc) if self.mnc > 0 else None

    @property
    def result(self) -> str:
        """Say the result in words."""
        if self.dtc > 0:
            return "DTC detected"
        if self.rate is None:
            return "not assessable"
        return f"not detected, < {figure(self.rate.limit)} per 10^6 (95 %)"

    def add(self, row: Row) -> None:
        """Count one sample."""
        self.names.append(row.slide)
        if isinstance(row, FailedSlide):
            self.failed += 1
        elif row.assessable or row.tumour > 0:
            self.slides += 1
            self.mnc += row.mnc
            self.dtc += row.tumour
            self.uninterpretable += row.calls.get("uninterpretable", 0)
        else:
            self.not_assessable += 1


def by_patient(rows: Iterable[Row]) -> list[PatientResult]:
    """Add up the samples of each patient and time point; control slides are no part of a patient's count."""
    groups: dict[tuple[bool, str, str], PatientResult] = {}
    for row in rows:
        if row.role != "sample":
            continue
        named = bool(row.patient)  # an unnamed slide "A" is not patient "A"
        patient = row.patient or row.slide
        key = (named, patient, row.timepoint)
        groups.setdefault(key, PatientResult(patient, row.timepoint)).add(row)
    return [groups[key] for key in sorted(groups, key=lambda key: (key[1], key[2], key[0]))]


def slides_csv(rows: Sequence[Row]) -> bytes:
    """Make slides.csv, one row a slide, in the order given."""
    return csv_bytes(
        SLIDE_COLUMNS, [_failed_row(row) if isinstance(row, FailedSlide) else _done_row(row) for row in rows]
    )


def patients_csv(rows: Sequence[Row]) -> bytes:
    """Make patients.csv, one row a patient and time point."""
    return csv_bytes(PATIENT_COLUMNS, [_patient_row(patient) for patient in by_patient(rows)])


def _who(row: Row, status: str, reason: str) -> dict[str, str | int]:
    return {
        "slide": spreadsheet_cell(row.slide),
        "file": spreadsheet_cell(row.file),
        "patient": spreadsheet_cell(row.patient),
        "timepoint": spreadsheet_cell(row.timepoint),
        "role": row.role,
        "stain": row.stain,
        "status": status,
        "reason": spreadsheet_cell(one_line(reason)),
    }


def _failed_row(row: FailedSlide) -> dict[str, str | int]:
    return dict.fromkeys(SLIDE_COLUMNS, "") | _who(row, "failed", row.reason)


def _done_row(row: SlideRecord) -> dict[str, str | int]:
    return {
        **_who(row, "done", ""),
        "mpp": f"{row.mpp_um:.6g}",
        "area_mm2": fixed(row.area_mm2, 4),
        "mnc": row.mnc,
        "mnc_low": fixed(row.mnc_low, 1),
        "mnc_high": fixed(row.mnc_high, 1),
        "candidates": row.candidates,
        **{call: row.calls.get(call, 0) for call in ("tumour", "uninterpretable", "haematopoietic", "artefact")},
        **_rate_columns(row.rate),
        "qc": spreadsheet_cell("; ".join(row.qc)),
        "seconds": fixed(row.seconds, 2),
    }


def _patient_row(patient: PatientResult) -> dict[str, str | int]:
    return {
        "patient": spreadsheet_cell(patient.patient),
        "timepoint": spreadsheet_cell(patient.timepoint),
        "slides": patient.slides,
        "mnc": patient.mnc,
        "dtc": patient.dtc,
        **_rate_columns(patient.rate),
        "result": patient.result,
        "reviewed": "no",
        "uninterpretable": patient.uninterpretable,
        "slides_not_assessable": patient.not_assessable,
        "slides_failed": patient.failed,
    }


def _rate_columns(rate: Rate | None) -> dict[str, str | int]:
    return {
        "per_million": fixed(rate.per_million if rate else None, 4),
        "per_million_low": fixed(rate.low if rate else None, 4),
        "per_million_high": fixed(rate.high if rate else None, 4),
    }
