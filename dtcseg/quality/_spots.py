"""Where the cell deposits lie on a slide, from a coarse overview.

The rule is to err on the side of including: what could hold cells is screened, only clear glass is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeVar

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from dtcseg.quality._glass import absorbance, find_glass, strongest
from dtcseg.quality._ink import find_ink

if TYPE_CHECKING:
    from dtcseg.quality._grid import BlockGrid

Mask = npt.NDArray[np.bool_]
_Value = TypeVar("_Value", bound=np.generic)

COARSE_UM = 8.0
"""Overviews finer than this are averaged down to about it: a cell is then one or two pixels."""
MOST_PIXELS = 5_000_000
"""Overviews of more pixels than this (at 8 µm/px: 320 mm², a whole slide) are averaged to twice that, where a cell
still shows."""
REACH_UM = 150.0
"""Standard deviation of the neighbourhood in which cells are gathered into a deposit: 0.14 mm², where a
sparse spot of 500 cells/mm² has 70 cells."""
MIN_COVER = 0.004
"""Least share of that neighbourhood under cells that makes it a deposit: about 30 cells/mm² (a cell darkens
130 µm² of an overview). Clean glass has none; a spot is screened at a hundredth of its usual density."""
MAX_HOLE_MM2 = 25.0
"""Empty places inside a deposit up to this size belong to it."""
SPECK_OBJECTS = 5
SPECK_MM2 = 0.05
"""A deposit of fewer objects than this, together smaller than this, is dust or a fibre on clear glass."""
FIELD_MM2 = 4.0
"""An image smaller than this is a field of view that somebody chose: unless it is blank, all of it is the spot."""
LINE_WIDTH_UM = 60.0
LINE_LENGTH_UM = 2000.0
"""A connected thing longer and on average thinner than this is the edge of a coverslip or of the slide."""
RIM_UM = 50.0
"""What lies this close to ink is its feathered rim; cells there are found again by their neighbours."""
INK_REACH_UM = 500.0
"""Ink this close to a deposit is taken to lie on it: half the width of a broad pen, so that a stroke across a
deposit is excluded as ink and not taken for glass."""
FRAME_LEVEL = 40
"""Brightfield pixels darker than this in all channels are no light: frames, tape, the stage."""
FRAME_MM2 = 0.3
"""Size from which such a patch is a frame rather than a dark clump."""


@dataclass(frozen=True)
class Spot:
    """One cell deposit: its bounding box (µm from the top left corner of the slide) and its area."""

    x_um: float
    y_um: float
    width_um: float
    height_um: float
    area_mm2: float


@dataclass(frozen=True, eq=False)
class Spots:
    """The cell deposits of a slide.

    Attributes
    ----------
    mask : (h, w) bool
        Deposits, at the resolution of the overview.
    ink : (h, w) bool
        Pen strokes, inside deposits or not.
    mpp_um : float
        Pixel size of both masks.
    spots : tuple of Spot
        Largest first.
    glass : (3,) float64 or None
        RGB level of clean glass, the white point; None in fluorescence and where no glass is seen.
    flags : tuple of str
        "no_spot", "dark" (no light came through), "no_glass", "ink".
    """

    mask: Mask
    ink: Mask
    mpp_um: float
    spots: tuple[Spot, ...]
    glass: npt.NDArray[np.float64] | None
    flags: tuple[str, ...]

    def cover(self, grid: BlockGrid) -> npt.NDArray[np.float32]:
        """Share of each block of a grid inside a deposit, (rows, cols) float32."""
        return grid.cover(self.mask, self.mpp_um)

    def ink_cover(self, grid: BlockGrid) -> npt.NDArray[np.float32]:
        """Share of each block of a grid under ink, (rows, cols) float32."""
        return grid.cover(self.ink, self.mpp_um)

    def to_json(self) -> dict[str, object]:
        """Return spots, glass and flags as plain JSON values; the masks stay behind."""
        return {
            "mpp_um": self.mpp_um,
            "spots": [
                {key: round(getattr(spot, key), 4) for key in ("x_um", "y_um", "width_um", "height_um", "area_mm2")}
                for spot in self.spots
            ],
            "glass": None if self.glass is None else [round(float(level), 2) for level in self.glass],
            "flags": list(self.flags),
        }


def find_spots(overview: npt.NDArray[np.generic], mpp_um: float, kind: Literal["brightfield", "fluorescence"]) -> Spots:
    """Find the cell deposits on an overview of the slide.

    Parameters
    ----------
    overview : (h, w, 3) uint8, or (h, w) of any number type
        Brightfield RGB, or the nuclear channel in fluorescence.
    mpp_um : float
        Pixel size of the overview, 2 to 32 µm (8 to 16 is right; finer ones are averaged).
    kind : {"brightfield", "fluorescence"}
    """
    if not 0 < mpp_um <= 64:
        raise ValueError(f"an overview of {mpp_um} µm/px shows no cells")
    image = np.asarray(overview, dtype=np.float32)
    if image.ndim != (3 if kind == "brightfield" else 2) or 0 in image.shape:
        raise ValueError(f"a {kind} overview cannot have the shape {image.shape}")
    large = image.shape[0] * image.shape[1] * (mpp_um / COARSE_UM) ** 2 > MOST_PIXELS
    factor = max(1, min(round((2 if large else 1) * COARSE_UM / mpp_um), *image.shape[:2]))
    coarse = _average(image, factor)
    work_um = mpp_um * factor
    flags: list[str] = []
    glass: npt.NDArray[np.float64] | None = None
    ink = np.zeros(coarse.shape[:2], dtype=bool)
    if kind == "brightfield":
        frame = _frame(coarse, work_um)
        level, clear = find_glass(coarse, ~frame)
        if frame.all() or (level is not None and level.max() < 2 * FRAME_LEVEL):
            flags.append("dark")
            cells = np.zeros_like(frame)
        elif level is None:
            flags.append("no_glass")
            ink = find_ink(absorbance(coarse, None, clear), work_um) & ~frame
            cells = ~frame & ~ink
        else:
            glass = level
            density = absorbance(coarse, level, clear)
            ink = find_ink(density, work_um) & ~frame
            cells = _stained(density, clear) & ~frame & ~_grow(ink, RIM_UM, work_um)
    else:
        cells = _glowing(coarse)
    mask = _deposits(cells, work_um)
    # Ink on a deposit hides cells that may be there; ink beside it hides glass.
    if ink.any():
        mask |= ink & _grow(mask, INK_REACH_UM, work_um)
        flags.append("ink")
    if not mask.any():
        flags.insert(0, "no_spot")
    shape = image.shape[:2]
    return Spots(
        _back(mask, factor, shape),
        _back(ink, factor, shape),
        float(mpp_um),
        _list(mask, work_um),
        glass,
        tuple(flags),
    )


def _average(image: npt.NDArray[np.float32], factor: int) -> npt.NDArray[np.float32]:
    """Mean over squares of `factor` pixels; the last row and column of squares are filled by repetition."""
    if factor == 1:
        return image
    pad = [(0, -image.shape[0] % factor), (0, -image.shape[1] % factor)] + [(0, 0)] * (image.ndim - 2)
    full = np.pad(image, pad, mode="edge")
    rows, cols = full.shape[0] // factor, full.shape[1] // factor
    return np.asarray(full.reshape(rows, factor, cols, factor, *full.shape[2:]).mean(axis=(1, 3)), dtype=np.float32)


def _back(mask: npt.NDArray[_Value], factor: int, shape: tuple[int, ...]) -> npt.NDArray[_Value]:
    """Bring a mask or labels back to the size of the overview."""
    return np.repeat(np.repeat(mask, factor, axis=0), factor, axis=1)[: shape[0], : shape[1]]


def _frame(coarse: npt.NDArray[np.float32], mpp_um: float) -> Mask:
    """Find large patches without any light."""
    dark = strongest(coarse) < FRAME_LEVEL
    labels, count = ndimage.label(dark)
    if count == 0:
        return np.asarray(dark, dtype=bool)
    sizes = np.bincount(labels.ravel()) * (mpp_um / 1000) ** 2
    on_border = np.zeros(count + 1, dtype=bool)
    for line in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        on_border[line] = True
    keep = (sizes >= FRAME_MM2) & on_border
    keep[0] = False
    frame = keep[labels]
    return np.asarray(ndimage.binary_dilation(frame, iterations=2) if frame.any() else frame, dtype=bool)


def _stained(density: npt.NDArray[np.float32], clear: Mask) -> Mask:
    """Pixels that absorb more than clean glass does: (h, w, 3) float32 optical density over glass -> (h, w) bool."""
    most = strongest(density)
    middle = float(np.median(most[clear]))
    noise = 1.4826 * float(np.median(np.abs(most[clear] - middle)))
    # 5 sigma: none in a million pixels by chance. Below 0.02 lie the steps of 8 bits and of JPEG, above
    # 0.06 a light nucleus would be lost.
    return np.asarray(most > np.float32(np.clip(middle + 5 * noise, 0.02, 0.06)))


def _glowing(coarse: npt.NDArray[np.float32]) -> Mask:
    """Pixels brighter than the background of the nuclear channel, (h, w) float32 -> (h, w) bool."""
    values = coarse[np.isfinite(coarse)]
    if values.size == 0:
        return np.zeros(coarse.shape, dtype=bool)
    # The darkest quarter is background, or as near to it as this image comes. For noise alone the 25th
    # percentile lies 0.67 and the first 2.33 sigma below the middle; three times their distance above the
    # 25th is then 4.3 sigma above it.
    low, quarter, high = (float(level) for level in np.percentile(values, [1, 25, 99.9]))
    # A blank channel varies by a few percent of its own offset once so many pixels are averaged.
    if high - quarter < max(4 * (quarter - low), 0.1 * abs(quarter), 3.0):
        # Either nothing glows, or cells lie so close that not even a quarter is ground: no lamp is so uneven.
        crowded = high > 4 * max(low, 0.0) + 10
        return np.asarray(coarse > low + 0.2 * (high - low)) if crowded else np.zeros(coarse.shape, dtype=bool)
    return np.asarray(coarse > quarter + max(3 * (quarter - low), 0.02 * (high - quarter), 1.0))


def _deposits(cells: Mask, mpp_um: float) -> Mask:
    """Join separate cells into deposits; drop lines and specks."""
    pixel_mm2 = (mpp_um / 1000) ** 2
    if not cells.any():
        return np.zeros_like(cells)
    if cells.size * pixel_mm2 < FIELD_MM2:
        return np.ones_like(cells)
    labels, _ = ndimage.label(cells, structure=np.ones((3, 3)))
    labels = _without_lines(labels, mpp_um)
    cells = labels > 0
    factor = max(1, round(REACH_UM / 3 / mpp_um))
    share = _average(cells.astype(np.float32), factor)
    cover = ndimage.gaussian_filter(share, REACH_UM / (mpp_um * factor), mode="nearest", truncate=3)
    mask = _fill(cover > MIN_COVER, MAX_HOLE_MM2 / (pixel_mm2 * factor**2))
    regions, number = ndimage.label(mask)
    fine = _back(regions, factor, cells.shape)
    # One pixel of each object stands for it: the objects of a region are counted by these.
    _, first = np.unique(labels, return_index=True)
    home = fine.ravel()[first[labels.ravel()[first] > 0]]
    objects = np.bincount(home, minlength=number + 1)
    areas = np.bincount(fine[cells], minlength=number + 1) * pixel_mm2
    keep = (objects >= SPECK_OBJECTS) | (areas >= SPECK_MM2)
    keep[0] = False
    return np.asarray(keep[fine])


def _without_lines(labels: npt.NDArray[np.int32], mpp_um: float) -> npt.NDArray[np.int32]:
    """Take long thin things out of a label image."""
    sizes = np.bincount(labels.ravel())
    keep = np.ones(sizes.size, dtype=bool)
    for label, where in enumerate(ndimage.find_objects(labels), start=1):
        if where is None:
            continue
        length = max(where[0].stop - where[0].start, where[1].stop - where[1].start)
        if length * mpp_um >= LINE_LENGTH_UM and sizes[label] * mpp_um <= LINE_WIDTH_UM * length:
            keep[label] = False
    return np.asarray(np.where(keep[labels], labels, 0), dtype=np.int32)


def _fill(mask: Mask, largest_px: float) -> Mask:
    """Fill holes up to a size."""
    holes = ndimage.binary_fill_holes(mask) & ~mask
    labels, count = ndimage.label(holes)
    if count == 0:
        return mask
    sizes = np.bincount(labels.ravel())
    fill = sizes <= largest_px
    fill[0] = False
    return np.asarray(mask | fill[labels])


def _grow(mask: Mask, by_um: float, mpp_um: float) -> Mask:
    """Dilate by a distance."""
    if not mask.any():
        return mask
    return np.asarray(ndimage.distance_transform_edt(~mask) * mpp_um <= by_um)


def _list(mask: Mask, mpp_um: float) -> tuple[Spot, ...]:
    """List the connected deposits, largest first, then from top to bottom and left to right."""
    labels, _ = ndimage.label(mask)
    sizes = np.bincount(labels.ravel()) * (mpp_um / 1000) ** 2
    spots = [
        Spot(
            where[1].start * mpp_um,
            where[0].start * mpp_um,
            (where[1].stop - where[1].start) * mpp_um,
            (where[0].stop - where[0].start) * mpp_um,
            float(sizes[label]),
        )
        for label, where in enumerate(ndimage.find_objects(labels), start=1)
    ]
    return tuple(sorted(spots, key=lambda spot: (-spot.area_mm2, spot.y_um, spot.x_um)))
