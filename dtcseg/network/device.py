"""Which processor the network runs on."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

import torch

from dtcseg.errors import UsageError

if TYPE_CHECKING:
    from dtcseg.network.model import Screen

_log = logging.getLogger(__name__)
_MPS_TOLERANCE = 1e-2


def choose_device(wanted: str, screen: Screen) -> torch.device:
    """Turn `--device` into a device.

    Parameters
    ----------
    wanted : str
        "auto" takes CUDA if there is one, else MPS if it gives the CPU's answer and is faster, else the CPU.
        "cpu", "cuda", "cuda:N" and "mps" are taken at their word.
    screen : Screen
        The network, for the check of MPS.

    Raises
    ------
    UsageError
        The device named is not there, or the name is no device.
    """
    if wanted == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        if torch.backends.mps.is_available() and _mps_agrees(screen):
            return torch.device("mps")
        return torch.device("cpu")
    try:
        device = torch.device(wanted)
    except RuntimeError as error:
        raise UsageError(f"--device {wanted!r} is not one of auto, cpu, cuda, cuda:N, mps") from error
    if device.type == "cpu":
        return torch.device("cpu")
    if device.type == "cuda":
        if torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count():
            return device
        raise UsageError(f"--device {wanted}: there is no such CUDA device here; use --device auto or cpu")
    if device.type == "mps":
        if torch.backends.mps.is_available():
            return device
        raise UsageError("--device mps: there is no Apple GPU here; use --device auto or cpu")
    raise UsageError(f"--device {wanted!r} is not one of auto, cpu, cuda, cuda:N, mps")


def _mps_agrees(screen: Screen) -> bool:
    """Whether MPS gives the CPU's answer on a small input, and sooner (peers report wrong results and slow runs)."""
    planes = torch.rand((2, 3, 512, 512), generator=torch.Generator().manual_seed(0))
    answers, seconds = [], []
    try:
        for device in ("cpu", "mps"):
            network = screen.to(device)
            with torch.inference_mode():
                network(planes.to(device)).cpu()
                start = time.perf_counter()
                answers.append(network(planes.to(device)).cpu())
                seconds.append(time.perf_counter() - start)
    except RuntimeError as error:
        _log.warning("the Apple GPU failed a check and is not used: %s", error)
        return False
    finally:
        screen.to("cpu")
    difference = float((answers[0] - answers[1]).abs().max())
    if difference > _MPS_TOLERANCE or seconds[1] > seconds[0]:
        _log.warning(
            "the Apple GPU is not used: differs by %.1e, %.2f s against %.2f s", difference, seconds[1], seconds[0]
        )
        return False
    return True
