"""How far learning is, on stderr: one line that is drawn over, or a line now and then where there is no terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dtcseg_training.learn.outcome import LearnProgress

_EVERY_S = 30.0
_REDRAWN_S = 0.2


def words(told: LearnProgress) -> str:
    """Say it in one line."""
    left = ""
    if told.seconds_left is not None:
        minutes = told.seconds_left / 60
        left = f", about {minutes:.0f} min left" if minutes >= 1.5 else f", about {told.seconds_left:.0f} s left"
    return f"{100 * told.share:3.0f} %  {told.text}{left}"


@contextmanager
def shown() -> Iterator[Callable[[LearnProgress], None]]:
    """Give what shows progress on stderr."""
    terminal = sys.stderr.isatty()
    last = -_EVERY_S

    def tell(told: LearnProgress) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < (_REDRAWN_S if terminal else _EVERY_S):
            return
        last = now
        sys.stderr.write(f"\r\x1b[K{words(told)}" if terminal else f"{words(told)}\n")
        sys.stderr.flush()

    try:
        yield tell
    finally:
        if terminal:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
