"""Slide files as napari layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dtcseg.errors import UnsuitableSlide
from dtcseg.slide import match_channels, open_slide
from dtcseg_napari._layers import LayerTuple, slide_layers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from dtcseg.screen import Profile


def open_layers(
    files: Sequence[Path],
    warn: Callable[[str], None],
    *,
    name: str = "",
    channels: Sequence[str] = (),
    mpp_um: float | None = None,
    profile: Profile | None = None,
) -> list[LayerTuple]:
    """Open a slide for looking at, also one that could not be scored.

    Parameters
    ----------
    files : sequence of Path
        One file, or one a channel.
    warn : callable
        Told what is wrong with the slide and what of it cannot be decoded.
    name : str
        Name of the layers; the file's name when empty.
    channels : sequence of str
        Channel names that override the file's.
    mpp_um : float, optional
        Pixel size that overrides the file's.
    profile : Profile, optional
        How the slide was scored, for layers of its stain planes.

    Raises
    ------
    SlideError
        It cannot be opened.
    """
    slide = open_slide(files, mpp_um=mpp_um, channels=channels, check=False)
    if slide.resolution is None:
        warn(f"{files[0].name}: no usable pixel size, so it is shown in pixels, not in µm")
    roles = _channel_roles(slide.channels) if slide.kind == "fluorescence" else {}
    return slide_layers(slide, name or files[0].name, warn, roles, profile)


def _channel_roles(channels: Sequence[str]) -> dict[str, str]:
    """Match each channel to what it shows, by its name; empty where the names do not say."""
    try:
        return {channels[index]: role for role, index in match_channels(channels).items()}
    except UnsuitableSlide:
        return {}
