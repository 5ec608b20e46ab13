"""From a slide and its candidates to napari layers, all in µm."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from dtcseg_napari._pyramid import LevelArray, PlaneArray, Pyramid

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from dtcseg.cells import Call
    from dtcseg.screen import Profile
    from dtcseg.slide._base import Slide

LayerTuple = tuple[Any, dict[str, Any], Literal["image", "points"]]

# Okabe and Ito's colours: told apart with every kind of colour vision, and none of them that of a chromogen.
# The shape of the mark says the call a second time.
CALL_MARKS: dict[Call, tuple[str, str]] = {
    "tumour": ("#009E73", "disc"),
    "uninterpretable": ("#E69F00", "square"),
    "haematopoietic": ("#0072B2", "diamond"),
    "artefact": ("#999999", "triangle_up"),
}
MARK_UM = 30.0
MARK_SCREEN_PX = 14  # a mark gets no smaller on the screen, so that one cell on a whole slide is seen
PLANES: dict[str, tuple[int, str]] = {"nuclear": (0, "gray"), "cytokeratin": (1, "magma")}
"""Stain planes that are layers of their own: number and colours."""
_PLANE_LIMITS = (0.0, 1.2)
_CHANNEL_COLOURS = {"nuclear": "blue", "cytokeratin": "green", "leukocyte": "red"}


def slide_layers(
    slide: Slide,
    name: str,
    on_unreadable: Callable[[str], None],
    roles: Mapping[str, str],
    profile: Profile | None = None,
) -> list[LayerTuple]:
    """One RGB layer for a brightfield slide, one layer a channel for a fluorescence slide.

    Parameters
    ----------
    slide : Slide
        Belongs to the layers from now on; closed with them.
    name : str
        Name of the layer, or the first part of it.
    on_unreadable : callable
        Told, once, which region could not be decoded.
    roles : mapping
        What a channel shows ("nuclear", "cytokeratin", "leukocyte") by its name, for its colour.
    profile : Profile, optional
        Of a brightfield slide that was scored: its stain planes become layers that are hidden at first.

    Returns
    -------
    list of layer tuples
        Multiscale, level-0 scale in µm where the pixel size is known.
    """
    pyramid = Pyramid(slide, on_unreadable)
    shared = _scale(slide)
    if slide.kind == "brightfield":
        colours: LayerTuple = (
            _levels(pyramid, None),
            {**shared, "name": name, "rgb": True, "multiscale": True},
            "image",
        )
        return [colours, *(_plane_layers(pyramid, shared, name, profile) if profile is not None else [])]
    layers: list[LayerTuple] = []
    for number, channel in enumerate(slide.channels):
        levels = _levels(pyramid, number)
        settings = {
            **shared,
            "name": f"{name} {channel}",
            "multiscale": True,
            "blending": "additive",
            "colormap": _CHANNEL_COLOURS.get(roles.get(channel, ""), "gray"),
            "contrast_limits": _contrast_limits(levels[-1]),
        }
        layers.append((levels, settings, "image"))
    return layers


def candidate_layer(rows: Sequence[dict[str, str]], name: str, mpp_yx_um: tuple[float, float]) -> LayerTuple:
    """Candidates as marks around the cells: the call by colour and shape, everything else in the features.

    Parameters
    ----------
    rows : sequence of dict
        Rows of cells.csv; there may be none.
    name : str
        Name of the layer.
    mpp_yx_um : (float, float)
        Level-0 pixel size along y and x.

    Returns
    -------
    layer tuple
        Points, (y, x) in level-0 pixels.
    """
    positions = np.array([(float(row["y_px"]), float(row["x_px"])) for row in rows], dtype=float).reshape(-1, 2)
    settings: dict[str, Any] = {
        "name": name,
        "scale": mpp_yx_um,
        "units": ("um", "um"),
        "features": _features(rows),
        "size": MARK_UM / float(np.sqrt(mpp_yx_um[0] * mpp_yx_um[1])),
        "face_color": "transparent",
        "border_width": 0.08,
        "canvas_size_limits": (MARK_SCREEN_PX, 10_000),
    }
    if rows:
        marks = [CALL_MARKS[_as_call(row["call"])] for row in rows]
        settings["border_color"] = [colour for colour, _ in marks]
        settings["symbol"] = [symbol for _, symbol in marks]
    return positions, settings, "points"


def _levels(pyramid: Pyramid, channel: int | None) -> list[LevelArray]:
    return [LevelArray(pyramid, level, channel) for level in range(len(pyramid.shapes))]


def _plane_layers(pyramid: Pyramid, shared: dict[str, Any], name: str, profile: Profile) -> list[LayerTuple]:
    layers: list[LayerTuple] = []
    for stain, (plane, colormap) in PLANES.items():
        levels = [PlaneArray(pyramid, level, plane, profile) for level in range(len(pyramid.shapes))]
        settings = {
            **shared,
            "name": f"{name} {stain}",
            "multiscale": True,
            "visible": False,
            "colormap": colormap,
            "contrast_limits": _PLANE_LIMITS,
        }
        layers.append((levels, settings, "image"))
    return layers


def _scale(slide: Slide) -> dict[str, Any]:
    if slide.resolution is None:
        return {}
    return {"scale": (slide.resolution.mpp_y_um, slide.resolution.mpp_x_um), "units": ("um", "um")}


def _contrast_limits(level: LevelArray) -> tuple[float, float]:
    """From the darkest percent to nearly the brightest pixel of the smallest level, so that rare bright cells show."""
    pixels = np.asarray(level)
    low, high = (float(value) for value in np.percentile(pixels, (1.0, 99.9)))
    return low, max(high, low + 1.0)


def _features(rows: Sequence[dict[str, str]]) -> dict[str, list[Any]]:
    """Columns of cells.csv, numbers as numbers."""
    names = list(rows[0]) if rows else ["cell_id", "score", "call"]
    return {name: [_number_or_text(row[name]) for row in rows] for name in names}


def _number_or_text(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _as_call(text: str) -> Call:
    for call in CALL_MARKS:
        if call == text:
            return call
    raise ValueError(f"'{text}' is not a call of dtcseg")
