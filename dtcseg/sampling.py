"""Nuclei counted on a random sample of fields instead of everywhere (`--count sampled`), with what that costs.

A field is a square of 256 µm. Fields with any screened area are drawn with equal chances and without replacement; the
number of nuclei is the ratio of nuclei to screened area in the sample, times the screened area of the slide: the ratio
estimator of Cochran (1977, Sampling Techniques, 3rd edition, chapter 6), with its variance between fields and the
correction for drawing from finitely many. Its bias falls with the number of fields and is far below its error.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

from dtcseg.quality import BLOCK_PX, Code

if TYPE_CHECKING:
    from dtcseg.quality import QualityMap

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]

FIELD_BLOCKS = 4
"""Side of a field in blocks of the quality map: 256 µm, about 140 cells of a usual spot."""
SHARE, LEAST = 0.10, 100
"""Fields counted: a tenth, and never fewer than this. Where the density varies by a quarter from field to field, as on
a usual cytospin, 100 fields give the count to 2.5 %."""


@dataclass(frozen=True)
class Estimate:
    """Nuclei of a slide, from a sample.

    Attributes
    ----------
    total : float
    half_width : float
        Of the 95 % interval that belongs to the sample alone.
    """

    total: float
    half_width: float


def field_areas_mm2(quality: QualityMap) -> FloatArray:
    """Screened area of each field of a slide, (rows, cols) float64."""
    screened = np.where(quality.codes == Code.SCREENED, quality.grid.areas_mm2(), 0.0)
    return _sums(screened)


def draw_fields(areas_mm2: FloatArray, *, share: float = SHARE, least: int = LEAST, seed: int = 0) -> BoolArray:
    """Draw fields with equal chances among those with screened area; the same ones on every run.

    Parameters
    ----------
    areas_mm2 : (rows, cols) float64
        `field_areas_mm2`.
    share, least : float, int
        How many; all where there are not more than `least`.
    seed : int

    Returns
    -------
    (rows, cols) bool
    """
    there = np.flatnonzero(areas_mm2 > 0)
    number = min(max(int(np.ceil(share * there.size)), least), there.size)
    drawn = np.zeros(areas_mm2.size, bool)
    drawn[np.random.default_rng(seed).permutation(there)[:number]] = True
    return drawn.reshape(areas_mm2.shape)


def estimate_total(counts: npt.NDArray[np.int64], areas_mm2: FloatArray, drawn: BoolArray) -> Estimate:
    """Estimate the nuclei of a slide from those of the fields drawn.

    Parameters
    ----------
    counts : (rows, cols) int64
        Nuclei in each field; only those of the fields drawn are looked at.
    areas_mm2 : (rows, cols) float64
    drawn : (rows, cols) bool
    """
    fields, number = int((areas_mm2 > 0).sum()), int(drawn.sum())
    y, area = counts[drawn].astype(np.float64), areas_mm2[drawn]
    if not number or not area.sum():
        return Estimate(0.0, 0.0)
    ratio = y.sum() / area.sum()
    total = float(ratio * areas_mm2.sum())
    if number in (1, fields):
        return Estimate(total, 0.0)
    rest = y - ratio * area
    variance = fields**2 * (1 - number / fields) * (rest @ rest) / (number - 1) / number
    variance *= (areas_mm2.sum() / fields / area.mean()) ** 2
    return Estimate(total, float(stdtrit(number - 1, 0.975) * np.sqrt(variance)))


def blocks_of(fields: BoolArray, shape: tuple[int, ...]) -> BoolArray:
    """Mark the blocks (rows, cols) of the quality map that lie in fields."""
    blocks = np.repeat(np.repeat(fields, FIELD_BLOCKS, 0), FIELD_BLOCKS, 1)
    return blocks[: shape[0], : shape[1]]


def counted_in(
    nuclei: npt.NDArray[np.float32], fields: BoolArray, shape: tuple[int, ...]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Keep the nuclei in the fields drawn, and count them.

    Parameters
    ----------
    nuclei : (N, 3) float32
        x, y in working pixels, and logit; in the screened area.
    fields : (rows, cols) bool
        Blocks in fields drawn, `blocks_of`.
    shape : (int, int)
        Fields down and across.

    Returns
    -------
    nuclei : (M, 3) float32
    counts : `shape` int64
    """
    at = (nuclei[:, 1::-1].astype(np.int64) // BLOCK_PX).clip(0, np.array(fields.shape) - 1)
    inside = fields[at[:, 0], at[:, 1]]
    counts = np.zeros(shape, np.int64)
    np.add.at(counts, tuple(at[inside].T // FIELD_BLOCKS), 1)
    return nuclei[inside], counts


def _sums(blocks: FloatArray) -> FloatArray:
    """Sum what lies in each field; fields at the end may have fewer blocks."""
    down = np.add.reduceat(blocks, np.arange(0, blocks.shape[0], FIELD_BLOCKS), axis=0)
    return np.add.reduceat(down, np.arange(0, blocks.shape[1], FIELD_BLOCKS), axis=1)
