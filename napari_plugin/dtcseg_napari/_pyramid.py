"""A slide as the arrays napari wants: one lazy array a level, decoded in chunks that are kept for a while."""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import numpy as np

from dtcseg.errors import UnreadableRegion

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from dtcseg.screen import Profile
    from dtcseg.slide._base import PixelArray, Slide

CHUNK_PX = 512
CACHE_BYTES = 256 * 2**20
COARSEST_PX = 2048
UNREADABLE_GREY = 128


class Pyramid:
    """All levels of a slide, read chunk by chunk.

    A slide without small levels gets them: each is the 2 x 2 mean of the level before, made when it is looked at, so
    that napari never asks for the whole of a flat slide at full resolution. The slide is closed with the pyramid.

    Parameters
    ----------
    slide : Slide
        Belongs to the pyramid from now on.
    on_unreadable : callable
        Told, once, which region could not be decoded; such chunks are shown in mid-grey.

    Attributes
    ----------
    shapes : list of (int, int)
        Height and width of each level, full resolution first.
    dtype : numpy dtype
        uint8 or uint16.
    """

    def __init__(self, slide: Slide, on_unreadable: Callable[[str], None]) -> None:
        self._slide = slide
        self._on_unreadable = on_unreadable
        self._warned = False
        self._lock = threading.RLock()  # a slide is not thread-safe, and napari may slice in threads
        self._chunks: OrderedDict[tuple[int, int, int], PixelArray] = OrderedDict()
        self._bytes = 0
        weakref.finalize(self, slide.close)
        self.shapes = [(level.height_px, level.width_px) for level in slide.levels]
        while max(self.shapes[-1]) > COARSEST_PX:
            self.shapes.append((max(self.shapes[-1][0] // 2, 1), max(self.shapes[-1][1] // 2, 1)))
        self.n_channels = len(slide.channels)
        self.dtype: np.dtype[Any] = slide.read(len(slide.levels) - 1, 0, 0, 1, 1).dtype

    def region(self, level: int, top: int, left: int, bottom: int, right: int) -> PixelArray:
        """Pixels [top, bottom) x [left, right) of a level, (y, x, channel)."""
        out = np.empty((bottom - top, right - left, self.n_channels), dtype=self.dtype)
        for row in range(top // CHUNK_PX, -(-bottom // CHUNK_PX)):
            for column in range(left // CHUNK_PX, -(-right // CHUNK_PX)):
                y, x = row * CHUNK_PX, column * CHUNK_PX
                chunk = self._chunk(level, row, column)
                y0, y1 = max(top, y), min(bottom, y + chunk.shape[0])
                x0, x1 = max(left, x), min(right, x + chunk.shape[1])
                out[y0 - top : y1 - top, x0 - left : x1 - left] = chunk[y0 - y : y1 - y, x0 - x : x1 - x]
        return out

    def _chunk(self, level: int, row: int, column: int) -> PixelArray:
        key = (level, row, column)
        with self._lock:
            if key in self._chunks:
                self._chunks.move_to_end(key)
                return self._chunks[key]
            chunk = self._decode(level, row, column) if level < len(self._slide.levels) else self._halve(*key)
            self._chunks[key] = chunk
            self._bytes += chunk.nbytes
            while self._bytes > CACHE_BYTES and len(self._chunks) > 1:
                self._bytes -= self._chunks.popitem(last=False)[1].nbytes
            return chunk

    def _extent(self, level: int, row: int, column: int) -> tuple[int, int, int, int]:
        height, width = self.shapes[level]
        top, left = row * CHUNK_PX, column * CHUNK_PX
        return top, left, min(top + CHUNK_PX, height), min(left + CHUNK_PX, width)

    def _decode(self, level: int, row: int, column: int) -> PixelArray:
        top, left, bottom, right = self._extent(level, row, column)
        try:
            return self._slide.read(level, left, top, right - left, bottom - top)
        except UnreadableRegion as error:
            if not self._warned:
                self._warned = True
                self._on_unreadable(f"{error}; shown in grey")
            return np.full((bottom - top, right - left, self.n_channels), UNREADABLE_GREY, dtype=self.dtype)

    def _halve(self, level: int, row: int, column: int) -> PixelArray:
        top, left, bottom, right = self._extent(level, row, column)
        finer_height, finer_width = self.shapes[level - 1]
        finer = self.region(level - 1, 2 * top, 2 * left, min(2 * bottom, finer_height), min(2 * right, finer_width))
        wide = finer.astype(np.uint32)
        if len(wide) > 1:
            wide = (wide[0::2] + wide[1::2] + 1) // 2
        if wide.shape[1] > 1:
            wide = (wide[:, 0::2] + wide[:, 1::2] + 1) // 2
        return wide.astype(self.dtype)


class LevelArray:
    """One level, as an array that reads only what is asked for.

    (y, x, 3) for an RGB slide, (y, x) for one channel of a fluorescence slide. It can be indexed with whole numbers,
    slices of positive step and an ellipsis, and gives NumPy arrays.

    Parameters
    ----------
    pyramid : Pyramid
    level : int
        Index into `pyramid.shapes`.
    channel : int or None
        None: all channels, as RGB.
    """

    def __init__(self, pyramid: Pyramid, level: int, channel: int | None) -> None:
        self._pyramid = pyramid
        self._level = level
        self._channel = channel
        last: tuple[int, ...] = (pyramid.n_channels,) if channel is None else ()
        self.shape: tuple[int, ...] = (*pyramid.shapes[level], *last)
        self.chunks: tuple[int, ...] = (CHUNK_PX, CHUNK_PX, *last)
        self.dtype = pyramid.dtype
        self.ndim = len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return int(np.prod([int(side) for side in self.shape]))

    def __len__(self) -> int:
        """Height in pixels."""
        return self.shape[0]

    def __getitem__(self, key: object) -> npt.NDArray[Any]:
        """Read the region that the index spans, then index it."""
        rows, columns, *rest = _expand(key, self.ndim)
        top, bottom, rows = _span(rows, self.shape[0])
        left, right, columns = _span(columns, self.shape[1])
        pixels = self._pixels(top, left, bottom, right)
        found: npt.NDArray[Any] = pixels[(rows, columns, *rest)]
        return found

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[Any]:
        """Read the whole level."""
        return np.asarray(self[...], dtype=dtype)

    def _pixels(self, top: int, left: int, bottom: int, right: int) -> npt.NDArray[Any]:
        pixels: npt.NDArray[Any] = self._pyramid.region(self._level, top, left, bottom, right)
        return pixels if self._channel is None else pixels[..., self._channel]


class PlaneArray(LevelArray):
    """One stain plane of a level, (y, x) float32, taken apart only where it is looked at.

    Parameters
    ----------
    pyramid : Pyramid
    level : int
    plane : int
        0 nuclear, 1 cytokeratin.
    profile : Profile
        As the slide was scored.
    """

    def __init__(self, pyramid: Pyramid, level: int, plane: int, profile: Profile) -> None:
        super().__init__(pyramid, level, 0)
        self.dtype = np.dtype(np.float32)
        self._plane = plane
        self._profile = profile

    def _pixels(self, top: int, left: int, bottom: int, right: int) -> npt.NDArray[Any]:
        pixels: npt.NDArray[Any] = self._pyramid.region(self._level, top, left, bottom, right)
        plane: npt.NDArray[Any] = self._profile.planes(pixels)[self._plane]
        return plane


def _expand(key: object, ndim: int) -> list[Any]:
    """Make an index of one entry a dimension."""
    parts = list(key) if isinstance(key, tuple) else [key]
    if not any(part is Ellipsis for part in parts):
        parts.append(Ellipsis)
    at = next(number for number, part in enumerate(parts) if part is Ellipsis)
    missing = ndim - (len(parts) - 1)
    if missing < 0:
        raise IndexError(f"too many indices: {len(parts) - 1} for {ndim} dimensions")
    return [*parts[:at], *[slice(None)] * missing, *parts[at + 1 :]]


def _span(index: Any, length: int) -> tuple[int, int, int | slice]:
    """Range [first, last) that an index touches, and the index within that range."""
    if isinstance(index, slice):
        first, last, step = index.indices(length)
        if step < 1:
            raise IndexError("a level is read with positive steps only")
        return first, max(first, last), slice(None, None, step)
    number = int(index)
    if not -length <= number < length:
        raise IndexError(f"index {number} is out of range for {length} pixels")
    number %= length
    return number, number + 1, 0
