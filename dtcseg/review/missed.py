"""A cell that the program missed: the reader clicks on it, the network outlines it.

The network's outline is a proposal; the reader says what the cell is, and may correct the outline. Loads torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dtcseg.errors import DtcsegError
from dtcseg.look import look_closely
from dtcseg.network.model import LOOK_MPP_UM
from dtcseg.network.weights import WeightsInfo, find_sha256, resolve
from dtcseg.review.outlines import circle
from dtcseg.review.profiles import read_profile
from dtcseg.score import load_engine
from dtcseg.verdicts.cells import ring_of
from dtcseg.working import plan_grid

if TYPE_CHECKING:
    from dtcseg.results.record import SlideRecord
    from dtcseg.slide import Slide
    from dtcseg.verdicts.cells import Ring

_STAND_IN_UM = 15.0
"""Width of the circle that stands in where the network cannot look: a small tumour cell."""


@dataclass(frozen=True)
class Outlined:
    """What lies at a place.

    Attributes
    ----------
    ring : Ring
    nucleus : Ring or None
    remark : str
        What the reader should know: other weights, or no network at all.
    """

    ring: Ring
    nucleus: Ring | None
    remark: str = ""


def outline_at(slide: Slide, record: SlideRecord, x_px: float, y_px: float, *, device: str = "auto") -> Outlined:
    """Let the network outline what lies at a place.

    Parameters
    ----------
    slide : Slide
        Open; used by this thread alone.
    record : SlideRecord
        Its stain profile and weights are used, so that the outline is the one that scoring would have drawn.
    x_px, y_px : float
        Level-0 pixels.
    device : str

    Returns
    -------
    Outlined
        Where the network cannot look (no weights, no stain profile, a region that cannot be decoded) a circle stands
        in, and the remark says why.
    """
    try:
        weights, remark = _weights(record)
        grid = plan_grid(slide, record.mpp_um, LOOK_MPP_UM)
        found, nucleus = look_closely(slide, grid, read_profile(record), load_engine(weights, device), x_px, y_px)
        return Outlined(ring_of(found.outline_px), None if nucleus is None else ring_of(nucleus), remark)
    except DtcsegError as error:
        return stand_in(record, x_px, y_px, str(error))


def stand_in(record: SlideRecord, x_px: float, y_px: float, reason: str) -> Outlined:
    """Give a circle where the network cannot look, and say why."""
    remark = f"The network could not outline it ({reason}). A circle stands in: paint it to fit."
    return Outlined(circle((x_px, y_px), _STAND_IN_UM / 2 / record.mpp_um), None, remark)


def _weights(record: SlideRecord) -> tuple[WeightsInfo, str]:
    """Find the weights that scored the slide, else the default ones, which is said."""
    weights = find_sha256(record.weights.sha256)
    if weights is not None:
        return weights, ""
    weights = resolve()
    return weights, f"Outlined with {weights.name}; {record.weights.name}, which scored the slide, is not installed."
