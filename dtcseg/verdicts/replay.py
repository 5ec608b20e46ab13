"""From the logs of a slide to what they say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from dtcseg.errors import VerdictError
from dtcseg.results.text import one_line
from dtcseg.verdicts.chain import BrokenLine, split_lines, unseal
from dtcseg.verdicts.names import LOG_SUFFIX, log_stem
from dtcseg.verdicts.state import Entry, Header, ReadState, Refused
from dtcseg.verdicts.terms import FIRST_HASH, FORMAT, ROLES, VERSION, Role


@dataclass(frozen=True)
class SlideVerdicts:
    """What the logs of one slide say.

    Attributes
    ----------
    slide : str
        Name of the slide's folder.
    reads : tuple of ReadState
        One a reader, by file name.
    adjudications : tuple of ReadState
        One an adjudicator, by file name.
    unfinished : tuple of str
        Names of logs that end in a line being written, or torn; all before it is in their state.
    """

    slide: str
    reads: tuple[ReadState, ...]
    adjudications: tuple[ReadState, ...]
    unfinished: tuple[str, ...] = ()


class BadLine(ValueError):
    """What is wrong with one line of a log.

    Parameters
    ----------
    line : int
        Counts from 1.
    problem : str
    """

    def __init__(self, line: int, problem: str) -> None:
        self.line = line
        self.problem = problem
        super().__init__(f"line {line}: {problem}")


def replay(folder: Path) -> SlideVerdicts:
    """Read every log of a slide.

    Parameters
    ----------
    folder : Path
        RESULTS/<slide>; without logs nothing was said yet.

    Raises
    ------
    VerdictError
        A log is not one, was written by another version, or was altered; the message names file and line.
    """
    reads, unfinished = [], []
    for path in log_files(folder):
        state, torn = read_log(path)
        if torn:
            unfinished.append(path.name)
        if state is not None:
            reads.append(state)
    return SlideVerdicts(
        slide=folder.name,
        reads=tuple(state for state in reads if state.role == "read"),
        adjudications=tuple(state for state in reads if state.role == "adjudication"),
        unfinished=tuple(unfinished),
    )


def log_files(folder: Path) -> list[Path]:
    """List the logs of a slide's folder by name."""
    return sorted(path for path in (folder / "verdicts").glob(f"*{LOG_SUFFIX}") if not path.name.startswith("."))


def read_log(path: Path) -> tuple[ReadState | None, bytes]:
    """Read one log.

    Returns
    -------
    state : ReadState or None
        None where not even the header was written whole.
    torn : bytes
        What stands behind the last whole line.

    Raises
    ------
    VerdictError
        As `replay`.
    """
    name = f"{one_line(path.parent.parent.name)}/verdicts/{one_line(path.name)}"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise VerdictError(f"{name}: cannot be read ({one_line(error.strerror or error)})") from error
    lines, torn = split_lines(content)
    try:
        return replay_lines(path, lines), torn
    except BadLine as error:
        raise VerdictError(
            f"{name}, line {error.line}: {one_line(error.problem)}; `dtcseg verify` lists all that is wrong, "
            "put the file back from a copy or move it out of the folder"
        ) from error


def replay_lines(path: Path, lines: list[bytes]) -> ReadState | None:
    """Lead the lines of a log to its state; None without lines.

    Raises
    ------
    BadLine
    """
    state: ReadState | None = None
    for number, line in enumerate(lines, start=1):
        try:
            values, digest = unseal(line)
            if state is None:
                state = ReadState(read_header(path, values, digest))
            else:
                state.apply(state.plan(entry_of(values, digest)))
        except (BrokenLine, Refused) as error:
            raise BadLine(number, str(error)) from error
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BadLine(number, f"cannot be understood ({error!r})") from error
    return state


def entry_of(values: Mapping[str, Any], digest: str) -> Entry:
    """Make an entry of a line's members and hash."""
    return Entry(int(values["n"]), digest, str(values["kind"]), str(values["when"]), values)


def read_header(path: Path, values: Mapping[str, Any], digest: str) -> Header:
    """Read the first line of a log.

    Raises
    ------
    BrokenLine
        It heads no log of dtcseg, one of another version, or that of another reader.
    """
    if values.get("format") != FORMAT or values.get("kind") != "header" or values.get("role") not in ROLES:
        raise BrokenLine("is not the header of a verdict log of dtcseg")
    if values.get("version") != VERSION:
        raise BrokenLine(
            f"the log has version {values.get('version')!r} and this dtcseg reads version {VERSION}; use the dtcseg "
            "that wrote it, or a newer one"
        )
    if values["prev"] != FIRST_HASH or values["n"] != 0:
        raise BrokenLine("is not the first line of a log")
    header = Header(
        reader=str(values["reader"]),
        role=cast("Role", values["role"]),
        slide=str(values["slide"]),
        record=str(values["record"]),
        mpp_um=float(values["mpp_um"]),
        weights={"name": str(values["weights"]["name"]), "sha256": str(values["weights"]["sha256"])},
        program=str(values["program"]),
        when=str(values["when"]),
        hash=digest,
    )
    if path.name != log_stem(header.reader, header.role) + LOG_SUFFIX:
        raise BrokenLine(f"is the log of the reader {header.reader!r}, so the file must not have this name")
    if header.slide != path.parent.parent.name:
        raise BrokenLine(f"is a log of the slide {header.slide!r}, and stands in the folder of another")
    return header
