"""Pen strokes on a brightfield overview: blue, green and black ink, told by colour and by being solid."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from dtcseg.quality._glass import strongest, total, weakest

INK_OD = 0.35
"""A stroke absorbs at least this much in its strongest channel: cells of a spot at 8 µm/px average below it."""
RIM_OD = 0.12
"""The feathered rim of a stroke still absorbs this much."""
BLEND_UM = 40.0
"""Colours are averaged over this width first, so that cells under the ink make no holes in it."""
STROKE_UM = 100.0
"""A stroke is solid over a disc of this diameter; cells stand apart, clumps of cells are smaller."""
MIN_INK_MM2 = 0.05
BLUE_TILT = 0.06
"""Blue ink takes at least this share more red than green light; haematoxylin takes less of it."""
BLACK_OD = 0.6
BLACK_EVEN = 0.6
"""Black ink absorbs this much in every channel, and in the weakest this share of the strongest;
haematoxylin lets blue through (0.4 of the strongest), DAB red (0.5)."""


def find_ink(density: npt.NDArray[np.float32], mpp_um: float) -> npt.NDArray[np.bool_]:
    """Find pen strokes.

    Red ink is not looked for: by its colour it could be a sheet of cytokeratin-positive cells.

    Parameters
    ----------
    density : (h, w, 3) float32
        Optical density of red, green and blue light over glass.
    mpp_um : float

    Returns
    -------
    (h, w) bool
    """
    width = max(1, round(BLEND_UM / mpp_um))
    density = np.stack([ndimage.uniform_filter(density[..., i], width, mode="nearest") for i in range(3)], axis=-1)
    coloured = _ink_coloured(density)
    strong = coloured & (strongest(density) >= INK_OD)
    if not strong.any():
        return np.zeros_like(coloured)
    radius = max(1, round(STROKE_UM / 2 / mpp_um))
    core = ndimage.distance_transform_edt(np.pad(strong, 1, mode="edge"))[1:-1, 1:-1] > radius
    if not core.any():
        return np.zeros_like(strong)
    # Back to the full width of the stroke, rim included.
    near = ndimage.distance_transform_edt(~core) <= radius + 2
    stroke = near & (strong | (strongest(density) >= RIM_OD))
    labels, _ = ndimage.label(stroke)
    large = np.bincount(labels.ravel()) * (mpp_um / 1000) ** 2 >= MIN_INK_MM2
    large[0] = False
    return np.asarray(large[labels])


def _ink_coloured(density: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """Pixels of a colour that ink has and no stain: (h, w, 3) float32 -> (h, w) bool.

    Shares of the density in (red, green, blue): haematoxylin 0.40, 0.43, 0.17; new fuchsin about 0.1,
    0.6, 0.3; DAB 0.23, 0.35, 0.42 (Ruifrok and Johnston 2001 for the first and the last). Blue ink takes
    far more red than green light, green ink more red and blue than green light.
    """
    clipped = np.maximum(density, np.float32(0))
    red, green, blue = clipped[..., 0], clipped[..., 1], clipped[..., 2]
    all_three = np.maximum(total(clipped), np.float32(1e-3))
    blue_ink = (red - green > BLUE_TILT * all_three) & (blue < 0.3 * all_three)
    green_ink = (green < 0.28 * all_three) & (red > 0.35 * all_three) & (red - green > 0.08 * all_three)
    least = weakest(clipped)
    black_ink = (least >= BLACK_OD) & (least >= BLACK_EVEN * strongest(clipped))
    return np.asarray(blue_ink | green_ink | black_ink)
