"""slides.csv and patients.csv."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from dtcseg.report.changes import key_of
from dtcseg.report.specimens import counts_for, slide_rate
from dtcseg.results.record import FailedSlide, SlideRecord
from dtcseg.results.text import csv_bytes, fixed, one_line, spreadsheet_cell

if TYPE_CHECKING:
    from dtcseg.report.changes import Comparisons
    from dtcseg.report.counts import SlideCounts
    from dtcseg.report.depth import Depth
    from dtcseg.report.specimens import Specimen
    from dtcseg.report.study import Study
    from dtcseg.statistics import Rate

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
    "probable",
    "unsettled",
    "reviewed",
    "expected",
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
    "mnc_low",
    "mnc_high",
    "upper_limit",
    "tumour",
    "probable",
    "probable_note",
    "unsettled",
    "unread",
    "isotype_cells",
    "isotype_mnc",
    "p_above_isotype",
    "limit_of_blank",
    "limit_of_detection",
    "recall",
    "corrected_per_million",
    "corrected_low",
    "corrected_high",
    "more_slides",
    "advice",
    "previous_timepoint",
    "rate_ratio",
    "rate_ratio_low",
    "rate_ratio_high",
    "p_reduced",
    "p_reduced_80",
    "p_unchanged_looks_cleared",
    "change",
    "first_timepoint",
    "ratio_to_first",
    "ratio_to_first_low",
    "ratio_to_first_high",
    "change_from_first",
    "arm",
)
Row = SlideRecord | FailedSlide


def slides_csv(rows: Sequence[Row], counts: Mapping[str, SlideCounts] | None = None) -> bytes:
    """Make slides.csv, one row a slide, in the order given.

    Parameters
    ----------
    rows : sequence of Row
    counts : mapping of str to SlideCounts, optional
        Cells by slide after review; the program's calls where a slide has none.
    """
    known = counts or {}
    return csv_bytes(
        SLIDE_COLUMNS,
        [_failed_row(row) if isinstance(row, FailedSlide) else _done_row(row, counts_for(row, known)) for row in rows],
    )


def patients_csv(study: Study) -> bytes:
    """Make patients.csv, one row a patient and time point; a patient's time points in their order."""
    return csv_bytes(PATIENT_COLUMNS, [_patient_row(one, study) for one in study.specimens])


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


def _done_row(row: SlideRecord, cells: SlideCounts) -> dict[str, str | int]:
    return {
        **_who(row, "done", ""),
        "mpp": f"{row.mpp_um:.6g}",
        "area_mm2": fixed(row.area_mm2, 4),
        "mnc": row.mnc,
        "mnc_low": fixed(row.mnc_low, 1),
        "mnc_high": fixed(row.mnc_high, 1),
        "candidates": row.candidates,
        **{call: getattr(cells, call) for call in ("tumour", "uninterpretable", "haematopoietic", "artefact")},
        **rate_columns(slide_rate(row, cells)),
        "qc": spreadsheet_cell("; ".join(row.qc)),
        "seconds": fixed(row.seconds, 2),
        "probable": cells.probable,
        "unsettled": cells.unsettled,
        "reviewed": cells.reviewed,
        "expected": "" if row.expected is None else f"{row.expected:g}",
    }


def rate_columns(rate: Rate | None) -> dict[str, str | int]:
    """Write a rate; empty where there is none."""
    return {
        "per_million": fixed(rate.per_million if rate else None, 4),
        "per_million_low": fixed(rate.low if rate else None, 4),
        "per_million_high": fixed(rate.high if rate else None, 4),
    }


def _patient_row(one: Specimen, study: Study) -> dict[str, str | int]:
    compared = study.comparisons.get(key_of(one))
    return {
        "patient": spreadsheet_cell(one.patient),
        "timepoint": spreadsheet_cell(one.timepoint),
        "slides": one.slides,
        "mnc": one.mnc,
        "dtc": one.dtc,
        **rate_columns(one.rate),
        "result": one.result,
        "reviewed": one.reviewed,
        "uninterpretable": one.uninterpretable,
        "slides_not_assessable": one.not_assessable,
        "slides_failed": one.failed,
        "mnc_low": fixed(one.screened.low, 1),
        "mnc_high": fixed(one.screened.high, 1),
        "upper_limit": fixed(one.rate.limit if one.rate else None, 4),
        "tumour": one.tumour,
        "probable": one.probable,
        "probable_note": one.gate,
        "unsettled": one.unsettled,
        "unread": one.unread,
        "isotype_cells": one.isotype.count if one.isotype else "",
        "isotype_mnc": round(one.isotype.mnc) if one.isotype else "",
        "p_above_isotype": _short(one.isotype.against.p_value if one.isotype and one.isotype.against else None),
        "limit_of_blank": fixed(one.limits.blank_per_million if one.limits else None, 4),
        "limit_of_detection": fixed(one.limits.detection_per_million if one.limits else None, 4),
        **_depth_columns(study.depths.get(key_of(one))),
        **_change_columns(compared),
        "arm": spreadsheet_cell(study.arm_of(one)),
    }


_DEPTH_COLUMNS = ("recall", "corrected_per_million", "corrected_low", "corrected_high", "more_slides", "advice")


def _depth_columns(depth: Depth | None) -> dict[str, str | int]:
    if depth is None:
        return dict.fromkeys(_DEPTH_COLUMNS, "")
    rate = depth.corrected or (None, None, None)
    return {
        "recall": fixed(depth.recall.found / depth.recall.total if depth.recall else None, 4),
        "corrected_per_million": fixed(rate[0], 4),
        "corrected_low": fixed(rate[1], 4),
        "corrected_high": fixed(rate[2], 4),
        "more_slides": f"{depth.advice.slides:.0f}" if math.isfinite(depth.advice.slides) else "",
        "advice": depth.advice.reason,
    }


def _change_columns(compared: Comparisons | None) -> dict[str, str | int]:
    if compared is None:
        return dict.fromkeys(PATIENT_COLUMNS[PATIENT_COLUMNS.index("previous_timepoint") : -1], "")
    last, first = compared.previous.change, compared.first.change
    return {
        "previous_timepoint": spreadsheet_cell(compared.previous.earlier),
        "rate_ratio": _short(last.ratio),
        "rate_ratio_low": _short(last.low),
        "rate_ratio_high": _short(last.high),
        "p_reduced": fixed(last.p_reduced, 4),
        "p_reduced_80": fixed(last.p_reduced_80, 4),
        "p_unchanged_looks_cleared": fixed(last.luck, 4),
        "change": last.word,
        "first_timepoint": spreadsheet_cell(compared.first.earlier),
        "ratio_to_first": _short(first.ratio),
        "ratio_to_first_low": _short(first.low),
        "ratio_to_first_high": _short(first.high),
        "change_from_first": first.word,
    }


def _short(value: float | None) -> str:
    """Write a ratio or a p to four digits: it may be 10^-9 or 10^9, which fixed decimals would not show."""
    return "" if value is None or not math.isfinite(value) else f"{value:.4g}"
