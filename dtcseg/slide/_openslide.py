"""MIRAX and whatever else OpenSlide reads; also what the TIFF adapter leaves to it (joined Ventana and Leica areas)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import PIL.Image

from dtcseg.errors import SlideError, UnreadableSlide
from dtcseg.slide._common import (
    ASK_FOR_COPY,
    RGB,
    FileSlide,
    FoundResolution,
    check_segment,
    check_size,
    make_levels,
)
from dtcseg.slide._tiff_meta import to_float

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dtcseg.slide._base import PixelArray

_FORMATS = {
    "mirax": "MIRAX",
    "hamamatsu": "Hamamatsu",
    "sakura": "Sakura SVSLIDE",
    "trestle": "Trestle TIFF",
    "ventana": "Ventana BIF",
    "leica": "Leica SCN",
    "aperio": "Aperio SVS",
    "philips": "Philips TIFF",
    "zeiss": "Zeiss CZI",
}


class OpenSlideSlide(FileSlide):
    """A file read through OpenSlide, brightfield RGB; see `Slide` for the contract.

    What the scanner left out is transparent there, and becomes white: glass that was seen to be empty.
    """

    _handle: Any = None
    _bounds_px: list[int] | None = None

    def _open(self) -> FoundResolution | None:
        import openslide

        try:
            # A plain TIFF is read, or refused for cause, by its own adapter. OpenSlide takes any tiled page of a
            # TIFF that it does not know for the scan, and that may be the label.
            if openslide.OpenSlide.detect_format(str(self.path)) in (None, "generic-tiff"):
                raise UnreadableSlide(self.path, f"is of no scanner's format that OpenSlide knows; {ASK_FOR_COPY}")
            self._handle = openslide.OpenSlide(str(self.path))
            return self._parse(openslide)
        except SlideError:
            raise
        except Exception as error:  # ctypes, the library's own errors, damaged property values
            raise UnreadableSlide(self.path, f"the file is damaged ({error}); {ASK_FOR_COPY}") from error

    def close(self) -> None:
        """Close the file; closing twice is allowed."""
        if self._handle is not None:
            self._handle.close()
            self._handle = None

    @property
    def references(self) -> dict[str, object]:
        """The bounds of what was scanned; see `Slide`."""
        return {"bounds_px": self._bounds_px}

    def _parse(self, openslide: Any) -> FoundResolution | None:
        properties = self._handle.properties
        self._bounds_px = _bounds(properties, openslide)
        vendor = properties.get(openslide.PROPERTY_NAME_VENDOR, "")
        self.format_name = f"{_FORMATS.get(vendor, vendor)} (OpenSlide)"
        self.kind, self.channels = "brightfield", RGB
        sizes = list(self._handle.level_dimensions)
        check_size(self.path, *sizes[0])
        for number in range(len(sizes)):
            width, height = (properties.get(f"openslide.level[{number}].tile-{side}") for side in ("width", "height"))
            if width and height:
                check_segment(self.path, int(width) * int(height) * 4)
        self._numbers, self.levels = make_levels(sizes)
        mpp_x = properties.get(openslide.PROPERTY_NAME_MPP_X)
        mpp_y = properties.get(openslide.PROPERTY_NAME_MPP_Y)
        if mpp_x is None and mpp_y is None:
            return None
        return FoundResolution(to_float(mpp_x or mpp_y), to_float(mpp_y or mpp_x), "vendor")

    def _read(self, level: int, x_px: int, y_px: int, width_px: int, height_px: int) -> PixelArray:
        if self._handle is None:
            raise ValueError("the slide is closed")
        number = self._numbers[level]
        # OpenSlide takes the corner in level-0 pixels and divides by its own factor.
        factor = self._handle.level_downsamples[number]
        corner = (round(x_px * factor), round(y_px * factor))
        region = self._handle.read_region(corner, number, (width_px, height_px))
        flat = PIL.Image.new("RGB", region.size, "white")
        flat.paste(region, mask=region.getchannel("A"))
        return np.asarray(flat)


def _bounds(properties: Mapping[str, str], openslide: Any) -> list[int] | None:
    """Read x, y, width and height of the scanned part, level-0 pixels, where the file states them."""
    names = (
        openslide.PROPERTY_NAME_BOUNDS_X,
        openslide.PROPERTY_NAME_BOUNDS_Y,
        openslide.PROPERTY_NAME_BOUNDS_WIDTH,
        openslide.PROPERTY_NAME_BOUNDS_HEIGHT,
    )
    stated = [properties.get(name) for name in names]
    try:
        return [int(value) for value in stated if value is not None] if None not in stated else None
    except ValueError:
        return None
