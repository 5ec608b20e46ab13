"""Laboratories that a weights file has learned from: which slides are theirs, and so are seen with their own look."""

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
_OWN, _OTHER = 0.5, 0.02
"""From the first likeness on a slide is the laboratory's, and seen with its look alone; below the second it is not."""
_LEAST_SPREAD = 1e-3
_MOST = 100.0
"""No number of a signature comes near it; larger ones would overflow."""


@dataclass(frozen=True)
class Laboratory:
    """One laboratory of a weights file; its second look lies in the file beside the look for everybody else's slides.

    Attributes
    ----------
    slides : tuple of Signature
        The slides that were learned from.
    temperature : float
        The call logits of its look are divided by it, as `Card.temperature`.
    candidate_threshold : float or None
        From which probability on the screen makes a candidate on its slides; None: as on everybody's.
    bar : float
        By how much the logarithm of the odds of a tumour cell is lower than its look gives it.
    """

    slides: tuple[Signature, ...]
    temperature: float
    candidate_threshold: float | None = None
    bar: float = 0.0

    def likeness(self, signature: Signature) -> float:
        """Tell how much a slide is stained like those that were learned from: 1 where it is the same, near 0 if not."""
        return math.exp2(-min((_apart(signature, known) for known in self.slides), default=math.inf))

    def to_json(self) -> dict[str, object]:
        """Return plain JSON values."""
        return asdict(self)


def laboratories_of(values: object) -> tuple[Laboratory, ...]:
    """Read a list of what `Laboratory.to_json` gave.

    Raises
    ------
    ValueError, KeyError, TypeError
        It is none.
    """
    if not isinstance(values, list):
        raise TypeError("the laboratories are not a list")
    return tuple(_laboratory(value) for value in values)


def shares(laboratories: Sequence[Laboratory], signature: Signature) -> tuple[float, ...]:
    """Tell with which looks a slide is seen.

    Parameters
    ----------
    laboratories : sequence of Laboratory
    signature : Signature
        Of the slide.

    Returns
    -------
    tuple of float
        Share of the common look, then of each laboratory's; they sum to 1, and are exactly 0 where a look is not asked.
    """
    found = [laboratory.likeness(signature) for laboratory in laboratories]
    own = [min(likeness / _OWN, 1.0) if likeness >= _OTHER else 0.0 for likeness in found]
    total = max(sum(own), 1.0)
    own = [share / total for share in own]
    return (max(1.0 - sum(own), 0.0), *own)


def candidate_threshold(laboratories: Sequence[Laboratory], common: float, signature: Signature) -> float:
    """Tell from which probability on the screen makes a candidate on a slide.

    Parameters
    ----------
    laboratories : sequence of Laboratory
    common : float
        On slides of nobody in particular (`Card.candidate_threshold`).
    signature : Signature
        Of the slide.

    Returns
    -------
    float
        Geometric mean of the thresholds, weighted by `shares`; exactly one of them where it stands alone.
    """
    thresholds = [common, *(laboratory.candidate_threshold or common for laboratory in laboratories)]
    asked = [(share, t) for share, t in zip(shares(laboratories, signature), thresholds, strict=True) if share > 0]
    if len({t for _, t in asked}) == 1:
        return asked[0][1]
    return math.exp(sum(share * math.log(t) for share, t in asked))


def _laboratory(values: Any) -> Laboratory:
    slides = tuple(_signature(slide) for slide in values["slides"])
    temperature = float(values["temperature"])
    threshold, bar = values.get("candidate_threshold"), float(values.get("bar", 0.0))
    numbers = [bar, *(number for slide in slides for number in slide)]
    if not (0 < temperature < _MOST and all(abs(number) <= _MOST for number in numbers)):
        raise ValueError("a laboratory holds numbers that cannot be")
    if threshold is not None and not 0 < float(threshold) < 1:
        raise ValueError("a laboratory's threshold of candidates is none")
    return Laboratory(slides, temperature, None if threshold is None else float(threshold), bar)


def _signature(values: Iterable[Any]) -> Signature:
    found = tuple(float(value) for value in values)
    if len(found) not in (1, 7):
        raise ValueError("a slide of a laboratory has no signature")
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
