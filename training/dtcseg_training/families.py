"""Slides that weights are judged on: three families with known truth, none of it ever learned from.

python -m dtcseg_training.families OUT --family own
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from dtcseg.cells import STAINS
from dtcseg.parallel import cores
from dtcseg_training.side_by_side import side_by_side
from dtcseg_training.simulate.cytokeratin import UNSEEN_TEXTURES
from dtcseg_training.simulate.slides import write_slide
from dtcseg_training.simulate.spec import FieldSpec, Vector, draw_spec, turned_by, without_tumour
from dtcseg_training.simulate.study import COVERED, Entry, draw_counts, draw_tumour, write_slides_csv
from dtcseg_training.simulate.truth import truth_paths

CELLS = {"own": 75_000, "shifted": 25_000, "mimics": 50_000}
"""Most nucleated cells a slide, about (less where cells are sparse): 120 slides hold two million."""
_TUMOUR_FACTOR = 48
"""Tumour cells for each one of an ordinary slide, so that the families hold more than 400; mimics and dirt stay as
common as they are."""
_SEED = 8_600_000
"""Anew whenever slides of the seed before were looked at while weights were made."""
_MPP_UM = ((0.25, 0.35, 0.5, 0.65, 0.85), (0.05, 0.15, 0.5, 0.2, 0.1))
_SHIFTED_MPP_UM = ((0.2, 0.5, 0.95, 1.1), (0.1, 0.3, 0.3, 0.3))


def _own(rng: np.random.Generator, spec: FieldSpec) -> FieldSpec:
    """Laboratories as the training draws them."""
    return spec


def _shifted(rng: np.random.Generator, spec: FieldSpec) -> FieldSpec:
    """Laboratories that `draw_spec` never draws: each factor leaves its range on two slides in three.

    Half of the training's fields leave these ranges too, in fewer factors (`fields.far_off`); none has these textures.
    """
    far = rng.random(6) < 2 / 3
    staining, optics, camera = spec.staining, spec.optics, spec.camera
    if far[0]:
        staining = replace(
            staining, hematoxylin=_away(rng, staining.hematoxylin), chromogen=_away(rng, staining.chromogen)
        )
    if far[1]:
        light = rng.random() < 0.5
        staining = replace(
            staining,
            ck_od=float(rng.uniform(0.2, 0.25) if light else rng.uniform(1.4, 1.9)),
            nuclear_od=float(rng.uniform(0.15, 0.2) if light else rng.uniform(1.3, 1.7)),
        )
    if far[2]:
        optics = replace(optics, blur_um=float(rng.uniform(0.75, 1.3)))
    if far[3]:
        camera = replace(camera, jpeg_quality=int(rng.integers(25, 40)), jpeg_subsampling="420")
    density = float(rng.choice([rng.uniform(200, 300), rng.uniform(5000, 6500)])) if far[4] else spec.density_per_mm2
    textures = UNSEEN_TEXTURES if far[5] else ()
    return replace(spec, staining=staining, optics=optics, camera=camera, density_per_mm2=density, textures=textures)


def _away(rng: np.random.Generator, vector: Vector) -> Vector:
    """Turn a stain vector by 7 to 9 degrees; the training turns by 4 to 5 (one standard deviation)."""
    return turned_by(vector, rng.normal(size=3), rng.uniform(7, 9))


FAMILIES: dict[str, Callable[[np.random.Generator, FieldSpec], FieldSpec]] = {
    "own": _own,
    "shifted": _shifted,
    "mimics": _own,
}
"""Laboratories as `draw_spec` draws them with mimics as rare as they are; others; a mimic for every tumour cell."""


def make_family(out: Path, family: str, *, slides: int = 40, cells: int | None = None, processes: int = 1) -> None:
    """Make the slides of a family that are still missing, and its `slides.csv`.

    Parameters
    ----------
    out : Path
    family : str
        One of `FAMILIES`.
    slides : int
        A family of fewer slides is the beginning of a larger.
    cells : int, optional
        Most nucleated cells on each, about; `CELLS` when not given.
    processes : int
    """
    out.mkdir(parents=True, exist_ok=True)
    cells = cells or CELLS[family]
    make = partial(_make, out, family, cells)
    write_slides_csv(out / "slides.csv", side_by_side(make, range(slides), processes))


def _make(out: Path, family: str, cells: int, index: int) -> Entry:
    stain = STAINS[index % len(STAINS)]
    rng = np.random.default_rng([_SEED, list(FAMILIES).index(family), index])
    mpps, shares = _SHIFTED_MPP_UM if family == "shifted" else _MPP_UM
    mpp_um = float(rng.choice(mpps, p=shares))
    spec = FAMILIES[family](rng, draw_spec(rng, stain=stain, mpp_um=mpp_um, enriched=False))
    most_mm2 = 4.0 if family == "mimics" else 8.0 if mpp_um < 0.3 else 24.0  # fine pixels and empty glass take long
    area_mm2 = min(cells / (COVERED * spec.density_per_mm2), most_mm2)
    side = round(1000 * np.sqrt(area_mm2) / mpp_um)
    spec = replace(spec, size_px=(side, side))
    counts = draw_counts(rng, spec, enriched=family == "mimics")
    if family != "mimics":
        tumour = draw_tumour(rng, spec, _TUMOUR_FACTOR)
        counts = tumour + without_tumour(counts)
    spec = replace(spec, counts=counts)
    name = f"{family}_{index + 1:03d}_{stain}.ome.tif"
    seed = int(rng.integers(0, 2**62))
    if not truth_paths(out / name)[0].exists():
        write_slide(out / name, spec, seed)
    return Entry(name, f"{family}-{index + 1:03d}", "", "sample", stain, mpp_um)


def main(arguments: list[str] | None = None) -> None:
    """Make a family; see the module's text for the call."""
    parser = argparse.ArgumentParser(description="Make slides with known truth to judge weights on.")
    parser.add_argument("out", type=Path)
    parser.add_argument("--family", choices=list(FAMILIES), required=True)
    parser.add_argument("--slides", type=int, default=40)
    parser.add_argument("--cells", type=int, help="most nucleated cells a slide, about")
    options = parser.parse_args(arguments)
    make_family(options.out, options.family, slides=options.slides, cells=options.cells, processes=cores())


if __name__ == "__main__":
    main()
