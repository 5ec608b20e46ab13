"""Makes released weights from nothing: lessons, both networks, calibration, one file.

python -m dtcseg_training.train OUT.safetensors --work FOLDER
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from dtcseg.network.weights import ARCHITECTURE, Card, save
from dtcseg.parallel import cores
from dtcseg_training.calibrate import calibrate
from dtcseg_training.fit import FitSettings, fit_look, fit_screen
from dtcseg_training.lessons import load_lessons, make_lessons

_log = logging.getLogger(__name__)
_TRAIN_SEED, _HELD_OUT_SEED = 1, 2


def main(arguments: list[str] | None = None) -> None:
    """Run the whole of it; see the module's text for the call."""
    parser = argparse.ArgumentParser(description="Train released weights from simulated fields.")
    parser.add_argument("out", type=Path, help="the weights file to write")
    parser.add_argument("--work", type=Path, required=True, help="folder that keeps the lessons, to go on after a stop")
    parser.add_argument("--lessons", type=int, default=1600)
    parser.add_argument("--held-out", type=int, default=120)
    parser.add_argument("--screen-epochs", type=int, default=16)
    parser.add_argument("--look-epochs", type=int, default=10)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    for seed, count in ((_HELD_OUT_SEED, options.held_out), (_TRAIN_SEED, options.lessons)):
        make_lessons(options.work, seed=seed, count=count, processes=cores())
    lessons = load_lessons(options.work, seed=_TRAIN_SEED, count=options.lessons)
    held_out = load_lessons(options.work, seed=_HELD_OUT_SEED, count=options.held_out)
    screen = fit_screen(lessons, held_out, FitSettings(options.screen_epochs, 16, device=options.device))
    look = fit_look(lessons, held_out, FitSettings(options.look_epochs, 32, 1.5e-3, device=options.device))
    found = calibrate(screen.eval(), look.eval(), held_out)
    card = Card(
        name=options.out.stem,
        architecture=ARCHITECTURE,
        nucleus_threshold=found.nucleus_threshold,
        candidate_threshold=found.candidate_threshold,
        tumour_threshold=found.tumour_threshold,
        temperature=found.temperature,
        count_relative_sd=found.count_relative_sd,
        trained_on={
            "simulated_fields": options.lessons,
            "seed": _TRAIN_SEED,
            "real_images": [],
            "crops": sum(len(lesson.calls) for lesson in lessons),
        },
        figures=found.figures,
    )
    sha256 = save(options.out, screen, look, card)
    _log.info("%s sha256 %s %s", options.out, sha256, found.figures)


if __name__ == "__main__":
    main()
