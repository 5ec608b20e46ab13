"""Is a slide, is a batch like what the weights know? A rank among known slides, and a rule for the middle of a batch.

Slides of one laboratory resemble each other, so a batch never looks like the whole of the training, which held hundreds
of laboratories; a test for equal distributions would always alarm. What is asked instead: does the batch lie where
the training had slides at all?

Each measure is set against the known slides of its kind: 0 at their median, 1 and -1 at their 90th and 10th
percentiles (or half of that on the other side, where it is more). A slide is as strange as its strangest measure of a
group; its p-value is the share of known slides that are at least as strange (conformal p-value: Vovk, Gammerman &
Shafer 2005, Algorithmic Learning in a Random World). A batch is unlike where the p-value of its middle slide is at most
1 %. Of batches that are like the training, at most 2 % alarm in a group, whatever their slides have in common (Rüger
1978, Metrika 25:171), and 1 % where the slides are all alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dtcseg.drift.measures import GROUP_WORDS, GROUPS, MEASURES, Group, Measured, shown

if TYPE_CHECKING:
    import numpy.typing as npt

    from dtcseg.drift.reference import Reference

LEVEL = 0.01
"""p-value at which a group of measures is called unlike."""
_LEAST_SPREAD = 1e-3
_MOST = 99.0
_ENOUGH_KNOWN = 10


@dataclass(frozen=True)
class Strangeness:
    """How one slide stands against the known ones.

    Attributes
    ----------
    slide : Measured
    places : dict of str to float
        Each measure on the scale of the known slides: 0 their median, 1 and -1 their 90th and 10th percentiles.
    p_values : dict of Group to float
        Groups with no measure are left out.
    """

    slide: Measured
    places: dict[str, float]
    p_values: dict[Group, float]

    @property
    def unlike(self) -> tuple[Group, ...]:
        """Groups in which the slide is stranger than (nearly) all known ones."""
        return tuple(group for group, p in self.p_values.items() if p <= LEVEL)


@dataclass(frozen=True)
class Drift:
    """A batch against what the weights know.

    Attributes
    ----------
    weights : str
    known : int
        Slides in the reference.
    slides : tuple of Strangeness
    alarms : tuple of Group
        Groups in which the middle slide is unlike.
    reasons : dict of Group to str
        Of each alarm, which measure is strangest in the middle of the batch.
    """

    weights: str
    known: int
    slides: tuple[Strangeness, ...]
    alarms: tuple[Group, ...]
    reasons: dict[Group, str]

    @property
    def single(self) -> tuple[Strangeness, ...]:
        """Slides that are unlike by themselves; one in a hundred of a group is by chance."""
        return tuple(slide for slide in self.slides if slide.unlike)

    @property
    def text(self) -> str:
        """One line: the alarm, or that there is none."""
        count = f"{len(self.slides)} slide{'' if len(self.slides) == 1 else 's'}"
        if not self.alarms:
            return f"{count}: like what {self.weights} knows"
        words = "; ".join(f"{GROUP_WORDS[group]} ({self.reasons[group]})" for group in self.alarms)
        return f"{count} unlike what {self.weights} knows: {words}; calls may be worse than its card says"


class Scale:
    """Known slides as a measure of others."""

    def __init__(self, known: Sequence[Measured]) -> None:
        self._limits: dict[tuple[str, str], tuple[float, float, float]] = {}
        for kind in {slide.kind for slide in known}:
            for name in MEASURES:
                values = [s.values[name] for s in known if s.kind == kind and name in s.values]
                if len(values) >= _ENOUGH_KNOWN:
                    low, middle, high = (float(v) for v in np.percentile(values, (10, 50, 90)))
                    self._limits[kind, name] = low, middle, high
        strange = [self._strange(self.places(slide)) for slide in known]
        self._strange_known: dict[Group, npt.NDArray[np.float64]] = {
            group: np.sort([one[group] for one in strange if group in one]) for group in GROUPS
        }

    def limits(self, kind: str, name: str) -> tuple[float, float, float] | None:
        """10th, 50th and 90th percentile of a measure among known slides of a kind."""
        return self._limits.get((kind, name))

    def places(self, slide: Measured) -> dict[str, float]:
        """Put each measure on the scale of the known slides."""
        places = {}
        for name, value in slide.values.items():
            limits = self._limits.get((slide.kind, name))
            if limits is None:
                continue
            low, middle, high = limits
            above, below = high - middle, middle - low
            span = max((above, 0.5 * below) if value >= middle else (below, 0.5 * above))
            places[name] = float(np.clip((value - middle) / max(span, _LEAST_SPREAD), -_MOST, _MOST))
        return places

    def judge(self, slide: Measured) -> Strangeness:
        """Rank a slide among the known ones."""
        places = self.places(slide)
        p_values = {}
        for group, strange in self._strange(places).items():
            known = self._strange_known[group]
            p_values[group] = (1 + int((known >= strange).sum())) / (1 + len(known))
        return Strangeness(slide, places, p_values)

    @staticmethod
    def _strange(places: dict[str, float]) -> dict[Group, float]:
        strange: dict[Group, float] = {}
        for name, place in places.items():
            group = MEASURES[name].group
            strange[group] = max(strange.get(group, 0.0), strangeness(name, place))
        return strange


def strangeness(name: str, place: float) -> float:
    """How far a measure lies out, on the side that matters."""
    return max(place, 0.0) if MEASURES[name].high_only else abs(place)


def judge_batch(slides: Sequence[Measured], reference: Reference) -> Drift:
    """Set a batch against what weights know.

    Parameters
    ----------
    slides : sequence of Measured
        One slide is a batch too.
    reference : Reference
    """
    scale = Scale(reference.slides)
    judged = tuple(scale.judge(slide) for slide in slides)
    alarms = tuple(group for group in GROUPS if middle_p(group, judged) <= LEVEL)
    reasons = {group: _reason(group, judged, scale) for group in alarms}
    return Drift(reference.weights, len(reference.slides), judged, alarms, reasons)


def middle_p(group: Group, judged: Sequence[Strangeness]) -> float:
    """p-value of the middle slide; of an even number, the stranger of the two in the middle."""
    p_values = sorted(one.p_values[group] for one in judged if group in one.p_values)
    return p_values[(len(p_values) - 1) // 2] if p_values else 1.0


def _reason(group: Group, judged: Sequence[Strangeness], scale: Scale) -> str:
    """Say which measure lies farthest out in the middle of the batch, with what is usual."""
    middles = {}
    for name, known in MEASURES.items():
        places = [one.places[name] for one in judged if name in one.places]
        if known.group == group and places:
            middles[name] = strangeness(name, float(np.median(places)))
    name = max(middles, key=lambda name: middles[name])
    typical = [one for one in judged if name in one.places]
    value = float(np.median([one.slide.values[name] for one in typical]))
    low, _, high = scale.limits(typical[0].slide.kind, name) or (0.0, 0.0, 0.0)
    return f"{MEASURES[name].words}: {shown(name, value)}, usually {shown(name, low)} to {shown(name, high)}"
