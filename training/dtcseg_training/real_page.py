"""Real images as one self-contained HTML page: the figures, what went wrong on which image, every tumour call."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from dtcseg.crops import draw_place
from dtcseg.network.model import LOOK_MPP_UM
from dtcseg.report.uri import data_uri
from dtcseg.working import plan_grid
from dtcseg_training.rendering import render

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dtcseg.cells import Candidate
    from dtcseg.network.weights import WeightsInfo
    from dtcseg.slide import Slide
    from dtcseg_training.evaluate_real import JudgedImage, SourceFigures
    from dtcseg_training.real import RealField

_MOST_IMAGES, _MOST_CALLS = 12, 60
_SIDE_PX = 640
_PART_NUCLEI = 18
"""Of larger images a part of so many nuclear diameters is shown, in which each nucleus can be seen."""
_JPEG_QUALITY = 82
_LEAST_RADIUS_PX = 4
_AGREED, _MISSED, _EXTRA = "#00c853", "#ff1f8f", "#ff9100"


@dataclass(frozen=True)
class Picture:
    """One picture of the page: a data URI and a line of text."""

    image: str
    text: str


@dataclass
class Album:
    """The images of one set on which most goes wrong, and every place called tumour.

    Attributes
    ----------
    calls : list of Picture
        Of the first `_MOST_CALLS`.
    """

    calls: list[Picture] = field(default_factory=list)
    _worst: list[JudgedImage] = field(default_factory=list)

    def add(self, judged: JudgedImage) -> None:
        """See one image; it is kept while it is among the worst."""
        if judged.tumour and judged.score:
            self._draw_calls(judged.image, judged.tumour, judged.score.mpp_um)
        if judged.image.centres is not None:
            self._worst = sorted([*self._worst, judged], key=lambda kept: kept.f1)[:_MOST_IMAGES]

    def _draw_calls(self, image: RealField, cells: Sequence[Candidate], mpp_um: float) -> None:
        grid = plan_grid(image.slide, mpp_um, LOOK_MPP_UM)
        for cell in cells[: max(_MOST_CALLS - len(self.calls), 0)]:
            png = draw_place(image.slide, grid, cell.x_px, cell.y_px, cell.outline_px)
            text = f"{image.name}: score {cell.score:.2f}, {cell.diameter_um:.0f} µm across, {mpp_um:.2g} µm/px"
            self.calls.append(Picture(data_uri(png), text))

    def images(self) -> list[Picture]:
        """Draw the images, the worst first."""
        return [_drawn(judged) for judged in self._worst]


def page(weights: WeightsInfo, sets: Sequence[tuple[SourceFigures, Album]], columns: Sequence[str]) -> str:
    """Make the page.

    Parameters
    ----------
    weights : WeightsInfo
    sets : sequence of (SourceFigures, Album)
    columns : sequence of str
        Of the table (`SourceFigures.cells`).
    """
    return render(
        "real.html.j2",
        weights=weights,
        columns=columns,
        sets=[(figures, album.images(), album) for figures, album in sets],
        marks={"agreed": _AGREED, "missed": _MISSED, "extra": _EXTRA},
    )


def _drawn(judged: JudgedImage) -> Picture:
    """Draw an image as it is, and beside it with what was found, missed and found too many; of a large one a part."""
    image = judged.image
    agreed = judged.found_px[[i for i, _ in judged.pairs]]
    extra = np.delete(judged.found_px, [i for i, _ in judged.pairs], axis=0)
    missed = np.delete(judged.labelled_px, [j for _, j in judged.pairs], axis=0)
    whole = Image.fromarray(_pixels(image.slide))
    box = _worst_part(np.concatenate([missed, extra]), whole.size, math.ceil(_PART_NUCLEI * image.nucleus_px))
    zoom = _SIDE_PX / max(box[2] - box[0], box[3] - box[1])
    size = (round((box[2] - box[0]) * zoom), round((box[3] - box[1]) * zoom))
    bare = whole.crop(box).resize(size, Image.Resampling.BICUBIC)
    marked = bare.copy()
    draw = ImageDraw.Draw(marked)
    radius = max(image.nucleus_px / 2 * zoom, _LEAST_RADIUS_PX)
    for x, y in (agreed + 0.5 - box[:2]) * zoom:
        draw.ellipse((x - 3, y - 3, x + 3, y + 3), fill=_AGREED, outline="black")
    for x, y in (extra + 0.5 - box[:2]) * zoom:
        draw.rectangle((x - radius, y - radius, x + radius, y + radius), outline=_EXTRA, width=3)
    for x, y in (missed + 0.5 - box[:2]) * zoom:
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), outline=_MISSED, width=3)
    both = Image.new("RGB", (2 * bare.width + 6, bare.height), "white")
    both.paste(bare, (0, 0))
    both.paste(marked, (bare.width + 6, 0))
    stream = io.BytesIO()
    both.save(stream, "JPEG", quality=_JPEG_QUALITY)
    text = f"{image.name}: {len(judged.labelled_px)} labelled, {len(judged.found_px)} found, F1 {judged.f1:.2f}"
    text += "; a part" if box != (0, 0, *whole.size) else ""
    return Picture(data_uri(stream.getvalue()), text if judged.score else f"{text}; refused")


def _worst_part(wrong: npt.NDArray[np.float64], size: tuple[int, int], side_px: int) -> tuple[int, int, int, int]:
    """Box (left, top, right, bottom) of the square of this side that holds most mistakes; all of a smaller image."""
    width, height = (min(length, side_px) for length in size)
    if not len(wrong) or (width, height) == size:
        return 0, 0, width, height
    corners = np.clip(np.round(wrong - (width / 2, height / 2)), 0, np.subtract(size, (width, height))).astype(int)
    inside = (wrong[None] >= corners[:, None]) & (wrong[None] < corners[:, None] + (width, height))
    left, top = corners[int(inside.all(2).sum(1).argmax())].tolist()
    return left, top, left + width, top + height


def _pixels(slide: Slide) -> npt.NDArray[np.uint8]:
    """Whole image as RGB (H, W, 3); of fluorescence the nuclei, grey."""
    level = slide.levels[0]
    pixels = slide.read(0, 0, 0, level.width_px, level.height_px)
    if slide.kind == "brightfield":
        return pixels.astype(np.uint8)
    nuclear = pixels[..., 0].astype(np.float32)
    low, high = np.percentile(nuclear, (1, 99.8))
    grey = np.clip((nuclear - low) / max(float(high - low), 1.0), 0, 1) * 255
    return np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2)
