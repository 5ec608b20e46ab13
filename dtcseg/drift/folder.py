"""A results folder against what its weights know."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from dtcseg.drift.judge import Drift, judge_batch
from dtcseg.drift.measures import GROUP_WORDS
from dtcseg.drift.picture import standalone_svg
from dtcseg.drift.reference import measure_folder, reference_of
from dtcseg.errors import UsageError
from dtcseg.results.folder import read_records
from dtcseg.results.text import one_line

if TYPE_CHECKING:
    from dtcseg.results.record import SlideRecord


def drift_of(root: Path, records: Iterable[SlideRecord]) -> Drift | None:
    """Judge slides of a results folder as one batch.

    Parameters
    ----------
    root : Path
        RESULTS.
    records : iterable of SlideRecord
        Those that belong to the batch. Where several weights scored them, those of the most common weights count.

    Returns
    -------
    Drift or None
        None where it is not known what the weights know, or nothing could be measured.
    """
    records = list(records)
    common = Counter(record.weights.sha256 for record in records if record.assessable).most_common(1)
    if not common:
        return None
    try:
        reference = reference_of(common[0][0])
    except UsageError:
        return None
    if reference is None:
        return None
    slides = measure_folder(root, [record for record in records if record.weights.sha256 == common[0][0]])
    slides = [slide for slide in slides if slide.values]
    return judge_batch(slides, reference) if slides else None


def drift_lines(root: Path) -> tuple[list[str], bytes]:
    """Say for the terminal how all slides stand, those of each day, and which are unlike by themselves.

    Parameters
    ----------
    root : Path
        RESULTS.

    Returns
    -------
    lines : list of str
    picture : bytes
        SVG of all slides.

    Raises
    ------
    UsageError
        It holds no slides, or it is not known what their weights know.
    """
    records = read_records(root)
    if not records:
        raise UsageError(f"{one_line(root)}: holds no slide that was scored; make one with `dtcseg score`")
    whole = drift_of(root, records.values())
    if whole is None:
        names = ", ".join(sorted({one_line(record.weights.name) for record in records.values()}))
        raise UsageError(f"{one_line(root)}: what its weights ({names}) know does not stand beside them here")
    lines = [f"all: {whole.text}"]
    days = by_day(records.values())
    for day, of_day in days.items() if len(days) > 1 else ():
        found = drift_of(root, of_day)
        lines.append(f"{day}: {found.text if found else 'scored with other weights, or not assessable'}")
    for one in whole.single:
        groups = ", ".join(f"{GROUP_WORDS[group]} (p = {one.p_values[group]:.2g})" for group in one.unlike)
        lines.append(f"by itself unlike: {one_line(one.slide.slide)}: {groups}")
    return lines, standalone_svg(whole)


def by_day(records: Iterable[SlideRecord]) -> dict[str, list[SlideRecord]]:
    """Group slides by the day (UTC) on which they were scored, earliest first."""
    days: dict[str, list[SlideRecord]] = {}
    for record in sorted(records, key=lambda record: record.finished):
        days.setdefault(record.finished[:10], []).append(record)
    return days
