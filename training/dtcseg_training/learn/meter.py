"""How far learning is and how long it still takes, by what has been measured in this run."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from dtcseg_training.learn.outcome import Curve, LearnProgress, Step

_USUAL_S: dict[Step, float] = {
    "collect": 1.0,  # a slide
    "alike": 1.3,  # a field
    "reference": 0.9,  # a field
    "fit": 0.8,  # a step
    "gate": 0.03,  # a crop, by both weights
    "write": 5.0,
}
"""Processor seconds one unit of each step takes on a core of 2024: where nothing has been measured yet, what was
measured of other steps says by how much this machine differs."""
_SINGLE: tuple[Step, ...] = ("collect", "write")
"""Steps that use one core."""
_LEAST_S = 2.0
"""Nothing is estimated by less than this."""


@dataclass
class _Part:
    total: int = 0
    done: int = 0
    first: int = 0
    seconds: float = 0.0

    @property
    def measured(self) -> int:
        return self.done - self.first


class Meter:
    """Turns units done into `LearnProgress`.

    Parameters
    ----------
    units : dict of Step to int
        How many units each step has, as far as is known.
    cores : int
    tell : callable
    """

    def __init__(self, units: dict[Step, int], cores: int, tell: Callable[[LearnProgress], None]) -> None:
        self._parts = {step: _Part(total) for step, total in units.items()}
        self._cores = cores
        self._tell = tell
        self._share = 0.0
        self._current: Step | None = None
        self._since = 0.0

    def expect(self, step: Step, total: int) -> None:
        """Say how many units a step has, now that it is known."""
        self._parts[step].total = total

    def told(self, step: Step, done: int, text: str, curves: tuple[Curve, ...] = ()) -> None:
        """Take in how many units of a step are done, and tell it on.

        The first call of a step says what was there already: it is not counted as time taken.
        """
        now = time.monotonic()
        part = self._parts[step]
        if self._current != step:
            self._current = step
            part.first = done
        else:
            part.seconds += now - self._since
        self._since = now
        part.done = min(done, part.total)
        weights = {name: p.total * self._usual(name) for name, p in self._parts.items()}
        past = sum(p.done * self._usual(name) for name, p in self._parts.items())
        self._share = max(self._share, min(past / max(sum(weights.values()), 1e-9), 1.0))
        self._tell(LearnProgress(step, text, self._share, self._left(), curves))

    def _left(self) -> float | None:
        seen = sum(p.seconds for p in self._parts.values())
        if seen < _LEAST_S:
            return None
        usual = sum(p.measured * self._usual(name) for name, p in self._parts.items())
        slower = seen / usual if usual else 1.0
        left = 0.0
        for name, part in self._parts.items():
            own = part.seconds / part.measured if part.measured >= 3 and part.seconds >= _LEAST_S else None
            left += max(part.total - part.done, 0) * (own if own is not None else slower * self._usual(name))
        return left

    def _usual(self, step: Step) -> float:
        return _USUAL_S[step] / (1 if step in _SINGLE else self._cores)
