"""One reader's logs of all slides of a results folder, as if they were one: opened when first written to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from dtcseg.errors import NotPossible, VerdictError
from dtcseg.results.text import one_line
from dtcseg.verdicts.log import VerdictLog, open_log
from dtcseg.verdicts.names import LOG_SUFFIX, log_stem, same_reader
from dtcseg.verdicts.replay import log_files, read_log

if TYPE_CHECKING:
    from pathlib import Path

    from dtcseg.review.slides import ReviewSlide
    from dtcseg.verdicts.state import CellState, Entry, ReadState
    from dtcseg.verdicts.terms import Role, Shown


class ReaderLogs:
    """What one reader says of several slides.

    A log is begun, or opened for writing, with the first entry on its slide: who only looks leaves no file. Undo and
    redo go through all slides in the order in which things were said.

    Parameters
    ----------
    slides : mapping of str to ReviewSlide
    reader : str
    role : {"read", "adjudication"}
    shown : Shown
        What the reader sees; noted in every entry.

    Raises
    ------
    VerdictError
        A log of this reader cannot be read.
    """

    def __init__(self, slides: Mapping[str, ReviewSlide], reader: str, role: Role, shown: Shown) -> None:
        self.reader = reader
        self.role = role
        self._shown = shown
        self._slides = slides
        self._open: dict[str, VerdictLog] = {}
        self._said: dict[str, int] = {}
        self._read: dict[str, ReadState] = {}
        for name, slide in slides.items():
            path = slide.folder / "verdicts" / (log_stem(reader, role) + LOG_SUFFIX)
            state = read_log(path)[0] if path.exists() else None
            if state is not None:
                self._read[name] = state

    @property
    def shown(self) -> Shown:
        """What the reader sees."""
        return self._shown

    @shown.setter
    def shown(self, shown: Shown) -> None:
        self._shown = shown
        for log in self._open.values():
            log.shown = shown

    def state(self, slide: str) -> ReadState | None:
        """Tell what the log of a slide says; None where there is none yet."""
        log = self._open.get(slide)
        return log.state if log else self._read.get(slide)

    def cell(self, slide: str, cell_id: str) -> CellState | None:
        """Tell what was said of a cell."""
        state = self.state(slide)
        return state.cells.get(cell_id) if state else None

    def write(self, slide: str, say: Callable[[VerdictLog], Entry]) -> Entry:
        """Append one entry to the log of a slide; it is on disk when this returns.

        Raises
        ------
        VerdictError
            As the log's own methods; nothing was written then. The log is opened again with the next entry where the
            error has closed it.
        """
        log = self._open.get(slide)
        if log is None:
            log = open_log(self._slides[slide].folder, self.reader, role=self.role, shown=self._shown)
            self._open[slide] = log
        try:
            entry = say(log)
        except VerdictError:
            if log.closed:
                self._read[slide] = log.state
                del self._open[slide]
                log.close()
            raise
        self._said[slide] = max(self._said.values(), default=0) + 1
        return entry

    def undo(self) -> tuple[str, Entry]:
        """Undo what was said last, on whatever slide; gives the slide and the entry that is undone.

        Raises
        ------
        VerdictError
            There is nothing to undo.
        """
        said = [(self._latest(name, state.undoable.n), name) for name, state in self._states() if state.undoable]
        if not said:
            raise NotPossible("there is nothing to undo")
        slide = max(said)[1]
        state = self.state(slide)
        undone = state.entries[state.undoable.n - 1] if state and state.undoable else None
        entry = self.write(slide, lambda log: log.undo())
        return slide, undone or entry

    def redo(self) -> tuple[str, Entry]:
        """Do again what was undone last, if nothing was said since; gives the slide and the entry that counts again.

        Raises
        ------
        VerdictError
            There is nothing to redo.
        """
        last = max(
            ((self._latest(name, state.head.n), name) for name, state in self._states() if state.entries), default=None
        )
        state = self.state(last[1]) if last else None
        if last is None or state is None or state.entries[-1].kind not in ("undo", "redo"):
            raise NotPossible("there is nothing to redo")
        undone = [
            (self._latest(name, other.head.n), name) for name, other in self._states() if other.redoable is not None
        ]
        if not undone:
            raise NotPossible("there is nothing to redo")
        slide = max(undone)[1]
        state = self.state(slide)
        again = state.entries[state.redoable.n - 1] if state and state.redoable else None
        entry = self.write(slide, lambda log: log.redo())
        return slide, again or entry

    def close(self) -> None:
        """Let others write these logs."""
        for log in self._open.values():
            self._read[log.slide] = log.state
            log.close()
        self._open.clear()

    def _states(self) -> list[tuple[str, ReadState]]:
        return [(name, state) for name in self._slides if (state := self.state(name)) is not None]

    def _latest(self, slide: str, n: int) -> tuple[str, int, int]:
        """When an entry was written; entries of one millisecond are told apart by the order of this session."""
        state = self.state(slide)
        when = state.entries[n - 1].when if state and n else ""
        return when, self._said.get(slide, 0), n


def readers_of(slides: Mapping[str, ReviewSlide], role: Role = "read") -> tuple[list[str], list[str]]:
    """List who has read these slides, and what is wrong with logs, one line each.

    Returns
    -------
    readers : list of str
        Names as first typed, by how much they said.
    problems : list of str
    """
    found: dict[str, int] = {}
    problems = []
    for slide in slides.values():
        for path in log_files(slide.folder):
            try:
                state = read_log(path)[0]
            except VerdictError as error:
                problems.append(str(error))
                continue
            if state is not None and state.role == role:
                name = next((known for known in found if same_reader(known, state.reader)), state.reader)
                found[name] = found.get(name, 0) + len(state.entries)
    return sorted(found, key=lambda name: (-found[name], name)), problems


def has_log(slides: Mapping[str, ReviewSlide], reader: str) -> bool:
    """Tell whether a reader has a log on one of these slides, sound or not."""
    name = log_stem(reader, "read") + LOG_SUFFIX
    return any((slide.folder / "verdicts" / name).exists() for slide in slides.values())


def check_writable(folder: Path) -> None:
    """Find out, before the first cell is shown, that nothing could be written.

    Raises
    ------
    VerdictError
        RESULTS/<slide> takes no new file.
    """
    probe = folder / "verdicts" / f".dtcseg-probe-{id(folder)}"
    try:
        probe.parent.mkdir(exist_ok=True)
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise VerdictError(
            f"{one_line(folder)}: cannot be written ({one_line(error.strerror or error)}), so no verdict could be "
            "kept; ask for write permission, or copy RESULTS to where you may write"
        ) from error
