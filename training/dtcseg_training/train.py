"""Makes released weights: lessons, both networks, hard examples, calibration, one file. The same command goes on.

python -m dtcseg_training.train OUT.safetensors --work FOLDER
"""

from __future__ import annotations

import argparse
import logging
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch

from dtcseg.errors import UsageError
from dtcseg.network.model import Look, Screen
from dtcseg.network.weights import ARCHITECTURE, Card, WeightsInfo, load, resolve, save
from dtcseg.parallel import cores
from dtcseg_training.calibrate import Calibration, calibrate
from dtcseg_training.fields import as_it_is, make_lesson
from dtcseg_training.fit import FitSettings, fit_look, fit_screen
from dtcseg_training.lessons import load_lessons, make_lessons
from dtcseg_training.mine import any_field, dirty_field, mine_lesson, mine_real_lesson
from dtcseg_training.plain_rgb import PlainRgb
from dtcseg_training.real import TRAINABLE, shared_data
from dtcseg_training.real_lessons import lesson_with_white_cells, real_lesson
from dtcseg_training.side_by_side import side_by_side

if TYPE_CHECKING:
    from collections.abc import Callable

    from dtcseg_training.fields import Lesson

_log = logging.getLogger(__name__)
SEEDS = {
    "lessons": 1,
    "held_out": 2,
    "mined": 3,
    "mined_held_out": 4,
    "real": 5,
    "mined_real": 6,
    "real_counted": 7,
    "mined_dirty": 8,
}
_MINING_THRESHOLD = 0.03
"""Least screening probability of a crop in the mined lessons: a little below what scoring will ask for."""
_REPLAYED = 0.4
"""Share of the first lessons that is learned again beside the mined ones, so that nothing is forgotten."""


@dataclass(frozen=True)
class Plan:
    """How much to learn from, and for how long.

    Attributes
    ----------
    lessons, held_out, mined, mined_held_out, mined_dirty : int
        Fields of each kind; dirty ones are full of what is no tumour cell.
    real, mined_real : int
        Lessons of real images, with CK+ cells laid into half of them (`real_lesson`), and of what the screen takes for
        a candidate on them (`mine_real_lesson`); they need the folder of `real.shared_data`. Without `real` no nuclei
        of real white cells are laid into simulated fields either.
    real_counted : int
        Lessons of real images by which the threshold of nuclei is set, beside the held-out fields. The images are those
        learned from: the others are kept to judge the weights.
    screen_epochs, look_epochs, mined_epochs : int
        The look learns first from true objects, then (mined) from what the screen proposes.
    plain_rgb : bool
        Learn from colours instead of stain planes; scoring cannot use such weights (`ablation`).
    start : str
        Weights to begin with, as `--model`; "" for random ones.
    device : str
    """

    lessons: int = 1200
    held_out: int = 120
    mined: int = 1000
    mined_held_out: int = 120
    mined_dirty: int = 350
    real: int = 400
    mined_real: int = 700
    real_counted: int = 160
    screen_epochs: int = 9
    look_epochs: int = 2
    mined_epochs: int = 3
    start: str = ""
    device: str = "cpu"
    plain_rgb: bool = False

    def count(self, kind: str) -> int:
        """Fields of one kind."""
        return int(getattr(self, kind))


def train(out: Path, work: Path, plan: Plan) -> WeightsInfo:
    """Make weights; what is in `work` already is not made again.

    Parameters
    ----------
    out : Path
        The weights file to write.
    work : Path
        Folder for lessons and for the state of the fits; remove it to begin anew or with another plan.
    plan : Plan
    """
    processes = cores()
    seen_as = PlainRgb.instead_of if plan.plain_rgb else as_it_is
    for kind in ("held_out", "lessons"):
        simulated: Callable[[int, int], Lesson] = partial(make_lesson, seen_as=seen_as)
        if plan.real and not plan.plain_rgb:  # white cells are laid into the nuclear plane
            simulated = partial(lesson_with_white_cells, folder=_real_folder(), seen_as=seen_as)
        count = plan.count(kind)
        make_lessons(_folder(work, kind), seed=SEEDS[kind], count=count, processes=processes, make=simulated)
    if plan.real or plan.real_counted:
        real = partial(real_lesson, folder=_real_folder(), seen_as=seen_as)
        for kind in ("real", "real_counted"):
            make_lessons(work / "lessons", seed=SEEDS[kind], count=plan.count(kind), processes=processes, make=real)
    _beside(work, plan, {"screen.safetensors": _fit_screen, "look.safetensors": _fit_first_look})
    first = work / "first.safetensors"
    save(first, _load(work / "screen.safetensors")[0], _load(work / "look.safetensors")[1], _draft_card())
    for kind, draw in (("mined_held_out", any_field), ("mined", any_field), ("mined_dirty", dirty_field)):
        mine = partial(mine_lesson, model=str(first), seen_as=seen_as, draw=draw)
        make_lessons(_folder(work, kind), seed=SEEDS[kind], count=plan.count(kind), processes=processes, make=mine)
    if plan.mined_real:
        mine = partial(mine_real_lesson, model=str(first), folder=_real_folder(), seen_as=seen_as)
        make_lessons(work / "mined", seed=SEEDS["mined_real"], count=plan.mined_real, processes=processes, make=mine)
    _fit_second_look(work, plan)
    screen, look = _load(work / "screen.safetensors")[0], _load(work / "second.safetensors")[1]
    found = calibrate(
        screen,
        look,
        _lessons(work, plan, "held_out", "screen"),
        _lessons(work, plan, "mined_held_out", "look"),
        _lessons(work, plan, "real_counted", "screen"),
    )
    save(out, screen, look, _card(out.stem, plan, found))
    return resolve(str(out))


def _folder(work: Path, kind: str) -> Path:
    return work / ("mined" if kind.startswith("mined") else "lessons")


def _lessons(work: Path, plan: Plan, kind: str, network: Literal["screen", "look"]) -> list[Lesson]:
    """Load what one network learns from in the lessons of one kind."""
    return load_lessons(_folder(work, kind), seed=SEEDS[kind], count=plan.count(kind), network=network)


def _beside(work: Path, plan: Plan, fits: dict[str, Callable[[Path, Plan, int], None]]) -> None:
    """Run the fits whose files are missing: side by side on a CPU (two single threads do more than two of one)."""
    beside = plan.device == "cpu" and cores() >= len(fits)
    threads = cores() // len(fits) if beside else cores()  # the same after a stop, when only one is left
    missing = [(work / name, fit) for name, fit in fits.items() if not (work / name).exists()]
    for _ in side_by_side(partial(_fit_one, plan, threads), missing, len(fits) if beside else 1):
        pass


def _fit_one(plan: Plan, threads: int, what: tuple[Path, Callable[[Path, Plan, int], None]]) -> None:
    out, fit = what
    fit(out, plan, threads)


def _fit_screen(out: Path, plan: Plan, threads: int) -> None:
    _prepare(threads)
    work = out.parent
    lessons = _lessons(work, plan, "lessons", "screen") + _lessons(work, plan, "real", "screen")
    held_out = _lessons(work, plan, "held_out", "screen")
    settings = FitSettings(plan.screen_epochs, 16, 1.5e-3 if plan.start else 2e-3, device=plan.device)
    start = _load(plan.start)[0] if plan.start else None
    screen = fit_screen(lessons, held_out, settings, start, keep=work / "screen.state")
    save(out, screen, Look(), _draft_card())


def _real_folder() -> Path:
    folder = shared_data()
    if folder is None:
        raise UsageError(
            "the real images are not there; say where they are in DTCSEG_SHARED, or leave them out: "
            "--real 0 --mined-real 0 --real-counted 0"
        )
    return folder


def _fit_first_look(out: Path, plan: Plan, threads: int) -> None:
    _prepare(threads)
    work = out.parent
    lessons = _lessons(work, plan, "lessons", "look") + _lessons(work, plan, "real", "look")
    held_out = _lessons(work, plan, "held_out", "look")
    settings = FitSettings(plan.look_epochs, 32, 1.2e-3 if plan.start else 1.5e-3, device=plan.device)
    start = _load(plan.start)[1] if plan.start else None
    look = fit_look(lessons, held_out, settings, start, keep=work / "look.state")
    save(out, Screen(), look, _draft_card())


def _fit_second_look(work: Path, plan: Plan) -> None:
    out = work / "second.safetensors"
    if out.exists():
        return
    _prepare(cores())
    replayed = replace(plan, lessons=int(_REPLAYED * plan.lessons)) if plan.mined else plan
    lessons = _lessons(work, replayed, "lessons", "look") + _lessons(work, plan, "mined", "look")
    for kind in ("mined_dirty", "mined_real", "real"):
        lessons += _lessons(work, plan, kind, "look")
    held_out = _lessons(work, plan, "mined_held_out", "look")
    settings = FitSettings(plan.mined_epochs, 32, 1.2e-3, seed=2, device=plan.device)
    look = fit_look(lessons, held_out, settings, _load(work / "look.safetensors")[1], keep=work / "second.state")
    save(out, Screen(), look, _draft_card())


def _prepare(threads: int) -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(threads)


def _load(model: Path | str) -> tuple[Screen, Look]:
    return load(resolve(str(model)))


def _draft_card() -> Card:
    return Card("draft", ARCHITECTURE, 0.5, _MINING_THRESHOLD, 0.5, 1.0, 0.0)


def _card(name: str, plan: Plan, found: Calibration) -> Card:
    return Card(
        name=name,
        architecture=ARCHITECTURE,
        nucleus_threshold=found.nucleus_threshold,
        candidate_threshold=found.candidate_threshold,
        tumour_threshold=found.tumour_threshold,
        temperature=found.temperature,
        count_relative_sd=found.count_relative_sd,
        parent=resolve(plan.start).sha256 if plan.start else "",
        trained_on={
            "simulated_fields": plan.lessons + plan.mined + plan.mined_dirty,
            "seeds": [SEEDS["lessons"], SEEDS["mined"], SEEDS["mined_dirty"]],
            "real_images": [f"{name}: {licence}" for name, licence in TRAINABLE.items()] if plan.real else [],
            "licence": "BSD-3-Clause",
        },
        figures=found.figures,
    )


def main(arguments: list[str] | None = None) -> None:
    """Run the whole of it; see the module's text for the call."""
    plan = Plan()
    parser = argparse.ArgumentParser(description="Train released weights from simulated fields.")
    parser.add_argument("out", type=Path, help="the weights file to write")
    parser.add_argument(
        "--work", type=Path, required=True, help="folder that keeps lessons and states, to go on after a stop"
    )
    for name in (
        "lessons",
        "held_out",
        "mined",
        "mined_held_out",
        "mined_dirty",
        "real",
        "mined_real",
        "real_counted",
        "screen_epochs",
        "look_epochs",
        "mined_epochs",
    ):
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=plan.count(name))
    parser.add_argument("--start", default="", help="weights to begin with, a name or a file")
    parser.add_argument("--device", default="cpu")
    options = vars(parser.parse_args(arguments))
    out, work = options.pop("out"), options.pop("work")
    _prepare(cores())
    info = train(out, work, Plan(**options))
    _log.info("%s sha256 %s %s", info.path, info.sha256, info.card.figures)


if __name__ == "__main__":
    main()
