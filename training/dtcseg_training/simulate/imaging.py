"""From matter to pixels: absorption or emission, optics, camera."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import imagecodecs
import numpy as np
import numpy.typing as npt
from scipy import ndimage

if TYPE_CHECKING:
    from dtcseg_training.simulate.canvas import Canvas, FloatArray
    from dtcseg_training.simulate.spec import FieldSpec

LN10 = float(np.log(10.0))
KNOT_UM = 8.0
FLUORESCENCE_QUALITY = 75
"""Least JPEG quality for fluorescence; below, the faint signal would be gone."""
Axis = npt.NDArray[np.float64]
Pixels = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]


class Waves:
    """A slow random function of the place on the slide: a sum of plane waves, the same whatever block asks.

    Parameters
    ----------
    rng : numpy.random.Generator
    shortest_um, longest_um : float
        Range of wavelengths.
    """

    def __init__(self, rng: np.random.Generator, shortest_um: float, longest_um: float, waves: int = 6) -> None:
        length = np.exp(rng.uniform(np.log(shortest_um), np.log(longest_um), waves))
        angle = rng.random(waves) * 2 * np.pi
        self._kx = 2 * np.pi * np.cos(angle) / length
        self._ky = 2 * np.pi * np.sin(angle) / length
        self._phase = rng.random(waves) * 2 * np.pi
        self._scale = np.sqrt(2.0 / waves)

    def at(self, y_um: Axis, x_um: Axis) -> FloatArray:
        """Values of unit variance on the grid of two even axes; shape (len(y_um), len(x_um)), float32.

        Computed every few µm and interpolated between: the places computed are those of a grid fixed to the slide.
        """
        down, y_at = knots(y_um)
        across, x_at = knots(x_um)
        return interpolate(self.exact(down[:, None], across[None, :]).astype(np.float32), y_at, x_at)

    def exact(self, y_um: Axis, x_um: Axis) -> Axis:
        """Values at places given by two arrays that broadcast; float64."""
        total = np.zeros(np.broadcast(y_um, x_um).shape)
        for kx, ky, phase in zip(self._kx, self._ky, self._phase, strict=True):
            total += np.cos(ky * y_um + (kx * x_um + phase))
        total *= self._scale
        return total


def knots(axis_um: Axis) -> tuple[Axis, Axis]:
    """Places of the coarse grid (µm) that cover an axis, and the axis in steps of that grid."""
    first = np.floor(axis_um[0] / KNOT_UM)
    last = np.ceil(axis_um[-1] / KNOT_UM) + 1
    return np.arange(first, last + 1) * KNOT_UM, axis_um / KNOT_UM - first


@dataclass(frozen=True)
class Ground:
    """The slow functions of one slide.

    Attributes
    ----------
    stain : background of the stains
    light : illumination
    focus : local defocus
    cover : share of the cells' density at each place (a spot on glass), or None where cells lie everywhere
    """

    stain: Waves
    light: Waves
    focus: Waves
    cover: Callable[[Axis, Axis], FloatArray] | None = None

    @classmethod
    def draw(cls, seed: int, cover: Callable[[Axis, Axis], FloatArray] | None = None) -> Ground:
        """Draw the three functions of a slide."""
        rng = np.random.default_rng(seed)
        return cls(Waves(rng, 80, 1500), Waves(rng, 300, 3000), Waves(rng, 120, 900), cover)

    def background(self, y_um: Axis, x_um: Axis, unevenness: float) -> FloatArray:
        """Relative background stain at each place: uneven, and little of it on bare glass."""
        slow: FloatArray = np.maximum(1 + np.float32(unevenness) * self.stain.at(y_um, x_um), 0)
        if self.cover is None:
            return slow
        down, y_at = knots(y_um)
        across, x_at = knots(x_um)
        slow *= np.float32(0.2) + np.float32(0.8) * interpolate(self.cover(down, across), y_at, x_at)
        return slow


def blur(plane: FloatArray, sigma_um: float, mpp_um: float) -> FloatArray:
    """Gaussian blur; float32."""
    sigma = sigma_um / mpp_um
    if sigma < 0.15:
        return plane
    smooth: FloatArray = ndimage.gaussian_filter(plane, sigma, mode="nearest", truncate=3.0)
    return smooth


def wide_blur(plane: FloatArray, sigma_um: float, mpp_um: float, top: int, left: int) -> FloatArray:
    """Blur much wider than a pixel, on a coarser grid that is fixed to the slide; float32.

    `top` and `left` are the numbers of the first row and column in the grid of the slide.
    """
    step = max(int(sigma_um / mpp_um / 2.5), 1)
    above, before = top % step, left % step
    height, width = plane.shape
    rows, columns = -(-(height + above) // step), -(-(width + before) // step)
    below, behind = rows * step - height - above, columns * step - width - before
    padded = np.pad(plane, ((above, below), (before, behind)), mode="edge")
    small = padded.reshape(rows, step, columns, step).mean(axis=(1, 3))
    small = ndimage.gaussian_filter(small, sigma_um / mpp_um / step, mode="nearest", truncate=3.0)
    y = (np.arange(height) + above + 0.5) / step - 0.5
    x = (np.arange(width) + before + 0.5) / step - 0.5
    return interpolate(small, y, x)


def interpolate(plane: FloatArray, y: Axis, x: Axis) -> FloatArray:
    """Linear interpolation on the grid of two axes given in pixels of the plane; float32."""
    y, x = np.clip(y, 0, plane.shape[0] - 1), np.clip(x, 0, plane.shape[1] - 1)
    top = np.minimum(y.astype(np.intp), max(plane.shape[0] - 2, 0))
    left = np.minimum(x.astype(np.intp), max(plane.shape[1] - 2, 0))
    below, right = np.minimum(top + 1, plane.shape[0] - 1), np.minimum(left + 1, plane.shape[1] - 1)
    down, across = (y - top)[:, None].astype(np.float32), (x - left)[None, :].astype(np.float32)
    rows = plane[top] * (1 - down) + plane[below] * down
    values: FloatArray = rows[:, left] * (1 - across) + rows[:, right] * across
    return values


def focused(plane: FloatArray, spec: FieldSpec, mpp_um: float, defocus: FloatArray | None, factor: float) -> FloatArray:
    """Apply the point spread function, with more blur where `defocus` (0..1) says so."""
    sharp = blur(plane, spec.optics.blur_um * factor, mpp_um)
    if defocus is None:
        return sharp
    middle = blur(sharp, 0.5 * spec.optics.defocus_um, mpp_um)
    soft = blur(middle, 0.87 * spec.optics.defocus_um, mpp_um)
    low, high = np.clip(2 * defocus, 0, 1), np.clip(2 * defocus - 1, 0, 1)
    return sharp + low * (middle - sharp) + high * (soft - middle)


def _defocus(spec: FieldSpec, ground: Ground, y: Axis, x: Axis) -> FloatArray | None:
    """How far out of focus each place is, 0 to 1; None where all is sharp."""
    if spec.optics.defocus_um <= 0:
        return None
    limit = 2.2 - 3.0 * spec.optics.defocus_share
    ramp: FloatArray = np.clip((ground.focus.at(y, x) - np.float32(limit)) * np.float32(1.2) + np.float32(0.5), 0, 1)
    return ramp if bool(ramp.any()) else None


def brightfield(canvas: Canvas, spec: FieldSpec, ground: Ground) -> list[FloatArray]:
    """Let light through: transmission in R, G, B, share of full scale, on the grid of the canvas."""
    stain, camera, mpp = spec.staining, spec.camera, canvas.mpp_um
    y, x = axes_um(canvas)
    slow = ground.background(y, x, stain.unevenness)
    hematoxylin = canvas.dna * np.float32(stain.nuclear_od) + canvas.cytoplasm * np.float32(stain.nuclear_od)
    hematoxylin += slow * np.float32(stain.background_hematoxylin_od)
    chromogen = canvas.cytokeratin + slow * np.float32(stain.background_ck_od)
    chromogen += np.minimum(canvas.cytoplasm * np.float32(1 / max(spec.look.cytoplasm, 1e-3)), 2) * (
        slow * np.float32(stain.cytoplasm_ck_od)
    )
    light = 1 + np.float32(camera.shading) * ground.light.at(y, x) * np.float32(0.5)
    defocus = _defocus(spec, ground, y, x)
    channels = []
    for index in range(3):
        density = hematoxylin * np.float32(stain.hematoxylin[index]) + chromogen * np.float32(stain.chromogen[index])
        density += canvas.colour[..., index]
        passed = np.exp(density * np.float32(-LN10))
        passed = focused(passed, spec, mpp, defocus, (1.08, 1.0, 1.0)[index])
        passed = _shifted(passed, (index - 1) * spec.optics.colour_shift_um / mpp)
        passed = passed * np.float32(1 - camera.glare) + np.float32(camera.glare)
        passed = np.maximum(passed, 1e-4) ** np.float32(camera.gamma)
        if camera.sharpen > 0:
            passed = passed + np.float32(camera.sharpen) * (passed - blur(passed, max(1.2 * mpp, 0.5), mpp))
        channels.append(np.maximum(passed * light * np.float32(camera.white[index]), 0))
    return channels


def _shifted(plane: FloatArray, pixels: float) -> FloatArray:
    """Shift along x by a fraction of a pixel or more (linear interpolation)."""
    if abs(pixels) < 0.02:
        return plane
    whole = int(np.floor(pixels))
    share = np.float32(pixels - whole)
    moved = np.roll(plane, whole, axis=1)
    return moved * (1 - share) + np.roll(moved, 1, axis=1) * share


def fluorescence(canvas: Canvas, spec: FieldSpec, ground: Ground) -> list[FloatArray]:
    """Make the dyes glow: signal in DAPI, CK and CD45 (1: a lymphocyte's nucleus, CK of 1, a lymphocyte's membrane)."""
    light, mpp = spec.fluorescence, canvas.mpp_um
    y, x = axes_um(canvas)
    slow = ground.background(y, x, spec.staining.unevenness)
    shade = np.maximum(1 + np.float32(2 * spec.camera.shading) * ground.light.at(y, x), 0.3)
    defocus = _defocus(spec, ground, y, x)
    body = np.minimum(canvas.cytoplasm * np.float32(1 / max(spec.look.cytoplasm, 1e-3)), 3)
    dyes = [canvas.dna, canvas.cytokeratin, canvas.leukocyte]
    channels = []
    for index in range(3):
        signal = dyes[index] * np.float32(light.bleed_through[index][index])
        for other in range(3):
            if other != index and light.bleed_through[index][other] > 1e-4:
                signal = signal + dyes[other] * np.float32(light.bleed_through[index][other])
        signal = signal + body * np.float32(light.autofluorescence[index]) + canvas.glow[..., index]
        signal = focused(signal, spec, mpp, defocus, 1.0)
        if light.haze > 0:
            far = wide_blur(signal, light.haze_um, mpp, canvas.top, canvas.left)
            signal = signal + np.float32(light.haze) * (far - signal)
        channels.append((signal + slow * np.float32(light.background[index])) * shade)
    return channels


def axes_um(canvas: Canvas) -> tuple[Axis, Axis]:
    """Places of the rows and columns of a canvas, µm."""
    height, width = canvas.dna.shape
    y: Axis = np.arange(canvas.top, canvas.top + height, dtype=np.float64) * canvas.mpp_um + canvas.shift_um
    x: Axis = np.arange(canvas.left, canvas.left + width, dtype=np.float64) * canvas.mpp_um + canvas.shift_um
    return y, x


def expose_brightfield(light: list[FloatArray], spec: FieldSpec, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Photon noise, read noise and eight bits; (H, W, 3) uint8."""
    camera = spec.camera
    image = np.empty((*light[0].shape, 3), np.uint8)
    for index, plane in enumerate(light):
        spread = np.sqrt(plane * np.float32(1 / camera.photons) + np.float32(camera.read_noise**2))
        noisy = plane + spread * rng.standard_normal(plane.shape, dtype=np.float32)
        image[..., index] = np.clip(noisy * 255 + 0.5, 0, 255).astype(np.uint8)
    return image


def expose_fluorescence(light: list[FloatArray], spec: FieldSpec, rng: np.random.Generator) -> Pixels:
    """Photon noise, offset, read noise and the camera's depth; (H, W, 3) uint8 or uint16."""
    camera = spec.fluorescence
    full = 2**camera.bits - 1
    image = np.zeros((*light[0].shape, 3), np.uint8 if camera.bits == 8 else np.uint16)
    for index, plane in enumerate(light):
        if index == 2 and not camera.cd45:
            continue
        photons = np.float32(camera.photons[index])
        spread = np.sqrt(np.maximum(plane, 0) / photons)
        noisy = plane + spread * rng.standard_normal(plane.shape, dtype=np.float32)
        counts = noisy * np.float32(camera.exposure[index]) + np.float32(camera.offset)
        counts += np.float32(camera.read_noise) * rng.standard_normal(plane.shape, dtype=np.float32)
        image[..., index] = np.clip(counts * full + 0.5, 0, full).astype(image.dtype)
    return image


def compressed(image: Pixels, spec: FieldSpec) -> Pixels:
    """Pass an image through JPEG as the scanner would; unchanged where it has 16 bits or is kept without loss."""
    quality = spec.camera.jpeg_quality
    if quality is None or image.dtype != np.uint8:
        return image
    if spec.stain == "if":
        quality = max(quality, FLUORESCENCE_QUALITY)
        planes = [imagecodecs.jpeg8_encode(np.ascontiguousarray(image[..., i]), level=quality) for i in range(3)]
        return np.stack([imagecodecs.jpeg8_decode(code) for code in planes], axis=-1)
    code = imagecodecs.jpeg8_encode(
        np.ascontiguousarray(image), level=quality, subsampling=spec.camera.jpeg_subsampling
    )
    decoded: npt.NDArray[np.uint8] = imagecodecs.jpeg8_decode(code)
    return decoded
