"""What can be said about a block, in numbers, words and colours."""

from __future__ import annotations

from enum import IntEnum


class Code(IntEnum):
    """Verdict on one block. Only `SCREENED` counts as screened area; `OUTSIDE` is no part of a spot."""

    OUTSIDE = 0
    SCREENED = 1
    BLURRED = 2
    UNSTAINED = 3
    OVERCROWDED = 4
    INK = 5
    UNREADABLE = 6


CODE_NAMES: dict[Code, str] = {
    Code.OUTSIDE: "outside",
    Code.SCREENED: "screened",
    Code.BLURRED: "blurred",
    Code.UNSTAINED: "unstained",
    Code.OVERCROWDED: "overcrowded",
    Code.INK: "ink",
    Code.UNREADABLE: "unreadable",
}
"""Names as they appear in `qc` and in the report."""

CODE_COLOURS: dict[Code, tuple[int, int, int, int]] = {
    Code.OUTSIDE: (0, 0, 0, 0),
    Code.SCREENED: (0, 158, 115, 255),
    Code.BLURRED: (230, 159, 0, 255),
    Code.UNSTAINED: (86, 180, 233, 255),
    Code.OVERCROWDED: (204, 121, 167, 255),
    Code.INK: (0, 114, 178, 255),
    Code.UNREADABLE: (0, 0, 0, 255),
}
"""RGBA of each code: the palette of Okabe and Ito, told apart with every kind of colour blindness."""

EXCLUDED: tuple[Code, ...] = (Code.BLURRED, Code.UNSTAINED, Code.OVERCROWDED, Code.INK, Code.UNREADABLE)
"""Codes of blocks that lie in a spot and were not screened."""
