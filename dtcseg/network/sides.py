"""The second look from all sides: the eight ways to lay a square crop, averaged."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from dtcseg.network.model import LOOK_CLASSES

if TYPE_CHECKING:
    from dtcseg.network.model import Look

CLOSER = 0.02
"""Crops of at least this probability of a tumour cell (before calibration) are looked at from all sides. On held-out
candidates that lifted the F1 of tumour calls from 0.945 to 0.954 and the outlines' IoU from 0.824 to 0.832, and a slide
scanned the other way round keeps its calls; ordinary cells, most of the candidates, lie far below."""


def worth_all_sides(calls: torch.Tensor) -> torch.Tensor:
    """Tell which of the call logits (N, 4) of a first look ask for `look_from_all_sides`: (N,) bool."""
    return calls.softmax(1)[:, LOOK_CLASSES.index("tumour")] >= CLOSER


def look_from_all_sides(look: Look, crop: torch.Tensor, ck_spread: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Look at one crop eight times, turned and mirrored, in one batch of eight.

    Shape
    -----
    crop : (3, S, S) float32; ck_spread : () float32
    returns : mask probabilities (2, S, S) and call logits (4,), each the mean over the eight
    """
    masks, calls = look(torch.stack([_laid(crop, way) for way in range(8)]), ck_spread.expand(8))
    probability = masks.sigmoid()
    upright = torch.stack([_raised(probability[way], way) for way in range(8)])
    return upright.mean(0), calls.mean(0)


def _laid(plane: torch.Tensor, way: int) -> torch.Tensor:
    turned = torch.rot90(plane, way % 4, (-2, -1))
    return torch.flip(turned, (-1,)) if way >= 4 else turned


def _raised(plane: torch.Tensor, way: int) -> torch.Tensor:
    """Undo `_laid`."""
    straight = torch.flip(plane, (-1,)) if way >= 4 else plane
    return torch.rot90(straight, -(way % 4), (-2, -1))
