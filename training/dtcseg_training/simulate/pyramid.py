"""Pyramidal tiled OME-TIFF, written tile by tile with flat memory."""

from __future__ import annotations

import os
import tempfile
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import imagecodecs
import numpy as np
import numpy.typing as npt
import tifffile

if TYPE_CHECKING:
    from dtcseg_training.simulate.imaging import Pixels

SMALLEST_LEVEL_PX = 1024


@dataclass(frozen=True)
class Form:
    """How a slide file is laid out.

    Attributes
    ----------
    height_px, width_px : int
        Level 0.
    channels : tuple of str
        ("R", "G", "B") is stored as one colour image, anything else as one plane a channel.
    bits : {8, 16}
    mpp_um : float
    tile_px : int
        Side of a tile, a multiple of 16.
    jpeg_quality : int or None
        None: deflated, without loss; never for colour, always for 16 bits.
    jpeg_subsampling : {"444", "422", "420"}
    """

    height_px: int
    width_px: int
    channels: tuple[str, ...]
    bits: int
    mpp_um: float
    tile_px: int = 512
    jpeg_quality: int | None = 85
    jpeg_subsampling: str = "420"

    @property
    def colour(self) -> bool:
        """Whether this is an RGB image."""
        return self.channels == ("R", "G", "B")

    @property
    def planes(self) -> int:
        """Image planes a level: one RGB image, or one a channel."""
        return 1 if self.colour else len(self.channels)

    def size(self, level: int) -> tuple[int, int]:
        """Height and width of a level; each is half the one before, rounded up."""
        height, width = self.height_px, self.width_px
        for _ in range(level):
            height, width = -(-height // 2), -(-width // 2)
        return height, width

    @property
    def levels(self) -> int:
        """Number of levels."""
        count = 1
        while max(self.size(count - 1)) > SMALLEST_LEVEL_PX:
            count += 1
        return count

    def tiles(self, level: int) -> tuple[int, int]:
        """Rows and columns of tiles."""
        height, width = self.size(level)
        return -(-height // self.tile_px), -(-width // self.tile_px)

    def encode(self, tile: Pixels) -> list[bytes]:
        """Compress one tile, shape (tile, tile, channels): one piece of data a plane."""
        if self.colour:
            return [bytes(imagecodecs.jpeg8_encode(tile, level=self.jpeg_quality, subsampling=self.jpeg_subsampling))]
        planes = [np.ascontiguousarray(tile[..., index]) for index in range(tile.shape[2])]
        if self.jpeg_quality is None:
            return [_deflate(plane) for plane in planes]
        return [bytes(imagecodecs.jpeg8_encode(plane, level=self.jpeg_quality)) for plane in planes]


def _deflate(plane: npt.NDArray[Any]) -> bytes:
    """Compress one plane after the horizontal predictor of TIFF."""
    steps = plane.copy()
    steps[:, 1:] -= plane[:, :-1]
    return bytes(imagecodecs.zlib_encode(steps.tobytes(), level=6))


def halved(image: Pixels) -> Pixels:
    """Average 2 x 2 pixels; odd sizes are padded with their last row or column."""
    height, width = image.shape[:2]
    padded = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge").astype(np.uint32)
    total = padded[::2, ::2] + padded[1::2, ::2] + padded[::2, 1::2] + padded[1::2, 1::2]
    half = (total + 2) // 4
    return half.astype(np.uint8) if image.dtype == np.uint8 else half.astype(np.uint16)


def filled(piece: Pixels, side: int) -> Pixels:
    """Pad an edge tile to its full size with its last row and column."""
    missing = ((0, side - piece.shape[0]), (0, side - piece.shape[1]), (0, 0))
    return np.ascontiguousarray(np.pad(piece, missing, mode="edge"))


class Pyramid:
    """Takes level 0 in strips from top to bottom and writes the whole file at the end.

    Compressed tiles wait in temporary files beside the slide, so that memory holds no more than a strip a level.
    The file appears under its name only when it is whole.

    Parameters
    ----------
    path : Path
    form : Form
    """

    def __init__(self, path: Path, form: Form) -> None:
        self.path = path
        self.form = form
        self._folder = tempfile.TemporaryDirectory(prefix=".simulate-", dir=path.parent)
        self._stores = [
            [Store(Path(self._folder.name) / f"{level}-{plane}") for plane in range(form.planes)]
            for level in range(form.levels)
        ]
        self._waiting: list[Pixels | None] = [None] * form.levels

    def __enter__(self) -> Pyramid:
        """Enter a `with` block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove the temporary files."""
        for store in [store for stores in self._stores for store in stores]:
            store.close()
        self._folder.cleanup()

    def push(self, strip: Pixels, level: int = 0) -> None:
        """Take the next strip of a level: one tile high (less at the bottom), as wide as the level."""
        side = self.form.tile_px
        for left in range(0, strip.shape[1], side):
            for store, data in zip(
                self._stores[level], self.form.encode(filled(strip[:, left : left + side], side)), strict=True
            ):
                store.add(data)
        if level + 1 == self.form.levels:
            return
        half = halved(strip)
        above = self._waiting[level]
        bottom = (self._rows(level) == self.form.tiles(level)[0]) or strip.shape[0] < side
        if above is None and not bottom:
            self._waiting[level] = half
            return
        self._waiting[level] = None
        self.push(half if above is None else np.concatenate([above, half]), level + 1)

    def _rows(self, level: int) -> int:
        return self._stores[level][0].count // self.form.tiles(level)[1]

    def finish(self) -> None:
        """Write the file."""
        stores = self._stores
        write_pyramid(self.path, self.form, lambda level, plane: iter(stores[level][plane]))


class Store:
    """Pieces of data in a file, read back in the order in which they came."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w+b")
        self._sizes: list[int] = []

    @property
    def count(self) -> int:
        """Number of pieces."""
        return len(self._sizes)

    def add(self, data: bytes) -> None:
        """Append a piece."""
        self._file.write(data)
        self._sizes.append(len(data))

    def __iter__(self) -> Iterator[bytes]:
        """Read all pieces."""
        self._file.flush()
        self._file.seek(0)
        for size in self._sizes:
            yield self._file.read(size)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def write_pyramid(path: Path, form: Form, source: Callable[[int, int], Iterator[bytes]]) -> None:
    """Write compressed tiles as a pyramidal OME-TIFF (levels in SubIFDs), whole or not at all.

    Parameters
    ----------
    path : Path
    form : Form
    source : callable
        Gives the compressed tiles of a level and a plane, row by row.
    """
    unfinished = path.with_name(f".{path.name}.part")
    size_um = {"PhysicalSizeXUnit": "µm", "PhysicalSizeYUnit": "µm"}
    metadata: dict[str, object] = {
        "axes": "YXS" if form.colour else "CYX",
        "UUID": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{path.name} {form}")),  # the same slide, the same file
        "PhysicalSizeX": round(form.mpp_um, 6),
        "PhysicalSizeY": round(form.mpp_um, 6),
        **size_um,
    }
    if not form.colour:
        metadata["Channel"] = {"Name": list(form.channels)}
    with tifffile.TiffWriter(unfinished, bigtiff=True, ome=True) as file:
        for level in range(form.levels):
            height, width = form.size(level)
            per_cm = 1e4 / form.mpp_um / 2**level
            options = _coding(form)
            options |= {"subifds": form.levels - 1, "metadata": metadata} if level == 0 else {"subfiletype": 1}
            file.write(
                (tile for plane in range(form.planes) for tile in source(level, plane)),
                shape=(height, width, 3) if form.colour else (form.planes, height, width),
                dtype=np.uint8 if form.bits == 8 else np.uint16,
                tile=(form.tile_px, form.tile_px),
                resolution=(per_cm, per_cm),
                resolutionunit="CENTIMETER",
                **options,
            )
    os.replace(unfinished, path)


def _coding(form: Form) -> dict[str, Any]:
    """TIFF tags of the compression."""
    if not form.colour and form.jpeg_quality is None:
        return {"photometric": "minisblack", "compression": "adobe_deflate", "predictor": "horizontal"}
    if not form.colour:
        return {"photometric": "minisblack", "compression": "jpeg"}
    subsampling = {"444": (1, 1), "422": (2, 1), "420": (2, 2)}[form.jpeg_subsampling]
    return {"photometric": "ycbcr", "subsampling": subsampling, "compression": "jpeg", "planarconfig": "contig"}
