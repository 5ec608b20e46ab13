"""What to read next in any number of results folders: the slides and cells that teach most, or that enough is read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dtcseg.errors import DtcsegError
from dtcseg.results.text import csv_bytes, fixed, spreadsheet_cell
from dtcseg.review.asking import ASKED, DOUBTFUL, Answer, Enough, ask_items, enough
from dtcseg.review.slides import open_results
from dtcseg.verdicts.consensus import review
from dtcseg.verdicts.terms import LIKE_TUMOUR, SKIP

if TYPE_CHECKING:
    from dtcseg.review.slides import Item
    from dtcseg.verdicts.consensus import Consensus

_COLUMNS = ("rank", "results", "slide", "cell_id", "x_px", "y_px", "score", "call", "uuid")


@dataclass(frozen=True)
class Taught:
    """Cells with a verdict that counts, tumour (probable among them) and others; their slides and patients.

    Slides without a patient count as one of their own.
    """

    tumour: int
    others: int
    slides: int
    patients: int


@dataclass(frozen=True)
class AskList:
    """What to read next.

    Attributes
    ----------
    cells : tuple of (Path, Item)
        Results folder and cell; slide by slide.
    slides : dict of str to int
        How many cells are asked of each slide, as `RESULTS/SLIDE`, in the order of `cells`.
    read : int
        Cells of which something was said.
    taught : Taught
    enough : Enough
    problems : tuple of str
        Slides that could not be opened, one line each.
    """

    cells: tuple[tuple[Path, Item], ...]
    slides: dict[str, int]
    read: int
    taught: Taught
    enough: Enough
    problems: tuple[str, ...]

    def csv(self) -> bytes:
        """Make a table of the cells."""
        rows: list[dict[str, str | int]] = [
            {
                "rank": rank,
                "results": spreadsheet_cell(root.name),
                "slide": spreadsheet_cell(item.slide),
                "cell_id": item.cell.number,
                "x_px": fixed(item.cell.x_px, 2),
                "y_px": fixed(item.cell.y_px, 2),
                "score": fixed(item.cell.score, 4),
                "call": item.cell.call,
                "uuid": item.id,
            }
            for rank, (root, item) in enumerate(self.cells, start=1)
        ]
        return csv_bytes(_COLUMNS, rows)


def ask_results(results: Sequence[Path], count: int = ASKED) -> AskList:
    """Choose what to read next.

    Parameters
    ----------
    results : sequence of Path
        Results folders; a slide that lies in several of them counts once.
    count : int
        Cells, at most.

    Raises
    ------
    UsageError
        One of them is no results folder.
    """
    items: dict[str, Item] = {}
    places: dict[str, Path] = {}
    told = _Told()
    problems: list[str] = []
    for root in results:
        opened = open_results(root)
        problems += opened.problems
        for slide in opened.slides.values():
            try:
                told.hear(review(slide.folder), slide.record.patient)
            except DtcsegError as error:
                problems.append(str(error))
                continue
            for item in slide.items:
                places.setdefault(item.id, opened.root)
                items.setdefault(item.id, item)
    pool = sorted(items.values(), key=lambda item: (item.slide, item.cell.number, item.id))
    chosen = [(places[item.id], item) for item in ask_items(pool, told.said, count)]
    left = sum(_doubtful(item.cell.score) and item.id not in told.said for item in pool)
    slides = Counter(f"{root.name}/{item.slide}" for root, item in chosen)
    read = len(told.said & set(items))
    answers = list(told.answers.values())
    return AskList(tuple(chosen), dict(slides), read, told.taught(), enough(answers, left), tuple(problems))


class _Told:
    """What readers said so far, each cell once in whatever results folders it lies."""

    def __init__(self) -> None:
        self.said: set[str] = set()
        self.answers: dict[str, Answer] = {}
        self._taught: dict[str, tuple[bool, str, str]] = {}

    def hear(self, found: Consensus, patient: str) -> None:
        """Take in a slide."""
        for cell in (*found.cells, *found.deleted):
            told = [one for one in cell.says if one.say and one.say != SKIP]
            if cell.says:
                self.said.add(cell.cell.id)
            if not (told and cell.verdict):
                continue
            tumour = cell.verdict in LIKE_TUMOUR
            self._taught[cell.cell.id] = (tumour, found.slide, patient or f"slide {found.slide}")
            if not cell.added and _doubtful(cell.cell.score) and cell.cell.call:
                changed = tumour != (cell.cell.call == "tumour")
                self.answers[cell.cell.id] = Answer(changed, max(one.when for one in told))

    def taught(self) -> Taught:
        """Count what can be learned from."""
        cells = list(self._taught.values())
        tumour = sum(is_tumour for is_tumour, _, _ in cells)
        slides, patients = ({cell[k] for cell in cells} for k in (1, 2))
        return Taught(tumour, len(cells) - tumour, len(slides), len(patients))


def _doubtful(score: float) -> bool:
    return DOUBTFUL[0] < score < DOUBTFUL[1]
