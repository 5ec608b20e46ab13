"""How deep to screen, in words: what a study is planned by."""

from __future__ import annotations

import math

from dtcseg.statistics import figure
from dtcseg.trial.adviser import cells_for_power, cells_to_exclude

_POWER = 0.8


def advice(
    per_million: float, *, reduction: float | None = None, screened: float | None = None, slide_cells: float = 5e5
) -> list[str]:
    """Say how many cells exclude a rate, and how many show that it has fallen.

    Parameters
    ----------
    per_million : float
        DTC per 10^6 cells.
    reduction : float, optional
        Share by which the rate falls (0.8: by 80 %); nothing is said of a fall when not given.
    screened : float, optional
        Cells screened at the first time point; as many as later when not given.
    slide_cells : float
        Cells on a slide (5 x 10^5: Bauer et al. 2000).

    Raises
    ------
    ValueError
        A number that cannot be.
    """
    lines = [f"To exclude {figure(per_million)} per 10^6 by finding nothing (95 %): "]
    lines[0] += _cells(cells_to_exclude(per_million), slide_cells)
    if reduction is not None:
        needed = cells_for_power(per_million, 1.0 - reduction, wanted=_POWER, mnc_1=screened)
        when = (
            "at both time points"
            if screened is None
            else f"later, after {screened:,.0f} at the start".replace(",", " ")
        )
        lines.append(
            f"To see a fall by {100 * reduction:.0f} % from {figure(per_million)} per 10^6 (exact test, one-sided 5 %, "
            f"power {100 * _POWER:.0f} %) {when}: {_cells(needed, slide_cells)}"
        )
    return [*lines, "Research use only."]


def _cells(cells: float, slide_cells: float) -> str:
    if not math.isfinite(cells):
        return "no depth suffices"
    number = f"{cells:,.0f}".replace(",", " ")
    return f"{number} cells, {math.ceil(cells / slide_cells - 1e-9)} slides"
