"""Slides that did not end well and may end otherwise: when each is tried once more."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dtcseg.results.text import one_line

if TYPE_CHECKING:
    from collections.abc import Callable

    from dtcseg.config import SlideJob

SHARE_S = 900.0
"""How long a share that went away is waited for, be it that of the slides or that of the results."""


@dataclass(frozen=True)
class Work:
    """A slide that is being scored or is to be tried again.

    Attributes
    ----------
    job : SlideJob
    key : str
        What the results depend on (`dtcseg.results.record.resume_key`), when it was given to a worker.
    tries : int
        How often it was given to a worker.
    reason : str
        Why it is tried again.
    due_s : float
        On the monotonic clock: not before.
    """

    job: SlideJob
    key: str = ""
    tries: int = 0
    reason: str = ""
    due_s: float = 0.0


class SecondTries:
    """Slides to be tried once more: some later, when their files are back; some alone, when nothing else is in work.

    Parameters
    ----------
    say : callable
        Told in one line when a share is waited for.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._later: dict[str, Work] = {}
        self._alone: dict[str, Work] = {}
        self._away_since_s: float | None = None

    def __len__(self) -> int:
        """Count the slides that wait here."""
        return len(self._later) + len(self._alone)

    def works(self) -> list[Work]:
        """List the slides that wait here."""
        return [*self._later.values(), *self._alone.values()]

    def put_off(self, work: Work, *, alone: bool, wait_s: float) -> None:
        """Keep a slide for at least so many seconds; `alone`, until nothing else is in work."""
        (self._alone if alone else self._later)[work.job.name] = replace(work, due_s=time.monotonic() + wait_s)

    def drop(self, name: str) -> None:
        """Forget a slide."""
        self._later.pop(name, None)
        self._alone.pop(name, None)

    def take(self, *, busy: bool, patient: bool) -> tuple[list[Work], list[Work]]:
        """Take out what is to be tried now, and what is given up since its share stays away.

        Parameters
        ----------
        busy : bool
            Other slides are in work.
        patient : bool
            A share may stay away for ever.
        """
        now = time.monotonic()
        due = [] if busy and not patient else [work for work in self._later.values() if work.due_s <= now]
        back = [work for work in due if not _is_away(work.job)]
        gone = [work for work in due if work not in back]
        given_up = gone if self._waited_enough(gone, now) and not (back or patient) else []
        for work in (*back, *given_up):
            self.drop(work.job.name)
        if not (due or busy) and self._alone:
            return [self._alone.pop(next(iter(self._alone)))], []
        return back, given_up

    def _waited_enough(self, gone: list[Work], now: float) -> bool:
        if not gone:
            self._away_since_s = None
        elif self._away_since_s is None:
            self._away_since_s = now
            self._say(f"{one_line(gone[0].job.files[0].parent)}: the folder of the slides is away; waiting for it")
        return self._away_since_s is not None and now - self._away_since_s > SHARE_S


def _is_away(job: SlideJob) -> bool:
    """Whether the folder of a slide's files is away: not there, not to be read, or an empty mount point."""
    for folder in {path.parent for path in job.files}:
        try:
            next(folder.iterdir())
        except (OSError, StopIteration):
            return True
    return False
