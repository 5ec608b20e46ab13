"""Which slides a run has to score, and when: those that are there, or those that a scanner brings in time."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from dtcseg.errors import UsageError
from dtcseg.manifest import NoSlides, SlideFailure, find_slides
from dtcseg.results.record import FileIdentity, file_identity

if TYPE_CHECKING:
    from dtcseg.config import SlideJob

SETTLE_S = 10.0
"""A file that has kept size and time of last change for so long is taken to be complete."""
LOOK_EVERY_S = 5.0
REFUSED_S = 300.0
"""A slide that did not open is tried again after this time, or as soon as its files change."""

Files = tuple[Path, ...]
Identity = tuple[FileIdentity, ...]


Say = Callable[[str], None]


class Source(Protocol):
    """Brings the slides of a run."""

    def look(self, say: Say) -> tuple[list[SlideJob], list[SlideFailure]]:
        """Bring what is new: slides that are ready, and inputs that cannot be scored.

        Parameters
        ----------
        say : callable
            Told in one line what stands in the way.
        """

    @property
    def open(self) -> bool:
        """Whether more may come."""


class Given:
    """The slides that were there at the beginning, and no more."""

    def __init__(self, jobs: Sequence[SlideJob], failures: Sequence[SlideFailure]) -> None:
        self._found: tuple[list[SlideJob], list[SlideFailure]] = (list(jobs), list(failures))
        self.open = True

    def look(self, say: Say) -> tuple[list[SlideJob], list[SlideFailure]]:
        """Bring them all, once; see `Source`."""
        found, self._found, self.open = self._found, ([], []), False
        return found


@dataclass
class _Seen:
    """A slide in a watched folder: what it looks like, since when, and as what it was brought."""

    identity: Identity
    since_s: float
    brought: SlideJob | None = None


class Arrivals:
    """Watches folders that a scanner writes into, and brings each slide once its files are complete.

    Complete means: size and time of last change of all files of the slide (the pixels of a MIRAX slide, the files of
    a DICOM folder) stand still for `SETTLE_S` by the clock of this machine, whatever the clock of the share. A slide
    whose files change after that is brought again. Whether it opens shows when it is scored.

    Parameters
    ----------
    inputs : sequence of Path
        Files and folders, which must be there but may be empty.
    stain, mpp_um
        As `dtcseg.manifest.find_slides`.
    clock : callable
        Gives seconds; for tests.
    """

    open = True

    def __init__(
        self,
        inputs: Sequence[Path],
        stain: str | None = None,
        mpp_um: float | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._inputs = list(inputs)
        self._stain, self._mpp_um = stain, mpp_um
        self._said: set[str] = set()
        self._clock = clock
        self._seen: dict[Files, _Seen] = {}
        self._failed: set[tuple[Path, str]] = set()
        for path in self._inputs:
            if not path.exists():
                raise UsageError(f"{path}: no such file or folder")

    def look(self, say: Say) -> tuple[list[SlideJob], list[SlideFailure]]:
        """Bring the slides that have become complete; see `Source`."""
        jobs: list[SlideJob] = []
        failures: list[SlideFailure] = []
        for found, wrong in [self._find(path, say) for path in self._inputs]:
            jobs += [job for job in found if self._is_complete(job)]
            failures += [one for one in wrong if one.file.exists() and self._is_new(one)]
        return jobs, failures

    def _find(self, path: Path, say: Say) -> tuple[list[SlideJob], list[SlideFailure]]:
        """List the slides of one input; a folder that is empty, or away, or whose table is being written, has none."""
        try:
            found = find_slides([path], stain=self._stain, mpp_um=self._mpp_um)
        except NoSlides:
            return [], []
        except UsageError as error:
            if str(error) not in self._said:
                self._said.add(str(error))
                say(f"{error}; it is looked at again")
            return [], []
        self._said.clear()
        return found

    def _is_complete(self, job: SlideJob) -> bool:
        """Whether a slide is to be brought now: its files stand still, and it is new or something about it is."""
        try:
            identity = file_identity(job.files)
        except OSError:  # it went away since it was listed
            return False
        now = self._clock()
        seen = self._seen.get(job.files)
        if seen is None or seen.identity != identity:
            self._seen[job.files] = _Seen(identity, now)
            return False
        if seen.brought == job or now - seen.since_s < SETTLE_S:
            return False
        seen.brought = job
        return True

    def _is_new(self, failure: SlideFailure) -> bool:
        known = (failure.file, failure.reason)
        new = known not in self._failed
        self._failed.add(known)
        return new
