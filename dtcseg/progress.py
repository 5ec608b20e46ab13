"""Progress on stderr: bars with time left on a terminal, elsewhere only the slides that fail."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING, TextIO

from dtcseg.results.text import one_line

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_LONGEST_NAME = 32


class Reporter:
    """Tells a person how far a run is; a context manager.

    Parameters
    ----------
    total : int
        Slides of the run.
    done : int
        Slides that were finished before.
    stream : text stream or None
        None: stderr.
    """

    def __init__(self, total: int, done: int = 0, stream: TextIO | None = None) -> None:
        self._total = total
        self._done = done
        self._stream = stream or sys.stderr
        self._bars: Progress | None = None
        self._overall: TaskID | None = None
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Reporter:
        """Show the bars, on a terminal only."""
        if self._stream.isatty():
            self._bars = _make_bars(self._stream)
            self._overall = self._bars.add_task("slides", total=self._total, completed=self._done)
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take the bars away; what was said stays."""
        if self._bars is not None:
            self._bars.stop()

    def started(self, name: str) -> None:
        """Show that scoring of a slide begins."""
        if self._bars is not None:
            self._tasks[name] = self._bars.add_task(short(name, _LONGEST_NAME), total=1.0)

    def moved(self, name: str, share: float) -> None:
        """Show that a slide is done to this share, 0..1."""
        if self._bars is not None and name in self._tasks:
            self._bars.update(self._tasks[name], completed=min(max(share, 0.0), 1.0))

    def finished(self, name: str) -> None:
        """Show that a slide is done."""
        self._count(name)

    def failed(self, name: str, file: str, reason: str) -> None:
        """Name the file of a slide that failed and why; the only news that is told without a terminal too."""
        self._count(name)
        self.say(f"{file}: {reason}")

    def say(self, text: str) -> None:
        """Write one line, safe for a terminal."""
        line = one_line(text)
        if self._bars is not None:
            self._bars.console.print(line, markup=False, highlight=False, soft_wrap=True)
            return
        self._stream.write(_encodable(line, self._stream) + "\n")
        self._stream.flush()

    def _count(self, name: str) -> None:
        if self._bars is None or self._overall is None:
            return
        task = self._tasks.pop(name, None)
        if task is not None:
            self._bars.remove_task(task)
        self._bars.advance(self._overall)


def short(name: str, width: int) -> str:
    """Write a name on one line, its middle left out where it is longer than `width`."""
    line = one_line(name)
    if len(line) <= width:
        return line
    head = (width - 1) // 2
    return f"{line[:head]}…{line[len(line) - (width - 1 - head) :]}"


def _encodable(line: str, stream: TextIO) -> str:
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return line.encode(encoding, errors="replace").decode(encoding)


def _make_bars(stream: TextIO) -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
        console=Console(file=stream),
        transient=True,
        refresh_per_second=4,
    )
