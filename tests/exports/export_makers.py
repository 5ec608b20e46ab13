"""Cells for the tests of the exports: outlines that no two share."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from fake_scoring import candidate

from dtcseg.cells import CALLS, Candidate


@dataclass(frozen=True)
class Made:
    """A results folder and the cells that were put into it, by slide, in the order of cells.csv."""

    root: Path
    cells: dict[str, list[Candidate]]


def blob(x_px, y_px, radius_px, seed, points=40):
    """An outline that no two cells share: a circle with bumps."""
    rng = np.random.default_rng(seed)
    angle = np.linspace(0, 2 * np.pi, points, endpoint=False)
    radius = radius_px * (1 + 0.15 * np.sin(3 * angle + rng.uniform(0, 6)) + 0.05 * rng.random(points))
    ring = np.column_stack([x_px + radius * np.cos(angle), y_px + radius * np.sin(angle)])
    return np.vstack([ring, ring[:1]])


def some_cells(count, seed=0, width_px=40_000, height_px=30_000):
    rng = np.random.default_rng(seed)
    cells = []
    for number in range(count):
        x, y = rng.uniform(60, width_px - 60), rng.uniform(60, height_px - 60)
        cells.append(
            candidate(
                round(float(x), 2),
                round(float(y), 2),
                CALLS[number % len(CALLS)],
                round(1 - (number + 1) / (count + 2), 4),
                blob(x, y, rng.uniform(12, 30), seed * 1000 + number),
                nucleus_area_um2=0.0 if number % 5 == 0 else 120.5,
                ck_over_nucleus=float("nan") if number % 7 == 0 else 0.75,
                cluster_id=number % 3,
            )
        )
    return cells
