"""Which candidates the screen makes on a laboratory's slides: its threshold there, and who proposes what.

On slides unlike the training the screen is less sure of tumour cells: in a laboratory out of its ranges (10,900,000 of
`benchmarks/learning_lab.py`) 25 of 460 were no candidates, which no reader would ever have seen; with half the
threshold it was 10. For everybody's slides a lower threshold costs false calls on real images; a laboratory has a look
of its own, which learns what else is proposed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from dtcseg.network.laboratory import candidate_threshold, laboratories_of
from dtcseg_training.learn.judge import TUMOUR
from dtcseg_training.learn.simulated import DEPTH

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from dtcseg.network.weights import Card
    from dtcseg_training.learn.simulated import FieldCrops

_LOST = 0.01
"""Share of the tumour cells that the screen sees at all which the threshold may cost."""


def threshold_for(fields: Sequence[FieldCrops], common: float) -> float:
    """Choose the threshold of candidates by simulated fields like a laboratory's slides.

    Parameters
    ----------
    fields : sequence of FieldCrops
        Down to a third of the common threshold (`DEPTH`).
    common : float
        `Card.candidate_threshold`.

    Returns
    -------
    float
        The highest that loses next to no tumour cell there: a third of the common one to all of it.
    """
    seen = np.concatenate([field.screened[field.calls == TUMOUR] for field in fields]) if fields else np.zeros(0)
    seen = np.sort(seen[seen > 0])
    if not len(seen):
        return common
    return round(float(np.clip(seen[int(_LOST * len(seen))], common / DEPTH, common)), 4)


def proposed(field: FieldCrops, threshold: float) -> FieldCrops:
    """Leave out what is not proposed with this threshold, but for tumour cells: a better screen will propose them."""
    keep = (field.screened >= threshold) | (field.calls == TUMOUR)
    arrays = {name: getattr(field, name)[keep] for name in ("crops", "masks", "calls", "spreads", "screened")}
    return replace(field, **arrays)


def in_words(fields: Sequence[FieldCrops], common: float, threshold: float) -> str:
    """Say in half a sentence what a laboratory's threshold brings on simulated fields like its slides."""
    seen = np.concatenate([np.zeros(0), *(field.screened[field.calls == TUMOUR] for field in fields)])
    now, before = (int((seen >= t).sum()) for t in (threshold, common))
    return (
        f"on slides like these a place is a candidate from a first look of {threshold:g} ({common:g} elsewhere) on: "
        f"{now} of {len(seen)} tumour cells on simulated fields, {before} before"
    )


def unseen(card: Card, fields: Sequence[FieldCrops]) -> list[npt.NDArray[np.bool_]]:
    """Tell which crops (N,) of each field are no candidates with these weights, and so are never looked at."""
    laboratories = laboratories_of(card.laboratories)
    thresholds = [candidate_threshold(laboratories, card.candidate_threshold, field.signature) for field in fields]
    return [field.screened < threshold for field, threshold in zip(fields, thresholds, strict=True)]
