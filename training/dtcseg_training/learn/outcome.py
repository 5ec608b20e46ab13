"""What learning tells while it runs, and what it leads to: plain records, without torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from dtcseg.errors import DtcsegError
from dtcseg.results.text import one_line

if TYPE_CHECKING:
    from dtcseg_training.figures import Share

Step = Literal["collect", "alike", "reference", "fit", "gate", "write"]
STEPS: tuple[Step, ...] = ("collect", "alike", "reference", "fit", "gate", "write")
"""In their order: verdicts to crops; simulated crops like the laboratory's; the locked reference set; fitting; champion
against challenger; files."""


class Stopped(Exception):
    """Learning was asked to stop; the same call goes on where it was."""


class Refused(DtcsegError):
    """The gate would refuse whatever is fitted to these verdicts (exit status 1)."""


@dataclass(frozen=True)
class Sizes:
    """How many simulated fields are drawn.

    Attributes
    ----------
    alike, aside, judging : int
        Like the laboratory's slides: to learn from, to watch the fit and calibrate by, and to judge by alone.
    reference : int
        To judge by; drawn once for each weights file that is begun with.
    """

    alike: int = 200
    aside: int = 60
    judging: int = 60
    reference: int = 140

    @property
    def like_slides(self) -> int:
        """Fields like the laboratory's slides."""
        return self.alike + self.aside + self.judging


@dataclass(frozen=True)
class Curve:
    """One point of the curves of a fit.

    Attributes
    ----------
    step : int
        Optimiser steps done.
    learned, aside : float
        Loss on what is learned from (outlines and calls), and of the calls on simulated crops like the laboratory's
        that are not: when it grows, the fit learns by heart.
    """

    step: int
    learned: float
    aside: float


@dataclass(frozen=True)
class LearnProgress:
    """How far learning is.

    Attributes
    ----------
    step : Step
    text : str
        One line for a person.
    share : float
        Of the whole, 0..1; never falls.
    seconds_left : float or None
        Estimate by what has been measured so far in this run; None while nothing has been.
    curves : tuple of Curve
        So far.
    """

    step: Step
    text: str
    share: float
    seconds_left: float | None = None
    curves: tuple[Curve, ...] = ()


@dataclass(frozen=True)
class SetSummary:
    """What a training set was made of.

    Attributes
    ----------
    folder : Path
    sha256 : str
        Of its manifest: names the data exactly.
    cells : dict of str to int
        Taught cells by call.
    slides, patients : int
    added, corrected, deleted : int
        Among the cells: drawn by readers, with corrected outlines, said to be no object.
    held_out : int
        Cells on slides that are kept for the gate.
    from_controls : int
        Cells of control slides of which no reader spoke.
    left_out : tuple of str
        What was not taught, one line each: conflicts, slides whose file is gone, classes that are not known.
    split_by : {"patient", "slide", "none"}
        What was kept whole when slides were held out; "none": too little to hold any out.
    """

    folder: Path
    sha256: str
    cells: dict[str, int]
    slides: int
    patients: int
    added: int
    corrected: int
    deleted: int
    held_out: int
    from_controls: int
    left_out: tuple[str, ...]
    split_by: Literal["patient", "slide", "none"]


@dataclass(frozen=True)
class Comparison:
    """Champion (index 0) against challenger (index 1) on cells of known truth that neither was fitted on.

    Attributes
    ----------
    name : {"lab", "alike", "reference"}
    units : int
        Slides or fields, which are what is drawn again for the intervals.
    recall : (Share, Share)
        Tumour cells called tumour.
    false_calls : (Share, Share)
        Other objects called tumour.
    gained, lost : int
        Calls that only the challenger, and only the champion, has right (tumour or not).
    p_value : float
        Exact two-sided McNemar test of `gained` against `lost`.
    tumour_gained, tumour_lost : int
        The same among tumour cells.
    froc : (float, float)
        Mean recall at 1/4 to 8 false candidates a unit (CAMELYON16).
    froc_change : (float, float, float)
        Challenger less champion, with its 95 % bootstrap interval over units.
    recall_change : (float, float, float)
        The same of the recall.
    """

    name: Literal["lab", "alike", "reference"]
    units: int
    recall: tuple[Share, Share]
    false_calls: tuple[Share, Share]
    gained: int
    lost: int
    p_value: float
    tumour_gained: int
    tumour_lost: int
    froc: tuple[float, float]
    froc_change: tuple[float, float, float]
    recall_change: tuple[float, float, float]


@dataclass(frozen=True)
class ChangedCell:
    """A cell of the laboratory whose call the challenger changes.

    Attributes
    ----------
    slide, cell_id : str
    x_px, y_px : float
    verdict : str
        What the readers say, or what a cell of a control slide is taught as.
    said : bool
        Whether readers spoke of it.
    before, after : str
        Calls of champion and challenger.
    score_before, score_after : float
    held_out : bool
        On a slide that was not learned from.
    picture : bytes
        PNG of 64 x 64 µm; empty where the slide cannot be read.
    """

    slide: str
    cell_id: str
    x_px: float
    y_px: float
    verdict: str
    said: bool
    before: str
    after: str
    score_before: float
    score_after: float
    held_out: bool
    picture: bytes = b""


@dataclass(frozen=True)
class LabThreshold:
    """The operating point for this laboratory, and what it costs.

    Attributes
    ----------
    tumour_threshold : float
        Least score of the call "tumour".
    chosen_on : {"lab", "default"}
        "default": too few cells to choose by; it is that of the weights that were begun with.
    found : Share
        The laboratory's tumour cells called at it.
    false_calls : Share
        Its other reviewed objects called at it.
    cells : int
        Nucleated cells screened on the slides that it was chosen on.
    false_per_million : (float, float, float)
        Expected false calls per 10^6 nucleated cells with an exact 95 % interval.
    text : str
        The same in words.
    """

    tumour_threshold: float
    chosen_on: Literal["lab", "default"]
    found: Share
    false_calls: Share
    cells: int
    false_per_million: tuple[float, float, float]
    text: str


@dataclass(frozen=True)
class GateResult:
    """Whether the challenger may take the champion's place.

    Attributes
    ----------
    promoted : bool
    reason : str
        One line.
    lab : Comparison or None
        None where no verdicts could be held out.
    reference : Comparison
        On the locked reference set.
    warnings : tuple of str
        What a person should know of the verdicts, one line each.
    alike : Comparison or None
        On simulated fields like the laboratory's slides, whose truth no reader told.
    """

    promoted: bool
    reason: str
    lab: Comparison | None
    reference: Comparison
    warnings: tuple[str, ...] = ()
    alike: Comparison | None = None

    @property
    def comparisons(self) -> list[Comparison]:
        """Those that were made, what counts most first."""
        return [found for found in (self.lab, self.alike, self.reference) if found is not None]


@dataclass(frozen=True)
class LearnOutcome:
    """What learning led to.

    Attributes
    ----------
    promoted : bool
        The gate let the challenger through.
    forced : bool
        It did not, and was overridden; the card says so for ever.
    reason : str
        One line.
    weights : Path or None
        The file written to `out`; None where the challenger was refused.
    challenger : Path
        The fitted weights in the work folder, there in any case.
    report : Path
        The page (.html) beside `out`, written in any case.
    card : Path or None
        The model card (.md) beside `out`.
    sha256 : str
        Of the challenger.
    data : SetSummary
    gate : GateResult
    threshold : LabThreshold
    changed : tuple of ChangedCell
    seconds : float
        Processor time of this run.
    """

    promoted: bool
    forced: bool
    reason: str
    weights: Path | None
    challenger: Path
    report: Path
    card: Path | None
    sha256: str
    data: SetSummary
    gate: GateResult
    threshold: LabThreshold
    changed: tuple[ChangedCell, ...]
    seconds: float

    @property
    def summary(self) -> str:
        """Say in a few lines what came of it."""
        word = (
            "promoted" if self.promoted else "refused, and written all the same (--force)" if self.forced else "refused"
        )
        lines = [f"{word}: {self.reason}", self.threshold.text]
        lines += [one_line(path) for path in (self.weights, self.card, self.report) if path is not None]
        return "\n".join(lines)
