"""What looking at a slide small tells: where its cells lie, and how its pixels turn into planes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

import numpy as np
import numpy.typing as npt

from dtcseg.cutoff import cells_cytokeratin, cytokeratin_cutoff
from dtcseg.errors import MissingResolution, UnreadableRegion, UnsuitableSlide
from dtcseg.network.model import SCREEN_MPP_UM
from dtcseg.ordinary import ordinary_pixels
from dtcseg.overview import Overview, read_overview
from dtcseg.quality import Spots, find_spots
from dtcseg.slide import match_channels
from dtcseg.stain.brightfield import (
    BrightfieldProfile,
    Vector,
    chromogen_places,
    estimate_brightfield,
    estimate_hematoxylin,
    foreign_share,
)
from dtcseg.stain.fluorescence import FluorescenceProfile, estimate_fluorescence
from dtcseg.working import WorkingGrid, box_mean, plan_grid, read_working

if TYPE_CHECKING:
    from dtcseg.cells import Stain
    from dtcseg.config import SlideJob
    from dtcseg.network.engine import Engine
    from dtcseg.screen import SlideProfile
    from dtcseg.slide import Slide
    from dtcseg.slide._base import PixelArray

MIN_MPP_UM, MAX_MPP_UM = 0.1, 1.1
"""Finer is no cytospin scan, coarser does not show a nucleus (7 µm) well enough to judge it."""

_SPOTS_MPP_UM = 8.0
_SPOTS_MAX_PX = 1.5e6
"""A larger overview is made coarser before the spots are looked for, so that memory does not grow with the slide."""
_MAX_FOREIGN = 0.5
_SAMPLE_FIELDS = 32
_SAMPLE_PX, _CUTOFF_PX = 96, 160
"""The wider fields hold some 400 cells of a sparse slide: what one in fifty exceeds shows on no fewer."""
_PLACES = 48
_PLACE_PX = 24
_APART_UM = 40.0


@dataclass(frozen=True)
class Prepared:
    """What looking at a slide small has told.

    Attributes
    ----------
    mpp_um : float
        Level-0 pixel size.
    spots : Spots
    mask : (H, W) bool
        What is looked at, on the picture of the spots: what cannot be read small is looked at large.
    grid : WorkingGrid
        Of the first look.
    profile : SlideProfile
    """

    mpp_um: float
    spots: Spots
    mask: npt.NDArray[np.bool_]
    grid: WorkingGrid
    profile: SlideProfile


@dataclass(frozen=True)
class _Small:
    """A slide, and where its cells lie."""

    slide: Slide
    mpp_um: float
    spots: Spots
    mask: npt.NDArray[np.bool_]
    grid: WorkingGrid


def prepare(slide: Slide, job: SlideJob, engine: Engine, threads: int) -> Prepared:
    """Look at the slide small, and learn from that how its pixels turn into planes; the overview is not kept.

    Learned twice: what of the sample is ordinary cells shows only once there are planes to look at. The cut-off of
    cytokeratin comes last, from all cells of wider fields.

    Raises
    ------
    SlideError
        The slide cannot be scored; says why and what to do.
    """
    small, overview = _look_small(slide, threads)
    fields = _sample(small, overview)
    sample = cast("PixelArray", np.concatenate([field.reshape(-1, field.shape[2]) for field in fields]))
    estimate = _estimator(small, overview, job, sample)
    profile = estimate(sample)
    if len(sample):
        profile = estimate(ordinary_pixels(fields, profile, engine, small.grid.mpp_um))
        cells_ck = cells_cytokeratin(_sample(small, overview, _CUTOFF_PX), profile, engine, small.grid.mpp_um)
        profile = replace(profile, ck_cutoff=cytokeratin_cutoff(cells_ck, slide.kind))
    return Prepared(small.mpp_um, small.spots, small.mask, small.grid, profile)


def _look_small(slide: Slide, threads: int) -> tuple[_Small, Overview]:
    mpp_um = _checked_mpp(slide)
    overview = read_overview(slide, mpp_um, threads=threads)
    channel = match_channels(slide.channels)["nuclear"] if slide.kind == "fluorescence" else None
    height, width = overview.pixels.shape[:2]
    enough = math.ceil(math.sqrt(height * width / _SPOTS_MAX_PX))
    coarser = max(min(max(round(_SPOTS_MPP_UM / overview.grid.mpp_um), enough), height, width), 1)
    picture = box_mean(overview.pixels if channel is None else overview.pixels[..., channel : channel + 1], coarser)
    spots = find_spots(picture if channel is None else picture[..., 0], overview.grid.mpp_um * coarser, slide.kind)
    if "dark" in spots.flags:
        raise UnsuitableSlide(
            slide.path,
            "the image is dark all over: no brightfield slide. Is it a fluorescence channel shown in colour? "
            "Then list the files of its channels in slides.csv (columns file, slide, channel)",
        )
    mask = spots.mask | _resized(~overview.readable, spots.mask.shape)
    return _Small(slide, mpp_um, spots, mask, plan_grid(slide, mpp_um, SCREEN_MPP_UM)), overview


def _checked_mpp(slide: Slide) -> float:
    if slide.resolution is None:
        raise MissingResolution(slide.path, "the pixel size is not known; give it with --mpp or in slides.csv")
    mpp_um = slide.resolution.mpp_um
    if not MIN_MPP_UM * 0.95 <= mpp_um <= MAX_MPP_UM * 1.05:
        raise UnsuitableSlide(
            slide.path,
            f"its pixels are {mpp_um:g} µm ({slide.resolution.source}); slides of {MIN_MPP_UM} to {MAX_MPP_UM} µm/px "
            "can be scored. Scan it again, or correct the pixel size with --mpp",
        )
    return mpp_um


def _estimator(
    small: _Small, overview: Overview, job: SlideJob, sample: PixelArray
) -> Callable[[PixelArray], BrightfieldProfile | FluorescenceProfile]:
    """Choose how to learn from pixels of ordinary cells how this slide turns into planes."""
    if small.slide.kind == "fluorescence":
        if job.stain not in (None, "if"):
            raise UnsuitableSlide(
                small.slide.path, f"it has fluorescence channels, but its stain is said to be {job.stain}"
            )
        roles = match_channels(small.slide.channels)
        return lambda pixels: estimate_fluorescence(pixels, roles, job.stain_source or "image")
    if job.stain == "if":
        raise UnsuitableSlide(small.slide.path, "it is a brightfield (RGB) image, but its stain is said to be if")
    white, sample = _white(small, overview), cast("npt.NDArray[np.uint8]", sample)
    foreign = foreign_share(sample, white)
    if foreign > _MAX_FOREIGN:
        raise UnsuitableSlide(
            small.slide.path,
            f"{100 * foreign:.0f} % of what is stained is of no colour of hematoxylin, new fuchsin, fast red, AEC or "
            "DAB; is it a cytokeratin slide?",
        )
    patches = _chromogen_patches(small, overview, sample, white, job.stain)
    return lambda pixels: estimate_brightfield(
        cast("npt.NDArray[np.uint8]", pixels), patches, white, job.stain, job.stain_source
    )


def _chromogen_patches(
    small: _Small, overview: Overview, sample: npt.NDArray[np.uint8], white: Vector, stain: Stain | None
) -> list[npt.NDArray[np.uint8]]:
    """Pixels around the places that look most like chromogen."""
    pixels = cast("npt.NDArray[np.uint8]", overview.pixels)
    scale = overview.grid.mpp_um
    mask = _resized(small.mask, pixels.shape[:2]) & overview.readable & ~_resized(small.spots.ink, pixels.shape[:2])
    places = chromogen_places(
        pixels,
        mask,
        white,
        count=_PLACES,
        apart_px=max(round(_APART_UM / scale), 1),
        hematoxylin=estimate_hematoxylin(sample, white),
        stain=stain,
    )
    patches = []
    for x, y in places:
        centre = [int((v + 0.5) * scale / small.grid.mpp_um) for v in (x, y)]
        patch = _read_patch(small, centre[0] - _PLACE_PX // 2, centre[1] - _PLACE_PX // 2, _PLACE_PX)
        if patch is not None:
            patches.append(cast("npt.NDArray[np.uint8]", patch.reshape(-1, patch.shape[2])))
    return patches


def _white(small: _Small, overview: Overview) -> Vector:
    """Clean glass, or the brightest ground between the cells where no glass is seen."""
    if small.spots.glass is not None:
        level = small.spots.glass
    else:
        level = np.percentile(overview.pixels.reshape(-1, overview.pixels.shape[2]), 98, axis=0)
    r, g, b = (round(float(v), 2) for v in level[:3])
    return r, g, b


def _sample(small: _Small, overview: Overview, side_px: int = _SAMPLE_PX) -> list[PixelArray]:
    """Fields at about 1 µm/px, spread evenly over the spots; the same on every run, one of no pixels without a spot."""
    rows, columns = np.nonzero(small.mask)
    if not rows.size:
        return [cast("PixelArray", np.zeros((0, 1, len(small.slide.channels)), overview.pixels.dtype))]
    picks = np.linspace(0, rows.size - 1, 4 * _SAMPLE_FIELDS).astype(int)
    picks = np.random.default_rng(0).permutation(picks)
    fields: list[PixelArray] = []
    for done, pick in enumerate(picks):
        # where some cannot be decoded the others stay the same: a damaged tile must not change cells elsewhere
        if done >= _SAMPLE_FIELDS and 2 * len(fields) >= _SAMPLE_FIELDS:
            break
        x, y = (int((v[pick] + 0.5) * small.spots.mpp_um / small.grid.mpp_um) - side_px // 2 for v in (columns, rows))
        field = _read_patch(small, x, y, side_px)
        if field is not None:
            fields.append(field)
    if not fields:
        raise UnreadableRegion(
            small.slide.path, "no part of the spot can be decoded; copy the file again from the scanner"
        )
    return fields


def _read_patch(small: _Small, x: int, y: int, side: int) -> PixelArray | None:
    """Read a square, moved or shrunk to lie on the slide; None where it cannot be decoded."""
    grid = small.grid
    width, height = min(side, grid.width_px), min(side, grid.height_px)
    x, y = min(max(x, 0), grid.width_px - width), min(max(y, 0), grid.height_px - height)
    try:
        return read_working(small.slide, grid, x, y, width, height)
    except UnreadableRegion:
        return None


def _resized(mask: npt.NDArray[np.bool_], shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """Nearest-neighbour copy of a mask at another resolution."""
    rows = np.minimum((np.arange(shape[0]) + 0.5) * mask.shape[0] / shape[0], mask.shape[0] - 1).astype(int)
    columns = np.minimum((np.arange(shape[1]) + 0.5) * mask.shape[1] / shape[1], mask.shape[1] - 1).astype(int)
    return cast("npt.NDArray[np.bool_]", mask[rows[:, None], columns[None, :]])
