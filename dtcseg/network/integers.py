"""The first look in integers of 8 bits: two to four times as fast on x86, and good enough to count nuclei.

A convolution of small integers takes a quarter (with VNNI) to a half of what float32 takes. What is lost is the last
bits of each feature: single nuclei at the threshold come and go, as many come as go. Where candidates may be is seen as
well, but candidates themselves are left to float32 (`dtcseg.screen`), so what a reader is shown never depends on it.

No picture is needed to set the steps: batch normalisation says how far each feature goes and what its mean is
(data-free quantisation with correction of the bias: Nagel et al. 2019, ICCV, sections 4.2 and 4.3).
"""

from __future__ import annotations

import logging
import math
import platform
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from dtcseg.network.cpu import PairShuffle, add_raised
from dtcseg.network.model import PLANES, SCREEN_MAPS, SCREEN_STRIDE_PX

if TYPE_CHECKING:
    from torch.nn import Sequential

    from dtcseg.network.model import Screen, Up

_log = logging.getLogger(__name__)

_WEIGHT_STEPS = 63
"""Weights have 7 bits: two products of 8 bits by 7 fit into the 16 bits in which processors without VNNI add pairs, so
these count alike."""
_CLIPS = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65)
"""Shares of the greatest weight of an output at which the others may be cut off, whichever errs least."""
_REACH_SDS = 11.0
"""A feature goes so many standard deviations above its mean before it is cut off. On 160 held-out fields, simulated and
real, 8 to 11 count alike to a thousandth; the most leaves the logits of candidates nearest to float32."""
_PLANE_STEP, _PLANE_ZERO = 1 / 85, 42
"""Planes from -0.5 to 2.5: a nucleus of greater density is black."""
_SUM_FACTOR, _SUM_SHIFT, _SUM_ZERO = 43, 6, 85
"""Finer features and raised coarse ones add up, in steps of 64/43 of the finer ones', from -127 to 253 of these."""
_INT16_ROOM = 1 << 14
_MAPS_A_CENTRE = 4
"""Maps of the head for each one of `SCREEN_MAPS`: two by two pixels."""
_TOLERANCE = 0.2
"""Largest mean difference from float32, in logits, at which a machine's integers are believed."""


@dataclass(frozen=True)
class _Scale:
    """How integers stand for features: value = step * (integer - zero); and the features' means, for the bias.

    `mean` is None where nothing is known of it.
    """

    step: float
    zero: int
    mean: Tensor | None


class IntegerScreen(nn.Module):
    """`Screen` in 8-bit integers, for inference on a CPU.

    Every output is the sum of the same whole numbers wherever a tile begins, so it does not depend on the tile.

    Parameters
    ----------
    screen : Screen
        Fitted, in evaluation mode, batch normalisation not yet folded in; it is left as it is.

    Shape
    -----
    input : (N, 3, H, W) float32, planes at 1 µm/px; H and W multiples of 8
    output : (N, H, W) float32, logits of nuclei; (N, 3, H / 8, W / 8) float32, the greatest logit of every map of
        `SCREEN_MAPS` in each square of 8 x 8 pixels
    """

    def __init__(self, screen: Screen) -> None:
        super().__init__()
        at_input = _Scale(_PLANE_STEP, _PLANE_ZERO, None)
        self._stem0, scale = _block(cast("Sequential", screen.stem[0]), at_input)
        self._stem1, at_2um = _block(cast("Sequential", screen.stem[1]), scale)
        self._down1_0, scale = _block(cast("Sequential", screen.down1[0]), at_2um)
        self._down1_1, at_4um = _block(cast("Sequential", screen.down1[1]), scale)
        first = cast("Sequential", screen.down2[0])
        self._down2_0, scale = _block(cast("Sequential", first[0]), at_4um)
        self._down2_1, scale = _block(cast("Sequential", first[1]), scale)
        self._down2_2, at_8um = _block(cast("Sequential", screen.down2[1]), scale)
        self._up1, scale = _up(screen.up1, at_8um, at_4um)
        self._up0, scale = _up(screen.up0, scale, at_2um)
        self._head = _Convolution(screen.head, scale, relu=False, out=None)
        self._spread = PairShuffle()

    def forward(self, planes: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of nuclei, and of everything more coarsely; see the class for shapes."""
        whole = (planes * (1 / _PLANE_STEP)).add_(_PLANE_ZERO + 0.5).clamp_(0, 255).to(torch.uint8)
        at_2um = self._stem1(self._stem0(whole.contiguous(memory_format=torch.channels_last)))
        at_4um = self._down1_1(self._down1_0(at_2um))
        at_8um = self._down2_2(self._down2_1(self._down2_0(at_4um)))
        maps = self._head(self._up0(self._up1(at_8um, at_4um), at_2um))
        first = _MAPS_A_CENTRE * SCREEN_MAPS.index("nucleus")
        return self._spread(maps[:, first : first + _MAPS_A_CENTRE])[:, 0], _greatest(maps)


def integer_screen(screen: Screen) -> IntegerScreen | None:
    """`IntegerScreen` where this processor and PyTorch have what it needs and it says what float32 says, else None.

    Parameters
    ----------
    screen : Screen
        As for `IntegerScreen`.
    """
    if platform.machine().lower() not in ("x86_64", "amd64") or not torch._C._has_mkldnn:
        return None  # elsewhere the same calls end in other libraries, which were not measured
    try:
        made = IntegerScreen(screen)
        planes = torch.rand((1, PLANES, 64, 64), generator=torch.Generator().manual_seed(0))
        with torch.inference_mode():
            nuclei, _ = made(planes)
            apart = float((nuclei - screen(planes)[:, SCREEN_MAPS.index("nucleus")]).abs().mean())
    except (AttributeError, RuntimeError, TypeError) as error:
        _log.info("nuclei are counted in float32: %s", str(error).splitlines()[0])
        return None
    if not apart <= _TOLERANCE:
        _log.warning("nuclei are counted in float32: this processor's integers differ by %.1e", apart)
        return None
    return made


class _Convolution(nn.Module):
    """One convolution of integers, to integers or, with `out` None, to float32.

    Parameters
    ----------
    convolution : nn.Conv2d
        With a bias (batch normalisation folded in).
    scale : _Scale
        Of its input.
    relu : bool
    out : float or None
        Step of its output, whose zero is 0.
    unit : float
        A float32 output is in this unit, and `shift` is added to it.
    """

    def __init__(
        self,
        convolution: nn.Conv2d,
        scale: _Scale,
        *,
        relu: bool,
        out: float | None,
        unit: float = 1.0,
        shift: float = 0.0,
    ) -> None:
        super().__init__()
        weights, steps = _whole_weights(convolution.weight.detach())
        bias = cast("Tensor", convolution.bias).detach()
        if scale.mean is not None:
            lost = weights.float() * steps[:, None, None, None] - convolution.weight.detach()
            bias = bias - (lost * scale.mean[None, :, None, None]).sum((1, 2, 3))
        self._geometry = (list(convolution.stride), list(cast("tuple[int, int]", convolution.padding)), [1, 1])
        self._steps, self._bias = steps / unit, bias / unit + shift
        self._zeros = torch.zeros(len(steps), dtype=torch.int64)
        self._in, self._out = (scale.step, scale.zero), (out or 1.0, 0)
        self._kind = torch.float32 if out is None else torch.uint8
        self._after = "relu" if relu else "none"
        self._weights = torch.ops.onednn.qconv_prepack(weights, self._steps, *self._in, *self._geometry, 1, None)

    def forward(self, features: Tensor) -> Tensor:
        """Features (N, C, H, W) uint8 to features."""
        convolve = torch.ops.onednn.qconv2d_pointwise
        made = convolve(
            features,
            *self._in,
            self._weights,
            self._steps,
            self._zeros,
            self._bias,
            *self._geometry,
            1,
            *self._out,
            self._kind,
            self._after,
            [],
            "",
        )
        return cast("Tensor", made)


class _Up(nn.Module):
    """`Up` on integers."""

    def __init__(self, project: _Convolution, mix: _Convolution) -> None:
        super().__init__()
        self._project, self._mix = project, mix

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """Add coarse features (N, C, H, W) to finer ones (N, c, 2 H, 2 W), all uint8."""
        projected = self._project(coarse).clamp_(-_INT16_ROOM, _INT16_ROOM).to(torch.int16)
        both = fine.to(torch.int16).mul_(_SUM_FACTOR)
        add_raised(projected, both)
        whole = both.bitwise_right_shift_(_SUM_SHIFT).clamp_(0, 255).to(torch.uint8)
        return cast("Tensor", self._mix(whole))


def _greatest(maps: Tensor) -> Tensor:
    """Take the greatest logits (N, 3, h / 4, w / 4) of each map in each square of the head's maps (N, 12, h, w)."""
    coarse = functional.max_pool2d(maps, SCREEN_STRIDE_PX // 2)
    n, _, height, width = coarse.shape
    return coarse.reshape(n, len(SCREEN_MAPS), _MAPS_A_CENTRE, height, width).amax(2)


def _block(block: Sequential, scale: _Scale) -> tuple[_Convolution, _Scale]:
    """Make a convolution with batch normalisation and ReLU, and say how its output is scaled."""
    normalisation = cast("nn.BatchNorm2d", block[1])
    made = _after_normalisation(normalisation)
    folded = fuse_conv_bn_eval(cast("nn.Conv2d", block[0]), normalisation)
    return _Convolution(folded, scale, relu=True, out=made.step), made


def _up(up: Up, coarse: _Scale, fine: _Scale) -> tuple[_Up, _Scale]:
    """Make an `Up`, and say how its output is scaled."""
    unit = fine.step / _SUM_FACTOR
    middle = _SUM_ZERO * (1 << _SUM_SHIFT) + (1 << _SUM_SHIFT) // 2
    project = _Convolution(up.project, coarse, relu=False, out=None, unit=unit, shift=middle)
    weights, bias = up.project.weight.detach()[:, :, 0, 0], cast("Tensor", up.project.bias).detach()
    mean = cast("Tensor", fine.mean) + weights @ cast("Tensor", coarse.mean) + bias
    sums = _Scale(unit * (1 << _SUM_SHIFT), _SUM_ZERO, mean)
    mix, made = _block(up.mix, sums)
    return _Up(project, mix), made


def _after_normalisation(normalisation: nn.BatchNorm2d) -> _Scale:
    """How far features go after their ReLU, and their means, if they are normal before it."""
    mean, sd = normalisation.bias.detach(), normalisation.weight.detach().abs().clamp(min=1e-6)
    ratio = mean / sd
    density = torch.exp(-0.5 * ratio**2) / math.sqrt(2 * math.pi)
    cut = mean * torch.special.ndtr(ratio) + sd * density
    return _Scale(float((mean + _REACH_SDS * sd).max()) / 255, 0, cut)


def _whole_weights(weights: Tensor) -> tuple[Tensor, Tensor]:
    """Weights (O, I, h, w) as integers of 7 bits, and the step of each output, at the cut that errs least."""
    greatest = weights.abs().amax((1, 2, 3), keepdim=True).clamp(min=1e-12)
    best, steps, least = torch.zeros_like(weights), greatest / _WEIGHT_STEPS, torch.full_like(greatest, math.inf)
    for clip in _CLIPS:
        step = greatest * clip / _WEIGHT_STEPS
        whole = (weights / step).round().clamp(-_WEIGHT_STEPS, _WEIGHT_STEPS)
        error = functional.mse_loss(whole * step, weights, reduction="none").sum((1, 2, 3), keepdim=True)
        better = error < least
        best, steps, least = (torch.where(better, *pair) for pair in ((whole, best), (step, steps), (error, least)))
    return best.to(torch.int8), steps[:, 0, 0, 0]
