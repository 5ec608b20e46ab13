"""The picture of a batch against what the weights know: one row a measure, one dot a slide, as SVG."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

import numpy as np

from dtcseg.drift.judge import middle_p, strangeness
from dtcseg.drift.measures import GROUP_WORDS, MEASURES, shown
from dtcseg.results.text import one_line

if TYPE_CHECKING:
    from dtcseg.drift.judge import Drift, Strangeness

_WIDTH, _LEFT, _RIGHT, _TOP, _ROW, _HEAD = 760, 290, 150, 46, 22, 26
_REACH = 6.0
"""What lies farther out stands at the edge as a triangle."""
_USUAL, _STRANGE = "#0072B2", "#D55E00"
"""Okabe and Ito's blue and vermilion; strange slides are larger too."""


def drift_svg(drift: Drift) -> str:
    """Draw a batch.

    Parameters
    ----------
    drift : Drift

    Returns
    -------
    str
        An SVG element without scripts, references or fonts of its own; text takes the colour of what it stands in.
    """
    rows = [name for name in MEASURES if any(name in slide.places for slide in drift.slides)]
    parts, y, group = [], _TOP, ""
    for name in rows:
        if MEASURES[name].group != group:
            group = MEASURES[name].group
            alarm = group in drift.alarms
            words = GROUP_WORDS[MEASURES[name].group]
            middle = middle_p(MEASURES[name].group, drift.slides)
            said = f"UNLIKE what is known (p = {middle:.2g})" if alarm else f"p = {middle:.2g}"
            parts.append(_text(0, y + 17, f"{words}: {said}", weight="bold", colour=_STRANGE if alarm else ""))
            y += _HEAD
        parts.append(_row(name, drift.slides, y))
        y += _ROW
    height = y + 34
    axis = _axis(y)
    about = _text(0, 14, f"{len(drift.slides)} slides (dots) against {drift.known} slides that {drift.weights} knows")
    legend = _text(
        0, 32, "grey: where 8 in 10 of the known slides lie; orange: farther out than nearly all of them", small=True
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}" '
        f'role="img" font-family="system-ui, sans-serif" font-size="13" fill="currentColor">'
        f"<title>{html.escape(one_line(drift.text))}</title>{about}{legend}{''.join(parts)}{axis}</svg>"
    )


def standalone_svg(drift: Drift) -> bytes:
    """Draw a batch as a file of its own, on white."""
    body = drift_svg(drift).replace(">", ' style="background:#fff;color:#222">', 1)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{body}\n'.encode("utf-8", "replace")


def _row(name: str, slides: tuple[Strangeness, ...], y: float) -> str:
    middle = y + _ROW / 2
    parts = [
        _text(_LEFT - 12, middle + 4, MEASURES[name].words, anchor="end", small=True),
        f'<rect x="{_x(-_REACH):.1f}" y="{y + 2:.1f}" width="{_x(_REACH) - _x(-_REACH):.1f}" height="{_ROW - 4}" '
        'fill="currentColor" fill-opacity="0.05"/>',
        f'<rect x="{_x(-1):.1f}" y="{y + 2:.1f}" width="{_x(1) - _x(-1):.1f}" height="{_ROW - 4}" fill="currentColor" '
        'fill-opacity="0.18"/>',
    ]
    places = [(slide, slide.places[name]) for slide in slides if name in slide.places]
    for number, (slide, place) in enumerate(places):
        parts.append(_dot(name, slide, place, middle + 5 * ((number * 0.618034) % 1 - 0.5)))
    values = [slide.slide.values[name] for slide, _ in places]
    parts.append(_text(_WIDTH - _RIGHT + 12, middle + 4, f"median {shown(name, float(np.median(values)))}", small=True))
    return "".join(parts)


def _dot(name: str, slide: Strangeness, place: float, y: float) -> str:
    group = MEASURES[name].group
    worst = max(
        (other for other in slide.places if MEASURES[other].group == group),
        key=lambda other: strangeness(other, slide.places[other]),
    )
    strange = group in slide.unlike and (name == worst or strangeness(name, place) > 2)
    colour = _STRANGE if strange else _USUAL
    title = f"<title>{html.escape(one_line(slide.slide.slide))}: {shown(name, slide.slide.values[name])}</title>"
    x = _x(float(np.clip(place, -_REACH, _REACH)))
    if abs(place) > _REACH:
        tip = 7 if place > 0 else -7
        return f'<path d="M{x + tip:.1f} {y:.1f}L{x:.1f} {y - 5:.1f}V{y + 5:.1f}Z" fill="{colour}">{title}</path>'
    radius, opacity = (4.5, 0.95) if strange else (3.2, 0.6)
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{colour}" fill-opacity="{opacity}">{title}</circle>'


def _x(place: float) -> float:
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    return middle + place / _REACH * (_WIDTH - _RIGHT - _LEFT - 20) / 2


def _axis(y: float) -> str:
    parts = []
    for place, words in ((-_REACH, "less"), (0.0, "as the known slides"), (_REACH, "more")):
        anchor = "middle" if place == 0 else "start" if place < 0 else "end"
        parts.append(_text(_x(place), y + 20, words, anchor=anchor, small=True))
    return "".join(parts)


def _text(
    x: float, y: float, words: str, *, anchor: str = "start", weight: str = "", colour: str = "", small: bool = False
) -> str:
    style = f' font-weight="{weight}"' if weight else ""
    style += f' fill="{colour}"' if colour else ""
    style += ' font-size="12"' if small else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{style}>{html.escape(one_line(words))}</text>'
