"""Scoring from the window: the same run as `dtcseg score`, in a thread, with progress, stopped when asked for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dtcseg.batch import RunResult
    from dtcseg.cells import SlideScore
    from dtcseg.config import ScoreConfig, SlideJob

OnProgress = Callable[[str, float], None]


class _Stopped(KeyboardInterrupt):
    """The reader has asked for the end; a run ends as after Ctrl-C, with everything finished before kept."""


class ScoringRun:
    """One run over slides; `stop` may be called from any thread.

    Parameters
    ----------
    inputs : sequence of Path
        Slide files, or folders of them.
    out : Path
        The results folder.
    on_progress : callable
        Told a slide's name and the share of it that is done, 0..1.
    """

    def __init__(self, inputs: Sequence[Path], out: Path, on_progress: OnProgress) -> None:
        self._inputs = list(inputs)
        self._out = out
        self._on_progress = on_progress
        self._stop = threading.Event()

    def stop(self) -> None:
        """End the run at the next step; what is not finished is scored by the next run."""
        self._stop.set()

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
        return score_jobs(jobs, failures, ScoreConfig(out=self._out), scorer=self._score)

    def _score(self, job: SlideJob, config: ScoreConfig, on_progress: Callable[[float], None]) -> SlideScore:
        from dtcseg.score import score_slide

        def tell(share: float) -> None:
            if self._stop.is_set():
                raise _Stopped
            on_progress(share)
            self._on_progress(job.name, share)

        tell(0.0)
        return score_slide(job, config, tell)
