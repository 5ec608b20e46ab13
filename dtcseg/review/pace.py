"""How long a reader takes for a cell."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

_PAUSE_S = 60.0
"""Longer than this without a verdict is a pause, not a cell."""


class Pace:
    """Time from verdict to verdict in this session; pauses do not count.

    Parameters
    ----------
    clock : callable
        Seconds, ever growing.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last = clock()
        self._took_s: list[float] = []

    def said(self) -> None:
        """Note that a verdict was given now."""
        now = self._clock()
        if now - self._last <= _PAUSE_S:
            self._took_s.append(now - self._last)
        self._last = now

    @property
    def seconds(self) -> float | None:
        """Median time a cell in seconds; None before the first one."""
        return median(self._took_s) if self._took_s else None
