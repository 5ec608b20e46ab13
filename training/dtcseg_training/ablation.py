"""What each part of the training is worth: small trainings from nothing, each without one part, judged alike.

python -m dtcseg_training.ablation --work FOLDER

Prints a table. The plans hold a quarter of the default one's fields; figures are lower than those of released weights
and serve to compare rows only. The same command goes on after a stop.
"""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import sys
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from dtcseg.network.weights import load, resolve
from dtcseg.parallel import cores
from dtcseg_training.calibrate import CANDIDATE_NEAR_PX, NUCLEUS_NEAR_PX, find_peaks, matches
from dtcseg_training.fields import as_it_is
from dtcseg_training.lessons import load_lessons, make_lessons
from dtcseg_training.plain_rgb import PlainRgb
from dtcseg_training.real import shared_data
from dtcseg_training.real_lessons import real_lesson
from dtcseg_training.train import SEEDS, Plan, train

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from dtcseg.network.model import Screen
    from dtcseg_training.fields import Lesson

_PLAN = Plan(
    lessons=300,
    held_out=90,
    mined=250,
    mined_held_out=90,
    mined_dirty=60,
    real=100,
    mined_real=120,
    real_counted=40,
    screen_epochs=5,
    look_epochs=2,
    mined_epochs=3,
)
_VARIANTS = {
    "nothing": _PLAN,
    "stain planes (plain RGB)": replace(_PLAN, plain_rgb=True),
    "real images": replace(_PLAN, real=0, mined_real=0, real_counted=0),
    "hard examples": replace(_PLAN, mined=0, mined_dirty=0, mined_real=0),
}
_NO_SECOND_LOOK = "second look"
_REAL_SEED, _REAL_LESSONS = 9, 60


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes
    ----------
    variant : str
    nucleus_f1, count_error : float
        Of simulated fields of other laboratories; the mean of absolute relative errors.
    real_nucleus_f1 : float
        Of lessons made of real images that were kept back.
    tumour_recall, tumour_f1 : float
        Of calls on simulated fields, cells that never became candidates counted as missed.
    """

    variant: str
    nucleus_f1: float
    count_error: float
    real_nucleus_f1: float
    tumour_recall: float
    tumour_f1: float


def ablation(work: Path) -> list[Row]:
    """Train and judge every variant.

    Parameters
    ----------
    work : Path
        Keeps lessons, states and weights.
    """
    rows = []
    for name, plan in _VARIANTS.items():
        folder = work / "".join(c if c.isalpha() else "_" for c in name)
        folder.mkdir(parents=True, exist_ok=True)
        out = folder / "weights.safetensors"
        if not out.exists():
            _share(work / "nothing", folder, plan)
            train(out, folder, plan)
        card = resolve(str(out)).card
        screen, _ = load(resolve(str(out)))
        real = _real_f1(screen, card.nucleus_threshold, _real_lessons(folder, plan))
        figures = {k: float(v) for k, v in card.figures.items() if isinstance(v, int | float)}
        recall = figures["candidate_recall_of_tumour"] * figures["call_recall_tumour"]
        shared = (_f1(figures["nucleus_precision"], figures["nucleus_recall"]), figures["nucleus_count_error_mean_abs"])
        rows.append(Row(name, *shared, real, recall, _f1(figures["call_precision_tumour"], recall)))
        if plan == _PLAN:
            held_out = load_lessons(folder / "lessons", seed=SEEDS["held_out"], count=plan.held_out, network="screen")
            recall, f1 = _screen_calls(screen, held_out)
            rows.append(Row(_NO_SECOND_LOOK, *shared, real, recall, f1))
    return rows


def _share(first: Path, folder: Path, plan: Plan) -> None:
    """Take over the lessons of the first variant that no network chose: all that see the same planes share them."""
    for name in ("lessons", "real"):
        if not plan.plain_rgb and folder != first and not (folder / name).exists():
            shutil.copytree(first / name, folder / name, copy_function=os.link)


def _real_lessons(folder: Path, plan: Plan) -> list[Lesson]:
    source = shared_data()
    if source is None:
        sys.exit("the real images are not there; say where they are in DTCSEG_SHARED")
    seen_as = PlainRgb.instead_of if plan.plain_rgb else as_it_is
    make = partial(real_lesson, folder=source, held_out=True, seen_as=seen_as)
    make_lessons(folder / "real", seed=_REAL_SEED, count=_REAL_LESSONS, processes=cores(), make=make)
    return load_lessons(folder / "real", seed=_REAL_SEED, count=_REAL_LESSONS, network="screen")


def _real_f1(screen: Screen, threshold: float, lessons: Sequence[Lesson]) -> float:
    matched = found = true = 0
    for lesson in lessons:
        nuclei, _ = find_peaks(screen, lesson)
        kept = nuclei[nuclei[:, 2] >= threshold, :2]
        matched += matches(kept, lesson.nuclei, NUCLEUS_NEAR_PX)
        found, true = found + len(kept), true + len(lesson.nuclei)
    return 2 * matched / max(found + true, 1)


def _screen_calls(screen: Screen, lessons: Sequence[Lesson]) -> tuple[float, float]:
    """Recall and F1 of tumour calls made by the screen alone, at its best threshold."""
    scores: list[float] = []
    hits: list[bool] = []
    true = sum(len(lesson.tumour) for lesson in lessons)
    for lesson in lessons:
        _, candidates = find_peaks(screen, lesson)
        free = np.ones(len(lesson.tumour), bool)
        for x, y, score in candidates[np.argsort(-candidates[:, 2], kind="stable")]:
            near: npt.NDArray[np.float64] = np.hypot(*(lesson.tumour - (x, y)).T)
            near[~free] = np.inf
            hit = bool(near.size) and float(near.min()) <= CANDIDATE_NEAR_PX
            if hit:
                free[int(near.argmin())] = False
            scores.append(float(score))
            hits.append(hit)
    found = np.cumsum(np.array(hits)[np.argsort(-np.array(scores), kind="stable")])
    recall, precision = found / max(true, 1), found / np.arange(1, len(found) + 1)
    best = int(np.argmax(2 * recall * precision / np.maximum(recall + precision, 1e-9)))
    return float(recall[best]), _f1(float(precision[best]), float(recall[best]))


def _f1(precision: float, recall: float) -> float:
    return 2 * precision * recall / max(precision + recall, 1e-9)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table; see the module's text."""
    parser = argparse.ArgumentParser(description="What each part of the training is worth.")
    parser.add_argument("--work", type=Path, required=True, help="folder that keeps everything, to go on after a stop")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(cores())
    out = sys.stdout
    rows = ablation(parser.parse_args(arguments).work)
    out.write("| without | nuclei: F1 | count error of a field | nuclei, real: F1 | tumour cells: recall | F1 |\n")
    out.write("|---" * 6 + "|\n")
    for row in rows:
        out.write(
            f"| {row.variant} | {row.nucleus_f1:.3f} | {100 * row.count_error:.1f} % | {row.real_nucleus_f1:.3f} "
            f"| {row.tumour_recall:.3f} | {row.tumour_f1:.3f} |\n"
        )


if __name__ == "__main__":
    main()
