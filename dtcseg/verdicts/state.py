"""What one log says: its entries in order, and the state they lead to.

The same rules hold when an entry is about to be written and when it is read again, so a log that was written can always
be replayed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from dtcseg.verdicts.cells import CellRef, Ring, cell_from_json, ring_from_json
from dtcseg.verdicts.terms import DECISIONS, NOT_AN_OBJECT, SKIP, VERDICTS, Role


class Refused(ValueError):
    """An entry makes no sense after those before it; the text says why, and what to do."""


@dataclass(frozen=True)
class EntryName:
    """What names an entry: its number in its log and its hash."""

    n: int
    hash: str

    def to_json(self) -> dict[str, Any]:
        """Make its members in an entry that names it."""
        return {"hash": self.hash, "n": self.n}


@dataclass(frozen=True)
class Entry:
    """One entry of a log.

    Attributes
    ----------
    n : int
        Counts from 1; the header is 0. It stands on line n + 1.
    hash : str
    kind : str
    when : str
        UTC, ISO 8601, milliseconds.
    values : mapping
        All members but the hash, as read from JSON.
    """

    n: int
    hash: str
    kind: str
    when: str
    values: Mapping[str, Any] = field(repr=False)

    @property
    def name(self) -> EntryName:
        """What other entries name it by."""
        return EntryName(self.n, self.hash)


@dataclass(frozen=True)
class Header:
    """First line of a log.

    Attributes
    ----------
    reader : str
        Name as first typed.
    role : {"read", "adjudication"}
    slide, record : str
        Slide's name, and the key of its record when the log was begun.
    mpp_um : float
        Pixel size of the slide.
    weights : mapping
        Members `name` and `sha256`.
    program : str
        Version of dtcseg.
    when, hash : str
    """

    reader: str
    role: Role
    slide: str
    record: str
    mpp_um: float
    weights: Mapping[str, str]
    program: str
    when: str
    hash: str


@dataclass(frozen=True)
class CellState:
    """What a log says of one cell now.

    Attributes
    ----------
    cell : CellRef
        As it was last shown.
    verdict : str
        Empty while none was given; in an adjudication also `not_an_object`.
    deleted : bool
        Said to be no object.
    comment : str
    outline_px, nucleus_px : Ring or None
        Corrected outlines.
    added : bool
        Drawn by the reader.
    origin : tuple of str
        Of an added cell: ids of the cells it was split from or joined of.
    entry : EntryName or None
        The entry that gave `say`.
    when, record : str
        Of that entry: its time, and the key of the slide's record on which it was said.
    calls_shown, verdicts_shown : bool
        What the reader could see then: the program's calls, other readers' verdicts.
    names : tuple of (str, EntryName)
        Of an adjudication: reader and entry of each verdict that was weighed.
    """

    cell: CellRef
    verdict: str = ""
    deleted: bool = False
    comment: str = ""
    outline_px: Ring | None = None
    nucleus_px: Ring | None = None
    added: bool = False
    origin: tuple[str, ...] = ()
    entry: EntryName | None = None
    when: str = ""
    record: str = ""
    calls_shown: bool = True
    verdicts_shown: bool = True
    names: tuple[tuple[str, EntryName], ...] = ()

    @property
    def say(self) -> str:
        """The verdict, `not_an_object` when deleted, empty when nothing was said."""
        return NOT_AN_OBJECT if self.deleted else self.verdict

    @property
    def outline_now_px(self) -> Ring:
        """The outline as corrected, else as shown."""
        return self.outline_px or self.cell.outline_px


@dataclass(frozen=True)
class _Change:
    """What one entry did to the cells, so that it can be undone."""

    name: EntryName
    cells: tuple[tuple[str, CellState | None, CellState | None], ...]


@dataclass(frozen=True)
class Step:
    """What an entry will do once it is written; made by `ReadState.plan`."""

    entry: Entry
    change: _Change | None = None
    rings: dict[str, Ring] = field(default_factory=dict)


class ReadState:
    """What one log says after its last entry.

    Attributes
    ----------
    header : Header
    entries : list of Entry
    """

    def __init__(self, header: Header) -> None:
        self.header = header
        self.entries: list[Entry] = []
        self._cells: dict[str, CellState] = {}
        self._rings: dict[str, Ring] = {}
        self._done: list[_Change] = []
        self._undone: list[_Change] = []
        self._signed: Entry | None = None

    @property
    def reader(self) -> str:
        """Who reads."""
        return self.header.reader

    @property
    def role(self) -> Role:
        """What the log is: a read, or an adjudication."""
        return self.header.role

    @property
    def cells(self) -> Mapping[str, CellState]:
        """Cells by id, in the order in which they were first spoken of; deleted ones too."""
        return MappingProxyType(self._cells)

    @property
    def signed(self) -> Entry | None:
        """The sign-off in force; None while the read is open."""
        return self._signed

    @property
    def head(self) -> EntryName:
        """The last entry, or the header."""
        return self.entries[-1].name if self.entries else EntryName(0, self.header.hash)

    @property
    def undoable(self) -> EntryName | None:
        """What an undo would undo."""
        return self._done[-1].name if self._done else None

    @property
    def redoable(self) -> EntryName | None:
        """What a redo would do again."""
        return self._undone[-1].name if self._undone else None

    def knows(self, outline_sha256: str) -> bool:
        """Tell whether an outline already stands in the log."""
        return outline_sha256 in self._rings

    def plan(self, entry: Entry) -> Step:
        """Check an entry against all before it and work out what it does; nothing changes yet.

        Raises
        ------
        Refused
            It makes no sense here.
        KeyError, TypeError, ValueError
            A member is missing or is not what it should be.
        """
        if entry.n != self.head.n + 1 or entry.values["prev"] != self.head.hash:
            raise Refused("does not follow the entry before it (hash chain broken)")
        if entry.kind == "reopen":
            return self._plan_reopen(entry)
        if self._signed is not None:
            raise Refused("the read is signed off; reopen it first, with a reason")
        if entry.kind == "sign_off":
            return Step(entry)
        if entry.kind in ("undo", "redo"):
            return self._plan_undo(entry)
        planner = _PLANNERS.get(entry.kind)
        if planner is None:
            raise Refused(f"kind of entry {entry.kind!r} is not known; read this log with the dtcseg that wrote it")
        if (self.role == "adjudication") != (entry.kind == "adjudication"):
            raise Refused(f"a log of the role {self.role!r} cannot hold an entry of the kind {entry.kind!r}")
        rings = _Rings(self._rings)
        after = planner(self, entry, rings)
        before = tuple((key, self._cells.get(key), state) for key, state in after)
        return Step(entry, _Change(entry.name, before), rings.new)

    def apply(self, step: Step) -> None:
        """Take in an entry that was planned and is written."""
        entry = step.entry
        self.entries.append(entry)
        self._rings.update(step.rings)
        if entry.kind == "undo":
            self._undone.append(self._done.pop())
            self._set([(key, before) for key, before, _ in reversed(self._undone[-1].cells)])
        elif entry.kind == "redo":
            self._done.append(self._undone.pop())
            self._set([(key, after) for key, _, after in self._done[-1].cells])
        elif entry.kind == "sign_off":
            self._signed = entry
            self._done.clear()  # what was signed is changed by saying something else, never by undoing
            self._undone.clear()
        elif entry.kind == "reopen":
            self._signed = None
        elif step.change is not None:
            self._undone.clear()
            self._done.append(step.change)
            self._set([(key, after) for key, _, after in step.change.cells])

    def _set(self, states: list[tuple[str, CellState | None]]) -> None:
        for key, state in states:
            if state is None:
                self._cells.pop(key, None)
            else:
                self._cells[key] = state

    def _plan_reopen(self, entry: Entry) -> Step:
        if self._signed is None:
            raise Refused("the read is not signed off, so it cannot be reopened")
        if not str(entry.values["reason"]).strip():
            raise Refused("reopening a read needs a reason")
        return Step(entry)

    def _plan_undo(self, entry: Entry) -> Step:
        expected = self.undoable if entry.kind == "undo" else self.redoable
        if expected is None:
            raise Refused(f"there is nothing to {entry.kind}")
        if entry.values["names"] != expected.to_json():
            raise Refused(f"only the last entry can be meant by {entry.kind}: number {expected.n}")
        return Step(entry)

    def _current(self, values: Mapping[str, Any], rings: _Rings) -> CellState:
        """State of the cell an entry speaks of, with the cell as it is shown now."""
        cell = cell_from_json(values["cell"], rings)
        known = self._cells.get(cell.id)
        if known is None:
            return CellState(cell)
        if known.cell.mark != cell.mark:
            raise Refused(f"cell {cell.id} was marked {known.cell.mark or 'ordinary'!r} before")
        return replace(known, cell=cell)


class _Rings(dict[str, Ring]):
    """Outlines of a log with those of an entry that is not taken in yet."""

    def __init__(self, known: dict[str, Ring]) -> None:
        super().__init__()
        self._known = known
        self.new: dict[str, Ring] = {}

    def __getitem__(self, key: str) -> Ring:
        return self.new[key] if key in self.new else self._known[key]

    def __setitem__(self, key: str, ring: Ring) -> None:
        self.new[key] = ring


_After = list[tuple[str, CellState | None]]


def _said(state: CellState, entry: Entry, **changes: Any) -> CellState:
    shown = entry.values["shown"]
    return replace(
        state,
        entry=entry.name,
        when=entry.when,
        record=str(entry.values["record"]),
        calls_shown=bool(shown["calls"]),
        verdicts_shown=bool(shown["verdicts"]),
        **changes,
    )


def _verdict(read: ReadState, entry: Entry, rings: _Rings) -> _After:
    state = read._current(entry.values, rings)
    word = _word(entry.values["after"], VERDICTS)
    _expect(entry.values["before"], state.say)
    comment = str(entry.values.get("comment", state.comment))
    return [(state.cell.id, _said(state, entry, verdict=word, deleted=False, comment=comment))]


def _comment(read: ReadState, entry: Entry, rings: _Rings) -> _After:
    state = read._current(entry.values, rings)
    _expect(entry.values["before"], state.comment)
    return [(state.cell.id, replace(state, comment=str(entry.values["after"])))]


def _outline(read: ReadState, entry: Entry, rings: _Rings) -> _After:
    state = read._current(entry.values, rings)
    if state.deleted:
        raise Refused("the cell was deleted; undo that, or give it a verdict first")
    before, after = entry.values["before"], entry.values["after"]
    _expect((_ring(before["outline_px"]), _ring(before["nucleus_px"])), (state.outline_px, state.nucleus_px))
    outline, nucleus = _ring(after["outline_px"]), _ring(after["nucleus_px"])
    return [(state.cell.id, replace(state, outline_px=outline, nucleus_px=nucleus))]


def _delete(read: ReadState, entry: Entry, rings: _Rings) -> _After:
    return [_deleted(read._current(entry.values, rings), entry, entry.values["before"])]


def _add(read: ReadState, entry: Entry, rings: _Rings) -> _After:
    return [_added(read, entry, entry.values, rings)]


def _replace(read: ReadState, entry: Entry, rings: _Rings) -> _After:
    """Split or join: deletions and additions in one entry, so that no kill leaves half of it."""
    gone = [_deleted(read._current(part, rings), entry, part["before"]) for part in entry.values["deleted"]]
    origin = {key for key, _ in gone}
    new = [_added(read, entry, part, rings) for part in entry.values["added"]]
    if (len(gone), len(new)) < (1, 1) or len({key for key, _ in gone + new}) != len(gone) + len(new):
        raise Refused("a split or a join needs cells that go and cells that come, each once")
    if any(state is None or set(state.origin) != origin for _, state in new):
        raise Refused("the cells of a split or a join must name the cells they come from")
    return [*gone, *new]


def _adjudication(read: ReadState, entry: Entry, rings: _Rings) -> _After:
    state = read._current(entry.values, rings)
    word = _word(entry.values["after"], DECISIONS)
    _expect(entry.values["before"], state.verdict)
    names = tuple((str(name["reader"]), EntryName(int(name["n"]), str(name["hash"]))) for name in entry.values["names"])
    if not names:
        raise Refused("an adjudication must name the entries it weighs")
    outline = _ring(entry.values["outline_px"])
    comment = str(entry.values["comment"])
    return [(state.cell.id, _said(state, entry, verdict=word, names=names, outline_px=outline, comment=comment))]


_PLANNERS: dict[str, Callable[[ReadState, Entry, _Rings], _After]] = {
    "verdict": _verdict,
    "comment": _comment,
    "outline": _outline,
    "delete": _delete,
    "add": _add,
    "split": _replace,
    "join": _replace,
    "adjudication": _adjudication,
}


def _deleted(state: CellState, entry: Entry, before: object) -> tuple[str, CellState]:
    if state.deleted:
        raise Refused("the cell is deleted already")
    _expect(before, state.say)
    return state.cell.id, _said(state, entry, deleted=True)


def _added(read: ReadState, entry: Entry, values: Mapping[str, Any], rings: _Rings) -> tuple[str, CellState]:
    cell = cell_from_json(values["cell"], rings)
    if cell.id in read._cells:
        raise Refused(f"a cell {cell.id} is there already")
    word = _word(values["after"], tuple(word for word in VERDICTS if word != SKIP))
    nucleus = _ring(values["nucleus_px"])
    origin = tuple(str(key) for key in values["origin"])
    return cell.id, _said(CellState(cell), entry, verdict=word, added=True, origin=origin, nucleus_px=nucleus)


def _word(word: object, words: tuple[str, ...]) -> str:
    if word not in words:
        raise Refused(f"{word!r} is no verdict here; it must be one of {', '.join(words)}")
    return str(word)


def _expect(written: object, known: object) -> None:
    if written != known:
        raise Refused(f"says that {written!r} stood before, but the entries before it lead to {known!r}")


def _ring(values: Any) -> Ring | None:
    return None if values is None else ring_from_json(values)
