"""Simulated fields that look like a laboratory's slides: what some hundred verdicts cannot teach, these do.

Readers say what a few cells are, and the slides show how the laboratory stains. The simulator is set by both: of each
field's laboratories, drawn at random, the one is taken whose ordinary cells come nearest to a reviewed slide's (the
rejection of approximate Bayesian computation: Pritchard et al. 1999, Mol Biol Evol 16:1791), with the slide's own stain
vectors, and its tumour cells are stained as strongly as those that the readers named.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

import numpy as np
import numpy.typing as npt

from dtcseg.network.model import LOOK_CLASSES, LOOK_MPP_UM
from dtcseg.screen import read_planes
from dtcseg.working import plan_grid
from dtcseg_training.fields import ArraySlide, draw_profile, far_off, unusual
from dtcseg_training.learn.style import apart, style_of
from dtcseg_training.simulate import draw_spec, render_field
from dtcseg_training.simulate.spec import jittered

if TYPE_CHECKING:
    from dtcseg.cells import Stain
    from dtcseg.network.laboratory import Signature
    from dtcseg_training.learn.training_set import SlideCrops
    from dtcseg_training.simulate import Field
    from dtcseg_training.simulate.spec import FieldSpec

_FIELD_UM, _PILOT_UM = 264, 110
_PILOTS = 12
_OBJECT_PX = 26
"""Half the width of what is left out in the middle of a crop: the object that was judged."""
_MPP_UM = (0.25, 1.05)
_TURN, _CHROMOGEN_TURN = 0.02, 0.07
"""Errors of the parts of a slide's stain vectors: hematoxylin is measured on all cells, the chromogen on very few."""
_STICKING, _VEIL = (0.02, 0.3), (0.03, 0.15)
"""OD of chromogen on every cell (least, most); on the glass (mean, most)."""
_SHOWN = 0.75
"""What half the tumour cells show over their outlines, of what is typical of their laboratory (`Staining.ck_od`);
measured on 300 simulated fields."""
_USUAL_LOG_CK_OD, _USUAL_SD, _CELLS_SD, _DRAWN_SD = np.log(0.6), 0.4, 0.5, 0.15
"""Logarithm of `ck_od` over laboratories, that of single cells around it, and how much fields differ."""
_LEAST_SPREAD, _SPREAD_SD = 0.003, 0.3
"""OD; how far (logarithm) it differs between slides of one laboratory. Without it too little stuck to the cells."""
_FAR = 0.5
_TUMOUR = LOOK_CLASSES.index("tumour")


@dataclass(frozen=True)
class Sitter:
    """A slide that fields are made like.

    Attributes
    ----------
    stain : Stain
    mpp_um : float
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
        Sitter(cast("Stain", slide.stain), slide.mpp_um, slide.signature, _style(slide), log_ck_od, sd)
        for slide in slides
        if len(slide.calls)
    ]


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


def draw_alike(known: Sequence[Sitter], rng: np.random.Generator) -> tuple[Field, Stain]:
    """Render a field like one of the slides, rich in what is rare; with the stain that the slide is known to have."""
    sitter = known[int(rng.integers(len(known)))]
    specs = [_spec(sitter, rng) for _ in range(_PILOTS)]
    seed = int(rng.integers(0, 2**62))
    spec = min(specs, key=lambda one: _unlike(one, sitter, seed))
    sd = float(np.hypot(sitter.log_ck_od_sd, _DRAWN_SD))
    ck_od = float(np.exp(rng.normal(sitter.log_ck_od, sd)))
    staining = replace(spec.staining, ck_od=max(ck_od, 2.5 * spec.staining.cytoplasm_ck_od))
    return render_field(replace(spec, staining=staining), rng), sitter.stain


def _spec(sitter: Sitter, rng: np.random.Generator) -> FieldSpec:
    """Draw a laboratory at random, with what is known of the slide."""
    mpp_um = float(np.clip(sitter.mpp_um, *_MPP_UM))
    side = round(_FIELD_UM / mpp_um)
    spec = unusual(rng, draw_spec(rng, stain=sitter.stain, mpp_um=mpp_um, size_px=(side, side), enriched=True))
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


def _unlike(spec: FieldSpec, sitter: Sitter, seed: int) -> float:
    """Tell how far a small field of ordinary cells is from the slide's: in style, and in how far their CK spreads."""
    rng = np.random.default_rng(seed)
    side = round(_PILOT_UM / spec.mpp_um)
    field = render_field(replace(spec, size_px=(side, side), counts=()), rng)
    profile = draw_profile(field.image, field.channels, field.mpp_um, rng, stain=sitter.stain)
    slide = ArraySlide(field.image, field.mpp_um, field.channels)
    grid = plan_grid(slide, field.mpp_um, LOOK_MPP_UM)
    planes = read_planes(slide, grid, profile, 0, 0, grid.width_px, grid.height_px)
    style = style_of(planes, np.ones(planes.shape[1:], bool))
    spreads = np.log(np.maximum((profile.ck_spread, sitter.signature[-1]), _LEAST_SPREAD))
    return float(np.hypot(apart(style, np.array(sitter.style)), (spreads[0] - spreads[1]) / _SPREAD_SD))
