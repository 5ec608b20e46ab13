"""The stain profile of a slide as its record keeps it, for looking at the planes that the network saw."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from dtcseg.errors import UsageError
from dtcseg.results.text import one_line
from dtcseg.stain.brightfield import BrightfieldProfile
from dtcseg.stain.fluorescence import FluorescenceProfile

if TYPE_CHECKING:
    from dtcseg.cells import Stain
    from dtcseg.results.record import SlideRecord
    from dtcseg.screen import SlideProfile


def read_profile(record: SlideRecord) -> SlideProfile:
    """Make the profile that turned the pixels of a slide into planes when it was scored.

    Raises
    ------
    UsageError
        The record holds none, or one of another version.
    """
    try:
        values: dict[str, Any] = dict(record.details["profile"])
        if values["kind"] == "fluorescence":
            return FluorescenceProfile(
                channels=cast("tuple[int, int, int]", tuple(int(v) for v in values["channels"])),
                offsets=_three(values["offsets"]),
                scales=_three(values["scales"]),
                stain_source=record.stain_source,
                ck_spread=float(values["ck_spread"]),
                ck_cutoff=float(values.get("ck_cutoff", 0.0)),  # results before version 10 have none
            )
        return BrightfieldProfile(
            stain=cast("Stain", record.stain),
            stain_source=record.stain_source,
            white=_three(values["white"]),
            hematoxylin=_three(values["hematoxylin"]),
            chromogen=_three(values["chromogen"]),
            nuclear_scale=float(values["nuclear_scale"]),
            estimated=bool(values["chromogen_estimated"]),
            ck_background=float(values["ck_background"]),
            ck_spread=float(values["ck_spread"]),
            ck_cutoff=float(values.get("ck_cutoff", 0.0)),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(
            f"{one_line(record.slide)}: its record holds no stain profile; score the slide again"
        ) from error


def _three(values: Any) -> tuple[float, float, float]:
    first, second, third = (float(value) for value in values)
    return first, second, third
