"""A few open slides, for one thread."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dtcseg.errors import DtcsegError
from dtcseg.review.profiles import read_profile
from dtcseg.slide import open_slide

if TYPE_CHECKING:
    from pathlib import Path

    from dtcseg.results.record import SlideRecord
    from dtcseg.screen import Profile
    from dtcseg.slide import Slide

_OPEN = 3

Find = Callable[[str], "tuple[SlideRecord, tuple[Path, ...]] | None"]


@dataclass(frozen=True)
class Handle:
    """An open slide with what its record says."""

    slide: Slide
    profile: Profile | None
    mpp_um: float


class Handles:
    """Opens slides when they are asked for and keeps the last few open; for use by one thread.

    Parameters
    ----------
    find : callable
        Gives record and files of a slide by its name; None where the slide is not to be found.
    """

    def __init__(self, find: Find) -> None:
        self._find = find
        self._open: OrderedDict[str, Handle | None] = OrderedDict()

    def get(self, name: str) -> Handle | None:
        """Open a slide; None where that cannot be done, which the review has said already."""
        if name not in self._open:
            self._open[name] = self._opened(name)
            while len(self._open) > _OPEN:
                _close(self._open.popitem(last=False)[1])
        self._open.move_to_end(name)
        return self._open[name]

    def close(self) -> None:
        """Close all of them."""
        for handle in self._open.values():
            _close(handle)
        self._open.clear()

    def _opened(self, name: str) -> Handle | None:
        found = self._find(name)
        if found is None:
            return None
        record, files = found
        try:
            slide = open_slide(files, mpp_um=record.mpp_um, channels=record.channels, check=False)
        except DtcsegError:
            return None
        try:
            profile = read_profile(record)
        except DtcsegError:
            profile = None
        return Handle(slide, profile, record.mpp_um)


def _close(handle: Handle | None) -> None:
    if handle is not None:
        handle.slide.close()
