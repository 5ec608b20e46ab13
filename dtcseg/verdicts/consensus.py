"""What counts: the readers' verdicts on every cell, brought together.

An adjudication counts before anything else, then what all readers agree on, then the word of a single reader. Where
readers differ the cell is unresolved: it is listed and not counted. A skip is no vote.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from dtcseg.errors import VerdictError
from dtcseg.results.record import from_json
from dtcseg.results.text import one_line
from dtcseg.verdicts.attach import match
from dtcseg.verdicts.cells import read_candidates
from dtcseg.verdicts.replay import SlideVerdicts, replay
from dtcseg.verdicts.terms import NOT_AN_OBJECT, SKIP

if TYPE_CHECKING:
    from dtcseg.verdicts.cells import CellRef, Ring
    from dtcseg.verdicts.state import CellState, EntryName, ReadState

Basis = Literal["adjudicated", "agreed", "single", "unresolved", "superseded", "skipped", "unread"]
ReadStatus = Literal["unreviewed", "in_progress", "complete", "signed_off"]
SlideStatus = Literal["unreviewed", "in_progress", "complete", "signed_off", "adjudicated"]


@dataclass(frozen=True)
class Say:
    """What one reader says of one cell, and what could be seen when it was said."""

    reader: str
    say: str
    entry: EntryName
    when: str
    calls_shown: bool
    verdicts_shown: bool


@dataclass(frozen=True)
class ReviewedCell:
    """One cell after review.

    Attributes
    ----------
    cell : CellRef
        With the outline that counts: adjudicated, else the last corrected by a reader of the verdict that counts.
    verdict : str
        What counts; empty where nothing does.
    basis : str
        `superseded`: it came of a split or join, and the cell that it came from stands.
    says : tuple of Say
        One a reader, by reader.
    added : bool
        Drawn by a reader.
    corrected : bool
        The outline is not the program's.
    outdated : bool
        Adjudicated, but a reader has said something else since.
    nucleus_px : Ring or None
    comments : tuple of (str, str)
        Reader and text.
    """

    cell: CellRef
    verdict: str
    basis: Basis
    says: tuple[Say, ...] = ()
    added: bool = False
    corrected: bool = False
    outdated: bool = False
    nucleus_px: Ring | None = None
    comments: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class ReaderStatus:
    """How far a reader is.

    Attributes
    ----------
    reader : str
    status : {"unreviewed", "in_progress", "complete", "signed_off"}
    said, candidates : int
        Of the candidates that are there now, how many the reader spoke of (skips among them), and all.
    signed : str
        When the sign-off in force was given; empty without.
    scored_again : bool
        Signed off, but the slide was scored again since, so it counts as in progress.
    blind : bool
        Every verdict was given without the program's calls and without other verdicts.
    """

    reader: str
    status: ReadStatus
    said: int
    candidates: int
    signed: str
    scored_again: bool
    blind: bool


@dataclass(frozen=True)
class OtherCell:
    """A reader's word on something that is no cell of the result now: seeded, audited, or not found again.

    Attributes
    ----------
    reader : str
    state : CellState
    said_since : str
        Of a cell that was not found again: id of the cell in its place of which the same reader has spoken since, so
        that nothing needs to be done; empty where a person has to look.
    """

    reader: str
    state: CellState
    said_since: str = ""


@dataclass(frozen=True)
class Consensus:
    """A slide after review.

    Attributes
    ----------
    slide : str
    status : str
    readers, adjudicators : tuple of ReaderStatus
    cells : tuple of ReviewedCell
        Candidates in their order, then added cells; without those that are no objects.
    deleted : tuple of ReviewedCell
        What is no object by adjudication, agreement, or a single reader.
    seeded, audit : tuple of OtherCell
        Reported, never counted.
    unattached : tuple of OtherCell
        Verdicts on cells of an older scoring that were not found again.
    """

    slide: str
    status: SlideStatus
    readers: tuple[ReaderStatus, ...]
    adjudicators: tuple[ReaderStatus, ...]
    cells: tuple[ReviewedCell, ...]
    deleted: tuple[ReviewedCell, ...]
    seeded: tuple[OtherCell, ...]
    audit: tuple[OtherCell, ...]
    unattached: tuple[OtherCell, ...]

    @property
    def counts(self) -> dict[str, int]:
        """Cells by the verdict that counts."""
        return dict(Counter(cell.verdict for cell in self.cells if cell.verdict))

    @property
    def unresolved(self) -> tuple[ReviewedCell, ...]:
        """Cells on which readers differ and nobody has adjudicated."""
        return tuple(cell for cell in self.cells if cell.basis == "unresolved")


def review(folder: Path) -> Consensus:
    """Bring together what was said of a slide.

    Parameters
    ----------
    folder : Path
        RESULTS/<slide>.

    Raises
    ------
    VerdictError
        The slide's results or a log cannot be read.
    """
    try:
        record = from_json((folder / "slide.json").read_bytes())
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise VerdictError(f"{one_line(folder)}: is no slide that was scored; score it first") from error
    return consensus(replay(folder), read_candidates(folder), record.mpp_um, record.key)


def consensus(verdicts: SlideVerdicts, candidates: Sequence[CellRef], mpp_um: float, record: str) -> Consensus:
    """Bring together the verdicts on a slide.

    Parameters
    ----------
    verdicts : SlideVerdicts
    candidates : sequence of CellRef
        What the program found, as its results are now.
    mpp_um : float
        Pixel size.
    record : str
        Key of the slide's record now: what was said on another was said of another scoring.
    """
    table = _Table(candidates, mpp_um, record)
    for read in verdicts.reads:
        table.take_added(read)
    for read in (*verdicts.reads, *verdicts.adjudications):
        table.take_said(read)
    settled = {key: _settle(place) for key, place in table.places.items()}
    cells = [_after_origin(key, settled, table) for key in settled]
    readers = tuple(_status(read, table, record) for read in verdicts.reads)
    return Consensus(
        slide=verdicts.slide,
        status=_slide_status(readers, cells),
        readers=readers,
        adjudicators=tuple(_status(read, table, record) for read in verdicts.adjudications),
        cells=tuple(cell for cell in cells if cell.verdict != NOT_AN_OBJECT),
        deleted=tuple(cell for cell in cells if cell.verdict == NOT_AN_OBJECT),
        seeded=_marked(verdicts, "seeded"),
        audit=_marked(verdicts, "audit"),
        unattached=tuple(table.unattached),
    )


@dataclass
class _Place:
    """One cell of the slide, and everything said of it."""

    cell: CellRef
    added: bool = False
    reads: list[tuple[ReadState, CellState]] = field(default_factory=list)
    adjudications: list[CellState] = field(default_factory=list)
    origins: set[str] = field(default_factory=set)


class _Table:
    """Cells of the slide by id: candidates, and added cells of which several readers' may be one."""

    def __init__(self, candidates: Sequence[CellRef], mpp_um: float, record: str) -> None:
        self.places = {cell.id: _Place(cell) for cell in candidates}
        self.candidates = frozenset(self.places)
        self.unattached: list[OtherCell] = []
        self._mpp_um = mpp_um
        self._record = record
        self._aliases: dict[str, str] = {}
        self._withdrawn: set[str] = set()

    def key_of(self, cell_id: str) -> str | None:
        """Id of the cell that stands for this id now."""
        key = self._aliases.get(cell_id, cell_id)
        return key if key in self.places else None

    def take_added(self, read: ReadState) -> None:
        """Enter a reader's added cells: each one new, or one that another reader added too.

        Candidates stood before the reader's eyes and were not meant, unless the slide was scored again since.
        """
        added = [state for state in read.cells.values() if state.added and state.cell.counts]
        standing = [state for state in added if not state.deleted]
        others = [place.cell for key, place in self.places.items() if place.added and key not in self._withdrawn]
        all_targets = [place.cell for key, place in self.places.items() if key not in self._withdrawn]
        now = [state.cell for state in standing if state.record == self._record]
        older = [state.cell for state in standing if state.record != self._record]
        found = match(now, others, self._mpp_um)
        found |= match(older, all_targets, self._mpp_um, {*found.values(), *read.cells})
        for state in added:
            key = found.get(state.cell.id)
            if key is not None:
                self._aliases[state.cell.id] = key
                continue
            self.places[state.cell.id] = _Place(state.cell, added=True, origins=set(state.origin))
            if state.deleted:
                self._withdrawn.add(state.cell.id)

    def take_said(self, read: ReadState) -> None:
        """Enter what a log says, and find again the cells that are not there any more."""
        states = [state for state in read.cells.values() if state.cell.counts]
        keys = {state.cell.id: self.key_of(state.cell.id) for state in states}
        lost = [state.cell for state in states if keys[state.cell.id] is None]
        taken = {key for key in keys.values() if key is not None}
        targets = [place.cell for place in self.places.values()]
        keys |= match(lost, targets, self._mpp_um, taken)
        left = [cell for cell in lost if keys[cell.id] is None]
        since = match(left, [target for target in targets if target.id in taken], self._mpp_um)
        for state in states:
            key = keys[state.cell.id]
            if key is None:
                self.unattached.append(OtherCell(read.reader, state, since.get(state.cell.id, "")))
            elif read.role == "adjudication":
                self.places[key].adjudications.append(state)
            else:
                self.places[key].reads.append((read, state))
                if self.places[key].added and state.added:
                    self.places[key].origins.update(state.origin)


def _settle(place: _Place) -> ReviewedCell:
    says = tuple(_say(read, state) for read, state in place.reads if state.say and state.entry is not None)
    votes = {say.say for say in says if say.say != SKIP}
    decisions = {state.verdict for state in place.adjudications if state.verdict}
    basis: Basis
    if decisions:
        basis = "adjudicated" if len(decisions) == 1 else "unresolved"
        verdict = next(iter(decisions)) if len(decisions) == 1 else ""
    elif len(votes) == 1:
        basis = "agreed" if sum(say.say != SKIP for say in says) > 1 else "single"
        verdict = next(iter(votes))
    else:
        basis, verdict = ("unresolved" if votes else "skipped" if says else "unread"), ""
    outline, nucleus = _outline(place, verdict)
    return ReviewedCell(
        cell=replace(place.cell, outline_px=outline or place.cell.outline_px),
        verdict=verdict,
        basis=basis,
        says=says,
        added=place.added,
        corrected=outline is not None or place.added,
        outdated=basis == "adjudicated" and _outdated(place, says),
        nucleus_px=nucleus,
        comments=tuple((read.reader, state.comment) for read, state in place.reads if state.comment),
    )


def _say(read: ReadState, state: CellState) -> Say:
    entry = state.entry or read.head
    return Say(read.reader, state.say, entry, state.when, state.calls_shown, state.verdicts_shown)


def _outline(place: _Place, verdict: str) -> tuple[Ring | None, Ring | None]:
    """Outline and nucleus that count: an adjudicator's, else the newest of a reader who is not overruled."""
    adjudicated = [state.outline_px for state in place.adjudications if state.outline_px]
    states = [state for _, state in place.reads if not verdict or state.say in (verdict, "", SKIP)]
    states.sort(key=lambda state: state.when)
    outlines = [state.outline_px for state in states if state.outline_px]
    nuclei = [state.nucleus_px for state in states if state.nucleus_px]
    outlines += adjudicated
    return outlines[-1] if outlines else None, nuclei[-1] if nuclei else None


def _outdated(place: _Place, says: tuple[Say, ...]) -> bool:
    """Whether a reader's word now is not the one that was weighed."""
    now = {say.entry for say in says}
    weighed = {name for state in place.adjudications for _, name in state.names}
    return now != weighed


def _after_origin(key: str, settled: dict[str, ReviewedCell], table: _Table) -> ReviewedCell:
    """Let the cells of a split or a join count only where the cells they came from do not."""
    cell = settled[key]
    if not cell.verdict or cell.verdict == NOT_AN_OBJECT:
        return cell
    for origin in table.places[key].origins:
        origin_key = table.key_of(origin)
        before = settled[origin_key] if origin_key is not None and origin_key != key else None
        if before is not None and before.verdict not in ("", NOT_AN_OBJECT):
            return replace(cell, verdict="", basis="superseded")
        if before is not None and before.basis == "unresolved":
            return replace(cell, verdict="", basis="unresolved")
    return cell


def _status(read: ReadState, table: _Table, record: str) -> ReaderStatus:
    said = {
        key for key in table.candidates if any(owner is read and state.say for owner, state in table.places[key].reads)
    }
    signed = read.signed
    current = signed is not None and signed.values.get("record") == record
    says = [state for state in read.cells.values() if state.say]
    status: ReadStatus
    if not read.entries:
        status = "unreviewed"
    elif current:
        status = "signed_off"
    else:
        status = "complete" if says and len(said) == len(table.candidates) else "in_progress"
    return ReaderStatus(
        reader=read.reader,
        status=status,
        said=len(said),
        candidates=len(table.candidates),
        signed=signed.when if signed else "",
        scored_again=signed is not None and not current,
        blind=bool(says) and not any(state.calls_shown or state.verdicts_shown for state in says),
    )


def _slide_status(readers: tuple[ReaderStatus, ...], cells: list[ReviewedCell]) -> SlideStatus:
    begun = {reader.status for reader in readers} - {"unreviewed"}
    bases = {cell.basis for cell in cells}
    if not begun:
        return "unreviewed"
    if "in_progress" in begun:
        return "in_progress"
    if "adjudicated" in bases and "unresolved" not in bases:
        return "adjudicated"
    return "signed_off" if begun == {"signed_off"} else "complete"


def _marked(verdicts: SlideVerdicts, mark: str) -> tuple[OtherCell, ...]:
    return tuple(
        OtherCell(read.reader, state)
        for read in verdicts.reads
        for state in read.cells.values()
        if state.cell.mark == mark
    )
