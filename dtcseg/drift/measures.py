"""What is compared: a few numbers of each scored slide, all of them in its record and its table of cells."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from dtcseg.stain.brightfield import ASSUMED, CHROMOGENS, HEMATOXYLIN, TYPICAL_NUCLEAR_OD, Vector

if TYPE_CHECKING:
    from dtcseg.results.record import SlideRecord

Group = Literal["stain", "focus", "scores"]
GROUPS: tuple[Group, ...] = ("stain", "focus", "scores")
GROUP_WORDS: dict[Group, str] = {"stain": "staining", "focus": "focus and noise", "scores": "cells and scores"}
Kind = Literal["brightfield", "fluorescence"]

_FEW_CELLS = 300
_DOUBTFUL = (0.1, 0.9)
_LEAST_NOISE = 1e-4
"""Results tell noise to four decimals."""


@dataclass(frozen=True)
class Measure:
    """One number of a slide.

    Attributes
    ----------
    group : Group
    words : str
        What it is, for a person, with the unit.
    high_only : bool
        Whether only more than usual is strange.
    """

    group: Group
    words: str
    high_only: bool = False


MEASURES: dict[str, Measure] = {
    "hematoxylin_along_deg": Measure("stain", "nuclear stain, turned to red, °"),
    "hematoxylin_across_deg": Measure("stain", "nuclear stain, turned to another colour, °"),
    "chromogen_along_deg": Measure("stain", "chromogen, turned to blue, °"),
    "chromogen_across_deg": Measure("stain", "chromogen, turned to another colour, °"),
    "nuclear_od": Measure("stain", "strength of nuclei, OD"),
    "ck_background_od": Measure("stain", "chromogen on ordinary cells, OD", high_only=True),
    "ck_spread": Measure("stain", "its spread over ordinary cells", high_only=True),
    "glass_tint": Measure("stain", "tint of the glass", high_only=True),
    "sharpness": Measure("focus", "sharpness of nuclei"),
    "sharpness_low": Measure("focus", "sharpness, worst tenth"),
    "noise_log10": Measure("focus", "noise of the image"),
    "density_log10": Measure("scores", "cells per mm²"),
    "candidates_log10": Measure("scores", "candidates per 10⁶ cells", high_only=True),
    "doubtful_log10": Measure("scores", "doubtful ones (score 0.1 to 0.9)", high_only=True),
}
"""In the order in which they are shown."""


def shown(name: str, value: float) -> str:
    """Write a measure for a person: logarithms as what they are of."""
    plain = 10**value if name.endswith("_log10") else value
    return f"{plain:,.0f}".replace(",", " ") if plain >= 1000 else f"{plain:.3g}"


@dataclass(frozen=True)
class Measured:
    """What was measured on one slide.

    Attributes
    ----------
    slide : str
    kind : {"brightfield", "fluorescence"}
        Whose planes are compared only with their like.
    values : dict of str to float
        By name of `MEASURES`; what could not be measured is left out.
    """

    slide: str
    kind: Kind
    values: dict[str, float]


def measure(record: SlideRecord, cells: Sequence[Mapping[str, str]]) -> Measured:
    """Gather the measures of a slide.

    Parameters
    ----------
    record : SlideRecord
    cells : sequence of mapping
        Rows of its cells.csv.
    """
    profile = record.details.get("profile")
    profile = profile if isinstance(profile, dict) else {}
    kind: Kind = "fluorescence" if profile.get("kind") == "fluorescence" or record.stain == "if" else "brightfield"
    values = {**_stain(profile, record.stain), **_focus(record.details.get("focus")), **_scores(record, cells)}
    return Measured(record.slide, kind, {k: round(v, 4) for k, v in values.items() if math.isfinite(v)})


def _stain(profile: Mapping[str, Any], stain: str) -> dict[str, float]:
    try:
        values = {"ck_spread": float(profile["ck_spread"])}
        if profile["kind"] == "fluorescence":
            return values
        start = CHROMOGENS.get(stain, CHROMOGENS[ASSUMED])  # type: ignore[call-overload]
        along, across = _turn_deg(profile["hematoxylin"], HEMATOXYLIN, CHROMOGENS[ASSUMED])
        values |= {"hematoxylin_along_deg": along, "hematoxylin_across_deg": across}
        if profile["chromogen_estimated"]:
            along, across = _turn_deg(profile["chromogen"], start, HEMATOXYLIN)
            values |= {"chromogen_along_deg": along, "chromogen_across_deg": across}
        white = [float(level) for level in profile["white"]]
        values["nuclear_od"] = TYPICAL_NUCLEAR_OD / float(profile["nuclear_scale"])
        values["ck_background_od"] = float(profile["ck_background"])
        values["glass_tint"] = (max(white) - min(white)) / max(max(white), 1.0)
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return {}
    return values


def _turn_deg(vector: Sequence[float], start: Vector, towards: Vector) -> tuple[float, float]:
    """Angles by which a stain vector is turned from its start: along the arc to another vector, and across it."""
    v, s, t = (np.asarray(x, float) / np.linalg.norm(x) for x in (vector, start, towards))
    along = t - (t @ s) * s
    along /= np.linalg.norm(along)
    across = np.cross(s, along)
    return tuple(float(np.degrees(np.arctan2(v @ axis, v @ s))) for axis in (along, across))  # type: ignore[return-value]


def _focus(values: object) -> dict[str, float]:
    if not isinstance(values, dict):
        return {}
    found = {}
    for name in ("sharpness", "sharpness_low"):
        value = values.get(name)
        if isinstance(value, int | float):
            found[name] = float(value)
    noise = values.get("noise")
    if isinstance(noise, int | float):
        # as a logarithm: a few known slides with much of it must not hide how blurred another is
        found["noise_log10"] = math.log10(max(noise, _LEAST_NOISE))
    return found


def _scores(record: SlideRecord, cells: Sequence[Mapping[str, str]]) -> dict[str, float]:
    if record.mnc < _FEW_CELLS or record.area_mm2 <= 0:
        return {}
    try:
        scores = np.array([float(row["score"]) for row in cells])
    except (KeyError, TypeError, ValueError):
        return {}
    doubtful = int(((scores > _DOUBTFUL[0]) & (scores < _DOUBTFUL[1])).sum())
    return {
        "density_log10": math.log10(record.mnc / record.area_mm2),
        "candidates_log10": math.log10((len(scores) + 0.5) / record.mnc * 1e6),
        "doubtful_log10": math.log10((doubtful + 0.5) / record.mnc * 1e6),
    }
