"""Fits the second look to a laboratory: its own reviewed crops, and those of simulated fields like its slides.

A few hundred verdicts do not teach a network what a laboratory's cells look like, but they tell the simulator
(`alike`), whose fields hold as many cells of known kind as are wanted. Both are learned together. What is fitted is a
look of the laboratory's own, asked on slides like its own alone (`dtcseg.network.laboratory`), so that it forgets
nothing that anybody else's slides need. The normalisation keeps its statistics, and the average of the last steps
counts.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
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

_BATCH = 32
_CELLS_A_CROP, _MOST_OWN = 16, 8
"""Of a batch, one crop in so many cells that somebody spoke of is the laboratory's own, but no more than these; with
sixteen in place of eight, for 133 cells, fewer tumour cells of its other slides were called. Of what lies on control
slides there are as many again."""
_STEPS = 300
"""Twice as many gained nothing."""
_AVERAGED = 0.98
_CLIP = 5.0
_SAVE_EVERY = 20
_EVAL_BATCH = 16
_WATCHED = 160
"""Simulated crops that the curve of a fit is drawn by."""


@dataclass(frozen=True)
class FitPlan:
    """How long and how fast to learn.

    Attributes
    ----------
    steps : int
    own, controls : int
        Crops of each batch that are the laboratory's own: of what somebody spoke of, and of control slides.
    learning_rate : float
        At the top of the one-cycle schedule.
    seed : int
    device : str
    """

    steps: int
    own: int
    controls: int
    learning_rate: float
    seed: int
    device: str


def plan_for(said: int, controls: int, seed: int, device: str) -> FitPlan:
    """Choose by the numbers of cells to learn from: of which somebody spoke, and on control slides."""
    own, of_controls = (min(max(cells // _CELLS_A_CROP, int(cells > 0)), _MOST_OWN) for cells in (said, controls))
    return FitPlan(_STEPS, own, of_controls, 6e-4, seed, device)


@dataclass(frozen=True)
class Tuned:
    """What a fit led to.

    Attributes
    ----------
    look : Look
        On the CPU, in evaluation mode.
    curves : tuple of Curve
    """

    look: Look
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
        first = int(rng.integers(len(self.groups)))
        chosen = [self.groups[(first + i) % len(self.groups)] for i in range(count)]
        return np.array([group[rng.integers(len(group))] for group in chosen], np.int64)


def tune(
    start: Look,
    lab: Sequence[SlideCrops],
    alike: Sequence[FieldCrops],
    aside: Sequence[FieldCrops],
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
    alike, aside : sequence of FieldCrops
        Simulated crops like the laboratory's that are learned from, and that watch the fit.
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
    torch.manual_seed(plan.seed)
    network = copy.deepcopy(start).to(plan.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = copy.deepcopy(network).eval()
    optimiser = torch.optim.AdamW(network.parameters(), lr=plan.learning_rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, plan.learning_rate, total_steps=plan.steps, pct_start=0.2)
    state = FitState({"network": network, "average": average}, optimiser, schedule, {"steps": 0})
    if keep.exists():
        state.load(keep)
    pools = [(pool, n) for pool, n in zip(_lab_pools(start, lab), (plan.own, plan.controls), strict=True) if n]
    pools.append((_field_pool(alike), _BATCH - sum(n for _, n in pools)))
    watched = _field_pool(aside)
    for step in range(int(state.values["steps"]), plan.steps):
        if stop():
            state.save(keep)
            return None
        learned = _step(network, optimiser, _batch(pools, plan.seed, step), plan, step)
        schedule.step()
        _follow(average, network, step)
        state.values["steps"] = step + 1
        if (step + 1) % _SAVE_EVERY == 0 or step + 1 == plan.steps:
            state.values[f"learned/{step + 1}"] = learned
            state.values[f"aside/{step + 1}"] = _call_loss(average, watched, plan.device)
            state.save(keep)
        on_step(step + 1, _curves(state))
    return Tuned(average.cpu(), _curves(state))


def _curves(state: FitState) -> tuple[Curve, ...]:
    steps = sorted(int(key.partition("/")[2]) for key in state.values if key.startswith("learned/"))
    return tuple(Curve(n, state.values[f"learned/{n}"], state.values[f"aside/{n}"]) for n in steps)


def _step(
    network: Look,
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
    got_masks, got_calls = network(crops, spreads)
    loss = look_loss(got_masks, got_calls, masks, calls)
    optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(network.parameters(), _CLIP)
    optimiser.step()
    return float(loss.detach())


def _follow(average: Look, network: Look, step: int) -> None:
    keep = min(_AVERAGED, (step + 1) / (step + 11))
    with torch.no_grad():
        for mine, theirs in zip(average.parameters(), network.parameters(), strict=True):
            mine.lerp_(theirs, 1 - keep)


def _batch(
    pools: Sequence[tuple[_Pool, int]], seed: int, step: int
) -> tuple[FloatArray, FloatArray, npt.NDArray[np.int64], FloatArray]:
    """Crops, masks, calls and spreads of one step: so many of each pool, as seed and step alone say."""
    rng = np.random.default_rng([seed, step])
    parts = [_example(pool, int(i), rng) for pool, n in pools for i in pool.draw(n, rng)]
    crops, masks, calls, spreads = zip(*parts, strict=True)
    return np.stack(crops), np.stack(masks), np.array(calls, np.int64), np.array(spreads, np.float32)


def _example(pool: _Pool, index: int, rng: np.random.Generator) -> tuple[FloatArray, FloatArray, int, float]:
    return *look_example(pool, index, rng), float(pool.spreads[index])


def _lab_pools(start: Look, slides: Sequence[SlideCrops]) -> tuple[_Pool, _Pool]:
    """Gather what somebody spoke of, and what lies on control slides; untold masks are those that the start draws."""
    crops = np.concatenate([s.crops for s in slides])
    masks = np.concatenate([s.masks for s in slides])
    told = np.concatenate([s.told for s in slides])
    spreads = np.concatenate([s.spreads for s in slides])
    masks = np.where(told[:, :, None, None], masks, masks_of(start, crops, spreads))
    calls, said = np.concatenate([s.calls for s in slides]), np.concatenate([s.said for s in slides])
    first, second = (_pool(crops[part], masks[part], calls[part], spreads[part]) for part in (said, ~said))
    return first, second


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


def masks_of(look: Look, crops: npt.NDArray[np.float16], spreads: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """Masks (N, 2, 152, 152) that a look draws of prepared crops (N, 3, 152, 152)."""
    masks = np.zeros((len(crops), 2, *crops.shape[2:]), bool)
    with torch.inference_mode():
        for i in range(0, len(crops), _EVAL_BATCH):
            part = torch.from_numpy(np.ascontiguousarray(crops[i : i + _EVAL_BATCH][LOOK_INNER], np.float32))
            seen, _ = look(part, torch.from_numpy(spreads[i : i + _EVAL_BATCH]))
            masks[i : i + _EVAL_BATCH][LOOK_INNER] = seen.numpy() > 0
    return masks


def _call_loss(look: Look, pool: _Pool, device: str) -> float:
    """Mean cross-entropy of the calls of the first crops."""
    count = min(_WATCHED, len(pool.crops))
    total = 0.0
    with torch.inference_mode():
        for i in range(0, count, _EVAL_BATCH):
            part = np.s_[i : min(i + _EVAL_BATCH, count)]
            crops = torch.from_numpy(np.ascontiguousarray(pool.crops[part][LOOK_INNER], np.float32)).to(device)
            _, calls = look(crops, torch.from_numpy(pool.spreads[part]).to(device))
            truth = torch.from_numpy(pool.calls[part]).to(device)
            total += float(functional.cross_entropy(calls, truth, reduction="sum"))
    return total / max(count, 1)
