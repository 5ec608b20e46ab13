"""Are the cells that `dtcseg ask` chooses worth more than cells taken at random?

    python benchmarks/asking.py WORK [--seeds 5] [--processes 2]

A laboratory that the weights do not know (`learning_lab.py`) is scored: six slides to read, six to judge on. A reader
who knows the truth answers for 50 cells that were asked for, and, on the other hand, for 100 taken at random. The
second look is fitted to both by `dtcseg_training.learn` in the same way (the same steps, seeds and simulated crops; the
gate and the choice of an operating point are left out, since they are the same for both), and the slides to judge on are
looked at again: recall of the tumour cells among the screen's candidates, at 5 false candidates per 10^6 cells of an
ordinary slide and at the threshold. What is in WORK is not made again; `benchmarks/learning.py WORK` makes the same
slides. One line of JSON for each seed goes to WORK/asking.jsonl.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from learning_lab import make_slides, truth_of

if TYPE_CHECKING:
    from dtcseg.review.slides import Item
