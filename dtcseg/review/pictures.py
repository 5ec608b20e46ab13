"""Pictures of single cells at full resolution, for the gallery."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np
import numpy.typing as npt

from dtcseg.errors import UnreadableRegion

if TYPE_CHECKING:
    from dtcseg.screen import Profile
    from dtcseg.slide import Slide

PICTURE_UM = 48.0
"""Side of a thumbnail: a large tumour cell with the cells around it."""
_FULL_SIGNAL = 1.2
_GROUND = 128


def picture(slide: Slide, profile: Profile | None, x_px: float, y_px: float, side_px: int) -> npt.NDArray[np.uint8]:
    """Read the square around a place at full resolution.

    Parameters
    ----------
    slide : Slide
    profile : Profile or None
        Scales fluorescence; without it each channel is scaled by its own range.
    x_px, y_px : float
        Level-0 pixels.
    side_px : int

    Returns
    -------
    (side_px, side_px, 3) uint8
        RGB; mid-grey off the slide and where it cannot be decoded. Fluorescence as napari shows it: cytokeratin green,
        leukocyte marker red, nuclei blue.
    """
    left, top = round(x_px) - side_px // 2, round(y_px) - side_px // 2
    size = slide.levels[0]
    x0, y0 = max(left, 0), max(top, 0)
    x1, y1 = min(left + side_px, size.width_px), min(top + side_px, size.height_px)
    result = np.full((side_px, side_px, 3), _GROUND, np.uint8)
    if x1 <= x0 or y1 <= y0:
        return result
    try:
        pixels = slide.read(0, x0, y0, x1 - x0, y1 - y0)
    except UnreadableRegion:
        return result
    shown = pixels if slide.kind == "brightfield" else _in_colours(pixels, profile)
    result[y0 - top : y1 - top, x0 - left : x1 - left] = shown
    return result


def _in_colours(pixels: npt.NDArray[np.generic], profile: Profile | None) -> npt.NDArray[np.uint8]:
    if profile is None:
        grey = pixels.astype(np.float32)
        low, high = grey.min(axis=(0, 1)), grey.max(axis=(0, 1))
        scaled = np.zeros((*grey.shape[:2], 3), np.float32)
        count = min(grey.shape[2], 3)
        scaled[..., :count] = ((grey - low) / np.maximum(high - low, 1.0))[..., :count]
    else:
        planes = profile.planes(cast("npt.NDArray[np.uint8]", pixels))
        scaled = np.stack([planes[2], planes[1], planes[0]], axis=-1) / _FULL_SIGNAL
    return cast("npt.NDArray[np.uint8]", (np.clip(scaled, 0, 1) ** 0.7 * 255).astype(np.uint8))
