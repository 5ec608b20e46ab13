"""Simulated fields that look like a laboratory's slides: what some hundred verdicts cannot teach, these do.

Readers say what a few cells are, and the slides show how the laboratory stains. The simulator is set by both. Of some
hundred laboratories drawn at random those are kept whose ordinary cells come nearest to a reviewed slide's, then of as
many bred from these (approximate Bayesian computation by rejection, in two rounds: Sisson et al. 2007, PNAS 104:1760).
They have the slide's own stain vectors, and their tumour cells are stained as strongly as those that the readers named.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar, cast

import numpy as np
import numpy.typing as npt

from dtcseg.network.model import LOOK_CLASSES, LOOK_MPP_UM
from dtcseg.screen import read_planes
from dtcseg.working import plan_grid
from dtcseg_training.fields import ArraySlide, draw_profile, far_off, unusual
from dtcseg_training.learn.style import apart, style_of
from dtcseg_training.side_by_side import side_by_side
from dtcseg_training.simulate import draw_spec, render_field
from dtcseg_training.simulate.spec import draw_counts, jittered

if TYPE_CHECKING:
    from dtcseg.cells import Stain
    from dtcseg.network.laboratory import Signature
    from dtcseg_training.learn.training_set import SlideCrops
    from dtcseg_training.simulate import Field
    from dtcseg_training.simulate.spec import FieldSpec

_Thing = TypeVar("_Thing")

_FIELD_UM, _PILOT_UM = 264, 110
_ROUNDS, _PILOTS, _KEPT = 2, 300, 16
"""Laboratories tried in each round, and kept for each slide."""
_SEED = 6_400_000
_OBJECT_PX = 26
"""Half the width of what is left out in the middle of a crop: the object that was judged."""
_MPP_UM = (0.25, 1.05)
_TURN, _CHROMOGEN_TURN = 0.02, 0.07
"""Errors of the parts of a slide's stain vectors: hematoxylin is measured on all cells, the chromogen on very few."""
_STICKING, _VEIL = (0.02, 0.3), (0.03, 0.15)
"""OD of chromogen on every cell (least, most); on the glass (mean, most)."""
_SHOWN = 0.75
"""What half the tumour cells show over their outlines, of what is typical of their laboratory (`Staining.ck_od`);
measured on 300 simulated fields of one laboratory."""
_USUAL_LOG_CK_OD, _USUAL_SD, _CELLS_SD, _DRAWN_SD = np.log(0.6), 0.4, 0.5, 0.15
"""Logarithm of `ck_od` over laboratories, that of single cells around it, and how much fields differ."""
_LEAST_SPREAD, _SPREAD_SD = 0.003, 0.3
"""OD; how far (logarithm) it differs between slides of one laboratory. Without it too little stuck to the cells."""
_FAR = 0.5
_BRED_SD = 0.2
"""How far (logarithm) amounts of stain are moved in a laboratory that is bred from others."""
_TUMOUR = LOOK_CLASSES.index("tumour")


@dataclass(frozen=True)
class Sitter:
    """A slide that fields are made like.

    Attributes
    ----------
    stain : Stain
    mpp_um : float
        Of the fields that are like it.
    signature : Signature
    style : tuple of float
        `style_of` beside its reviewed objects.
    log_ck_od, log_ck_od_sd : float
        What is known of the strength of the laboratory's tumour cells; the same of all its slides.
    """

    stain: Stain
    mpp_um: float
    signature: Signature
    style: tuple[float, ...]
    log_ck_od: float
    log_ck_od_sd: float


def sitters(slides: Sequence[SlideCrops], masks: Sequence[npt.NDArray[np.bool_]]) -> list[Sitter]:
    """Measure the slides that are learned from.

    Parameters
    ----------
    slides : sequence of SlideCrops
    masks : sequence of (N, 152, 152) bool
        What belongs to each reviewed object.
    """
    log_ck_od, sd = _strength(slides, masks)
    return [
        Sitter(cast("Stain", slide.stain), _rendered_mpp_um(slide), slide.signature, _style(slide), log_ck_od, sd)
        for slide in slides
        if len(slide.calls)
    ]


def _rendered_mpp_um(slide: SlideCrops) -> float:
    """Pixel size that its fields are rendered at: in steps of 0.05, since scanners differ in the third decimal."""
    return round(20 * float(np.clip(slide.mpp_um, *_MPP_UM))) / 20


def _style(slide: SlideCrops) -> tuple[float, ...]:
    side = slide.crops.shape[-1]
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    beside = np.hypot(x, y) > _OBJECT_PX
    styles = [style_of(crop.astype(np.float32), beside) for crop in slide.crops]
    return tuple(round(float(value), 5) for value in np.median(styles, axis=0))


def _strength(slides: Sequence[SlideCrops], masks: Sequence[npt.NDArray[np.bool_]]) -> tuple[float, float]:
    """Mean and standard deviation of what is known of `ck_od` (logarithm): the usual, and the tumour cells' median."""
    shown = [
        float(crop[1][mask].astype(np.float32).mean())
        for slide, drawn in zip(slides, masks, strict=True)
        for crop, mask, call in zip(slide.crops, drawn, slide.calls, strict=True)
        if call == _TUMOUR and mask.any() and len(slide.signature) > 1
    ]
    if not shown:
        return float(_USUAL_LOG_CK_OD), _USUAL_SD
    seen = np.log(max(float(np.median(shown)), 0.05) / _SHOWN)
    precisions = np.array([_USUAL_SD**-2, len(shown) * _CELLS_SD**-2])
    mean = float((precisions * (_USUAL_LOG_CK_OD, seen)).sum() / precisions.sum())
    return round(mean, 5), round(float(precisions.sum() ** -0.5), 5)


@dataclass(frozen=True)
class Likeness:
    """A slide, and laboratories of the simulator that make such slides."""

    sitter: Sitter
    specs: tuple[FieldSpec, ...]


def set_simulator(
    known: Sequence[Sitter], *, processes: int, on_pilot: Callable[[int, int], None], stop: Callable[[], bool]
) -> list[Likeness] | None:
    """Find laboratories of the simulator that make slides like these.

    Parameters
    ----------
    known : sequence of Sitter
    processes : int
    on_pilot : callable
        Told how many small fields are rendered, and of how many.
    stop : callable
        Asked after each.

    Returns
    -------
    list of Likeness or None
        One for each slide, save those of a stain and pixel size so rare among them that no laboratory was tried; None
        where it was asked to stop. The same slides give the same.
    """
    rng = np.random.default_rng(_SEED)
    tried: list[FieldSpec] = []
    seen: list[_Seen] = []
    found: list[Likeness] = []
    for _ in range(_ROUNDS):
        parents = [spec for likeness in found for spec in likeness.specs]
        specs = [_bred(parents, rng) if parents else _spec(_any(known, rng), rng) for _ in range(_PILOTS)]
        tried += specs
        for pilot in side_by_side(_pilot, specs, processes):
            seen.append(pilot)
            on_pilot(len(seen), _ROUNDS * _PILOTS)
            if stop():
                return None
        likenesses = (Likeness(sitter, _nearest(sitter, tried, seen)) for sitter in known)
        found = [likeness for likeness in likenesses if likeness.specs]
    return found


def draw_alike(known: Sequence[Likeness], rng: np.random.Generator) -> tuple[Field, Stain]:
    """Render a field like one of the slides, rich in what is rare; with the stain that the slide is known to have."""
    likeness = _any(known, rng)
    sitter, spec = likeness.sitter, _any(likeness.specs, rng)
    sd = float(np.hypot(sitter.log_ck_od_sd, _DRAWN_SD))
    ck_od = float(np.exp(rng.normal(sitter.log_ck_od, sd)))
    staining = replace(spec.staining, ck_od=max(ck_od, 2.5 * spec.staining.cytoplasm_ck_od))
    side = round(_FIELD_UM / spec.mpp_um)
    spec = replace(spec, size_px=(side, side), staining=staining)
    return render_field(replace(spec, counts=draw_counts(rng, spec, enriched=True, dirt=1.0)), rng), sitter.stain


def _any(of: Sequence[_Thing], rng: np.random.Generator) -> _Thing:
    return of[int(rng.integers(len(of)))]


def _spec(sitter: Sitter, rng: np.random.Generator) -> FieldSpec:
    """Draw a laboratory at random, with what is known of the slide, and a small field of its ordinary cells."""
    side = round(_PILOT_UM / sitter.mpp_um)
    spec = unusual(rng, draw_spec(rng, stain=sitter.stain, mpp_um=sitter.mpp_um, size_px=(side, side)))
    spec = replace(spec, counts=())
    if rng.random() < _FAR:
        spec = far_off(rng, spec)
    if len(sitter.signature) == 1:
        return spec
    staining = replace(
        spec.staining,
        hematoxylin=jittered(rng, sitter.signature[:3], _TURN),
        chromogen=jittered(rng, sitter.signature[3:6], _CHROMOGEN_TURN),
        cytoplasm_ck_od=float(np.exp(rng.uniform(*np.log(_STICKING)))),
        background_ck_od=float(min(rng.exponential(_VEIL[0]), _VEIL[1])),
    )
    return replace(spec, staining=staining)


def _bred(parents: Sequence[FieldSpec], rng: np.random.Generator) -> FieldSpec:
    """Take the parts of laboratories that came near: each from any of one stain and pixel size."""
    spec = _any(parents, rng)
    kin = [one for one in parents if (one.stain, one.mpp_um) == (spec.stain, spec.mpp_um)]
    optics, camera, light, look, crowd = (_any(kin, rng) for _ in range(5))
    moved = np.exp(rng.normal(0, _BRED_SD, 3))
    staining = replace(
        spec.staining,
        nuclear_od=spec.staining.nuclear_od * float(moved[0]),
        cytoplasm_ck_od=spec.staining.cytoplasm_ck_od * float(moved[1]),
        background_ck_od=spec.staining.background_ck_od * float(moved[2]),
    )
    return replace(
        spec,
        staining=staining,
        optics=optics.optics,
        camera=camera.camera,
        fluorescence=light.fluorescence,
        look=look.look,
        density_per_mm2=crowd.density_per_mm2,
        clumping=crowd.clumping,
        overlap=crowd.overlap,
        composition=crowd.composition,
    )


@dataclass(frozen=True)
class _Seen:
    """What was measured of a small field."""

    style: npt.NDArray[np.float64]
    ck_spread: float


def _pilot(spec: FieldSpec) -> _Seen:
    """Render a small field and measure it."""
    rng = np.random.default_rng(_SEED)
    field = render_field(spec, rng)
    profile = draw_profile(field.image, field.channels, field.mpp_um, rng, stain=spec.stain)
    slide = ArraySlide(field.image, field.mpp_um, field.channels)
    grid = plan_grid(slide, field.mpp_um, LOOK_MPP_UM)
    planes = read_planes(slide, grid, profile, 0, 0, grid.width_px, grid.height_px)
    return _Seen(style_of(planes, np.ones(planes.shape[1:], bool)), profile.ck_spread)


def _nearest(sitter: Sitter, specs: Sequence[FieldSpec], seen: Sequence[_Seen]) -> tuple[FieldSpec, ...]:
    own = [i for i, spec in enumerate(specs) if (spec.stain, spec.mpp_um) == (sitter.stain, sitter.mpp_um)]
    return tuple(specs[i] for i in sorted(own, key=lambda i: _unlike(sitter, seen[i]))[:_KEPT])


def _unlike(sitter: Sitter, seen: _Seen) -> float:
    """Tell how far a field is from the slide: in style, and in how far the cytokeratin of its cells spreads."""
    spreads = np.log(np.maximum((seen.ck_spread, sitter.signature[-1]), _LEAST_SPREAD))
    return float(np.hypot(apart(seen.style, np.array(sitter.style)), (spreads[0] - spreads[1]) / _SPREAD_SD))
