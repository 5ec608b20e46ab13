"""Proof: every change in any log of a results folder is found, with its file and line.

What can be found and what cannot is told in docs/verdicts.md: whoever may write the folder may also write every file in
it anew, hashes included; only a copy elsewhere tells that.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dtcseg.errors import UsageError
from dtcseg.results.text import one_line
from dtcseg.verdicts.chain import BrokenLine, split_lines, unseal
from dtcseg.verdicts.heads import head_path, read_head
from dtcseg.verdicts.names import HEAD_SUFFIX, LOG_SUFFIX, same_reader
from dtcseg.verdicts.replay import BadLine, log_files, replay_lines
from dtcseg.verdicts.state import EntryName, ReadState


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Attributes
    ----------
    file : str
        Path within the results folder.
    line : int
        Counts from 1; where an entry is missing, the line on which it should stand.
    what : str
    """

    file: str
    line: int
    what: str

    def __str__(self) -> str:
        """Write it as `file:line: what`."""
        return f"{one_line(self.file)}:{self.line}: {one_line(self.what)}"


@dataclass(frozen=True)
class Verification:
    """What was checked and found.

    Attributes
    ----------
    logs, entries : int
        Checked; headers are no entries.
    problems : tuple of Problem
        Changes, by file and line.
    remarks : tuple of Problem
        What a person may want to look at, though it is no change: a clock that went back.
    """

    logs: int
    entries: int
    problems: tuple[Problem, ...]
    remarks: tuple[Problem, ...]

    @property
    def sound(self) -> bool:
        """Whether no change was found."""
        return not self.problems


def verify(root: Path) -> Verification:
    """Check every log of a results folder.

    Parameters
    ----------
    root : Path
        RESULTS. Logs that are being written are no problem.

    Raises
    ------
    UsageError
        It is no results folder.
    """
    folders = sorted(path.parent for path in root.glob("*/verdicts") if path.is_dir())
    if not folders and not (root / "run.json").is_file():
        raise UsageError(f"{one_line(root)}: is no results folder")
    logs = [log for folder in folders for log in _check_folder(folder)]
    return Verification(
        logs=sum(log.path.suffix == LOG_SUFFIX and log.there for log in logs),
        entries=sum(max(0, len(log.names) - 1) for log in logs),
        problems=tuple(problem for log in logs for problem in sorted(log.problems, key=lambda problem: problem.line)),
        remarks=tuple(remark for log in logs for remark in log.remarks),
    )


@dataclass
class _Log:
    """One log under check: names of its lines, the header's first; None for a line that is not an entry."""

    path: Path
    there: bool = True
    names: list[EntryName | None] = field(default_factory=list)
    entries: list[tuple[int, Mapping[str, Any]]] = field(default_factory=list)
    state: ReadState | None = None
    problems: list[Problem] = field(default_factory=list)
    remarks: list[Problem] = field(default_factory=list)

    def report(self, line: int, what: str, file: Path | None = None) -> None:
        self.problems.append(self._problem(line, what, file))

    def remark(self, line: int, what: str) -> None:
        self.remarks.append(self._problem(line, what, None))

    def _problem(self, line: int, what: str, file: Path | None) -> Problem:
        file = file or self.path
        return Problem(file.relative_to(file.parents[2]).as_posix(), line, what)

    def holds(self, name: EntryName) -> bool:
        """Whether an entry stands in the log; a log that grew while others were checked is looked at again."""
        if name.n >= len(self.names) and self.there:
            self.names = [_name(line)[0] for line in split_lines(self.path.read_bytes())[0]]
        return 0 <= name.n < len(self.names) and self.names[name.n] == name


def _check_folder(folder: Path) -> list[_Log]:
    logs = {path.name: _check_log(path) for path in log_files(folder)}
    for path in sorted((folder / "verdicts").glob(f"*{HEAD_SUFFIX}")):
        name = path.name.removesuffix(HEAD_SUFFIX) + LOG_SUFFIX
        if name not in logs:
            logs[name] = _unlisted(path.with_name(name))
            if not logs[name].there:
                logs[name].report(1, "the log is missing; its head record is still there")
    for log in list(logs.values()):
        for line, values in log.entries:
            try:
                _check_witnessed(log, line, values, logs)
                _check_torn(log, line, values)
                _check_names(log, line, values, logs)
            except (KeyError, TypeError, ValueError, AttributeError) as error:  # sound, but not written by dtcseg
                log.report(line, f"cannot be understood ({error!r})")
    return list(logs.values())


def _unlisted(path: Path) -> _Log:
    """Check a log that others tell of: it was begun while they were listed, or it is gone."""
    return _check_log(path) if path.exists() else _Log(path, there=False)


def _check_log(path: Path) -> _Log:
    log = _Log(path)
    try:
        (head, head_problem), (lines, torn) = _read(path)
    except OSError as error:
        log.report(1, f"cannot be read ({error.strerror or error})")
        return log
    _check_lines(log, lines)
    if torn or not lines:
        log.report(
            len(lines) + 1,
            "the line is not complete: a write that was cut off, which the next opening sets aside, or altered",
        )
    if not log.problems:
        try:
            log.state = replay_lines(path, lines)
        except BadLine as error:
            log.report(error.line, error.problem)
    if head_problem:
        log.report(1, head_problem, head_path(path))
    elif head is None and len(lines) > 1:
        log.report(
            1, "the head record is missing: nothing tells whether entries are missing at the end", head_path(path)
        )
    elif head is not None and head.n >= len(lines):
        log.report(len(lines) + 1, f"{head.n + 1 - len(lines)} lines are missing at the end, as the head record tells")
    elif head is not None and not log.problems and log.names[head.n] != head:
        log.report(head.n + 1, "is not the entry that the head record tells of: replaced, or the head record altered")
    return log


def _read(path: Path) -> tuple[tuple[EntryName | None, str], tuple[list[bytes], bytes]]:
    """Head record and lines of a log that may grow meanwhile: the head first, so it tells of no more than the lines."""
    head, lines = _head(path), split_lines(path.read_bytes())
    if head == (None, "") and len(lines[0]) > 1:  # perhaps begun in between: the head is written before the first entry
        head, lines = _head(path), split_lines(path.read_bytes())
    return head, lines


def _check_lines(log: _Log, lines: list[bytes]) -> None:
    """Check each line against its own hash and the one before; one wrong line does not hide another."""
    before, when = "", ""
    for number, line in enumerate(lines, start=1):
        name, values, problem = _name(line)
        log.names.append(name)
        if problem:
            log.report(number, problem)
            before = ""
            continue
        assert name is not None
        if before and (values.get("prev") != before or name.n != number - 1):
            log.report(number, "hash chain broken: an entry before this line was altered, removed or put in")
        elif name.n != number - 1:
            log.report(number, f"entry number {name.n} stands on this line: lines were removed or put in")
        log.entries.append((number, values))
        if str(values.get("when", "")) < when:
            log.remark(number, "the clock had gone back")
        before, when = name.hash, str(values.get("when", ""))


def _name(line: bytes) -> tuple[EntryName | None, dict[str, Any], str]:
    try:
        values, digest = unseal(line)
        return EntryName(int(values["n"]), digest), values, ""
    except BrokenLine as error:
        return None, {}, str(error)
    except (KeyError, TypeError, ValueError):
        return None, {}, "is not an entry of a verdict log (no number)"


def _head(path: Path) -> tuple[EntryName | None, str]:
    try:
        return read_head(path), ""
    except ValueError as error:
        return None, str(error)
    except OSError as error:
        return None, f"cannot be read ({error.strerror or error})"


def _check_witnessed(log: _Log, line: int, values: Mapping[str, Any], logs: dict[str, _Log]) -> None:
    """Check that the other logs still hold what this entry's writer saw at their ends; each gap is told once."""
    for file, head in values.get("seen", {}).items():
        path = log.path.with_name(Path(str(file)).name)
        if path.name not in logs:
            logs[path.name] = _unlisted(path)
        other = logs[path.name]
        name = EntryName(int(head["n"]), str(head["hash"]))
        at = name.n + 1 if other.there else 1
        if not other.holds(name) and all(problem.line != at for problem in other.problems):
            what = "entry missing or replaced" if other.there else "the log is missing"
            other.report(at, f"{what}: line {line} of {log.path.name} saw number {name.n} of it")


def _check_torn(log: _Log, line: int, values: Mapping[str, Any]) -> None:
    for note in values.get("torn", ()):
        path = log.path.with_name(Path(str(note["file"])).name)
        try:
            sound = hashlib.sha256(path.read_bytes()).hexdigest() == note["sha256"]
        except OSError:
            sound = False
        if not sound:
            log.report(1, f"is missing or altered: line {line} of {log.path.name} tells of it", path)


def _check_names(log: _Log, line: int, values: Mapping[str, Any], logs: Mapping[str, _Log]) -> None:
    """Check that the entries which an adjudication weighed are there."""
    if values.get("kind") != "adjudication":
        return
    for weighed in values.get("names", ()):
        reader, name = str(weighed["reader"]), EntryName(int(weighed["n"]), str(weighed["hash"]))
        reads = [other for other in logs.values() if other.state and other.state.role == "read"]
        if not any(other.state and same_reader(other.state.reader, reader) and other.holds(name) for other in reads):
            log.report(line, f"the entry {name.n} of {reader} that was weighed is not there")
