"""Fluorescence slides whose channels are a file each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dtcseg.errors import MissingResolution, UnsuitableSlide
from dtcseg.slide._common import FileSlide, FoundResolution, Settings
from dtcseg.slide._open import open_one

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from dtcseg.slide._base import PixelArray

# Registered channels of one scan agree far better; this is what rounding in the metadata may do.
_SAME_MPP = 0.01


class ChannelGroup(FileSlide):
    """Several files of one size, one channel each; see `Slide` for the contract.

    A file may be grey, or RGB that shows one dye in its colour (Hamamatsu scanners write fluorescence so); then the
    largest of the three colours is the channel.

    Parameters
    ----------
    paths : sequence of Path
        In the order of the channels.
    settings : Settings
        `channels` names them; without it the file names do.
    """

    def __init__(self, paths: Sequence[Path], settings: Settings) -> None:
        self.paths = tuple(paths)
        self._parts: list[FileSlide] = []
        super().__init__(self.paths[0], settings)

    def clone(self) -> ChannelGroup:
        """Open the same files again, with handles of their own."""
        return ChannelGroup(self.paths, self.settings)

    def __reduce__(self) -> tuple[type[ChannelGroup], tuple[tuple[Path, ...], Settings]]:  # type: ignore[override]
        """Pickle by paths and settings; the handles stay here."""
        return ChannelGroup, (self.paths, self.settings)

    def close(self) -> None:
        """Close all files; closing twice is allowed."""
        for part in self._parts:
            part.close()
        self._parts = []

    def _open(self) -> FoundResolution | None:
        names = self.settings.channels or tuple(path.stem for path in self.paths)
        if len(names) != len(self.paths):
            raise UnsuitableSlide(
                self.path, f"slides.csv names {len(names)} channels for {len(self.paths)} files; name one a file"
            )
        # The parts are checked as a whole: alone, each lacks the other channels.
        alone = Settings(self.settings.mpp_um, self.settings.mpp_source, (), check=False)
        for path in self.paths:
            self._parts.append(open_one(path, alone))
        first = self._parts[0]
        for part in self._parts:
            self._check_part(first, part)
        self.format_name = f"{first.format_name}, one file a channel"
        self.kind = "fluorescence"
        self.channels = names
        # Levels that one file lacks are left out; level 0 is common to all.
        shared = [level for level in first.levels if all(level in part.levels for part in self._parts)]
        self.levels = tuple(shared)
        self._level_of = [[part.levels.index(level) for level in shared] for part in self._parts]
        return self._stated()

    def _check_part(self, first: FileSlide, part: FileSlide) -> None:
        if part.kind == "fluorescence" and len(part.channels) > 1:
            raise UnsuitableSlide(part.path, f"has {len(part.channels)} channels, and one a file is needed in a group")
        if part.levels[0] != first.levels[0]:
            sizes = [f"{one.levels[0].width_px} x {one.levels[0].height_px} px" for one in (first, part)]
            raise UnsuitableSlide(
                part.path,
                f"has another size ({sizes[1]}) than {first.path.name} ({sizes[0]}); channels must be aligned",
            )
        one, other = first.resolution, part.resolution
        if one and other and abs(one.mpp_um / other.mpp_um - 1) > _SAME_MPP:
            raise MissingResolution(
                part.path,
                f"has another pixel size ({other.mpp_um:.4g} µm) than {first.path.name} ({one.mpp_um:.4g} µm); "
                "pass --mpp (µm per pixel) if they are one scan",
            )

    def _stated(self) -> FoundResolution | None:
        """Pixel size that the first of the files states; the group raises what is wrong with it."""
        for part in self._parts:
            if part.resolution is not None:
                found = part.resolution
                return FoundResolution(found.mpp_x_um, found.mpp_y_um, found.source)
        return None

    def _read(self, level: int, x_px: int, y_px: int, width_px: int, height_px: int) -> PixelArray:
        if not self._parts:
            raise ValueError("the slide is closed")
        planes = []
        for part, levels in zip(self._parts, self._level_of, strict=True):
            pixels = part.read(levels[level], x_px, y_px, width_px, height_px)
            planes.append(pixels.max(axis=2) if pixels.shape[2] > 1 else pixels[:, :, 0])
        stacked: PixelArray = np.stack(planes, axis=2)
        return stacked
