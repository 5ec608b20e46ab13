"""Fluorescence: channels of any exposure brought to the scale of the brightfield planes.

Exposure, gain and bit depth differ between scanners, so intensities mean nothing by themselves. The slide's own
leukocytes are the measure: their DAPI sets the nuclear scale, and cytokeratin is expressed against the level that
cytokeratin-negative leukocytes show in the same channel (autofluorescence and bleed-through).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dtcseg.slide._base import PixelArray

FloatArray = npt.NDArray[np.float32]
ChannelRole = Literal["nuclear", "cytokeratin", "leukocyte"]
_ORDER: tuple[ChannelRole, ...] = ("nuclear", "cytokeratin", "leukocyte")

_CLEAR_SPANS = 10
"""Noise (at least half a grey level: 8 bits may hide it) above which a pixel surely shows a nucleus."""
_BRIGHT = 96
"""Percentile of such pixels that is taken for a bright nucleus: what the 99th of all pixels is on a dense slide."""
_ENOUGH_PX = 50
_TYPICAL_NUCLEAR = 0.6
_LEUKOCYTE_CK = 0.06
"""Where the upper end of the leukocytes' own cytokeratin signal lies on the plane (brightfield: faint cytoplasm)."""
_MIN_SPAN = 0.008
"""Least span of a channel, as a share of its dtype's range or brightest pixel: noise must not be blown up."""
_MIN_LEVELS = 2.0
"""The same in grey levels: where all leukocytes fill one, a cell two above the ground is not twice as bright."""
_PLANE_MAX = 3.0


@dataclass(frozen=True)
class FluorescenceProfile:
    """How to turn the channels of one slide into planes.

    Attributes
    ----------
    channels : tuple of int
        Index of the nuclear, cytokeratin and leukocyte channel; -1 where there is none.
    offsets, scales : tuple of float
        Plane = (grey level - offset) * scale, for each of the three.
    ck_spread : float
        How far the cytokeratin signal over this slide's nuclei goes above its middle (90th less 50th percentile), on
        the plane.
    ck_cutoff : float
        Cytokeratin from which on a cell of this slide is positive (`dtcseg.cutoff`), on the plane; 0 where not known.
    """

    channels: tuple[int, int, int]
    offsets: tuple[float, float, float]
    scales: tuple[float, float, float]
    stain: Literal["if"] = "if"
    stain_source: str = "image"
    ck_spread: float = 0.0
    ck_cutoff: float = 0.0

    @property
    def signature(self) -> tuple[float, ...]:
        """How the slide is stained (`dtcseg.network.laboratory.Signature`)."""
        return (self.ck_spread,)

    @property
    def ck_background(self) -> float:
        """Nothing: leukocytes' own signal stays on the plane, of which it is the measure."""
        return 0.0

    @property
    def marks_leukocytes(self) -> bool:
        """Whether the third plane is a marker of leukocytes."""
        return self.channels[2] >= 0

    def to_json(self) -> dict[str, object]:
        """Return the profile as plain JSON values."""
        return {
            "kind": "fluorescence",
            "channels": list(self.channels),
            "offsets": list(self.offsets),
            "scales": list(self.scales),
            "ck_spread": self.ck_spread,
            "ck_cutoff": self.ck_cutoff,
        }

    def planes(self, pixels: PixelArray) -> FloatArray:
        """Scale channels.

        Parameters
        ----------
        pixels : (H, W, C) uint8 or uint16

        Returns
        -------
        (3, H, W) float32
            Nuclear, cytokeratin, rest (leukocyte marker or zero), clipped to at most 3.
        """
        result = np.zeros((3, *pixels.shape[:2]), np.float32)
        for k, (channel, offset, scale) in enumerate(zip(self.channels, self.offsets, self.scales, strict=True)):
            if channel >= 0:
                plane = (pixels[..., channel].astype(np.float32) - np.float32(offset)) * np.float32(scale)
                np.minimum(plane, np.float32(_PLANE_MAX), out=result[k])
        return result


def estimate_fluorescence(
    sample: PixelArray, roles: Mapping[ChannelRole, int], stain_source: str = "image"
) -> FluorescenceProfile:
    """Estimate offsets and scales from a sample of fields.

    Parameters
    ----------
    sample : (N, C) uint8 or uint16
        Pixels of random fields with cells, at about 1 µm/px; none at all on a blank slide.
    roles : mapping of role to channel index
        At least "nuclear".
    stain_source : str
    """
    full = float(np.iinfo(sample.dtype).max)
    if not len(sample):
        sample = np.zeros((1, sample.shape[1]), sample.dtype)
    nuclear = sample[:, roles["nuclear"]].astype(np.float32)
    background, span = _background(nuclear)
    # of what stands out: on a sparse slide a hundredth of all pixels is still ground, whose noise would pass for cells
    clear = nuclear[nuclear > background + _CLEAR_SPANS * max(span, 0.5)]
    bright = float(np.percentile(clear if clear.size >= _ENOUGH_PX else nuclear, _BRIGHT)) - background
    inside = nuclear > background + max(0.25 * bright, 4 * span)
    offsets, scales, spread = [], [], 0.0
    for role in _ORDER:
        if role not in roles:
            offsets.append(0.0)
            scales.append(0.0)
            continue
        values = sample[:, roles[role]].astype(np.float32)
        level, noise = _background(values)
        top = max(float(values.max()) - level, 1.0)
        least = max(_MIN_SPAN * min(full, 4 * top), 3 * noise, _MIN_LEVELS)
        cells = values[inside] if inside.sum() >= _ENOUGH_PX else values[:0]
        if role == "cytokeratin":
            own = float(np.percentile(cells, 75)) - level if cells.size else 0.0
            scale = _LEUKOCYTE_CK / max(own, least)
            spread = scale * float(np.subtract(*np.percentile(cells, (90, 50)))) if cells.size else 0.0
        else:
            typical = float(np.percentile(cells, 60 if role == "nuclear" else 90)) - level if cells.size else 0.0
            scale = _TYPICAL_NUCLEAR / max(typical, 4 * least)
        offsets.append(round(level, 3))
        scales.append(float(f"{scale:.6g}"))
    first, second, third = (roles.get(role, -1) for role in _ORDER)
    return FluorescenceProfile(
        channels=(first, second, third),
        offsets=(offsets[0], offsets[1], offsets[2]),
        scales=(scales[0], scales[1], scales[2]),
        stain_source=stain_source,
        ck_spread=round(spread, 4),
    )


def _background(values: FloatArray) -> tuple[float, float]:
    """Level and noise (standard deviation) of the empty ground: the lower part of the grey levels."""
    low = float(np.percentile(values, 10))
    under = values[values <= np.percentile(values, 30)]
    noise = 1.4826 * float(np.median(np.abs(under - low))) if under.size else 0.0
    return low, noise
