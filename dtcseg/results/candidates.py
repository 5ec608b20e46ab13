"""The candidates and nuclei of one slide as files: cells.csv, cells.geojson (QuPath) and nuclei.parquet.

The same slide gives the same bytes every time: no clock, no random identifier, decimals fixed.
"""

from __future__ import annotations

import io
import json
import math
import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import shapely
from shapely.geometry import Point, Polygon

from dtcseg.results.text import csv_bytes, fixed, one_line

if TYPE_CHECKING:
    from dtcseg.cells import Call, Candidate

MEASUREMENTS = (
    "diameter_um",
    "area_um2",
    "nucleus_area_um2",
    "ck_od",
    "ck_over_nucleus",
    "neighbours",
    "cluster_id",
    "nucleus_ratio",
    "ck_granularity",
    "cd45_ring",
)
"""What is measured on a candidate, beside its score and call."""
CELL_COLUMNS = ("cell_id", "x_px", "y_px", "x_um", "y_um", "score", "call", *MEASUREMENTS, "uuid")
CALL_COLOURS: dict[Call, tuple[int, int, int]] = {
    "tumour": (214, 39, 40),
    "uninterpretable": (255, 152, 0),
    "haematopoietic": (31, 119, 180),
    "artefact": (127, 127, 127),
}
_NAMESPACE = uuid.UUID("6f2b7a54-6c0f-5d0e-9a3b-1d7c4e5f8a90")
_GRID_PX = 0.01
QUPATH_OFFSET_PX = 0.5
"""QuPath counts from the corner of the first pixel, dtcseg from its centre."""


def cell_uuids(slide: str, candidates: Sequence[Candidate]) -> list[str]:
    """Name each candidate by slide and place, so that a cell keeps its name when its score or call changes."""
    seen: dict[str, int] = {}
    names = []
    for cell in candidates:
        place = f"{one_line(slide)}|{cell.x_px:.2f}|{cell.y_px:.2f}"
        seen[place] = seen.get(place, 0) + 1
        names.append(str(uuid.uuid5(_NAMESPACE, f"{place}|{seen[place]}")))
    return names


def cells_csv(slide: str, candidates: Sequence[Candidate], mpp_um: float) -> bytes:
    """Make cells.csv: one row a candidate, in the order given (falling score); `cell_id` counts from 1."""
    uuids = cell_uuids(slide, candidates)
    rows = [
        {
            "cell_id": number,
            "x_px": fixed(cell.x_px, 2),
            "y_px": fixed(cell.y_px, 2),
            "x_um": fixed(cell.x_px * mpp_um, 2),
            "y_um": fixed(cell.y_px * mpp_um, 2),
            "score": fixed(cell.score, 4),
            "call": cell.call,
            "diameter_um": fixed(cell.diameter_um, 2),
            "area_um2": fixed(cell.area_um2, 2),
            "nucleus_area_um2": fixed(cell.nucleus_area_um2, 2),
            "ck_od": fixed(cell.ck_od, 4),
            "ck_over_nucleus": fixed(cell.ck_over_nucleus, 4),
            "neighbours": int(cell.neighbours),
            "cluster_id": int(cell.cluster_id),
            "nucleus_ratio": fixed(cell.nucleus_ratio, 2),
            "ck_granularity": fixed(cell.ck_granularity, 3),
            "cd45_ring": fixed(cell.cd45_ring, 2),
            "uuid": name,
        }
        for number, (cell, name) in enumerate(zip(candidates, uuids, strict=True), start=1)
    ]
    return csv_bytes(CELL_COLUMNS, rows)


def cells_geojson(slide: str, candidates: Sequence[Candidate], mpp_um: float) -> bytes:
    """Make cells.geojson: a FeatureCollection in level-0 pixels that QuPath imports as it is.

    Tumour and uninterpretable cells are annotations, which QuPath lists one by one; the rest are detections.
    One feature stands on each line, so that two files can be compared line by line.
    """
    uuids = cell_uuids(slide, candidates)
    features = [
        json.dumps(_feature(number, cell, name, mpp_um), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        for number, (cell, name) in enumerate(zip(candidates, uuids, strict=True), start=1)
    ]
    body = ",\n".join(features)
    return f'{{"type":"FeatureCollection","features":[\n{body}\n]}}\n'.encode()


def _feature(number: int, cell: Candidate, name: str, mpp_um: float) -> dict[str, Any]:
    shown_singly = cell.call in ("tumour", "uninterpretable")
    measurements = {
        "score": round(float(cell.score), 4),
        "diameter_um": round(float(cell.diameter_um), 2),
        "area_um2": round(float(cell.area_um2), 2),
        "nucleus_area_um2": round(float(cell.nucleus_area_um2), 2),
        "ck_od": round(float(cell.ck_od), 4),
        "ck_over_nucleus": round(float(cell.ck_over_nucleus), 4),
        "neighbours": int(cell.neighbours),
        "cluster_id": int(cell.cluster_id),
        "nucleus_ratio": round(float(cell.nucleus_ratio), 2),
        "ck_granularity": round(float(cell.ck_granularity), 3),
        "cd45_ring": round(float(cell.cd45_ring), 2),
    }
    return {
        "type": "Feature",
        "id": name,
        "geometry": {"type": "Polygon", "coordinates": [simple_ring(cell, mpp_um)]},
        "properties": {
            "objectType": "annotation" if shown_singly else "detection",
            "name": f"cell {number}",
            "classification": {"name": cell.call, "color": list(CALL_COLOURS[cell.call])},
            "measurements": {key: value for key, value in measurements.items() if math.isfinite(value)},
        },
    }


def simple_ring(cell: Candidate, mpp_um: float) -> list[list[float]]:
    """Make the outline one closed ring in QuPath's pixels, without self-crossings, counter-clockwise as GeoJSON wants.

    An outline that crosses itself keeps its largest part; one without an area becomes a circle of the cell's diameter.
    """
    outline = np.asarray(cell.outline_px, dtype=np.float64).reshape(-1, 2)
    outline = np.round(outline[np.isfinite(outline).all(axis=1)], 2)
    polygon = _largest_part(outline) if len(outline) >= 3 else None
    if polygon is None:
        radius_px = max(cell.diameter_um / mpp_um / 2.0 if math.isfinite(cell.diameter_um) else 0.0, 1.0)
        polygon = shapely.set_precision(Point(cell.x_px, cell.y_px).buffer(radius_px, quad_segs=4), _GRID_PX)
    polygon = shapely.transform(polygon, lambda points: points + QUPATH_OFFSET_PX)
    ring = shapely.geometry.polygon.orient(shapely.normalize(polygon)).exterior.coords
    return [[round(x, 2) + 0.0, round(y, 2) + 0.0] for x, y in ring]


def _largest_part(outline: npt.NDArray[np.float64]) -> Polygon | None:
    snapped = shapely.set_precision(shapely.make_valid(Polygon(outline)), _GRID_PX)
    parts = [part for part in shapely.get_parts(shapely.make_valid(snapped)) if isinstance(part, Polygon)]
    if not parts:
        return None
    largest = max(parts, key=lambda part: part.area)
    if largest.is_empty:
        return None
    return shapely.make_valid(Polygon(largest.exterior))


def nuclei_parquet(nuclei_px: npt.NDArray[np.float32]) -> bytes:
    """Make nuclei.parquet: every nucleus counted, level-0 pixels, columns x_px and y_px (float32)."""
    nuclei = np.asarray(nuclei_px, dtype=np.float32).reshape(-1, 2)
    # from buffers: given NumPy arrays, PyArrow imports pandas where it is installed, which takes a second
    columns = [pa.py_buffer(np.ascontiguousarray(nuclei[:, i])) for i in (0, 1)]
    arrays = [pa.FloatArray.from_buffers(pa.float32(), len(nuclei), [None, column]) for column in columns]
    table = pa.Table.from_arrays(arrays, names=["x_px", "y_px"])
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()
