"""What a laboratory's readers ask of tumour cells on slides like theirs: a few numbers in the card of its weights."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

Signature = tuple[float, ...]
"""How a slide is stained: of brightfield the unit OD vectors of hematoxylin and chromogen and `ck_spread`, of
fluorescence `ck_spread` alone."""

_HEMATOXYLIN_DEG, _CHROMOGEN_DEG, _SPREAD_RATIO = 3.0, 2.5, 0.3
"""How far slides of one laboratory lie apart. Those of `benchmarks/learning_lab.py` differ by up to 3 and 1.4 degrees
and a third in spread (logarithm); of 140 laboratories drawn at random none was like two of them by more than 0.03."""
_LEAST_SPREAD = 1e-3
_MOST = 100.0
"""No number of a reading that was learned comes near it; larger ones would overflow."""


@dataclass(frozen=True)
class Reading:
    """How much a tumour cell has to stand out from its slide's ordinary cells, and on which slides.

    The tumour logit of an object falls by softplus(asked (clear - strength)), where strength is the logarithm of how
    far its cytokeratin stands out (`Look.seen`): by nothing where it does so clearly. It never rises.

    Attributes
    ----------
    asked : float
        At least 0.
    clear : float
        Strength at which an object begins to stand out.
    slides : tuple of Signature
        The slides that were read.
    """

    asked: float
    clear: float
    slides: tuple[Signature, ...]

    def likeness(self, signature: Signature) -> float:
        """Tell how much a slide is stained like those that were read: 1 where it is the same, near 0 elsewhere."""
        return math.exp2(-min((_apart(signature, read) for read in self.slides), default=math.inf))

    @property
    def text(self) -> str:
        """The same in words."""
        return (
            f"a tumour cell stands out by {math.exp(self.clear):.2f} or more (1: four times the spread of the slide's "
            f"ordinary cells, and 0.06 OD); below, the odds of a tumour call fall by a factor of {2**self.asked:.0f} "
            f"with each halving, on slides stained like the {len(self.slides)} that were read"
        )

    def to_json(self) -> dict[str, object]:
        """Return plain JSON values."""
        return asdict(self)


def reading_of(values: object) -> Reading | None:
    """Read what `Reading.to_json` gave; None of nothing.

    Raises
    ------
    ValueError, KeyError, TypeError
        It is no reading.
    """
    if not values:
        return None
    if not isinstance(values, dict):
        raise TypeError("the reading is not a table")
    asked, clear = (float(values[name]) for name in ("asked", "clear"))
    slides = tuple(_signature(slide) for slide in values["slides"])
    if not (
        asked >= 0 and all(abs(value) <= _MOST for value in (asked, clear, *(v for slide in slides for v in slide)))
    ):
        raise ValueError("the reading holds numbers that cannot be")
    return Reading(asked, clear, slides)


def _signature(values: Iterable[Any]) -> Signature:
    found = tuple(float(value) for value in values)
    if len(found) not in (1, 7):
        raise ValueError("a slide of the reading has no signature")
    return found


def _apart(one: Signature, other: Signature) -> float:
    """Squared distance of two slides, in what slides of one laboratory lie apart."""
    if len(one) != len(other):
        return math.inf
    spreads = [math.log(max(slide[-1], _LEAST_SPREAD)) for slide in (one, other)]
    total = ((spreads[0] - spreads[1]) / _SPREAD_RATIO) ** 2
    if len(one) == 1:
        return total
    hematoxylin, chromogen = (_angle_deg(one[part], other[part]) for part in (slice(3), slice(3, 6)))
    return total + (hematoxylin / _HEMATOXYLIN_DEG) ** 2 + (chromogen / _CHROMOGEN_DEG) ** 2


def _angle_deg(one: Sequence[float], other: Sequence[float]) -> float:
    cosine = sum(a * b for a, b in zip(one, other, strict=True)) / max(math.hypot(*one) * math.hypot(*other), 1e-9)
    return math.degrees(math.acos(min(max(cosine, -1.0), 1.0)))
