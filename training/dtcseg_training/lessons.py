"""A data set of lessons: made once by seed in several processes, kept on disk, loaded into memory."""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from multiprocessing import get_context
from typing import TYPE_CHECKING

import numpy as np

from dtcseg_training.fields import Lesson, make_lesson

if TYPE_CHECKING:
    from pathlib import Path


def make_lessons(folder: Path, *, seed: int, count: int, processes: int) -> None:
    """Make the lessons that are still missing.

    Parameters
    ----------
    folder : Path
        Gets `<seed>-<index>.npz`, each written whole or not at all.
    seed, count : int
        Lesson `index` of `seed` is always the same.
    processes : int
    """
    folder.mkdir(parents=True, exist_ok=True)
    missing = [i for i in range(count) if not _path(folder, seed, i).exists()]
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        for _ in pool.map(_make, [folder] * len(missing), [seed] * len(missing), missing, chunksize=4):
            pass


def load_lessons(folder: Path, *, seed: int, count: int) -> list[Lesson]:
    """Load lessons 0..count of a seed; lessons must have been made."""
    lessons = []
    for index in range(count):
        with np.load(_path(folder, seed, index)) as arrays:
            lessons.append(Lesson(**{k: arrays[k] for k in arrays.files}))
    return lessons


def _make(folder: Path, seed: int, index: int) -> None:
    lesson = make_lesson(seed, index)
    path = _path(folder, seed, index)
    beside = path.with_suffix(f".{os.getpid()}.part")
    with beside.open("wb") as stream:
        np.savez(stream, **asdict(lesson))
    beside.replace(path)


def _path(folder: Path, seed: int, index: int) -> Path:
    return folder / f"{seed}-{index:05d}.npz"
