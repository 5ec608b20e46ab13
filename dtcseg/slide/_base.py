"""The one interface every slide format is read through."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal

import numpy as np
import numpy.typing as npt

from dtcseg.errors import UnreadableRegion

PixelArray = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
Kind = Literal["brightfield", "fluorescence"]
ResolutionSource = Literal["flag", "slides.csv", "vendor", "tiff_tags"]


@dataclass(frozen=True)
class Level:
    """One level of the pyramid.

    `downsample` is level-0 pixels per pixel of this level; level 0 has 1.0.
    """

    width_px: int
    height_px: int
    downsample: float


@dataclass(frozen=True)
class Resolution:
    """Pixel size of level 0 in µm, and where it was learned."""

    mpp_x_um: float
    mpp_y_um: float
    source: ResolutionSource

    @property
    def mpp_um(self) -> float:
        """Geometric mean of both axes, µm per level-0 pixel."""
        return float((self.mpp_x_um * self.mpp_y_um) ** 0.5)


class Slide(ABC):
    """A slide file, opened for reading.

    One coordinate rule: `read` takes whole pixels *of the level asked for*, x to the right and y down,
    origin at the top left corner of the image; everything above this interface speaks level-0 pixels.
    Arrays are (y, x, channel): RGB uint8 for brightfield, one plane a channel (uint8 or uint16) for
    fluorescence, in the order of `channels`.

    A slide is not thread-safe: a thread or process that needs one opens its own (`clone`); pickling
    carries the path and the settings, never the handle. Use it as a context manager.

    Attributes
    ----------
    path : Path
        The file (or folder, or the first file of a channel group).
    format_name : str
        What the file is, for people ("Aperio SVS").
    levels : tuple of Level
        Full resolution first.
    resolution : Resolution or None
        Pixel size of level 0, None when the file does not say (then `open_slide` was told to allow it).
    kind : {"brightfield", "fluorescence"}
    channels : tuple of str
        Channel names; ("R", "G", "B") for brightfield.
    """

    path: Path
    format_name: str
    levels: tuple[Level, ...]
    resolution: Resolution | None
    kind: Kind
    channels: tuple[str, ...]

    @property
    def references(self) -> dict[str, object]:
        """What other programs need to know of the file to place results on it, as JSON values; often nothing.

        `bounds_px`: x, y, width, height of the part that was scanned, None where the file states none. `dicom`: the
        unique identifiers of the image.
        """
        return {}

    @abstractmethod
    def clone(self) -> Slide:
        """Open the same slide again, with a handle of its own."""

    @abstractmethod
    def close(self) -> None:
        """Close the file; closing twice is allowed."""

    @abstractmethod
    def _reopen(self) -> None:
        """Throw the handle away and open a fresh one."""

    @abstractmethod
    def _read(self, level: int, x_px: int, y_px: int, width_px: int, height_px: int) -> PixelArray:
        """Decode one region inside the level; may raise anything."""

    def read(self, level: int, x_px: int, y_px: int, width_px: int, height_px: int) -> PixelArray:
        """Decode one region.

        Parameters
        ----------
        level : int
            Index into `levels`.
        x_px, y_px, width_px, height_px : int
            The region in pixels of that level; it must lie wholly inside the level.

        Returns
        -------
        (height_px, width_px, channels) uint8 or uint16

        Raises
        ------
        ValueError
            There is no such level, or the region is not inside it.
        UnreadableRegion
            Decoding failed, and failed again on a fresh handle.
        """
        if not 0 <= level < len(self.levels):
            raise ValueError(f"{self.path.name} has levels 0 to {len(self.levels) - 1}, not {level}")
        size = self.levels[level]
        inside = x_px >= 0 and y_px >= 0 and width_px > 0 and height_px > 0
        if not inside or x_px + width_px > size.width_px or y_px + height_px > size.height_px:
            raise ValueError(
                f"region ({x_px}, {y_px}, {width_px}, {height_px}) is not inside level {level} of "
                f"{self.path.name} ({size.width_px} x {size.height_px} px)"
            )
        try:
            return self._read(level, x_px, y_px, width_px, height_px)
        except (
            Exception
        ):  # a decoder may raise anything; one retry on a fresh handle tells a broken handle from a broken tile
            try:
                self._reopen()
                return self._read(level, x_px, y_px, width_px, height_px)
            except Exception as error:
                # Some decoders fail on every good tile after a bad one: leave a fresh handle behind.
                with contextlib.suppress(Exception):
                    self._reopen()
                raise UnreadableRegion(
                    self.path,
                    f"level {level}, region ({x_px}, {y_px}, {width_px}, {height_px}) px cannot be decoded ({error})",
                ) from error

    def __enter__(self) -> Slide:
        """Enter a `with` block; the file is closed at its end."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        self.close()
