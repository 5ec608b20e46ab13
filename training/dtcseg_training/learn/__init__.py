"""Learning from reviews: verdicts -> training set -> candidate weights -> gate -> weights of one's own laboratory.

`dtcseg_training.learn.run.learn` does it. It is not imported here: it brings PyTorch, which takes seconds, and a window
that only shows how far learning is needs none.
"""

from __future__ import annotations

from dtcseg_training.learn.outcome import (
    ChangedCell,
    Comparison,
    Curve,
    GateResult,
    LabThreshold,
    LearnOutcome,
    LearnProgress,
    Refused,
    SetSummary,
    Sizes,
    Step,
    Stopped,
)

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
]
