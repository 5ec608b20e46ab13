"""Where the cells are on a slide, and which part of them can be judged.

`find_spots` looks at an overview; `block_statistics` measures the tiles that stream by; `judge` says of
each block what can be said; `QualityMap` keeps the answer. Nothing here loads a network.
"""

from __future__ import annotations

from dtcseg.quality._blocks import BLOCK_PX, BlockStats, block_statistics
from dtcseg.quality._codes import CODE_COLOURS, CODE_NAMES, EXCLUDED, Code
from dtcseg.quality._grid import BLOCK_UM, BlockGrid
from dtcseg.quality._judge import MIN_SHARPNESS, focus_map, judge
from dtcseg.quality._map import QualityMap
from dtcseg.quality._spots import Spot, Spots, find_spots
from dtcseg.quality._summary import summary

__all__ = [
    "BLOCK_PX",
    "BLOCK_UM",
    "CODE_COLOURS",
    "CODE_NAMES",
    "EXCLUDED",
    "MIN_SHARPNESS",
    "BlockGrid",
    "BlockStats",
    "Code",
    "QualityMap",
    "Spot",
    "Spots",
    "block_statistics",
    "find_spots",
    "focus_map",
    "judge",
    "summary",
]
