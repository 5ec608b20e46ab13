"""What there is to read in a results folder: slides, and their candidates with what was measured on them."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dtcseg.errors import DtcsegError, UsageError
from dtcseg.memory import no_collection
from dtcseg.results.candidates import MEASUREMENTS
from dtcseg.results.record import FileIdentity, SlideRecord, file_identity, from_json
from dtcseg.results.text import one_line
from dtcseg.verdicts.cells import CellRef, read_candidates


@dataclass(frozen=True)
class Item:
    """One thing that a reader looks at.

    Attributes
    ----------
    cell : CellRef
        As the log names it; its place is where it is shown on `slide`.
    slide : str
        In whose log its verdict goes.
    measured : mapping of str to float
        Columns of cells.csv (`dtcseg.results.candidates.MEASUREMENTS`); empty for what the program did not measure.
    home : str
        Slide whose pixels it shows: another one for a seeded cell.
    home_px : (float, float)
        Its centre there, (x, y) level-0 pixels.
    """

    cell: CellRef
    slide: str
    measured: Mapping[str, float] = field(default_factory=dict, compare=False)
    home: str = ""
    home_px: tuple[float, float] = (0.0, 0.0)

    @property
    def id(self) -> str:
        """Id of the cell; no two items of a results folder share one."""
        return self.cell.id

    @property
    def seeded(self) -> bool:
        """Whether its pixels are those of another slide."""
        return self.cell.mark == "seeded"


@dataclass(frozen=True)
class ReviewSlide:
    """One slide that can be read.

    Attributes
    ----------
    name : str
    folder : Path
        RESULTS/<slide>.
    record : SlideRecord
    items : tuple of Item
        Its candidates, best first.
    """

    name: str
    folder: Path
    record: SlideRecord
    items: tuple[Item, ...]


@dataclass(frozen=True)
class Opened:
    """A results folder.

    Attributes
    ----------
    root : Path
    slides : dict of str to ReviewSlide
        By name.
    problems : tuple of str
        What could not be opened, one line each with the remedy.
    """

    root: Path
    slides: dict[str, ReviewSlide]
    problems: tuple[str, ...]


def open_results(path: Path) -> Opened:
    """Read what there is to look at.

    Parameters
    ----------
    path : Path
        RESULTS, or RESULTS/<slide> for one slide.

    Raises
    ------
    UsageError
        It is no results folder, or nothing in it can be read.
    """
    one = (path / "slide.json").is_file()
    folders = [path] if one else sorted(file.parent for file in path.glob("*/slide.json"))
    if not folders:
        what = "holds no slide that was scored" if (path / "run.json").is_file() else "is no results folder of dtcseg"
        raise UsageError(f"{one_line(path)}: {what}; make one with `dtcseg score SLIDES --out RESULTS`")
    slides, problems = {}, []
    for folder in folders:
        try:
            slides[folder.name] = open_slide_results(folder)
        except DtcsegError as error:
            problems.append(str(error))
    if not slides:
        raise UsageError(problems[0])
    return Opened(path.parent if one else path, slides, tuple(problems))


def open_slide_results(folder: Path) -> ReviewSlide:
    """Read the record and the candidates of one slide.

    Parameters
    ----------
    folder : Path
        RESULTS/<slide>.

    Raises
    ------
    UsageError, VerdictError
        They are not there, or another version of dtcseg wrote them.
    """
    name = one_line(folder.name)
    try:
        record = from_json((folder / "slide.json").read_bytes())
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise UsageError(
            f"{name}: its slide.json cannot be read by this dtcseg (another version wrote it, or it is damaged); score "
            "the slide again, or read it with the version that run.json names"
        ) from error
    if record.slide != folder.name:
        raise UsageError(
            f"{name}: holds the results of the slide {one_line(record.slide)!r}; give the folder that name again"
        )
    with no_collection():
        cells = read_candidates(folder)
        measured = _measurements(folder)
    return ReviewSlide(folder.name, folder, record, tuple(own_item(c, folder.name, measured.get(c.id)) for c in cells))


def own_item(cell: CellRef, slide: str, measured: Mapping[str, float] | None = None) -> Item:
    """Make the item of a cell that lies on the slide itself."""
    return Item(cell, slide, measured or {}, home=slide, home_px=(cell.x_px, cell.y_px))


def seeded_item(opened: Opened, cell: CellRef, slide: str) -> Item:
    """Make the item of a cell that lies on another slide and is shown on this one.

    Where its own slide is no longer there it has neither measurements nor a picture.
    """
    home, _, own_id = cell.source.partition("/")
    source = opened.slides.get(home)
    found = next((item for item in source.items if item.id == own_id), None) if source else None
    if found is None:
        return Item(cell, slide, home=home)
    return Item(cell, slide, found.measured, home=home, home_px=(found.cell.x_px, found.cell.y_px))


def slide_files(root: Path, record: SlideRecord) -> tuple[Path, ...]:
    """Find the files of a slide: where they were, else where a study that moved as a whole would have them.

    Parameters
    ----------
    root : Path
        RESULTS; its parent folder, the folder of that name in there from which the slide came, and RESULTS itself are
        searched for files of the same name and size.
    record : SlideRecord

    Raises
    ------
    UsageError
        A file is at none of these places.
    """
    found = []
    for text, known in zip(record.files, record.identity, strict=True):
        file = Path(text)
        places = [file, root.parent / file.name, root.parent / file.parent.name / file.name, root / file.name]
        here = next((place for place in places if _is(place, known, sure=place == file)), None)
        if here is None:
            raise UsageError(
                f"{one_line(file.name)}: the slide is no longer at {one_line(file.parent)}; put it back, or beside the "
                "results folder, or say where it is"
            )
        found.append(here)
    return tuple(found)


def same_slide(file: Path, record: SlideRecord) -> bool:
    """Tell whether a file that a person points at can be the one that was scored: its size must be the same."""
    try:
        return file_identity((file,))[0].size == record.identity[0].size
    except (OSError, IndexError):
        return False


def _is(place: Path, known: FileIdentity, *, sure: bool) -> bool:
    try:
        return place.exists() and (sure or file_identity((place,))[0].size == known.size)
    except OSError:
        return False


def _measurements(folder: Path) -> dict[str, dict[str, float]]:
    """Measurements of each candidate by its uuid; columns that this version does not know are left out."""
    with (folder / "cells.csv").open(newline="", encoding="utf-8-sig") as file:
        return {row["uuid"]: _numbers(row) for row in csv.DictReader(file)}


def _numbers(row: Mapping[str, str]) -> dict[str, float]:
    numbers = {}
    for name in MEASUREMENTS:
        try:
            value = float(row.get(name) or "nan")
        except ValueError:
            continue
        if math.isfinite(value):
            numbers[name] = value
    return numbers
