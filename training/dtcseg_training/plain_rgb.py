"""Colours instead of stain planes: what the networks would see if no stain were known (`ablation`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dtcseg.stain.brightfield import BrightfieldProfile

if TYPE_CHECKING:
    import numpy.typing as npt

    from dtcseg.screen import SlideProfile


class PlainRgb:
    """A profile without stains."""

    ck_spread = 0.0
    ck_background = 0.0
    ck_cutoff = 0.0
    marks_leukocytes = False
    signature: tuple[float, ...] = ()

    @classmethod
    def instead_of(cls, profile: SlideProfile) -> SlideProfile:
        """Put a brightfield profile aside; fluorescence has no colours and stays as it is."""
        return cls() if isinstance(profile, BrightfieldProfile) else profile

    def planes(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Show how dark each colour is: (H, W, 3) uint8 to (3, H, W) float32, 0 (white) to 1."""
        return np.ascontiguousarray(1 - pixels.transpose(2, 0, 1).astype(np.float32) / 255)
