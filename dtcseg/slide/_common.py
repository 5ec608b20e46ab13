"""What every adapter shares: settings, pickling, pixel size, and the limits of what is opened."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from dtcseg.errors import MissingResolution, SlideError, UnreadableSlide, UnsuitableSlide
from dtcseg.slide._base import Level, Resolution, ResolutionSource, Slide
from dtcseg.slide._names import match_channels

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

SMALLEST_MPP_UM = 0.05
LARGEST_MPP_UM = 2.0
LARGEST_ANISOTROPY = 0.05
# A glass slide of 76 mm at 0.1 µm/px is 760,000 px long; what declares more is damaged or hostile.
LARGEST_SIDE_PX = 1_000_000
# What one tile or strip may decode to; a tile of a scanner is 1 to 50 MB.
LARGEST_SEGMENT_BYTES = 512 * 2**20
LARGEST_CHANNELS = 64

ASK_FOR_MPP = "pass --mpp (µm per pixel) or fill the mpp column of slides.csv"
ASK_FOR_COPY = "copy it again from the scanner or export it again"
RGB = ("R", "G", "B")


class DamagedSlide(UnreadableSlide):
    """Certain damage: no other reader is asked, since one that is less careful might open the file."""


@dataclass(frozen=True)
class Settings:
    """How a slide was asked for; with the path it is all that a pickled slide carries.

    Attributes
    ----------
    mpp_um : float or None
        Pixel size that overrides the file's.
    mpp_source : {"flag", "slides.csv"}
        Where `mpp_um` comes from.
    channels : tuple of str
        Channel names that override the file's; empty: ask the file.
    check : bool
        False opens what cannot be scored as well, and lists why in `FileSlide.problems`.
    """

    mpp_um: float | None = None
    mpp_source: ResolutionSource = "flag"
    channels: tuple[str, ...] = ()
    check: bool = True


class FoundResolution(NamedTuple):
    """Pixel size as the file states it, µm; not yet checked, it may be anything."""

    mpp_x_um: float
    mpp_y_um: float
    source: ResolutionSource


class FileSlide(Slide):
    """A slide that is a path and settings, plus a handle that can be thrown away.

    An adapter fills `format_name`, `levels`, `kind` and `channels` in `_open` and returns the pixel size it found.

    Attributes
    ----------
    problems : tuple of SlideError
        Why the slide cannot be scored; only where it was opened with `check=False`.
    """

    def __init__(self, path: Path, settings: Settings) -> None:
        self.path = path
        self.settings = settings
        self.problems: tuple[SlideError, ...] = ()
        try:
            found = self._open()
            self._probe()
            self._finish(found)
        except BaseException:
            self.close()
            raise

    @abstractmethod
    def _open(self) -> FoundResolution | None:
        """Open the file, fill the attributes and return the pixel size that the file states."""

    def _probe(self) -> None:
        """Look for damage that opening does not show; only at the first opening, not after a failed read."""

    def clone(self) -> Self:
        """Open the same slide again, with a handle of its own."""
        return type(self)(self.path, self.settings)

    def __reduce__(self) -> tuple[type[Self], tuple[Path, Settings]]:
        """Pickle by path and settings; the handle stays here."""
        return type(self), (self.path, self.settings)

    def _reopen(self) -> None:
        self.close()
        self._open()

    def _finish(self, found: FoundResolution | None) -> None:
        """Settle pixel size and channels; raise what is wrong, or list it when told not to check."""
        problems: list[SlideError] = []
        self.resolution = None
        try:
            self.resolution = settle_resolution(self.path, self.settings, found)
        except MissingResolution as error:
            problems.append(error)
        try:
            self._settle_channels()
        except UnsuitableSlide as error:
            problems.append(error)
        if problems and self.settings.check:
            # The kind of image is the graver problem: no flag mends it.
            raise problems[-1]
        self.problems = tuple(problems)

    def _settle_channels(self) -> None:
        if self.kind == "brightfield":
            if self.settings.channels and len(self.settings.channels) > 1:
                raise UnsuitableSlide(
                    self.path, "is an RGB image, yet slides.csv names several channels for it; empty its channel column"
                )
            return
        if len(self.channels) == 1:
            raise UnsuitableSlide(
                self.path,
                "has one channel only, and a nuclear and a cytokeratin channel are needed; if each channel is a file "
                "of its own, group the files by the slide and channel columns of slides.csv",
            )
        match_channels(self.channels, path=self.path)


def name_channels(path: Path, settings: Settings, names: Sequence[str], count: int) -> tuple[str, ...]:
    """Channel names: those that were set, else those of the file, else numbers.

    Raises
    ------
    UnsuitableSlide
        Names were set, and not as many as there are channels.
    """
    if settings.channels:
        if len(settings.channels) != count:
            raise UnsuitableSlide(
                path,
                f"has {count} channels and slides.csv names {len(settings.channels)} "
                f"({', '.join(settings.channels)}); name each, separated by |",
            )
        return settings.channels
    given = [name.strip() for name in names[:count]]
    given += [""] * (count - len(given))
    return tuple(name or f"channel {number}" for number, name in enumerate(given, start=1))


def settle_resolution(path: Path, settings: Settings, found: FoundResolution | None) -> Resolution:
    """Choose and check the pixel size: the one asked for, else the one that the file states.

    Raises
    ------
    MissingResolution
        There is none, or it is not a pixel size that a scan of cells can have.
    """
    if settings.mpp_um is not None:
        found = FoundResolution(settings.mpp_um, settings.mpp_um, settings.mpp_source)
    if found is None:
        raise MissingResolution(path, f"states no pixel size; {ASK_FOR_MPP}")
    x_um, y_um = float(found.mpp_x_um), float(found.mpp_y_um)
    where = {
        "flag": "given by --mpp",
        "slides.csv": "in slides.csv",
        "vendor": "in the file",
        "tiff_tags": "in its TIFF tags",
    }
    stated = f"the pixel size {where[found.source]}, {x_um:.6g} x {y_um:.6g} µm,"
    for value in (x_um, y_um):
        if not math.isfinite(value) or not SMALLEST_MPP_UM <= value <= LARGEST_MPP_UM:
            raise MissingResolution(
                path, f"{stated} is not between {SMALLEST_MPP_UM} and {LARGEST_MPP_UM:g} µm; {ASK_FOR_MPP}"
            )
    if abs(x_um - y_um) > LARGEST_ANISOTROPY * max(x_um, y_um):
        raise MissingResolution(path, f"{stated} differs by more than 5 % between x and y; {ASK_FOR_MPP}")
    return Resolution(x_um, y_um, found.source)


def check_size(path: Path, width_px: int, height_px: int) -> None:
    """Refuse a size that no scanned slide has.

    Raises
    ------
    DamagedSlide
        The image is empty or larger than `LARGEST_SIDE_PX` on a side.
    """
    if width_px < 1 or height_px < 1:
        raise DamagedSlide(path, f"declares an empty image ({width_px} x {height_px} px); {ASK_FOR_COPY}")
    if max(width_px, height_px) > LARGEST_SIDE_PX:
        raise DamagedSlide(
            path, f"declares an image of {width_px} x {height_px} px, larger than any slide; {ASK_FOR_COPY}"
        )


def check_segment(path: Path, n_bytes: int) -> None:
    """Refuse a tile or strip that would fill the memory when decoded.

    Raises
    ------
    DamagedSlide
        It is larger than `LARGEST_SEGMENT_BYTES`.
    """
    if n_bytes > LARGEST_SEGMENT_BYTES:
        raise DamagedSlide(
            path,
            f"one tile or strip decodes to {n_bytes / 2**20:.0f} MiB (at most {LARGEST_SEGMENT_BYTES // 2**20} MiB "
            "are read at once); export it again with tiles of 256 to 1024 px",
        )


def make_levels(sizes: Sequence[tuple[int, int]]) -> tuple[tuple[int, ...], tuple[Level, ...]]:
    """Order a pyramid and leave out what is no smaller copy of level 0 (a label, say, has other proportions).

    Parameters
    ----------
    sizes : sequence of (int, int)
        Width and height of each image, level 0 first.

    Returns
    -------
    (indices into `sizes`, levels), by falling size
    """
    width0, height0 = sizes[0]
    kept = [(0, Level(width0, height0, 1.0))]
    for index, (width, height) in sorted(enumerate(sizes[1:], start=1), key=lambda item: -item[1][0]):
        downsample = downsample_of(width0, height0, width, height)
        if downsample is not None and downsample > kept[-1][1].downsample * 1.05:
            kept.append((index, Level(width, height, downsample)))
    return tuple(index for index, _ in kept), tuple(level for _, level in kept)


def downsample_of(width0: int, height0: int, width: int, height: int) -> float | None:
    """Factor between two levels, None when they are not one image in two sizes.

    Scanners round a level's size down or up to whole pixels, so the quotient of the sizes is off by up to a pixel;
    where a whole factor explains both sizes, it is the true one.
    """
    if width < 1 or height < 1 or width > width0 or height > height0:
        return None
    quotient = math.sqrt((width0 / width) * (height0 / height))
    whole = max(1, round(quotient))
    if abs(width0 / whole - width) < 1.0 and abs(height0 / whole - height) < 1.0:
        return float(whole)
    # A pixel of slack on each side, since both sizes are rounded; beyond 2 % the proportions are another image's.
    low_x, high_x = width0 / (width + 1), width0 / max(width - 1, 0.5)
    low_y, high_y = height0 / (height + 1), height0 / max(height - 1, 0.5)
    if max(low_x, low_y) > min(high_x, high_y) * 1.02:
        return None
    return quotient
