"""The whole of learning from reviews, step by step; the same call goes on after a stop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dtcseg_training.learn.outcome import LearnOutcome, LearnProgress


class Stopped(Exception):
    """Learning was asked to stop; the same call goes on where it was."""


def learn(
    results: Sequence[Path],
    out: Path,
    *,
    annotations: Sequence[Path] = (),
    model: str = "",
    device: str = "auto",
    force: bool = False,
    work: Path | None = None,
    seed: int = 1,
    progress: Callable[[LearnProgress], None] = lambda told: None,
    stop: Callable[[], bool] = lambda: False,
) -> LearnOutcome:
    """Fit weights to what readers said, hold them against those they began with, and write them if they are better.

    Parameters
    ----------
    results : sequence of Path
        Results folders with verdicts.
    out : Path
        The weights file to write, `NAME.safetensors`; `NAME.md` (card) and `NAME.html` (report) come beside it.
    annotations : sequence of Path
        Annotations made elsewhere of slides of these results: GeoJSON, COCO, label images (docs/learning.md).
    model : str
        Weights to begin with, as `--model`.
    device : str
    force : bool
        Write the weights although the gate refuses them; their card says so for ever.
    work : Path, optional
        Keeps training sets, simulated crops, the reference set and states, to go on after a stop; `dtcseg-learn` beside
        `out` when not given.
    seed : int
        The same seed and the same inputs give the same weights, bit for bit on a CPU.
    progress : callable
        Told how far it is, from the calling thread.
    stop : callable
        Asked often; once it says True, `Stopped` is raised and nothing is lost.

    Raises
    ------
    UsageError
        No folder, weights or verdict to learn from, or `out` cannot be written.
    Stopped
    """
    raise NotImplementedError
