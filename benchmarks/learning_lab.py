"""A laboratory that the released weights do not know, slides at home, and a scripted reader.

What `learning.py` measures on. The new laboratory (`lab_spec`) leaves the ranges of the training
(`dtcseg_training.simulate.spec`) in five ways at once; its slides differ a little from each other as those of one
laboratory do, and hold tumour cells and mimics far more often than ordinary slides, so that few cells tell much.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from dtcseg_training.side_by_side import side_by_side
from dtcseg_training.simulate import read_truth
from dtcseg_training.simulate.cytokeratin import HAEMATOPOIETIC, TUMOUR, UNINTERPRETABLE, UNSEEN_TEXTURES
from dtcseg_training.simulate.slides import write_slide
from dtcseg_training.simulate.spec import FieldSpec, draw_spec, occurs, turned_by
from dtcseg_training.simulate.study import COVERED, PER_MILLION, Entry, write_slides_csv
from dtcseg_training.simulate.truth import truth_paths

if TYPE_CHECKING:
    from dtcseg_training.evaluate import SlideEvaluation

    from dtcseg.cells import Role

PER_MM2 = {
    **dict(zip(TUMOUR, (40.0, 3.0, 1.0), strict=True)),
    **dict.fromkeys(UNINTERPRETABLE, 6.0),
    **dict.fromkeys(HAEMATOPOIETIC, 9.0),
    "squame": 1.0,
    "precipitate": 6.0,
    "pigment": 3.0,
    "debris": 5.0,
    "fibre": 0.5,
    "bubble": 0.3,
    "dust": 5.0,
    "flake": 5.0,
}
"""Objects per mm² on the slides of both laboratories."""
CELLS = 3000
ORDINARY_CELLS = 20_000
"""Of an ordinary slide, which holds of each kind as many as is common and no tumour cell."""
ORDINARY = 10
"""Ordinary slides of each laboratory to judge on, numbered from 100."""
_DENSITY_PER_MM2 = 2200.0
_LAB_SEED, _HOME_SEED = 11_300_000, 9_200_000
"""How verdicts are learned was settled on other laboratories (9,100,000 to 11,100,000)."""


def home_spec(rng: np.random.Generator) -> FieldSpec:
    """Draw a laboratory as in training, another one for each slide."""
    spec = draw_spec(rng, stain="new_fuchsin", mpp_um=0.5, enriched=False)
    return replace(spec, density_per_mm2=_DENSITY_PER_MM2)


def lab_spec(rng: np.random.Generator) -> FieldSpec:
    """Draw a slide of the new laboratory: stain vectors 8 degrees off, sticking chromogen, blur, JPEG, textures."""
    own = np.random.default_rng(_LAB_SEED)  # what is the laboratory's is the same on each of its slides
    spec = draw_spec(own, stain="new_fuchsin", mpp_um=0.5, enriched=False)
    shade = np.exp(rng.normal(0, 0.07, 4))
    staining = replace(
        spec.staining,
        hematoxylin=turned_by(spec.staining.hematoxylin, own.normal(size=3), 8),
        chromogen=turned_by(spec.staining.chromogen, own.normal(size=3), 8),
        nuclear_od=0.6 * float(shade[0]),
        ck_od=0.55 * float(shade[1]),
        cytoplasm_ck_od=0.16 * float(shade[2]),  # training: up to 0.12
        background_ck_od=0.09,  # training: up to 0.08
    )
    optics = replace(spec.optics, blur_um=1.2 * float(shade[3]), defocus_um=0.0, defocus_share=0.0)
    camera = replace(spec.camera, jpeg_quality=32, jpeg_subsampling="420")  # training: from 40
    return replace(
        spec,
        density_per_mm2=_DENSITY_PER_MM2,
        clumping=0.2,
        overlap=0.15,
        staining=staining,
        optics=optics,
        camera=camera,
        textures=UNSEEN_TEXTURES,
    )


def make_slides(
    folder: Path,
    kind: str,
    count: int,
    *,
    first: int = 0,
    ordinary: bool = False,
    role: Role = "sample",
    processes: int = 1,
) -> None:
    """Draw slides where there are none ("lab" or "home"), a patient each, and their slides.csv."""
    if (folder / "slides.csv").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    numbers = range(first, first + count)
    entries = side_by_side(partial(_make, folder, kind, ordinary, role), numbers, processes)
    write_slides_csv(folder / "slides.csv", entries)


def _make(folder: Path, kind: str, ordinary: bool, role: Role, number: int) -> Entry:
    rng = np.random.default_rng([_LAB_SEED if kind == "lab" else _HOME_SEED, number])
    spec = lab_spec(rng) if kind == "lab" else home_spec(rng)
    cells = ORDINARY_CELLS if ordinary else CELLS
    side = round(1000 * np.sqrt(cells / (COVERED * spec.density_per_mm2)) / spec.mpp_um)
    spec = replace(spec, size_px=(side, side))
    rates = _ordinary_rates(spec) if ordinary else PER_MM2
    present = {name: rate for name, rate in rates.items() if occurs(name, spec)}
    counts = ((name, int(rng.poisson(rate * COVERED * spec.area_mm2))) for name, rate in present.items())
    spec = replace(spec, counts=tuple((name, number) for name, number in counts if number))
    path = folder / f"{kind}_{number:02d}.ome.tif"
    if not truth_paths(path)[0].exists():
        write_slide(path, spec, int(rng.integers(0, 2**62)))
    return Entry(path.name, f"{kind}-patient-{number:02d}", "", role, "new_fuchsin", spec.mpp_um)


def _ordinary_rates(spec: FieldSpec) -> dict[str, float]:
    """Objects per mm² as on an ordinary slide, without tumour cells."""
    return {kind: 1e-6 * n * spec.density_per_mm2 for kind, n in PER_MILLION.items() if kind not in TUMOUR}


def recall_at(results: Sequence[SlideEvaluation], false_per_million: float) -> float:
    """Greatest recall of candidates at so many false ones per 10^6 cells of an *ordinary* slide of this laboratory.

    The slides hold mimics far too often, so each false candidate weighs as much as its kind is common on an ordinary
    slide: `PER_MILLION` over the number of its kind on these slides, and 10^6 over their cells where it is an ordinary
    cell. False candidates that touch a tumour cell are left out: they are as many times too common as tumour cells are.
    """
    cells = sum(r.true_mnc for r in results)
    kinds = Counter(cell.kind for r in results for cell in read_truth(r.file).cells)
    false = [
        (o.score, PER_MILLION[o.kind] / kinds[o.kind] if o.kind else 1e6 / cells)
        for r in results
        for o in r.others
        if not o.beside_tumour
    ]
    true = np.array([c.score for r in results for c in r.tumour])
    total, least = 0.0, 0.0
    for score, weight in sorted(false, reverse=True):
        total += weight
        if total > false_per_million:
            least = float(np.nextafter(score, 2))
            break
    return float((true >= max(least, 1e-9)).mean())


Lie = Callable[[str, np.random.Generator], str]


def read_slides(
    results: Path, slides: Path, verdicts: int, *, seed: int, lie: Lie = lambda word, rng: word, only: int | None = None
) -> int:
    """Let a reader who knows the truth give verdicts through the verdict log; returns how many.

    As docs/learning.md tells: as many on each slide, half of them the least certain ones, half at random.

    Parameters
    ----------
    results, slides : Path
    verdicts : int
        In all.
    seed : int
    lie : callable
        What becomes of the true word.
    only : int, optional
        Of how many slides (by name); all when not given.
    """
    from dtcseg.review.order import ordered
    from dtcseg.review.slides import open_results
    from dtcseg.verdicts import open_log

    opened = sorted(open_results(results).slides.values(), key=lambda slide: slide.name)[:only]
    mpp_um = {slide.name: slide.record.mpp_um for slide in opened}
    given = 0
    for number, slide in enumerate(opened):
        rng = np.random.default_rng([seed, number])
        truth = read_truth(slides / slide.record.file)
        share = (verdicts - given) // (len(opened) - number)
        doubtful = ordered(slide.items, "uncertainty", mpp_um.__getitem__)
        first, rest = doubtful[: share // 2], doubtful[share // 2 :]
        drawn = rng.permutation(len(rest))[: share - len(first)]
        with open_log(slide.folder, "Scripted") as log:
            for item in [*first, *(rest[int(i)] for i in drawn)]:
                cell = item.cell
                log.give(cell, lie(_truth_of(cell.x_px, cell.y_px, truth, slide.record.mpp_um), rng))
                given += 1
    return given


def _truth_of(x_px: float, y_px: float, truth: object, mpp_um: float) -> str:
    """Say what lies at a place: the nearest object within its own radius, else an ordinary cell or dirt."""
    cells = truth.cells  # type: ignore[attr-defined]
    nuclei = truth.nuclei_px  # type: ignore[attr-defined]
    best, least = "", np.inf
    for cell in cells:
        distance_um = float(np.hypot(cell.x_px - x_px, cell.y_px - y_px)) * mpp_um
        if distance_um <= max(10.0, cell.diameter_um / 2) and distance_um < least:
            best, least = cell.call, distance_um
    if best:
        return best
    near = np.hypot(*(nuclei - (x_px, y_px)).T).min() * mpp_um if len(nuclei) else np.inf
    return "haematopoietic" if near <= 8.0 else "artefact"
