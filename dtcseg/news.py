"""What happens in a run is told once, to the person who watches and to the log for machines."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dtcseg.config import SlideJob
    from dtcseg.progress import Reporter
    from dtcseg.results.record import FailedSlide, SlideRecord
    from dtcseg.runlog import RunLog


class News:
    """Passes on what happens to a `Reporter` and a `RunLog`; docs/batch.md lists the log's words."""

    def __init__(self, reporter: Reporter, log: RunLog) -> None:
        self._reporter = reporter
        self._log = log

    def begin(self, **values: object) -> None:
        """Tell that the run begins."""
        self._log.write("run_started", **values)

    def end(self, status: int) -> None:
        """Tell that the run ends, with what exit status and how many slides in which state."""
        counts = self._reporter.board.counts()
        self._log.write("run_ended", status=status, **{str(state): count for state, count in counts.items()})

    def waiting(self, job: SlideJob) -> None:
        """Tell that a slide waits for its turn."""
        self._reporter.waiting(job.name)
        self._log.write("slide_waiting", slide=job.name, files=[str(path) for path in job.files])

    def again(self, job: SlideJob, reason: str) -> None:
        """Tell that a slide did not end well and will be tried once more."""
        self._reporter.waiting(job.name, f"once more later: {reason}")
        self._log.write("slide_again", slide=job.name, reason=reason)

    def started(self, name: str, worker: str) -> None:
        """Tell that a worker begins with a slide."""
        self._reporter.started(name, worker)
        self._log.write("slide_started", slide=name, worker=worker)

    def moved(self, name: str, share: float) -> None:
        """Tell how far a slide is, 0..1; the log is spared this."""
        self._reporter.moved(name, share)

    def known(self, record: SlideRecord) -> None:
        """Tell that a slide was done by an earlier run."""
        self._reporter.finished(record.slide, _found(record))

    def done(self, record: SlideRecord) -> None:
        """Tell that a slide is done and written."""
        self._reporter.finished(record.slide, _found(record), max(record.seconds, 0.01))
        self._log.write(
            "slide_done", slide=record.slide, seconds=record.seconds, mnc=record.mnc, tumour=record.tumour, qc=record.qc
        )

    def failed(self, row: FailedSlide) -> None:
        """Tell that a slide failed, and why."""
        self._reporter.failed(row.slide, row.file or row.slide, row.reason)
        self._log.write("slide_failed", slide=row.slide, file=row.file, reason=row.reason)

    def say(self, text: str) -> None:
        """Tell what concerns no slide in particular."""
        self._reporter.say(text)
        self._log.write("notice", text=text)


def _found(record: SlideRecord) -> str:
    cells = f"{record.mnc:,}".replace(",", " ")
    return f"{cells} cells, {record.tumour} tumour" if record.assessable else "not assessable"
