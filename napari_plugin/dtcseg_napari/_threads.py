"""Long work beside the window: what comes of it, or what went wrong, is told in the window's own thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from napari.qt.threading import create_worker

_Result = TypeVar("_Result")


def beside(work: Callable[[], _Result], done: Callable[[_Result], None], failed: Callable[[Exception], None]) -> object:
    """Start work in a thread.

    Parameters
    ----------
    work : callable
        Must not touch the window.
    done : callable
        Told the result.
    failed : callable
        Told the error. It is not raised again, as napari's workers would do on their own.

    Returns
    -------
    object
        To be kept until one of both is told.
    """

    def attempt() -> tuple[Any, Exception | None]:
        try:
            return work(), None
        except Exception as error:
            return None, error

    def tell(answer: tuple[Any, Exception | None]) -> None:
        result, error = answer
        if error is None:
            done(result)
        else:
            failed(error)

    worker = create_worker(attempt)
    worker.returned.connect(tell)
    worker.start()
    return worker
