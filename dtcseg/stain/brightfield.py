"""Brightfield: optical density, the stain vectors of a slide, and the three planes.

A stain absorbs in proportion to its amount (Beer-Lambert), so in optical density (OD = -log10(I / I_glass)) stains add
up and a 3 x 3 matrix takes them apart (Ruifrok & Johnston 2001, Anal Quant Cytol Histol 23:291). The third vector is
perpendicular to both stains, so the matrix can be inverted and nothing of the image is lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dtcseg.cells import Stain

FloatArray = npt.NDArray[np.float32]
Vector = tuple[float, float, float]

HEMATOXYLIN: Vector = (0.650, 0.704, 0.286)
"""Unit OD vector (R, G, B) of hematoxylin, as published with colour deconvolution; slides differ, so it is a start."""

CHROMOGENS: dict[Stain, Vector] = {
    "new_fuchsin": (0.120, 0.910, 0.397),
    "fast_red": (0.214, 0.851, 0.480),
    "aec": (0.274, 0.680, 0.680),
    "dab": (0.268, 0.570, 0.777),
}
"""Start vectors of the chromogens, unit length."""

ASSUMED: Stain = "aec"
"""Taken where no chromogen is there to recognise: its vector lies between the reds and the browns."""

_MIN_OD = 0.12
"""OD (length of the vector) under which a pixel says nothing about direction: about three times sensor noise."""
_NEAR_PRIOR_DEG = 14.0
"""A chromogen direction farther than this from every start vector is something else (ink, pigment, red cells)."""
_NEAR_HEMATOXYLIN_DEG = 25.0
TYPICAL_NUCLEAR_OD = 0.6
_MIN_PATCHES = 3
_ENOUGH_PX = 500
_STRIP_PX = 1 << 20
_CACHED_PX = 1 << 15
"""Pixels unmixed at a time: 0.7 MiB with everything in between."""
_MIN_ANGLE_DEG = 15.0
"""Stain vectors closer than this cannot be told apart: the estimate is thrown away."""
_MOST_LEAK = 0.25
"""Most cytokeratin a nuclear stain of 1 may seem to hold before it is taken for cytokeratin."""
_OWN_CK = 0.03
"""Where the upper quartile of the ordinary cells' own cytokeratin lies on the plane (fluorescence: `_LEUKOCYTE_CK`)."""
_MOST_BACKGROUND = 0.2
"""More is not taken off: half of the stain of a slide full of positive cells stays even then."""


@dataclass(frozen=True)
class BrightfieldProfile:
    """How to turn the RGB pixels of one slide into planes.

    Attributes
    ----------
    stain : Stain
    stain_source : str
        "flag", "slides.csv", "image" or "assumed".
    white : (R, G, B)
        Grey levels of clean glass.
    hematoxylin, chromogen : (R, G, B)
        Unit OD vectors.
    nuclear_scale : float
        Factor on the nuclear plane that brings this slide's nuclei to a typical strength.
    estimated : bool
        Whether the chromogen vector was measured on this slide (False: the start vector).
    ck_background : float
        OD on the cytokeratin plane that this slide's ordinary cells show (chromogen that sticks, pink cytoplasm); it is
        taken off the plane.
    ck_spread : float
        How far the cytokeratin of this slide's ordinary cells goes above their middle (90th less 50th percentile, OD).
    ck_cutoff : float
        Cytokeratin from which on a cell of this slide is positive (`dtcseg.cutoff`), on the plane; 0 where not known.
    """

    stain: Stain
    stain_source: str
    white: Vector
    hematoxylin: Vector
    chromogen: Vector
    nuclear_scale: float
    estimated: bool
    ck_background: float = 0.0
    ck_spread: float = 0.0
    ck_cutoff: float = 0.0

    @property
    def signature(self) -> tuple[float, ...]:
        """How the slide is stained (`dtcseg.network.laboratory.Signature`)."""
        return (*self.hematoxylin, *self.chromogen, self.ck_spread)

    @property
    def marks_leukocytes(self) -> bool:
        """No: the third plane is a colour that no stain has."""
        return False

    def to_json(self) -> dict[str, object]:
        """Return the profile as plain JSON values."""
        return {
            "kind": "brightfield",
            "white": list(self.white),
            "hematoxylin": list(self.hematoxylin),
            "chromogen": list(self.chromogen),
            "nuclear_scale": self.nuclear_scale,
            "chromogen_estimated": self.estimated,
            "ck_background": self.ck_background,
            "ck_spread": self.ck_spread,
            "ck_cutoff": self.ck_cutoff,
        }

    def planes(self, pixels: npt.NDArray[np.uint8]) -> FloatArray:
        """Unmix pixels.

        Parameters
        ----------
        pixels : (H, W, 3) uint8 RGB

        Returns
        -------
        (3, H, W) float32
            Nuclear (scaled), cytokeratin (OD above this slide's ordinary cells) and rest (OD). Each pixel by itself, in
            a fixed order of operations.
        """
        unmix = unmixing_matrix(self.hematoxylin, self.chromogen)
        unmix[:, 0] *= self.nuclear_scale
        tables = _density_tables(self.white)
        result = np.empty((3, *pixels.shape[:2]), np.float32)
        rows = max(_CACHED_PX // max(pixels.shape[1], 1), 1)
        density = np.empty((4, min(rows, pixels.shape[0]), pixels.shape[1]), np.float32)
        for top in range(0, pixels.shape[0], rows):  # strips that stay in the cache: half the time
            strip, planes = pixels[top : top + rows], result[:, top : top + rows]
            *channels, part = density[:, : len(strip)]
            for i, table in enumerate(tables):
                np.take(table, strip[..., i], out=channels[i], mode="clip")  # no index is ever outside
            for k in range(3):
                np.multiply(channels[0], unmix[0, k], out=planes[k])
                for i in (1, 2):
                    planes[k] += np.multiply(channels[i], unmix[i, k], out=part)
            planes[1] -= np.float32(self.ck_background)
        return result


@dataclass(frozen=True)
class _Place:
    """What one place shows of the chromogen: its unit OD vector, and the OD (length) of the purest pixels."""

    direction: npt.NDArray[np.float64]
    density: float


def unmixing_matrix(hematoxylin: Vector, chromogen: Vector) -> FloatArray:
    """Matrix (3, 3) float32 that takes OD (R, G, B) to (hematoxylin, chromogen, rest); OD row vector times matrix."""
    h, c = np.asarray(hematoxylin, np.float64), np.asarray(chromogen, np.float64)
    rest = np.cross(h, c)
    stains = np.stack([h, c, rest / np.linalg.norm(rest)])
    return cast("FloatArray", np.linalg.inv(stains).astype(np.float32))


def optical_density(pixels: npt.NDArray[np.uint8], white: Vector) -> FloatArray:
    """OD of RGB pixels, any shape (..., 3), against clean glass of grey levels `white`; brighter than glass is < 0."""
    tables = _density_tables(white)
    return np.stack([table[pixels[..., i]] for i, table in enumerate(tables)], axis=-1)


def estimate_brightfield(
    sample: npt.NDArray[np.uint8],
    patches: Sequence[npt.NDArray[np.uint8]],
    white: Vector,
    stain: Stain | None,
    stain_source: str,
) -> BrightfieldProfile:
    """Estimate the stain vectors of one slide.

    Most cytospins hold next to no chromogen, so the two stains are estimated apart: hematoxylin from an ordinary sample
    of cells, the chromogen from the few places of the whole slide that look most like one. Where these are too few or
    unlike every chromogen, the start vector is kept. Then the ordinary cells set the zero of cytokeratin: hematoxylin's
    vector is turned until dark nuclei seem to hold no more of it than pale ones, and what all cells show is background.

    Parameters
    ----------
    sample : (N, 3) uint8
        Pixels of random fields with cells, at about 1 µm/px.
    patches : sequence of (n, 3) uint8
        Pixels around the most chromogen-like places, one array a place (`chromogen_places`).
    white : (R, G, B)
        Clean glass.
    stain : Stain or None
        Stain that is known beforehand.
    stain_source : str
        Where it is known from.
    """
    density = optical_density(sample, white)
    hematoxylin = _estimate_hematoxylin(density)
    seen = [_place_of(optical_density(p, white), hematoxylin, stain) for p in patches]
    chosen, vector = _vote([place for place in seen if place is not None], stain)
    known = stain if stain is not None else chosen
    start = CHROMOGENS[known or ASSUMED]
    chromogen = start if vector is None else _purer(vector, start, hematoxylin)
    if _angle_deg(chromogen, hematoxylin) < _MIN_ANGLE_DEG:
        vector, chromogen = None, start
    hematoxylin, background, spread = _zero_cytokeratin(density, hematoxylin, chromogen)
    return BrightfieldProfile(
        stain=known or ASSUMED,
        stain_source=stain_source if stain is not None else ("image" if chosen else "assumed"),
        white=white,
        hematoxylin=hematoxylin,
        chromogen=chromogen,
        nuclear_scale=_nuclear_scale(density, hematoxylin, chromogen),
        estimated=vector is not None,
        ck_background=background,
        ck_spread=spread,
    )


def foreign_share(sample: npt.NDArray[np.uint8], white: Vector) -> float:
    """Share of the stained pixels (N, 3) whose colour is neither hematoxylin nor any chromogen nor a mixture of them.

    0 where fewer than 500 pixels are stained.
    """
    density = optical_density(sample, white)
    length = np.linalg.norm(density, axis=1)
    stained = length > 1.5 * _MIN_OD
    if stained.sum() < _ENOUGH_PX:
        return 0.0
    unit = density[stained] / length[stained, None]
    strange = np.ones(len(unit), bool)
    for chromogen in CHROMOGENS.values():
        # a mixture lies on the arc between both vectors: near its plane, and not beyond its ends
        arc = np.cross(HEMATOXYLIN, chromogen)
        off_plane = np.degrees(np.arcsin(np.clip(np.abs(unit @ (arc / np.linalg.norm(arc))), 0, 1)))
        end = np.minimum(_angles_deg(unit, HEMATOXYLIN), _angles_deg(unit, chromogen))
        between = np.maximum(_angles_deg(unit, HEMATOXYLIN), _angles_deg(unit, chromogen)) < _angle_deg(
            HEMATOXYLIN, chromogen
        )
        strange &= ~((end < _NEAR_HEMATOXYLIN_DEG) | (between & (off_plane < _NEAR_PRIOR_DEG)))
    return float(strange.mean())


def chromogen_places(
    overview: npt.NDArray[np.uint8],
    mask: npt.NDArray[np.bool_],
    white: Vector,
    *,
    count: int,
    apart_px: int,
    hematoxylin: Vector = HEMATOXYLIN,
    stain: Stain | None = None,
) -> list[tuple[int, int]]:
    """Find the places of an overview that look most like chromogen.

    Parameters
    ----------
    overview : (H, W, 3) uint8
    mask : (H, W) bool
        Where cells are.
    white : (R, G, B)
    count : int
        At most so many.
    apart_px : int
        Least distance between two, overview pixels.
    hematoxylin : (R, G, B)
        Of this slide (`estimate_hematoxylin`).
    stain : Stain, optional
        Where it is known: what looks like its chromogen, not like any.

    Returns
    -------
    list of (x, y)
        Overview pixels, strongest first.
    """
    places: list[tuple[int, int]] = []
    unmix = unmixing_matrix(hematoxylin, CHROMOGENS[stain or ASSUMED])
    for x, y in _strongest(overview, mask, white, unmix, 200 * count):
        if len(places) == count:
            break
        if all(abs(x - px) >= apart_px or abs(y - py) >= apart_px for px, py in places):
            places.append((x, y))
    return places


def _strongest(
    overview: npt.NDArray[np.uint8], mask: npt.NDArray[np.bool_], white: Vector, unmix: FloatArray, most: int
) -> list[tuple[int, int]]:
    """Return the (x, y) of the pixels most like chromogen, strongest first; strip by strip, to need little memory."""
    places, amounts = np.zeros(0, np.int64), np.zeros(0, np.float32)
    rows = max(_STRIP_PX // overview.shape[1], 1)
    for top in range(0, overview.shape[0], rows):
        density = optical_density(overview[top : top + rows], white)
        amount, rest = density @ unmix[:, 1], np.abs(density @ unmix[:, 2])
        like = mask[top : top + rows] & (amount >= _MIN_OD / 2) & (rest <= amount)
        places = np.concatenate([places, np.flatnonzero(like) + top * overview.shape[1]])
        amounts = np.concatenate([amounts, amount[like]])
        order = np.argsort(-amounts, kind="stable")[:most]
        places, amounts = places[order], amounts[order]
    return [(int(place) % overview.shape[1], int(place) // overview.shape[1]) for place in places]


def _density_tables(white: Vector) -> list[FloatArray]:
    levels = np.maximum(np.arange(256, dtype=np.float64), 1.0)
    return [(-np.log10(levels / max(w, 1.0))).astype(np.float32) for w in white]


def estimate_hematoxylin(sample: npt.NDArray[np.uint8], white: Vector) -> Vector:
    """Return the unit OD vector of the nuclear stain, from pixels (N, 3) of cells; the start vector if they are few."""
    return _estimate_hematoxylin(optical_density(sample, white))


def _estimate_hematoxylin(density: FloatArray) -> Vector:
    """Direction of the nuclear stain: the middle of the well-stained pixels that can be hematoxylin."""
    dark = _dark_blue(density)
    if dark is None:
        return HEMATOXYLIN
    vector = np.median(dark / np.linalg.norm(dark, axis=1)[:, None], axis=0).astype(np.float64)
    vector = np.clip(vector, 0.01, None)
    return _rounded(vector / np.linalg.norm(vector))


def _nuclear_scale(density: FloatArray, hematoxylin: Vector, chromogen: Vector) -> float:
    """Factor that brings the nuclei to a typical strength on the plane, where a pink cytoplasm is taken off them."""
    dark = _dark_blue(density)
    if dark is None:
        return 1.0
    nuclear = float(np.median(dark @ unmixing_matrix(hematoxylin, chromogen)[:, 0]))
    return round(float(np.clip(TYPICAL_NUCLEAR_OD / max(nuclear, _MIN_OD), 0.5, 2.5)), 4)


def _dark_blue(density: FloatArray) -> FloatArray | None:
    """OD of the darker pixels among those that can be hematoxylin; None where these are too few to say anything."""
    length = np.linalg.norm(density, axis=1)
    stained = length > _MIN_OD
    strong, length = density[stained], length[stained]
    unit = strong / length[:, None]
    angle = _angles_deg(unit, HEMATOXYLIN)
    nearest = np.min([_angles_deg(unit, v) for v in CHROMOGENS.values()], axis=0)
    blue = (angle < _NEAR_HEMATOXYLIN_DEG) & (angle < nearest)
    if blue.sum() < 200:
        return None
    return cast("FloatArray", strong[blue][length[blue] >= np.percentile(length[blue], 60)])


def _zero_cytokeratin(density: FloatArray, hematoxylin: Vector, chromogen: Vector) -> tuple[Vector, float, float]:
    """Turn the hematoxylin vector until dark nuclei hold no more cytokeratin than pale ones; then what all cells hold.

    Returns the vector, the cells' own cytokeratin (upper quartile) and how far it spreads (90th less 50th percentile).

    Medians over pixels that ordinary cells make up by far, so that a few positive cells change nothing.
    """
    cells = density[np.linalg.norm(density, axis=1) > _MIN_OD]
    if len(cells) < _ENOUGH_PX or _angle_deg(hematoxylin, chromogen) < _MIN_ANGLE_DEG:
        return hematoxylin, 0.0, 0.0
    unmix = unmixing_matrix(hematoxylin, chromogen)
    nuclear, ck = cells @ unmix[:, 0], cells @ unmix[:, 1]
    low, high = np.percentile(nuclear, (30, 90))
    pale, dark = nuclear <= low, nuclear >= high
    rise = max(float(np.median(nuclear[dark]) - np.median(nuclear[pale])), _MIN_OD)
    leak = float(np.clip((np.median(ck[dark]) - np.median(ck[pale])) / rise, -_MOST_LEAK, _MOST_LEAK))
    turned = np.clip(np.asarray(hematoxylin) + leak * np.asarray(chromogen), 0.01, None)
    turned /= np.linalg.norm(turned)
    if _angle_deg(_rounded(turned), chromogen) >= _MIN_ANGLE_DEG:
        hematoxylin = _rounded(turned)
        ck = cells @ unmixing_matrix(hematoxylin, chromogen)[:, 1]
    middle, upper, high = (float(v) for v in np.percentile(ck, (50, 75, 90)))
    background = float(np.clip(upper - _OWN_CK, 0.0, _MOST_BACKGROUND))
    return hematoxylin, round(background, 4), round(high - middle, 4)


def _place_of(density: FloatArray, hematoxylin: Vector, stain: Stain | None) -> _Place | None:
    """Read the chromogen (any where it is not known) off the purest pixels of a patch; None where there is none."""
    length = np.linalg.norm(density, axis=1)
    keep = length > 1.5 * _MIN_OD
    if keep.sum() < 12:
        return None
    unit = density[keep] / length[keep, None]
    from_nuclear = _angles_deg(unit, hematoxylin)
    wanted = CHROMOGENS.values() if stain is None else [CHROMOGENS[stain]]
    nearest = np.min([_angles_deg(unit, v) for v in wanted], axis=0)
    pure = (from_nuclear > _MIN_ANGLE_DEG) & (nearest < _NEAR_PRIOR_DEG + 6)
    if pure.sum() < 12:
        return None
    far = pure & (from_nuclear >= np.percentile(from_nuclear[pure], 50))
    vector = np.average(unit[far], axis=0, weights=length[keep][far]).astype(np.float64)
    return _Place(vector / np.linalg.norm(vector), float(length[keep][far].mean()))


def _vote(places: list[_Place], stain: Stain | None) -> tuple[Stain | None, Vector | None]:
    """Let the places vote for a chromogen; its vector is their middle. (None, None) where too few agree.

    A place weighs as the square of its density: with a handful of chromogen on a slide most places are red cells, which
    look like pale DAB.
    """
    near: dict[Stain, list[_Place]] = {}
    for place in places:
        angles = {name: _angle_deg(_rounded(place.direction), vector) for name, vector in CHROMOGENS.items()}
        name = stain if stain is not None else min(angles, key=lambda k: angles[k])
        if name in angles and angles[name] < _NEAR_PRIOR_DEG:
            near.setdefault(name, []).append(place)
    enough = [name for name, of in near.items() if len(of) >= _MIN_PATCHES]
    if not enough:
        return None, None
    best = max(enough, key=lambda k: sum(place.density**2 for place in near[k]))
    middle = np.median(np.stack([place.direction for place in near[best]]), axis=0)
    return best, _rounded(middle / np.linalg.norm(middle))


def _purer(measured: Vector, start: Vector, hematoxylin: Vector) -> Vector:
    """Chromogen vector from what the places show: half way to the start vector, and no nearer to hematoxylin than that.

    A few places measure a direction to some degrees only, and there the chromogen lies over and under hematoxylin:
    their mixture lies between both on one arc, so it is followed outwards. A vector too near to hematoxylin's would
    multiply noise, and ordinary nuclei's cytokeratin with it; one too far only makes cytokeratin a little weaker.
    """
    h, start_unit = np.asarray(hematoxylin, np.float64), np.asarray(start, np.float64)
    middle = np.asarray(measured, np.float64) + start_unit
    middle /= np.linalg.norm(middle)
    wanted = np.radians(_angle_deg(start, hematoxylin))
    if middle @ h <= np.cos(wanted):
        return _rounded(middle)
    across = middle - h * (h @ middle)
    across /= max(float(np.linalg.norm(across)), 1e-9)
    moved = np.clip(np.cos(wanted) * h + np.sin(wanted) * across, 0.01, None)
    return _rounded(moved / np.linalg.norm(moved))


def _angles_deg(units: FloatArray, vector: Vector) -> FloatArray:
    return cast("FloatArray", np.degrees(np.arccos(np.clip(units @ np.asarray(vector, np.float32), -1, 1))))


def _angle_deg(a: Vector, b: Vector) -> float:
    return float(np.degrees(np.arccos(np.clip(np.dot(a, b), -1, 1))))


def _rounded(vector: npt.NDArray[np.float64]) -> Vector:
    r, g, b = (round(float(v), 5) for v in vector)
    return r, g, b
