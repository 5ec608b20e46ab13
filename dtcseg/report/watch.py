"""How well readers watched, and what reader and program left unseen together: reported, counted in nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dtcseg.statistics import share_interval
from dtcseg.trial.detection import Captured, captured

if TYPE_CHECKING:
    from dtcseg.report.counts import SlideCounts


@dataclass(frozen=True)
class Recognised:
    """Cells called a tumour cell or a probable one, of those judged, with the exact 95 % interval of the share."""

    count: int
    total: int

    @property
    def share(self) -> float:
        """Of those judged."""
        return self.count / self.total

    @property
    def interval(self) -> tuple[float, float]:
        """Clopper and Pearson's."""
        return share_interval(self.count, self.total)


@dataclass(frozen=True)
class Watch:
    """Over all slides of a study.

    Attributes
    ----------
    seeded, audited : Recognised or None
        As `SlideCounts`; None where there were none.
    searched : (program, readers, both) or None
        Adjudicated tumour cells by who found them, on slides that a blind reader searched.
    captured : Captured or None
        What these say about how many there were.
    """

    seeded: Recognised | None
    audited: Recognised | None
    searched: tuple[int, int, int] | None
    captured: Captured | None

    @property
    def any(self) -> bool:
        """Whether there is anything to say."""
        return bool(self.seeded or self.audited or self.captured)


def watch(counts: Iterable[SlideCounts]) -> Watch:
    """Add up all slides."""
    every = list(counts)
    program, readers, both = (sum(one.searched[k] for one in every) for k in range(3))
    known = program + readers > 0
    return Watch(
        seeded=_recognised(one.seeded for one in every),
        audited=_recognised(one.audited for one in every),
        searched=(program, readers, both) if known else None,
        captured=captured(program, readers, both) if known else None,
    )


def _recognised(parts: Iterable[tuple[int, int]]) -> Recognised | None:
    pairs = list(parts)
    count, total = (sum(pair[k] for pair in pairs) for k in range(2))
    return Recognised(count, total) if total else None
