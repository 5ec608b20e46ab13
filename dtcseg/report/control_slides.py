"""What the control slides of a study say: limits of blank and of detection, recovery, and what is amiss with them."""

from __future__ import annotations

import bisect
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from dtcseg.report.specimens import Specimen, counts_for
from dtcseg.results.text import one_line
from dtcseg.statistics import PER, poisson_upper_limit
from dtcseg.trial.controls import DetectionLimits, detection_limits
from dtcseg.trial.recovery import BatchVerdict, Violation, judge_batch, scores, westgard

if TYPE_CHECKING:
    from dtcseg.report.counts import SlideCounts
    from dtcseg.results.record import SlideRecord


@dataclass(frozen=True)
class PositiveControl:
    """One spiked slide; `verdict` and `score` (standard deviations, `recovery.scores`) are None without `expected`."""

    slide: str
    found: int
    expected: float | None
    mnc: int
    verdict: BatchVerdict | None
    score: float | None


@dataclass(frozen=True)
class ControlsResult:
    """All control slides of a study.

    Attributes
    ----------
    isotype, negative : int
        Controls that could be judged.
    isotype_cells, negative_cells : int
        Cells on them that meet the criteria of a tumour cell or a probable one.
    isotype_mnc, negative_mnc : int
    limits : dict of str to DetectionLimits
        By stain, at the median depth of that stain's specimens.
    positive : tuple of PositiveControl
        By name, numbers as numbers.
    violations : tuple of Violation
        Westgard's rules on the positive controls with an expectation, in that order.
    """

    isotype: int
    isotype_cells: int
    isotype_mnc: int
    negative: int
    negative_cells: int
    negative_mnc: int
    limits: dict[str, DetectionLimits]
    positive: tuple[PositiveControl, ...]
    violations: tuple[tuple[str, str], ...]

    @property
    def any(self) -> bool:
        """Whether there is a control at all."""
        return bool(self.isotype or self.negative or self.positive)


class Blanks:
    """Negative controls by stain, and the limits they give at any depth."""

    def __init__(self, records: Iterable[SlideRecord], counts: Mapping[str, SlideCounts]) -> None:
        by_stain: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for record in records:
            if record.role == "negative_control" and record.assessable:
                by_stain[record.stain].append((counts_for(record, counts).like_tumour, record.mnc))
        self._seen = {stain: sorted(seen) for stain, seen in by_stain.items()}
        self._known: dict[str, list[tuple[float, int]]] = {stain: [] for stain in by_stain}

    def at(self, stain: str, mnc: float) -> DetectionLimits | None:
        """Give the limits of a sample of this depth; None without a control of its stain, or where there is none."""
        seen = self._seen.get(stain)
        if not seen or not mnc > 0:
            return None
        try:
            blank = self._blank_count(stain, mnc)
        except ValueError:  # the controls show so much that no limit can be given
            return None
        per = PER / mnc
        cells = [mnc for _, mnc in seen]
        found = sum(count for count, _ in seen)
        return DetectionLimits(
            blank, blank * per, poisson_upper_limit(blank) * per, len(seen), found, float(sum(cells))
        )

    def _blank_count(self, stain: str, mnc: float) -> int:
        """Look up the limit of blank as a count.

        It never falls with depth, and takes a fifth of a second: between two depths that have the same one nothing
        needs to be computed.
        """
        known = self._known[stain]
        at = bisect.bisect_left(known, (mnc, -1))
        if 0 < at < len(known) and known[at - 1][1] == known[at][1]:
            return known[at][1]
        seen = self._seen[stain]
        found = _blank_count(tuple(seen), mnc)
        known.insert(at, (mnc, found))
        return found


@lru_cache(maxsize=4096)  # a run writes the tables after each slide, mostly of the same specimens
def _blank_count(seen: tuple[tuple[int, int], ...], mnc: float) -> int:
    return detection_limits([count for count, _ in seen], [cells for _, cells in seen], mnc).blank_count


def control_slides(
    records: Sequence[SlideRecord], counts: Mapping[str, SlideCounts], found: Sequence[Specimen], blanks: Blanks
) -> tuple[ControlsResult, list[str]]:
    """Judge the control slides.

    Returns
    -------
    (ControlsResult, list of str)
        With what is amiss, one line each.
    """
    warnings = _without_sample(records, found)
    isotype = _judged(records, "isotype_control")
    negative = _judged(records, "negative_control")
    positive = tuple(_positive(record, counts, warnings) for record in _by_name(_judged(records, "positive_control")))
    limits = {}
    for stain in sorted({one.stain for one in found if one.assessable}):
        depths = sorted(one.screened.mnc for one in found if one.stain == stain and one.assessable)
        at = blanks.at(stain, depths[len(depths) // 2])
        if at is not None:
            limits[stain] = at
    result = ControlsResult(
        isotype=len(isotype),
        isotype_cells=sum(counts_for(one, counts).like_tumour for one in isotype),
        isotype_mnc=sum(one.mnc for one in isotype),
        negative=len(negative),
        negative_cells=sum(counts_for(one, counts).like_tumour for one in negative),
        negative_mnc=sum(one.mnc for one in negative),
        limits=limits,
        positive=positive,
        violations=_violations(positive),
    )
    return result, warnings


def natural(name: str) -> tuple[tuple[int, int, str], ...]:
    """Make a sort key that takes numbers in a name as numbers: a2 before a10."""
    return tuple((0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", name) if part)


def _judged(records: Iterable[SlideRecord], role: str) -> list[SlideRecord]:
    return [record for record in records if record.role == role and record.assessable]


def _by_name(records: Iterable[SlideRecord]) -> list[SlideRecord]:
    return sorted(records, key=lambda record: natural(record.slide))


def _positive(record: SlideRecord, counts: Mapping[str, SlideCounts], warnings: list[str]) -> PositiveControl:
    found = counts_for(record, counts).tumour
    verdict = judge_batch(found, record.expected) if record.expected else None
    name = one_line(record.slide)
    if verdict is not None and not verdict.accepted:
        warnings.append(f"positive control {name}: {verdict.reason}; results of its batch are in doubt")
    elif verdict is not None and verdict.sees_half < 0.5:
        warnings.append(
            f"positive control {name}: {record.expected:g} cells expected are too few to reject a bad batch"
        )
    elif verdict is None and found == 0:
        warnings.append(f"positive control {name}: no tumour cell found on it; results of its batch are in doubt")
    score = scores([found], [record.expected])[0] if record.expected else None
    return PositiveControl(record.slide, found, record.expected, record.mnc, verdict, score)


def _violations(positive: Sequence[PositiveControl]) -> tuple[tuple[str, str], ...]:
    series = [one for one in positive if one.expected]
    if len(series) < 2:
        return ()
    broken: list[Violation] = westgard([one.score for one in series if one.score is not None])
    return tuple((violation.rule, series[violation.batch].slide) for violation in broken)


def _without_sample(records: Iterable[SlideRecord], found: Iterable[Specimen]) -> list[str]:
    """Name isotype controls whose patient and time point have no sample: they can judge nothing."""
    there = {(one.patient, one.timepoint) for one in found if one.named}
    warnings = []
    for record in records:
        if record.role == "isotype_control" and (record.patient, record.timepoint) not in there:
            where = f"{one_line(record.patient)} {one_line(record.timepoint)}".strip()
            why = (
                f"there is no sample of {where} that it could control"
                if record.patient
                else "names no patient, so it can judge nothing"
            )
            warnings.append(f"isotype control {one_line(record.slide)}: {why}")
    return warnings
