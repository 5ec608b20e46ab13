"""A slide in parts, for machines that share one: begun by one of them, looked at by several, finished by one.

Each step is a function of the slide and of what the steps before handed on, so whoever takes it finds the same. A
small slide, or one of which a sample is counted, is not worth cutting: the step that would begin it scores it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

from dtcseg.config import PREPARED_SHARE
from dtcseg.isolation import HandedOn, Step
from dtcseg.prepare import prepare
from dtcseg.score import (
    Opened,
    every_nucleus,
    look_closer,
    score_prepared,
    slide_of,
    threads_of,
    tiles_to_screen,
)
from dtcseg.screen import Found, gather, screen_tiles

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dtcseg.cells import SlideScore
    from dtcseg.config import ScoreConfig, SlideJob
    from dtcseg.network.engine import Engine
    from dtcseg.prepare import Prepared
    from dtcseg.score import OnProgress

PART_TILES = 16
"""Tiles of a part: some five seconds of one core, so that workers end a batch within seconds of each other, and a
hundred times what a task costs."""


@dataclass(frozen=True)
class _Part:
    """What a part shows, and how it was seen."""

    found: tuple[Found, ...]
    device: str
    precision: str


def take_step(
    job: SlideJob, config: ScoreConfig, on_progress: OnProgress, step: Step, handed: Sequence[object] = ()
) -> SlideScore | HandedOn:
    """Take one step of scoring a slide.

    Parameters
    ----------
    job, config
        As `dtcseg.score.score_slide`, and the same for all steps of a slide.
    on_progress : callable
        Told the share done, 0..1: of the part where one is looked at, of the whole slide otherwise.
    step : Step
    handed : sequence of object
        `HandedOn.content` of the steps that this one needs: the first, and to finish, those of all parts.

    Returns
    -------
    SlideScore or HandedOn
        What the slide holds, after its last step; what the next steps need, after any other.

    Raises
    ------
    SlideError, UsageError
        As `dtcseg.score.score_slide`.
    """
    with slide_of(job, config) as (slide, engine):
        if step.kind == "begin":
            return _begin(Opened(slide, engine, config, prepare(slide, job, engine, threads_of(config))), on_progress)
        known, *parts = handed
        opened = Opened(slide, engine, config, cast("Prepared", known))
        if step.kind == "look":
            return _look(opened, step.part, on_progress)
        return _finish(opened, cast("list[_Part]", parts), on_progress)


def _begin(opened: Opened, on_progress: OnProgress) -> SlideScore | HandedOn:
    parts = -(-len(tiles_to_screen(opened)) // PART_TILES)
    if opened.config.count != "all" or parts < 2:
        return score_prepared(opened, on_progress)
    on_progress(PREPARED_SHARE)
    return HandedOn(opened.known, parts)


def _look(opened: Opened, part: int, on_progress: OnProgress) -> HandedOn:
    known, engine = opened.known, opened.engine
    tiles = tiles_to_screen(opened)[part * PART_TILES : (part + 1) * PART_TILES]
    found = screen_tiles(opened.slide, known.grid, known.profile, engine, opened.road, tiles, on_progress)
    return HandedOn(_Part(tuple(found), *_how(engine)))


def _finish(opened: Opened, parts: list[_Part], on_progress: OnProgress) -> SlideScore:
    first = every_nucleus(opened, gather(opened.known.grid, (found for part in parts for found in part.found)))
    score = look_closer(opened, first, on_progress)
    ways = {_how(opened.engine), *((part.device, part.precision) for part in parts)}
    device, precision = (", ".join(sorted(set(names))) for names in zip(*ways, strict=True))
    return replace(score, details={**score.details, "device": device, "precision": precision})


def _how(engine: Engine) -> tuple[str, str]:
    return str(engine.device.type), engine.precision
