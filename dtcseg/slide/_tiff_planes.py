"""Pixels of one TIFF page: which segments a region needs, read and decoded one by one."""

from __future__ import annotations

import struct
from collections import OrderedDict
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
import numpy.typing as npt

from dtcseg.errors import UnreadableSlide, UnsuitableSlide
from dtcseg.slide._common import ASK_FOR_COPY, DamagedSlide, check_segment
from dtcseg.slide._jpeg import check_coded_size

Pixels = npt.NDArray[Any]

_JPEG = frozenset({6, 7, 33007})
_JPEG2000 = frozenset({33003, 33004, 33005, 34712})
_APERIO_YCBC = 33003
_PNG, _WEBP = 34933, 50001
# What scanners and converters write. An unknown codec may decode to anything, so it is not tried.
_COMPRESSIONS = frozenset({1, 5, 8, 32773, 32946, 34925, 50000, _PNG, _WEBP, 22610, 34934}) | _JPEG | _JPEG2000
_MIN_IS_BLACK, _RGB, _YCBCR = 1, 2, 6
_BIG_VERSION = 43
_DESCRIPTION, _ASCII = 270, 2
_SUBSAMPLED_OK = _JPEG | _JPEG2000 | {_WEBP, _PNG, 22610, 34934}


class Plane(Protocol):
    """The pixels of one page; `samples` channels lie in it."""

    samples: int

    def read(self, fh: Any, x_px: int, y_px: int, out: Pixels) -> None:
        """Fill `out`, (height, width, samples), from (x_px, y_px) on."""


class SegmentCache:
    """The last decoded tiles, up to a number of bytes: neighbouring reads share tiles and strips.

    Parameters
    ----------
    budget_bytes : int
        What all kept segments together may take.
    """

    def __init__(self, budget_bytes: int) -> None:
        self.budget_bytes = budget_bytes
        self._used = 0
        self._kept: OrderedDict[tuple[int, int], Pixels] = OrderedDict()

    def get(self, key: tuple[int, int]) -> Pixels | None:
        """Return the segment kept under `key`, None where there is none."""
        found = self._kept.get(key)
        if found is not None:
            self._kept.move_to_end(key)
        return found

    def put(self, key: tuple[int, int], pixels: Pixels) -> None:
        """Keep a segment and forget the oldest ones that no longer fit."""
        if pixels.nbytes > self.budget_bytes:
            return
        self._kept[key] = pixels
        self._used += pixels.nbytes
        while self._used > self.budget_bytes:
            self._used -= self._kept.popitem(last=False)[1].nbytes


class CodedPlane:
    """A page of tiles or compressed strips.

    Parameters
    ----------
    path : Path
        For error messages.
    page : tifffile.TiffPage or TiffFrame
        A frame shares everything but the places of its segments with its key frame.
    fill : int
        Value of segments that the file leaves out: scanners do so where there is no tissue.
    cache : SegmentCache
    """

    def __init__(self, path: Path, page: Any, fill: int, cache: SegmentCache) -> None:
        key = page.keyframe
        self._path, self._key, self._fill, self._cache = path, key, fill, cache
        self._identity = id(self)
        self._tables = page.jpegtables
        self._offsets, self._counts = page.dataoffsets, page.databytecounts
        self._width: int = key.imagewidth
        self._height: int = key.imagelength
        self._tile_w: int = key.tilewidth if key.is_tiled else key.imagewidth
        self._tile_h: int = key.tilelength if key.is_tiled else min(key.rowsperstrip, key.imagelength)
        self.samples: int = key.samplesperpixel
        separate = key.planarconfig == 2
        self._planes = self.samples if separate else 1
        self._contiguous = 1 if separate else self.samples
        if self._tile_w < 1 or self._tile_h < 1:
            raise DamagedSlide(path, f"declares tiles of {self._tile_w} x {self._tile_h} px; {ASK_FOR_COPY}")
        self._across = -(-self._width // self._tile_w)
        self._down = -(-self._height // self._tile_h)
        self._segment_bytes: int = self._tile_w * self._tile_h * self._contiguous * key.dtype.itemsize
        self._check()

    @property
    def row_bytes(self) -> int:
        """Decoded bytes of a pixel row where every read needs whole rows (strips), 0 where it needs tiles."""
        return 0 if self._key.is_tiled else int(self._segment_bytes * self._planes // self._tile_h)

    def _check(self) -> None:
        try:
            check_segment(self._path, self._segment_bytes)
        except DamagedSlide as error:
            if not self._key.parent.is_ndpi:
                raise
            # An NDPI without its table of restart marks looks like one giant strip; OpenSlide finds the marks itself.
            raise UnreadableSlide(self._path, error.problem) from error
        needed = self._across * self._down * self._planes
        if len(self._offsets) < needed or len(self._counts) < needed:
            raise DamagedSlide(
                self._path, f"lists {len(self._offsets)} tiles or strips where {needed} are needed; {ASK_FOR_COPY}"
            )

    def end(self) -> int:
        """Offset behind the last byte that any segment of this page takes in the file."""
        ends = np.asarray(self._offsets, dtype=np.float64) + np.asarray(self._counts, dtype=np.float64)
        return int(ends.max(initial=0.0))

    def read(self, fh: Any, x_px: int, y_px: int, out: Pixels) -> None:
        """Fill `out`, (height, width, samples), from (x_px, y_px) on."""
        height, width = out.shape[:2]
        area = self._across * self._down
        for plane in range(self._planes):
            target = out if self._planes == 1 else out[:, :, plane : plane + 1]
            for row in range(y_px // self._tile_h, (y_px + height - 1) // self._tile_h + 1):
                for column in range(x_px // self._tile_w, (x_px + width - 1) // self._tile_w + 1):
                    tile = self._segment(fh, plane * area + row * self._across + column)
                    self._check_cover(tile, column, row)
                    paste(tile, column * self._tile_w - x_px, row * self._tile_h - y_px, target)

    def _blank(self) -> Pixels:
        """Return a tile that the file leaves out."""
        shape = (self._tile_h, self._tile_w, self._contiguous)
        return np.broadcast_to(np.asarray(self._fill, dtype=self._key.dtype), shape)

    def _check_cover(self, tile: Pixels, column: int, row: int) -> None:
        """Refuse a tile smaller than its place: some codecs crop tiles at the image's edge, and nowhere else."""
        width = min(self._tile_w, self._width - column * self._tile_w)
        height = min(self._tile_h, self._height - row * self._tile_h)
        if tile.shape[0] < height or tile.shape[1] < width:
            raise ValueError(f"a tile has {tile.shape[1]} x {tile.shape[0]} px where {width} x {height} are needed")

    def _segment(self, fh: Any, index: int) -> Pixels:
        count = self._counts[index]
        if count == 0 or self._offsets[index] == 0:
            return self._blank()
        kept = self._cache.get((self._identity, index))
        if kept is not None:
            return kept
        fh.seek(self._offsets[index])
        data = fh.read(count)
        if len(data) != count:
            raise ValueError(f"the file ends within tile {index}")
        if self._key.jpegheader is None:
            check_coded_size(data, self._tile_w, self._tile_h)
        decoded = self._key.decode(data, index, jpegtables=self._tables, jpegheader=self._key.jpegheader)[0]
        tile: Pixels = decoded[0]
        if self._key.compression == _APERIO_YCBC:
            tile = _ycbcr_to_rgb(tile)
        self._cache.put((self._identity, index), tile)
        return tile


class RawPlane:
    """An uncompressed page of strips: rows are read straight from the file, whatever the size of a strip.

    Parameters
    ----------
    page : tifffile.TiffPage
        Gives size, samples and byte order.
    offsets : sequence of int
        Where each strip starts.
    rows_per_strip : int
    """

    def __init__(self, page: Any, offsets: tuple[int, ...], rows_per_strip: int) -> None:
        key = page.keyframe
        self._offsets, self._rows = offsets, rows_per_strip
        self.samples: int = key.samplesperpixel
        separate = key.planarconfig == 2
        self._planes = self.samples if separate else 1
        self._contiguous = 1 if separate else self.samples
        self._dtype = np.dtype(key.parent.byteorder + key.dtype.char)
        self._pixel_bytes = self._contiguous * self._dtype.itemsize
        self._row_bytes: int = key.imagewidth * self._pixel_bytes
        self._height: int = key.imagelength
        self._strips = -(-self._height // self._rows)
        self.row_bytes = 0

    def end(self) -> int:
        """Offset behind the last byte of the page in the file."""
        last_rows = self._height - (self._strips - 1) * self._rows
        needed = self._offsets[: self._strips * self._planes]
        return max(
            offset + (last_rows if index % self._strips == self._strips - 1 else self._rows) * self._row_bytes
            for index, offset in enumerate(needed)
        )

    def read(self, fh: Any, x_px: int, y_px: int, out: Pixels) -> None:
        """Fill `out`, (height, width, samples), from (x_px, y_px) on."""
        height, width = out.shape[:2]
        for plane in range(self._planes):
            for row in range(height):
                strip, within = divmod(y_px + row, self._rows)
                start = self._offsets[plane * self._strips + strip] + within * self._row_bytes
                fh.seek(start + x_px * self._pixel_bytes)
                data = fh.read(width * self._pixel_bytes)
                line = np.frombuffer(data, self._dtype).reshape(width, self._contiguous)
                out[row, :, plane : plane + self._contiguous] = line


def make_planes(path: Path, series: Any, n_planes: int, fill: int, cache: SegmentCache) -> list[CodedPlane | RawPlane]:
    """One reader a page of a series (of one level).

    Raises
    ------
    UnsuitableSlide
        Pixels of a kind that a slide has not: floating point, palette, CMYK.
    UnreadableSlide
        The page's tables are damaged, or its codec is not known.
    """
    check_page(path, series.keyframe)
    pages = list(series.pages)
    if len(pages) < n_planes:
        # Some writers store the first page only, and its siblings' pixels right behind it.
        return _planes_behind_first(path, series, n_planes)
    if any(page is None for page in pages[:n_planes]):
        raise UnsuitableSlide(
            path,
            "keeps its channels in several files; list one file a channel in slides.csv (slide and channel columns), "
            "or export one file",
        )
    return [_make_plane(path, page, fill, cache) for page in pages[:n_planes]]


def check_page(path: Path, page: Any) -> None:
    """Refuse what is no 8- or 16-bit grey or RGB page.

    Raises
    ------
    UnsuitableSlide
        Pixels of another kind.
    UnreadableSlide
        A codec that is not known.
    """
    if page.dtype is None or page.dtype.name not in ("uint8", "uint16"):
        kind = page.dtype.name if page.dtype is not None else "unknown"
        raise UnsuitableSlide(path, f"has {kind} pixels, and 8- or 16-bit unsigned are needed; export it as such")
    if page.compression not in _COMPRESSIONS:
        raise UnreadableSlide(path, f"is compressed by a method not known here ({int(page.compression)})")
    known = page.photometric in (_MIN_IS_BLACK, _RGB) or (
        page.photometric == _YCBCR and page.compression in _SUBSAMPLED_OK
    )
    if not known:
        name = getattr(page.photometric, "name", str(page.photometric))
        raise UnsuitableSlide(path, f"has {name} colours, and grey or RGB are needed; export it as RGB")


def is_cut_off(file: BinaryIO, size: int, *, is_ndpi: bool) -> bool:
    """Whether the list of pages, or the text of one, points behind the end of the file.

    The library skips both with no more than a line in its log; a scan then loses levels, channels or its pixel size.

    Parameters
    ----------
    file : binary file
        At its start.
    size : int
        Of the file, in bytes.
    is_ndpi : bool
        The file looks like classic TIFF, and its page offsets have 64 bits all the same.
    """
    head = file.read(16)
    order = "<" if head[:2] == b"II" else ">"
    big = struct.unpack(order + "H", head[2:4])[0] == _BIG_VERSION
    value, count_bytes, entry_bytes = ("Q", 8, 20) if big else ("I", 2, 12)
    pointer = "Q" if big or is_ndpi else "I"
    pointer_bytes, width = struct.calcsize(pointer), struct.calcsize(value)
    start = 8 if big else 4
    (offset,) = struct.unpack(order + pointer, head[start : start + pointer_bytes])
    seen: set[int] = set()
    while offset and offset not in seen:
        if offset + count_bytes > size:
            return True
        seen.add(offset)
        file.seek(offset)
        (count,) = struct.unpack(order + ("Q" if big else "H"), file.read(count_bytes))
        table_bytes = count * entry_bytes
        if offset + count_bytes + table_bytes + pointer_bytes > size:
            return True
        table = file.read(table_bytes + pointer_bytes)
        for at in range(0, 0 if is_ndpi else table_bytes, entry_bytes):
            code, kind = struct.unpack(order + "HH", table[at : at + 4])
            length, place = struct.unpack(order + value * 2, table[at + 4 : at + 4 + 2 * width])
            if code == _DESCRIPTION and kind == _ASCII and length > width and place + length > size:
                return True
        (offset,) = struct.unpack(order + pointer, table[table_bytes:])
    return False


def _is_raw(page: Any) -> bool:
    key = page.keyframe
    plain = not key.is_tiled and key.compression == 1 and key.predictor == 1 and key.fillorder == 1
    return bool(plain and key.bitspersample == key.dtype.itemsize * 8)


def _make_plane(path: Path, page: Any, fill: int, cache: SegmentCache) -> CodedPlane | RawPlane:
    if not _is_raw(page):
        return CodedPlane(path, page, fill, cache)
    key = page.keyframe
    rows = min(key.rowsperstrip, key.imagelength)
    separate = key.samplesperpixel if key.planarconfig == 2 else 1
    if rows < 1 or len(page.dataoffsets) < -(-key.imagelength // rows) * separate:
        raise DamagedSlide(path, f"lists fewer strips than it has; {ASK_FOR_COPY}")
    return RawPlane(page, tuple(page.dataoffsets), rows)


def _planes_behind_first(path: Path, series: Any, n_planes: int) -> list[CodedPlane | RawPlane]:
    page = series.keyframe
    if series.dataoffset is None or not _is_raw(page):
        raise DamagedSlide(path, f"has fewer pages than it declares; {ASK_FOR_COPY}")
    plane_bytes = page.imagewidth * page.imagelength * page.samplesperpixel * page.dtype.itemsize
    size = page.imagelength
    return [RawPlane(page, (series.dataoffset + number * plane_bytes,), size) for number in range(n_planes)]


def paste(tile: Pixels, left: int, top: int, out: Pixels) -> None:
    """Copy the part of a tile, whose corner lies at (left, top) of `out`, that `out` covers.

    Parameters
    ----------
    tile : (height, width, samples)
    left, top : int
        May be negative.
    out : (height, width, samples)
    """
    x0, y0 = max(left, 0), max(top, 0)
    x1, y1 = min(left + tile.shape[1], out.shape[1]), min(top + tile.shape[0], out.shape[0])
    if x1 > x0 and y1 > y0:
        out[y0:y1, x0:x1] = tile[y0 - top : y1 - top, x0 - left : x1 - left, : out.shape[2]]


def _ycbcr_to_rgb(tile: Pixels) -> Pixels:
    from PIL import Image

    return np.asarray(Image.fromarray(np.ascontiguousarray(tile), mode="YCbCr").convert("RGB"))
