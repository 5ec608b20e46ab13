"""Fits the second look to a laboratory: its own crops and simulated ones in every batch, never far from the start.

What keeps some hundred verdicts from spoiling a network: the normalisation keeps its statistics, three quarters of each
batch are simulated and ask for what the start says of them (Li and Hoiem 2016, arXiv 1606.09282), a penalty grows with
the distance from the start (Li et al. 2018, arXiv 1802.01483, L2-SP), the average of the last steps counts, and of the
way from the start to the fit only as much is taken as simulated crops that were not learned from allow (Wortsman et al.
2022, arXiv 2109.01903).
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from dtcseg.network.model import LOOK_CLASSES
from dtcseg_training.fields import LOOK_INNER
from dtcseg_training.fit import look_example, look_loss
from dtcseg_training.learn.outcome import Curve
from dtcseg_training.state import FitState

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from dtcseg.network.model import Look
    from dtcseg_training.learn.simulated import FieldCrops
    from dtcseg_training.learn.training_set import SlideCrops

FloatArray = npt.NDArray[np.float32]

_BATCH, _OWN = 32, 8
"""Crops in a batch, and how many of them, which come first, are the laboratory's; with half of them, home was lost."""
_AVERAGED = 0.98
_PULL = 2e-3
_CLIP = 5.0
_SAVE_EVERY = 20
_MIXES = (1.0, 0.8, 0.6, 0.4, 0.2)
_HOME_LOSS = 1.1
"""The loss on simulated crops may grow by so much. The whole of a fit to 200 verdicts reached 1.09; of 1,626 reference
calls 116 were wrong then, 120 at the start. Shorter fits, half of each batch the laboratory's, reached 1.10 to 1.24,
and 134 to 143 were."""
_EVAL_BATCH = 16
_FEWEST = 500
"""Cells below which the network is left as it is, and only what readers ask is learned (`reading`). Fitted to 200
verdicts it brought back a quarter of what a new laboratory had lost, and lost 5 points of recall at home
(docs/learning.md)."""
_WATCHED = 160
"""Simulated crops that the curve of a fit is drawn by; the mix is chosen by all."""


@dataclass(frozen=True)
class FitPlan:
    """How long and how fast to learn.

    Attributes
    ----------
    steps : int
        0 where the network is left as it is.
    learning_rate : float
        At the top of the one-cycle schedule.
    seed : int
    device : str
    """

    steps: int
    learning_rate: float
    seed: int
    device: str


def plan_for(cells: int, seed: int, device: str) -> FitPlan:
    """Choose by the number of cells to learn from; docs/learning.md shows by what."""
    steps = min(round(50 * np.sqrt(cells)), 1500) if cells >= _FEWEST else 0
    return FitPlan(steps, 6e-4, seed, device)


@dataclass(frozen=True)
class Tuned:
    """What a fit led to.

    Attributes
    ----------
    look : Look
        On the CPU, in evaluation mode.
    mix : float
        How much of the way from the start is taken, 0..1.
    curves : tuple of Curve
    """

    look: Look
    mix: float
    curves: tuple[Curve, ...]


@dataclass(frozen=True)
class _Pool:
    """Crops that are drawn from, and the groups that are drawn with equal chance (tumour cells and others)."""

    crops: npt.NDArray[np.float16]
    masks: npt.NDArray[np.bool_]
    calls: npt.NDArray[np.int64]
    spreads: npt.NDArray[np.float32]
    groups: tuple[npt.NDArray[np.int64], ...]

    def draw(self, count: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
        chosen = [self.groups[i % len(self.groups)] for i in range(count)]
        return np.array([group[rng.integers(len(group))] for group in chosen], np.int64)


def tune(
    start: Look,
    lab: Sequence[SlideCrops],
    replay: Sequence[FieldCrops],
    home: Sequence[FieldCrops],
    plan: FitPlan,
    *,
    keep: Path,
    on_step: Callable[[int, tuple[Curve, ...]], None],
    stop: Callable[[], bool],
) -> Tuned | None:
    """Fit a copy of the look.

    Parameters
    ----------
    start : Look
        On the CPU, in evaluation mode.
    lab : sequence of SlideCrops
        The laboratory's slides to learn from.
    replay, home : sequence of FieldCrops
        Simulated crops that are learned again, and that tell how much is forgotten.
    plan : FitPlan
    keep : Path
        Where the state is written now and then, and read from to go on after a stop: the weights are then the same.
    on_step : callable
        Told the steps done and the curves.
    stop : callable
        Asked after every step.

    Returns
    -------
    Tuned or None
        None where it was asked to stop; the state is kept.
    """
    if not plan.steps:
        return Tuned(start, 0.0, ())
    torch.manual_seed(plan.seed)
    network = copy.deepcopy(start).to(plan.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    origin = copy.deepcopy(network).eval()
    average = copy.deepcopy(network).eval()
    optimiser = torch.optim.AdamW(network.parameters(), lr=plan.learning_rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, plan.learning_rate, total_steps=plan.steps, pct_start=0.2)
    state = FitState({"network": network, "average": average}, optimiser, schedule, {"steps": 0})
    if keep.exists():
        state.load(keep)
    own, again = _lab_pool(start, lab), _field_pool(replay)
    watched = _field_pool(home)
    for step in range(int(state.values["steps"]), plan.steps):
        if stop():
            state.save(keep)
            return None
        learned = _step(network, origin, optimiser, _batch(own, again, plan, step), plan, step)
        schedule.step()
        _follow(average, network, step)
        state.values["steps"] = step + 1
        if (step + 1) % _SAVE_EVERY == 0 or step + 1 == plan.steps:
            state.values[f"learned/{step + 1}"] = learned
            state.values[f"home/{step + 1}"] = _call_loss(average, watched, plan.device, _WATCHED)
            state.save(keep)
        on_step(step + 1, _curves(state))
    mix, look = _mixed(start, average.cpu(), watched)
    return Tuned(look, mix, _curves(state))


def _curves(state: FitState) -> tuple[Curve, ...]:
    steps = sorted(int(key.partition("/")[2]) for key in state.values if key.startswith("learned/"))
    return tuple(Curve(n, state.values[f"learned/{n}"], state.values[f"home/{n}"]) for n in steps)


def _step(
    network: Look,
    origin: Look,
    optimiser: torch.optim.Optimizer,
    batch: tuple[FloatArray, FloatArray, npt.NDArray[np.int64], FloatArray],
    plan: FitPlan,
    step: int,
) -> float:
    network.train()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    torch.manual_seed(plan.seed * 1_000_003 + step)  # of the step alone, so that a fit can go on at any
    crops, masks, calls, spreads = (torch.from_numpy(part).to(plan.device) for part in batch)
    crops = crops.contiguous(memory_format=torch.channels_last)
    masks, wanted = _asked(origin, crops, masks, calls, spreads)
    got_masks, got_calls = network(crops, spreads)
    loss = look_loss(got_masks, got_calls, masks, wanted)
    apart = zip(network.parameters(), origin.parameters(), strict=True)
    pull = torch.stack([((p - o.detach()) ** 2).sum() for p, o in apart]).sum()
    optimiser.zero_grad(set_to_none=True)
    (loss + _PULL * pull).backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(network.parameters(), _CLIP)
    optimiser.step()
    return float(loss.detach())


def _asked(origin: Look, crops: Tensor, masks: Tensor, calls: Tensor, spreads: Tensor) -> tuple[Tensor, Tensor]:
    """Masks (N, 2, H, W) and calls (N, 4) to learn: of the laboratory's as told, of the others as the start says."""
    told = functional.one_hot(calls[:_OWN], len(LOOK_CLASSES)).to(masks.dtype)
    with torch.no_grad():
        said_masks, said_calls = origin(crops[_OWN:], spreads[_OWN:])
    return torch.cat([masks[:_OWN], said_masks.sigmoid()]), torch.cat([told, said_calls.softmax(1)])


def _follow(average: Look, network: Look, step: int) -> None:
    keep = min(_AVERAGED, (step + 1) / (step + 11))
    with torch.no_grad():
        for mine, theirs in zip(average.parameters(), network.parameters(), strict=True):
            mine.lerp_(theirs, 1 - keep)


def _batch(
    own: _Pool, again: _Pool, plan: FitPlan, step: int
) -> tuple[FloatArray, FloatArray, npt.NDArray[np.int64], FloatArray]:
    """Crops, masks, calls and spreads of one step, which follow from the seed and the step alone."""
    rng = np.random.default_rng([plan.seed, step])
    parts = [
        _example(pool, int(i), rng) for pool, n in ((own, _OWN), (again, _BATCH - _OWN)) for i in pool.draw(n, rng)
    ]
    crops, masks, calls, spreads = zip(*parts, strict=True)
    return np.stack(crops), np.stack(masks), np.array(calls, np.int64), np.array(spreads, np.float32)


def _example(pool: _Pool, index: int, rng: np.random.Generator) -> tuple[FloatArray, FloatArray, int, float]:
    return *look_example(pool, index, rng), float(pool.spreads[index])


def _lab_pool(start: Look, slides: Sequence[SlideCrops]) -> _Pool:
    """Gather the laboratory's crops; masks that nobody told are those that the start draws."""
    crops = np.concatenate([s.crops for s in slides])
    masks = np.concatenate([s.masks for s in slides])
    told = np.concatenate([s.told for s in slides])
    spreads = np.concatenate([s.spreads for s in slides])
    drawn = _drawn(start, crops, spreads)
    masks = np.where(told[:, :, None, None], masks, drawn)
    return _pool(crops, masks, np.concatenate([s.calls for s in slides]), spreads)


def _field_pool(fields: Sequence[FieldCrops]) -> _Pool:
    crops, masks, calls, spreads = (
        np.concatenate([getattr(field, name) for field in fields]) for name in ("crops", "masks", "calls", "spreads")
    )
    return _pool(crops, masks, calls, spreads)


def _pool(
    crops: npt.NDArray[np.float16],
    masks: npt.NDArray[np.bool_],
    calls: npt.NDArray[np.int64],
    spreads: npt.NDArray[np.float32],
) -> _Pool:
    tumour = calls == LOOK_CLASSES.index("tumour")
    groups = tuple(np.flatnonzero(part) for part in (tumour, ~tumour) if part.any())
    return _Pool(crops, masks, calls, spreads, groups)


def _drawn(start: Look, crops: npt.NDArray[np.float16], spreads: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    masks = np.zeros((len(crops), 2, *crops.shape[2:]), bool)
    with torch.inference_mode():
        for i in range(0, len(crops), _EVAL_BATCH):
            part = torch.from_numpy(np.ascontiguousarray(crops[i : i + _EVAL_BATCH][LOOK_INNER], np.float32))
            seen, _ = start(part, torch.from_numpy(spreads[i : i + _EVAL_BATCH]))
            masks[i : i + _EVAL_BATCH][LOOK_INNER] = seen.numpy() > 0
    return masks


def _mixed(start: Look, fitted: Look, home: _Pool) -> tuple[float, Look]:
    """Go as far from the start to the fit as the simulated crops allow that were not learned from."""
    least = _call_loss(start, home)
    for mix in _MIXES:
        look = mixed(start, fitted, mix)
        if _call_loss(look, home) <= _HOME_LOSS * least:
            return mix, look
    return 0.0, mixed(start, fitted, 0.0)


def mixed(start: Look, fitted: Look, mix: float) -> Look:
    """Interpolate between the weights of two networks."""
    look = copy.deepcopy(start).eval()
    with torch.no_grad():
        for mine, theirs in zip(look.parameters(), fitted.parameters(), strict=True):
            mine.lerp_(theirs, mix)
    return look


def _call_loss(look: Look, pool: _Pool, device: str = "cpu", most: int | None = None) -> float:
    """Mean cross-entropy of the calls of the first crops."""
    count = len(pool.crops) if most is None else min(most, len(pool.crops))
    total = 0.0
    with torch.inference_mode():
        for i in range(0, count, _EVAL_BATCH):
            part = np.s_[i : min(i + _EVAL_BATCH, count)]
            crops = torch.from_numpy(np.ascontiguousarray(pool.crops[part][LOOK_INNER], np.float32)).to(device)
            _, calls = look(crops, torch.from_numpy(pool.spreads[part]).to(device))
            truth = torch.from_numpy(pool.calls[part]).to(device)
            total += float(functional.cross_entropy(calls, truth, reduction="sum"))
    return total / max(count, 1)
