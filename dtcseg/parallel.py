"""Threads that work ahead by a bounded amount and answer in order."""

from __future__ import annotations

import os
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_In = TypeVar("_In")
_Out = TypeVar("_Out")


_share: int | None = None


def cores() -> int:
    """Processor cores this process may use, or fewer where `share_cores` said so."""
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return here if _share is None else min(here, _share)


def share_cores(count: int) -> None:
    """Let this process use so many cores at most, since others beside it use the rest."""
    global _share
    _share = max(count, 1)


def ordered_map(work: Callable[[_In], _Out], items: Iterable[_In], threads: int) -> Iterator[_Out]:
    """Map in threads; results come in the order of the items, and only a few wait at a time.

    Parameters
    ----------
    work : callable
        Must be safe to call from several threads.
    items : iterable
    threads : int
        1 works in the calling thread.
    """
    if threads == 1:
        yield from map(work, items)
        return
    waiting: deque[Future[_Out]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) >= 2 * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
