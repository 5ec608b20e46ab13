"""Writer that napari calls: outlines and marks as GeoJSON, as QuPath reads it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dtcseg.errors import UsageError
from dtcseg.results.atomic import write_file
from dtcseg.results.candidates import QUPATH_OFFSET_PX
from dtcseg.results.text import one_line

_OUTLINES = ("polygon", "path", "rectangle")


def write_cells(path: str, layers: Sequence[tuple[Any, Mapping[str, Any], str]]) -> list[str]:
    """Write shapes as polygons and points as points, level-0 pixels counted from the corner of the first one.

    Parameters
    ----------
    path : str
    layers : sequence of layer tuples
        Of the types shapes and points, in pixels of the slide, as the reader and the review make them.

    Returns
    -------
    list of str
        The file written.

    Raises
    ------
    UsageError
        Nothing in the layers can be written, or the folder takes no file.
    """
    features = [feature for data, settings, kind in layers for feature in _features(data, settings, kind)]
    if not features:
        raise UsageError(f"{one_line(Path(path).name)}: these layers hold no outlines and no marks")
    text = json.dumps({"type": "FeatureCollection", "features": features}, allow_nan=False)
    try:
        write_file(Path(path), text.encode())
    except OSError as error:
        reason = one_line(error.strerror or error)
        raise UsageError(f"{one_line(path)}: cannot be written ({reason}); choose another folder") from error
    return [path]


def _features(data: Any, settings: Mapping[str, Any], kind: str) -> list[dict[str, Any]]:
    names = settings.get("features")
    calls = list(names["call"]) if names is not None and "call" in names else []
    if kind == "points":
        geometries = [{"type": "Point", "coordinates": _xy([point])[0]} for point in np.asarray(data)]
    else:
        kinds = settings.get("shape_type", "polygon")
        kinds = [kinds] * len(data) if isinstance(kinds, str) else list(kinds)
        geometries = [
            {"type": "Polygon", "coordinates": [_closed(_xy(ring))]}
            for ring, form in zip(data, kinds, strict=True)
            if form in _OUTLINES and len(ring) >= 3
        ]
        calls = calls if len(calls) == len(geometries) else []
    return [
        {
            "type": "Feature",
            "geometry": geometry,
            "properties": {"objectType": "annotation", **({"classification": {"name": calls[k]}} if calls else {})},
        }
        for k, geometry in enumerate(geometries)
    ]


def _xy(points: Any) -> list[list[float]]:
    pixels = np.asarray(points, np.float64)[:, -2:][:, ::-1] + QUPATH_OFFSET_PX
    return [[round(x, 2), round(y, 2)] for x, y in pixels.tolist()]


def _closed(ring: list[list[float]]) -> list[list[float]]:
    return ring if ring[0] == ring[-1] else [*ring, ring[0]]
