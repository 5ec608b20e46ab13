"""PNG and JPEG fields of view: one level, decoded once."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import PIL.Image

from dtcseg.errors import SlideError, UnreadableSlide, UnsuitableSlide
from dtcseg.slide._base import Level, PixelArray
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

# Resolution that programs write when they know none: screens and printers.
_USELESS_DPI = frozenset({0, 1, 72, 96, 100, 150, 200, 300, 600})


_AS_PYRAMID = "export it as a tiled pyramidal TIFF"


class ImageSlide(FileSlide):
    """A PNG or JPEG image; see `Slide` for the contract. Grey images have one channel."""

    _pixels: Any = None

    def _open(self) -> FoundResolution | None:
        try:
            with warnings.catch_warnings():
                # The library warns of large images; the limits here are tighter than its own.
                warnings.simplefilter("ignore")
                return self._parse()
        except SlideError:
            raise
        except PIL.Image.DecompressionBombError as error:
            raise UnsuitableSlide(self.path, f"is too large for PNG or JPEG; {_AS_PYRAMID}") from error
        except Exception as error:  # the decoders raise many kinds, SyntaxError and OverflowError among them
            raise UnreadableSlide(self.path, f"cannot be decoded ({error}); {ASK_FOR_COPY}") from error

    def close(self) -> None:
        """Forget the pixels; closing twice is allowed."""
        self._pixels = None

    def _parse(self) -> FoundResolution | None:
        with PIL.Image.open(self.path, formats=("PNG", "JPEG")) as image:
            check_size(self.path, *image.size)
            bands = len(image.getbands())
            try:
                check_segment(self.path, image.width * image.height * bands)
            except DamagedSlide:
                raise UnsuitableSlide(
                    self.path, f"is too large for PNG or JPEG ({image.width} x {image.height} px); {_AS_PYRAMID}"
                ) from None
            if getattr(image, "n_frames", 1) > 1:
                raise UnsuitableSlide(self.path, "is an animation, not a slide; export one image")
            self.format_name = image.format or "image"
            # The library refuses images above its own limit, which is tighter than ours.
            self._pixels = _to_array(self, image)
            found = _stated_resolution(image)
        height, width, channels = self._pixels.shape
        self.levels = (Level(width, height, 1.0),)
        if channels == 3:
            self.kind, self.channels = "brightfield", RGB
        else:
            self.kind, self.channels = "fluorescence", name_channels(self.path, self.settings, (), channels)
        return found

    def _read(self, level: int, x_px: int, y_px: int, width_px: int, height_px: int) -> PixelArray:
        if self._pixels is None:
            raise ValueError("the slide is closed")
        region: PixelArray = self._pixels[y_px : y_px + height_px, x_px : x_px + width_px].copy()
        return region


def _to_array(slide: ImageSlide, image: PIL.Image.Image) -> PixelArray:
    """Decode to (y, x, 1 or 3); palettes and alpha become RGB on white."""
    if image.mode in ("L", "I;16", "I;16B", "I;16L"):
        grey = np.asarray(image)
        return np.ascontiguousarray(grey.astype(grey.dtype.newbyteorder("="))[:, :, None])
    if image.mode == "1":
        raise UnsuitableSlide(slide.path, "is black and white without greys; export it as 8-bit RGB")
    if image.mode in ("I", "F"):
        raise UnsuitableSlide(slide.path, "has 32-bit pixels, and 8- or 16-bit are needed; export it as such")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        flat = PIL.Image.new("RGBA", rgba.size, "white")
        return np.asarray(PIL.Image.alpha_composite(flat, rgba).convert("RGB"))
    return np.asarray(image.convert("RGB"))


def _stated_resolution(image: PIL.Image.Image) -> FoundResolution | None:
    """Pixel size of the image's own resolution field, where it is one that a camera and not a printer has."""
    dpi = image.info.get("dpi")
    if not isinstance(dpi, tuple) or len(dpi) != 2:
        return None
    x, y = float(dpi[0]), float(dpi[1])
    if round(x) in _USELESS_DPI or round(y) in _USELESS_DPI:
        return None
    return FoundResolution(25_400.0 / x, 25_400.0 / y, "tiff_tags")
