"""A data set of lessons: made once by seed in several processes, kept on disk, loaded into memory."""

from __future__ import annotations

import os
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Literal

import numpy as np

from dtcseg_training.fields import Lesson, make_lesson
from dtcseg_training.side_by_side import side_by_side

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_FEW = 4
"""So few are made here (`side_by_side`)."""
_UNUSED = {"screen": ("crops", "masks", "calls", "spreads"), "look": ("planes", "nuclei", "tumour", "other")}


def make_lessons(
    folder: Path, *, seed: int, count: int, processes: int, make: Callable[[int, int], Lesson] = make_lesson
) -> None:
    """Make the lessons that are still missing.

    Parameters
    ----------
    folder : Path
        Gets `<seed>-<index>.npz`, each written whole or not at all.
    seed, count : int
        Lesson `index` of `seed` is always the same (with the same `make`).
    processes : int
    make : callable
        Takes seed and index and makes a lesson; it is sent to other processes, so a function of a module or a
        `functools.partial` of one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    missing = [i for i in range(count) if not _path(folder, seed, i).exists()]
    for _ in side_by_side(partial(_make, folder, seed, make), missing, processes, few=_FEW):
        pass


def load_lessons(
    folder: Path, *, seed: int, count: int, network: Literal["screen", "look"] | None = None
) -> list[Lesson]:
    """Load lessons 0..count of a seed, which must have been made.

    With `network`, what only the other one learns from is left out (empty), to save memory.
    """
    unused = _UNUSED[network] if network else ()
    lessons = []
    for index in range(count):
        with np.load(_path(folder, seed, index)) as arrays:
            parts = {k: arrays[k] if k not in unused else np.zeros(0) for k in arrays.files}
        lessons.append(Lesson(**parts))  # type: ignore[arg-type]
    return lessons


def _make(folder: Path, seed: int, make: Callable[[int, int], Lesson], index: int) -> None:
    lesson = make(seed, index)
    path = _path(folder, seed, index)
    beside = path.with_suffix(f".{os.getpid()}.part")
    with beside.open("wb") as stream:
        np.savez(stream, **asdict(lesson))
    beside.replace(path)


def _path(folder: Path, seed: int, index: int) -> Path:
    return folder / f"{seed}-{index:05d}.npz"
