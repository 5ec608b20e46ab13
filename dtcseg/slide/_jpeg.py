"""What coded tiles say of themselves: their size, so that a tile is no bomb, and the colours of a JPEG."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_APP0, _APP14, _START_OF_SCAN = 0xE0, 0xEE, 0xDA
# A tile may be padded by its codec, by no more than this factor on each side.
_SLACK = 2


def check_coded_size(data: bytes, width: int, height: int) -> None:
    """Refuse a tile whose own header declares far more pixels than it may have: it would fill the memory.

    Parameters
    ----------
    data : bytes
        A coded tile, of any codec; of those that state no size of their own nothing is checked.
    width, height : int
        Size that the file gives the tile.

    Raises
    ------
    ValueError
        The tile declares more than twice that on a side.
    """
    size: tuple[int, int] | None = None
    if data[:2] == b"\xff\xd8":
        size = jpeg_size(data)
    elif data[:4] == b"\xff\x4f\xff\x51" or data[4:8] == b"jP  ":
        size = _jpeg2000_size(data)
    elif data[12:16] == b"IHDR":
        size = struct.unpack(">II", data[16:24])
    elif data[:4] == b"RIFF":
        size = _webp_size(data)
    if size is not None and (size[0] > _SLACK * width or size[1] > _SLACK * height):
        raise ValueError(f"a tile of {width} x {height} px declares {size[0]} x {size[1]} px")


def jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Width and height in the frame header of a JPEG stream, None where there is none.

    Parameters
    ----------
    data : bytes
    """
    for marker, body in _segments(data):
        if marker in _FRAME_MARKERS and len(body) >= 5:
            height, width = struct.unpack(">HH", body[1:5])
            return width, height
    return None


def jpeg_is_rgb(data: bytes, *, default: bool) -> bool:
    """Whether a JPEG of three components stores RGB, by its own marks; else it stores YCbCr.

    Parameters
    ----------
    data : bytes
    default : bool
        What to take it for where it bears no mark.
    """
    for marker, body in _segments(data):
        if marker == _APP0 and body.startswith(b"JFIF"):
            return False
        if marker == _APP14 and body.startswith(b"Adobe") and len(body) >= 12:
            return body[11] == 0
        if marker in _FRAME_MARKERS and len(body) >= 15:
            return True if body[6:15:3] == b"RGB" else default
    return default


def _segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Marker and body of each segment before the pixels."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if marker == _START_OF_SCAN:
            return
        (length,) = struct.unpack(">H", data[at + 2 : at + 4])
        yield marker, data[at + 4 : at + 2 + length]
        at += 2 + length


def _jpeg2000_size(data: bytes) -> tuple[int, int] | None:
    at = data.find(b"\xff\x4f\xff\x51", 0, 4096)
    if at < 0 or at + 24 > len(data):
        return None
    x1, y1, x0, y0 = struct.unpack(">IIII", data[at + 8 : at + 24])
    return x1 - x0, y1 - y0


def _webp_size(data: bytes) -> tuple[int, int] | None:
    kind = data[12:16]
    if kind == b"VP8 " and len(data) >= 30:
        width, height = struct.unpack("<HH", data[26:30])
        return width & 0x3FFF, height & 0x3FFF
    if kind == b"VP8L" and len(data) >= 25:
        bits = int(struct.unpack("<I", data[21:25])[0])
        return (bits & 0x3FFF) + 1, ((bits >> 14) & 0x3FFF) + 1
    return None
