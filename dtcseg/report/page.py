"""report.html: one self-contained page that asks nothing of the network, for the screen and for paper.

The server's part stands without JavaScript: the overview and the numbers. The script draws the rest from JSON blocks,
one for the overview and one a patient, which is not even parsed before the patient is opened. Names reach the page as
text only: escaped by the template, escaped in JSON (no "<" in it), and put into the page by `textContent`.
"""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2

from dtcseg.drift.picture import drift_svg
from dtcseg.report.changes import Comparison, key_of
from dtcseg.report.gallery import EVIDENCE, ListedCell, list_cells, quality_legend, quality_pictures
from dtcseg.report.specimens import Specimen, counts_for, slide_rate
from dtcseg.report.study import Study, pooled_rate
from dtcseg.results.text import one_line, utf8
from dtcseg.statistics import Rate, figure, share_interval

if TYPE_CHECKING:
    from dtcseg.report.arms import ArmsResult
    from dtcseg.results.folder import RunInfo
    from dtcseg.results.record import SlideRecord

MOST_PLAIN_ROWS = 300
"""Rows of a table that stand in the page without JavaScript."""

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
class PatientRow:
    """One patient in the overview: the specimens in order of time, and what they say together."""

    number: int
    name: str
    arm: str
    specimens: tuple[Specimen, ...]
    latest: Specimen | None
    change: Comparison | None
    dtc: int
    mnc: int
    rate: Rate | None
    reviewed: str


def render_report(root: Path, study: Study, info: RunInfo) -> bytes:
    """Make the page.

    Parameters
    ----------
    root : Path
        The results folder; cells and pictures are read from it.
    study : Study
    info : RunInfo
        The run that wrote the results last.

    Returns
    -------
    bytes
        HTML in UTF-8.
    """
    done = study.done
    patients = _patients(study)
    cells = list_cells(root, done, study.counts)
    script = _asset("report.js")
    html = (
        _environment()
        .get_template("report.html.j2")
        .render(
            info=info,
            study=study,
            done=done[:MOST_PLAIN_ROWS],
            counts={row.slide: counts_for(row, study.counts) for row in done[:MOST_PLAIN_ROWS]},
            rates={row.slide: slide_rate(row, counts_for(row, study.counts)) for row in done[:MOST_PLAIN_ROWS]},
            slides_done=len(done),
            patients=patients,
            most=MOST_PLAIN_ROWS,
            totals=_totals(study, patients),
            data=_overview(study, patients),
            blocks=_blocks(study, patients, cells),
            weights=sorted({(row.weights.name, row.weights.sha256) for row in done}),
            programs=sorted({row.program for row in done}),
            stains=sorted({STAIN_WORDS.get(row.stain, row.stain) for row in done}),
            style=_asset("report.css"),
            script=script,
            drift_picture=drift_svg(study.drift) if study.drift else "",
            script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        )
    )
    return utf8(html + "\n")


@cache
def _asset(name: str) -> str:
    text = (resources.files("dtcseg") / "templates" / name).read_text("utf-8")
    return text.replace("\r\n", "\n")  # a browser hashes the script with line feeds


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("dtcseg", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}
    environment.filters |= {
        "chance": lambda p: "< 0.001" if p < 0.001 else "> 0.999" if p > 0.999 else f"{p:.3f}",
        "count": lambda value: f"{value:,}".replace(",", "\N{NARROW NO-BREAK SPACE}"),
        "figure": figure,
        "line": one_line,
        "percent": lambda share: f"{100 * share:.0f}",
        "role": lambda value: ROLE_WORDS.get(value, value),
        "stain": lambda value: STAIN_WORDS.get(value, value),
    }
    return environment


def _patients(study: Study) -> list[PatientRow]:
    rows = []
    for number, ((_, name), own) in enumerate(study.by_patient().items()):
        judged = [one for one in own if one.assessable]
        latest = judged[-1] if judged else None
        compared = study.comparisons.get(key_of(latest)) if latest else None
        reviewed = sorted({one.reviewed for one in own}, key=("no", "in progress", "yes", "signed off").index)
        rows.append(
            PatientRow(
                number=number,
                name=name,
                arm=study.arm_of(own[0]),
                specimens=tuple(own),
                latest=latest,
                change=compared.first if compared else None,
                dtc=sum(one.dtc for one in own),
                mnc=sum(one.mnc for one in own),
                rate=pooled_rate(own),
                reviewed=reviewed[0] if len(reviewed) == 1 or reviewed[0] != "no" else "in progress",
            )
        )
    return rows


def _totals(study: Study, patients: Sequence[PatientRow]) -> dict[str, Any]:
    judged = [row for row in patients if row.latest is not None or row.dtc]
    positive = sum(row.dtc > 0 for row in judged)
    words = [row.change.change.word for row in patients if row.change]
    return {
        "patients": len(patients),
        "judged": len(judged),
        "positive": positive,
        "positive_interval": share_interval(positive, len(judged)),
        "cleared": words.count("cleared"),
        "compared": len(words),
        "not_assessable": sum(not one.assessable for one in study.specimens),
        "specimens": len(study.specimens),
        "mnc": sum(one.mnc for one in study.specimens),
        "dtc": sum(one.dtc for one in study.specimens),
        "reviewed": sum(one.reviewed in ("yes", "signed off") for one in study.specimens),
    }


def _overview(study: Study, patients: Sequence[PatientRow]) -> dict[str, Any]:
    """Make what the script draws the overview from."""
    return {
        "times": [one_line(name) for name in study.order.names],
        "shares": [_positive(study, patients, t) for t in range(len(study.order.names))],
        "unknown": sorted(study.order.index(name) for name in study.order.unknown),
        "evidence": EVIDENCE,
        "patients": [
            {
                "name": one_line(row.name),
                "arm": one_line(row.arm),
                "reviewed": row.reviewed,
                "dtc": row.dtc,
                "mnc": row.mnc,
                "pooled": None if row.rate is None else str(row.rate),
                "specimens": [_specimen(one, study) for one in row.specimens],
            }
            for row in patients
        ],
        "assays": sorted({one_line(value.assay) for value in study.assays}),
        "arms": _arms(study.arms) if study.arms else None,
        "codes": quality_legend(),
    }


def _positive(study: Study, patients: Sequence[PatientRow], t: int) -> list[float]:
    """Exact interval of the share of specimens with DTC at a time point, of those that could be judged."""
    at = [one for row in patients for one in row.specimens if study.order.index(one.timepoint) == t and one.rate]
    if not at:
        return [0.0, 1.0]
    return [round(v, 4) for v in share_interval(sum(one.dtc > 0 for one in at), len(at))]


def _specimen(one: Specimen, study: Study) -> dict[str, Any]:
    compared = study.comparisons.get(key_of(one))
    values: dict[str, Any] = {
        "t": study.order.index(one.timepoint),
        "slides": one.slides,
        "bad": one.not_assessable,
        "failed": one.failed,
        "mnc": [one.mnc, round(one.screened.low), round(one.screened.high)],
        "dtc": one.dtc,
        "rate": None if one.rate is None else [_round(v) for v in _figures(one.rate)],
        "result": one.result,
        "reviewed": one.reviewed,
        "uic": one.uninterpretable,
    }
    if one.probable:
        values |= {"probable": one.probable, "gate": one.gate}
    if one.unsettled:
        values["unsettled"] = one.unsettled
    if one.unread and one.reviewed != "no":
        values["unread"] = one.unread
    if one.isotype is not None:
        against = one.isotype.against
        values["isotype"] = [one.isotype.count, round(one.isotype.mnc), _round(against.p_value) if against else None]
    if one.limits is not None:
        values["limits"] = [_round(one.limits.blank_per_million), _round(one.limits.detection_per_million)]
    depth = study.depths.get(key_of(one))
    if depth is not None:
        values["advice"] = depth.advice.reason
        if depth.corrected and one.dtc:
            values["corrected"] = [_round(v) for v in depth.corrected]
    if compared is not None:
        values |= {"previous": _change(compared.previous, study), "first": _change(compared.first, study)}
    return values


def _figures(rate: Rate) -> tuple[float, ...]:
    return rate.per_million, rate.low, rate.high, rate.limit


def _change(compared: Comparison, study: Study) -> dict[str, Any]:
    change = compared.change
    return {
        "from": study.order.index(compared.earlier),
        "word": change.word,
        "ratio": [_round(value) for value in (change.ratio, change.low, change.high)],
        "p": [_round(value) for value in (change.p_reduced, change.p_reduced_80, change.luck)],
    }


def _blocks(
    study: Study, patients: Sequence[PatientRow], cells: dict[str, tuple[ListedCell, ...]]
) -> list[dict[str, Any]]:
    """Make one block a patient: its slides with their cells and quality maps, and other assays."""
    records = {row.slide: row for row in study.done}
    reasons = {row.slide: row for row in study.failed}
    names = [[name for one in row.specimens for name in one.names] for row in patients]
    telling = [own for row, own in zip(patients, names, strict=True) if row.dtc] + names
    maps = quality_pictures(records[name] for own in telling for name in dict.fromkeys(own) if name in records)
    assays: dict[str, list[list[Any]]] = {}
    for value in study.assays:
        place = [study.order.index(value.timepoint), one_line(value.assay), value.value, one_line(value.unit)]
        assays.setdefault(value.patient, []).append([*place, value.detected])
    blocks = []
    for row, own in zip(patients, names, strict=True):
        named = row.specimens[0].named
        blocks.append(
            {
                "slides": [_slide(records[name], study, maps, cells.get(name, ())) for name in own if name in records],
                "failed": [[one_line(name), one_line(reasons[name].reason)] for name in own if name in reasons],
                "assays": assays.get(row.name, []) if named else [],
            }
        )
    return blocks


def _slide(record: SlideRecord, study: Study, maps: dict[str, str], cells: Sequence[ListedCell]) -> dict[str, Any]:
    counts = counts_for(record, study.counts)
    rate = slide_rate(record, counts)
    return {
        "name": one_line(record.slide),
        "t": study.order.index(record.timepoint) if record.timepoint in study.order.names else -1,
        "role": ROLE_WORDS.get(record.role, record.role),
        "stain": STAIN_WORDS.get(record.stain, record.stain) + (" (assumed)" * (record.stain_source == "assumed")),
        "area": round(record.area_mm2, 1),
        "mnc": [record.mnc, round(record.mnc_low), round(record.mnc_high)],
        "n": [counts.tumour, counts.probable, counts.uninterpretable, counts.haematopoietic, counts.artefact],
        "candidates": record.candidates,
        "unsettled": counts.unsettled,
        "rate": None if rate is None else str(rate),
        "reviewed": counts.reviewed,
        "readers": [one_line(name) for name in counts.readers],
        "remarks": [one_line(remark) for remark in record.remarks],
        "map": maps.get(record.slide, ""),
        "cells": [
            [cell.cell_id, cell.word, cell.call, int(cell.read), cell.score, cell.x_um, cell.y_um, *cell.evidence]
            + ([cell.picture] if cell.picture else [])
            for cell in cells
        ],
    }


def _arms(arms: ArmsResult) -> dict[str, Any]:
    names = list(arms.arms)
    fit = arms.fit
    return {
        "names": [one_line(name) for name in names],
        "patients": list(arms.arms.values()),
        "times": [one_line(name) for name in arms.times],
        "control": names.index(arms.control) if arms.control in names else -1,
        "effects": [
            [names.index(e.arm), *map(_round, (e.reduction, e.low, e.high, e.p_reduced, e.p_at_least(0.8)))]
            for e in (fit.effects if fit else ())
        ],
        "own": [[int(e.time or 0), *map(_round, (e.reduction, e.low, e.high))] for e in (fit.control if fit else ())],
        "free": [
            [names.index(f.arm), int(f.time), f.free, f.total, *map(_round, (f.share, f.low, f.high))]
            for f in arms.free
        ],
        "bars": [
            [
                [one_line(bar.patient), names.index(bar.arm), _round(bar.change_percent), _round(bar.excluded_percent)]
                for bar in arms.bars.get(name, ())
            ]
            for name in arms.times
        ],
        "lines": [
            [
                one_line(line.patient),
                names.index(line.arm),
                [
                    [int(time), _round(rate if seen else limit), int(seen)]
                    for time, rate, limit, seen in zip(
                        line.times, line.per_million, line.limits, line.detected, strict=True
                    )
                ],
            ]
            for line in arms.lines
        ],
    }


def _round(value: float) -> float | None:
    """Keep four digits; a plot shows no more, and a page of thousands of patients is half the size."""
    return float(f"{value:.4g}") if math.isfinite(value) else None
