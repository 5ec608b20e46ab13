"""Annotations made elsewhere: QuPath's GeoJSON, COCO, label images of napari, ImageJ and OME-Zarr.

How a file finds its slide, and a class its call, is told in docs/learning.md and by `CLASSES`. What finds neither is
listed and not taught.
"""

from __future__ import annotations

import gzip
import json
import re
import uuid
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from dtcseg.errors import DtcsegError, UsageError
from dtcseg.results.text import one_line
from dtcseg.verdicts.cells import ring_of
from dtcseg_training.learn.labels import Objects, read_objects
from dtcseg_training.learn.taught import TaughtCell, TaughtSlide, file_sha256, joined

if TYPE_CHECKING:
    from dtcseg.cells import Call

CLASSES: dict[str, Call] = {
    **dict.fromkeys(("tumour", "tumor", "tumourcell", "tumorcell", "dtc", "probable"), "tumour"),
    **dict.fromkeys(("uninterpretable", "degenerate", "degenerated", "apoptotic"), "uninterpretable"),
    **dict.fromkeys(("haematopoietic", "hematopoietic", "leukocyte", "leucocyte", "whitecell"), "haematopoietic"),
    **dict.fromkeys(("artefact", "artifact", "debris", "dirt", "precipitate", "squame"), "artefact"),
}
"""Names of classes, letters only, capitals and spaces making no difference."""
_CORNER_PX = 0.5  # GeoJSON and COCO count from the corner of the first pixel, dtcseg from its centre
_OWN_NAMES = ("qupath", "cells", "labels", "labels-0.4")
"""What dtcseg itself writes into the folder of a slide, whose name is then the slide's."""
_ENDING = re.compile(r"(\.geojson|\.json|(\.ome)?\.(zarr|tiff?)|\.png)(\.gz)?$", re.IGNORECASE)
_MOST_BYTES = 1 << 30
_NAMESPACE = uuid.UUID("0f7f0c5e-41d3-5a51-8d3b-6a9f6f0d7c11")


class NotTaught(DtcsegError):
    """One file, or part of it, that nothing can be learned from; the others go on."""


def add_annotations(slides: Sequence[TaughtSlide], files: Sequence[Path], left_out: list[str]) -> list[TaughtSlide]:
    """Add what files of annotations say to the slides they are of.

    Parameters
    ----------
    slides : sequence of TaughtSlide
    files : sequence of Path
        In any order.
    left_out : list of str
        Gets a line for each file, slide or class that is not taught.

    Raises
    ------
    UsageError
        A file is not there.
    """
    known = list(slides)
    for file in sorted(files, key=lambda path: (path.name, str(path))):
        if not file.exists():
            raise UsageError(f"--annotations {one_line(file)}: there is no such file")
        try:
            for name, objects in _read(file, known):
                index = _find(known, name)
                if index is None:
                    raise NotTaught(
                        f"{one_line(file.name)}: {one_line(name)!r} is no slide of these results; score it first, or "
                        "name the file after it"
                    )
                cells = list(_cells(file, known[index], objects, left_out))
                logs = [(file.name, _sha256(file))]
                known[index] = joined(known[index], cells, logs, left_out)
        except DtcsegError as error:
            left_out.append(one_line(error))
    return known


def _sha256(path: Path) -> str:
    """Hash a file, or all files of a folder (OME-Zarr)."""
    if path.is_file():
        return file_sha256(path)
    import hashlib

    parts = sorted((p.relative_to(path).as_posix(), file_sha256(p)) for p in path.rglob("*") if p.is_file())
    return hashlib.sha256(json.dumps(parts).encode("ascii")).hexdigest()


def _read(file: Path, slides: Sequence[TaughtSlide]) -> Iterable[tuple[str, Objects]]:
    """Give the objects in a file by the name of their slide, as rings in dtcseg's pixels with their class."""
    name = file.name.lower()
    if name.endswith((".geojson", ".geojson.gz", ".json")):
        values = _json(file)
        if values.get("type") == "FeatureCollection":
            yield _geojson(file, values, slides)
        elif isinstance(values.get("annotations"), list) and isinstance(values.get("images"), list):
            yield from _coco(file, values)
        else:
            raise NotTaught(f"{one_line(file.name)}: is neither GeoJSON nor COCO")
    else:
        stem, word = _label_name(file)
        index = _find(slides, stem)
        if index is None:
            raise NotTaught(f"{one_line(file.name)}: {one_line(stem)!r} is no slide of these results")
        yield stem, read_objects(file, slides[index].record, word)


def _json(file: Path) -> dict[str, Any]:
    try:
        with gzip.open(file) if file.name.lower().endswith(".gz") else file.open("rb") as stream:
            content = stream.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            raise ValueError("it is larger than 1 GiB")
        values = json.loads(content)
    except (OSError, ValueError, EOFError, RecursionError) as error:
        raise NotTaught(f"{one_line(file.name)}: cannot be read ({one_line(error)})") from error
    if isinstance(values, list):  # QuPath can write the features alone
        return {"type": "FeatureCollection", "features": values}
    if not isinstance(values, dict):
        raise NotTaught(f"{one_line(file.name)}: is neither GeoJSON nor COCO")
    return values


def _geojson(file: Path, values: Mapping[str, Any], slides: Sequence[TaughtSlide]) -> tuple[str, Objects]:
    about = values.get("dtcseg")
    name = str(about["slide"]) if isinstance(about, dict) and "slide" in about else _stem(file)
    index = _find(slides, name)
    offset = about.get("offset_px") if isinstance(about, dict) else None
    if offset is None and index is not None:
        offset = _bounds(slides[index])
    x0, y0 = (float(v) for v in (offset or (0, 0)))
    objects: Objects = []
    for feature in values.get("features") or []:
        try:
            properties = feature.get("properties") or {}
            word = str((properties.get("classification") or {}).get("name", ""))
            shape = feature["geometry"]
            rings = shape["coordinates"] if shape["type"] == "Polygon" else max(shape["coordinates"], key=_extent)
            ring = np.asarray(rings[0], np.float64)[:, :2] - _CORNER_PX + (x0, y0)
        except (KeyError, TypeError, ValueError, IndexError, AttributeError):
            objects.append(("", None))
            continue
        objects.append((word, ring))
    return name, objects


def _extent(rings: Sequence[Sequence[Sequence[float]]]) -> float:
    return float(shapely.Polygon(rings[0]).area)


def _bounds(slide: TaughtSlide) -> tuple[float, float] | None:
    """Where QuPath begins to count on a slide that it crops to its scanned part (`dtcseg.exports.qupath`)."""
    references = slide.record.details.get("references")
    bounds = references.get("bounds_px") if isinstance(references, dict) else None
    return (float(bounds[0]), float(bounds[1])) if isinstance(bounds, list) and len(bounds) == 4 else None


def _coco(file: Path, values: Mapping[str, Any]) -> Iterable[tuple[str, Objects]]:
    try:
        words = {category["id"]: str(category["name"]) for category in values["categories"]}
        images = {image["id"]: str(image.get("slide") or image["file_name"]) for image in values["images"]}
        found: dict[str, Objects] = {}
        for annotation in values["annotations"]:
            name = images[annotation["image_id"]]
            word = words[annotation["category_id"]]
            found.setdefault(name, []).append((word, _coco_ring(annotation)))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise NotTaught(f"{one_line(file.name)}: is no COCO file ({type(error).__name__}: {error})") from error
    yield from sorted(found.items())


def _coco_ring(annotation: Mapping[str, Any]) -> Any:
    """Take the largest polygon, or the box where there is none (run lengths are not read)."""
    parts = annotation.get("segmentation")
    if isinstance(parts, list) and parts:
        rings = [np.asarray(part, np.float64).reshape(-1, 2) for part in parts]
        return max(rings, key=lambda ring: shapely.Polygon(ring).area if len(ring) > 2 else 0.0) - _CORNER_PX
    x, y, width, height = (float(v) for v in annotation["bbox"])
    angle = np.linspace(0, 2 * np.pi, 33)[:-1]
    middle = np.array([x + width / 2, y + height / 2]) - _CORNER_PX
    return middle + np.column_stack([np.cos(angle) * width / 2, np.sin(angle) * height / 2])


def _stem(file: Path) -> str:
    name = _ENDING.sub("", file.name)
    return file.resolve().parent.name if name in _OWN_NAMES else name


def _label_name(file: Path) -> tuple[str, str]:
    """Slide and class of a label image named `SLIDE.CLASS.tif`; the class is "" where the name has none."""
    stem = _stem(file)
    before, dot, last = stem.rpartition(".")
    return (before, last) if dot and _letters(last) in CLASSES else (stem, "")


def _find(slides: Sequence[TaughtSlide], name: str) -> int | None:
    """Index of the slide of this name: that of its folder in the results, or that of its file."""
    for i, slide in enumerate(slides):
        files = [entry.name for entry in slide.record.identity]
        if name in (slide.name, *files) or name in {_stem(Path(file)) for file in files}:
            return i
    return None


def _letters(word: str) -> str:
    return re.sub(r"[^a-z]", "", word.lower())


def _cells(file: Path, slide: TaughtSlide, objects: Objects, left_out: list[str]) -> Iterable[TaughtCell]:
    unknown: dict[str, int] = {}
    broken = 0
    width, height = slide.record.width_px, slide.record.height_px
    for number, (word, points) in enumerate(objects):
        call = CLASSES.get(_letters(word))
        if points is None:
            broken += 1
            continue
        if call is None:
            unknown[word] = unknown.get(word, 0) + 1
            continue
        try:
            ring = ring_of(points)
            centre = shapely.Polygon(ring).centroid
            if not (0 <= centre.x < width and 0 <= centre.y < height):
                raise ValueError("outside the slide")
        except (DtcsegError, ValueError):
            broken += 1
            continue
        name = uuid.uuid5(_NAMESPACE, f"{one_line(file.name)}|{number}|{ring}")
        yield TaughtCell(
            str(name), float(centre.x), float(centre.y), call, ring, True, None, f"file {one_line(file.name)}"
        )
    for word, count in sorted(unknown.items()):
        said = f"of the class {one_line(word)!r}, which is none of dtcseg's" if word else "without a class"
        left_out.append(f"{one_line(file.name)}: {count} objects {said}")
    if broken:
        left_out.append(f"{one_line(file.name)}: {broken} objects without an outline on the slide")
