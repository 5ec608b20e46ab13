"""What a tile tells about each block of 64 x 64 µm in it: focus, staining, crowding, artefact.

Everything is computed inside the block alone, so it does not depend on how the slide was tiled. The
work is done on 2 µm pixels (means of 2 x 2): defocus that matters here is wider than that, and
averaging halves the noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
import numpy.typing as npt

BLOCK_PX = 64
"""Side of a block in pixels of the working resolution (1 µm)."""
HALF_PX = BLOCK_PX // 2

GROUND_RANK = 1024 // 5
"""A fifth of the 2 µm pixels of a block lie between its nuclei, however crowded it is: what they show is the ground."""
MOST_GROUND = 0.2
"""More is no shading of the glass (0.08 at most, on a pale slide times the greatest nuclear scale of 2.5) but stain."""
TRACE_OD = 0.06
"""Stain above this is not background: four times the noise of a 2 µm pixel (0.03 in a 1 µm pixel, halved)."""
COVER_OD = 0.10
"""A pixel with this much of any stain holds something: twice the faintest cytoplasm, three times the noise."""
NUCLEUS_SHARE = 0.5
"""Nuclear pixels have at least this share of the block's staining: the half-height rule."""
NUCLEUS_MOST = 0.30
"""... but never need more than half of what a typical nucleus has (the planes are scaled to about 0.6), or nuclei
lying over each other would hide the single ones between them."""
OPAQUE = 2.5
"""Nuclear stain no nucleus has (optical density; in fluorescence four times the typical nucleus)."""
FOREIGN_OD = 0.6
"""Brightfield: this much colour outside the plane of the two stains is ink or pigment, not a cell."""

FAR_GAIN = 1.35
"""Curvature of neighbouring lines over that of the lines after them at the limit of focus (measured: 1.2 to 1.5)."""

DOUBTFUL, CLEAR = 0.45, 0.60
"""Of twenty simulated fields blurred by 6 µm before strong JPEG none looked sharper than 0.41 by neighbouring lines;
sharp fields, real or simulated, lie at 0.59 and above."""

_Float = TypeVar("_Float", np.float32, np.float64)
_FIELDS = (
    "gradient",
    "curvature",
    "far",
    "noise",
    "staining",
    "clear",
    "nuclear",
    "trace",
    "mean",
    "pale",
    "cover",
    "artefact",
)


@dataclass(frozen=True)
class BlockStats:
    """Statistics of a rectangle of blocks.

    Attributes
    ----------
    values : (rows, cols, 12) float32
        One value a statistic, in the order of the properties below; NaN where nothing was measured.
    """

    values: npt.NDArray[np.float32]

    @classmethod
    def empty(cls, rows: int, cols: int) -> BlockStats:
        """Make room for a slide; every block is still to be measured."""
        return cls(np.full((rows, cols, len(_FIELDS)), np.nan, dtype=np.float32))

    def put(self, row: int, col: int, part: BlockStats) -> None:
        """Write the statistics of a tile, its top left block at (row, col), into this array."""
        rows, cols = part.values.shape[:2]
        if not (0 <= row <= row + rows <= self.values.shape[0] and 0 <= col <= col + cols <= self.values.shape[1]):
            raise ValueError(f"{rows} x {cols} blocks at ({row}, {col}) do not fit {self.values.shape[:2]}")
        self.values[row : row + rows, col : col + cols] = part.values

    def _get(self, name: str) -> npt.NDArray[np.float32]:
        return self.values[..., _FIELDS.index(name)]

    @property
    def measured(self) -> npt.NDArray[np.bool_]:
        """Blocks that were measured."""
        return np.asarray(np.isfinite(self.values).all(axis=-1))

    @property
    def gradient(self) -> npt.NDArray[np.float32]:
        """First difference along a line times that of the next line, mean of both directions, stain² per 2 µm step.

        Edges go on from line to line and noise does not, so it is the energy of the edges alone; the same
        holds for the curvatures.
        """
        return self._get("gradient")

    @property
    def curvature(self) -> npt.NDArray[np.float32]:
        """Second difference along a line times that of the next line."""
        return self._get("curvature")

    @property
    def far(self) -> npt.NDArray[np.float32]:
        """Second difference along a line times that of the line after the next, times `FAR_GAIN`.

        Blocks of JPEG go on from one 2 µm line to the next, but hardly farther. Fine detail of a sharp
        nucleus does not either, so this tells blur from noise only where `curvature` is in doubt.
        """
        return self._get("far")

    @property
    def noise(self) -> npt.NDArray[np.float32]:
        """Standard deviation of white noise in a 2 µm pixel of the nuclear plane."""
        return self._get("noise")

    @property
    def staining(self) -> npt.NDArray[np.float32]:
        """Nuclear stain averaged over itself (sum f² / sum f above background): how dark the nuclei are."""
        return self._get("staining")

    @property
    def clear(self) -> npt.NDArray[np.float32]:
        """The same of what stands out from the ground between the nuclei of the block: shading does not count."""
        return self._get("clear")

    @property
    def nuclear(self) -> npt.NDArray[np.float32]:
        """Share of the block that nuclei cover, 0..1: crowding."""
        return self._get("nuclear")

    @property
    def trace(self) -> npt.NDArray[np.float32]:
        """Share of the block with any nuclear stain above the background, 0..1: what focus is measured on."""
        return self._get("trace")

    @property
    def mean(self) -> npt.NDArray[np.float32]:
        """Mean of the nuclear plane."""
        return self._get("mean")

    @property
    def pale(self) -> npt.NDArray[np.float32]:
        """Share of the block with something on it that has no nuclear stain, 0..1."""
        return self._get("pale")

    @property
    def cover(self) -> npt.NDArray[np.float32]:
        """Share of the block that is not glass, 0..1."""
        return self._get("cover")

    @property
    def artefact(self) -> npt.NDArray[np.float32]:
        """Share of the block that no cell looks like: opaque, or of a foreign colour, 0..1."""
        return self._get("artefact")

    @property
    def sharpness(self) -> npt.NDArray[np.float32]:
        """Curvature over gradient, (rows, cols) float32; NaN where nothing rises above the noise.

        Two energies of the same edges: neither the strength of the stain nor the number of nuclei is in
        their ratio, which falls with the square of the blur. Noise can take it below 0.
        """
        gradient = np.where(self.gradient > 0, self.gradient, np.nan)
        return sharpness_of(self.curvature / gradient, self.far / gradient).astype(np.float32)


def sharpness_of(near: npt.NDArray[_Float], far: npt.NDArray[_Float]) -> npt.NDArray[_Float]:
    """Sharpness from the curvatures of neighbouring and of farther lines, both over the gradient.

    Above `CLEAR` no JPEG comes near and the first is the answer; below `DOUBTFUL` the smaller one is;
    between, from one to the other.
    """
    clear = np.clip((near - DOUBTFUL) / (CLEAR - DOUBTFUL), 0, 1)
    return np.asarray(clear * near + (1 - clear) * np.minimum(near, far))


def block_statistics(
    planes: npt.NDArray[np.float32], kind: Literal["brightfield", "fluorescence"] = "brightfield"
) -> BlockStats:
    """Measure every block of a tile.

    Parameters
    ----------
    planes : (H, W, 3) float32
        Nuclear, cytokeratin and rest at 1 µm/px, its corner on a corner of the block grid. H and W are
        multiples of 64 except at the right and lower end of the slide, where the last block is what is
        there of it, mirrored.
    kind : {"brightfield", "fluorescence"}
        In fluorescence the rest is a marker (CD45), in brightfield a colour no stain has.

    Returns
    -------
    BlockStats
        ceil(H / 64) x ceil(W / 64) blocks.
    """
    if planes.ndim != 3 or planes.shape[2] != 3 or 0 in planes.shape:
        raise ValueError(f"three planes (H, W, 3) are needed, not {planes.shape}")
    down, across = -planes.shape[0] % BLOCK_PX, -planes.shape[1] % BLOCK_PX
    if down or across:
        planes = np.pad(planes, ((0, down), (0, across), (0, 0)), mode="symmetric")
    rows, cols = planes.shape[0] // BLOCK_PX, planes.shape[1] // BLOCK_PX
    values = np.empty((rows, cols, len(_FIELDS)), dtype=np.float32)
    for row in range(rows):
        strip = planes[row * BLOCK_PX : (row + 1) * BLOCK_PX].astype(np.float32, copy=False)
        values[row] = _strip(strip, kind == "brightfield")
    return BlockStats(values)


def _total(values: npt.NDArray[np.float32], cols: int) -> npt.NDArray[np.float32]:
    """Sum (n, cols * m) over each block: down first, one row after the other, then across.

    Running sums add in one order; a plain sum picks its order by the shape, and a tile of one block
    would then differ in the last bit from the same block in a wider tile.
    """
    down = values.sum(axis=0, dtype=np.float32).reshape(cols, -1)
    return np.asarray(np.add.accumulate(down, axis=1)[:, -1])


def _strip(strip: npt.NDArray[np.float32], brightfield: bool) -> npt.NDArray[np.float32]:
    """Statistics of one row of blocks: (64, 64 * cols, 3) float32 -> (cols, 12) float32."""
    cols = strip.shape[1] // BLOCK_PX
    nuclear, keratin, rest = (_halved(strip[..., plane]) for plane in range(3))
    other = np.maximum(keratin, rest)
    difference = strip[0::2, :, 0] - strip[1::2, :, 0]
    diagonal = difference[:, 0::2] - difference[:, 1::2]
    diagonal *= diagonal
    noise = _total(diagonal, cols) / np.float32(16 * HALF_PX**2)
    # In brightfield the sum of both stains is nearly the luminance, which JPEG spoils least.
    edges = _edges(nuclear + keratin if brightfield else nuclear, cols)

    pixels = np.float32(HALF_PX**2)
    opaque = nuclear > np.float32(OPAQUE)
    if brightfield:
        opaque |= np.abs(rest) > np.float32(FOREIGN_OD)
    covered = (nuclear > np.float32(COVER_OD)) | (other > np.float32(COVER_OD))
    trace = _share(nuclear > np.float32(TRACE_OD), cols)
    mean, staining = _total(nuclear, cols) / pixels, _staining(nuclear, cols)

    nuclear = nuclear - _ground(nuclear, cols)
    clear = _staining(nuclear, cols)
    level = np.clip(np.float32(NUCLEUS_SHARE) * clear, np.float32(COVER_OD), np.float32(NUCLEUS_MOST))
    level = np.repeat(level, HALF_PX)[None, :]
    pale = (other > np.float32(COVER_OD)) & (nuclear <= np.float32(COVER_OD))
    return np.stack(
        [
            *edges,
            np.sqrt(noise),
            staining,
            clear,
            _share(nuclear > level, cols),
            trace,
            mean,
            _share(pale, cols),
            _share(covered, cols),
            _share(opaque, cols),
        ],
        axis=-1,
    ).astype(np.float32)


def _halved(plane: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Means of 2 x 2 pixels."""
    pair = plane[0::2] + plane[1::2]
    half = pair[:, 0::2] + pair[:, 1::2]
    half *= np.float32(0.25)
    return np.ascontiguousarray(half)


def _staining(nuclear: npt.NDArray[np.float32], cols: int) -> npt.NDArray[np.float32]:
    """Nuclear stain of each block averaged over itself."""
    trace = np.where(nuclear > np.float32(TRACE_OD), nuclear, np.float32(0))
    return np.asarray(_total(trace * trace, cols) / np.maximum(_total(trace, cols), np.float32(1e-6)), np.float32)


def _ground(nuclear: npt.NDArray[np.float32], cols: int) -> npt.NDArray[np.float32]:
    """Stain of what lies between the nuclei of each block, (1, 32 * cols): shaded glass is neither cell nor crowd."""
    blocks = nuclear.reshape(HALF_PX, cols, HALF_PX).transpose(1, 0, 2).reshape(cols, -1)
    low = np.partition(blocks, GROUND_RANK, axis=1)[:, GROUND_RANK]
    ground = np.repeat(np.clip(low, 0, MOST_GROUND).astype(np.float32), HALF_PX)
    return np.asarray(ground[None, :], dtype=np.float32)


def _share(mask: npt.NDArray[np.bool_], cols: int) -> npt.NDArray[np.float32]:
    """Share of each block where the mask (32, 32 * cols) is True."""
    down = np.add.reduce(mask.view(np.uint8), axis=0, dtype=np.uint8)
    counts = down.reshape(cols, HALF_PX).sum(axis=1, dtype=np.int64)
    return np.asarray(counts / HALF_PX**2, dtype=np.float32)


def _edges(plane: npt.NDArray[np.float32], cols: int) -> list[npt.NDArray[np.float32]]:
    """Gradient, curvature and far curvature inside each block of (32, 32 * cols), both directions."""
    blocks = plane.reshape(HALF_PX, cols, HALF_PX)
    first_down, first_across = blocks[1:] - blocks[:-1], blocks[:, :, 1:] - blocks[:, :, :-1]
    second_down, second_across = first_down[1:] - first_down[:-1], first_across[:, :, 1:] - first_across[:, :, :-1]

    def energy(down: npt.NDArray[np.float32], across: npt.NDArray[np.float32], lag: int) -> npt.NDArray[np.float32]:
        """Mean product of lines `lag` apart; columns for differences down, rows for those across."""
        number = down.shape[0] * (HALF_PX - lag)
        both = _total((down[:, :, lag:] * down[:, :, :-lag]).reshape(down.shape[0], -1), cols)
        both += _total((across[lag:] * across[:-lag]).reshape(HALF_PX - lag, -1), cols)
        return both / np.float32(2 * number)

    return [
        energy(first_down, first_across, 1),
        energy(second_down, second_across, 1),
        np.float32(FAR_GAIN) * energy(second_down, second_across, 2),
    ]
