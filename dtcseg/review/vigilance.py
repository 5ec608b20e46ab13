"""Two checks on a read, off unless asked for: known cells among the candidates, and nuclei drawn at random.

Readers miss rare cells (PAPNET 1998: 44 % of seeded cells recognised at a prevalence of 1 %), so known tumour cells
shown unmarked tell how well one watched. And a program that finds candidates can miss cells: nuclei that it counted and
did not offer, drawn at random and looked at, tell how often. Both are reported (`dtcseg.report.watch`) and neither is
ever counted.
"""

from __future__ import annotations

import hashlib
import uuid
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.parquet as pq
from scipy.spatial import cKDTree

from dtcseg.errors import DtcsegError, UsageError
from dtcseg.results.text import one_line
from dtcseg.review.outlines import circle
from dtcseg.review.slides import Item, own_item, seeded_item
from dtcseg.verdicts.cells import CellRef
from dtcseg.verdicts.consensus import review
from dtcseg.verdicts.names import clean_name

if TYPE_CHECKING:
    import numpy.typing as npt

    from dtcseg.review.slides import Opened, ReviewSlide

_NAMESPACE = uuid.UUID("b0d3a7f4-27c5-5b0e-8f0c-3f4f0a6f9c55")
_AUDIT_RADIUS_UM = 7.0
"""Half the width of the ring drawn around a nucleus of an audit: an ordinary leukocyte with room."""
_CLEAR_UM = 15.0
"""Nuclei nearer than this to a candidate are the candidate, or were seen beside it."""
_KNOWN = ("adjudicated", "agreed")


def extra_items(opened: Opened, reader: str, *, seeded: int, audit: int) -> list[Item]:
    """Draw what is shown beside the candidates, so many a slide.

    Raises
    ------
    UsageError
        Cells were to be seeded, and there are none for any slide; or the nuclei of a slide cannot be read.
    """
    items, problem = [], None
    for name, slide in opened.slides.items():
        if audit and slide.record.mnc:
            items += audit_nuclei(slide, reader, audit)
        try:
            items += seed_cells(opened, name, reader, seeded) if seeded else []
        except UsageError as error:
            problem = error
    if problem is not None and not any(item.seeded for item in items):
        raise problem
    return items


def seed_cells(opened: Opened, slide: str, reader: str, count: int) -> list[Item]:
    """Choose known tumour cells of other slides, to be shown among the candidates of this one.

    Known are cells that were adjudicated, or called a tumour cell by two readers, on brightfield slides of the same
    stain and nearly the same pixel size (within a tenth). The same reader and slide get the same cells every time.

    Parameters
    ----------
    opened : Opened
    slide : str
    reader : str
    count : int

    Raises
    ------
    UsageError
        There are no such cells.
    """
    host = opened.slides[slide]
    known = sorted(
        (other.name, cell.id, cell)
        for other in opened.slides.values()
        if other.name != slide and _alike(host, other)
        for cell in _known_cells(other)
    )
    if not known:
        raise UsageError(
            f"{one_line(slide)}: no known tumour cells to seed: none on another slide of the stain "
            f"{host.record.stain} was adjudicated or agreed on by two readers; read without seeded cells"
        )
    rng = _rng(host, reader, "seeded")
    chosen = [known[index] for index in sorted(rng.choice(len(known), min(count, len(known)), replace=False).tolist())]
    return [_seeded(opened, host, reader, home, cell, rng) for home, _, cell in chosen]


def audit_nuclei(host: ReviewSlide, reader: str, count: int) -> list[Item]:
    """Draw nuclei at random that the program counted and did not offer as candidates.

    Parameters
    ----------
    host : ReviewSlide
    reader : str
        Another reader gets other nuclei, so that together they see more.
    count : int

    Raises
    ------
    UsageError
        The nuclei of the slide cannot be read, or there are none.
    """
    nuclei = _ordinary_nuclei(host)
    if not len(nuclei):
        raise UsageError(f"{one_line(host.name)}: no nuclei apart from the candidates, so nothing to audit")
    picks = _rng(host, reader, "audit").choice(len(nuclei), min(count, len(nuclei)), replace=False)
    radius_px = _AUDIT_RADIUS_UM / host.record.mpp_um
    items = []
    for x, y in nuclei[np.sort(picks)].tolist():
        place = (round(x, 2), round(y, 2))
        name = str(uuid.uuid5(_NAMESPACE, f"audit|{host.record.key}|{place[0]:.2f}|{place[1]:.2f}"))
        cell = CellRef(name, *place, outline_px=circle(place, radius_px), mark="audit")
        items.append(own_item(cell, host.name))
    return items


def _alike(host: ReviewSlide, other: ReviewSlide) -> bool:
    if host.record.stain == "if":  # channels are layers of their own, into which no cell can be laid
        return False
    close = abs(host.record.mpp_um / other.record.mpp_um - 1) <= 0.1
    return close and host.record.stain == other.record.stain


def _known_cells(slide: ReviewSlide) -> list[CellRef]:
    try:
        found = review(slide.folder)
    except DtcsegError:  # the verdicts of another slide must not keep a reader from this one
        return []
    own = {item.id for item in slide.items}
    return [c.cell for c in found.cells if c.verdict == "tumour" and c.basis in _KNOWN and c.cell.id in own]


def _seeded(
    opened: Opened, host: ReviewSlide, reader: str, home: str, known: CellRef, rng: np.random.Generator
) -> Item:
    """Show a cell at the place of a nucleus of the host, where ordinary cells are around it."""
    nuclei = _ordinary_nuclei(host)
    if len(nuclei):
        x, y = nuclei[int(rng.integers(len(nuclei)))].tolist()
    else:
        x, y = host.record.width_px / 2, host.record.height_px / 2
    place = np.round((x, y), 2)
    shift = place - (known.x_px, known.y_px)
    name = str(uuid.uuid5(_NAMESPACE, f"seeded|{host.record.key}|{clean_name(reader).casefold()}|{home}|{known.id}"))
    ring = tuple((round(float(px + shift[0]), 2), round(float(py + shift[1]), 2)) for px, py in known.outline_px)
    cell = CellRef(
        name,
        float(place[0]),
        float(place[1]),
        outline_px=ring,
        score=known.score,
        call=known.call,
        mark="seeded",
        source=f"{home}/{known.id}",
    )
    return seeded_item(opened, cell, host.name)


def _ordinary_nuclei(host: ReviewSlide) -> npt.NDArray[np.float64]:
    """Nuclei (N, 2) of (x, y) level-0 pixels that are no candidates."""
    try:
        table = pq.read_table(host.folder / "nuclei.parquet", columns=["x_px", "y_px"])
    except (OSError, ValueError, KeyError) as error:
        raise UsageError(f"{one_line(host.name)}: its nuclei.parquet cannot be read; score the slide again") from error
    nuclei = np.stack([table["x_px"].to_numpy(), table["y_px"].to_numpy()], axis=1).astype(np.float64)
    places = np.array([(item.cell.x_px, item.cell.y_px) for item in host.items]).reshape(-1, 2)
    if len(places) and len(nuclei):
        far, _ = cKDTree(places).query(nuclei, distance_upper_bound=_CLEAR_UM / host.record.mpp_um)
        nuclei = nuclei[np.isinf(far)]
    return nuclei


def _rng(host: ReviewSlide, reader: str, what: str) -> np.random.Generator:
    """Draws that depend on the scoring and the reader alone."""
    text = f"{host.record.key}|{clean_name(reader).casefold()}|{what}"
    return np.random.default_rng(int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8]))
