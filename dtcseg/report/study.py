"""Everything a results folder says, put together: the one thing that tables and page are made from."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from dtcseg.drift.folder import by_day, drift_of
from dtcseg.report.arms import ArmsResult, compare_arms
from dtcseg.report.changes import Comparisons, Key, compare
from dtcseg.report.control_slides import Blanks, ControlsResult, control_slides, natural
from dtcseg.report.counts import SlideCounts, count_slides
from dtcseg.report.depth import Depth, depths
from dtcseg.report.other_assays import Concordance, concordance, usable
from dtcseg.report.sheets import AssayValue, SheetFiles, Sheets, read_sheets
from dtcseg.report.specimens import Row, Specimen, specimens, with_limits
from dtcseg.report.timepoints import Order, make_order
from dtcseg.report.watch import Watch, watch
from dtcseg.results.record import FailedSlide, SlideRecord
from dtcseg.results.text import one_line
from dtcseg.trial.quick import rate_of
from dtcseg.trial.rates import add_screened

if TYPE_CHECKING:
    from dtcseg.drift.judge import Drift
    from dtcseg.statistics import Rate

_MOST_NAMED = 20


@dataclass(frozen=True)
class Study:
    """The results of a folder.

    Attributes
    ----------
    rows : tuple of Row
        Every slide, finished or failed, by name.
    counts : dict of str to SlideCounts
        Cells of each finished slide after review.
    order : Order
        The time points, earliest first.
    specimens : tuple of Specimen
        By patient, then time.
    comparisons : dict
        Of each specimen that has an earlier one.
    controls : ControlsResult
    depths : dict
        What more slides of each specimen would tell.
    watch : Watch
        How well readers watched.
    sheets : Sheets
        The laboratory's tables.
    assays : tuple of AssayValue
        Rows of patients that are here.
    concordance : tuple of Concordance
    arms : ArmsResult or None
        None without arms, or where they were not asked for.
    drift, latest : Drift or None
        All slides, and those of the last of several days of scoring, against what the weights know; None where that is
        not known, or not asked for.
    warnings : tuple of str
        One line each.
    """

    rows: tuple[Row, ...]
    counts: Mapping[str, SlideCounts]
    order: Order
    specimens: tuple[Specimen, ...]
    comparisons: Mapping[Key, Comparisons]
    controls: ControlsResult
    depths: Mapping[Key, Depth] = field(default_factory=dict)
    watch: Watch = field(default_factory=lambda: watch(()))
    sheets: Sheets = field(default_factory=Sheets)
    assays: tuple[AssayValue, ...] = ()
    concordance: tuple[Concordance, ...] = ()
    arms: ArmsResult | None = None
    drift: Drift | None = None
    latest: Drift | None = None
    warnings: tuple[str, ...] = ()

    @property
    def done(self) -> list[SlideRecord]:
        """Finished slides."""
        return [row for row in self.rows if isinstance(row, SlideRecord)]

    @property
    def failed(self) -> list[FailedSlide]:
        """Slides that could not be scored."""
        return [row for row in self.rows if isinstance(row, FailedSlide)]

    def by_patient(self) -> dict[tuple[bool, str], list[Specimen]]:
        """Give each patient's specimens in the order of time."""
        groups: dict[tuple[bool, str], list[Specimen]] = defaultdict(list)
        for one in self.specimens:
            groups[one.named, one.patient].append(one)
        return dict(groups)

    def arm_of(self, one: Specimen) -> str:
        """Name the arm of a specimen's patient; empty where it is in none."""
        return (self.sheets.arms or {}).get(one.patient, "") if one.named else ""


def make_study(
    root: Path,
    rows: Sequence[Row],
    *,
    files: SheetFiles = SheetFiles(),  # noqa: B008 - frozen
    with_arms: bool = True,
) -> Study:
    """Put together what the folder says.

    Parameters
    ----------
    root : Path
        The results folder: verdicts and the laboratory's tables are read from it.
    rows : sequence of Row
        Every slide.
    files : SheetFiles
        Tables that lie elsewhere.
    with_arms : bool
        Whether to compare the arms, which takes seconds, and the slides with what the weights know.

    Raises
    ------
    UsageError
        A table that was named cannot be read.
    """
    done = [row for row in rows if isinstance(row, SlideRecord)]
    counts, warnings = count_slides(root, done)
    sheets = read_sheets(root, files)
    found = specimens(rows, counts)
    assays, assay_warnings = usable(sheets.assays, found, one_line(files.assays or "assays.csv"))
    order = _order(found, assays, sheets)
    found.sort(key=lambda one: (natural(one.patient), one.patient, not one.named, order.index(one.timepoint)))
    blanks = Blanks(done, counts)
    found = [with_limits(one, blanks.at(one.stain, one.screened.mnc)) for one in found]
    controls, control_warnings = control_slides(done, counts, found, blanks)
    arms, arm_warnings = None, list[str]()
    if with_arms and sheets.arms:
        arms, arm_warnings = compare_arms(found, sheets.arms, sheets.control, order)
    drift, latest = _drift(root, done) if with_arms else (None, None)
    return Study(
        rows=tuple(rows),
        counts=counts,
        order=order,
        specimens=tuple(found),
        comparisons=compare(found, order),
        controls=controls,
        depths=depths(found, rows, order),
        watch=watch(counts.values()),
        sheets=sheets,
        assays=tuple(assays),
        concordance=tuple(concordance(assays, found, order)),
        arms=arms,
        drift=drift,
        latest=latest,
        warnings=(
            *_alarms(drift, latest),
            *_doubted(done, counts),
            *sheets.warnings,
            *assay_warnings,
            *order.warnings,
            *arm_warnings,
            *_inconsistent(rows, found),
            *_unjudged(found),
            *control_warnings,
            *warnings,
        ),
    )


def _drift(root: Path, done: Sequence[SlideRecord]) -> tuple[Drift | None, Drift | None]:
    days = by_day(done)
    latest = drift_of(root, list(days.values())[-1]) if len(days) > 1 else None
    return drift_of(root, done), latest


def _alarms(drift: Drift | None, latest: Drift | None) -> list[str]:
    """Say that slides are unlike what the weights know; of the last day, where that says more."""
    found = [drift.text] if drift is not None and drift.alarms else []
    if latest is not None and latest.alarms and not (drift and set(latest.alarms) <= set(drift.alarms)):
        found.append(f"scored on the last day: {latest.text}")
    return found


def _doubted(done: Iterable[SlideRecord], counts: Mapping[str, SlideCounts]) -> list[str]:
    """Name slides on which so many cells are called tumour that it is hardly ever true, until readers have seen all."""
    warnings = [
        f"slide {one_line(record.slide)}: {record.tumour} of {record.mnc} cells are called tumour, more than marrow "
        "nearly ever holds; a stain that sticks to every cell does this: look at them before you believe the result"
        for record in done
        if record.doubted and counts[record.slide].unread
    ]
    return _bounded(warnings, "more slides with as many cells called tumour")


def pooled_rate(parts: Iterable[Specimen]) -> Rate | None:
    """Give the rate of several specimens taken together; None where nothing could be judged."""
    judged = [one for one in parts if one.assessable]
    return rate_of(sum(one.dtc for one in judged), add_screened(one.screened for one in judged)) if judged else None


def _order(found: Iterable[Specimen], assays: Iterable[AssayValue], sheets: Sheets) -> Order:
    by_patient: dict[tuple[bool, str], list[str]] = defaultdict(list)
    for one in found:
        by_patient[one.named, one.patient].append(one.timepoint)
    for value in assays:
        by_patient[True, value.patient].append(value.timepoint)
    together = {name for own in by_patient.values() if len(set(own)) > 1 for name in own}
    return make_order((name for own in by_patient.values() for name in own), sheets.order, together=together)


def _inconsistent(rows: Iterable[Row], found: Iterable[Specimen]) -> list[str]:
    """Name what contradicts itself in who the slides belong to."""
    warnings = []
    spelt: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        if row.patient:
            spelt["".join(row.patient.casefold().split())].add(row.patient)
    for names in spelt.values():
        if len(names) > 1:
            listed = ", ".join(repr(one_line(name)) for name in sorted(names))
            warnings.append(
                f"patients {listed} differ only in spelling and are counted apart; use one name in slides.csv"
            )
    stains: dict[tuple[str, str], set[str]] = defaultdict(set)
    files: dict[object, list[str]] = defaultdict(list)
    for row in rows:
        if isinstance(row, SlideRecord):
            files[tuple((one.name, one.size, one.mtime_ns) for one in row.identity)].append(row.slide)
            if row.patient and row.role == "sample":
                stains[row.patient, row.timepoint].add(row.stain)
        if row.timepoint and not row.patient:
            warnings.append(f"slide {one_line(row.slide)}: has a time point but no patient, so it stands alone")
    for (patient, timepoint), words in stains.items():
        if len(words) > 1:
            where = f"{one_line(patient)} {one_line(timepoint)}".strip()
            warnings.append(f"patient {where}: slides of different stains ({', '.join(sorted(words))}) are added up")
    for twins in files.values():
        if len(twins) > 1:
            listed = ", ".join(one_line(name) for name in sorted(twins))
            warnings.append(f"slides {listed}: seem to be one file, so its cells are counted {len(twins)} times")
    return _bounded(warnings, "more lines about slides.csv")


def _unjudged(found: Iterable[Specimen]) -> list[str]:
    """Name specimens without a screened area."""
    warnings = []
    for one in found:
        where = f"{one_line(one.patient)} {one_line(one.timepoint)}".strip()
        if one.named and not one.assessable and one.not_assessable:
            warnings.append(
                f"patient {where}: no area could be judged, so there is no result, neither positive nor negative"
            )
        if one.unsettled:
            warnings.append(
                f"patient {where}: {one.unsettled} cell{'s' * (one.unsettled > 1)} not settled by readers; not counted"
            )
    return _bounded(warnings, "more patients without a result, or with cells not settled")


def _bounded(warnings: list[str], rest: str) -> list[str]:
    left = len(warnings) - _MOST_NAMED
    return warnings if left <= 1 else [*warnings[:_MOST_NAMED], f"{left} {rest}; see slides.csv and patients.csv"]
