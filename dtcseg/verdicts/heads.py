"""How far a log had got: what tells that entries are missing at its end.

A chain proves that what is there follows from its beginning; it says nothing of an end that was cut off. So a head
record beside each log holds the number and hash of its last acknowledged entry, and every entry witnesses the heads of
the other logs as its writer saw them. Entries are on disk before the head tells of them: a head may be behind its log,
never ahead of it.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from dtcseg.results.atomic import write_file
from dtcseg.verdicts.chain import BrokenLine, unseal
from dtcseg.verdicts.names import HEAD_SUFFIX, LOG_SUFFIX
from dtcseg.verdicts.state import EntryName

_LINE_LENGTH = 96
_TAIL_BYTES = 1 << 16
_BINARY = getattr(os, "O_BINARY", 0)


def head_path(log: Path) -> Path:
    """Name the head record of a log."""
    return log.with_name(log.name.removesuffix(LOG_SUFFIX) + HEAD_SUFFIX)


def head_line(head: EntryName) -> bytes:
    """Make a head record; always of the same length, so that writing it over an older one needs one step."""
    text = json.dumps({"hash": head.hash, "n": head.n}, separators=(",", ":"))
    return text.encode("ascii").ljust(_LINE_LENGTH - 1) + b"\n"


def read_head(log: Path) -> EntryName | None:
    """Read the head record of a log; None where there is none.

    Raises
    ------
    ValueError
        It is not one.
    OSError
        It cannot be read.
    """
    try:
        content = head_path(log).read_bytes()
    except FileNotFoundError:
        return None
    try:
        values = json.loads(content)
        head = EntryName(int(values["n"]), str(values["hash"]))
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError("is not a head record") from error
    if head_line(head) != content:
        raise ValueError("is not a head record")
    return head


class HeadRecord:
    """The head record of a log that is open for writing.

    Parameters
    ----------
    log : Path
    head : EntryName
        Written at once, and forced to disk where there was no record yet.
    """

    def __init__(self, log: Path, head: EntryName) -> None:
        path = head_path(log)
        if not path.exists():
            write_file(path, head_line(head))
        self._handle = os.open(path, os.O_RDWR | _BINARY)
        self.write(head)

    def write(self, head: EntryName) -> None:
        """Write the record over the older one; not forced to disk, since being behind does no harm."""
        os.lseek(self._handle, 0, os.SEEK_SET)
        os.write(self._handle, head_line(head))

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._handle)


class Witness:
    """Watches the other logs of a folder.

    Parameters
    ----------
    log : Path
        The log that is written; the others beside it are watched.
    """

    def __init__(self, log: Path) -> None:
        self._log = log
        self._sizes: dict[str, int] = {}

    def look(self) -> dict[str, EntryName]:
        """Read the last whole entry of each log that changed since the last look, by file name.

        What cannot be read is left out: a witness must never keep a reader from giving a verdict.
        """
        seen = {}
        try:
            with os.scandir(self._log.parent) as files:
                others = [file for file in files if file.name.endswith(LOG_SUFFIX) and file.name != self._log.name]
            for file in sorted(others, key=lambda file: file.name):
                size = os.stat(file.path).st_size
                if size != self._sizes.get(file.name):
                    self._sizes[file.name] = size
                    head = _last_entry(Path(file.path))
                    if head is not None:
                        seen[file.name] = head
        except OSError:
            pass
        return seen


def _last_entry(path: Path) -> EntryName | None:
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        wanted = _TAIL_BYTES
        while True:
            file.seek(max(0, size - wanted))
            lines = file.read(min(size, wanted)).split(b"\n")[:-1]
            if len(lines) > 1 or wanted >= size:
                break
            wanted *= 16
    try:
        values, digest = unseal(lines[-1] if lines else b"")
        return EntryName(int(values["n"]), digest)
    except (BrokenLine, KeyError, TypeError, ValueError):
        return None
