"""From a rendered field to what the networks learn from, by the very code that scores slides."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.draw import polygon2mask

from dtcseg.network.model import LOOK_CLASSES, LOOK_MPP_UM, LOOK_PX, SCREEN_MPP_UM
from dtcseg.screen import SlideProfile, read_planes
from dtcseg.slide import Level, Resolution, Slide
from dtcseg.stain.brightfield import (
    CHROMOGENS,
    HEMATOXYLIN,
    BrightfieldProfile,
    Vector,
    chromogen_places,
    estimate_brightfield,
    estimate_hematoxylin,
)
from dtcseg.stain.fluorescence import FluorescenceProfile, estimate_fluorescence
from dtcseg.working import WorkingGrid, box_mean, plan_grid
from dtcseg_training.simulate import Field, draw_spec, render_field
from dtcseg_training.simulate.spec import jittered, reactive_kinds, without_tumour

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dtcseg.cells import Stain
    from dtcseg.slide._base import PixelArray
    from dtcseg_training.simulate.spec import FieldSpec

LOOK_MARGIN_PX = 12
"""Prepared crops are larger by this on each side: the centre that the screen finds is never exact."""
LOOK_INNER = np.s_[:, :, LOOK_MARGIN_PX : LOOK_MARGIN_PX + LOOK_PX, LOOK_MARGIN_PX : LOOK_MARGIN_PX + LOOK_PX]
"""What the look sees of prepared crops (N, C, 152, 152) when their centre is exact."""
_USUAL_ERROR, _LARGE_ERROR = 0.008, 0.035
"""Errors of the parts of an estimated stain vector: about what is seen on simulated slides, and what might happen."""
_SPREAD_ERROR = 0.15
"""Standard deviation of the logarithm of an estimated `ck_spread`: a slide tells it by other cells than the field's."""
_BESIDE_UM = 5.0
"""Optics and JPEG carry the chromogen of CK+ objects so far. Left in, it made `ck_spread` up to ten times what the same
laboratory shows without them."""
_PLACES = 24
_FIELD_UM = 264
_STICKY, _PLAIN, _PALE, _GIANT = 0.4, 0.12, 0.08, 0.12
"""Shares of the fields whose every cell holds chromogen (slides that fail as a whole are such), whose cells have smooth
nuclei and round contours as in pictures of low contrast, of pale nuclei among many red cells (which were counted), and
with many megakaryocytes (whose nuclei, stained black, were called tumour)."""
_STICKY_OD, _VEILED = (0.03, 0.22), 0.14
"""Chromogen on every cell, and most on the glass around them. From 0.16, weights that had learned up to 0.12 called
thousands of ordinary cells per 10^6."""
_ABOVE_STICKY = 2.5
"""A tumour cell holds at least so many times the chromogen of an ordinary one, or nobody could tell it."""
_MANY_GIANTS = 15.0
"""So many times the usual share of megakaryocytes: about one cell in eighty."""
_FAR = 0.5
"""Share of the fields of which some factors lie beyond `draw_spec`; docs/training.md says what it gained."""
_FAR_FACTOR = 0.4
_FAR_TURN = 0.06
"""Standard deviation of the parts of a stain vector that is turned: 5 degrees across, beyond those drawn before."""
_LEAST_SEEN_UM2 = 4.0
"""Less of a nucleus that the border cuts is nothing anybody would count."""
_COMPACT, _COMPACT_CELLS = 0.3, 0.6
"""Share of the fields with many compact tumour cells, and of these among its single ones: five of the eight that
`dtcseg-6` missed on slides like those of its training were such, and one tumour cell in eight is under 15 µm."""
_MIXED, _MIXED_CELLS = 0.5, 0.6
"""The same for textures that lie over one another: no laboratory's cells are of six textures."""
_DIRTY = 5.0
"""A fifth of the fields hold as many times the usual dirt: what lies over an ordinary cell is the worst of mimics."""

_REACTIVE, _REACTIVE_CELLS = 0.2, 2.0
"""Share of the fields with many haematopoietic cells that hold chromogen, and how many more of each kind to expect: on
slides of two simulators written apart from this one `dtcseg-7` called 13 of 16 such megakaryocytes and 7 of 10 such
myelocytes and monocytes tumour."""
_VERY_DIRTY = (4.0, 10.0)
"""The same for fields without a tumour cell: of 55 held-out things that `dtcseg-6` called falsely, 21 were dirt."""


class ArraySlide(Slide):
    """An image in memory, as a slide of one level.

    Parameters
    ----------
    pixels : (H, W, C) uint8 or uint16
    mpp_um : float
    channels : sequence of str
    """

    def __init__(self, pixels: PixelArray, mpp_um: float, channels: tuple[str, ...] = ("R", "G", "B")) -> None:
        self.path = Path("array")
        self.format_name = "array"
        self.levels = (Level(pixels.shape[1], pixels.shape[0], 1.0),)
        self.resolution = Resolution(mpp_um, mpp_um, "flag")
        self.kind = "brightfield" if channels == ("R", "G", "B") else "fluorescence"
        self.channels = channels
        self._pixels = pixels

    def clone(self) -> ArraySlide:
        """Share the array."""
        return ArraySlide(self._pixels, self.resolution.mpp_um if self.resolution else 1.0, self.channels)

    def close(self) -> None:
        """Nothing to close."""

    def _reopen(self) -> None:
        pass

    def _read(self, level: int, x_px: int, y_px: int, width_px: int, height_px: int) -> PixelArray:
        return self._pixels[y_px : y_px + height_px, x_px : x_px + width_px]


@dataclass(frozen=True)
class Lesson:
    """One field, ready to learn from.

    Attributes
    ----------
    planes : (3, H, W) float16
        At the screening resolution.
    nuclei, tumour, other : (N, 2) float32
        Centres in pixels of `planes`: nucleated cells; tumour cells; every other CK+ object.
    crops : (M, 3, 152, 152) float16
        At the look's resolution, centred on CK+ objects and on a few ordinary places.
    masks : (M, 2, 152, 152) bool
        Cell and nucleus of the object in the middle.
    calls : (M,) int64
        Index into `LOOK_CLASSES`.
    spreads : (M,) float32
        `ck_spread` of the profile that each crop was seen with.
    """

    planes: npt.NDArray[np.float16]
    nuclei: npt.NDArray[np.float32]
    tumour: npt.NDArray[np.float32]
    other: npt.NDArray[np.float32]
    crops: npt.NDArray[np.float16]
    masks: npt.NDArray[np.bool_]
    calls: npt.NDArray[np.int64]
    spreads: npt.NDArray[np.float32]


Crops = tuple[npt.NDArray[np.float16], npt.NDArray[np.bool_], npt.NDArray[np.int64], npt.NDArray[np.float32]]
"""Crops, masks, calls and spreads, as in `Lesson`."""


def draw_profile(
    image: PixelArray,
    channels: tuple[str, ...],
    mpp_um: float,
    rng: np.random.Generator,
    positive: npt.NDArray[np.bool_] | None = None,
    stain: Stain | None = None,
) -> SlideProfile:
    """Draw a profile as scoring might estimate it: from the field or with the start vectors, never exact.

    Parameters
    ----------
    image : (H, W, C) uint8 or uint16
    channels : tuple of str
        ("R", "G", "B"), or nuclear, cytokeratin and leukocyte channel.
    mpp_um : float
    rng : numpy.random.Generator
    positive : (H, W) bool, optional
        CK+ objects, which a whole slide has next to none of: left out of the sample of ordinary cells, with what lies
        beside them.
    stain : Stain, optional
        Where it is known.
    """
    ordinary = np.ones(image.shape[:2], bool)
    if positive is not None and positive.any():
        ordinary = ndimage.distance_transform_edt(~positive) > _BESIDE_UM / mpp_um
    step = max(round(1.0 / mpp_um), 1)
    coarse = box_mean(image, step)  # as scoring reads it: the noise of single pixels is no spread of stain
    sample = coarse[ordinary[step // 2 :: step, step // 2 :: step][: coarse.shape[0], : coarse.shape[1]]]
    if channels != ("R", "G", "B"):
        return _fluorescence_profile(sample, rng)
    pixels, coarse, sample = (cast("npt.NDArray[np.uint8]", part) for part in (image, coarse, sample))
    flat = pixels.reshape(-1, 3)
    high = np.percentile(flat[:: max(flat.shape[0] // 20000, 1)], 97, axis=0) * rng.normal(1, 0.01, 3)
    white: Vector = (float(high[0]), float(high[1]), float(high[2]))
    small = coarse[::4, ::4]
    places = chromogen_places(
        small,
        np.ones(small.shape[:2], bool),
        white,
        count=_PLACES,
        apart_px=6,
        hematoxylin=estimate_hematoxylin(sample, white),
        stain=stain,
    )
    reach = 8 * step
    patches = [
        pixels[
            max(4 * step * y - reach, 0) : 4 * step * y + reach : step,
            max(4 * step * x - reach, 0) : 4 * step * x + reach : step,
        ].reshape(-1, 3)
        for x, y in places
    ]
    profile = estimate_brightfield(sample, patches if rng.random() < 0.6 else [], white, stain, "")
    start = CHROMOGENS[profile.stain]
    error = _LARGE_ERROR if rng.random() < 0.15 else _USUAL_ERROR
    chromogen_error = 2 * _LARGE_ERROR if rng.random() < 0.3 else 2 * _USUAL_ERROR  # few cells tell its vector
    return BrightfieldProfile(
        stain=profile.stain,
        stain_source="image",
        white=white,
        hematoxylin=jittered(rng, profile.hematoxylin if rng.random() < 0.97 else HEMATOXYLIN, error),
        chromogen=jittered(rng, profile.chromogen if rng.random() < 0.9 else start, chromogen_error),
        nuclear_scale=profile.nuclear_scale * float(np.exp(rng.normal(0, 0.12))),
        estimated=False,
        ck_background=max(profile.ck_background + float(rng.normal(0, error)), 0.0),
        ck_spread=profile.ck_spread * float(np.exp(rng.normal(0, _SPREAD_ERROR))),
    )


def _fluorescence_profile(sample: PixelArray, rng: np.random.Generator) -> FluorescenceProfile:
    profile = estimate_fluorescence(sample, {"nuclear": 0, "cytokeratin": 1, "leukocyte": 2})
    jitter = np.exp(rng.normal(0, (0.12, 0.2, 0.2)))
    return FluorescenceProfile(
        channels=profile.channels,
        offsets=profile.offsets,
        scales=(
            profile.scales[0] * float(jitter[0]),
            profile.scales[1] * float(jitter[1]),
            profile.scales[2] * float(jitter[2]),
        ),
        ck_spread=profile.ck_spread * float(jitter[1] * np.exp(rng.normal(0, _SPREAD_ERROR))),
    )


def as_it_is(profile: SlideProfile) -> SlideProfile:
    """Take a drawn profile as it is; `ablation` puts something else here."""
    return profile


def make_lesson(seed: int, index: int, seen_as: Callable[[SlideProfile], SlideProfile] = as_it_is) -> Lesson:
    """Render field `index` of a data set and prepare it; the same numbers give the same lesson."""
    rng = np.random.default_rng([seed, index])
    return field_lesson(draw_field(rng), rng, seen_as)


def draw_field(rng: np.random.Generator) -> Field:
    """Render a field of a random laboratory, at a random pixel size, rich in what is rare."""
    mpp_um, side = _draw_pixels(rng)
    dirt = _DIRTY if rng.random() < 0.2 else 1.0
    spec = draw_spec(rng, mpp_um=mpp_um, size_px=(side, side), enriched=bool(rng.random() < 0.65), dirt=dirt)
    spec = _reactive(rng, unusual(rng, spec))
    if rng.random() < 0.6:  # rare things are what there is most to learn about
        spec = replace(spec, counts=tuple((kind, 2 * number) for kind, number in spec.counts))
    if rng.random() < _COMPACT:
        spec = replace(spec, compact=_COMPACT_CELLS)
    if rng.random() < _MIXED:
        spec = replace(spec, mixed=_MIXED_CELLS)
    return render_field(spec, rng)


def draw_dirty_field(rng: np.random.Generator) -> Field:
    """Render a field of a random laboratory full of dirt and mimics, without a tumour cell: what may be called one."""
    mpp_um, side = _draw_pixels(rng)
    dirt = float(rng.uniform(*_VERY_DIRTY))
    spec = _reactive(rng, unusual(rng, draw_spec(rng, mpp_um=mpp_um, size_px=(side, side), dirt=dirt)))
    return render_field(replace(spec, counts=without_tumour(spec.counts)), rng)


def _draw_pixels(rng: np.random.Generator) -> tuple[float, int]:
    """Draw the size of a pixel in µm, and give the side of a field in pixels."""
    mpp_um = float(rng.choice([0.25, 0.35, 0.5, 0.65, 0.85, 1.05], p=[0.08, 0.10, 0.58, 0.08, 0.08, 0.08]))
    return mpp_um, round(_FIELD_UM / mpp_um)


def unusual(rng: np.random.Generator, spec: FieldSpec) -> FieldSpec:
    """Make some laboratories unlike the others: sticking chromogen, no texture, many red cells, megakaryocytes."""
    if rng.random() < _STICKY:
        sticking = float(rng.uniform(*_STICKY_OD))
        spec = replace(
            spec,
            staining=replace(
                spec.staining,
                cytoplasm_ck_od=sticking,
                background_ck_od=max(spec.staining.background_ck_od, float(rng.uniform(-_VEILED, _VEILED))),
            ),
            look=replace(spec.look, cytoplasm=float(rng.uniform(0.1, 0.3))),
        )
    if rng.random() < _PALE:
        spec = replace(
            spec,
            staining=replace(spec.staining, nuclear_od=float(rng.uniform(0.13, 0.3))),
            red_cells_per_mm2=float(rng.uniform(3000, 12000)),
        )
    if rng.random() < _GIANT:
        spec = replace(
            spec,
            staining=replace(spec.staining, nuclear_od=float(rng.uniform(0.6, 1.7))),
            composition=tuple((k, s * _MANY_GIANTS if k == "megakaryocyte" else s) for k, s in spec.composition),
        )
    if rng.random() < _PLAIN:
        smooth = replace(
            spec.look,
            chromatin=float(rng.uniform(0, 0.25)),
            rim=float(rng.uniform(0, 0.3)),
            dome=float(rng.uniform(0, 0.15)),
            irregular=float(rng.uniform(0.1, 0.4)),
            spread=float(rng.uniform(0.02, 0.12)),
        )
        spec = replace(spec, look=smooth)
    spec = far_off(rng, spec) if rng.random() < _FAR else spec
    least = _ABOVE_STICKY * spec.staining.cytoplasm_ck_od
    return replace(spec, staining=replace(spec.staining, ck_od=max(spec.staining.ck_od, least)))


def _reactive(rng: np.random.Generator, spec: FieldSpec) -> FieldSpec:
    """Make marrow cells of some laboratories hold chromogen, each kind that its stain may react with."""
    if rng.random() >= _REACTIVE:
        return spec
    counts = dict(spec.counts)
    for kind in reactive_kinds(spec):
        many = _REACTIVE_CELLS * (0.4 if kind == "megakaryocyte_reactive" else 1.0)  # they are large
        counts[kind] = counts.get(kind, 0) + int(rng.poisson(many))
    return replace(spec, counts=tuple((kind, number) for kind, number in counts.items() if number))


def far_off(rng: np.random.Generator, spec: FieldSpec) -> FieldSpec:
    """Take some factors of a laboratory beyond what `draw_spec` draws: stain, its colours, crowding, blur and JPEG."""
    chosen = rng.random(6) < _FAR_FACTOR
    staining, optics, camera, density = spec.staining, spec.optics, spec.camera, spec.density_per_mm2
    if chosen[0]:
        staining = replace(staining, ck_od=_far_od(rng, (0.16, 0.25), (1.1, 2.2)))
    if chosen[1]:
        staining = replace(staining, nuclear_od=_far_od(rng, (0.13, 0.2), (1.1, 1.8)))
    if chosen[2]:
        staining = replace(
            staining,
            hematoxylin=jittered(rng, staining.hematoxylin, _FAR_TURN),
            chromogen=jittered(rng, staining.chromogen, _FAR_TURN),
        )
    if chosen[3]:
        density = float(rng.uniform(3500, 6500))
    if chosen[4]:
        optics = replace(optics, blur_um=float(rng.uniform(0.7, 1.3)))
    if chosen[5]:
        camera = replace(camera, jpeg_quality=int(rng.integers(28, 45)), jpeg_subsampling="420")
    return replace(spec, staining=staining, optics=optics, camera=camera, density_per_mm2=density)


def _far_od(rng: np.random.Generator, light: tuple[float, float], heavy: tuple[float, float]) -> float:
    """Optical density of a light stain on one slide in four, else of a heavy one."""
    return float(rng.uniform(*(light if rng.random() < 0.25 else heavy)))


def field_lesson(
    field: Field, rng: np.random.Generator, seen_as: Callable[[SlideProfile], SlideProfile] = as_it_is
) -> Lesson:
    """Prepare one field: planes at both resolutions, targets in the same pixels."""
    slide = ArraySlide(field.image, field.mpp_um, field.channels)
    profile = seen_as(draw_profile(field.image, field.channels, field.mpp_um, rng, field.ck_labels != 0))
    zoom = float(np.exp(rng.uniform(-0.06, 0.06)))  # cells seen larger or smaller than they are
    grid = plan_grid(slide, field.mpp_um * zoom, SCREEN_MPP_UM)
    planes = read_planes(slide, grid, profile, 0, 0, grid.width_px, grid.height_px)
    nuclei, tumour, other = centres_of(field, grid)
    close = plan_grid(slide, field.mpp_um * zoom, LOOK_MPP_UM)
    crops, masks, calls, spreads = object_crops(field, slide, profile, close, rng)
    return Lesson(
        planes=planes.astype(np.float16),
        nuclei=nuclei,
        tumour=tumour,
        other=other,
        crops=crops,
        masks=masks,
        calls=calls,
        spreads=spreads,
    )


def centres_of(
    field: Field, grid: WorkingGrid
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Centres (N, 2) of the nucleated cells, the tumour cells and the other CK+ objects, in working pixels.

    A nucleus that the border of the image cuts has its centre in the middle of what is seen of it, as in images that
    people labelled; it counts also where its true centre lies outside.
    """
    cut, strangers = _cut_nuclei(field)
    nuclei = [
        cut.get(i) or ((c.nucleus_x_px, c.nucleus_y_px) if np.isfinite(c.nucleus_x_px) else (c.x_px, c.y_px))
        for i, c in enumerate(field.cells)
        if c.nucleated
    ] + strangers
    tumour = [(c.x_px, c.y_px) for c in field.cells if c.call == "tumour"]
    other = [(c.x_px, c.y_px) for c in field.cells if c.call not in ("", "tumour")]
    return _to_working(nuclei, grid), _to_working(tumour, grid), _to_working(other, grid)


def _cut_nuclei(field: Field) -> tuple[dict[int, tuple[float, float]], list[tuple[float, float]]]:
    """Middles (x, y) of what is seen of nuclei that the border cuts: of cells of the field by index, and of others."""
    labels = field.nucleus_labels
    least = _LEAST_SEEN_UM2 / field.mpp_um**2
    rim = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
    own = rim[rim > 0]
    middles = np.asarray(ndimage.center_of_mass(labels > 0, labels, own)).reshape(-1, 2)
    areas = ndimage.sum_labels(labels > 0, labels, own)
    cut = {
        int(n) - 1: (float(x), float(y)) for n, (y, x), area in zip(own, middles, areas, strict=True) if area >= least
    }
    pieces, count = ndimage.label(labels < 0)
    numbers = np.arange(1, count + 1)
    middles = np.asarray(ndimage.center_of_mass(pieces > 0, pieces, numbers)).reshape(-1, 2)
    areas = ndimage.sum_labels(pieces > 0, pieces, numbers)
    return cut, [(float(x), float(y)) for (y, x), area in zip(middles, areas, strict=True) if area >= least]


def _to_working(centres: list[tuple[float, float]], grid: WorkingGrid) -> npt.NDArray[np.float32]:
    points = np.asarray(centres, np.float32).reshape(-1, 2)
    return ((points + 0.5) / grid.downsample - 0.5).astype(np.float32)


def object_crops(
    field: Field, slide: Slide, profile: SlideProfile, grid: WorkingGrid, rng: np.random.Generator
) -> Crops:
    """Crops of every CK+ object, and of ordinary cells (called haematopoietic) and empty places (artefact)."""
    wanted: list[tuple[float, float, int, str]] = [
        (c.x_px, c.y_px, i + 1, c.call) for i, c in enumerate(field.cells) if c.call
    ]
    ordinary = [
        (c.x_px, c.y_px, i + 1, "haematopoietic") for i, c in enumerate(field.cells) if not c.call and c.nucleated
    ]
    picked = rng.permutation(len(ordinary))[: max(1, len(wanted) // 6)]
    wanted += [ordinary[int(i)] for i in picked]
    if rng.random() < 0.3:
        height, width = field.image.shape[:2]
        wanted.append((float(rng.uniform(0, width)), float(rng.uniform(0, height)), 0, "artefact"))
    return crops_of(field, slide, profile, grid, wanted)


def crops_of(
    field: Field,
    slide: Slide,
    profile: SlideProfile,
    grid: WorkingGrid,
    wanted: Sequence[tuple[float, float, int, str]],
) -> Crops:
    """Crops of places given as x, y (field pixels), label (0: none) and call."""
    crops, masks, calls, spreads = cut_crops(slide, profile, grid, wanted)
    for mask, (x, y, label, _) in zip(masks, wanted, strict=True):
        mask[:] = _mask_crop(field, grid, *_corner(grid, x, y), mask.shape[1], label)
    return crops, masks, calls, spreads


def cut_crops(
    slide: Slide, profile: SlideProfile, grid: WorkingGrid, wanted: Sequence[tuple[float, float, int, str]]
) -> Crops:
    """As `crops_of`, with masks that are still empty."""
    crops, masks, calls, spreads = _blank(len(wanted))
    spreads[:] = profile.ck_spread
    side = crops.shape[-1]
    for i, (x, y, _, call) in enumerate(wanted):
        crops[i] = read_planes(slide, grid, profile, *_corner(grid, x, y), side, side)
        calls[i] = LOOK_CLASSES.index(call)
    return crops, masks, calls, spreads


def _corner(grid: WorkingGrid, x: float, y: float) -> tuple[int, int]:
    """Left and top, in look pixels, of the crop around a place."""
    left, top = (int(np.round((v + 0.5) / grid.downsample - 0.5)) - LOOK_PX // 2 - LOOK_MARGIN_PX for v in (x, y))
    return left, top


def no_crops() -> Crops:
    """Crops of nothing."""
    return _blank(0)


def _blank(count: int) -> Crops:
    side = LOOK_PX + 2 * LOOK_MARGIN_PX
    crops, masks = np.zeros((count, 3, side, side), np.float16), np.zeros((count, 2, side, side), bool)
    return crops, masks, np.zeros(count, int), np.zeros(count, np.float32)


def _mask_crop(field: Field, grid: WorkingGrid, left: int, top: int, side: int, label: int) -> npt.NDArray[np.bool_]:
    """Masks (2, side, side) of one object: the whole of it (CK+ extent and nucleus) and its nucleus."""
    result = np.zeros((2, side, side), bool)
    if label == 0:
        return result
    xs = np.round((left + np.arange(side) + 0.5) * grid.downsample - 0.5).astype(int)
    ys = np.round((top + np.arange(side) + 0.5) * grid.downsample - 0.5).astype(int)
    height, width = field.nucleus_labels.shape
    inside = ((ys >= 0) & (ys < height))[:, None] & ((xs >= 0) & (xs < width))[None, :]
    rows, columns = np.clip(ys, 0, height - 1)[:, None], np.clip(xs, 0, width - 1)[None, :]
    nucleus = (field.nucleus_labels[rows, columns] == label) & inside
    cell = (field.ck_labels[rows, columns] == label) & inside
    outline = field.cells[label - 1].outline
    if len(outline):  # the whole of it: labels show only what nothing else lies on
        ring = (outline[:, ::-1] + 0.5) / grid.downsample - 0.5 - (top, left)
        cell |= polygon2mask((side, side), ring) & inside  # type: ignore[no-untyped-call]
    result[0] = cell | nucleus
    result[1] = nucleus
    return result
