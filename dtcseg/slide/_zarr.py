"""OME-Zarr 0.4 and 0.5."""

from __future__ import annotations

import json
import math
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from dtcseg.errors import SlideError, UnreadableSlide, UnsuitableSlide
from dtcseg.slide._common import (
    ASK_FOR_COPY,
    LARGEST_CHANNELS,
    RGB,
    DamagedSlide,
    FileSlide,
    FoundResolution,
    check_segment,
    check_size,
    make_levels,
    name_channels,
)
from dtcseg.slide._tiff_meta import is_scan_name, to_float

if TYPE_CHECKING:
    from dtcseg.slide._base import PixelArray

_UM_PER_UNIT = {
    "angstrom": 1e-4, "picometer": 1e-6, "nanometer": 1e-3, "micrometer": 1.0, "millimeter": 1e3,
    "centimeter": 1e4, "meter": 1e6,
}  # fmt: skip
_LARGEST_METADATA_BYTES = 16 * 2**20
_AXIS_NAMES = {"z": "a z-stack of {n} planes", "t": "a time series of {n} images"}


class ZarrSlide(FileSlide):
    """An OME-Zarr image; see `Slide` for the contract.

    Three 8-bit channels that are named red, green and blue, or coloured so, are a brightfield image.
    """

    _arrays: tuple[Any, ...] = ()

    def _open(self) -> FoundResolution | None:
        try:
            return self._parse()
        except SlideError:
            raise
        except Exception as error:  # damaged metadata can raise anything
            raise UnreadableSlide(
                self.path, f"is no OME-Zarr image, or damaged ({type(error).__name__}: {error}); {ASK_FOR_COPY}"
            ) from error

    def close(self) -> None:
        """Forget the arrays; closing twice is allowed."""
        self._arrays = ()

    def _parse(self) -> FoundResolution | None:
        import zarr

        group, metadata, version = _image_group(self.path)
        multiscale = metadata["multiscales"][0]
        datasets = multiscale["datasets"]
        self._axes = [_axis_name(axis) for axis in multiscale["axes"]]
        if "x" not in self._axes or "y" not in self._axes:
            raise UnreadableSlide(self.path, "names no x and y axis in its metadata")
        arrays = []
        for dataset in datasets:
            location = _inside(self.path, group, dataset["path"])
            arrays.append(zarr.open_array(str(location), mode="r"))
        self._check(arrays)
        sizes = [(array.shape[self._axes.index("x")], array.shape[self._axes.index("y")]) for array in arrays]
        kept, self.levels = make_levels(sizes)
        self._arrays = tuple(arrays[index] for index in kept)
        self.format_name = f"OME-Zarr {version}"
        self._name_channels(metadata, arrays[0])
        return _resolution(multiscale, self._axes)

    def _check(self, arrays: list[Any]) -> None:
        """Refuse stacks, pixels of another kind, and chunks that would fill the memory."""
        base = arrays[0]
        for axis, size in zip(self._axes, base.shape, strict=True):
            if axis not in "cxy" and size > 1:
                what = _AXIS_NAMES.get(axis, "{n} images along axis " + axis).format(n=size)
                raise UnsuitableSlide(
                    self.path, f"is {what}, not a slide; export one plane (the best focus, or a projection)"
                )
        if base.dtype.name not in ("uint8", "uint16"):
            raise UnsuitableSlide(
                self.path, f"has {base.dtype.name} pixels, and 8- or 16-bit unsigned are needed; export it as such"
            )
        for array in arrays:
            if array.ndim != base.ndim or array.dtype != base.dtype:
                raise DamagedSlide(self.path, f"its levels differ in kind; {ASK_FOR_COPY}")
            check_size(self.path, array.shape[self._axes.index("x")], array.shape[self._axes.index("y")])
            check_segment(self.path, math.prod(array.chunks) * array.dtype.itemsize)

    def _name_channels(self, metadata: dict[str, Any], base: Any) -> None:
        count = base.shape[self._axes.index("c")] if "c" in self._axes else 1
        if count > LARGEST_CHANNELS:
            raise UnsuitableSlide(self.path, f"holds {count} channels, not a slide; export those to be scored")
        omero = metadata.get("omero") or {}
        described = [one for one in omero.get("channels") or [] if isinstance(one, dict)]
        labels = [str(one.get("label") or "") for one in described]
        if base.dtype == np.uint8 and count == 3 and _is_rgb(labels, described) and not self.settings.channels:
            self.kind, self.channels = "brightfield", RGB
            return
        self.kind = "fluorescence"
        self.channels = name_channels(self.path, self.settings, labels, count)

    def _read(self, level: int, x_px: int, y_px: int, width_px: int, height_px: int) -> PixelArray:
        if not self._arrays:
            raise ValueError("the slide is closed")
        spans: dict[str, slice] = {
            "x": slice(x_px, x_px + width_px),
            "y": slice(y_px, y_px + height_px),
            "c": slice(None),
        }
        selection = tuple(spans.get(axis, 0) for axis in self._axes)
        pixels = np.asarray(self._arrays[level][selection])
        kept = [axis for axis in self._axes if axis in spans]
        if "c" not in kept:
            pixels, kept = pixels[..., None], [*kept, "c"]
        ordered = np.ascontiguousarray(np.transpose(pixels, [kept.index(axis) for axis in "yxc"]))
        native: PixelArray = ordered.astype(ordered.dtype.newbyteorder("="), copy=False)
        return native


def _image_group(path: Path) -> tuple[Path, dict[str, Any], str]:
    """Find the image in a zarr folder: the folder itself, or the only scan of a converter's numbered series."""
    metadata, version = _metadata(path)
    if "multiscales" in metadata:
        return path, metadata, version
    if "plate" in metadata or "well" in metadata:
        raise UnsuitableSlide(path, "is a plate of wells, not a slide; name the image of one field")
    scans = []
    for member in sorted(path.iterdir()):
        if member.is_dir() and member.name.isdigit():
            inner, inner_version = _metadata(member)
            if "multiscales" in inner and is_scan_name(str(inner["multiscales"][0].get("name", ""))):
                scans.append((member, inner, inner_version))
    if not scans:
        raise UnreadableSlide(path, "is a zarr folder without an OME-Zarr image (no multiscales metadata)")
    if len(scans) > 1:
        raise UnsuitableSlide(path, f"holds {len(scans)} images; name the one to be scored ({path.name}/0 …)")
    return scans[0]


def _metadata(path: Path) -> tuple[dict[str, Any], str]:
    """OME metadata of a group, and the version of OME-Zarr."""
    if (path / "zarr.json").is_file():
        attributes = _load(path / "zarr.json").get("attributes") or {}
        ome = attributes.get("ome") or {}
        return ome, str(ome.get("version", "0.5"))
    if (path / ".zattrs").is_file():
        attributes = _load(path / ".zattrs")
        multiscales = attributes.get("multiscales") or [{}]
        return attributes, str(multiscales[0].get("version", "0.4"))
    return {}, ""


def _load(path: Path) -> dict[str, Any]:
    if path.stat().st_size > _LARGEST_METADATA_BYTES:
        raise ValueError(f"{path.name} is larger than any metadata")
    loaded = json.loads(path.read_text("utf-8"))
    if not isinstance(loaded, dict):
        raise TypeError(f"{path.name} holds no metadata")
    return loaded


def _inside(path: Path, group: Path, name: str) -> Path:
    parts = PurePosixPath(name).parts
    if ".." in parts or PurePosixPath(name).is_absolute():
        raise DamagedSlide(path, f"refers to {name!r}, outside of itself; {ASK_FOR_COPY}")
    return group.joinpath(*parts)


def _axis_name(axis: Any) -> str:
    return str(axis["name"] if isinstance(axis, dict) else axis).casefold()


def _is_rgb(labels: list[str], described: list[dict[str, Any]]) -> bool:
    names = tuple(label.casefold() for label in labels)
    if names in (("red", "green", "blue"), ("r", "g", "b")):
        return True
    colours = tuple(str(one.get("color", "")).casefold().lstrip("#") for one in described)
    # Converters number the colours of an RGB image; a dye has a name of its own.
    unnamed = all(not name or name.isdigit() or name.startswith("channel") for name in names)
    return unnamed and colours == ("ff0000", "00ff00", "0000ff")


def _resolution(multiscale: dict[str, Any], axes: list[str]) -> FoundResolution | None:
    """Pixel size of level 0: its scale times that of the whole pyramid, in the unit of each axis."""
    found = []
    for wanted in ("x", "y"):
        index = axes.index(wanted)
        axis = multiscale["axes"][index]
        um = _UM_PER_UNIT.get(str(axis.get("unit", "")) if isinstance(axis, dict) else "")
        scale = _scale(multiscale["datasets"][0], index) * _scale(multiscale, index)
        if um is None:
            return None
        found.append(scale * um)
    return FoundResolution(found[0], found[1], "vendor")


def _scale(owner: dict[str, Any], index: int) -> float:
    factor = 1.0
    for transformation in owner.get("coordinateTransformations") or []:
        if transformation.get("type") == "scale":
            factor *= to_float(str(transformation["scale"][index]))
    return factor
