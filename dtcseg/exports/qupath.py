"""Outlines for QuPath: GeoJSON whose coordinates start where QuPath's do, with the calls that count.

QuPath counts pixels of full resolution from the top left corner of the image *as it shows it*. A slide that it opens
through OpenSlide is cropped to the part that was scanned where the file states such bounds (MIRAX, Leica SCN), while
dtcseg and cells.geojson keep to the whole canvas; so the corner of the bounds is taken off here.
"""

from __future__ import annotations

import gzip
import json
from typing import Any, Literal

from dtcseg.exports.slides import Calls, ExportedCell, ExportedSlide, ExportError
from dtcseg.results.candidates import CALL_COLOURS
from dtcseg.results.text import one_line, utf8

Origin = Literal["auto", "slide", "bounds"]
ORIGINS: tuple[Origin, ...] = ("auto", "slide", "bounds")
GZIP_FROM_BYTES = 4 * 2**20
"""Larger files are written compressed; QuPath opens them as they are."""

_SHOWN_SINGLY = ("tumour", "uninterpretable")


def qupath_geojson(slide: ExportedSlide, calls: Calls | None = None, origin: Origin = "auto") -> bytes:
    """Make a FeatureCollection that QuPath imports.

    Tumour and uninterpretable cells are annotations: QuPath lists these one by one, centres on them, and lets a reader
    change class and outline, which is what reviewing takes, and they are few. The rest are detections, of which QuPath
    shows thousands at once and lists none.

    Parameters
    ----------
    slide : ExportedSlide
    calls : mapping of int to Call, optional
        Calls by `cell_id` that take the place of the program's.
    origin : {"auto", "slide", "bounds"}
        From where to count: the corner of the whole canvas, or that of the scanned part. "auto" is "bounds" where
        scoring found any, else "slide".

    Returns
    -------
    bytes
        UTF-8, one feature a line. Beside the features, a member `dtcseg` names the slide and the offset taken off.

    Raises
    ------
    ExportError
        The bounds are needed and are not in these results.
    """
    slide = slide.with_calls(calls)
    x_px, y_px = offset_px(slide, origin)
    about = {"slide": slide.record.slide, "offset_px": [x_px, y_px], "program": slide.record.program}
    features = ",\n".join(_json(_feature(cell, x_px, y_px)) for cell in slide.cells)
    return utf8(f'{{"type":"FeatureCollection","dtcseg":{_json(about)},"features":[\n{features}\n]}}\n')


def compressed(content: bytes) -> bytes:
    """Compress with gzip; the same content gives the same bytes."""
    return gzip.compress(content, mtime=0)


def offset_px(slide: ExportedSlide, origin: Origin) -> tuple[int, int]:
    """Say where, in level-0 pixels of the whole canvas, the image as QuPath shows it begins; see `qupath_geojson`."""
    if origin == "slide":
        return 0, 0
    bounds = slide.references.get("bounds_px")
    if isinstance(bounds, list) and len(bounds) == 4 and all(type(value) is int for value in bounds):
        return bounds[0], bounds[1]
    is_mirax = any(entry.name.lower().endswith(".mrxs") for entry in slide.record.identity)
    if origin == "bounds" or (is_mirax and "bounds_px" not in slide.references):
        raise ExportError(
            f"{one_line(slide.record.slide)}: the bounds of the scanned part are not in these results; score the slide "
            "again with this version, or count from the corner of the whole canvas with --origin slide"
        )
    return 0, 0


def _feature(cell: ExportedCell, x_px: int, y_px: int) -> dict[str, Any]:
    ring = [[round(x - x_px, 2), round(y - y_px, 2)] for x, y in cell.outline_px.tolist()]
    return {
        "type": "Feature",
        "id": cell.uuid,
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {
            "objectType": "annotation" if cell.call in _SHOWN_SINGLY else "detection",
            "name": f"cell {cell.cell_id}",
            "classification": {"name": cell.call, "color": list(CALL_COLOURS[cell.call])},
            "measurements": {"score": cell.score, **cell.measurements},
        },
    }


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
