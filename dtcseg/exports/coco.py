"""All slides in one file of the COCO form, for programs that train and judge detectors."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import shapely

from dtcseg.cells import CALLS
from dtcseg.results.candidates import CALL_COLOURS
from dtcseg.results.text import one_line

if TYPE_CHECKING:
    from dtcseg.exports.slides import Calls, ExportedCell, ExportedSlide

CATEGORY_IDS = {call: number for number, call in enumerate(CALLS, start=1)}


def coco_json(
    slides: Sequence[ExportedSlide],
    calls: Mapping[str, Calls] | None = None,
    left_out: Sequence[str] = (),
) -> bytes:
    """Make the file: one image a slide, one annotation a candidate, one category a call.

    Parameters
    ----------
    slides : sequence of ExportedSlide
        Image ids count from 1 in this order, annotation ids through all slides.
    calls : mapping of str to (mapping of int to Call), optional
        By slide, then by `cell_id`: calls that take the place of the program's.
    left_out : sequence of str
        Why slides of the results folder are missing here; written into the file, so that it says so itself.

    Returns
    -------
    bytes
        JSON in ASCII. Coordinates, `bbox` (x, y, width, height) and `area` are in level-0 pixels, and (0, 0) is the top
        left corner of the first pixel, as the format's own tools count.

    Raises
    ------
    ExportError
        A call is given for a cell that is not there.
    """
    slides = [slide.with_calls((calls or {}).get(slide.record.slide)) for slide in slides]
    annotations: list[dict[str, Any]] = []
    for image_id, slide in enumerate(slides, start=1):
        for cell in slide.cells:
            annotations.append(_annotation(len(annotations) + 1, image_id, cell))
    content = {
        "info": {
            "description": "Candidates found by dtcseg; research use only",
            "slides_left_out": list(left_out),
        },
        "licenses": [],
        "images": [_image(image_id, slide) for image_id, slide in enumerate(slides, start=1)],
        "categories": [
            {"id": number, "name": call, "supercategory": "candidate", "color": list(CALL_COLOURS[call])}
            for call, number in CATEGORY_IDS.items()
        ],
        "annotations": annotations,
    }
    return (json.dumps(content, allow_nan=False, separators=(",", ":")) + "\n").encode("ascii")


def _image(image_id: int, slide: ExportedSlide) -> dict[str, Any]:
    record = slide.record
    return {
        "id": image_id,
        "file_name": one_line(record.identity[0].name if record.identity else record.slide),
        "width": record.width_px,
        "height": record.height_px,
        "slide": one_line(record.slide),
        "mpp_um": record.mpp_um,
        "stain": record.stain,
        "program": one_line(record.program),
        "weights_sha256": one_line(record.weights.sha256),
    }


def _annotation(number: int, image_id: int, cell: ExportedCell) -> dict[str, Any]:
    (x0, y0), (x1, y1) = cell.outline_px.min(axis=0).tolist(), cell.outline_px.max(axis=0).tolist()
    return {
        "id": number,
        "image_id": image_id,
        "category_id": CATEGORY_IDS[cell.call],
        "segmentation": [
            cell.outline_px[:-1].ravel().tolist()
        ],  # rings are closed without naming the first point twice
        "area": round(float(shapely.Polygon(cell.outline_px).area), 2),
        "bbox": [x0, y0, round(x1 - x0, 2), round(y1 - y0, 2)],
        "iscrowd": 0,
        "score": cell.score,
        "cell_id": cell.cell_id,
        "uuid": cell.uuid,
        "program_call": cell.program_call,
        "measurements": cell.measurements,
    }
