"""Each specimen against the one before it and against the patient's first."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dtcseg.trial.clearance import Change, change

if TYPE_CHECKING:
    from dtcseg.report.specimens import Specimen
    from dtcseg.report.timepoints import Order


@dataclass(frozen=True)
class Comparison:
    """A specimen against an earlier one of the same patient.

    Attributes
    ----------
    earlier : str
        Its time point.
    change : Change
    """

    earlier: str
    change: Change


@dataclass(frozen=True)
class Comparisons:
    """A specimen against the last one before it, and against the first; both are one where there are only two."""

    previous: Comparison
    first: Comparison


Key = tuple[bool, str, str]


def key_of(specimen: Specimen) -> Key:
    """Name a specimen."""
    return specimen.named, specimen.patient, specimen.timepoint


def compare(specimens: Iterable[Specimen], order: Order) -> dict[Key, Comparisons]:
    """Compare every specimen that has an earlier one; what cannot be judged or has no place in time is passed over."""
    by_patient: dict[tuple[bool, str], list[Specimen]] = defaultdict(list)
    for one in specimens:
        if one.assessable and order.known(one.timepoint):
            by_patient[one.named, one.patient].append(one)
    found = {}
    for own in by_patient.values():
        own.sort(key=lambda one: order.index(one.timepoint))
        for at, later in enumerate(own[1:], start=1):
            found[key_of(later)] = Comparisons(_compared(own[at - 1], later), _compared(own[0], later))
    return found


def _compared(earlier: Specimen, later: Specimen) -> Comparison:
    return Comparison(earlier.timepoint, change(earlier.dtc, earlier.screened.mnc, later.dtc, later.screened.mnc))
