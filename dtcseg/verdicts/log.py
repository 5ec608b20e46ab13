"""The hand that writes one reader's log: each call is on disk, or has raised, when it returns."""

from __future__ import annotations

import errno
import hashlib
import os
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from dtcseg import __version__
from dtcseg.errors import UsageError, VerdictError
from dtcseg.results.atomic import sync_folder, write_file
from dtcseg.results.lock import FolderLock
from dtcseg.results.record import SlideRecord, from_json
from dtcseg.results.text import one_line
from dtcseg.verdicts.cells import CellRef, placed, read_candidates, ring_of, ring_sha256
from dtcseg.verdicts.chain import seal, unseal
from dtcseg.verdicts.heads import HeadRecord, Witness, read_head
from dtcseg.verdicts.names import LOG_SUFFIX, TORN_SUFFIX, clean_name, log_stem
from dtcseg.verdicts.replay import entry_of, read_header, read_log
from dtcseg.verdicts.state import CellState, Entry, EntryName, ReadState, Refused
from dtcseg.verdicts.terms import FIRST_HASH, FORMAT, NOT_AN_OBJECT, VERSION, Role, Shown

_FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}
_READ_ONLY = {errno.EROFS, errno.EACCES, errno.EPERM}
_BINARY = getattr(os, "O_BINARY", 0)


def open_log(folder: Path, reader: str, *, role: Role = "read", shown: Shown | None = None) -> VerdictLog:
    """Open a reader's log of one slide, and begin it where there is none.

    What a killed writer left of a line is moved into a file of its own beside the log, and the next entry names it.

    Parameters
    ----------
    folder : Path
        RESULTS/<slide>.
    reader : str
        Name or initials; capitals and spaces make no difference.
    role : {"read", "adjudication"}
        An adjudicator writes a log of its own.
    shown : Shown, optional
        By default the order of scores, with the program's calls and without other verdicts.

    Raises
    ------
    VerdictError
        The folder is no finished slide, cannot be written, the log is open in another process, or it was altered.
    """
    return VerdictLog(folder, reader, role, shown or Shown())


class VerdictLog:
    """One reader's log, open for writing; a context manager, made by `open_log`.

    Every method that says something appends one entry, forces it to disk and returns it.

    Attributes
    ----------
    path : Path
    state : ReadState
        What the log says so far.
    shown : Shown
        May be changed between entries, for instance when another order is chosen.

    Raises
    ------
    VerdictError
        From every method: the entry makes no sense (nothing was written), or could not be written (it is taken back
        whole; the log is as before).
    """

    def __init__(self, folder: Path, reader: str, role: Role, shown: Shown) -> None:
        self.shown = shown
        self._folder = folder
        self._reader = clean_name(reader)
        self._record = _read_record(folder)
        self.path = folder / "verdicts" / (log_stem(reader, role) + LOG_SUFFIX)
        self._label = f"{one_line(folder.name)}/verdicts/{self.path.name}"
        self._witness = Witness(self.path)
        self._notes: dict[str, Any] = {}
        self._broken = False
        self._handle = -1
        self._lock = self._take_lock()
        try:
            self.state = self._load(role)
            self._head = HeadRecord(self.path, self.state.head)
        except OSError as error:
            self._release()
            raise self._failure(error) from error
        except BaseException:
            self._release()
            raise

    def __enter__(self) -> VerdictLog:
        """Use it as it was opened."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    @property
    def slide(self) -> str:
        """Name of the slide's folder."""
        return self._folder.name

    @property
    def closed(self) -> bool:
        """Whether it takes no more entries: it was closed, or an error has made it unsafe to go on."""
        return self._handle < 0 or self._broken

    def close(self) -> None:
        """Let others write this log; a second call does nothing."""
        if self._handle >= 0:
            self._head.close()
            self._release()

    def give(self, cell: CellRef, verdict: str, *, comment: str | None = None, rank: int = 0) -> Entry:
        """Give a cell a verdict; a deleted cell is a cell again.

        Parameters
        ----------
        cell : CellRef
        verdict : str
            One of `VERDICTS`.
        comment : str, optional
            Replaces the one before.
        rank : int
            At which place of the order the cell was shown, from 1; 0 when it was sought out.
        """
        members: dict[str, Any] = {"cell": self._cell(cell), "before": self._of(cell).say, "after": verdict}
        if comment is not None:
            members["comment"] = comment
        return self._append("verdict", members, rank)

    def comment(self, cell: CellRef, text: str) -> Entry:
        """Replace the comment on a cell."""
        return self._append("comment", {"cell": self._cell(cell), "before": self._of(cell).comment, "after": text})

    def correct(self, cell: CellRef, outline_px: Sequence[Any], nucleus_px: Sequence[Any] | None = None) -> Entry:
        """Correct a cell's outline, (x, y) in level-0 pixels, and if wanted that of its nucleus."""
        state = self._of(cell)
        nucleus = state.nucleus_px if nucleus_px is None else ring_of(nucleus_px)
        before = {"outline_px": state.outline_px, "nucleus_px": state.nucleus_px}
        after = {"outline_px": ring_of(outline_px), "nucleus_px": nucleus}
        return self._append("outline", {"cell": self._cell(cell), "before": before, "after": after})

    def add(
        self, x_px: float, y_px: float, outline_px: Sequence[Any], verdict: str, nucleus_px: Sequence[Any] | None = None
    ) -> Entry:
        """Add a cell that the program missed; `added_cells` tells its reference.

        Parameters
        ----------
        x_px, y_px : float
            Centre in level-0 pixels.
        outline_px, nucleus_px : sequence of (x, y)
        verdict : str
            One of `VERDICTS`, but not `skip`.
        """
        cell = CellRef(str(uuid.uuid4()), x_px, y_px, ring_of(outline_px))
        return self._append("add", self._addition(cell, verdict, (), nucleus_px))

    def delete(self, cell: CellRef) -> Entry:
        """Say that an outline is no object of its own."""
        return self._append("delete", {**self._deletion(cell), "after": NOT_AN_OBJECT})

    def split(self, cell: CellRef, parts: Iterable[tuple[CellRef, str]]) -> Entry:
        """Delete a cell and add the cells it consists of.

        Parameters
        ----------
        cell : CellRef
        parts : iterable of (CellRef, str)
            New cells, made with `new_cell`, and their verdicts.
        """
        return self._exchange("split", [cell], parts)

    def join(self, cells: Iterable[CellRef], whole: CellRef, verdict: str) -> Entry:
        """Delete cells and add the one that they are parts of, made with `new_cell`."""
        return self._exchange("join", list(cells), [(whole, verdict)])

    def undo(self) -> Entry:
        """Undo the last entry that is not undone yet; its own entry names it."""
        return self._append("undo", {"names": _name_json(self.state.undoable)})

    def redo(self) -> Entry:
        """Do again what was undone last."""
        return self._append("redo", {"names": _name_json(self.state.redoable)})

    def adjudicate(
        self,
        cell: CellRef,
        decision: str,
        weighed: Iterable[tuple[str, EntryName]],
        *,
        outline_px: Sequence[Any] | None = None,
        comment: str = "",
        rank: int = 0,
    ) -> Entry:
        """Settle a cell on which readers differ; only in a log of the role "adjudication".

        Parameters
        ----------
        cell : CellRef
        decision : str
            One of `DECISIONS`.
        weighed : iterable of (str, EntryName)
            Reader and entry of each verdict that was weighed.
        outline_px : sequence of (x, y), optional
            The outline that counts.
        comment : str
        rank : int
        """
        members = {
            "cell": self._cell(cell),
            "before": self._of(cell).verdict,
            "after": decision,
            "names": [{"reader": reader, **name.to_json()} for reader, name in weighed],
            "outline_px": None if outline_px is None else ring_of(outline_px),
            "comment": comment,
        }
        return self._append("adjudication", members, rank)

    def sign_off(self, meaning: str = "I have read this slide") -> Entry:
        """Close the read: nothing more is said until it is reopened. The hash before it covers all that is signed."""
        shown = read_candidates(self._folder)
        says = {key: state.say for key, state in self.state.cells.items() if state.say}
        counts = Counter(say for key, say in says.items() if self.state.cells[key].cell.counts)
        members = {
            "meaning": meaning,
            "counts": dict(counts),
            "candidates": len(shown),
            "unread": sum(cell.id not in says for cell in shown),
        }
        return self._append("sign_off", members)

    def reopen(self, reason: str) -> Entry:
        """Open a read again that was signed off."""
        return self._append("reopen", {"reason": reason})

    def _cell(self, cell: CellRef) -> dict[str, Any]:
        known = placed(cell)
        return known.to_json(with_outline=not self.state.knows(ring_sha256(known.outline_px)))

    def _of(self, cell: CellRef) -> CellState:
        return self.state.cells.get(cell.id) or CellState(cell)

    def _deletion(self, cell: CellRef) -> dict[str, Any]:
        return {"cell": self._cell(cell), "before": self._of(cell).say}

    def _addition(
        self, cell: CellRef, verdict: str, origin: Sequence[str], nucleus_px: Sequence[Any] | None = None
    ) -> dict[str, Any]:
        nucleus = None if nucleus_px is None else ring_of(nucleus_px)
        return {
            "cell": self._cell(cell),
            "before": "",
            "after": verdict,
            "origin": sorted(origin),
            "nucleus_px": nucleus,
        }

    def _exchange(self, kind: str, old: list[CellRef], new: Iterable[tuple[CellRef, str]]) -> Entry:
        deleted = [self._deletion(cell) for cell in old]
        added = [self._addition(cell, verdict, [part.id for part in old]) for cell, verdict in new]
        return self._append(kind, {"deleted": deleted, "added": added})

    def _append(self, kind: str, members: Mapping[str, Any], rank: int = 0) -> Entry:
        if self.closed:
            raise VerdictError(f"{self._label}: is closed (after an error); open it again and repeat the last verdict")
        values = {
            **members,
            **self._notes,
            "kind": kind,
            "n": self.state.head.n + 1,
            "prev": self.state.head.hash,
            "record": self._record.key,
            "shown": {
                "calls": self.shown.calls,
                "order": self.shown.order,
                "rank": rank,
                "verdicts": self.shown.verdicts,
            },
            "weights": self._record.weights.sha256,
            "program": __version__,
            "when": now_utc_ms(),
        }
        self._check_alone()
        seen = self._witness.look()
        if seen:
            values["seen"] = {name: head.to_json() for name, head in seen.items()}
        try:
            line, _ = seal(values)
            step = self.state.plan(
                entry_of(*unseal(line))
            )  # planned from what will be read again, not from what was meant
        except (Refused, KeyError, TypeError, ValueError) as error:
            self._witness = Witness(self.path)
            raise VerdictError(f"{self._label}: not written: {one_line(error)}") from error
        self._write(line + b"\n")
        self._notes = {}
        self.state.apply(step)
        with suppress(OSError):  # the entry is safe, and a head that is behind does no harm
            self._head.write(self.state.head)
        return step.entry

    def _write(self, line: bytes) -> None:
        """Append bytes and force them to disk; what cannot be written whole is taken back."""
        try:
            rest = memoryview(line)
            while rest:
                rest = rest[os.write(self._handle, rest) :]
            os.fsync(self._handle)
        except BaseException as error:
            self._witness = Witness(self.path)
            try:
                os.ftruncate(self._handle, self._size)
                os.fsync(self._handle)
            except OSError:  # opening the log again sets the rest aside
                self._broken = True
            if isinstance(error, OSError):
                raise self._failure(error) from error
            raise
        self._size += len(line)

    def _check_alone(self) -> None:
        """Find another writer where the file system knows no locks, and a file that was put in the place of ours."""
        try:
            ours, there = os.fstat(self._handle), os.stat(self.path)
        except OSError as error:
            self._broken = True
            raise self._failure(error) from error
        if not os.path.samestat(ours, there) or there.st_size != self._size:
            self._broken = True
            raise VerdictError(
                f"{self._label}: was changed by another process while it was open here; close it in both, run "
                "`dtcseg verify`, open it again and repeat the last verdict"
            )

    def _take_lock(self) -> FolderLock:
        lock = FolderLock(
            self.path.parent,
            f".{self.path.name.removesuffix(LOG_SUFFIX)}.lock",
            f"the log of {one_line(self._reader)!r} is open in another window or process",
            "close it there, or read under another name",
        )
        try:
            self.path.parent.mkdir(exist_ok=True)
            lock.__enter__()
        except UsageError as error:
            raise VerdictError(str(error)) from error
        except OSError as error:
            raise self._failure(error) from error
        return lock

    def _release(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1
        self._lock.__exit__(None, None, None)

    def _load(self, role: Role) -> ReadState:
        state, torn = read_log(self.path) if self.path.exists() else (None, b"")
        self._check_head(state)
        self._handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | _BINARY, 0o644)
        size = os.fstat(self._handle).st_size
        if torn:
            self._set_aside(torn, size - len(torn))
        self._size = os.fstat(self._handle).st_size
        state = self._begin(role) if state is None else state
        self._note_torn(state)
        return state

    def _check_head(self, state: ReadState | None) -> None:
        """Refuse to write behind an end that was cut off: the next head record would hide it."""
        try:
            head = read_head(self.path)
        except ValueError as error:
            raise VerdictError(
                f"{self._label}: its head record {error}; put it back from a copy, or move it out of the folder"
            ) from error
        if head is None:
            if state is not None and state.entries:
                self._notes["head_record"] = "missing"
            return
        known = None if state is None else _name_of(state, head.n)
        if known != head:
            raise VerdictError(
                f"{self._label}: had {head.n} entries and entries are missing at its end, or were replaced; put the "
                "file back from a copy, or move it and its head record out of the folder"
            )

    def _set_aside(self, torn: bytes, offset: int) -> None:
        digest = hashlib.sha256(torn).hexdigest()
        stem = self.path.name.removesuffix(LOG_SUFFIX)
        write_file(self.path.with_name(f"{stem}.{offset}-{digest[:12]}{TORN_SUFFIX}"), torn)
        os.ftruncate(self._handle, offset)
        os.fsync(self._handle)

    def _note_torn(self, state: ReadState) -> None:
        """Let the next entry name what was set aside and not named yet, by this opening or one that was killed."""
        named = {note["file"] for entry in state.entries for note in entry.values.get("torn", ())}
        stem = self.path.name.removesuffix(LOG_SUFFIX)
        pattern = f"{stem}.[0-9]*{TORN_SUFFIX}"
        notes = []
        for path in sorted(self.path.parent.glob(pattern)):
            if path.name not in named:
                content = path.read_bytes()
                sha256 = hashlib.sha256(content).hexdigest()
                notes.append({"bytes": len(content), "file": path.name, "sha256": sha256})
        if notes:
            self._notes["torn"] = notes

    def _begin(self, role: Role) -> ReadState:
        line, _ = seal(
            {
                "format": FORMAT,
                "version": VERSION,
                "kind": "header",
                "n": 0,
                "prev": FIRST_HASH,
                "reader": self._reader,
                "role": role,
                "slide": self._folder.name,
                "record": self._record.key,
                "mpp_um": self._record.mpp_um,
                "weights": {"name": self._record.weights.name, "sha256": self._record.weights.sha256},
                "program": __version__,
                "when": now_utc_ms(),
            }
        )
        self._write(line + b"\n")
        sync_folder(self.path.parent)
        return ReadState(read_header(self.path, *unseal(line)))

    def _failure(self, error: OSError) -> VerdictError:
        if error.errno in _FULL:
            advice = "the disk is full; make room and give the last verdict again, all before it are kept"
        elif error.errno in _READ_ONLY:
            advice = (
                "cannot be written (no permission, or a read-only drive); ask for write permission, or copy RESULTS"
            )
        else:
            advice = (
                f"cannot be written ({one_line(error.strerror or error)}); see to the drive and give the last verdict "
                "again, all before it are kept"
            )
        return VerdictError(f"{self._label}: {advice}")


def new_cell(x_px: float, y_px: float, outline_px: Sequence[Any]) -> CellRef:
    """Make a cell that comes of a split or a join: centre and outline in level-0 pixels, an id of its own."""
    return CellRef(str(uuid.uuid4()), x_px, y_px, ring_of(outline_px))


def added_cells(state: ReadState, entry: Entry) -> tuple[CellRef, ...]:
    """Tell the cells that an entry added (kinds add, split, join)."""
    return tuple(known.cell for known in state.cells.values() if known.added and known.entry == entry.name)


def now_utc_ms() -> str:
    """Say the time now: UTC, ISO 8601, milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _name_json(name: EntryName | None) -> dict[str, Any] | None:
    return None if name is None else name.to_json()


def _name_of(state: ReadState, n: int) -> EntryName | None:
    if n == 0:
        return EntryName(0, state.header.hash)
    return state.entries[n - 1].name if n <= len(state.entries) else None


def _read_record(folder: Path) -> SlideRecord:
    try:
        return from_json((folder / "slide.json").read_bytes())
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise VerdictError(f"{one_line(folder)}: is no slide that was scored; score it first") from error
