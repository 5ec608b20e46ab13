"""Runs both networks on arrays: device, memory format, precision, batches that fit."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt
import torch

from dtcseg.memory import keep_large_blocks
from dtcseg.network.cpu import can_fuse, fuse_passes
from dtcseg.network.device import choose_device
from dtcseg.network.integers import integer_screen
from dtcseg.network.laboratory import candidate_threshold, laboratories_of, shares
from dtcseg.network.model import LOOK_CLASSES, LOOK_MASKS, LOOK_PX, PLANES, fuse
from dtcseg.network.sides import look_from_all_sides, worth_all_sides
from dtcseg.network.weights import WeightsInfo, load, load_looks

if TYPE_CHECKING:
    from collections.abc import Callable

    from dtcseg.network.laboratory import Signature
    from dtcseg.network.model import Look

FloatArray = npt.NDArray[np.float32]

_TUMOUR = LOOK_CLASSES.index("tumour")
_LOOK_BATCH = 16
"""Crops are always looked at in batches of this size (the last one filled up), so that arithmetic never differs."""


class Engine:
    """Both networks, and the looks of laboratories, on one device. Safe to call from several threads.

    On a CPU every call computes on the calling thread alone: the caller runs one tile a core, which is faster than
    splitting each convolution, and the order of additions then never depends on the number of cores. On a GPU calls
    take turns, and the threads that wait for theirs read, unmix and lay out the next tiles meanwhile.

    Parameters
    ----------
    info : WeightsInfo
    device : str
        As `choose_device`.
    """

    def __init__(self, info: WeightsInfo, device: str = "auto") -> None:
        self.info = info
        self._laboratories = laboratories_of(info.card.laboratories)
        told = [(info.card.temperature, 0.0), *((one.temperature, one.bar) for one in self._laboratories)]
        screen, common = load(info)
        looks = [common, *load_looks(info)]
        self.device = choose_device(device, screen)
        self._integers = integer_screen(screen) if self.device.type == "cpu" else None
        for network in (screen, *looks):
            fuse(network)
        for network in (screen, *looks):
            network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        if self.device.type == "cpu":
            torch.set_num_threads(1)
            keep_large_blocks()
            if can_fuse():
                for network in (screen, *looks):
                    fuse_passes(network)
        self._screen = screen
        self._looks = [(look, *values) for look, values in zip(looks, told, strict=True)]
        self._turn: contextlib.AbstractContextManager[Any] = (
            contextlib.nullcontext() if self.device.type == "cpu" else threading.Lock()
        )

    @property
    def glances(self) -> bool:
        """Whether `glance` is to be had: on a CPU that counts in integers as in float32."""
        return self._integers is not None

    def candidate_threshold(self, signature: Signature) -> float:
        """Probability from which on the screen makes a candidate on a slide that is stained so (its profile's)."""
        return candidate_threshold(self._laboratories, self.info.card.candidate_threshold, signature)

    @property
    def precision(self) -> str:
        """Arithmetic of the screening network, for the record."""
        if self.device.type == "cuda":
            return "float16"
        return "float32 for candidates, int8 for nuclei" if self.glances else "float32"

    def screen(self, planes: FloatArray) -> torch.Tensor:
        """Centre logits.

        Parameters
        ----------
        planes : (N, 3, H, W) float32

        Returns
        -------
        (N, 3, H, W) float32 tensor on the CPU
        """

        def run(part: torch.Tensor) -> torch.Tensor:
            if self.device.type == "cpu":
                return cast("torch.Tensor", self._screen(part))
            with torch.autocast("cuda", torch.float16, enabled=self.device.type == "cuda"):
                return cast("torch.Tensor", self._screen(part)).float().cpu()

        if self.device.type == "cpu":  # a core gains nothing from batches, and other kernels round differently
            parts = [out for i in range(len(planes)) for out in self._in_parts(planes[i : i + 1], run)]
            return parts[0] if len(parts) == 1 else torch.cat(parts)
        return torch.cat(self._in_parts(planes, run))

    def glance(self, planes: FloatArray) -> tuple[torch.Tensor, torch.Tensor]:
        """See in integers what `screen` sees: good to count nuclei and to know where candidates may be.

        Parameters
        ----------
        planes : (N, 3, H, W) float32

        Returns
        -------
        nuclei : (N, H, W) float32 tensor
            Logits.
        greatest : (N, 3, H / 8, W / 8) float32 tensor
            Greatest logit of each map in each square of 8 x 8 pixels.

        Raises
        ------
        RuntimeError
            There is no such network here (`glances`).
        """
        if self._integers is None:
            raise RuntimeError("this engine does not count in integers")
        with torch.inference_mode():
            seen = [self._integers(torch.from_numpy(planes[i : i + 1])) for i in range(len(planes))]
        nuclei, greatest = (torch.cat(parts) for parts in zip(*seen, strict=True))
        return nuclei, greatest

    def look(self, crops: FloatArray, ck_spread: float, signature: Signature = ()) -> tuple[FloatArray, FloatArray]:
        """Masks and call probabilities of candidates, always in float32; likely tumour cells from all sides.

        Parameters
        ----------
        crops : (N, 3, 128, 128) float32
        ck_spread : float
            Of the slide's profile.
        signature : Signature
            Of the slide's profile: as far as it is like those of a laboratory's slides, its look is asked.

        Returns
        -------
        masks : (N, 2, 128, 128) float32 in [0, 1]
        calls : (N, 4) float32, calibrated, summing to 1
        """
        masks, calls = [], []
        spread = torch.full((_LOOK_BATCH,), ck_spread, device=self.device)
        asked = [
            (share, *look)
            for share, look in zip(shares(self._laboratories, signature), self._looks, strict=True)
            if share > 0
        ]
        for start in range(0, len(crops), _LOOK_BATCH):
            part = crops[start : start + _LOOK_BATCH]
            full = np.zeros((_LOOK_BATCH, PLANES, LOOK_PX, LOOK_PX), np.float32)
            full[: len(part)] = part
            host = self._laid_out(full)
            with torch.inference_mode(), self._turn:
                on_device = self._to_device(host)
                probability = torch.zeros((len(part), len(LOOK_MASKS), LOOK_PX, LOOK_PX), device=self.device)
                logits = torch.zeros((len(part), len(LOOK_CLASSES)), device=self.device)
                for share, look, temperature, bar in asked:
                    seen, said = _from_where_it_is_worth(look, on_device, spread, len(part))
                    probability += share * seen
                    logits += share * (said / temperature)
                    logits[:, _TUMOUR] -= share * bar
                masks.append(probability.cpu().numpy())
                calls.append(logits.softmax(1).cpu().numpy())
        if not masks:
            return np.zeros((0, len(LOOK_MASKS), LOOK_PX, LOOK_PX), np.float32), np.zeros((0, 4), np.float32)
        return np.concatenate(masks), np.concatenate(calls)

    def _laid_out(self, array: FloatArray) -> torch.Tensor:
        """Lay planes out as the networks want them; for CUDA in pinned memory, from which copies do not hold it up."""
        tensor = torch.from_numpy(array).contiguous(memory_format=torch.channels_last)
        return tensor.pin_memory() if self.device.type == "cuda" else tensor

    def _to_device(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.to(self.device, non_blocking=True)

    def _in_parts(self, planes: FloatArray, run: Callable[[torch.Tensor], torch.Tensor]) -> list[torch.Tensor]:
        """Run a batch; where memory does not suffice, run its halves."""
        host = self._laid_out(planes)  # not while others wait for their turn
        try:
            with torch.inference_mode(), self._turn:
                return [run(self._to_device(host))]
        except RuntimeError as error:
            if len(planes) == 1 or "memory" not in str(error).lower():
                raise
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        half = len(planes) // 2
        return [*self._in_parts(planes[:half], run), *self._in_parts(planes[half:], run)]


def _from_where_it_is_worth(
    look: Look, crops: torch.Tensor, spread: torch.Tensor, count: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mask probabilities and call logits of the first `count` crops of a batch; likely tumour cells from all sides."""
    mask_logits, calls = look(crops, spread)
    probability, calls = mask_logits.sigmoid()[:count], calls[:count]
    for i in torch.nonzero(worth_all_sides(calls))[:, 0].tolist():
        probability[i], calls[i] = look_from_all_sides(look, crops[i], spread[i])
    return probability, calls
