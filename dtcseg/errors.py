"""Errors a user can act on: each says, in one line, which file and what to do."""

from __future__ import annotations

from pathlib import Path


class DtcsegError(Exception):
    """Base of every error whose text is meant for the user, not for a programmer."""


class UsageError(DtcsegError):
    """The arguments cannot be used (exit status 2)."""


class SlideError(DtcsegError):
    """One slide cannot be scored; the others go on (exit status 1).

    Parameters
    ----------
    path : Path
        The file at fault; named in the message.
    problem : str
        What is wrong and what to do about it, one line, no trailing full stop.
    """

    def __init__(self, path: Path, problem: str) -> None:
        self.path = Path(path)
        self.problem = problem
        name = "".join(c if c.isprintable() else "?" for c in self.path.name)  # a line break must not make two lines
        super().__init__(f"{name}: {problem}")

    def __reduce__(self) -> tuple[type[SlideError], tuple[Path, str]]:
        """Pickle by the two parts, so that the error survives the way back from a worker."""
        return type(self), (self.path, self.problem)


class UnreadableSlide(SlideError):
    """The file is missing, empty, truncated, damaged, or of no known format."""


class UnsuitableSlide(SlideError):
    """The file reads well, but it is not a slide that can be scored (a z-stack, one channel …)."""


class MissingResolution(SlideError):
    """No pixel size is known, or the one given is absurd; the message names `--mpp`."""


class UnreadableRegion(SlideError):
    """One region failed twice, the second time on a fresh handle. It counts as not screened."""


class VerdictError(DtcsegError):
    """A verdict log cannot be read or written, or an entry makes no sense; what was said before is kept (status 1)."""


class NotPossible(VerdictError):
    """What was asked makes no sense just now (nothing to undo, a stroke beside the cell); nothing is wrong."""
