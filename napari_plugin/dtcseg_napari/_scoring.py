"""Scoring from the window: the same run as `dtcseg score`, in a thread, with progress, stopped when asked for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from dtcseg.batch import RunResult
    from dtcseg.isolation import Scorer

OnProgress = Callable[[str, float], None]


class ScoringRun:
    """One run over slides, which are scored in a process of their own; `stop` may be called from any thread.

    Parameters
    ----------
    inputs : sequence of Path
        Slide files, or folders of them.
    out : Path
        The results folder.
    on_progress : callable
        Told a slide's name and the share of it that is done, 0..1.

    Attributes
    ----------
    scorer : callable or None
        As `dtcseg.batch.score_jobs`.
    """

    scorer: ClassVar[Scorer | None] = None

    def __init__(self, inputs: Sequence[Path], out: Path, on_progress: OnProgress) -> None:
        self._inputs = list(inputs)
        self._out = out
        self._on_progress = on_progress
        self._stop = threading.Event()

    def stop(self) -> None:
        """End the run at the next step; what is not finished is scored by the next run."""
        self._stop.set()

    def moved(self, name: str, share: float) -> None:
        """Pass on how far a slide is; see `dtcseg.batch.Listener`."""
        self._on_progress(name, share)

    @property
    def stopped(self) -> bool:
        """Whether `stop` was called; see `dtcseg.batch.Listener`."""
        return self._stop.is_set()

    def run(self) -> RunResult:
        """Score what is missing.

        Raises
        ------
        UsageError
            There is no slide, or the results cannot be written there.
        """
        from dtcseg.batch import score_jobs
        from dtcseg.config import ScoreConfig
        from dtcseg.manifest import find_slides

        jobs, failures = find_slides(self._inputs)
        return score_jobs(jobs, failures, ScoreConfig(out=self._out), scorer=type(self).scorer, listener=self)
