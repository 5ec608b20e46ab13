"""Clean glass on a brightfield overview: its colour, and how far each pixel absorbs beyond it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Mask = npt.NDArray[np.bool_]
Image = npt.NDArray[np.float32]

FLAT_LEVELS = 6.0
"""The mean of the channels varies by no more than this many of 256 levels over 3 x 3 pixels of glass: 2.5 %,
which covers sensor noise and the steps of JPEG; single cells at 16 µm/px darken a pixel by 10 levels and more."""
MAX_TINT = 0.25
"""Glass may be tinted: its channels differ by at most this share of the brightest."""
MIN_BRIGHT = 0.6
"""Glass has at least this share of the brightest light on the slide."""
MIN_SHARE = 0.003
MIN_PIXELS = 12
"""Least share and number of flat bright pixels that are taken for glass and not for chance."""
PEAK_SHARE = 0.1
"""Of several flat levels the brightest one with at least this share of the flat pixels is glass."""
MAX_SHADE_OD = 0.10
"""Uneven light is followed up to this much: 20 % from the middle to the corners."""


def strongest(image: Image) -> Image:
    """Largest of the three channels, (h, w, 3) -> (h, w); much faster than `max` along a short axis."""
    return np.maximum(np.maximum(image[..., 0], image[..., 1]), image[..., 2])


def weakest(image: Image) -> Image:
    """Smallest of the three channels, (h, w, 3) -> (h, w)."""
    return np.minimum(np.minimum(image[..., 0], image[..., 1]), image[..., 2])


def total(image: Image) -> Image:
    """Sum of the three channels, (h, w, 3) -> (h, w)."""
    return image[..., 0] + image[..., 1] + image[..., 2]


def find_glass(image: Image, valid: Mask) -> tuple[npt.NDArray[np.float64] | None, Mask]:
    """Find the level of clean glass and the pixels that show it.

    The scanner's fill for what it did not scan (pure white without any noise) is not glass, unless there
    is nothing else.

    Parameters
    ----------
    image : (h, w, 3) float32
        RGB, 0..255.
    valid : (h, w) bool
        Pixels that are image (no frame).

    Returns
    -------
    level : (3,) float64 or None
        RGB of clean glass; None where none is seen.
    clear : (h, w) bool
        Glass pixels; all False where none is seen.
    """
    light = total(image) / np.float32(3)
    nothing = np.zeros(light.shape, dtype=bool)
    if not valid.any():
        return None, nothing
    swing = ndimage.maximum_filter(light, 3) - ndimage.minimum_filter(light, 3)
    brightest = float(np.percentile(light[valid], 99.5))
    top, bottom = strongest(image), weakest(image)
    tint = (top - bottom) / np.maximum(top, np.float32(1))
    flat = valid & (swing <= FLAT_LEVELS) & (light >= MIN_BRIGHT * brightest) & (tint <= MAX_TINT)
    fill = flat & (bottom >= 254) & (swing == 0)
    enough = max(MIN_PIXELS, MIN_SHARE * float(valid.sum()))
    if (flat & ~fill).sum() >= enough:
        flat &= ~fill
    elif flat.sum() < enough:
        return None, nothing
    mode = _brightest_mode(light[flat])
    near = flat & (np.abs(light - mode) <= 4)
    level = np.median(image[near], axis=0).astype(np.float64)
    shade = np.abs(np.log10(np.maximum(light, 1.0)) - np.log10(level.mean()))
    return level, flat & (shade <= MAX_SHADE_OD) | fill


def _brightest_mode(light: npt.NDArray[np.float32]) -> float:
    """Brightest level that a good part of the pixels share (peaks of the histogram, smoothed over 5 levels)."""
    counts = np.bincount(np.clip(np.rint(light), 0, 255).astype(np.intp), minlength=256).astype(np.float64)
    smooth = np.convolve(counts, np.ones(5), mode="same")
    peaks = (smooth >= np.roll(smooth, 1)) & (smooth > np.roll(smooth, -1)) & (smooth >= PEAK_SHARE * counts.sum())
    return float(np.flatnonzero(peaks)[-1]) if peaks.any() else float(np.argmax(smooth))


def _density(image: Image, level: npt.NDArray[np.float64]) -> Image:
    """Optical density of each channel against a white level."""
    return np.asarray(np.log10(level.astype(np.float32)) - np.log10(np.maximum(image, 1.0)), dtype=np.float32)


def absorbance(image: Image, level: npt.NDArray[np.float64] | None, clear: Mask) -> Image:
    """Optical density of each pixel over clean glass, uneven light taken out.

    Parameters
    ----------
    image : (h, w, 3) float32
    level : (3,) float64 or None
        None: the brightest level of each channel stands in.
    clear : (h, w) bool
        Glass pixels; a smooth surface of second degree through them follows the light.

    Returns
    -------
    (h, w, 3) float32
    """
    if level is None:
        level = np.maximum(np.percentile(image.reshape(-1, 3), 99.9, axis=0), 1.0)
    density = _density(image, level)
    if clear.sum() < max(200, 0.02 * clear.size):
        return density
    y, x = (np.linspace(-1, 1, size, dtype=np.float32) for size in clear.shape)
    rows, cols = np.nonzero(clear)
    step = max(1, rows.size // 20000)
    rows, cols = rows[::step], cols[::step]
    shade = density[rows, cols].mean(axis=-1, dtype=np.float64)
    terms = _terms(y[rows].astype(np.float64), x[cols].astype(np.float64))
    keep = np.ones(rows.size, dtype=bool)
    for _ in range(3):
        weights, *_ = np.linalg.lstsq(terms[keep], shade[keep], rcond=None)
        rest = np.abs(shade - terms @ weights)
        keep = rest <= max(3 * 1.4826 * float(np.median(rest)), 0.003)
    one, by_x, by_y, by_xx, by_xy, by_yy = (np.float32(weight) for weight in weights)
    surface = (one + by_x * x + by_xx * x * x)[None, :] + y[:, None] * (by_y + by_xy * x)[None, :]
    surface += (by_yy * y * y)[:, None]
    density -= np.clip(surface, np.float32(shade.min()), np.float32(shade.max()))[..., None]
    return density


def _terms(y: npt.NDArray[np.float64], x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Terms of a surface of second degree at points, (n, 6)."""
    return np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=-1)
