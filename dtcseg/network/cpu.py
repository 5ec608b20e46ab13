"""The networks as a CPU runs them best: fewer passes over memory, the same arithmetic, and so the same bits.

A core spends a third of an eager network's time on passes that compute next to nothing. PyTorch's convolutions on CPUs
are oneDNN's, which can apply the ReLU while a result is still in a register; eager PyTorch does not ask for it. Coarse
features can be added to the finer ones where they lie, without a raised copy; and the head's maps can be spread two
pixels at a time.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from dtcseg.network.model import Up


class FusedConvolution(nn.Module):
    """A convolution and what may follow it, in one oneDNN call; for inference in channels-last float32.

    Parameters
    ----------
    convolution : nn.Conv2d
        With a bias (batch normalisation folded in).
    relu : bool
    """

    def __init__(self, convolution: nn.Conv2d, *, relu: bool) -> None:
        super().__init__()
        self._weight = convolution.weight.detach().contiguous(memory_format=torch.channels_last)
        self._bias = cast("Tensor", convolution.bias).detach()
        self._geometry = (list(cast("tuple[int, int]", convolution.padding)), list(convolution.stride), [1, 1])
        self._after = "relu" if relu else "none"

    def forward(self, features: Tensor) -> Tensor:
        """Features (N, C, H, W) to features."""
        fused = torch.ops.mkldnn._convolution_pointwise
        return cast("Tensor", fused(features, self._weight, self._bias, *self._geometry, 1, self._after, [], ""))


class FusedUp(nn.Module):
    """`Up` in place: overwrites the finer features, which nobody needs afterwards."""

    def __init__(self, up: Up) -> None:
        super().__init__()
        self.project, self.mix = up.project, up.mix

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """Add coarse features (N, C, H, W) to finer ones (N, c, 2 H, 2 W)."""
        add_raised(self.project(coarse), fine)
        return cast("Tensor", self.mix(fine))


def add_raised(coarse: Tensor, fine: Tensor) -> None:
    """Add coarse features (N, C, H, W) to finer ones (N, C, 2 H, 2 W) in place, nearest pixel; both channels last.

    Coarse rows are spread along themselves first, so that whole rows are added: short runs of channels are slow.
    """
    n, channels, height, width = coarse.shape
    lines = coarse.permute(0, 2, 3, 1)[:, :, :, None].expand(n, height, width, 2, channels)
    rows = fine.permute(0, 2, 3, 1).view(n, height, 2, 2 * width * channels)
    rows.add_(lines.reshape(n, height, 1, 2 * width * channels))


class PairShuffle(nn.Module):
    """Pixel shuffling by 2 of channels-last features: the two pixels of a line that lie side by side move as one."""

    def forward(self, features: Tensor) -> Tensor:
        """Features (N, 4 C, H, W) to (N, C, 2 H, 2 W) float32."""
        n, channels, height, width = features.shape
        pairs = features.permute(0, 2, 3, 1).contiguous().view(torch.float64)
        pairs = pairs.view(n, height, width, channels // 4, 2).permute(0, 3, 1, 4, 2).contiguous()
        return pairs.view(torch.float32).view(n, channels // 4, 2 * height, 2 * width)


def can_fuse() -> bool:
    """Whether this PyTorch has oneDNN's fused convolutions (its usual builds for x86 do)."""
    return torch._C._has_mkldnn and hasattr(torch.ops.mkldnn, "_convolution_pointwise")


def fuse_passes(network: nn.Module) -> None:
    """Make a network that lies on the CPU ready for inference in fewer passes.

    Parameters
    ----------
    network : nn.Module
        After `model.fuse`; it can no longer be trained.
    """
    for name, child in list(network.named_children()):
        if isinstance(child, nn.Conv2d):
            setattr(network, name, FusedConvolution(child, relu=False))
        elif isinstance(child, nn.Sequential) and len(child) == 2 and isinstance(child[1], nn.ReLU):
            setattr(network, name, FusedConvolution(cast("nn.Conv2d", child[0]), relu=True))
        elif isinstance(child, nn.PixelShuffle):
            setattr(network, name, PairShuffle())
        else:
            fuse_passes(child)
            if isinstance(child, Up):
                setattr(network, name, FusedUp(child))
