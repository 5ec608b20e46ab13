"""Asks two sets of weights about the same crops, by the very code that scores slides."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from dtcseg.look import is_anucleate
from dtcseg.network.engine import Engine
from dtcseg.network.model import LOOK_CLASSES
from dtcseg.parallel import cores, ordered_map
from dtcseg_training.fields import LOOK_INNER
from dtcseg_training.learn.gate import Judged

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dtcseg.network.weights import WeightsInfo
    from dtcseg_training.learn.simulated import FieldCrops
    from dtcseg_training.learn.training_set import SlideCrops

_PART = 16
TUMOUR = LOOK_CLASSES.index("tumour")


def probabilities(
    info: WeightsInfo,
    units: Sequence[FieldCrops | SlideCrops],
    device: str,
    on_part: Callable[[int], None] = lambda crops: None,
) -> list[npt.NDArray[np.float32]]:
    """Calibrated probabilities (N, 4) of the calls for the crops of each unit.

    That of a tumour cell is 0 where scoring would call none whatever the look says (`is_anucleate`).

    Parameters
    ----------
    info : WeightsInfo
    units : sequence of FieldCrops or SlideCrops
    device : str
    on_part : callable
        Told how many crops are done.
    """
    engine = Engine(info, device)
    parts = [(u, i) for u, unit in enumerate(units) for i in range(0, len(unit.crops), _PART)]

    def work(part: tuple[int, int]) -> npt.NDArray[np.float32]:
        unit, first = units[part[0]], part[1]
        crops = np.ascontiguousarray(unit.crops[first : first + _PART][LOOK_INNER], np.float32)
        masks, calls = engine.look(crops, float(unit.spreads[0]), unit.signature)
        calls[[is_anucleate(crop, seen) for crop, seen in zip(crops, masks, strict=True)], TUMOUR] = 0
        return calls

    found: list[list[npt.NDArray[np.float32]]] = [[np.zeros((0, len(LOOK_CLASSES)), np.float32)] for _ in units]
    done = 0
    for (unit, _), calls in zip(parts, ordered_map(work, parts, cores()), strict=True):
        found[unit].append(calls)
        done += len(calls)
        on_part(done)
    return [np.concatenate(pieces) for pieces in found]


def judged(
    units: Sequence[FieldCrops | SlideCrops],
    champion: Sequence[npt.NDArray[np.float32]],
    challenger: Sequence[npt.NDArray[np.float32]],
    thresholds: tuple[float, float],
) -> Judged:
    """Bring scores and truth of all units together."""
    scores = np.stack(
        [np.concatenate([calls[:, TUMOUR] for calls in found]).astype(np.float64) for found in (champion, challenger)]
    )
    tumour = np.concatenate([unit.calls for unit in units]) == TUMOUR
    unit = np.concatenate([np.full(len(u.calls), i) for i, u in enumerate(units)])
    called = scores >= np.array(thresholds)[:, None]
    return Judged(tumour, unit, scores, called)
