"""What more slides of a specimen would tell, and its rate corrected for the cells the program misses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dtcseg.report.changes import Key, key_of
from dtcseg.results.record import SlideRecord
from dtcseg.trial.adviser import Advice, more_slides_to_clear, more_slides_to_exclude, more_slides_to_measure
from dtcseg.trial.quick import corrected_of

if TYPE_CHECKING:
    from dtcseg.report.specimens import Row, Specimen
    from dtcseg.report.timepoints import Order

EXCLUDED_PER_MILLION = 1.0
"""Rate that a negative first sample should exclude: 3 x 10^6 cells do (Swerts et al. 2005)."""
WANTED_FOLD = 10.0
"""Width of an interval (high / low) from which on a rate is worth following: that of four cells (9.4)."""


@dataclass(frozen=True)
class Recall:
    """Tumour cells that the program called, of those on slides of known truth.

    Attributes
    ----------
    found, total : int
    """

    found: int
    total: int


@dataclass(frozen=True)
class Depth:
    """How much a specimen can tell.

    Attributes
    ----------
    advice : Advice
        On more slides as deep as its own.
    recall : Recall or None
        What the rate is corrected by; None where readers judged the cells (the program's recall is then not theirs), or
        the weights' card says nothing, or slides were scored with different weights.
    corrected : (per_million, low, high) or None
        The rate with its 95 % interval, had none been missed.
    """

    advice: Advice
    recall: Recall | None
    corrected: tuple[float, float, float] | None


def depths(found: Iterable[Specimen], rows: Iterable[Row], order: Order) -> dict[Key, Depth]:
    """Judge every specimen that has cells screened.

    Parameters
    ----------
    found : iterable of Specimen
        A patient's in the order of time.
    rows : iterable of Row
        Every slide; the records hold the recall of the weights that made them.
    order : Order
        Of the time points.
    """
    recalls = {row.slide: _recall(row) for row in rows if isinstance(row, SlideRecord)}
    last: dict[tuple[bool, str], Specimen] = {}
    answers: dict[Key, Depth] = {}
    for one in found:
        if not one.assessable:
            continue
        before = None
        if order.known(one.timepoint):
            before = last.get((one.named, one.patient))
            last[one.named, one.patient] = one
        recall = _shared(one, recalls)
        rate = corrected_of(one.dtc, one.screened, recall.found, recall.total) if recall else None
        answers[key_of(one)] = Depth(_advice(one, before), recall, rate)
    return answers


def _advice(one: Specimen, before: Specimen | None) -> Advice:
    mnc = one.screened.mnc
    slide_mnc = mnc / max(one.slides, 1)
    if one.dtc:
        return more_slides_to_measure(one.dtc, mnc, slide_mnc, WANTED_FOLD)
    if before is not None and before.dtc:
        return more_slides_to_clear(before.dtc, before.screened.mnc, 0, mnc, slide_mnc)
    return more_slides_to_exclude(0, mnc, slide_mnc, EXCLUDED_PER_MILLION)


def _recall(row: SlideRecord) -> Recall | None:
    noted = row.details.get("recall")
    if not isinstance(noted, dict):
        return None
    found, total = noted.get("found"), noted.get("total")
    if not (isinstance(found, int) and isinstance(total, int) and 2 <= found <= total):
        return None
    return Recall(found, total)


def _shared(one: Specimen, recalls: Mapping[str, Recall | None]) -> Recall | None:
    """Recall of the one network that counted the specimen, where nobody has read it."""
    own = {recalls[name] for name in one.names if name in recalls}
    return own.pop() if one.reviewed == "no" and len(own) == 1 else None
