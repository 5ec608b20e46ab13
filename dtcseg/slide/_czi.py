"""Zeiss CZI, read through the maker's own library."""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from dtcseg.errors import SlideError, UnreadableSlide, UnsuitableSlide
from dtcseg.slide._base import Level
from dtcseg.slide._common import (
    ASK_FOR_COPY,
    RGB,
    DamagedSlide,
    FileSlide,
    FoundResolution,
    check_segment,
    check_size,
    name_channels,
)
from dtcseg.slide._tiff_meta import local_name, parse_xml, to_float, walk

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from dtcseg.slide._base import PixelArray

_CACHE_BYTES = 64 * 2**20
_BYTES_PER_PIXEL = {"Gray8": 1, "Gray16": 2, "Bgr24": 3}
# Dimensions that make a file more than one image of a slide; scenes and mosaic tiles are laid on one canvas.
_STACKS = {"Z": "a z-stack of {n} planes", "T": "a time series of {n} images"}
_OTHERS = "RIHVB"


class CziSlide(FileSlide):
    """A CZI file; see `Slide` for the contract.

    All scenes lie on one canvas at the places where they were scanned; what lies between was not scanned, and is
    white in brightfield and black in fluorescence.
    """

    _reader: Any = None

    def _open(self) -> FoundResolution | None:
        from pylibCZIrw import czi

        try:
            cache = czi.CacheOptions(czi.CacheType.Standard, _CACHE_BYTES, None)
            self._reader = czi.CziReader(str(self.path), cache_options=cache)
            root = parse_xml(self._reader.raw_metadata)
            self._parse(root)
        except SlideError:
            raise
        except Exception as error:  # the native library's errors have no common class
            raise UnreadableSlide(self.path, f"the CZI structure is damaged ({error}); {ASK_FOR_COPY}") from error
        return _resolution(root)

    def close(self) -> None:
        """Close the file; closing twice is allowed."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _parse(self, root: Element | None) -> None:
        self._refuse_stacks()
        box = self._reader.total_bounding_rectangle_no_pyramid
        check_size(self.path, box.w, box.h)
        self._origin = (box.x, box.y)
        types = self._reader.pixel_types
        kinds = set(types.values())
        if len(kinds) != 1 or not kinds <= set(_BYTES_PER_PIXEL):
            raise UnsuitableSlide(
                self.path, f"has {', '.join(sorted(kinds))} pixels, and 8-bit RGB or 8- or 16-bit grey is needed"
            )
        self.format_name = "Zeiss CZI"
        self._numbers = sorted(types)
        if kinds == {"Bgr24"}:
            if len(types) > 1:
                raise UnsuitableSlide(self.path, f"holds {len(types)} RGB channels; export one")
            self.kind, self.channels = "brightfield", RGB
        else:
            self.kind = "fluorescence"
            self.channels = name_channels(self.path, self.settings, _channel_names(root), len(types))
        halvings = self._pyramid_steps(_BYTES_PER_PIXEL[kinds.pop()])
        self.levels = tuple(Level(box.w >> step, box.h >> step, float(1 << step)) for step in halvings)

    def _refuse_stacks(self) -> None:
        for axis, (start, end) in self._reader.total_bounding_box_no_pyramid.items():
            count = end - start
            if count > 1 and (axis in _STACKS or axis in _OTHERS):
                what = _STACKS.get(axis, "{n} images along dimension " + axis).format(n=count)
                raise UnsuitableSlide(
                    self.path, f"is {what}, not a slide; export one plane (the best focus, or a projection)"
                )

    def _pyramid_steps(self, pixel_bytes: int) -> list[int]:
        """How often level 0 was halved for each stored level; checks the size of every stored tile on the way."""
        steps = {0}
        largest = 0

        def note(_index: int, block: Any) -> bool:
            nonlocal largest
            stored, logical = block.physicalSize, block.logicalRect
            largest = max(largest, stored.w * stored.h * pixel_bytes)
            if stored.w and logical.w > stored.w:
                steps.add(round(math.log2(logical.w / stored.w)))
            return True

        # Older versions of the library cannot list the stored tiles; then the slide has level 0 only.
        with contextlib.suppress(AttributeError):
            self._reader.enumerate_subblocks(note)
        check_segment(self.path, largest)
        box = self._reader.total_bounding_rectangle_no_pyramid
        return [step for step in sorted(steps) if box.w >> step and box.h >> step]

    def _probe(self) -> None:
        """Read one pixel of the coarsest level, so that a file cut off is refused here and not in the middle."""
        number = len(self.levels) - 1
        last = self.levels[number]
        try:
            self._read(number, last.width_px - 1, last.height_px - 1, 1, 1)
        except Exception as error:
            raise DamagedSlide(self.path, f"is truncated or damaged ({error}); {ASK_FOR_COPY}") from error

    def _read(self, level: int, x_px: int, y_px: int, width_px: int, height_px: int) -> PixelArray:
        if self._reader is None:
            raise ValueError("the slide is closed")
        factor = int(self.levels[level].downsample)
        roi = (
            self._origin[0] + x_px * factor,
            self._origin[1] + y_px * factor,
            width_px * factor,
            height_px * factor,
        )
        background = (1.0, 1.0, 1.0) if self.kind == "brightfield" else (0.0, 0.0, 0.0)
        planes = []
        for number in self._numbers:
            pixels = self._reader.read(
                roi=roi, plane={"C": number, "Z": 0, "T": 0}, zoom=1.0 / factor, background_pixel=background
            )
            if pixels.shape[:2] != (height_px, width_px):
                raise ValueError(f"the library returned {pixels.shape[:2]} pixels for {(height_px, width_px)}")
            planes.append(pixels)
        if self.kind == "brightfield":
            return np.ascontiguousarray(planes[0][:, :, ::-1])
        region: PixelArray = np.concatenate(planes, axis=2)
        return region


def _channel_names(root: Element | None) -> list[str]:
    """Name of each channel in the order of the file: the name given, else the dye."""
    if root is None:
        return []
    for dimensions in walk(root, "Dimensions"):
        for channels in dimensions:
            if local_name(channels) == "Channels":
                return [_channel_name(channel) for channel in channels]
    return []


def _channel_name(channel: Element) -> str:
    dye = next((element.text or "" for element in walk(channel, "Fluor")), "")
    return (channel.get("Name") or dye or "").strip()


def _resolution(root: Element | None) -> FoundResolution | None:
    """Pixel size in the scaling of the file, which is in metres; a scaling in pixels says nothing."""
    if root is None:
        return None
    metres: dict[str, float] = {}
    for scaling in walk(root, "Scaling"):
        for distance in walk(scaling, "Distance"):
            value = next((element.text for element in walk(distance, "Value")), None)
            metres.setdefault(distance.get("Id", ""), to_float(value))
    if "X" not in metres or "Y" not in metres:
        return None
    return FoundResolution(metres["X"] * 1e6, metres["Y"] * 1e6, "vendor")
