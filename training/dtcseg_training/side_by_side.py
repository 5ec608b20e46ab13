"""The same work on many things, in processes of its own where that pays."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def side_by_side(
    work: Callable[[_Item], _Result], items: Sequence[_Item], processes: int, *, few: int = 1
) -> Iterator[_Result]:
    """Work on all items; results in their order.

    Parameters
    ----------
    work : callable
        A function of a module, or a `functools.partial` of one: it is sent to other processes.
    items : sequence
    processes : int
        With 1 everything is done here.
    few : int
        So few items are done here too: another process takes seconds to start.
    """
    if processes == 1 or len(items) <= few:
        yield from map(work, items)
        return
    with ProcessPoolExecutor(min(processes, len(items)), mp_context=get_context("spawn")) as pool:
        yield from pool.map(work, items)
