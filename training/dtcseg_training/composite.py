"""Simulated cytokeratin-positive cells laid into real images: real nuclei, glass, optics and dirt around them.

In brightfield the light that passed the real cells passes the simulated ones as well (their optical densities add); in
fluorescence the signals add. The real images hold no cytokeratin of their own, so the truth is known.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, cast

import imagecodecs
import numpy as np
import numpy.typing as npt

from dtcseg.cells import STAINS
from dtcseg_training.simulate import Field, TruthCell, draw_spec
from dtcseg_training.simulate.field import MARGIN_UM, Scene
from dtcseg_training.simulate.layout import Box, place_field
from dtcseg_training.simulate.spec import Camera

if TYPE_CHECKING:
    from dtcseg.slide._base import PixelArray
    from dtcseg.stain.brightfield import Vector
    from dtcseg_training.real import RealField
    from dtcseg_training.simulate.spec import FieldSpec

_CLEAR = Camera(white=(1.0, 1.0, 1.0), shading=0.0, glare=0.0, jpeg_quality=None)
"""The real image brings its own light and camera."""
_OWN_SIGNAL = (0.01, 0.08)
"""Cytokeratin and leukocyte signal of real cells that were never stained for either, as a share of their DAPI: bleeding
through and autofluorescence."""


def composite_field(real: RealField, mpp_um: float, hematoxylin: Vector | None, rng: np.random.Generator) -> Field:
    """Lay simulated CK+ cells into a real image.

    Parameters
    ----------
    real : RealField
        With its nuclei.
    mpp_um : float
        Pixel size it is taken to have.
    hematoxylin : (R, G, B)
        Nuclear stain of the image, unit optical density, for the nuclei laid in; None in fluorescence.
    rng : numpy.random.Generator

    Returns
    -------
    Field
        Real nuclei are cells without a call whose labels are discs.
    """
    level = real.slide.levels[0]
    pixels = real.slide.read(0, 0, 0, level.width_px, level.height_px)
    shape = pixels.shape[:2]
    spec = _spec(shape, mpp_um, hematoxylin, rng)
    scene = Scene(spec, int(rng.integers(0, 2**62)))
    box = Box(-0.5 * mpp_um, -0.5 * mpp_um, shape[1] * mpp_um, shape[0] * mpp_um)
    canvas = scene.canvas(0, 0, *shape)
    cells = scene.paint(canvas, place_field(rng, spec, box, MARGIN_UM), box)
    light = np.stack(scene.light(canvas, 0, 0, shape), axis=-1)
    image = _through(pixels, light, rng) if hematoxylin is not None else _beside(pixels, light, spec, rng)
    nuclei, objects = (scene.grid.image_labels(part, canvas, 0, 0, shape) for part in (canvas.nuclei, canvas.objects))
    assert real.centres is not None
    for x, y in real.centres:
        cells.append(_real_cell(float(x), float(y), real.nucleus_px * mpp_um))
        _disc(nuclei, float(x), float(y), real.nucleus_px / 2, len(cells))
    return Field(
        image=image,
        channels=real.slide.channels,
        mpp_um=mpp_um,
        cells=tuple(cells),
        nucleus_labels=nuclei,
        ck_labels=objects,
        stain_vectors=np.zeros((0, 3), np.float32),
    )


def _spec(shape: tuple[int, ...], mpp_um: float, hematoxylin: Vector | None, rng: np.random.Generator) -> FieldSpec:
    """Draw a laboratory as ever, but nothing on the glass save CK+ objects and artefacts."""
    stain = "if" if hematoxylin is None else STAINS[int(rng.integers(4))]
    spec = draw_spec(rng, stain=stain, mpp_um=mpp_um, size_px=(shape[0], shape[1]), enriched=True)
    staining = replace(spec.staining, background_ck_od=0.0, background_hematoxylin_od=0.0, cytoplasm_ck_od=0.0)
    return replace(
        spec,
        density_per_mm2=0.0,
        red_cells_per_mm2=0.0,
        platelets_per_mm2=0.0,
        staining=replace(staining, hematoxylin=hematoxylin or staining.hematoxylin),
        optics=replace(spec.optics, defocus_um=0.0),
        camera=replace(_CLEAR, gamma=spec.camera.gamma),
    )


def _through(pixels: PixelArray, passed: npt.NDArray[np.float32], rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    image: npt.NDArray[np.uint8] = np.clip(np.round(pixels * np.minimum(passed, 1)), 0, 255).astype(np.uint8)
    if rng.random() < 0.5:
        code = imagecodecs.jpeg8_encode(np.ascontiguousarray(image), level=int(rng.integers(50, 96)))
        decoded = imagecodecs.jpeg8_decode(code)
        return cast("npt.NDArray[np.uint8]", decoded)
    return image


def _beside(
    pixels: PixelArray, signal: npt.NDArray[np.float32], spec: FieldSpec, rng: np.random.Generator
) -> npt.NDArray[np.uint8]:
    """Add signals: simulated nuclei as bright as the real ones, the other two channels on their own exposure."""
    nuclear = pixels[..., 0].astype(np.float32)
    low, high = np.percentile(nuclear, (20, 97))
    real = np.clip((nuclear - low) / max(float(high - low), 8.0), 0, None)
    camera = spec.fluorescence
    image = np.zeros(pixels.shape, np.uint8)
    image[..., 0] = np.clip(nuclear + signal[..., 0] * (high - low), 0, 255)
    for channel in (1, 2):
        light = signal[..., channel] + np.float32(rng.uniform(*_OWN_SIGNAL)) * real
        noisy = light + np.sqrt(np.maximum(light, 0) / camera.photons[channel]) * rng.standard_normal(light.shape)
        noisy = noisy * camera.exposure[channel] + camera.offset
        noisy += camera.read_noise * rng.standard_normal(light.shape)
        if channel == 1 or camera.cd45:
            image[..., channel] = np.clip(noisy * 255 + 0.5, 0, 255)
    return image


def _real_cell(x_px: float, y_px: float, diameter_um: float) -> TruthCell:
    return TruthCell(
        x_px=x_px,
        y_px=y_px,
        kind="real",
        call="",
        nucleated=True,
        diameter_um=diameter_um,
        nucleus_area_um2=float(np.pi * diameter_um**2 / 4),
        ck_od=0.0,
        outline=np.zeros((0, 2), np.float32),
        nucleus_x_px=x_px,
        nucleus_y_px=y_px,
    )


def _disc(labels: npt.NDArray[np.int32], x: float, y: float, radius: float, number: int) -> None:
    """Label a disc where nothing is labelled yet."""
    top, left = max(int(y - radius), 0), max(int(x - radius), 0)
    part = labels[top : int(y + radius) + 2, left : int(x + radius) + 2]
    rows, columns = np.mgrid[top : top + part.shape[0], left : left + part.shape[1]]
    part[(np.hypot(rows - y, columns - x) <= radius) & (part == 0)] = number
