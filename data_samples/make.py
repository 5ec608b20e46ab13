"""Make the slides of this folder again, byte for byte (with the library versions that README.md names).

Usage: python data_samples/make.py [OUT]      OUT is this folder when not given
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from dtcseg_training.simulate import FieldSpec, draw_spec, write_slide
from dtcseg_training.simulate.study import Entry, write_slides_csv

if TYPE_CHECKING:
    from dtcseg.cells import Role, Stain

MPP_UM = 0.5
SIDE_UM = 1600
SIZE_PX = (round(SIDE_UM / MPP_UM), round(SIDE_UM / MPP_UM))
DIRT = {"debris": 2, "dust": 4, "flake": 2, "precipitate": 2}


@dataclass(frozen=True)
class Sample:
    """One slide: who, when, what for, the laboratory (a seed), what lies on it, and the seed of the slide."""

    name: str
    patient: str
    timepoint: str
    role: Role
    stain: Stain
    laboratory: int
    seed: int
    objects: dict[str, int]


# P01 was positive before treatment and is negative after it; the isotype control of the first visit is clean but for
# plasma cells that react with alkaline phosphatase, as controls have them (Borgen 1998).
SAMPLES = (
    Sample("P01_baseline", "P01", "baseline", "sample", "new_fuchsin", 101, 711,
           {"tumour_single": 5, "degenerate_smear": 1, "hc_even": 2, "plasma_reactive": 2, "squame": 1}),
    Sample("P01_baseline_isotype", "P01", "baseline", "isotype_control", "new_fuchsin", 101, 12,
           {"plasma_reactive": 3}),
    Sample("P01_followup", "P01", "followup", "sample", "new_fuchsin", 101, 13,
           {"hc_even": 2, "plasma_reactive": 1, "fibre": 1}),
    Sample("P02_baseline", "P02", "baseline", "sample", "fast_red", 102, 25,
           {"tumour_single": 4, "hc_even": 1, "hc_paranuclear": 1, "degenerate_ghost": 1, "pigment": 1}),
    Sample("P03_baseline", "P03", "baseline", "sample", "aec", 103, 31,
           {"tumour_single": 3, "granulocyte_reactive": 2, "hc_vacuolar": 1, "squame": 1}),
    Sample("P04_baseline", "P04", "baseline", "sample", "dab", 104, 729,
           {"tumour_single": 6, "granulocyte_reactive": 2, "hc_even": 1, "apoptotic": 1, "pigment": 1}),
    Sample("P05_baseline", "P05", "baseline", "sample", "if", 105, 204,
           {"tumour_single": 5, "hc_even": 2, "hc_paranuclear": 1, "degenerate_ghost": 1}),
)  # fmt: skip


def spec_of(sample: Sample) -> FieldSpec:
    """Describe a slide from a good laboratory: sharp, evenly stained, of ordinary density."""
    rng = np.random.default_rng(sample.laboratory)
    spec = draw_spec(rng, stain=sample.stain, mpp_um=MPP_UM, size_px=SIZE_PX)
    return replace(
        spec,
        density_per_mm2=1900.0,
        clumping=0.15,
        overlap=0.1,
        counts=tuple((sample.objects | DIRT).items()),
        staining=replace(spec.staining, nuclear_od=0.6, ck_od=0.75, background_ck_od=0.01, cytoplasm_ck_od=0.01),
        optics=replace(spec.optics, blur_um=0.4, defocus_um=0.0),
        camera=replace(spec.camera, gamma=1.0, photons=9000.0, read_noise=0.002, jpeg_quality=85, sharpen=0.0),
        fluorescence=replace(spec.fluorescence, bits=8, exposure=(0.35, 0.35, 0.3), photons=(900.0, 900.0, 500.0)),
    )


def main(out: Path) -> None:
    """Write all slides, their truth and `slides.csv`."""
    out.mkdir(parents=True, exist_ok=True)
    entries = []
    for sample in SAMPLES:
        file = f"{sample.name}_{sample.stain}.ome.tif"
        write_slide(out / file, spec_of(sample), sample.seed)
        entries.append(Entry(file, sample.patient, sample.timepoint, sample.role, sample.stain, MPP_UM))
    write_slides_csv(out / "slides.csv", entries)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
