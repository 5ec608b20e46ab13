"""Turns, mirrors, blurs and shakes what is learned from, planes and targets alike."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # or importing it asks the network for a newer version
import albumentations

if TYPE_CHECKING:
    import numpy.typing as npt

    FloatArray = npt.NDArray[np.float32]

_LOW, _SPAN = -1.0, 5.0
"""Planes of -1 to 4 lie in the range 0 to 1 that albumentations clips floating-point images to."""
_BLUR_SHARE = 0.15
_BLUR_SIGMA_PX = (0.3, 1.0)


class Augment:
    """One of the eight ways to lay a square, now and then out of focus, with a little other strength and noise.

    Laying and focus are albumentations'. Strength, offset and noise are our own: its noise and brightness know one kind
    of image, but each of the three planes errs by itself.
    """

    def __init__(self) -> None:
        self._transforms = albumentations.Compose(
            [albumentations.D4(p=1), albumentations.GaussianBlur(0, _BLUR_SIGMA_PX, p=_BLUR_SHARE)]
        )

    def __call__(
        self, planes: FloatArray, targets: FloatArray, rng: np.random.Generator
    ) -> tuple[FloatArray, FloatArray]:
        """Change one example.

        Parameters
        ----------
        planes, targets : (3, S, S), (K, S, S) float32
            Targets (centre maps or masks) are laid the same way and otherwise left alone.
        rng : numpy.random.Generator
            The same state gives the same change.
        """
        self._transforms.set_random_seed(int(rng.integers(2**31)))
        unit = np.moveaxis((planes - np.float32(_LOW)) / np.float32(_SPAN), 0, -1)
        changed = self._transforms(
            image=np.ascontiguousarray(unit), mask=np.ascontiguousarray(np.moveaxis(targets, 0, -1))
        )
        planes = np.moveaxis(changed["image"], -1, 0) * np.float32(_SPAN) + np.float32(_LOW)
        return _shaken(planes, rng), np.ascontiguousarray(np.moveaxis(changed["mask"], -1, 0))


def _shaken(planes: FloatArray, rng: np.random.Generator) -> FloatArray:
    gain = np.exp(rng.normal(0, (0.18, 0.10, 0.20)))[:, None, None]
    offset = rng.normal(0, (0.015, 0.01, 0.015))[:, None, None]
    noise = rng.standard_normal(planes.shape, dtype=np.float32) * np.float32(abs(rng.normal(0, 0.015)))
    return np.ascontiguousarray(planes * gain + offset + noise, np.float32)
