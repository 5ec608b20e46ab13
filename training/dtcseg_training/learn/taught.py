"""From results folders to taught cells: what readers settled, slide by slide, and what was left out with its reason."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from dtcseg.errors import DtcsegError, UsageError
from dtcseg.results.text import one_line
from dtcseg.review.slides import open_results, slide_files
from dtcseg.verdicts.attach import match
from dtcseg.verdicts.cells import CellRef
from dtcseg.verdicts.consensus import consensus
from dtcseg.verdicts.replay import log_files, replay
from dtcseg.verdicts.terms import LIKE_TUMOUR, NOT_AN_OBJECT

if TYPE_CHECKING:
    from dtcseg.cells import Call
    from dtcseg.results.record import SlideRecord
    from dtcseg.review.slides import ReviewSlide
    from dtcseg.verdicts.cells import Ring
    from dtcseg.verdicts.consensus import Consensus, ReviewedCell

CALL_OF: dict[str, Call] = {
    "tumour": "tumour",
    "probable": "tumour",
    "uninterpretable": "uninterpretable",
    "haematopoietic": "haematopoietic",
    "artefact": "artefact",
    NOT_AN_OBJECT: "artefact",
}
"""What each word of the verdict log teaches. A probable tumour cell looks like a tumour cell: whether it counts is for
the isotype control to say, not for the network (Borgen 1999)."""
_CONTROLS = ("isotype_control", "negative_control")
CONTROL = "control"
"""Source of a cell that no reader spoke of: it lies on a control slide, which holds no tumour cell."""
_FROM_CONTROL = 100
"""Most such cells of a slide: those that look most like tumour cells."""
_SETTLED = ("adjudicated", "agreed", "single")


@dataclass(frozen=True)
class TaughtCell:
    """One cell whose kind is known.

    Attributes
    ----------
    id : str
    x_px, y_px : float
        Level-0 pixels.
    call : Call
    outline_px : Ring
        Empty where nobody says what belongs to it (a deleted cell).
    outline_told : bool
        A person drew the outline; else it is the program's own.
    nucleus_px : Ring or None
        As a person drew it.
    source : str
        `adjudicated`, `agreed`, `single`, `control` (`CONTROL`), or the name of the file that it was read from.
    score : float
        Of the program that was reviewed; 0 for an added cell.
    added, deleted : bool
    """

    id: str
    x_px: float
    y_px: float
    call: Call
    outline_px: Ring
    outline_told: bool
    nucleus_px: Ring | None
    source: str
    score: float = 0.0
    added: bool = False
    deleted: bool = False

    @property
    def said(self) -> bool:
        """Whether somebody spoke of it."""
        return self.source != CONTROL


@dataclass(frozen=True)
class TaughtSlide:
    """One slide and what is known of its cells.

    Attributes
    ----------
    name : str
        Its folder in the results.
    root : Path
        The results folder.
    record : SlideRecord
    files : tuple of Path
        Where its pixels are now.
    cells : tuple of TaughtCell
    logs : tuple of (str, str)
        Name and SHA-256 of each file that says so: verdict logs, annotations.
    """

    name: str
    root: Path
    record: SlideRecord
    files: tuple[Path, ...]
    cells: tuple[TaughtCell, ...]
    logs: tuple[tuple[str, str], ...]

    @property
    def identity(self) -> tuple[tuple[str, int], ...]:
        """Tell the same slide in two results folders: names and sizes of its files."""
        return tuple((entry.name, entry.size) for entry in self.record.identity)


def collect(results: Sequence[Path]) -> tuple[list[TaughtSlide], list[str]]:
    """Gather what readers settled in any number of results folders, and what control slides teach without them.

    Other slides without a word are in it too, with no cells: annotations made elsewhere may speak of them.

    Returns
    -------
    slides : list of TaughtSlide
        By name of their files; a slide that was scored in several of the folders is there once.
    left_out : list of str
        One line for each thing that is not taught: slides that cannot be read, conflicts between readers.

    Raises
    ------
    UsageError
        A folder is no results folder.
    """
    slides: list[TaughtSlide] = []
    left_out: list[str] = []
    for root in results:
        opened = open_results(root)
        left_out += opened.problems
        for slide in opened.slides.values():
            try:
                slides.append(_taught_slide(opened.root, slide, left_out))
            except DtcsegError as error:
                left_out.append(one_line(error))
    return _merged(sorted(slides, key=lambda slide: slide.identity), left_out), left_out


def _taught_slide(root: Path, slide: ReviewSlide, left_out: list[str]) -> TaughtSlide:
    verdicts = replay(slide.folder)
    said = consensus(verdicts, [item.cell for item in slide.items], slide.record.mpp_um, slide.record.key)
    parts = {key for read in verdicts.reads for cell in read.cells.values() if cell.added for key in cell.origin}
    logs = tuple((path.name, file_sha256(path)) for path in log_files(slide.folder))
    cells = tuple(_cells(slide, said, parts, left_out))
    return TaughtSlide(slide.name, root, slide.record, slide_files(root, slide.record), cells, logs)


def _cells(slide: ReviewSlide, said: Consensus, parts: set[str], left_out: list[str]) -> Iterable[TaughtCell]:
    name = one_line(slide.name)
    control = slide.record.role in _CONTROLS
    unresolved, in_control = 0, 0
    for cell in (*said.cells, *said.deleted):
        if cell.basis == "unresolved":
            unresolved += 1
        if cell.basis not in _SETTLED:
            continue
        if control and cell.verdict in LIKE_TUMOUR:
            in_control += 1
            continue
        if cell.verdict == NOT_AN_OBJECT and (cell.added or cell.cell.id in parts):
            continue  # withdrawn by who drew it; or split or joined, which its parts teach
        yield _cell(cell)
    if control:
        yield from _from_control(slide, {cell.cell.id for cell in said.cells if cell.basis == "unread"})
    if unresolved:
        left_out.append(f"{name}: {unresolved} cells on which readers differ; adjudicate them to have them taught")
    if in_control:
        left_out.append(f"{name}: {in_control} tumour cells on a control slide, which holds none; look at them again")
    lost = sum(not other.said_since for other in said.unattached)
    if lost:
        left_out.append(f"{name}: {lost} verdicts on cells of an earlier scoring that are not there any more")


def _from_control(slide: ReviewSlide, unread: set[str]) -> Iterable[TaughtCell]:
    """Teach that candidates of a control slide are no tumour cells; what has a nucleus is a haematopoietic cell."""
    for item in [item for item in slide.items if item.id in unread][:_FROM_CONTROL]:  # best first
        cell = item.cell
        nucleated = item.measured.get("nucleus_area_um2", 0.0) > 0
        yield TaughtCell(
            id=cell.id,
            x_px=cell.x_px,
            y_px=cell.y_px,
            call="haematopoietic" if nucleated else "artefact",
            outline_px=cell.outline_px,
            outline_told=False,
            nucleus_px=None,
            source=CONTROL,
            score=cell.score,
        )


def _cell(cell: ReviewedCell) -> TaughtCell:
    gone = cell.verdict == NOT_AN_OBJECT
    return TaughtCell(
        id=cell.cell.id,
        x_px=cell.cell.x_px,
        y_px=cell.cell.y_px,
        call=CALL_OF[cell.verdict],
        outline_px=() if gone else cell.cell.outline_px,
        outline_told=cell.corrected and not gone,
        nucleus_px=None if gone else cell.nucleus_px,
        source=cell.basis,
        score=cell.cell.score,
        added=cell.added,
        deleted=gone,
    )


def _merged(slides: Sequence[TaughtSlide], left_out: list[str]) -> list[TaughtSlide]:
    """Make one of a slide that several results folders hold; where they differ on a cell, it is left out."""
    kept: list[TaughtSlide] = []
    for slide in slides:
        if kept and kept[-1].identity == slide.identity:
            kept[-1] = joined(kept[-1], slide.cells, slide.logs, left_out)
        else:
            kept.append(slide)
    return kept


def joined(
    slide: TaughtSlide, cells: Sequence[TaughtCell], logs: Sequence[tuple[str, str]], left_out: list[str]
) -> TaughtSlide:
    """Add cells from another source to a slide: what both know counts once, what they differ on not at all.

    What somebody says of a cell goes before what is known of it because it lies on a control slide.
    """
    pairs = match([_ref(cell) for cell in cells], [_ref(cell) for cell in slide.cells], slide.record.mpp_um)
    by_id = {cell.id: cell for cell in slide.cells}
    own = dict(by_id)
    new: dict[str, TaughtCell] = {}
    differ = 0
    for cell in cells:
        other = by_id.get(pairs.get(cell.id, ""))
        if other is None:
            new[cell.id] = cell
        elif not (cell.said and other.said):
            own[other.id] = other if other.said else replace(cell, id=other.id)
        elif other.call != cell.call and other.source != "adjudicated":
            if cell.source == "adjudicated":
                own[other.id] = replace(cell, id=other.id)
            else:
                own.pop(other.id, None)
                differ += 1
    if differ:
        left_out.append(f"{one_line(slide.name)}: {differ} cells of which two sources say different things")
    files = tuple(sorted({*slide.logs, *logs}))
    return replace(slide, cells=(*own.values(), *new.values()), logs=files)


def _ref(cell: TaughtCell) -> CellRef:
    return CellRef(cell.id, cell.x_px, cell.y_px, cell.outline_px)


def file_sha256(path: Path) -> str:
    """Hash a file.

    Raises
    ------
    UsageError
        It cannot be read.
    """
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise UsageError(f"{one_line(path)}: cannot be read ({one_line(error.strerror or error)})") from error
