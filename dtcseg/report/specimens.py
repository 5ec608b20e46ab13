"""A specimen, that is one patient at one time point: its slides added up, and judged by its controls."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from dtcseg.report.counts import Reviewed, SlideCounts, program_counts, reviewed_together
from dtcseg.results.record import FailedSlide, SlideRecord
from dtcseg.statistics import Rate, figure
from dtcseg.trial.controls import DetectionLimits, Exceeds, GatedCount, exceeds, isotype_gate
from dtcseg.trial.quick import as_screened, rate_of
from dtcseg.trial.rates import Screened, add_screened

Row = SlideRecord | FailedSlide


@dataclass(frozen=True)
class IsotypeCheck:
    """A specimen against its isotype controls.

    Attributes
    ----------
    slides : int
        Controls that could be judged.
    count : int
        Cells on them that meet the criteria of a tumour cell or a probable one.
    mnc : float
        Cells screened on them.
    against : Exceeds or None
        The exact test of the specimen's rate against theirs; None where the specimen cannot be judged.
    """

    slides: int
    count: int
    mnc: float
    against: Exceeds | None


@dataclass(frozen=True)
class Specimen:
    """One patient at one time point.

    A slide counts when a negative result on it would mean something, or when a tumour cell was found on it: cells
    screened on a slide that is not assessable must not thin the rate or pass for a negative result, and a tumour cell
    must not be lost because the rest of its slide is bad.

    Attributes
    ----------
    patient : str
        The slide's name where no patient is given.
    timepoint : str
    named : bool
        Whether a patient was given: an unnamed slide "A" is not patient "A".
    slides, not_assessable, failed : int
        Samples counted, samples that could not be judged, samples that could not be scored.
    names : tuple of str
        All its slides, controls among them.
    screened : Screened
        Cells screened on the samples counted, with the 95 % interval of that number.
    tumour, probable, uninterpretable, unsettled, unread : int
        Over the samples counted, as `SlideCounts` has them.
    dtc : int
        What is reported: tumour cells, and probable ones where the isotype control allows it.
    gate : str
        What happened to probable cells, in words; empty where there are none.
    reviewed : Reviewed
    isotype : IsotypeCheck or None
    limits : DetectionLimits or None
        From the negative controls of the same stain.
    stain : str
    """

    patient: str
    timepoint: str
    named: bool
    slides: int
    not_assessable: int
    failed: int
    names: tuple[str, ...]
    screened: Screened
    tumour: int
    probable: int
    uninterpretable: int
    unsettled: int
    unread: int
    dtc: int
    gate: str
    reviewed: Reviewed
    isotype: IsotypeCheck | None = None
    limits: DetectionLimits | None = None
    stain: str = ""

    @property
    def mnc(self) -> int:
        """Cells screened."""
        return round(self.screened.mnc)

    @property
    def rate(self) -> Rate | None:
        """DTC per 10^6; None when nothing could be judged."""
        return rate_of(self.dtc, self.screened) if self.mnc > 0 else None

    @property
    def result(self) -> str:
        """Say the result in words."""
        if self.dtc > 0:
            return "DTC detected"
        if self.rate is None:
            return "not assessable"
        return f"not detected, < {figure(self.rate.limit)} per 10^6 (95 %)"

    @property
    def assessable(self) -> bool:
        """Whether it can be compared with another."""
        return self.mnc > 0


def specimens(rows: Iterable[Row], counts: Mapping[str, SlideCounts] | None = None) -> list[Specimen]:
    """Add up the samples of each patient and time point; control slides judge a patient's count and are no part of it.

    Parameters
    ----------
    rows : iterable of Row
        Every slide.
    counts : mapping of str to SlideCounts, optional
        Cells by slide after review; the program's calls where a slide has none.
    """
    known = counts or {}
    samples: dict[tuple[bool, str, str], list[Row]] = defaultdict(list)
    isotypes: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        if row.role == "sample":
            samples[bool(row.patient), row.patient or row.slide, row.timepoint].append(row)
        elif row.role == "isotype_control" and row.patient:
            isotypes[row.patient, row.timepoint].append(row)
    keys = sorted(samples, key=lambda key: (key[1], key[2], key[0]))
    return [_specimen(key, samples[key], isotypes.get(key[1:], []) if key[0] else [], known) for key in keys]


def with_limits(specimen: Specimen, limits: DetectionLimits | None) -> Specimen:
    """Add what the negative controls say."""
    return replace(specimen, limits=limits)


def counts_for(record: SlideRecord, counts: Mapping[str, SlideCounts]) -> SlideCounts:
    """Look up the cells of a slide."""
    return counts.get(record.slide) or program_counts(record)


def slide_screened(record: SlideRecord) -> Screened:
    """Give the cells screened on a slide with their interval."""
    return as_screened(record.mnc, record.mnc_low, record.mnc_high)


def slide_rate(record: SlideRecord, counts: SlideCounts) -> Rate | None:
    """Tumour cells per 10^6 of one slide; None where it cannot be judged."""
    return rate_of(counts.tumour, slide_screened(record)) if record.assessable else None


def _specimen(
    key: tuple[bool, str, str], rows: Sequence[Row], controls: Sequence[Row], counts: Mapping[str, SlideCounts]
) -> Specimen:
    named, patient, timepoint = key
    done = [(row, counts_for(row, counts)) for row in rows if isinstance(row, SlideRecord)]
    counted = [(row, cells) for row, cells in done if row.assessable or cells.like_tumour > 0]
    screened = add_screened(slide_screened(row) for row, _ in counted)
    tumour, probable = (sum(getattr(cells, word) for _, cells in counted) for word in ("tumour", "probable"))
    isotype = _isotype(controls, counts, tumour + probable, screened.mnc)
    gate = _gate(tumour, probable, screened.mnc, isotype)
    return Specimen(
        patient=patient,
        timepoint=timepoint,
        named=named,
        slides=len(counted),
        not_assessable=len(done) - len(counted),
        failed=len(rows) - len(done),
        names=tuple(row.slide for row in (*rows, *controls)),
        screened=screened,
        tumour=tumour,
        probable=probable,
        uninterpretable=sum(cells.uninterpretable for _, cells in counted),
        unsettled=sum(cells.unsettled for _, cells in done),
        unread=sum(cells.unread for _, cells in counted),
        dtc=gate.count,
        gate=gate.reason if probable else "",
        reviewed=reviewed_together(cells.reviewed for _, cells in done),
        isotype=isotype,
        stain=done[0][0].stain if done else "",
    )


def _isotype(controls: Sequence[Row], counts: Mapping[str, SlideCounts], found: int, mnc: float) -> IsotypeCheck | None:
    """Pool the isotype controls that can be judged; a stained cell on one that cannot is not lost either."""
    judged = [
        (row, counts_for(row, counts).like_tumour)
        for row in controls
        if isinstance(row, SlideRecord) and row.mnc > 0 and (row.assessable or counts_for(row, counts).like_tumour)
    ]
    if not judged:
        return None
    cells, count = float(sum(row.mnc for row, _ in judged)), sum(count for _, count in judged)
    return IsotypeCheck(len(judged), count, cells, exceeds(found, mnc, count, cells) if mnc > 0 else None)


def _gate(tumour: int, probable: int, mnc: float, isotype: IsotypeCheck | None) -> GatedCount:
    if not mnc > 0:  # tumour cells on slides of which nothing else could be judged
        return GatedCount(tumour, tumour, probable, False, "no cells screened: probable cells do not count")
    if isotype is None:
        return isotype_gate(tumour, probable, mnc, None, None)
    return isotype_gate(tumour, probable, mnc, isotype.count, isotype.mnc)
