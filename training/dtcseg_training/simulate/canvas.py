"""What cells are drawn on: absorbing (or emitting) matter in micrometres, before any optics."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
BANK_PX = 256
LUT = 128
ANGLES = np.linspace(0.0, 2.0 * np.pi, LUT, endpoint=False)
_ORDERS = np.arange(2, 18)[:, None]
_COSINES, _SINES = np.cos(_ORDERS * ANGLES), np.sin(_ORDERS * ANGLES)
NOISE_UM = {"fine": 0.28, "mid": 0.55, "coarse": 1.1, "large": 2.8}


@dataclass(frozen=True)
class Shape:
    """A star-convex region: a centre and the radius in each of 128 directions.

    Attributes
    ----------
    x_um, y_um : float
        Centre in the frame of the canvas.
    radii_um : (128,) float64
        Radius at the angles `ANGLES` (from +x towards +y).
    """

    x_um: float
    y_um: float
    radii_um: npt.NDArray[np.float64]

    @property
    def reach_um(self) -> float:
        """Largest radius."""
        return float(self.radii_um.max())

    @property
    def area_um2(self) -> float:
        """Area of the polygon through the 128 points."""
        following = np.roll(self.radii_um, -1)
        return float(0.5 * np.sin(2 * np.pi / LUT) * np.sum(self.radii_um * following))

    def radius_at(self, angle: float) -> float:
        """Radius in one direction, in µm."""
        return float(self.radii_um[int(angle / (2 * np.pi) * LUT) % LUT])

    def ring(self, step: int = 2) -> npt.NDArray[np.float64]:
        """Return the closed ring of (x, y) in µm, first point repeated, shape (128 / step + 1, 2)."""
        index = np.r_[np.arange(0, LUT, step), 0]
        x = self.x_um + self.radii_um[index] * np.cos(ANGLES[index])
        y = self.y_um + self.radii_um[index] * np.sin(ANGLES[index])
        return np.stack([x, y], axis=1)


def blob(
    rng: np.random.Generator,
    x_um: float,
    y_um: float,
    radius_um: float,
    *,
    elongation: float = 1.0,
    roughness: float = 0.03,
    harmonics: int = 6,
) -> Shape:
    """Draw a smooth irregular region of a given mean radius.

    Parameters
    ----------
    rng : numpy.random.Generator
    x_um, y_um, radius_um : float
    elongation : float
        Ratio of the axes of the ellipse underneath.
    roughness : float
        Standard deviation of the relative radius; the harmonics 2, 3, … share it, falling as 1/k.
    harmonics : int
        Highest harmonic; more of them make ragged edges.
    """
    along = np.cos(ANGLES - rng.random() * 2 * np.pi)
    radii = radius_um / np.sqrt(elongation - (elongation - 1.0 / elongation) * along * along)
    weights = rng.standard_normal((2, harmonics)) * (roughness / np.arange(1, harmonics + 1))
    wave = weights[0] @ _COSINES[:harmonics] + weights[1] @ _SINES[:harmonics]
    return Shape(x_um, y_um, radii * np.minimum(np.maximum(1.0 + wave, 0.35), 2.0))


def notched(shape: Shape, rng: np.random.Generator, depth: float, width: float = 0.6) -> Shape:
    """Push one side of a shape in (bean-shaped nuclei); `depth` is a share of the radius, `width` radians."""
    away = (ANGLES - rng.random() * 2 * np.pi + np.pi) % (2 * np.pi) - np.pi
    return Shape(shape.x_um, shape.y_um, shape.radii_um * (1.0 - depth * np.exp(-((away / width) ** 2))))


def polygon(rng: np.random.Generator, x_um: float, y_um: float, radius_um: float, corners: int) -> Shape:
    """Draw a convex polygon with slightly rounded corners."""
    normals = (np.arange(corners) + rng.uniform(-0.3, 0.3, corners)) * 2 * np.pi / corners + rng.random() * 6.28
    apothem = radius_um * rng.uniform(0.7, 1.0, corners)
    facing = np.cos(ANGLES[None, :] - normals[:, None])
    reach = apothem[:, None] / np.maximum(facing, 0.08)
    radii = (np.minimum(reach, 1.6 * radius_um) ** -8.0).sum(axis=0) ** (-1 / 8.0)
    return Shape(x_um, y_um, radii * (1.0 + 0.01 * rng.standard_normal(LUT)))


class Bank:
    """Periodic noise at four grain sizes, drawn once and cut up for every cell.

    Parameters
    ----------
    seed : int
    mpp_um : float
        Pixel size of the canvas; the grain sizes are in µm (`NOISE_UM`, standard deviation of the grain).
    """

    def __init__(self, seed: int, mpp_um: float) -> None:
        rng = np.random.default_rng(seed)
        frequency = np.fft.fftfreq(BANK_PX)[:, None] ** 2 + np.fft.rfftfreq(BANK_PX)[None, :] ** 2
        self._noise: dict[str, FloatArray] = {}
        for name, grain_um in NOISE_UM.items():
            spectrum = np.fft.rfft2(rng.standard_normal((BANK_PX, BANK_PX)))
            sigma = grain_um / mpp_um
            keep = np.exp(-2.0 * np.pi**2 * sigma**2 * frequency)
            keep *= 1.0 - np.exp(-2.0 * np.pi**2 * (4.0 * sigma) ** 2 * frequency)
            plane = np.fft.irfft2(spectrum * keep, s=(BANK_PX, BANK_PX))
            self._noise[name] = np.tile((plane / plane.std()).astype(np.float32), (2, 2))

    def cut(self, name: str, shape: tuple[int, int], rng: np.random.Generator) -> FloatArray:
        """Cut a piece at a random place, turned at random; unit variance, shape as asked, float32."""
        y0, x0, turn = rng.integers(0, BANK_PX, 3)
        plane = self._noise[name]
        if turn & 1:
            plane = plane.T
        if max(shape) > BANK_PX:
            wrapped: FloatArray = plane[
                (np.arange(shape[0]) + y0)[:, None] % BANK_PX, (np.arange(shape[1]) + x0) % BANK_PX
            ]
            return wrapped
        piece = plane[y0 : y0 + shape[0], x0 : x0 + shape[1]]
        return piece[:: 1 if turn & 2 else -1, :: 1 if turn & 4 else -1]


class Canvas:
    """Planes of matter, and who is where.

    Parameters
    ----------
    height, width : int
        Pixels, margins included.
    mpp_um : float
        Pixel size.
    fluorescent : bool
        Whether light is emitted (CD45 and glow count) or absorbed (colours count).
    top, left : int
        Number of the first row and column in the endless pixel grid of the slide.
    shift_um : float
        Where the centre of pixel (0, 0) of that grid lies, the same along x and y.
    bank : Bank

    Attributes
    ----------
    dna, cytoplasm, cytokeratin, leukocyte : (height, width) float32
        Relative amounts; 1 is the nucleus of a lymphocyte, an optical density of one of the chromogen, the CD45 of
        a lymphocyte's membrane.
    colour : (height, width, 3) float32
        Optical density in R, G, B of everything with a colour of its own.
    glow : (height, width, 3) float32
        Light of its own in the three fluorescence channels (dust, fibres).
    nuclei, objects : (height, width) int32
        Number of the nucleus or CK object seen at a pixel, 0 for none, -1 for one that belongs to no truth cell.
    """

    def __init__(
        self,
        height: int,
        width: int,
        mpp_um: float,
        bank: Bank,
        *,
        fluorescent: bool,
        top: int = 0,
        left: int = 0,
        shift_um: float = 0.0,
    ) -> None:
        self.mpp_um = mpp_um
        self.fluorescent = fluorescent
        self.top = top
        self.left = left
        self.shift_um = shift_um
        self.bank = bank
        self.dna: FloatArray = np.zeros((height, width), np.float32)
        self.cytoplasm: FloatArray = np.zeros((height, width), np.float32)
        self.cytokeratin: FloatArray = np.zeros((height, width), np.float32)
        self.leukocyte: FloatArray = np.zeros((height, width), np.float32)
        self.colour: FloatArray = np.zeros((height, width, 3), np.float32)
        self.glow: FloatArray = np.zeros((height, width, 3), np.float32)
        self.nuclei: npt.NDArray[np.int32] = np.zeros((height, width), np.int32)
        self.objects: npt.NDArray[np.int32] = np.zeros((height, width), np.int32)

    def patch(self, x_um: float, y_um: float, reach_um: float) -> Patch | None:
        """Open a window around a point; None where it lies wholly off the canvas.

        The window may stick out over the border: a cell is always drawn whole, and clipped when it is laid down,
        so that neighbouring blocks of a slide show the two parts of the same cell.
        """
        height, width = self.dna.shape
        left = int(np.floor((x_um - reach_um - self.shift_um) / self.mpp_um)) - self.left
        right = int(np.ceil((x_um + reach_um - self.shift_um) / self.mpp_um)) + 1 - self.left
        top = int(np.floor((y_um - reach_um - self.shift_um) / self.mpp_um)) - self.top
        bottom = int(np.ceil((y_um + reach_um - self.shift_um) / self.mpp_um)) + 1 - self.top
        if right <= 0 or bottom <= 0 or left >= width or top >= height:
            return None
        return Patch(self, top, left, (bottom - top, right - left))


class Patch:
    """A window of a canvas with its coordinates in µm; it may stick out over the border.

    Attributes
    ----------
    x_um : (1, width) float32
    y_um : (height, 1) float32
    """

    def __init__(self, canvas: Canvas, top: int, left: int, shape: tuple[int, int]) -> None:
        self.canvas = canvas
        self.mpp_um = canvas.mpp_um
        self.shape = shape
        height, width = canvas.dna.shape
        first_row, first_column = max(top, 0), max(left, 0)
        last_row, last_column = min(top + shape[0], height), min(left + shape[1], width)
        self._onto = (slice(first_row, last_row), slice(first_column, last_column))
        self._part = (slice(first_row - top, last_row - top), slice(first_column - left, last_column - left))
        rows = np.arange(canvas.top + top, canvas.top + top + shape[0]) * canvas.mpp_um + canvas.shift_um
        columns = np.arange(canvas.left + left, canvas.left + left + shape[1]) * canvas.mpp_um + canvas.shift_um
        self.y_um: FloatArray = rows[:, None].astype(np.float32)
        self.x_um: FloatArray = columns[None, :].astype(np.float32)

    def polar(self, shape: Shape) -> tuple[FloatArray, FloatArray]:
        """Depth below the edge (µm, negative outside) and relative radius (1 at the edge), float32."""
        return self.around(shape.x_um, shape.y_um)(shape.radii_um)

    def around(self, x_um: float, y_um: float) -> Callable[[npt.NDArray[np.float64]], tuple[FloatArray, FloatArray]]:
        """Prepare `polar` for several shapes around one centre: call the result with the radii of each."""
        dx = self.x_um - np.float32(x_um)
        dy = self.y_um - np.float32(y_um)
        distance = np.sqrt(dx * dx + dy * dy)
        turn = np.arctan2(dy, dx)
        turn *= np.float32(LUT / (2 * np.pi))
        turn += np.float32(LUT // 2)
        lower = turn.astype(np.intp)
        turn -= lower

        def polar(radii_um: npt.NDArray[np.float64]) -> tuple[FloatArray, FloatArray]:
            table = np.empty(LUT + 2, np.float32)
            table[: LUT // 2] = radii_um[LUT // 2 :]
            table[LUT // 2 : LUT] = radii_um[: LUT // 2]
            table[LUT:] = table[:2]
            edge = (table[1:] - table[:-1]).take(lower)
            edge *= turn
            edge += table.take(lower)
            return edge - distance, distance / edge

        return polar

    def noise(self, name: str, rng: np.random.Generator) -> FloatArray:
        """Unit-variance noise of one grain size over the window."""
        return self.canvas.bank.cut(name, self.shape, rng)

    def soft(self, depth_um: FloatArray, edge_um: float) -> FloatArray:
        """Antialiased membership: 0 outside, 1 inside, a smooth ramp as wide as `edge_um` and at least a pixel."""
        ramp = depth_um * np.float32(1.0 / max(edge_um, self.mpp_um))
        ramp += np.float32(0.5)
        np.maximum(ramp, 0, out=ramp)
        np.minimum(ramp, 1, out=ramp)
        smooth: FloatArray = np.float32(3.0) - np.float32(2.0) * ramp
        smooth *= ramp
        smooth *= ramp
        return smooth

    def add(self, plane: FloatArray, amount: FloatArray) -> None:
        """Add matter to a plane of the canvas."""
        plane[self._onto] += amount[self._part]

    def add_colour(self, amount: FloatArray, vector: tuple[float, float, float]) -> None:
        """Add optical density of one colour; nothing to see in fluorescence."""
        if self.canvas.fluorescent:
            return
        self.canvas.colour[self._onto] += amount[self._part][..., None] * np.asarray(vector, np.float32)

    def add_glow(self, amount: FloatArray, channels: tuple[float, float, float]) -> None:
        """Add light in the three fluorescence channels; nothing to see in brightfield."""
        if not self.canvas.fluorescent:
            return
        self.canvas.glow[self._onto] += amount[self._part][..., None] * np.asarray(channels, np.float32)

    def mark(self, labels: npt.NDArray[np.int32], inside: npt.NDArray[np.bool_], number: int) -> None:
        """Write an object's number where it is seen; the one drawn last is on top."""
        labels[self._onto][inside[self._part]] = number
