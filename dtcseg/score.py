"""One slide from file to `SlideScore`: the main road, step by step."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, cast

import numpy as np
import numpy.typing as npt

from dtcseg.cells import Candidate, SlideScore, Stain
from dtcseg.crops import candidate_crops
from dtcseg.errors import MissingResolution, UnreadableRegion, UnsuitableSlide
from dtcseg.look import NEIGHBOURHOOD_UM, look_at
from dtcseg.network.engine import Engine
from dtcseg.network.model import LOOK_MPP_UM, SCREEN_MPP_UM
from dtcseg.network.weights import Card, WeightsInfo, resolve
from dtcseg.ordinary import ordinary_pixels
from dtcseg.overview import Overview, read_overview
from dtcseg.parallel import cores
from dtcseg.quality import BLOCK_PX, Code, QualityMap, Spots, find_spots, judge, summary
from dtcseg.sampling import blocks_of, counted_in, draw_fields, estimate_total, field_areas_mm2
from dtcseg.screen import Road, Screening, SlideProfile, block_grid, network_share, screen_slide, search_windows
from dtcseg.slide import match_channels, open_slide
from dtcseg.stain.brightfield import (
    BrightfieldProfile,
    Vector,
    chromogen_places,
    estimate_brightfield,
    estimate_hematoxylin,
    foreign_share,
)
from dtcseg.stain.fluorescence import FluorescenceProfile, estimate_fluorescence
from dtcseg.windows import cells_near, cells_of
from dtcseg.working import WorkingGrid, box_mean, plan_grid, read_working

if TYPE_CHECKING:
    from dtcseg.config import ScoreConfig, SlideJob
    from dtcseg.slide import Slide
    from dtcseg.slide._base import PixelArray, ResolutionSource
    from dtcseg.tiles import Tile

OnProgress = Callable[[float], None]

MIN_MPP_UM, MAX_MPP_UM = 0.1, 1.1
"""Finer is no cytospin scan, coarser does not show a nucleus (7 µm) well enough to judge it."""
MAX_CANDIDATES = 10_000
"""More than this on one slide is precipitate or a wrong stain, not cells; the best of them are kept and it is said."""

_SPOTS_MPP_UM = 8.0
_SPOTS_MAX_PX = 1.5e6
"""A larger overview is made coarser before the spots are looked for, so that memory does not grow with the slide."""
_MAX_FOREIGN = 0.5
_SAMPLE_FIELDS = 32
_SAMPLE_PX = 96
_PLACES = 48
_PLACE_PX = 24
_APART_UM = 40.0
_DEFAULT_GPU_BATCH = 8
_MOST_ASKED, _MOST_GLANCED_AT = 0.6, 0.2
"""Shares of the network's work above which a sample of fields saves too little to be worth its error, in float32 and in
integers: the slide is read twice, and small windows have wide halos."""
_CELL_ERROR_RATE = 0.04
"""Share of single nuclei that are missed or counted twice, independent of each other, on slides not trained on."""


@dataclass(frozen=True)
class _Opened:
    """A slide with what was learned from looking at it small."""

    slide: Slide
    mpp_um: float
    spots: Spots
    mask: npt.NDArray[np.bool_]
    grid: WorkingGrid
    threads: int


def score_slide(job: SlideJob, config: ScoreConfig, on_progress: OnProgress = lambda share: None) -> SlideScore:
    """Score one slide.

    Parameters
    ----------
    job : SlideJob
    config : ScoreConfig
    on_progress : callable
        Told the share done, 0..1.

    Raises
    ------
    SlideError
        The slide cannot be scored; says why and what to do.
    UsageError
        The weights or the device asked for are not to be had.
    """
    engine = load_engine(resolve(config.model), config.device)
    with open_slide(
        job.files,
        mpp_um=job.mpp_um,
        mpp_source=cast("ResolutionSource", job.mpp_source or "flag"),
        channels=job.channels,
    ) as slide:
        return score_open(slide, job, engine, config, on_progress)


def score_open(
    slide: Slide, job: SlideJob, engine: Engine, config: ScoreConfig, on_progress: OnProgress = lambda share: None
) -> SlideScore:
    """Score a slide that is open already; otherwise as `score_slide`."""
    opened, profile = _prepare(slide, job, max(1, cores() // max(config.workers, 1)), engine)
    on_progress(0.05)
    return _score(opened, profile, engine, config, on_progress)


@lru_cache(maxsize=1)
def load_engine(info: WeightsInfo, device: str) -> Engine:
    """Load the networks once a process."""
    return Engine(info, device)


def _prepare(slide: Slide, job: SlideJob, threads: int, engine: Engine) -> tuple[_Opened, SlideProfile]:
    """Look at the slide small, and learn from that how its pixels turn into planes; the overview is not kept.

    Learned twice: what of the sample is ordinary cells shows only once there are planes to look at.
    """
    opened, overview = _look_small(slide, threads)
    fields = _sample(opened, overview)
    sample = cast("PixelArray", np.concatenate([field.reshape(-1, field.shape[2]) for field in fields]))
    estimate = _estimator(opened, overview, job, sample)
    profile = estimate(sample)
    if len(sample):
        profile = estimate(ordinary_pixels(fields, profile, engine, opened.grid.mpp_um))
    return opened, profile


def _look_small(slide: Slide, threads: int) -> tuple[_Opened, Overview]:
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
    return _Opened(slide, mpp_um, spots, mask, plan_grid(slide, mpp_um, SCREEN_MPP_UM), threads), overview


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
    opened: _Opened, overview: Overview, job: SlideJob, sample: PixelArray
) -> Callable[[PixelArray], SlideProfile]:
    """Choose how to learn from pixels of ordinary cells how this slide turns into planes."""
    if opened.slide.kind == "fluorescence":
        if job.stain not in (None, "if"):
            raise UnsuitableSlide(
                opened.slide.path, f"it has fluorescence channels, but its stain is said to be {job.stain}"
            )
        roles = match_channels(opened.slide.channels)
        return lambda pixels: estimate_fluorescence(pixels, roles, job.stain_source or "image")
    if job.stain == "if":
        raise UnsuitableSlide(opened.slide.path, "it is a brightfield (RGB) image, but its stain is said to be if")
    white, sample = _white(opened, overview), cast("npt.NDArray[np.uint8]", sample)
    foreign = foreign_share(sample, white)
    if foreign > _MAX_FOREIGN:
        raise UnsuitableSlide(
            opened.slide.path,
            f"{100 * foreign:.0f} % of what is stained is of no colour of hematoxylin, new fuchsin, fast red, AEC or "
            "DAB; is it a cytokeratin slide?",
        )
    patches = _chromogen_patches(opened, overview, sample, white, job.stain)
    return lambda pixels: estimate_brightfield(
        cast("npt.NDArray[np.uint8]", pixels), patches, white, job.stain, job.stain_source
    )


def _chromogen_patches(
    opened: _Opened, overview: Overview, sample: npt.NDArray[np.uint8], white: Vector, stain: Stain | None
) -> list[npt.NDArray[np.uint8]]:
    """Pixels around the places that look most like chromogen."""
    pixels = cast("npt.NDArray[np.uint8]", overview.pixels)
    scale = overview.grid.mpp_um
    mask = _resized(opened.mask, pixels.shape[:2]) & overview.readable & ~_resized(opened.spots.ink, pixels.shape[:2])
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
        centre = [int((v + 0.5) * scale / opened.grid.mpp_um) for v in (x, y)]
        patch = _read_patch(opened, centre[0] - _PLACE_PX // 2, centre[1] - _PLACE_PX // 2, _PLACE_PX)
        if patch is not None:
            patches.append(cast("npt.NDArray[np.uint8]", patch.reshape(-1, patch.shape[2])))
    return patches


def _white(opened: _Opened, overview: Overview) -> Vector:
    """Clean glass, or the brightest ground between the cells where no glass is seen."""
    if opened.spots.glass is not None:
        level = opened.spots.glass
    else:
        level = np.percentile(overview.pixels.reshape(-1, overview.pixels.shape[2]), 98, axis=0)
    r, g, b = (round(float(v), 2) for v in level[:3])
    return r, g, b


def _sample(opened: _Opened, overview: Overview) -> list[PixelArray]:
    """Fields at about 1 µm/px, spread evenly over the spots; the same on every run, one of no pixels without a spot."""
    rows, columns = np.nonzero(opened.mask)
    if not rows.size:
        return [cast("PixelArray", np.zeros((0, 1, len(opened.slide.channels)), overview.pixels.dtype))]
    picks = np.linspace(0, rows.size - 1, 4 * _SAMPLE_FIELDS).astype(int)
    picks = np.random.default_rng(0).permutation(picks)
    fields: list[PixelArray] = []
    for pick in picks:
        x, y = (
            int((v[pick] + 0.5) * opened.spots.mpp_um / opened.grid.mpp_um) - _SAMPLE_PX // 2 for v in (columns, rows)
        )
        field = _read_patch(opened, x, y, _SAMPLE_PX)
        if field is not None:
            fields.append(field)
        if len(fields) == _SAMPLE_FIELDS:
            break
    if not fields:
        raise UnreadableRegion(
            opened.slide.path, "no part of the spot can be decoded; copy the file again from the scanner"
        )
    return fields


def _read_patch(opened: _Opened, x: int, y: int, side: int) -> PixelArray | None:
    """Read a square, moved or shrunk to lie on the slide; None where it cannot be decoded."""
    grid = opened.grid
    width, height = min(side, grid.width_px), min(side, grid.height_px)
    x, y = min(max(x, 0), grid.width_px - width), min(max(y, 0), grid.height_px - height)
    try:
        return read_working(opened.slide, grid, x, y, width, height)
    except UnreadableRegion:
        return None


@dataclass(frozen=True)
class _FirstLook:
    """What the first look says, all in the screened area.

    `nuclei_px` (N, 2) are those counted, in level-0 pixels; `centres` (N, 3) are x, y in working pixels, and logit.
    `around` finds the nuclei around places, for `look_at`.
    """

    quality: QualityMap
    focus: dict[str, float]
    nuclei_px: npt.NDArray[np.float32]
    centres: npt.NDArray[np.float32]
    around: Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float32]]
    mnc: int
    sampling_error: float = 0.0
    counted: dict[str, object] = field(default_factory=lambda: {"count": "all"})


def _score(
    opened: _Opened, profile: SlideProfile, engine: Engine, config: ScoreConfig, on_progress: OnProgress
) -> SlideScore:
    """Both looks and the judgement of quality."""
    road = Road(
        tile_px=config.tile_px,
        batch=config.batch or (1 if engine.device.type == "cpu" else _DEFAULT_GPU_BATCH),
        threads=opened.threads,
    )
    first_look = _look_at_all if config.count == "all" else _look_at_some
    first = first_look(opened, profile, engine, road, lambda share: on_progress(0.05 + 0.8 * share))
    centres, flags = first.centres, list(first.quality.flags(first.mnc))
    if first.counted["count"] == "sampled":
        flags.append(f"count_sampled:{first.counted['fields']}_of_{first.counted['of']}_fields")
    if len(centres) > MAX_CANDIDATES:
        flags.append(f"too_many_candidates:{len(centres)}")
        best = np.sort(np.argsort(-centres[:, 2], kind="stable")[:MAX_CANDIDATES])
        centres = centres[best]
    close = plan_grid(opened.slide, opened.mpp_um, LOOK_MPP_UM)
    candidates = look_at(
        opened.slide,
        close,
        profile,
        engine,
        _level0(centres, opened.grid),
        first.around,
        threads=opened.threads,
        on_progress=lambda share: on_progress(0.85 + 0.15 * share),
    )
    score = _slide_score(opened, profile, engine, first, candidates, flags)
    return replace(score, crops=candidate_crops(opened.slide, close, profile, candidates))


def _look_at_all(
    opened: _Opened, profile: SlideProfile, engine: Engine, road: Road, on_progress: OnProgress
) -> _FirstLook:
    """Count every nucleus."""
    screening = _screen(opened, profile, engine, road, on_progress)
    quality = _quality(opened, screening)
    focus = summary(screening.stats, quality.codes)
    nuclei_px = _nuclei_px(_screened(screening.nuclei, quality, opened.grid), opened.grid)
    centres = _screened(screening.candidates, quality, opened.grid)
    return _FirstLook(quality, focus, nuclei_px, centres, lambda places: nuclei_px, len(nuclei_px))


def _look_at_some(
    opened: _Opened, profile: SlideProfile, engine: Engine, road: Road, on_progress: OnProgress
) -> _FirstLook:
    """Count the nuclei of a sample of fields; seek candidates wherever there is cytokeratin.

    Where that is nearly everywhere, counting all costs no more, and is what is done and said.
    """
    grid = opened.grid
    screening = _screen(opened, profile, None, road, lambda share: on_progress(0.2 * share))
    quality = _quality(opened, screening)
    focus = summary(screening.stats, quality.codes)
    areas = field_areas_mm2(quality)
    drawn = draw_fields(areas)
    fields = blocks_of(drawn, quality.codes.shape)
    screened = cells_of(quality.codes == Code.SCREENED, screening.stained.shape)
    asked = screened & (screening.stained | cells_of(fields, screening.stained.shape))
    share = network_share(asked, screened, road.tile_px)

    def search(asked: npt.NDArray[np.bool_], on_progress: OnProgress) -> list[npt.NDArray[np.float32]]:
        """Nuclei and candidates, in the screened area."""
        found = search_windows(opened.slide, grid, profile, engine, road, asked=asked, on_progress=on_progress)
        return [_screened(points, quality, grid) for points in found]

    def around(places: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
        reach_px = NEIGHBOURHOOD_UM / grid.mpp_um + 1
        near = cells_near((places + 0.5) / grid.downsample - 0.5, reach_px, screened.shape)
        return _nuclei_px(search(near & screened, lambda share: None)[0], grid)

    rest: OnProgress = lambda share: on_progress(0.2 + 0.8 * share)  # noqa: E731
    if share > _most_asked(engine):
        nuclei, centres = search(screened, rest)
        nuclei_px = _nuclei_px(nuclei, grid)
        said: dict[str, object] = {"count": "all", "why": f"sampling would leave the network {share:.0%} of the slide"}
        return _FirstLook(quality, focus, nuclei_px, centres, lambda places: nuclei_px, len(nuclei_px), counted=said)
    nuclei, centres = search(asked, rest)
    nuclei, counts = counted_in(nuclei, fields, areas.shape)
    estimate = estimate_total(counts, areas, drawn)
    said = {
        "count": "sampled",
        "fields": int(drawn.sum()),
        "of": int((areas > 0).sum()),
        "nuclei": len(nuclei),
        "area_mm2": round(float(areas[drawn].sum()), 4),
        "half_width": round(estimate.half_width, 1),
    }
    counted_px = _nuclei_px(nuclei, grid)
    return _FirstLook(quality, focus, counted_px, centres, around, round(estimate.total), estimate.half_width, said)


def _most_asked(engine: Engine) -> float:
    return _MOST_GLANCED_AT if engine.glances else _MOST_ASKED


def _screen(
    opened: _Opened, profile: SlideProfile, engine: Engine | None, road: Road, on_progress: OnProgress
) -> Screening:
    cover = block_grid(opened.grid).cover(opened.mask, opened.spots.mpp_um)
    return screen_slide(
        opened.slide,
        opened.grid,
        profile,
        engine,
        road,
        worth=lambda tile: _holds(cover, tile),
        on_progress=on_progress,
    )


def _holds(cover: npt.NDArray[np.float32], tile: Tile) -> bool:
    """Whether any block that the tile touches lies in a spot."""
    rows = slice(tile.y // BLOCK_PX, (tile.y + tile.height - 1) // BLOCK_PX + 1)
    columns = slice(tile.x // BLOCK_PX, (tile.x + tile.width - 1) // BLOCK_PX + 1)
    return bool((cover[rows, columns] > 0).any())


def _quality(opened: _Opened, screening: Screening) -> QualityMap:
    blocks = screening.blocks
    codes = judge(
        screening.stats,
        blocks.cover(opened.mask, opened.spots.mpp_um),
        ink=opened.spots.ink_cover(blocks),
        unreadable=screening.unreadable,
    )
    return QualityMap(blocks, codes)


def _screened(points: npt.NDArray[np.float32], quality: QualityMap, grid: WorkingGrid) -> npt.NDArray[np.float32]:
    """Points (x, y, logit) in working pixels that lie in the screened area."""
    x_um, y_um = ((points[:, i].astype(np.float64) + 0.5) * grid.mpp_um for i in (0, 1))
    return points[quality.is_screened(x_um, y_um)]


def _level0(points: npt.NDArray[np.float32], grid: WorkingGrid) -> npt.NDArray[np.float64]:
    return (points[:, :2].astype(np.float64) + 0.5) * grid.downsample - 0.5


def _nuclei_px(nuclei: npt.NDArray[np.float32], grid: WorkingGrid) -> npt.NDArray[np.float32]:
    return _level0(nuclei, grid).astype(np.float32)


def _slide_score(
    opened: _Opened,
    profile: SlideProfile,
    engine: Engine,
    first: _FirstLook,
    candidates: tuple[Candidate, ...],
    flags: list[str],
) -> SlideScore:
    slide, card = opened.slide, engine.info.card
    known = cast("BrightfieldProfile | FluorescenceProfile", profile)
    quality, mnc = first.quality, first.mnc
    spread = math.hypot(
        1.96 * math.sqrt((card.count_relative_sd * mnc) ** 2 + _CELL_ERROR_RATE * mnc), first.sampling_error
    )
    return SlideScore(
        stain=known.stain,
        stain_source=known.stain_source,
        mpp_um=opened.mpp_um,
        mpp_source=slide.resolution.source if slide.resolution else "flag",
        width_px=slide.levels[0].width_px,
        height_px=slide.levels[0].height_px,
        area_mm2=round(quality.area_mm2(Code.SCREENED), 4),
        mnc=mnc,
        mnc_low=round(max(mnc - spread, 0.0), 1),
        mnc_high=round(mnc + spread, 1),
        candidates=candidates,
        nuclei_px=first.nuclei_px,
        excluded_mm2={name: round(area, 4) for name, area in quality.excluded_mm2().items()},
        qc=tuple(flags),
        details={
            "format": slide.format_name,
            "references": slide.references,
            "levels": [[level.width_px, level.height_px] for level in slide.levels],
            "profile": known.to_json(),
            "spots": opened.spots.to_json(),
            "quality": quality.to_json(),
            "recall": _recall(card),
            "device": str(engine.device.type),
            "precision": engine.precision,
            "focus": first.focus,
            "counted": first.counted,
        },
    )


def _recall(card: Card) -> dict[str, int] | None:
    """Tumour cells called of those on the held-out fields of the weights' card; None where the card does not say."""
    total, seen, called = (
        card.figures.get(name) for name in ("held_out_tumour_cells", "candidate_recall_of_tumour", "call_recall_tumour")
    )
    if not (isinstance(total, int) and isinstance(seen, float) and isinstance(called, float)):
        return None
    return {"found": round(total * seen * called), "total": total}


def _resized(mask: npt.NDArray[np.bool_], shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """Nearest-neighbour copy of a mask at another resolution."""
    rows = np.minimum((np.arange(shape[0]) + 0.5) * mask.shape[0] / shape[0], mask.shape[0] - 1).astype(int)
    columns = np.minimum((np.arange(shape[1]) + 0.5) * mask.shape[1] / shape[1], mask.shape[1] - 1).astype(int)
    return cast("npt.NDArray[np.bool_]", mask[rows[:, None], columns[None, :]])
