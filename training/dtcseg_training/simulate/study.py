"""Folders of slides: what `dtcseg simulate` makes."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dtcseg.cells import STAINS, Role, Stain
from dtcseg.results.atomic import write_file
from dtcseg_training.simulate.cytokeratin import HAEMATOPOIETIC, TUMOUR, UNINTERPRETABLE
from dtcseg_training.simulate.slides import write_slide
from dtcseg_training.simulate.spec import FieldSpec, draw_spec, occurs

if TYPE_CHECKING:
    from dtcseg_training.simulate.truth import Truth

COVERED = 0.62
"""Share of a slide's picture that its spots take up."""
SLIDES_COLUMNS = ("file", "patient", "timepoint", "role", "stain", "mpp")
# Objects per 10^6 nucleated cells on an ordinary positive slide: review loads of automated systems are some tens of
# candidates per 10^6, tumour cells a handful.
PER_MILLION: dict[str, float] = {
    **dict(zip(TUMOUR, (5.0, 0.6, 0.4), strict=True)),
    **dict.fromkeys(UNINTERPRETABLE, 2.0),
    **dict.fromkeys(HAEMATOPOIETIC, 8.0),
    "squame": 4.0,
    "precipitate": 40.0,
    "pigment": 15.0,
    "debris": 60.0,
    "fibre": 6.0,
    "bubble": 3.0,
    "ink": 0.4,
    "dust": 120.0,
    "flake": 60.0,
}
# Objects per mm² on an enriched slide, tumour cells and mimics about one to one.
PER_MM2: dict[str, float] = {
    **dict(zip(TUMOUR, (4.0, 0.5, 0.4), strict=True)),
    **dict.fromkeys(UNINTERPRETABLE, 0.7),
    **dict.fromkeys(HAEMATOPOIETIC, 0.8),
    "squame": 0.4,
    "precipitate": 1.5,
    "pigment": 0.8,
    "debris": 1.2,
    "fibre": 0.25,
    "bubble": 0.1,
    "ink": 0.04,
    "dust": 2.0,
    "flake": 2.0,
}


@dataclass(frozen=True)
class Entry:
    """One row of `slides.csv`."""

    file: str
    patient: str
    timepoint: str
    role: Role
    stain: Stain
    mpp_um: float


def draw_slide_spec(
    rng: np.random.Generator,
    *,
    stain: Stain | None = None,
    mpp_um: float | None = None,
    size_px: tuple[int, int] = (4096, 4096),
    enriched: bool = False,
) -> FieldSpec:
    """Draw a laboratory, a scanner and a whole slide at random.

    Parameters
    ----------
    rng : numpy.random.Generator
    stain : str, optional
    mpp_um : float, optional
    size_px : (int, int)
        Height and width of the slide.
    enriched : bool
        Several tumour cells and mimics a mm², else a handful per 10^6 cells.
    """
    spec = draw_spec(rng, stain=stain, mpp_um=mpp_um, size_px=size_px, enriched=enriched)
    return replace(spec, counts=draw_counts(rng, spec, enriched=enriched))


def draw_tumour(rng: np.random.Generator, spec: FieldSpec, factor: float) -> tuple[tuple[str, int], ...]:
    """Draw how many tumour cells of each kind a slide holds, `factor` for each one of an ordinary positive slide."""
    scale = COVERED * spec.area_mm2 * spec.density_per_mm2 * 1e-6 * factor
    return tuple((kind, int(rng.poisson(scale * PER_MILLION[kind]))) for kind in TUMOUR)


def draw_counts(rng: np.random.Generator, spec: FieldSpec, *, enriched: bool) -> tuple[tuple[str, int], ...]:
    """Draw how many special objects of each kind lie on a whole slide (`FieldSpec.counts`)."""
    covered = COVERED * spec.area_mm2
    scale = covered if enriched else covered * spec.density_per_mm2 * 1e-6
    rates = PER_MM2 if enriched else PER_MILLION
    counts = []
    for kind, rate in rates.items():
        if not occurs(kind, spec):
            continue
        counts.append((kind, int(rng.poisson(rate * scale * np.exp(rng.normal(0, 0.3))))))
    return tuple((kind, number) for kind, number in counts if number)


def write_slides_csv(path: Path, entries: Iterable[Entry]) -> None:
    """Write a `slides.csv` once all entries are there; until then an earlier one stays."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(SLIDES_COLUMNS)
    for entry in entries:
        writer.writerow((entry.file, entry.patient, entry.timepoint, entry.role, entry.stain, f"{entry.mpp_um:g}"))
    write_file(path, text.getvalue().encode())


def simulate(
    out: Path,
    *,
    slides: int = 1,
    stain: Stain | None = None,
    seed: int = 0,
    mpp_um: float | None = 0.5,
    width_mm: float = 2.0,
    height_mm: float | None = None,
    enriched: bool = False,
    tile_px: int = 512,
    repeat_px: int | None = None,
    on_slide: Callable[[str, Truth], None] | None = None,
) -> None:
    """Make a folder of slides with known truth, each from a laboratory of its own, and its `slides.csv`.

    Parameters
    ----------
    out : Path
        Made if missing; files of the same name are replaced.
    slides : int
    stain : str, optional
        All stains in turn when not given.
    seed : int
        Slide number i depends on the seed and i only.
    mpp_um : float, optional
        None: drawn for each slide.
    width_mm, height_mm : float
        Size of a slide; square when the height is not given.
    enriched : bool
        Several tumour cells a mm² instead of a handful per 10^6 cells.
    tile_px : int
    repeat_px : int, optional
        See `write_slide`.
    on_slide : callable, optional
        Told each file name and truth as soon as it is written.
    """
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    entries: list[Entry] = []
    for index in range(slides):
        rng = np.random.default_rng([seed, index])
        chosen = stain or STAINS[index % len(STAINS)]
        mpp = mpp_um or float(np.exp(rng.uniform(np.log(0.2), np.log(0.8))))
        size = round(1000 * (height_mm or width_mm) / mpp), round(1000 * width_mm / mpp)
        drawn_size = (repeat_px, repeat_px) if repeat_px else size
        spec = draw_slide_spec(rng, stain=chosen, mpp_um=mpp, size_px=drawn_size, enriched=enriched)
        name = f"slide_{index + 1:03d}_{chosen}.ome.tif"
        truth = write_slide(
            out / name,
            replace(spec, size_px=size),
            int(rng.integers(0, 2**62)),
            tile_px=tile_px,
            repeat_px=repeat_px,
        )
        entries.append(Entry(name, f"simulated-{index + 1:03d}", "", "sample", chosen, mpp))
        if on_slide is not None:
            on_slide(name, truth)
    write_slides_csv(out / "slides.csv", entries)
