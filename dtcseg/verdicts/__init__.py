"""What readers said about the cells: append-only logs, their replay, consensus and proof."""

from __future__ import annotations

from dtcseg.verdicts.audit import Verification, verify
from dtcseg.verdicts.cells import CellRef, Ring, read_candidates, ring_of
from dtcseg.verdicts.consensus import Consensus, ReviewedCell, consensus, review
from dtcseg.verdicts.log import VerdictLog, added_cells, new_cell, open_log
from dtcseg.verdicts.replay import SlideVerdicts, replay
from dtcseg.verdicts.state import CellState, Entry, ReadState
from dtcseg.verdicts.terms import NOT_AN_OBJECT, VERDICTS, Shown

__all__ = [
    "NOT_AN_OBJECT",
    "VERDICTS",
    "CellRef",
    "CellState",
    "Consensus",
    "Entry",
    "ReadState",
    "ReviewedCell",
    "Ring",
    "Shown",
    "SlideVerdicts",
    "VerdictLog",
    "Verification",
    "added_cells",
    "consensus",
    "new_cell",
    "open_log",
    "read_candidates",
    "replay",
    "review",
    "ring_of",
    "verify",
]
