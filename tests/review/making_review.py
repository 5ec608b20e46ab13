"""What the tests of the review share: results folders with cells of known places, scores and calls."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fake_results import write
from fake_scoring import WEIGHTS, candidate, slide_score

from dtcseg.config import SlideJob
from dtcseg.review.slides import Opened, open_results
from dtcseg.verdicts import open_log, read_candidates

if TYPE_CHECKING:
    from dtcseg.results.record import Weights

CALLS = ("tumour", "uninterpretable", "haematopoietic", "artefact")


def write_slide(root: Path, name: str, cells: int = 4, *, weights: Weights = WEIGHTS, shift_px: float = 0.0) -> Path:
    """Score a slide of made-up cells 200 px apart, scores falling from 0.9; gives RESULTS/<slide>."""
    (root / "slides").mkdir(exist_ok=True)
    path = root / "slides" / f"{name}.tif"
    path.write_bytes(b"pixels")
    job = SlideJob(name=name, files=(path,))
    found = [
        candidate(
            x_px=200.0 * (k + 1) + shift_px,
            y_px=300.0 + shift_px,
            score=round(0.9 - 0.8 * k / max(cells - 1, 1), 4),
            call=CALLS[min(k, 3)],
        )
        for k in range(cells)
    ]
    scored = slide_score(found)
    return write(root, job, scored, weights)


def opened(root: Path, **slides: int) -> Opened:
    """Results of slides by name and number of cells."""
    for name, cells in slides.items():
        write_slide(root, name, cells)
    return open_results(root / "out")


def say(folder: Path, reader: str, words: str) -> None:
    """Let a reader give the candidates of a slide these verdicts, in their order, by first letters."""
    meaning = {
        "t": "tumour",
        "p": "probable",
        "u": "uninterpretable",
        "h": "haematopoietic",
        "a": "artefact",
        "s": "skip",
    }
    with open_log(folder, reader) as log:
        for cell, letter in zip(read_candidates(folder), words, strict=True):
            log.give(cell, meaning[letter])
