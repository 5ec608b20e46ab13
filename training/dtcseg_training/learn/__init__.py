"""Learning from reviews: verdicts -> training set -> candidate weights -> gate -> weights of one's own laboratory."""

from __future__ import annotations

from dtcseg_training.learn.outcome import (
    ChangedCell,
    Comparison,
    Curve,
    GateResult,
    LabThreshold,
    LearnOutcome,
    LearnProgress,
    SetSummary,
    Step,
)
from dtcseg_training.learn.run import Refused, Sizes, Stopped, learn

__all__ = [
    "ChangedCell",
    "Comparison",
    "Curve",
    "GateResult",
    "LabThreshold",
    "LearnOutcome",
    "LearnProgress",
    "Refused",
    "SetSummary",
    "Sizes",
    "Step",
    "Stopped",
    "learn",
]
