"""Label images: each object's outline and class, block by block, so that no slide-size array is ever in memory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from skimage.measure import find_contours

from dtcseg.errors import DtcsegError
from dtcseg.results.text import one_line

if TYPE_CHECKING:
    from dtcseg.results.record import SlideRecord

Objects = list[tuple[str, npt.NDArray[np.float64] | None]]
"""Class as it is named, and outline (N, 2) in level-0 pixels; None where there is no outline that can be read."""

_BLOCK_PX = 2048
_MOST_OBJECTS = 100_000
_LARGEST_PX = 4096
"""Side of the box of an object; what is larger is no cell."""


class NotLabels(DtcsegError):
    """A file that is no label image of its slide."""


def read_objects(file: Path, record: SlideRecord, word: str) -> Objects:
    """Read the objects of a label image: 0 is nothing, every other value an object of its own.

    Parameters
    ----------
    file : Path
        TIFF or PNG (napari, ImageJ), or a folder in OME-Zarr.
    record : SlideRecord
        The image is of the whole slide, at level 0 or evenly smaller.
    word : str
        Class of all objects, as the file's name has it; "" where the file tells it object by object (OME-Zarr
        properties `call` or `class`).

    Raises
    ------
    NotLabels
        It is not readable, not of integers, or of another size than the slide's.
    """
    name = one_line(file.name)
    try:
        array, words = _open(file)
    except (OSError, ValueError, KeyError, TypeError, IndexError, RuntimeError) as error:
        raise NotLabels(f"{name}: cannot be read as a label image ({one_line(error)})") from error
    if array.ndim != 2 or not np.issubdtype(array.dtype, np.integer):
        raise NotLabels(f"{name}: is no label image; it must have two axes and whole numbers")
    scale = record.width_px / array.shape[1]
    if abs(record.height_px / array.shape[0] - scale) > 0.02 * scale or scale < 0.99:
        raise NotLabels(
            f"{name}: is {array.shape[1]} x {array.shape[0]} px, the slide {record.width_px} x {record.height_px}; a "
            "label image must be of the whole slide"
        )
    if not word and not words:
        raise NotLabels(f"{name}: names no class; call it SLIDE.CLASS.tif, for instance SLIDE.tumour.tif")
    return [
        (word or words.get(value, ""), _outline(array, value, box, scale))
        for value, box in sorted(_boxes(array).items())
    ]


def _open(file: Path) -> tuple[Any, dict[int, str]]:
    if file.is_dir():
        import zarr

        group = zarr.open_group(str(file), mode="r")
        attributes: dict[str, Any] = dict(group.attrs)
        about: Any = attributes.get("ome", attributes)
        path = about["multiscales"][0]["datasets"][0]["path"]
        properties = about.get("image-label", {}).get("properties", [])
        return group[str(path)], {int(p["label-value"]): str(p.get("call", p.get("class", ""))) for p in properties}
    if file.suffix.lower() == ".png":
        from PIL import Image

        with Image.open(file) as image:
            return np.asarray(image), {}
    import tifffile
    import zarr

    with tifffile.TiffFile(file) as tiff:
        series = tiff.series[0]
        if series.nbytes <= 1 << 28:
            return np.squeeze(series.asarray()), {}
        return zarr.open(series.aszarr(level=0), mode="r"), {}


def _boxes(array: Any) -> dict[int, tuple[int, int, int, int]]:
    """Box (top, left, bottom, right) of each value."""
    boxes: dict[int, tuple[int, int, int, int]] = {}
    for top in range(0, array.shape[0], _BLOCK_PX):
        for left in range(0, array.shape[1], _BLOCK_PX):
            block = np.asarray(array[top : top + _BLOCK_PX, left : left + _BLOCK_PX])
            rows, columns = np.nonzero(block)
            if not rows.size:
                continue
            values = block[rows, columns].astype(np.int64)
            order = np.argsort(values, kind="stable")
            values, rows, columns = values[order], rows[order] + top, columns[order] + left
            found, starts = np.unique(values, return_index=True)
            edges = zip(
                np.minimum.reduceat(rows, starts).tolist(),
                np.minimum.reduceat(columns, starts).tolist(),
                (np.maximum.reduceat(rows, starts) + 1).tolist(),
                (np.maximum.reduceat(columns, starts) + 1).tolist(),
                strict=True,
            )
            for value, (y0, x0, y1, x1) in zip(found.tolist(), edges, strict=True):
                old = boxes.get(value, (y0, x0, y1, x1))
                boxes[value] = (min(old[0], y0), min(old[1], x0), max(old[2], y1), max(old[3], x1))
            if len(boxes) > _MOST_OBJECTS:
                raise NotLabels(f"more than {_MOST_OBJECTS} objects: is it an image and no label image?")
    return boxes


def _outline(array: Any, value: int, box: tuple[int, int, int, int], scale: float) -> npt.NDArray[np.float64] | None:
    top, left, bottom, right = box
    if max(bottom - top, right - left) > _LARGEST_PX:
        return None
    mask = np.pad(np.asarray(array[top:bottom, left:right]) == value, 1)
    contours = find_contours(mask.astype(np.float64), 0.5)  # type: ignore[no-untyped-call]
    longest = max(contours, key=len)[:, ::-1] - 1 + (left, top)
    return np.asarray((longest + 0.5) * scale - 0.5)
