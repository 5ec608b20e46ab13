"""What was found on a slide: the plain records that go from scoring to the results folder."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

Call = Literal["tumour", "uninterpretable", "haematopoietic", "artefact"]
CALLS: tuple[Call, ...] = ("tumour", "uninterpretable", "haematopoietic", "artefact")
Role = Literal["sample", "isotype_control", "negative_control", "positive_control"]
ROLES: tuple[Role, ...] = ("sample", "isotype_control", "negative_control", "positive_control")
Stain = Literal["new_fuchsin", "fast_red", "aec", "dab", "if"]
STAINS: tuple[Stain, ...] = ("new_fuchsin", "fast_red", "aec", "dab", "if")

MANY_TUMOUR_CALLS = "many_tumour_calls"
"""How the qc flag begins of a slide with so many tumour calls that they are hardly ever true."""


@dataclass(frozen=True)
class Candidate:
    """One object a reader should be shown.

    Attributes
    ----------
    x_px, y_px : float
        Centre in level-0 pixels.
    score : float
        Calibrated probability that the object is a tumour cell, 0..1, rounded to 4 decimals.
    call : Call
        Tumour from the weights' threshold of the score on, but not where a faint cell shows no nucleus (`dtcseg.look`).
    outline_px : (N, 2) float64
        Closed simple ring of (x, y) level-0 pixels, first point repeated as the last.
    diameter_um, area_um2 : float
        Of the outline; the diameter is that of the circle of equal area.
    nucleus_area_um2 : float
        0 where no nucleus was seen.
    ck_od : float
        Mean cytokeratin plane inside the outline (brightfield: optical density above this slide's ordinary cells).
    ck_over_nucleus : float
        Share of the nucleus that the cytokeratin stain covers, 0..1.
    neighbours : int
        Nucleated cells counted within 50 µm of the centre, this one left out.
    cluster_id : int
        Number of the cluster of touching tumour/uninterpretable cells, 0 for a single cell.
    nucleus_ratio : float
        Area of the nucleus over the median area of the nuclei around it; 0 where too few can be told apart.
    ck_granularity : float
        Contrast of grains finer than about 2 µm: standard deviation of what a blur takes out of the cytokeratin plane
        inside the outline, over its mean.
    cd45_ring : float
        Leukocyte marker that runs all round the cell; 1 is a bright leukocyte's, 0 where there is none, or none was
        stained (`dtcseg.leukocyte_ring`).
    """

    x_px: float
    y_px: float
    score: float
    call: Call
    outline_px: npt.NDArray[np.float64] = field(compare=False)
    diameter_um: float
    area_um2: float
    nucleus_area_um2: float
    ck_od: float
    ck_over_nucleus: float
    neighbours: int
    cluster_id: int
    nucleus_ratio: float = 0.0
    ck_granularity: float = 0.0
    cd45_ring: float = 0.0


@dataclass(frozen=True)
class SlideScore:
    """Everything scoring found on one slide; the results folder is written from this alone.

    Attributes
    ----------
    stain : str
        One of `STAINS`.
    stain_source : {"flag", "slides.csv", "image", "assumed"}
        How the stain is known; "assumed" when too little chromogen is there to tell.
    mpp_um, mpp_source : float, str
        Level-0 pixel size and where it was learned.
    width_px, height_px : int
        Level-0 size.
    area_mm2 : float
        Area actually screened; what could not be judged is not in it.
    mnc : int
        Nucleated cells counted in that area.
    mnc_low, mnc_high : float
        95 % interval of that count (counting error of the network, from its model card).
    candidates : tuple of Candidate
        Sorted by falling score, then y, then x.
    nuclei_px : (N, 2) float32
        Every nucleus counted, (x, y) level-0 pixels, sorted by y then x.
    excluded_mm2 : dict of str to float
        Area inside the spots that could not be judged, by reason ("blurred", "unreadable" …).
    qc : tuple of str
        Flags in short words, worst first; empty when nothing is wrong.
    details : dict of str to JSON value
        For the record: stain vectors, white point, spots, grid of the quality map, device and so on.
    crops : tuple of bytes
        PNG pictures of the first candidates, in their order.
    """

    stain: Stain
    stain_source: str
    mpp_um: float
    mpp_source: str
    width_px: int
    height_px: int
    area_mm2: float
    mnc: int
    mnc_low: float
    mnc_high: float
    candidates: tuple[Candidate, ...]
    nuclei_px: npt.NDArray[np.float32]
    excluded_mm2: dict[str, float]
    qc: tuple[str, ...]
    details: dict[str, object]
    crops: tuple[bytes, ...] = field(default=(), repr=False)
