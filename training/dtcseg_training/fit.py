"""Fits the two networks to lessons. Deterministic by seed on one machine."""

from __future__ import annotations

import copy
import logging
import time
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Protocol, TypeVar, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from dtcseg.network.model import LOOK_PX, Look, Screen
from dtcseg_training.augment import Augment
from dtcseg_training.fields import LOOK_MARGIN_PX
from dtcseg_training.state import FitState
from dtcseg_training.targets import CK_SIGMA_PX, NUCLEUS_SIGMA_PX, centre_map

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import numpy.typing as npt
    from torch.utils.tensorboard import SummaryWriter

    from dtcseg_training.fields import Lesson

_log = logging.getLogger(__name__)
_Network = TypeVar("_Network", bound=nn.Module)

_CANVAS_PX = 272
"""An example of the screen: a field of 264 px with empty glass around it, as the border of an image is seen."""
_CUT_PX = 6
"""Where a field does not fit the canvas nothing is asked this near to the cut: what lies there is not told."""
_UNTOLD = -1.0
_EMA = 0.998
_MAP_WEIGHTS = (1.0, 1.0, 0.5)
_MISS_POWERS = (2.0, 1.0, 1.0)
"""How little a false centre of low probability costs (the focal exponent), a value a map. Nuclei follow the paper; with
its 2 a CK+ probability of 0.1 costs next to nothing, and every thirtieth ordinary cell becomes a candidate."""

_FAINT, _FAINT_GAIN = 0.15, (0.35, 0.9)
"""Share of the screen's examples whose nuclei are fainter than a profile would show them, and how much: on pale or
shaded slides the profile finds no nuclear stain to scale by."""
_ZOOMED, _ZOOM = 0.6, 0.26
"""Share of the screen's examples that are seen larger or smaller, and by how much (log scale, half range): nuclei of
sections, of shrunken or of spread cells, and a pixel size that is wrong. The look must know sizes: its crops stay."""


@dataclass(frozen=True)
class FitSettings:
    """How long and how fast to learn.

    Attributes
    ----------
    epochs, batch : int
    learning_rate : float
        At the top of the one-cycle schedule.
    seed : int
    device : str
    patience : int
        Epochs without a lower loss on the held-out lessons after which the fit ends early.
    """

    epochs: int
    batch: int
    learning_rate: float = 2e-3
    seed: int = 1
    device: str = "cpu"
    patience: int = 5


class LookCrops(Protocol):
    """Crops to learn from, as in `Lesson`."""

    @property
    def crops(self) -> npt.NDArray[np.float16]:
        """(M, 3, 152, 152)."""

    @property
    def masks(self) -> npt.NDArray[np.bool_]:
        """(M, 2, 152, 152)."""

    @property
    def calls(self) -> npt.NDArray[np.int64]:
        """(M,)."""


class _Average:
    """Exponential moving average of a network's weights (the batch statistics are taken as they are)."""

    def __init__(self, network: nn.Module) -> None:
        self.network = copy.deepcopy(network).eval()
        self.steps = 0

    def follow(self, network: nn.Module) -> None:
        self.steps += 1
        keep = min(_EMA, self.steps / (self.steps + 10))
        with torch.no_grad():
            for mine, theirs in zip(self.network.parameters(), network.parameters(), strict=True):
                mine.lerp_(theirs, 1 - keep)
            for kept, new in zip(self.network.buffers(), network.buffers(), strict=True):
                if kept.dtype.is_floating_point:
                    kept.lerp_(new, 1 - keep)
                else:
                    kept.copy_(new)


def centre_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Penalty-reduced focal loss of centre maps (Zhou et al. 2019, arXiv 1904.07850, equation 1), a value a map.

    Shape
    -----
    logits, target : (N, M, H, W); target in [0, 1], exactly 1 at centres, below 0 where nothing is asked
    returns : (M,)
    """
    probability = torch.sigmoid(logits).clamp(1e-4, 1 - 1e-4)
    centre = (target > 0.999).float()
    hit = centre * (1 - probability) ** 2 * torch.log(probability)
    power = torch.tensor(_MISS_POWERS, device=logits.device)[: logits.shape[1], None, None]
    asked = (target >= 0).float()
    miss = asked * (1 - centre) * (1 - target) ** 4 * probability**power * torch.log(1 - probability)
    return -(hit + miss).sum((0, 2, 3)) / (centre.sum((0, 2, 3)) + 8.0)


def look_loss(masks: Tensor, calls: Tensor, true_masks: Tensor, true_calls: Tensor) -> Tensor:
    """Cross-entropy of the call plus cross-entropy and Dice of the masks.

    Shape
    -----
    masks, true_masks : (N, 2, 128, 128); calls : (N, 4); true_calls : (N,) int64, or (N, 4) probabilities
    """
    call = functional.cross_entropy(calls, true_calls, label_smoothing=0.02)
    pixel = functional.binary_cross_entropy_with_logits(masks, true_masks)
    soft = masks.sigmoid()
    common = (soft * true_masks).sum((2, 3))
    dice = 1 - (2 * common + 20) / (soft.sum((2, 3)) + true_masks.sum((2, 3)) + 20)
    return call + pixel + 0.5 * dice.mean()


def fit_screen(
    lessons: Sequence[Lesson],
    held_out: Sequence[Lesson],
    settings: FitSettings,
    start: Screen | None = None,
    *,
    keep: Path | None = None,
) -> Screen:
    """Fit the screening network; returns the averaged weights of the epoch that was best on the held-out lessons.

    Parameters
    ----------
    lessons, held_out : sequence of Lesson
    settings : FitSettings
    start : Screen, optional
        Where to begin; from random weights when not given.
    keep : Path, optional
        Where the state is written after every epoch, and read from to go on after a stop: the weights are then the
        same as without the stop. Beside it, in `<keep>.log`, are the curves for TensorBoard.
    """
    torch.manual_seed(settings.seed)
    network = start or Screen()
    if start is None and network.head.bias is not None:
        nn.init.constant_(network.head.bias, -4.0)  # next to no pixel is a centre
    weights = torch.tensor(_MAP_WEIGHTS, device=settings.device)

    def loss(net: Screen, chosen: Sequence[Lesson], rng: np.random.Generator | None) -> Tensor:
        pairs = [screen_example(lesson, rng) for lesson in chosen]
        planes, targets = (np.stack(part) for part in zip(*pairs, strict=True))
        return (centre_loss(net(_tensor(planes, settings.device)), _tensor(targets, settings.device)) * weights).sum()

    return _fit(network, lessons, held_out, settings, loss, keep)


def fit_look(
    lessons: Sequence[Lesson],
    held_out: Sequence[Lesson],
    settings: FitSettings,
    start: Look | None = None,
    *,
    keep: Path | None = None,
) -> Look:
    """Fit the network of the second look on every crop of the lessons; parameters as `fit_screen`."""
    torch.manual_seed(settings.seed)

    def loss(net: Look, chosen: Sequence[tuple[Lesson, int]], rng: np.random.Generator | None) -> Tensor:
        triples = [look_example(lesson, i, rng) for lesson, i in chosen]
        crops, masks = (np.stack([t[k] for t in triples]) for k in (0, 1))
        calls = torch.tensor([t[2] for t in triples], device=settings.device)
        spreads = torch.tensor([lesson.spreads[i] for lesson, i in chosen], device=settings.device)
        got_masks, got_calls = net(_tensor(crops, settings.device), spreads)
        return look_loss(got_masks, got_calls, _tensor(masks, settings.device), calls)

    def items(of: Sequence[Lesson]) -> list[tuple[Lesson, int]]:
        return [(lesson, i) for lesson in of for i in range(len(lesson.calls))]

    return _fit(start or Look(), items(lessons), items(held_out), settings, loss, keep)


_Item = TypeVar("_Item")


def _fit(
    network: _Network,
    items: Sequence[_Item],
    held_out: Sequence[_Item],
    settings: FitSettings,
    loss: Callable[[_Network, Sequence[_Item], np.random.Generator | None], Tensor],
    keep: Path | None,
) -> _Network:
    network = network.to(settings.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = _Average(network)
    optimiser = torch.optim.AdamW(network.parameters(), lr=settings.learning_rate, weight_decay=1e-3)
    steps = settings.epochs * (len(items) // settings.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, settings.learning_rate, total_steps=max(steps, 1), pct_start=0.15
    )
    best = copy.deepcopy(average.network)
    state = FitState(
        {"network": network, "average": average.network, "best": best},
        optimiser,
        schedule,
        {"epochs": 0, "steps": 0, "best_loss": float("inf"), "best_epoch": 0},
    )
    if keep is not None and keep.exists():
        state.load(keep)
        average.steps = int(state.values["steps"])
    start = time.monotonic()
    log = _curves(keep.with_suffix(".log")) if keep is not None else None
    for epoch in range(int(state.values["epochs"]), settings.epochs):
        if epoch - state.values["best_epoch"] > settings.patience:
            _log.info("%s ends early: best after epoch %d", type(network).__name__, state.values["best_epoch"])
            break
        rng = np.random.default_rng([settings.seed, epoch])  # of the epoch alone, so that a run can go on at any epoch
        torch.manual_seed(settings.seed * 100_003 + epoch)
        network.train()
        order = rng.permutation(len(items))
        total = 0.0
        for first in range(0, len(order) - settings.batch + 1, settings.batch):
            value = loss(network, [items[i] for i in order[first : first + settings.batch]], rng)
            optimiser.zero_grad(set_to_none=True)
            value.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(network.parameters(), 5.0)
            optimiser.step()
            schedule.step()
            average.follow(network)
            total += float(value.detach())
        learned = total / max(len(order) // settings.batch, 1)
        with torch.inference_mode():
            parts = [held_out[i : i + settings.batch] for i in range(0, len(held_out), settings.batch)]
            losses = [float(loss(cast("_Network", average.network), part, None)) for part in parts]
        judged = float(np.mean(losses)) if losses else learned
        if judged < state.values["best_loss"]:
            best.load_state_dict(average.network.state_dict())
            state.values |= {"best_loss": judged, "best_epoch": epoch + 1}
        state.values |= {"epochs": epoch + 1, "steps": average.steps}
        if keep is not None:
            state.save(keep)
        if log is not None:
            log.add_scalar("loss/learned", learned, epoch + 1)
            log.add_scalar("loss/held_out", judged, epoch + 1)
            log.add_scalar("learning_rate", schedule.get_last_lr()[0], epoch + 1)
            log.flush()
        _log.info(
            "%s epoch %d of %d: loss %.4f, held out %.4f, %.0f s",
            type(network).__name__,
            epoch + 1,
            settings.epochs,
            learned,
            judged,
            time.monotonic() - start,
        )
    return cast("_Network", best.cpu())


def screen_example(
    lesson: Lesson, rng: np.random.Generator | None
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Planes and targets (3, 272, 272) of a lesson, zoomed and augmented when `rng` is given; see `centre_loss`."""
    planes = lesson.planes.astype(np.float32)
    zoom = 1.0
    if rng is not None and rng.random() < _ZOOMED:
        zoom = float(np.exp(rng.uniform(-_ZOOM, _ZOOM)))
        planes = _resized(planes, zoom)
    if rng is not None and rng.random() < _FAINT:
        planes[0] *= np.float32(rng.uniform(*_FAINT_GAIN))
    shape = (planes.shape[1], planes.shape[2])
    kinds = ((lesson.nuclei, NUCLEUS_SIGMA_PX), (lesson.tumour, CK_SIGMA_PX), (lesson.other, CK_SIGMA_PX))
    target = np.stack([centre_map(shape, ((zoom * (c + 0.5)) - 0.5).tolist(), sigma) for c, sigma in kinds])
    spare = [side - _CANVAS_PX for side in shape]  # more than the canvas holds, or (below 0) glass to spare
    top, left = (_offset(s, rng) for s in spare)
    planes, target = _placed(planes, top, left), _placed(target, top, left)
    for axis, start, over in ((1, top, spare[0]), (2, left, spare[1])):
        for cut, edge in ((start > 0, np.s_[:_CUT_PX]), (over > 0 and start < over, np.s_[-_CUT_PX:])):
            if cut:
                strip = np.moveaxis(target, axis, 0)[edge]
                strip[strip < 1] = _UNTOLD
    if rng is not None:
        return _augment()(planes, target, rng)
    return planes, target


def _offset(spare: int, rng: np.random.Generator | None) -> int:
    """Where the canvas begins in a field, in pixels; below 0 where glass comes before the field."""
    low, high = min(spare, 0), max(spare, 0)
    return int(rng.integers(low, high + 1)) if rng is not None else spare // 2


def _placed(values: npt.NDArray[np.float32], top: int, left: int) -> npt.NDArray[np.float32]:
    """Lay (3, H, W) values on a canvas that begins at (top, left) of them."""
    canvas = np.zeros((len(values), _CANVAS_PX, _CANVAS_PX), np.float32)
    part = values[:, max(top, 0) : top + _CANVAS_PX, max(left, 0) : left + _CANVAS_PX]
    y, x = max(-top, 0), max(-left, 0)
    canvas[:, y : y + part.shape[1], x : x + part.shape[2]] = part
    return canvas


def _resized(planes: npt.NDArray[np.float32], zoom: float) -> npt.NDArray[np.float32]:
    """Planes (3, H, W) seen larger or smaller."""
    size = [round(side * zoom) for side in planes.shape[1:]]
    tensor = functional.interpolate(torch.from_numpy(planes)[None], size=size, mode="bilinear", antialias=True)
    return cast("npt.NDArray[np.float32]", tensor[0].numpy())


def look_example(
    lesson: LookCrops, index: int, rng: np.random.Generator | None
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], int]:
    """Crop, masks and call; with `rng` the centre is off by as much as the screen is."""
    move = np.zeros(2, int)
    if rng is not None:
        move = np.clip(np.round(rng.normal(0, 3, 2)), -LOOK_MARGIN_PX, LOOK_MARGIN_PX).astype(int)
    top, left = LOOK_MARGIN_PX + move[0], LOOK_MARGIN_PX + move[1]
    window = np.s_[:, top : top + LOOK_PX, left : left + LOOK_PX]
    crop = lesson.crops[index][window].astype(np.float32)
    masks = lesson.masks[index][window].astype(np.float32)
    if rng is not None:
        crop, masks = _augment()(crop, masks, rng)
    return np.ascontiguousarray(crop), np.ascontiguousarray(masks), int(lesson.calls[index])


def _curves(folder: Path) -> SummaryWriter:
    from torch.utils.tensorboard import SummaryWriter  # slow to import, and noisy where TensorFlow is installed

    return SummaryWriter(str(folder))


@cache
def _augment() -> Augment:
    return Augment()


def _tensor(array: npt.NDArray[np.float32], device: str) -> Tensor:
    tensor = torch.from_numpy(np.ascontiguousarray(array, np.float32))
    return tensor.to(device, memory_format=torch.channels_last) if array.ndim == 4 else tensor.to(device)
