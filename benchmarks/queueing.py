"""Small discrete-event simulations: a batch of slides on some workers, and a year of slides that come from scanners."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

SECONDS_A_DAY = 86400


@dataclass(frozen=True)
class Costs:
    """What one slide costs.

    Attributes
    ----------
    start_s : float
        Core seconds until a new scoring process has loaded the networks.
    slide_s : float
        Core seconds a slide takes whatever its size.
    gigapixel_s : float
        Core seconds a gigapixel takes beside that.
    write_s : float
        Seconds the one process that writes takes for a slide.
    """

    start_s: float
    slide_s: float
    gigapixel_s: float
    write_s: float

    def of_slide(self, gigapixels: float) -> float:
        """Core seconds of scoring a slide."""
        return self.slide_s + self.gigapixel_s * gigapixels


def batch_seconds(
    work_s: Sequence[float], workers: int, cores: int, *, start_s: float = 0, write_s: float = 0
) -> float:
    """Simulate a batch that is all there at the beginning; seconds until its last slide is written.

    Workers that compute share the cores evenly. Slides are begun in their order; one process writes them one by one as
    they end.

    Parameters
    ----------
    work_s : sequence of float
        Core seconds of each slide.
    workers, cores : int
    start_s : float
        Core seconds each worker needs before its first slide.
    write_s : float
        Seconds of writing a slide.
    """
    waiting = list(work_s)[::-1]
    left = [start_s + waiting.pop() for _ in range(min(workers, len(waiting)))]
    now, written = 0.0, 0.0
    while left:
        rate = min(1.0, cores / len(left))
        step = min(left)
        now += step / rate
        ended = sum(1 for one in left if one <= step * (1 + 1e-12))
        left = [one - step for one in left if one > step * (1 + 1e-12)]
        for _ in range(ended):
            written = max(written, now) + write_s
            if waiting:
                left.append(waiting.pop())
    return written


def arrivals_of_a_year(slides: int, seed: int, days: int = 250, from_hour: int = 8, to_hour: int = 18) -> list[float]:
    """Draw when scanners bring slides: at random within the hours of the working days, five a week; seconds."""
    rng = np.random.default_rng(seed)
    day = rng.integers(0, days, slides)
    calendar_day = day // 5 * 7 + day % 5
    seconds = rng.uniform(from_hour * 3600, to_hour * 3600, slides)
    return sorted((calendar_day * SECONDS_A_DAY + seconds).tolist())


def delays(arrivals_s: Sequence[float], service_s: float, workers: int) -> list[float]:
    """Simulate workers that take slides as they come; seconds from each arrival to its result."""
    free = [0.0] * workers
    heapq.heapify(free)
    waited = []
    for arrival in arrivals_s:
        begin = max(arrival, heapq.heappop(free))
        heapq.heappush(free, begin + service_s)
        waited.append(begin + service_s - arrival)
    return waited


def workers_needed(arrivals_s: Sequence[float], service_s: float, within_s: float, share: float = 0.99) -> int:
    """Find the fewest workers that have so large a share of the results within that time after arrival.

    Raises
    ------
    ValueError
        A slide takes longer than that on its own.
    """
    if service_s > within_s:
        raise ValueError("a slide takes longer than its result may")
    low, high = 0, 1
    while np.quantile(delays(arrivals_s, service_s, high), share) > within_s:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        if np.quantile(delays(arrivals_s, service_s, middle), share) > within_s:
            low = middle
        else:
            high = middle
    return high
