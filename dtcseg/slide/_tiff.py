"""TIFF and all that is TIFF inside: OME-TIFF, Aperio, Hamamatsu, Leica, Ventana, Philips, plain files."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile

from dtcseg.errors import SlideError, UnreadableSlide, UnsuitableSlide
from dtcseg.slide import _tiff_meta as meta
from dtcseg.slide._common import (
    ASK_FOR_COPY,
    LARGEST_CHANNELS,
    RGB,
    DamagedSlide,
    FileSlide,
    FoundResolution,
    Settings,
    check_size,
    make_levels,
    name_channels,
)
from dtcseg.slide._tiff_planes import CodedPlane, RawPlane, SegmentCache, is_cut_off, make_planes

if TYPE_CHECKING:
    from dtcseg.slide._base import PixelArray

# Without a handler Python prints the library's warnings on stderr; whoever wants them sets up logging.
logging.getLogger("tifffile").addHandler(logging.NullHandler())

_FORMATS = {
    "svs": "Aperio SVS",
    "ndpi": "Hamamatsu NDPI",
    "scn": "Leica SCN",
    "bif": "Ventana BIF",
    "philips": "Philips TIFF",
    "ome": "OME-TIFF",
    "qpi": "PerkinElmer QPTIFF",
    "imagej": "ImageJ TIFF",
}
# The tiles of one read and of its neighbour, whatever the size of the slide.
_CACHE_BYTES = 32 * 2**20
# Wide strips: a band of this many rows is kept, so that a row of reads decodes each strip once.
_BAND_ROWS = 1280
_LARGEST_CACHE_BYTES = 384 * 2**20
# An image of at least this share of the largest one's area is a second scan, not an overview of it.
_SECOND_SCAN = 0.25
_AXIS_NAMES = {"Z": "a z-stack of {n} planes", "T": "a time series of {n} images"}


@dataclass(frozen=True)
class _Layout:
    """How the pixels of one series lie in its pages."""

    n_planes: int
    is_rgb: bool
    n_channels: int


class TiffSlide(FileSlide):
    """A TIFF file; see `Slide` for the contract."""

    _tif: Any = None

    def _open(self) -> FoundResolution | None:
        try:
            return self._parse()
        except SlideError:
            raise
        except Exception as error:  # a damaged header can raise anything in the parser
            raise UnreadableSlide(self.path, f"the TIFF structure is damaged ({error}); {ASK_FOR_COPY}") from error

    def close(self) -> None:
        """Close the file; closing twice is allowed."""
        if self._tif is not None:
            self._tif.close()
            self._tif = None
            self._planes: list[list[CodedPlane | RawPlane]] = []

    def _parse(self) -> FoundResolution | None:
        # One file is one slide: an OME-TIFF may name others, anywhere on the disk, which are not followed.
        tif = self._tif = tifffile.TiffFile(self.path, _multifile=False)
        with self.path.open("rb") as file:
            if is_cut_off(file, self.path.stat().st_size, is_ndpi=tif.is_ndpi):
                raise DamagedSlide(self.path, f"is truncated: some of its pages are missing; {ASK_FOR_COPY}")
        if not tif.pages:
            raise DamagedSlide(self.path, f"holds no image; {ASK_FOR_COPY}")
        series, images = _choose_series(self.path, tif)
        page = series.keyframe
        layout = _layout(self.path, series, self.settings)
        self.format_name = _format_name(tif, series.kind, page)
        self.kind = "brightfield" if layout.is_rgb else "fluorescence"
        if layout.is_rgb:
            self.channels = RGB
        else:
            names = _channel_names(tif, series, images)
            self.channels = name_channels(self.path, self.settings, names, layout.n_channels)
        self._build_levels(series, layout)
        if not layout.is_rgb and self._dtype == np.uint8 and _are_colours(self.channels):
            self.kind, self.channels = "brightfield", RGB
        return _found_resolution(tif, series, images)

    def _build_levels(self, series: Any, layout: _Layout) -> None:
        fill = 255 if layout.is_rgb else 0
        self._dtype = series.keyframe.dtype
        candidates = [level for level in series.levels if _same_kind(series, level)]
        sizes = [_size(level) for level in candidates]
        for size in sizes:
            check_size(self.path, *size)
        kept, self.levels = make_levels(sizes)
        cache = SegmentCache(_CACHE_BYTES)
        self._planes = [make_planes(self.path, candidates[index], layout.n_planes, fill, cache) for index in kept]
        self._check_end()
        band = max((plane.row_bytes for planes in self._planes for plane in planes), default=0) * _BAND_ROWS
        cache.budget_bytes = min(max(_CACHE_BYTES, band), _LARGEST_CACHE_BYTES)

    def _check_end(self) -> None:
        """Refuse a file that was cut off: its header still declares the full image."""
        end = max(plane.end() for planes in self._planes for plane in planes)
        size = self.path.stat().st_size
        if end > size:
            raise DamagedSlide(self.path, f"is truncated: {size:,} bytes, and its pixels need {end:,}; {ASK_FOR_COPY}")

    def _read(self, level: int, x_px: int, y_px: int, width_px: int, height_px: int) -> PixelArray:
        if self._tif is None:
            raise ValueError("the slide is closed")
        out = np.empty((height_px, width_px, len(self.channels)), dtype=self._dtype)
        fh = self._tif.filehandle
        first = 0
        for plane in self._planes[level]:
            # An alpha channel behind red, green and blue is left out.
            samples = min(plane.samples, len(self.channels) - first)
            if samples == plane.samples:
                plane.read(fh, x_px, y_px, out[:, :, first : first + samples])
            else:
                whole = np.empty((height_px, width_px, plane.samples), dtype=self._dtype)
                plane.read(fh, x_px, y_px, whole)
                out[:, :, first : first + samples] = whole[:, :, :samples]
            first += samples
        return out


def _are_colours(names: tuple[str, ...]) -> bool:
    """Whether channels are the colours of a brightfield scan: some converters write them so."""
    return tuple(name.casefold() for name in names) in (("r", "g", "b"), ("red", "green", "blue"))


def _format_name(tif: Any, kind: str, page: Any) -> str:
    if kind in _FORMATS:
        return _FORMATS[kind]
    return f"{'tiled' if page.is_tiled else 'striped'} {'BigTIFF' if tif.is_bigtiff else 'TIFF'}"


def _size(series: Any) -> tuple[int, int]:
    sizes = dict(zip(series.axes, series.shape, strict=True))
    return int(sizes.get("X", 1)), int(sizes.get("Y", 1))


def _same_kind(series: Any, level: Any) -> bool:
    """Whether a level holds the same channels as level 0 (a thumbnail can lie among the levels)."""

    def others(one: Any) -> list[tuple[str, int]]:
        return [(axis, size) for axis, size in zip(one.axes, one.shape, strict=True) if axis not in "XY"]

    return bool(others(series) == others(level) and series.dtype == level.dtype)


def _layout(path: Path, series: Any, settings: Settings) -> _Layout:
    """Say which axes are channels, and refuse what is more than one image of a slide."""
    page = series.keyframe
    n_planes, samples, n_channels = 1, 1, 1
    for axis, size in zip(series.axes, series.shape, strict=True):
        if axis in "XY" or size == 1:
            continue
        if axis == "S":
            samples = size
        elif axis in "CIQ" and n_channels == 1:
            # Pages of unknown order (I, Q) are taken for channels: then their names are asked for.
            n_planes = n_channels = size
        else:
            what = _AXIS_NAMES.get(axis, "{n} images along an axis " + axis).format(n=size)
            raise UnsuitableSlide(
                path, f"is {what}, not a slide; export one plane (the best focus, or a projection) as OME-TIFF"
            )
    if n_channels > LARGEST_CHANNELS:
        raise UnsuitableSlide(path, f"holds {n_channels} images of one size, not a slide; export the one to be scored")
    is_rgb = samples in (3, 4) and n_channels == 1 and page.photometric != 1
    if is_rgb and series.dtype != np.uint8:
        raise UnsuitableSlide(path, f"is RGB of {series.dtype} pixels, and 8 bits are needed; export it as 8-bit RGB")
    if n_channels > 1 and samples > 1:
        if page.planarconfig == 2 and page.samplesperpixel == samples * n_channels:
            return _Layout(1, False, samples * n_channels)
        raise UnsuitableSlide(
            path, f"holds {n_channels} RGB images; export each channel as a grey image, or the one to be scored"
        )
    # Samples and channels are never both more than one here. A page may hold the channels as its samples.
    if n_planes > 1 and page.samplesperpixel == n_planes:
        n_planes = 1
    return _Layout(n_planes, is_rgb, 3 if is_rgb else max(n_channels, samples))


def _choose_series(path: Path, tif: Any) -> tuple[Any, list[meta.OmeImage]]:
    """Find the series that is the scan; labels, overviews and thumbnails are never touched."""
    all_series = tif.series
    if not all_series:
        raise DamagedSlide(path, f"holds no image; {ASK_FOR_COPY}")
    kind = all_series[0].kind
    if kind == "ome":
        return _choose_ome(path, tif)
    if kind == "scn":
        return _choose_leica(path, tif), []
    if kind == "bif":
        return _choose_ventana(path, tif), []
    if kind == "ndpi":
        # The source lens is negative on the photograph of the glass and on the map.
        scans = [one for one in all_series if is_ndpi_scan(one)]
        if not scans:
            raise UnsuitableSlide(path, "holds an overview only, no scan; export the scan itself")
        return max(scans, key=_area), []
    if kind in ("svs", "qpi", "philips"):
        return all_series[0], []
    return max(all_series, key=_area), []


def is_ndpi_scan(series: Any) -> bool:
    """Whether a series of an NDPI file is the scan (its lens has a magnification)."""
    lens = series.keyframe.tags.valueof(65421)
    return (lens is None or lens > 0) and series.name not in ("Macro", "Map")


def _area(series: Any) -> int:
    width, height = _size(series)
    return width * height


def _choose_ome(path: Path, tif: Any) -> tuple[Any, list[meta.OmeImage]]:
    images = meta.ome_images(tif.ome_metadata)
    scans = [one for one in tif.series if meta.is_scan_name(one.name)]
    if not scans:
        raise UnsuitableSlide(path, "holds only images named label, macro or thumbnail; export the scan itself")
    scans.sort(key=_area, reverse=True)
    best = scans[0]
    for other in scans[1:]:
        smaller_copy = len(make_levels([_size(best), _size(other)])[0]) == 2
        if _area(other) >= _SECOND_SCAN * _area(best) and not smaller_copy:
            raise UnsuitableSlide(path, f"holds {len(scans)} images; export each one as a file of its own")
    # The library's series follow the images of the XML, unless it left one out; then the name tells.
    position = tif.series.index(best)
    if len(images) == len(tif.series):
        return best, [images[position]]
    return best, [image for image in images if image.name == best.name][:1] or images[:1]


def _choose_leica(path: Path, tif: Any) -> Any:
    overviews = {number for image in meta.leica_images(tif.pages.first) if image.is_overview for number in image.pages}
    scans = [one for one in tif.series if one.keyframe.index not in overviews]
    if not scans:
        raise UnsuitableSlide(path, "holds an overview only, no scan; export the scan itself")
    if len(scans) > 1:
        # Not certain damage: OpenSlide, which is asked next, lays all areas on one canvas.
        raise UnreadableSlide(path, f"has {len(scans)} scanned areas, to be joined by OpenSlide; export each area")
    return scans[0]


def _choose_ventana(path: Path, tif: Any) -> Any:
    text = meta.ventana_text(tif)
    layers = meta.ventana_layers(text)
    if layers > 1:
        raise UnsuitableSlide(path, f"is a z-stack of {layers} planes, not a slide; export one plane as OME-TIFF")
    if meta.ventana_overlaps(text):
        raise UnreadableSlide(path, "has overlapping tiles, to be joined by OpenSlide; export it as OME-TIFF")
    for one in tif.series:
        if one.name == "Baseline":
            return one
    raise UnsuitableSlide(path, "holds no scan, only label or thumbnail; export the scan itself")


def _channel_names(tif: Any, series: Any, images: list[meta.OmeImage]) -> tuple[str, ...]:
    if images:
        return images[0].channels
    if series.kind == "scn":
        first = series.keyframe.index
        return next((one.channels for one in meta.leica_images(tif.pages.first) if first in one.pages), ())
    if series.kind == "qpi":
        return tuple(meta.qpi_channel(page) for page in series.pages)
    if tif.is_imagej:
        labels = (tif.imagej_metadata or {}).get("Labels") or ()
        return tuple(str(label) for label in ([labels] if isinstance(labels, str) else labels))
    return ()


def _found_resolution(tif: Any, series: Any, images: list[meta.OmeImage]) -> FoundResolution | None:
    page = series.keyframe
    found: FoundResolution | None = None
    if images:
        found = images[0].resolution
    elif series.kind == "svs":
        found = meta.aperio_resolution(page)
    elif series.kind == "philips":
        found = meta.philips_resolution(tif)
    elif series.kind == "bif":
        found = meta.ventana_resolution(meta.ventana_text(tif))
    elif series.kind == "scn":
        for image in meta.leica_images(tif.pages.first):
            if page.index in image.pages:
                found = FoundResolution(image.mpp_x_um, image.mpp_y_um, "vendor")
    elif tif.is_imagej:
        found = meta.imagej_resolution(tif, page)
    return found or meta.tag_resolution(page)
