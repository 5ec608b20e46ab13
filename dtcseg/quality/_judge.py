"""From what was measured on each block to what can be said of it, with its neighbours heard."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from dtcseg.quality._blocks import sharpness_of
from dtcseg.quality._codes import Code

if TYPE_CHECKING:
    from dtcseg.quality._blocks import BlockStats

FloatGrid = npt.NDArray[np.float64]
BoolGrid = npt.NDArray[np.bool_]

MIN_SHARPNESS = 0.32
"""Least `BlockStats.sharpness` that is screened. Measured on real and simulated nuclei (docs/quality.md): all
stay above it up to a blur of 1.5 µm (standard deviation), all fall below it at 4 µm."""
TOP_SHARPNESS = 0.6
"""More counts as this, twice the limit: the border between sharp and blurred then lies where it is, and one speck
of sharp dust over blurred cells does not outvote them."""
FULL_EVIDENCE = 0.04
"""Share of nuclear stain from which a block has full say: about three nuclei. More cells give no more
weight, or dense blocks would judge their neighbours."""
SOFT_EDGES = 0.03
"""Gradient of nuclei at the limit of focus, as a share of their stain squared (measured: 0.02 to 0.04)."""
NOISE_WEIGHT = 5.0
"""Gradient over noise² at which the sharpness of a block is known to 0.1 (then its weight is halved); from the
variance of the mean of 1,860 squared second differences."""
MIN_WEIGHT = 0.5
"""Weight at which a neighbourhood has said enough; one clear block, or many noisy ones."""
FLAT_COVER = 0.5
"""A block covered to this share without any edge is out of focus beyond measure."""
FLAT_STAIN = 0.15
"""Mean nuclear stain above which a block without edges counts as covered."""
MIN_STAINING = 0.12
"""Least nuclear staining that is screened: a light haematoxylin is 0.3, noise goes up to 0.06."""
MIN_STAIN_TO_NOISE = 4.0
"""Least ratio of staining to the noise of a 2 µm pixel: below it nuclei and noise peaks look alike."""
CELL_COVER = 0.02
"""Share of a neighbourhood under cells that makes weak nuclei a fault of the staining: below it there are none."""
NO_NUCLEI = 0.003
"""Share of a slide under nuclei that stand out from the ground, below which there are none (60 cells/mm²)."""
PALE_COVER = 0.05
PALE_RATIO = 0.08
"""Cells whose nuclei take no stain at all: things without nuclear stain cover this much of 7 x 7 blocks (a squame
or a smudge covers 0.01 of them), and nuclei less than this share of that (red cells have some nuclei among them)."""
MAX_NUCLEAR = 0.64
"""Most of a neighbourhood (3 x 3 and 5 x 5 blocks, 0.2 and 0.3 mm wide) that nuclei may cover. Simulated fields
reach 0.54 to 0.61 at 12,000 cells/mm² and 0.60 to 0.77 at 16,000; the densest real cytospin at hand (about 8,000)
0.50. A clump of tumour cells is smaller than the wider neighbourhood and must stay in."""
MAX_ARTEFACT = 0.5
"""Share of a block under ink or anything else that is no cell, from which on the block is not screened."""


def judge(
    stats: BlockStats,
    spot: npt.NDArray[np.float32] | BoolGrid,
    *,
    ink: npt.NDArray[np.float32] | None = None,
    unreadable: BoolGrid | None = None,
) -> npt.NDArray[np.uint8]:
    """Say of every block of a slide what can be said of it.

    Where several things are wrong the one that explains the others is given: unreadable, ink, blurred,
    unstained, overcrowded. Blocks in a spot that were never measured are unreadable: nobody looked at them.

    Parameters
    ----------
    stats : BlockStats
        Of the whole slide, (rows, cols).
    spot : (rows, cols) float32 or bool
        Share of each block that lies in a spot; any share above 0 makes it part of the spot.
    ink : (rows, cols) float32, optional
        Share of each block under ink, from the overview.
    unreadable : (rows, cols) bool, optional
        Blocks that could not be decoded.

    Returns
    -------
    (rows, cols) uint8
        Values of `Code`.
    """
    inside = np.asarray(spot, dtype=np.float32) > 0
    lost = ~stats.measured if unreadable is None else ~stats.measured | unreadable
    seen = inside & ~lost
    covered = np.where(seen, np.nan_to_num(stats.artefact), 0.0)
    if ink is not None:
        covered = np.maximum(covered, ink)
    artefact = inside & (covered >= MAX_ARTEFACT)

    usable = seen & ~artefact
    weight = _weight(stats, usable)
    blurred = _blurred(stats, usable, weight)
    unstained = _unstained(stats, usable, weight)
    crowding = np.minimum(_around(stats.nuclear, usable, 1), _around(stats.nuclear, usable, 2))
    crowded = _settle(usable & (crowding > MAX_NUCLEAR), usable)

    codes = np.where(inside, Code.SCREENED, Code.OUTSIDE).astype(np.uint8)
    for mask, code in (
        (crowded, Code.OVERCROWDED),
        (unstained, Code.UNSTAINED),
        (blurred, Code.BLURRED),
        (artefact, Code.INK),
        (inside & lost, Code.UNREADABLE),
    ):
        codes[mask] = code
    return codes


def focus_map(stats: BlockStats, usable: BoolGrid) -> npt.NDArray[np.float32]:
    """Sharpness of every block as `judge` sees it, (rows, cols) float32; NaN where nothing tells."""
    return _focus(stats, usable, _weight(stats, usable)).astype(np.float32)


def _flat(stats: BlockStats) -> BoolGrid:
    """Blocks covered by stain in which nothing has an edge: out of focus beyond measure."""
    no_edges = np.nan_to_num(stats.gradient) < np.nan_to_num(stats.noise) ** 2
    return np.asarray(no_edges & (stats.cover >= FLAT_COVER) & (stats.mean >= FLAT_STAIN))


def _contrast(stats: BlockStats) -> FloatGrid:
    """Stain squared of a block, summed over its stained share: the scale of its edges, (rows, cols) float64."""
    trace, staining = np.nan_to_num(stats.trace), np.nan_to_num(stats.staining)
    return np.asarray(np.maximum(trace.astype(np.float64) * staining.astype(np.float64) ** 2, 1e-9))


def _weight(stats: BlockStats, usable: BoolGrid) -> FloatGrid:
    """How much each block can say about focus and staining, 0..1, (rows, cols) float64.

    Little stain says little, and so do edges that would hardly rise out of the noise (inverse of the variance).
    """
    amount = np.minimum(np.nan_to_num(stats.trace).astype(np.float64) / FULL_EVIDENCE, 1.0)
    doubt = NOISE_WEIGHT * np.nan_to_num(stats.noise).astype(np.float64) ** 2 / (SOFT_EDGES * _contrast(stats))
    return np.where(usable, np.where(_flat(stats), MIN_WEIGHT, amount / (1.0 + doubt**2)), 0.0)


def _smooth(values: FloatGrid, weight: FloatGrid, kernel: FloatGrid) -> tuple[FloatGrid, FloatGrid]:
    """Weighted mean over a neighbourhood, and the weight behind it."""
    total = ndimage.convolve(weight, kernel, mode="constant")
    mean = ndimage.convolve(weight * values, kernel, mode="constant") / np.maximum(total, 1e-12)
    return np.where(total > 1e-9, mean, np.nan), total


def _spread(values: FloatGrid, weight: FloatGrid) -> FloatGrid:
    """Mean of each block and its neighbours; where these say too little, of an ever wider neighbourhood.

    First 3 x 3 blocks with the middle one counting most, then 7 x 7, 15 x 15, at last everything.
    """
    near = np.outer([1.0, 2.0, 1.0], [1.0, 2.0, 1.0]) / 4.0
    result, total = _smooth(values, weight, near)
    enough = total >= MIN_WEIGHT
    for side in (7, 15):
        wider, total = _smooth(values, weight, np.ones((side, side)))
        result = np.where(enough, result, wider)
        enough |= total >= MIN_WEIGHT
    everywhere = float((weight * values).sum() / weight.sum()) if weight.any() else float("nan")
    return np.where(enough, result, everywhere)


def _focus(stats: BlockStats, usable: BoolGrid, weight: FloatGrid) -> FloatGrid:
    """Sharpness of every block, its neighbours heard, (rows, cols) float64; NaN where nothing tells.

    Each block counts by its ratio of curvature to gradient. Where noise leaves that open, both are averaged
    each for itself, so that their noise averages out.
    """
    edges = usable & ~_flat(stats)
    noise = np.nan_to_num(stats.noise).astype(np.float64)
    scale = np.maximum(np.nan_to_num(stats.gradient).astype(np.float64), 2 * NOISE_WEIGHT * noise**2 + 1e-9)
    gradient, near, far = (
        np.where(edges, np.nan_to_num(energy), 0.0) / scale for energy in (stats.gradient, stats.curvature, stats.far)
    )
    top = TOP_SHARPNESS * np.abs(gradient)
    below = _spread(gradient, weight)
    ratios = (_spread(np.minimum(above, top), weight) / np.where(below > 0, below, 1.0) for above in (near, far))
    focus = np.where(below > 0, sharpness_of(*ratios), 0.0)
    return np.where(np.isfinite(below), focus, np.nan)


def _blurred(stats: BlockStats, usable: BoolGrid, weight: FloatGrid) -> BoolGrid:
    focus = _focus(stats, usable, weight)
    return _settle(usable & (np.nan_to_num(focus, nan=np.inf) < MIN_SHARPNESS), usable)


def _unstained(stats: BlockStats, usable: BoolGrid, weight: FloatGrid) -> BoolGrid:
    """Blocks that hold cells whose nuclei cannot be told from nothing."""
    staining = np.where(usable, np.nan_to_num(stats.clear), 0.0)
    noise = np.where(usable, np.nan_to_num(stats.noise), 0.0)
    level = np.nan_to_num(_spread(staining, weight))
    weak = (level < MIN_STAINING) | (level < MIN_STAIN_TO_NOISE * _around(noise, usable, 1))
    cells = np.maximum(_around(stats.pale, usable, 1), _around(stats.nuclear, usable, 1))
    if not usable.any() or float(stats.nuclear[usable].mean()) < NO_NUCLEI:  # a veil may be all that is left of them
        cells = np.maximum(cells, _around(stats.cover, usable, 1))
    pale = _around(stats.pale, usable, 3)
    bare = (pale >= PALE_COVER) & (_around(stats.nuclear, usable, 3) < PALE_RATIO * pale)
    return _settle(usable & ((weak & (cells >= CELL_COVER)) | bare), usable)


def _around(values: npt.NDArray[np.float32] | FloatGrid, usable: BoolGrid, reach: int) -> FloatGrid:
    """Mean over the usable blocks of a square neighbourhood of 2 * reach + 1 blocks; 0 where there are none."""
    side = 2 * reach + 1
    weight = usable.astype(np.float64)
    mean, _ = _smooth(np.where(usable, values, 0.0).astype(np.float64), weight, np.ones((side, side)))
    return np.nan_to_num(mean)


def _settle(mask: BoolGrid, usable: BoolGrid) -> BoolGrid:
    """Let a block follow its neighbours where five in six of them, at least, say otherwise."""
    share = _around(mask.astype(np.float64), usable, 1)
    count = ndimage.convolve(usable.astype(np.float64), np.ones((3, 3)), mode="constant")
    alone = np.where(mask, share * count - 1, share * count) / np.maximum(count - 1, 1)
    several = count >= 4
    return np.asarray(usable & np.where(several & (alone > 5 / 6), True, mask & ~(several & (alone < 1 / 6))))
