"""Which weights a laboratory uses: its own folder of weights, and an append-only history of what was in use.

The folder is `DTCSEG_WEIGHTS`, else the one that the system gives programs for a user's data. Files in it are named by
their SHA-256 and never changed; `history.jsonl` gets one line whenever another file is taken into use or one is given
up again. What is in use follows from the history alone. Loads no torch and looks into no weights.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from dtcseg import __version__
from dtcseg.errors import UsageError
from dtcseg.results.atomic import write_file, writing_to
from dtcseg.results.lock import FolderLock
from dtcseg.results.record import now_utc
from dtcseg.results.text import one_line

Action = Literal["use", "rollback"]

VARIABLE = "DTCSEG_WEIGHTS"
HISTORY = "history.jsonl"
KNOWN_SUFFIX = ".known.json"
"""What weights know (`dtcseg.drift`) lies beside them, under their name with this suffix."""
_HEX = frozenset("0123456789abcdef")


@dataclass(frozen=True)
class Line:
    """One line of the history.

    Attributes
    ----------
    n : int
        From 1, without gaps.
    when : str
        UTC, ISO 8601.
    action : {"use", "rollback"}
    name, sha256 : str
        What is in use from then on; both empty after a rollback to the released weights, whichever they are.
    released : bool
        Whether they came with dtcseg; else they lie in the laboratory's folder.
    program : str
        Version of dtcseg that wrote the line.
    """

    n: int
    when: str
    action: Action
    name: str
    sha256: str
    released: bool
    program: str


def own_folder() -> Path:
    """Tell where the laboratory's weights lie; it need not be there yet."""
    chosen = os.environ.get(VARIABLE, "")
    if chosen:
        return Path(chosen).expanduser()
    from platformdirs import user_data_path

    return user_data_path("dtcseg", appauthor=False) / "weights"


def stored(folder: Path, sha256: str) -> Path:
    """Place of a weights file in the laboratory's folder."""
    return folder / f"{sha256}.safetensors"


def read_history(folder: Path) -> tuple[Line, ...]:
    """Read the history; empty where nothing was ever chosen.

    Raises
    ------
    UsageError
        It cannot be read: which weights are in use is then not known, and nothing may be scored with others unasked.
    """
    path = folder / HISTORY
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise UsageError(f"{one_line(path)}: cannot be read ({one_line(error.strerror or error)})") from error
    lines = []
    for number, row in enumerate(text.splitlines(), start=1):
        try:
            lines.append(_line(json.loads(row), number))
        except (ValueError, KeyError, TypeError) as error:
            raise UsageError(
                f"{one_line(path)}:{number}: cannot be read, so the weights in use are not known; put the file back "
                "from a copy, or move it away to begin with the released weights"
            ) from error
    return tuple(lines)


def standing(history: Sequence[Line]) -> tuple[Line, ...]:
    """List the uses that were not given up, the last of them in use; `rollback` goes back through them."""
    uses: list[Line] = []
    for line in history:
        if line.action == "use":
            uses.append(line)
        elif uses:
            uses.pop()
    return tuple(uses)


def own_names(history: Sequence[Line]) -> dict[str, str]:
    """SHA-256 of the laboratory's own weights by name, in the order in which they were first used."""
    return {line.name: line.sha256 for line in history if line.sha256 and not line.released}


def append(folder: Path, action: Action, name: str, sha256: str, *, released: bool, after: int) -> Line:
    """Write a line to the history; it is on disk when this returns.

    Parameters
    ----------
    folder : Path
        Made when it is not there.
    action, name, sha256, released
        As `Line`.
    after : int
        Number of lines that the caller has seen.

    Raises
    ------
    UsageError
        Somebody else has written since, or is writing.
    OutputError
        The folder cannot be written.
    """
    with writing_to(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with FolderLock(folder, ".lock", "another dtcseg is changing the weights in use", "try again in a moment"):
        if len(read_history(folder)) != after:
            raise UsageError(f"{one_line(folder)}: the weights in use were changed just now; look again and repeat")
        line = Line(after + 1, now_utc(), action, name, sha256, released, __version__)
        path = folder / HISTORY
        with writing_to(folder):
            before = path.read_bytes() if path.exists() else b""
            if before and not before.endswith(b"\n"):
                before += b"\n"
            write_file(path, before + json.dumps(asdict(line), sort_keys=True).encode("ascii") + b"\n")
    return line


def _line(values: dict[str, object], number: int) -> Line:
    line = Line(
        n=int(str(values["n"])),
        when=str(values["when"]),
        action=_action(values["action"]),
        name=str(values["name"]),
        sha256=str(values["sha256"]),
        released=values["released"] is True,
        program=str(values["program"]),
    )
    if line.n != number or (line.sha256 and not is_sha256(line.sha256)) or (line.action == "use" and not line.sha256):
        raise ValueError("not a line of a history")
    return line


def _action(value: object) -> Action:
    if value == "use":
        return "use"
    if value == "rollback":
        return "rollback"
    raise ValueError("unknown action")


def is_sha256(text: str) -> bool:
    """Tell whether a text is a SHA-256 in lower-case hex digits (and so a safe name of a file)."""
    return len(text) == 64 and set(text) <= _HEX
