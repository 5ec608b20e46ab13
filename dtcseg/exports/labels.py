"""Outlines as an OME-Zarr label image: each pixel holds the number of the cell it belongs to, 0 elsewhere.

Nothing of the slide's size is ever in memory. Outlines are drawn chunk by chunk, on every level anew from the polygons,
and a chunk without a cell is never written: readers take it for zeros.
"""

from __future__ import annotations

import math
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
from skimage import draw

from dtcseg.results.candidates import CALL_COLOURS
from dtcseg.results.text import one_line

if TYPE_CHECKING:
    from dtcseg.exports.slides import Calls, ExportedCell, ExportedSlide

NgffVersion = Literal["0.5", "0.4"]
CHUNK_PX = 512
_SMALLEST_PX = 1024
"""Levels are halved until the image fits into a square of this side."""

_polygon: Any = draw.polygon


def write_labels(
    slide: ExportedSlide, folder: Path, calls: Calls | None = None, *, version: NgffVersion = "0.5"
) -> None:
    """Write the label image into an empty folder.

    The group is a multiscale image of uint32, axes (y, x), with `image-label` metadata: a colour for each cell, by its
    call, and its call, score and measurements as properties. The value of a pixel is the `cell_id` of cells.csv. Where
    outlines overlap the cell of higher score is on top. Every cell keeps at least the pixel of its centre on each
    level, so that it can be seen from afar.

    Parameters
    ----------
    slide : ExportedSlide
    folder : Path
        There, and empty.
    calls : mapping of int to Call, optional
        Calls by `cell_id` that take the place of the program's.
    version : {"0.5", "0.4"}
        Of the OME-Zarr specification; 0.5 stands on zarr format 3, 0.4 on format 2, for readers that know no other.

    Raises
    ------
    ExportError
        A call is given for a cell that is not there.
    """
    import zarr

    slide = slide.with_calls(calls)
    factors = level_factors(slide.record.width_px, slide.record.height_px)
    attributes = label_metadata(slide, factors, version)
    group = zarr.open_group(str(folder), mode="w", zarr_format=3 if version == "0.5" else 2, attributes=attributes)
    for number, factor in enumerate(factors):
        shape = (_scaled(slide.record.height_px, factor), _scaled(slide.record.width_px, factor))
        array = group.create_array(
            str(number),
            shape=shape,
            chunks=(min(CHUNK_PX, shape[0]), min(CHUNK_PX, shape[1])),
            dtype="uint32",
            fill_value=0,
            **_layout(version),
        )
        _draw_level(array, slide.cells, factor)


def level_factors(width_px: int, height_px: int) -> tuple[int, ...]:
    """Say by how much each level is smaller than level 0: 1, 2, 4 and so on."""
    factors = [1]
    while max(width_px, height_px) > _SMALLEST_PX * factors[-1]:
        factors.append(2 * factors[-1])
    return tuple(factors)


def label_metadata(slide: ExportedSlide, factors: tuple[int, ...], version: NgffVersion) -> dict[str, Any]:
    """Make the attributes of the group."""
    mpp_um = slide.record.mpp_um
    datasets = [
        {
            "path": str(number),
            "coordinateTransformations": [
                {"type": "scale", "scale": [mpp_um * factor] * 2},
                # the centre of a level's first pixel, counted from the centre of level 0's
                {"type": "translation", "translation": [mpp_um * (factor - 1) / 2] * 2},
            ],
        }
        for number, factor in enumerate(factors)
    ]
    axes = [{"name": name, "type": "space", "unit": "micrometer"} for name in "yx"]
    multiscale: dict[str, Any] = {"name": one_line(slide.record.slide), "axes": axes, "datasets": datasets}
    label: dict[str, Any] = {}
    if slide.cells:
        label["colors"] = [
            {"label-value": cell.cell_id, "rgba": [*CALL_COLOURS[cell.call], 255]} for cell in slide.cells
        ]
        label["properties"] = [
            {
                "label-value": cell.cell_id,
                "call": cell.call,
                "program_call": cell.program_call,
                "score": cell.score,
                **cell.measurements,
                "uuid": cell.uuid,
            }
            for cell in slide.cells
        ]
    if version == "0.5":
        return {"ome": {"version": version, "multiscales": [multiscale], "image-label": label}}
    return {"multiscales": [{"version": version, **multiscale}], "image-label": {"version": version, **label}}


def _layout(version: NgffVersion) -> dict[str, Any]:
    if version == "0.5":
        return {"dimension_names": ("y", "x"), "chunk_key_encoding": {"name": "default", "separator": "/"}}
    return {"chunk_key_encoding": {"name": "v2", "separator": "/"}}


def _scaled(size_px: int, factor: int) -> int:
    return math.ceil(size_px / factor)


def _draw_level(array: Any, cells: tuple[ExportedCell, ...], factor: int) -> None:
    """Draw all cells on one level, each chunk once."""
    rings = [cell.outline_px / factor - 0.5 for cell in cells]  # now the centre of a level's pixel has whole numbers
    centres = [
        (
            min(int((cell.y_px + 0.5) / factor), array.shape[0] - 1),
            min(int((cell.x_px + 0.5) / factor), array.shape[1] - 1),
        )
        for cell in cells
    ]
    touched: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
    for index, (ring, centre) in enumerate(zip(rings, centres, strict=True)):
        for place in _chunks_of(ring, centre, array.shape, array.chunks):
            touched[place].append(index)
    for (row, column), found in sorted(touched.items()):
        y, x = row * array.chunks[0], column * array.chunks[1]
        tile = np.zeros((min(array.chunks[0], array.shape[0] - y), min(array.chunks[1], array.shape[1] - x)), np.uint32)
        for index in reversed(found):  # by rising score, so that the highest is drawn last
            _draw(tile, rings[index] - (x, y), cells[index].cell_id)
        for index in reversed(found):
            centre_y, centre_x = centres[index][0] - y, centres[index][1] - x
            if 0 <= centre_y < tile.shape[0] and 0 <= centre_x < tile.shape[1] and not tile[centre_y, centre_x]:
                tile[centre_y, centre_x] = cells[index].cell_id
        if tile.any():
            array[y : y + tile.shape[0], x : x + tile.shape[1]] = tile


def _chunks_of(
    ring: npt.NDArray[np.float64], centre: tuple[int, int], shape: tuple[int, int], chunks: tuple[int, int]
) -> set[tuple[int, int]]:
    """Which chunks the box around an outline touches, and the one that holds the centre."""
    places = {(max(centre[0], 0) // chunks[0], max(centre[1], 0) // chunks[1])}
    low, high = np.floor(ring.min(axis=0)), np.ceil(ring.max(axis=0))
    if high[0] < 0 or high[1] < 0 or low[0] >= shape[1] or low[1] >= shape[0]:
        return places
    x0, y0 = (int(max(value, 0)) for value in low)
    x1, y1 = int(min(high[0], shape[1] - 1)), int(min(high[1], shape[0] - 1))
    places |= {
        (row, column)
        for row in range(y0 // chunks[0], y1 // chunks[0] + 1)
        for column in range(x0 // chunks[1], x1 // chunks[1] + 1)
    }
    return places


def _draw(tile: npt.NDArray[np.uint32], ring: npt.NDArray[np.float64], value: int) -> None:
    rows, columns = _polygon(ring[:, 1], ring[:, 0], tile.shape)
    tile[rows, columns] = value
