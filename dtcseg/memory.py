"""Keeps what a long run holds in memory close to what it uses."""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

_M_MMAP_THRESHOLD, _LARGE_BYTES = -3, 1 << 30
"""glibc's `malloc.h`; what is larger is still mapped by itself."""


def give_back() -> None:
    """Hand freed memory back to the system where the C library would keep it.

    Tiles are freed in pieces of many sizes, and glibc keeps the gaps between what lives longer: without this, a
    gigapixel slide ends with half as much memory again as it needs. Elsewhere than on glibc it does nothing.
    """
    trim = _c_library("malloc_trim")
    if trim is not None:
        trim(0)


def keep_large_blocks() -> None:
    """Let the C library keep the blocks of a tile's features for the next ones, instead of asking the system each time.

    Fresh pages cost a quarter of the network's time in integers and a tenth of it in float32. `give_back` still frees
    them. Elsewhere than on glibc it does nothing.
    """
    mallopt = _c_library("mallopt")
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)


@contextmanager
def no_collection() -> Iterator[None]:
    """Let the collector of reference cycles rest while tables are read: there are none in them.

    It would go through all objects again and again while hundreds of thousands of new ones come: reading 5,000
    outlines takes half the time without, and less than that beside a large program such as napari.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@cache
def _c_library(name: str) -> ctypes._NamedFuncPointer | None:
    """Find a function of Linux's C library; None elsewhere, and where it has none of this name."""
    if not sys.platform.startswith("linux"):
        return None
    function: ctypes._NamedFuncPointer | None = getattr(ctypes.CDLL(None), name, None)
    return function
