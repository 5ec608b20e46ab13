"""The cells a reader wants to see first, with evidence, pictures and quality maps, within fixed limits of size."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from dtcseg.report.counts import UNSETTLED, SlideCounts
from dtcseg.report.uri import data_uri
from dtcseg.verdicts.terms import LIKE_TUMOUR

if TYPE_CHECKING:
    from dtcseg.results.record import SlideRecord

TOP_CANDIDATES = 24
"""Candidates of one slide that are listed at most."""
FEWEST_CANDIDATES = 3
MOST_CANDIDATES = 24_000
"""Candidates of one page, shared out among its slides; what counts as a tumour cell is listed beyond that."""
PICTURE_BYTES = 16 << 20
"""Bytes of all pictures in one page; a page of hundreds of megabytes opens nowhere."""
MOST_MAPS = 400
_MAP_SIDE_PX = 160

EVIDENCE = (
    "diameter_um",
    "area_um2",
    "nucleus_area_um2",
    "nucleus_ratio",
    "ck_od",
    "ck_over_nucleus",
    "ck_granularity",
    "cd45_ring",
    "neighbours",
)
_URGENCY = {"tumour": 0, "probable": 1, UNSETTLED: 2, "uninterpretable": 3}


@dataclass(frozen=True)
class ListedCell:
    """One candidate as the page shows it.

    Attributes
    ----------
    cell_id : str
    word : str
        What counts: the readers' verdict, else the program's call.
    call : str
        The program's call.
    read : bool
        Whether `word` is a reader's.
    score : float
    x_um, y_um : float
    evidence : tuple of float or None
        In the order of `EVIDENCE`.
    picture : str
        A data URI, or empty.
    """

    cell_id: str
    word: str
    call: str
    read: bool
    score: float | None
    x_um: float | None
    y_um: float | None
    evidence: tuple[float | None, ...]
    picture: str = ""


def list_cells(
    root: Path, records: Sequence[SlideRecord], counts: Mapping[str, SlideCounts]
) -> dict[str, tuple[ListedCell, ...]]:
    """Choose each slide's cells, and give pictures to those that matter most in the whole study."""
    share = max(FEWEST_CANDIDATES, min(TOP_CANDIDATES, MOST_CANDIDATES // max(len(records), 1)))
    listed = {record.slide: _cells(root / record.slide, counts.get(record.slide), share) for record in records}
    return _with_pictures(root, listed)


def quality_pictures(records: Iterable[SlideRecord]) -> dict[str, str]:
    """Draw the quality maps of the first slides given as data URIs."""
    from dtcseg.quality import QualityMap

    pictures: dict[str, str] = {}
    for record in records:
        known = record.details.get("quality")
        if len(pictures) >= MOST_MAPS or not isinstance(known, dict):
            continue
        try:
            png = QualityMap.from_json(known).render_png(_MAP_SIDE_PX)
        except (ValueError, IndexError, KeyError):
            continue
        pictures[record.slide] = data_uri(png)
    return pictures


def quality_legend() -> list[tuple[str, str]]:
    """Name the colours of a quality map: (name, colour as #rrggbb)."""
    from dtcseg.quality._codes import CODE_COLOURS, CODE_NAMES

    return [
        (name.replace("_", " "), "#{:02x}{:02x}{:02x}".format(*CODE_COLOURS[code][:3]))
        for code, name in CODE_NAMES.items()
        if CODE_COLOURS[code][-1]  # glass is transparent
    ]


def _cells(folder: Path, counts: SlideCounts | None, most: int) -> tuple[ListedCell, ...]:
    words = counts.words if counts else {}
    try:
        with open(folder / "cells.csv", encoding="utf-8", newline="") as file:
            cells = [_cell(row, words) for row in csv.DictReader(file)]
    except (OSError, UnicodeDecodeError, csv.Error):
        return ()
    there = [cell for cell in cells if cell.word]
    # stable: within a word the order stays that of falling score
    there.sort(key=lambda cell: _URGENCY.get(cell.word, 9))
    urgent = sum(cell.word in LIKE_TUMOUR for cell in there)
    return tuple(there[: max(most, min(urgent, TOP_CANDIDATES))])


def _cell(row: Mapping[str, str], words: Mapping[str, str]) -> ListedCell:
    call, name = row.get("call") or "", row.get("uuid") or ""
    return ListedCell(
        cell_id=row.get("cell_id") or "",
        word=words.get(name, call),
        call=call,
        read=name in words,
        score=_number(row.get("score")),
        x_um=_number(row.get("x_um")),
        y_um=_number(row.get("y_um")),
        evidence=tuple(_number(row.get(column)) for column in EVIDENCE),
    )


def _with_pictures(root: Path, listed: Mapping[str, tuple[ListedCell, ...]]) -> dict[str, tuple[ListedCell, ...]]:
    wanted = [(slide, at) for slide, cells in listed.items() for at in range(len(cells))]
    wanted.sort(key=lambda place: _rank(listed[place[0]][place[1]]))
    shown = {slide: list(cells) for slide, cells in listed.items()}
    places = {place: _crop(root, place[0], listed[place[0]][place[1]].cell_id) for place in wanted}
    telling = [places[slide, at] for slide, at in wanted if _rank(listed[slide][at])[0] <= _URGENCY["probable"]]
    small = sum(_size(path) for path in telling if path) > PICTURE_BYTES
    room = PICTURE_BYTES
    for slide, at in wanted:
        path = places[slide, at]
        if room <= 0:
            break
        content = _read(path, small=small) if path else b""
        if content:
            room -= len(content)
            if room >= 0:
                shown[slide][at] = replace(shown[slide][at], picture=data_uri(content))
    return {slide: tuple(cells) for slide, cells in shown.items()}


def _crop(root: Path, slide: str, cell_id: str) -> Path | None:
    return root / slide / "crops" / f"{int(cell_id):03d}.png" if cell_id.isdecimal() else None


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _read(path: Path, *, small: bool) -> bytes:
    """Read a picture; as JPEG, a fifth of the size, where else not all tumour cells of the study would have one."""
    try:
        content = path.read_bytes()
        if not small:
            return content
        from PIL import Image

        buffer = io.BytesIO()
        with Image.open(io.BytesIO(content)) as picture:
            # full colour resolution, or the outline would bleed
            picture.convert("RGB").save(buffer, format="JPEG", quality=85, subsampling=0)
        return buffer.getvalue()
    except (OSError, ValueError):  # Pillow's own errors are OSErrors
        return b""


def _rank(cell: ListedCell) -> tuple[int, float]:
    return _URGENCY.get(cell.word, 9), -(cell.score or 0.0)


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None
