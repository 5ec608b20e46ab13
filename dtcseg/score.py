"""One slide from file to `SlideScore`: the main road, step by step."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, cast

import numpy as np
import numpy.typing as npt

from dtcseg.cells import MANY_TUMOUR_CALLS, Candidate, SlideScore
from dtcseg.config import PREPARED_SHARE, SCREENED_SHARE
from dtcseg.crops import candidate_crops
from dtcseg.look import NEIGHBOURHOOD_UM, look_at
from dtcseg.network.engine import Engine
from dtcseg.network.model import LOOK_MPP_UM
from dtcseg.network.weights import Card, WeightsInfo, resolve
from dtcseg.parallel import cores
from dtcseg.prepare import Prepared, prepare
from dtcseg.quality import BLOCK_PX, Code, QualityMap, judge, summary
from dtcseg.sampling import blocks_of, counted_in, draw_fields, estimate_total, field_areas_mm2
from dtcseg.screen import Road, Screening, block_grid, gather, network_share, screen_tiles, search_windows, tiles_of
from dtcseg.slide import open_slide
from dtcseg.windows import cells_near, cells_of
from dtcseg.working import WorkingGrid, plan_grid

if TYPE_CHECKING:
    from dtcseg.config import ScoreConfig, SlideJob
    from dtcseg.slide import Slide
    from dtcseg.slide._base import ResolutionSource
    from dtcseg.stain.brightfield import BrightfieldProfile
    from dtcseg.stain.fluorescence import FluorescenceProfile
    from dtcseg.tiles import Tile

OnProgress = Callable[[float], None]

MAX_CANDIDATES = 10_000
"""More than this on one slide is precipitate or a wrong stain, not cells; the best of them are kept and it is said."""
_MANY_TUMOUR_PER_MILLION, _MANY_TUMOUR = 1000.0, 20
"""From so many tumour calls on (of each million cells, and on the slide) a person is asked to doubt the slide: marrow
holds a few per million, hundreds are rare, while a stain that sticks to every cell brings thousands."""
_DEFAULT_GPU_BATCH = 8
_MOST_ASKED, _MOST_GLANCED_AT = 0.6, 0.2
"""Shares of the network's work above which a sample of fields saves too little to be worth its error, in float32 and in
integers: the slide is read twice, and small windows have wide halos."""
_CELL_ERROR_RATE = 0.04
"""Share of single nuclei that are missed or counted twice, independent of each other, on slides not trained on."""


@dataclass(frozen=True)
class Opened:
    """A slide that is open, what it is scored with, and what looking at it small has told."""

    slide: Slide
    engine: Engine
    config: ScoreConfig
    known: Prepared

    @property
    def road(self) -> Road:
        """How the first look goes over it."""
        batch = self.config.batch or (1 if self.engine.device.type == "cpu" else _DEFAULT_GPU_BATCH)
        return Road(tile_px=self.config.tile_px, batch=batch, threads=threads_of(self.config))


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
    with slide_of(job, config) as (slide, engine):
        return score_open(slide, job, engine, config, on_progress)


@contextmanager
def slide_of(job: SlideJob, config: ScoreConfig) -> Iterator[tuple[Slide, Engine]]:
    """Open the slide of a job, with what it is scored with; raises as `score_slide`."""
    engine = load_engine(resolve(config.model), config.device)
    with open_slide(
        job.files,
        mpp_um=job.mpp_um,
        mpp_source=cast("ResolutionSource", job.mpp_source or "flag"),
        channels=job.channels,
    ) as slide:
        yield slide, engine


def score_open(
    slide: Slide, job: SlideJob, engine: Engine, config: ScoreConfig, on_progress: OnProgress = lambda share: None
) -> SlideScore:
    """Score a slide that is open already; otherwise as `score_slide`."""
    known = prepare(slide, job, engine, threads_of(config))
    return score_prepared(Opened(slide, engine, config, known), on_progress)


def score_prepared(opened: Opened, on_progress: OnProgress) -> SlideScore:
    """Score a slide that was looked at small; otherwise as `score_slide`."""
    on_progress(PREPARED_SHARE)
    first_look = _look_at_all if opened.config.count == "all" else _look_at_some
    share = SCREENED_SHARE - PREPARED_SHARE
    return look_closer(opened, first_look(opened, lambda done: on_progress(PREPARED_SHARE + share * done)), on_progress)


@lru_cache(maxsize=1)
def load_engine(info: WeightsInfo, device: str) -> Engine:
    """Load the networks once a process."""
    return Engine(info, device)


def threads_of(config: ScoreConfig) -> int:
    """Threads that read a slide: the cores that are this process's share."""
    return max(1, cores() // max(config.workers, 1))


@dataclass(frozen=True)
class FirstLook:
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


def look_closer(opened: Opened, first: FirstLook, on_progress: OnProgress) -> SlideScore:
    """Look at the candidates, and say what was found."""
    known = opened.known
    centres, flags = first.centres, list(first.quality.flags(first.mnc))
    if first.counted["count"] == "sampled":
        flags.append(f"count_sampled:{first.counted['fields']}_of_{first.counted['of']}_fields")
    if len(centres) > MAX_CANDIDATES:
        flags.append(f"too_many_candidates:{len(centres)}")
        best = np.sort(np.argsort(-centres[:, 2], kind="stable")[:MAX_CANDIDATES])
        centres = centres[best]
    close = plan_grid(opened.slide, known.mpp_um, LOOK_MPP_UM)
    candidates = look_at(
        opened.slide,
        close,
        known.profile,
        opened.engine,
        _level0(centres, known.grid),
        first.around,
        threads=threads_of(opened.config),
        on_progress=lambda share: on_progress(SCREENED_SHARE + (1 - SCREENED_SHARE) * share),
    )
    flags += _doubts(candidates, first.mnc)
    score = _slide_score(opened, first, candidates, flags)
    return replace(score, crops=candidate_crops(opened.slide, close, known.profile, candidates))


def _doubts(candidates: tuple[Candidate, ...], mnc: int) -> list[str]:
    """Say what the calls themselves hold against the slide."""
    tumour = sum(candidate.call == "tumour" for candidate in candidates)
    if tumour < _MANY_TUMOUR or tumour * 1e6 < _MANY_TUMOUR_PER_MILLION * mnc:
        return []
    return [f"{MANY_TUMOUR_CALLS}:{tumour}_in_{mnc}_cells"]


def tiles_to_screen(opened: Opened) -> list[Tile]:
    """Tiles of the first look that hold anything but glass."""
    known = opened.known
    cover = block_grid(known.grid).cover(known.mask, known.spots.mpp_um)
    return [tile for tile in tiles_of(known.grid, opened.road) if _holds(cover, tile)]


def every_nucleus(opened: Opened, screening: Screening) -> FirstLook:
    """Count every nucleus in what can be judged."""
    grid = opened.known.grid
    quality = _quality(opened.known, screening)
    focus = summary(screening.stats, quality.codes)
    nuclei_px = _nuclei_px(_screened(screening.nuclei, quality, grid), grid)
    centres = _screened(screening.candidates, quality, grid)
    return FirstLook(quality, focus, nuclei_px, centres, lambda places: nuclei_px, len(nuclei_px))


def _look_at_all(opened: Opened, on_progress: OnProgress) -> FirstLook:
    return every_nucleus(opened, _screen(opened, opened.engine, on_progress))


def _look_at_some(opened: Opened, on_progress: OnProgress) -> FirstLook:
    """Count the nuclei of a sample of fields; seek candidates wherever there is cytokeratin.

    Where that is nearly everywhere, counting all costs no more, and is what is done and said.
    """
    known, grid, engine, road = opened.known, opened.known.grid, opened.engine, opened.road
    screening = _screen(opened, None, lambda share: on_progress(0.2 * share))
    quality = _quality(known, screening)
    focus = summary(screening.stats, quality.codes)
    areas = field_areas_mm2(quality)
    drawn = draw_fields(areas)
    fields = blocks_of(drawn, quality.codes.shape)
    screened = cells_of(quality.codes == Code.SCREENED, screening.stained.shape)
    asked = screened & (screening.stained | cells_of(fields, screening.stained.shape))
    share = network_share(asked, screened, road.tile_px)

    def search(asked: npt.NDArray[np.bool_], on_progress: OnProgress) -> list[npt.NDArray[np.float32]]:
        """Nuclei and candidates, in the screened area."""
        found = search_windows(opened.slide, grid, known.profile, engine, road, asked=asked, on_progress=on_progress)
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
        return FirstLook(quality, focus, nuclei_px, centres, lambda places: nuclei_px, len(nuclei_px), counted=said)
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
    return FirstLook(quality, focus, counted_px, centres, around, round(estimate.total), estimate.half_width, said)


def _most_asked(engine: Engine) -> float:
    return _MOST_GLANCED_AT if engine.glances else _MOST_ASKED


def _screen(opened: Opened, engine: Engine | None, on_progress: OnProgress) -> Screening:
    known = opened.known
    tiles = tiles_to_screen(opened)
    found = screen_tiles(opened.slide, known.grid, known.profile, engine, opened.road, tiles, on_progress)
    return gather(known.grid, found)


def _holds(cover: npt.NDArray[np.float32], tile: Tile) -> bool:
    """Whether any block that the tile touches lies in a spot."""
    rows = slice(tile.y // BLOCK_PX, (tile.y + tile.height - 1) // BLOCK_PX + 1)
    columns = slice(tile.x // BLOCK_PX, (tile.x + tile.width - 1) // BLOCK_PX + 1)
    return bool((cover[rows, columns] > 0).any())


def _quality(known: Prepared, screening: Screening) -> QualityMap:
    blocks = screening.blocks
    codes = judge(
        screening.stats,
        blocks.cover(known.mask, known.spots.mpp_um),
        ink=known.spots.ink_cover(blocks),
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


def _slide_score(opened: Opened, first: FirstLook, candidates: tuple[Candidate, ...], flags: list[str]) -> SlideScore:
    slide, known, engine = opened.slide, opened.known, opened.engine
    card = engine.info.card
    profile = cast("BrightfieldProfile | FluorescenceProfile", known.profile)
    quality, mnc = first.quality, first.mnc
    spread = math.hypot(
        1.96 * math.sqrt((card.count_relative_sd * mnc) ** 2 + _CELL_ERROR_RATE * mnc), first.sampling_error
    )
    return SlideScore(
        stain=profile.stain,
        stain_source=profile.stain_source,
        mpp_um=known.mpp_um,
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
            "profile": profile.to_json(),
            "spots": known.spots.to_json(),
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
