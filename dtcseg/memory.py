"""Keeps what a long run holds in memory close to what it uses."""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache


def give_back() -> None:
    """Hand freed memory back to the system where the C library would keep it.

    Tiles are freed in pieces of many sizes, and glibc keeps the gaps between what lives longer: without this, a
    gigapixel slide ends with half as much memory again as it needs. Elsewhere than on glibc it does nothing.
    """
    trim = _malloc_trim()
    if trim is not None:
        trim(0)


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
def _malloc_trim() -> ctypes._NamedFuncPointer | None:
    if not sys.platform.startswith("linux"):
        return None
    trim: ctypes._NamedFuncPointer | None = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return trim
