"""The log of a results folder for machines: one JSON object a line, appended by every run (docs/batch.md)."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

LOG_FILE = "log.jsonl"


class RunLog:
    """Appends to the log of a results folder.

    The log only tells what happened; nothing reads it back. So a disk that is full or a share that is away costs
    lines of it and never the run, and each line is written by itself: no open file stands in the way of unmounting.

    Parameters
    ----------
    folder : Path
        The results folder.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / LOG_FILE
        self._torn = self._ends_torn()

    def write(self, event: str, **values: object) -> None:
        """Append one line.

        Parameters
        ----------
        event : str
            What happened; docs/batch.md lists the words and the values that go with each.
        **values
            JSON values.
        """
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line = json.dumps({"time": now, "event": event, **values}, allow_nan=False)  # ASCII: no character breaks a line
        with suppress(OSError), open(self._path, "ab") as file:
            file.write(b"\n" * self._torn + line.encode("ascii") + b"\n")
            self._torn = False

    def _ends_torn(self) -> bool:
        """Whether the last line was cut off by a kill or a full disk."""
        try:
            with open(self._path, "rb") as file:
                file.seek(-1, 2)
                return file.read(1) != b"\n"
        except OSError:
            return False
