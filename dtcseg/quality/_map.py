"""The quality map of a slide: which area was screened, what was left out, and what to tell the reader."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from dtcseg.quality._codes import CODE_COLOURS, CODE_NAMES, EXCLUDED, Code
from dtcseg.quality._grid import BlockGrid

MIN_ASSESSABLE = 0.5
"""A slide of which less than half of the spot was screened is not assessed: the part left out is the larger one."""
WORTH_SAYING = 0.01
"""A reason is named from one percent of the spot on; less than that moves no result. Damage to the file always is."""
FEW_CELLS = 1000
"""Fewer nucleated cells than this say next to nothing: none found in 1000 still allows 3,700 in 10^6 (95 %)."""


@dataclass(frozen=True, eq=False)
class QualityMap:
    """Verdict on every block of a slide.

    Attributes
    ----------
    grid : BlockGrid
        Where the blocks lie.
    codes : (rows, cols) uint8
        Values of `Code`.
    """

    grid: BlockGrid
    codes: npt.NDArray[np.uint8]

    def __post_init__(self) -> None:
        """Check that grid and codes fit."""
        if self.codes.shape != (self.grid.rows, self.grid.cols) or self.codes.dtype != np.uint8:
            raise ValueError(f"codes {self.codes.shape} do not fit a grid of {self.grid.rows} x {self.grid.cols}")
        if self.codes.size and self.codes.max() > max(Code):
            raise ValueError(f"code {self.codes.max()} means nothing")

    def __eq__(self, other: object) -> bool:
        """Tell whether two maps say the same of the same grid."""
        if not isinstance(other, QualityMap):
            return NotImplemented
        return self.grid == other.grid and np.array_equal(self.codes, other.codes)

    __hash__ = None  # type: ignore[assignment]

    def area_mm2(self, code: Code) -> float:
        """Area with this code, mm²; blocks over the edge of the slide count as far as they are on it."""
        return float(self.grid.areas_mm2()[self.codes == code].sum())

    def spot_mm2(self) -> float:
        """Area of the spots, screened or not, mm²."""
        return float(self.grid.areas_mm2()[self.codes != Code.OUTSIDE].sum())

    def excluded_mm2(self) -> dict[str, float]:
        """Area inside the spots that was not screened, by reason, mm²; reasons without area are left out."""
        areas = {CODE_NAMES[code]: self.area_mm2(code) for code in EXCLUDED}
        return {name: area for name, area in areas.items() if area > 0}

    def assessable(self) -> bool:
        """Tell whether enough of the spot was screened for a negative result to mean anything."""
        spot = self.spot_mm2()
        return spot > 0 and self.area_mm2(Code.SCREENED) >= MIN_ASSESSABLE * spot

    def codes_at(self, x_um: npt.ArrayLike, y_um: npt.ArrayLike) -> npt.NDArray[np.uint8]:
        """Return the code at each point (µm from the top left corner of the slide); beyond the grid `OUTSIDE`."""
        x, y = np.broadcast_arrays(np.asarray(x_um, dtype=np.float64), np.asarray(y_um, dtype=np.float64))
        inside = (x >= 0) & (y >= 0) & (x < self.grid.width_um) & (y < self.grid.height_um)
        row = np.minimum(np.where(inside, y, 0) // self.grid.block_um, self.grid.rows - 1).astype(np.intp)
        col = np.minimum(np.where(inside, x, 0) // self.grid.block_um, self.grid.cols - 1).astype(np.intp)
        return np.asarray(np.where(inside, self.codes[row, col], Code.OUTSIDE), dtype=np.uint8)

    def is_screened(self, x_um: npt.ArrayLike, y_um: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """Tell for each point whether it lies in the screened area."""
        return np.asarray(self.codes_at(x_um, y_um) == Code.SCREENED)

    def flags(self, mnc: int | None = None) -> tuple[str, ...]:
        """Words for `qc`, worst first.

        `no_spot` stands alone. Else `not_assessable` where less than half of the spot was screened, then
        the reasons by falling area with their share of the spot (`blurred:23%`), then `few_cells`.

        Parameters
        ----------
        mnc : int, optional
            Nucleated cells counted; below `FEW_CELLS` they are few.
        """
        spot = self.spot_mm2()
        if spot == 0:
            return ("no_spot",)
        words = [] if self.assessable() else ["not_assessable"]
        reasons = sorted(self.excluded_mm2().items(), key=lambda item: (-item[1], item[0]))
        for name, area in reasons:
            if area >= WORTH_SAYING * spot:
                words.append(f"{name}:{round(100 * area / spot)}%")
            elif name == CODE_NAMES[Code.UNREADABLE]:
                words.append(f"{name}:<1%")
        if mnc is not None and mnc < FEW_CELLS:
            words.append("few_cells")
        return tuple(words)

    def to_json(self) -> dict[str, object]:
        """Return plain JSON values; the codes are one string of digits a row."""
        return {
            "block_um": self.grid.block_um,
            "width_um": self.grid.width_um,
            "height_um": self.grid.height_um,
            "names": {str(int(code)): name for code, name in CODE_NAMES.items()},
            "codes": ["".join(map(str, row)) for row in self.codes.tolist()],
        }

    @classmethod
    def from_json(cls, record: dict[str, object]) -> QualityMap:
        """Read back what `to_json` wrote; ValueError if it is anything else."""
        try:
            lines = record["codes"]
            if not isinstance(lines, list):
                raise TypeError("codes are not a list")
            codes = np.array([[int(digit) for digit in line] for line in lines], dtype=np.uint8)
            width, height, block = (float(str(record[key])) for key in ("width_um", "height_um", "block_um"))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"not a quality map ({error})") from error
        if codes.ndim != 2:
            raise ValueError("not a quality map (no rows)")
        return cls(BlockGrid(codes.shape[0], codes.shape[1], width, height, block), codes)

    def render_png(self, max_side_px: int = 400) -> bytes:
        """Draw the map as a small RGBA picture, glass transparent, one colour a code.

        Parameters
        ----------
        max_side_px : int
            The longer side of the picture has at most this many pixels; blocks are shown as squares
            of whole pixels, or thinned out where there are more of them than pixels.

        Returns
        -------
        bytes
            A PNG file.
        """
        palette = np.array([CODE_COLOURS[Code(code)] for code in range(len(Code))], dtype=np.uint8)
        longest = max(self.codes.shape)
        codes = self.codes[:: -(-longest // max_side_px), :: -(-longest // max_side_px)]
        scale = max(1, max_side_px // max(codes.shape))
        picture = np.repeat(np.repeat(palette[codes], scale, axis=0), scale, axis=1)
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, format="PNG", optimize=True)
        return buffer.getvalue()
