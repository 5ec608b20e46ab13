"""Progress on stderr: a live table of slides on a terminal, elsewhere one line for each slide that ends."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING, TextIO

from dtcseg.board import Board, Line, duration
from dtcseg.results.text import one_line

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live
    from rich.table import Table
    from rich.text import Text

_LONGEST_NAME = 32
_BAR_WIDTH = 16
_FRAME_ROWS = 6
"""Rows of the terminal that are not slides: head, foot, and what was typed above."""


class Reporter:
    """Tells a person how far a run is; a context manager.

    Parameters
    ----------
    stream : text stream or None
        None: stderr.
    board : Board or None
        None: an empty one.
    """

    def __init__(self, stream: TextIO | None = None, board: Board | None = None) -> None:
        self.board = board or Board()
        self._stream = stream or sys.stderr
        self._live: Live | None = None

    def __enter__(self) -> Reporter:
        """Show the table, on a terminal only."""
        if self._stream.isatty():
            self._live = _make_live(self._stream, self)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take the table away; what was said stays."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def waiting(self, name: str, note: str = "") -> None:
        """Show that a slide waits, and perhaps why."""
        self.board.put(name, "waiting", note)

    def started(self, name: str, worker: str) -> None:
        """Show that a worker begins with a slide."""
        self.board.put(name, "scoring", worker)

    def moved(self, name: str, share: float) -> None:
        """Show that a slide is done to this share, 0..1."""
        self.board.move(name, share)

    def finished(self, name: str, found: str = "", seconds: float = 0.0) -> None:
        """Show that a slide is done: what was found, and how long it took (0: by an earlier run)."""
        self.board.put(name, "done", found, seconds)
        if self._live is None and seconds > 0:
            self.say(f"{short(name, _LONGEST_NAME)}: {found} in {duration(seconds)} [{self._sums()}]")

    def failed(self, name: str, file: str, reason: str) -> None:
        """Name the file of a slide that failed and why; it is said on a terminal too, and stays."""
        self.board.put(name, "failed", reason)
        self.say(f"{file}: {reason}")

    def say(self, text: str) -> None:
        """Write one line, safe for a terminal."""
        line = one_line(text)
        if self._live is not None:
            self._live.console.print(line, markup=False, highlight=False, soft_wrap=True)
            return
        self._stream.write(_encodable(line, self._stream) + "\n")
        self._stream.flush()

    def __rich_console__(self, console: Console, options: object) -> list[RenderableType]:
        """Draw the table as it is now."""
        return [slide_table(self.board, console.height - _FRAME_ROWS), _text(self._sums())]

    def _sums(self) -> str:
        counts, left = self.board.counts(), self.board.left_s()
        parts = [f"{count} {state}" for state, count in counts.items() if count]
        return ", ".join(parts) + (f"; about {duration(left)} left" if left is not None else "")


def slide_table(board: Board, rows: int) -> Table:
    """Draw a table of the slides that matter now: those being scored, the last ones to end, the next ones to come.

    Parameters
    ----------
    board : Board
    rows : int
        Most slides that it may show.
    """
    from rich.table import Table

    table = Table(box=None, pad_edge=False, expand=True)
    for heading, width in (("slide", None), ("state", 7), ("time", 12)):
        table.add_column(heading, width=width, max_width=_LONGEST_NAME, no_wrap=True)
    table.add_column("", ratio=1, no_wrap=True)
    for line in chosen_lines(board, max(rows, 3)):
        state = _text(line.state, _STYLES[line.state])
        table.add_row(_text(short(line.name, _LONGEST_NAME)), state, _text(_time(board, line)), _note(line))
    return table


def _time(board: Board, line: Line) -> str:
    if line.state == "scoring":
        left_s = board.slide_left_s(line)
        return "" if left_s is None else f"{duration(left_s)} left"
    return f"in {duration(line.seconds)}" if line.seconds else ""


def _note(line: Line) -> RenderableType:
    note = _text(one_line(line.note))
    if line.state != "scoring":
        return note
    from rich.progress_bar import ProgressBar
    from rich.table import Table

    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=_BAR_WIDTH)
    grid.add_column(no_wrap=True)
    grid.add_row(ProgressBar(1.0, line.share, width=_BAR_WIDTH), note)
    return grid


_STYLES = {"waiting": "dim", "scoring": "bold", "done": "green", "failed": "bold red"}


def chosen_lines(board: Board, rows: int) -> list[Line]:
    """Choose the slides that the table has room for.

    All being scored come first; of the rest a third each goes to the last that failed, the last that were done, and
    the next that wait, those first that wait for another try.
    """
    scoring = board.lines("scoring")[:rows]
    part = max((rows - len(scoring)) // 3, 1)
    waiting = sorted(board.lines("waiting"), key=lambda line: not line.note)
    others = [*board.lines("failed")[-part:], *board.lines("done")[-part:], *waiting[:part]]
    return [*scoring, *others][:rows]


def short(name: str, width: int) -> str:
    """Write a name on one line, its middle left out where it is longer than `width`."""
    line = one_line(name)
    if len(line) <= width:
        return line
    head = (width - 1) // 2
    return f"{line[:head]}…{line[len(line) - (width - 1 - head) :]}"


def _text(words: str, style: str = "") -> Text:
    from rich.text import Text

    return Text(words, style=style, no_wrap=True, overflow="ellipsis")


def _encodable(line: str, stream: TextIO) -> str:
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return line.encode(encoding, errors="replace").decode(encoding)


def _make_live(stream: TextIO, reporter: Reporter) -> Live:
    from rich.console import Console
    from rich.live import Live

    return Live(reporter, console=Console(file=stream), transient=True, refresh_per_second=4)
