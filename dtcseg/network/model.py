"""The two networks: `Screen` sees the whole slide at 1 µm/px, `Look` sees each candidate at 0.5 µm/px.

Both are plain convolutions (no normalisation over the image, no global attention), so an output pixel depends on its
own surroundings alone: the reach is bounded, and a tile gives what the whole slide would give.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

PLANES = 3
"""Nuclear, cytokeratin, rest."""

SCREEN_MPP_UM = 1.0
SCREEN_STRIDE_PX = 8
"""Coarsest stride of `Screen`; tiles start on multiples of it."""
SCREEN_CANVAS_PX = 32
"""A tile with its halo is filled up to multiples of this: at other widths convolutions take another way at the end of a
row, and a logit differs in its last bit (measured; a test proves that cutting a slide otherwise changes no bit)."""
SCREEN_REACH_PX = 48
"""How far an output of `Screen` can see, rounded up to a multiple of its stride (proved by a test)."""
SCREEN_MAPS = ("nucleus", "tumour", "other_ck")

LOOK_MPP_UM = 0.5
LOOK_PX = 128
"""Side of a candidate's crop: 64 µm, room for the largest cell (45 µm)."""
LOOK_MASKS = ("cell", "nucleus")
_LOOK_INPUTS = PLANES + 2
"""The planes, cytokeratin against the slide's own ordinary cells, and where the middle is."""
_SPREADS, _SPREAD_FLOOR = 4.0, 0.06
"""On the plane that compares, 1 is as many times the spread of the slide's ordinary cells, plus what noise and faint
cytoplasm may show."""
_RELATIVE_RANGE = (-1.0, 4.0)
_EVIDENCE = 10
_CELL_UM2, _NUCLEUS_UM2 = 200.0, 80.0
"""Areas of which the evidence gives the logarithm, so that ordinary sizes lie around 0."""
LOOK_CLASSES = ("tumour", "uninterpretable", "haematopoietic", "artefact")


def _block(inputs: int, outputs: int, *, stride: int = 1, kernel: int = 3) -> nn.Sequential:
    padding = (kernel - 1) // 2
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )


def fuse(network: nn.Module) -> None:
    """Fold every batch normalisation into the convolution before it, for running: the same map in fewer passes."""
    for module in network.modules():
        if isinstance(module, nn.Sequential) and len(module) == 3 and isinstance(module[1], nn.BatchNorm2d):
            convolution = cast("nn.Conv2d", module[0])
            module[0] = fuse_conv_bn_eval(convolution, module[1])
            del module[1]


def _double(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(_block(inputs, outputs, stride=2), _block(outputs, outputs))


class Up(nn.Module):
    """Bring coarse features to the finer level and add them there."""

    def __init__(self, coarse: int, fine: int) -> None:
        super().__init__()
        self.project = nn.Conv2d(coarse, fine, 1)
        self.mix = _block(fine, fine)

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """Add coarse features (N, C, H, W), projected and raised, to finer ones (N, c, 2 H, 2 W)."""
        raised = functional.interpolate(self.project(coarse), scale_factor=2.0, mode="nearest")
        return cast("Tensor", self.mix(fine + raised))


class Screen(nn.Module):
    """Centre maps of nuclei and of CK+ objects over any area.

    The stem halves the resolution at once (all work is done at 2 µm/px and coarser, which is what a CPU can afford)
    and the head gives it back by pixel shuffling.

    Shape
    -----
    input : (N, 3, H, W) float32, planes at 1 µm/px; H and W multiples of 8
    output : (N, 3, H, W) float32 logits in the order of `SCREEN_MAPS`
    """

    def __init__(self, channels: tuple[int, int, int] = (24, 48, 96)) -> None:
        super().__init__()
        first, second, third = channels
        self.stem = nn.Sequential(_block(PLANES, first, stride=2, kernel=4), _block(first, first))
        self.down1 = _double(first, second)
        self.down2 = nn.Sequential(_double(second, third), _block(third, third))
        self.up1 = Up(third, second)
        self.up0 = Up(second, first)
        self.head = nn.Conv2d(first, 4 * len(SCREEN_MAPS), 1)
        self.spread = nn.PixelShuffle(2)

    def forward(self, planes: Tensor) -> Tensor:
        """Logits of the centre maps; see the class for shapes.

        Raises
        ------
        ValueError
            H or W is not a multiple of 8.
        """
        if planes.shape[2] % SCREEN_STRIDE_PX or planes.shape[3] % SCREEN_STRIDE_PX:
            raise ValueError(f"height and width must be multiples of {SCREEN_STRIDE_PX}, got {tuple(planes.shape[2:])}")
        at_2um = self.stem(planes)
        at_4um = self.down1(at_2um)
        at_8um = self.down2(at_4um)
        features = self.up0(self.up1(at_8um, at_4um), at_2um)
        return cast("Tensor", self.spread(self.head(features)))


class Look(nn.Module):
    """The closer look at one candidate: outline, nucleus and call of the object in the middle of the crop.

    Shape
    -----
    input : (N, 3, 128, 128) float32, planes at 0.5 µm/px; (N,) float32, the slide's `ck_spread`
    output : logits of the masks (N, 2, 128, 128), as `LOOK_MASKS`, and of the calls (N, 4), as `LOOK_CLASSES`
    """

    where: Tensor

    def __init__(self, channels: tuple[int, int, int, int] = (24, 48, 72, 96)) -> None:
        super().__init__()
        a, b, c, d = channels
        self.stem = nn.Sequential(_block(_LOOK_INPUTS, a, stride=2, kernel=4), _block(a, a))
        self.down1 = _double(a, b)
        self.down2 = _double(b, c)
        self.down3 = _double(c, d)
        self.up2 = Up(d, c)
        self.up1 = Up(c, b)
        self.up0 = Up(b, a)
        self.masks = nn.Conv2d(a, 4 * len(LOOK_MASKS), 1)
        self.calls = nn.Sequential(
            nn.Linear(2 * d + b + _EVIDENCE, 64),
            nn.ReLU(inplace=True),
            nn.Dropout(0.2),
            nn.Linear(64, len(LOOK_CLASSES)),
        )
        axis = torch.linspace(-1, 1, LOOK_PX)
        distance = (axis[:, None] ** 2 + axis[None, :] ** 2).sqrt()
        self.register_buffer("where", torch.exp(-((distance / 0.2) ** 2))[None, None], persistent=False)

    def forward(self, planes: Tensor, ck_spread: Tensor) -> tuple[Tensor, Tensor]:
        """Masks and calls; see the class for shapes.

        Raises
        ------
        ValueError
            The crop is not 128 x 128.
        """
        if planes.shape[2:] != (LOOK_PX, LOOK_PX):
            raise ValueError(f"a crop must be {LOOK_PX} x {LOOK_PX} px, got {tuple(planes.shape[2:])}")
        unit = _SPREADS * ck_spread[:, None, None, None] + _SPREAD_FLOOR
        relative = (planes[:, 1:2] / unit).clamp(*_RELATIVE_RANGE)
        marked = torch.cat([planes, relative, self.where.expand(planes.shape[0], -1, -1, -1)], dim=1)
        at_1um = self.stem(marked)
        at_2um = self.down1(at_1um)
        at_4um = self.down2(at_2um)
        at_8um = self.down3(at_4um)
        middle = self.up1(self.up2(at_8um, at_4um), at_2um)
        masks = functional.pixel_shuffle(self.masks(self.up0(middle, at_1um)), 2)
        # the call rests on the object itself (features under its own mask, and what is measured under it), on its
        # surroundings and on the centre
        weight = functional.avg_pool2d(masks[:, :1].sigmoid(), 4)
        under = (middle * weight).sum((2, 3)) / (weight.sum((2, 3)) + 1.0)
        seen = [at_8um.mean((2, 3)), at_8um[:, :, 3:5, 3:5].mean((2, 3)), under, _measured(marked, masks.detach())]
        return masks, self.calls(torch.cat(seen, dim=1))


def _measured(marked: Tensor, masks: Tensor) -> Tensor:
    """Measure what a reader weighs (Borgen 1999): sizes, strength and evenness of stain, stain over the nucleus.

    Shape
    -----
    marked : (N, 5, 128, 128), planes, relative cytokeratin and the mark of the middle
    masks : (N, 2, 128, 128) logits
    returns : (N, 10), all of about the size of 1
    """
    nuclear, ck, rest, relative = functional.avg_pool2d(marked[:, :4], 4).unbind(1)  # 2 µm pixels: sizes need no finer
    cell, nucleus = functional.avg_pool2d(masks.sigmoid(), 4).unbind(1)
    around = functional.max_pool2d(cell[:, None], 3, 1, 1)[:, 0] - cell

    def mean(plane: Tensor, weight: Tensor) -> Tensor:
        return (plane * weight).sum((1, 2)) / (weight.sum((1, 2)) + 0.5)

    pixel_um2 = (4 * LOOK_MPP_UM) ** 2
    cell_um2, nucleus_um2 = (part.sum((1, 2)) * pixel_um2 for part in (cell, nucleus))
    strength = mean(ck, cell)
    uneven = (mean((ck - strength[:, None, None]).square(), cell) + 1e-6).sqrt()
    return torch.stack(
        [
            torch.log((cell_um2 + 10) / _CELL_UM2),
            torch.log((nucleus_um2 + 5) / _NUCLEUS_UM2),
            nucleus_um2 / (cell_um2 + 10),
            strength,
            mean(relative, cell),
            mean(relative, nucleus),
            uneven / (strength.abs() + 0.1),
            strength - mean(ck, around),
            mean(nuclear, nucleus),
            mean(rest, cell),
        ],
        dim=1,
    )
