"""Other assays of the same patients (ctDNA, circulating tumour cells …) beside the DTC result."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dtcseg.results.text import one_line
from dtcseg.trial.agreement import Agreement, Table, agreement

if TYPE_CHECKING:
    from dtcseg.report.sheets import AssayValue
    from dtcseg.report.specimens import Specimen
    from dtcseg.report.timepoints import Order

_MOST_NAMED = 20
ALL = "all time points"


@dataclass(frozen=True)
class Concordance:
    """How an assay agrees with DTC at one time point, or over all.

    Attributes
    ----------
    assay, timepoint : str
    counts : Table
        Specimens positive in both, by DTC only, by the assay only, in neither.
    figures : Agreement
        First is DTC, second the assay.
    """

    assay: str
    timepoint: str
    counts: Table
    figures: Agreement


def usable(values: Iterable[AssayValue], found: Iterable[Specimen], name: str) -> tuple[list[AssayValue], list[str]]:
    """Keep the rows of patients that the study has; name the others."""
    patients = {one.patient for one in found if one.named}
    kept: list[AssayValue] = []
    unknown: list[AssayValue] = []
    for value in values:
        (kept if value.patient in patients else unknown).append(value)
    warnings = [
        f"{name}, row {value.row}: patient {one_line(value.patient)!r} has no slide here; the row is left out"
        for value in unknown[:_MOST_NAMED]
    ]
    if len(unknown) > _MOST_NAMED:
        warnings.append(f"{name}: {len(unknown) - _MOST_NAMED} more rows are of patients without a slide here")
    return kept, warnings


def concordance(values: Sequence[AssayValue], found: Iterable[Specimen], order: Order) -> list[Concordance]:
    """Compare every assay with DTC, over all specimens that have both and at each time point.

    A patient's time points are no independent samples: over all of them the intervals are too narrow, and those of
    one time point are the ones to quote.
    """
    dtc = {(one.patient, one.timepoint): one.dtc > 0 for one in found if one.named and one.assessable}
    by_assay: dict[str, list[AssayValue]] = defaultdict(list)
    for value in values:
        if (value.patient, value.timepoint) in dtc:
            by_assay[value.assay].append(value)
    results = []
    for assay, own in sorted(by_assay.items()):
        groups = [(ALL, own)]
        times = sorted({value.timepoint for value in own}, key=order.index)
        if len(times) > 1:
            groups += [(time, [value for value in own if value.timepoint == time]) for time in times]
        elif times:
            groups = [(times[0] or ALL, own)]
        for time, group in groups:
            pairs = [(dtc[value.patient, value.timepoint], value.detected) for value in group]
            table = Table(*(pairs.count(pair) for pair in ((True, True), (True, False), (False, True), (False, False))))
            results.append(Concordance(assay, time, table, agreement(table)))
    return results
