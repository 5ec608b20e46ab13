"""How far a run is: the state of each slide, and how long the rest will take."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

State = Literal["waiting", "scoring", "done", "failed"]
STATES: tuple[State, ...] = ("waiting", "scoring", "done", "failed")


@dataclass
class Line:
    """One slide of the table.

    Attributes
    ----------
    name : str
    state : State
    share : float
        Of the work done, 0..1, while it is scored.
    note : str
        The worker that scores it, what was found, or why it failed or waits.
    since_s : float
        When it came into this state, on the board's clock.
    seconds : float
        How long the scoring took, when it is done.
    """

    name: str
    state: State = "waiting"
    share: float = 0.0
    note: str = ""
    since_s: float = 0.0
    seconds: float = 0.0


class Board:
    """The slides of a run and their states.

    Parameters
    ----------
    clock : callable
        Gives seconds; for tests.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lines: dict[str, Line] = {}
        self._spent_s: list[float] = []

    def put(self, name: str, state: State, note: str = "", seconds: float = 0.0) -> None:
        """Note the state of a slide; one that is named for the first time is added.

        Parameters
        ----------
        name : str
        state : State
        note : str
        seconds : float
            How long the scoring took; 0 where it was done by an earlier run.
        """
        self._lines.pop(name, None)
        self._lines[name] = Line(name, state, note=note, since_s=self._clock(), seconds=seconds)  # the latest is last
        if state == "done" and seconds > 0:
            self._spent_s.append(seconds)

    def move(self, name: str, share: float) -> None:
        """Note that a slide being scored is done to this share."""
        line = self._lines.get(name)
        if line is not None and line.state == "scoring":
            line.share = min(max(share, 0.0), 1.0)

    def lines(self, state: State) -> list[Line]:
        """Slides in a state, the one that came into it last at the end."""
        return [line for line in list(self._lines.values()) if line.state == state]

    def counts(self) -> dict[State, int]:
        """Slides by state."""
        found = [line.state for line in list(self._lines.values())]
        return {state: found.count(state) for state in STATES}

    def slide_left_s(self, line: Line) -> float | None:
        """Seconds until a slide that is being scored is done; None while that cannot be told."""
        spent = self._clock() - line.since_s
        if line.share > 0.05:
            return spent * (1 - line.share) / line.share
        mean = self._mean_s()
        return None if mean is None else max(mean - spent, 0.0)

    def left_s(self) -> float | None:
        """Seconds until all slides are done, as fast as those so far; None while that cannot be told.

        As many slides are taken to be scored side by side as are now.
        """
        mean, scoring = self._mean_s(), self.lines("scoring")
        if mean is None or not scoring:
            return None
        running = sum(self.slide_left_s(line) or 0.0 for line in scoring)
        return (running + mean * self.counts()["waiting"]) / len(scoring)

    def _mean_s(self) -> float | None:
        if self._spent_s:
            return sum(self._spent_s) / len(self._spent_s)
        begun = [line for line in self.lines("scoring") if line.share > 0.05]
        return max(((self._clock() - line.since_s) / line.share for line in begun), default=None)


def duration(seconds: float) -> str:
    """Write a time as people say it: "40 s", "12 min", "3 h 05 min"."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
