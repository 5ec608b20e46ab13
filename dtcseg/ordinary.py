"""A slide's ordinary cells, which set the zero of cytokeratin: its sample without what the first look stops at."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np
from scipy import ndimage

from dtcseg.network.peaks import CANDIDATE_APART_PX, candidate_logits, core_peaks
from dtcseg.search import screen_field

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from dtcseg.network.engine import Engine
    from dtcseg.screen import SlideProfile
    from dtcseg.slide._base import PixelArray

_AROUND_UM = 15.0
"""Half of a tumour cell of common size (20 µm across), and 5 µm for what optics and JPEG carry beside it."""
_LEAST_SHARE = 0.2
"""With less of the sample left, candidates are no exception on this slide, and all of it counts."""
_PATCH_UM, _PATCH_OD = 40.0, 0.35
"""Mean cytokeratin over so wide a square that no ordinary cells reach, crowded as they may be: pen ink in the colour of
the stain, a fold, a lump. Ink over a twentieth of a small spot hid faint tumour cells all over it."""
_MOST_PATCHED = 0.5
"""Where more of the sample lies in such patches they are no exception but the slide: of a section whose epithelium is
stained all over, the rest would set a zero that makes every cell of it a tumour cell."""


def ordinary_pixels(fields: Sequence[PixelArray], profile: SlideProfile, engine: Engine, mpp_um: float) -> PixelArray:
    """Leave candidates, and what lies around them, out of a sample of fields, and stain over more than a cell.

    A slide with many CK+ cells (a control, a heavily infiltrated marrow) would otherwise pass their stain for the
    background and the spread of its ordinary cells: with 60 tumour cells among 2,500, the spread was read up to thirty
    times too high, and a tumour cell in ten was missed for it.

    Parameters
    ----------
    fields : sequence of (H, W, C) uint8 or uint16
        At about 1 µm/px.
    profile : SlideProfile
        Estimated from the whole of them.
    engine : Engine
    mpp_um : float
        Pixel size of the fields.

    Returns
    -------
    (N, C) uint8 or uint16
        Pixels in the order of the fields.
    """
    exceptions = [_exceptions(field, profile, engine, mpp_um) for field in fields]
    size = sum(near.size for near, _ in exceptions)
    patched = sum(int(patch.sum()) for _, patch in exceptions) > _MOST_PATCHED * size
    kept = [~near if patched else ~(near | patch) for near, patch in exceptions]
    if sum(int(mask.sum()) for mask in kept) < _LEAST_SHARE * size:
        kept = [np.ones_like(mask) for mask in kept]
    return cast("PixelArray", np.concatenate([field[mask] for field, mask in zip(fields, kept, strict=True)]))


def _exceptions(
    field: PixelArray, profile: SlideProfile, engine: Engine, mpp_um: float
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Pixels (H, W) of a field that are near candidates, and those in patches of stain wider than cells."""
    seen = profile.planes(field)  # type: ignore[arg-type]
    maps, tile = screen_field(engine, seen)
    found = core_peaks(candidate_logits(maps), tile, engine.info.card.candidate_threshold, CANDIDATE_APART_PX)
    near = np.zeros(field.shape[:2], bool)
    if len(found):
        near[tuple(np.round(found[:, 1::-1]).astype(int).T)] = True
        near = ndimage.distance_transform_edt(~near) <= _AROUND_UM / mpp_um
    side_px = round(_PATCH_UM / mpp_um)
    stained = seen[1] + np.float32(profile.ck_background)  # whose zero is perhaps that of the patch
    patch = ndimage.uniform_filter(stained, side_px) > _PATCH_OD
    return near, ndimage.maximum_filter(patch, side_px)
