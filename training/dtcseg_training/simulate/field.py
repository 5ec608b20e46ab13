"""One field of view with its truth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from dtcseg_training.simulate.artefacts import ARTEFACTS
from dtcseg_training.simulate.canvas import Bank, Canvas, FloatArray
from dtcseg_training.simulate.cytokeratin import (
    HAEMATOPOIETIC,
    TUMOUR,
    UNINTERPRETABLE,
    compact,
    draw_haematopoietic,
    draw_style,
    draw_tumour,
    draw_uninterpretable,
    mixed,
)
from dtcseg_training.simulate.imaging import (
    Ground,
    Pixels,
    brightfield,
    compressed,
    expose_brightfield,
    expose_fluorescence,
    fluorescence,
    interpolate,
)
from dtcseg_training.simulate.layout import Box, Placed, Spot, place_field
from dtcseg_training.simulate.leukocytes import ORDINARY, Drawn

if TYPE_CHECKING:
    from dtcseg_training.simulate.spec import FieldSpec

Labels = npt.NDArray[np.int32]
NOT_COUNTED = ("smudge", "red_cell", "platelet")
MARGIN_UM = 13.0
FAINTEST_ARTEFACT = 0.1


@dataclass(frozen=True)
class TruthCell:
    """One thing on the field; places are in pixels, the centre of the top left pixel being (0, 0).

    Attributes
    ----------
    x_px, y_px : float
        Centre: of the outline for what has one, else of the nucleus.
    kind : str
        What was drawn.
    call : str
        "tumour", "uninterpretable", "haematopoietic", "artefact" (in the colour of the stain), or "".
    nucleated : bool
        Whether a person counting nucleated cells would count it.
    diameter_um, nucleus_area_um2 : float
    ck_od : float
        Mean chromogen density (along its unit vector, base 10) or CK signal inside the outline.
    outline : (N, 2) float32
        Closed ring of (x, y), empty where `call` is empty.
    texture : str
        Of the cytokeratin, for breakdowns.
    cluster : int
        Cells of one cluster share a number; 0 for a single cell.
    nucleus_x_px, nucleus_y_px : float
        Centre of the nucleus, NaN where there is none.
    """

    x_px: float
    y_px: float
    kind: str
    call: str
    nucleated: bool
    diameter_um: float
    nucleus_area_um2: float
    ck_od: float
    outline: npt.NDArray[np.float32]
    texture: str = ""
    cluster: int = 0
    nucleus_x_px: float = float("nan")
    nucleus_y_px: float = float("nan")


@dataclass(frozen=True)
class Field:
    """A field of view and everything true about it.

    Attributes
    ----------
    image : (H, W, 3) uint8 or uint16
        RGB, or the channels DAPI, CK, CD45.
    channels : tuple of str
    mpp_um : float
    cells : tuple of TruthCell
        Everything with its centre in the field.
    nucleus_labels, ck_labels : (H, W) int32
        Index into `cells` plus one of the nucleus (of a counted cell) or the CK object seen at a pixel; 0 for none,
        -1 for one whose centre lies outside the field.
    stain_vectors : (2, 3) float32
        Hematoxylin and chromogen, unit optical density in R, G, B; (0, 3) in fluorescence.
    """

    image: Pixels
    channels: tuple[str, ...]
    mpp_um: float
    cells: tuple[TruthCell, ...]
    nucleus_labels: Labels
    ck_labels: Labels
    stain_vectors: npt.NDArray[np.float32]


@dataclass(frozen=True)
class Grid:
    """How pixels of the image and of the canvas lie to each other.

    Fine pixels are drawn coarser and interpolated (`up` image pixels a canvas pixel), coarse ones finer and averaged
    (`down` canvas pixels an image pixel).
    """

    mpp_um: float
    up: int
    down: int

    @classmethod
    def of(cls, mpp_um: float) -> Grid:
        """Choose the canvas for a pixel size: between about 0.15 and 0.55 µm."""
        if mpp_um > 0.55:
            return cls(mpp_um, 1, int(np.ceil(mpp_um / 0.55)))
        return cls(mpp_um, max(int(0.3 / mpp_um), 1), 1)

    @property
    def canvas_mpp_um(self) -> float:
        """Pixel size of the canvas."""
        return self.mpp_um * self.up / self.down

    @property
    def shift_um(self) -> float:
        """Place of the centre of the first canvas pixel, the first image pixel's being 0."""
        return 0.5 * (self.canvas_mpp_um - self.mpp_um)

    def canvas(
        self, bank: Bank, top: int, left: int, height: int, width: int, margin: int, *, fluorescent: bool
    ) -> Canvas:
        """Open a canvas that covers a window of image pixels with a margin of canvas pixels."""
        first_row, first_column = (top // self.up) * self.down, (left // self.up) * self.down
        rows = -(-(top + height) // self.up) * self.down - first_row
        columns = -(-(left + width) // self.up) * self.down - first_column
        return Canvas(
            rows + 2 * margin,
            columns + 2 * margin,
            self.canvas_mpp_um,
            bank,
            fluorescent=fluorescent,
            top=first_row - margin,
            left=first_column - margin,
            shift_um=self.shift_um,
        )

    def image_plane(self, plane: FloatArray, canvas: Canvas, top: int, left: int, shape: tuple[int, int]) -> FloatArray:
        """Resample a plane of the canvas to a window of the image."""
        y0, x0 = top * self.down // self.up - canvas.top, left * self.down // self.up - canvas.left
        if self.up == 1:
            inner = plane[y0 : y0 + shape[0] * self.down, x0 : x0 + shape[1] * self.down]
            if self.down == 1:
                return inner
            averaged: FloatArray = inner.reshape(shape[0], self.down, shape[1], self.down).mean(axis=(1, 3))
            return averaged
        y = (np.arange(top, top + shape[0]) + 0.5) / self.up - 0.5 - canvas.top
        x = (np.arange(left, left + shape[1]) + 0.5) / self.up - 0.5 - canvas.left
        return interpolate(plane, y, x)

    def image_labels(self, labels: Labels, canvas: Canvas, top: int, left: int, shape: tuple[int, int]) -> Labels:
        """Take the label at the middle of each pixel of a window of the image."""
        rows = (np.arange(top, top + shape[0]) * self.down + self.down // 2) // self.up - canvas.top
        columns = (np.arange(left, left + shape[1]) * self.down + self.down // 2) // self.up - canvas.left
        return labels[rows[:, None], columns[None, :]]


class Scene:
    """What all blocks of a slide (or the one block of a field) share.

    Parameters
    ----------
    spec : FieldSpec
    seed : int
    spot : Spot, optional
        Where cells lie on the slide; everywhere when not given.
    """

    def __init__(self, spec: FieldSpec, seed: int, spot: Spot | None = None) -> None:
        self.spec = spec
        self.grid = Grid.of(spec.mpp_um)
        self.bank = Bank(seed, self.grid.canvas_mpp_um)
        self.ground = Ground.draw(seed + 1, spot.cover if spot else None)
        share = np.stack([spec.staining.hematoxylin, spec.staining.chromogen]).astype(np.float64)
        other = np.cross(share[0], share[1])
        self._unmix = np.linalg.inv(np.concatenate([share, other[None] / np.linalg.norm(other)]))

    def canvas(self, top: int, left: int, height: int, width: int) -> Canvas:
        """Open an empty canvas for a window of the image and all whose light reaches into it."""
        margin = optics_margin_px(self.spec, self.grid.canvas_mpp_um)
        fluorescent = self.spec.stain == "if"
        return self.grid.canvas(self.bank, top, left, height, width, margin, fluorescent=fluorescent)

    def draw(self, canvas: Canvas, item: Placed, number: int) -> Drawn:
        """Draw one object; its own seed decides everything random about it."""
        rng = np.random.default_rng(item.seed)
        look, od = self.spec.look, self.spec.staining.ck_od
        x, y, kind = item.x_um, item.y_um, item.kind
        if kind in ORDINARY:
            return ORDINARY[kind](canvas, kind, x, y, rng, look, 0 if kind in NOT_COUNTED else number)
        if kind in TUMOUR:
            own = np.random.default_rng(item.style_seed)
            style = draw_style(own, od, cluster=item.cluster > 0, textures=self.spec.textures)
            if self.spec.compact and not item.cluster and own.random() < self.spec.compact:
                style = compact(own, style)
            if self.spec.mixed and own.random() < self.spec.mixed:
                style = mixed(own, style)
            return draw_tumour(canvas, x, y, rng, look, number, style)
        if kind in UNINTERPRETABLE:
            return draw_uninterpretable(canvas, kind, x, y, rng, look, number, od)
        if kind in HAEMATOPOIETIC:
            return draw_haematopoietic(canvas, kind, x, y, rng, look, number, od)
        return ARTEFACTS[kind](canvas, x, y, rng, look, number, od)

    def truth(self, item: Placed, drawn: Drawn) -> TruthCell:
        """Describe a drawn object in pixels of the image."""
        scale = 1.0 / self.spec.mpp_um
        od, call = drawn.ck_od, drawn.call
        if drawn.colour is not None and drawn.glow is not None:
            fluorescent = self.spec.stain == "if"
            od *= drawn.glow[1] if fluorescent else max(float((np.array(drawn.colour) @ self._unmix)[1]), 0.0)
        if call == "artefact" and od < FAINTEST_ARTEFACT:
            call = ""
        if self.spec.stain != "if":
            od *= self.spec.camera.gamma
        nucleus = drawn.nucleus_um
        outlined = bool(call) and len(drawn.ring_um) > 0
        x, y = (item.x_um, item.y_um) if outlined or nucleus is None else nucleus
        return TruthCell(
            x_px=x * scale,
            y_px=y * scale,
            kind=item.kind,
            call=call,
            nucleated=nucleus is not None,
            diameter_um=drawn.diameter_um,
            nucleus_area_um2=drawn.nucleus_area_um2,
            ck_od=od,
            outline=(drawn.ring_um * scale if outlined else np.zeros((0, 2))).astype(np.float32),
            texture=drawn.texture,
            cluster=item.cluster,
            nucleus_x_px=nucleus[0] * scale if nucleus else float("nan"),
            nucleus_y_px=nucleus[1] * scale if nucleus else float("nan"),
        )

    def paint(self, canvas: Canvas, items: list[Placed], box: Box) -> list[TruthCell]:
        """Draw all objects; those with their centre in the box become truth and get a number."""
        cells: list[TruthCell] = []
        for item in items:
            inside = box.holds(item.x_um, item.y_um)
            number = len(cells) + 1 if inside else -1
            cell = self.truth(item, self.draw(canvas, item, number))
            if item.kind in ARTEFACTS and not cell.call:
                canvas.objects[canvas.objects == number] = 0
            if inside:
                cells.append(cell)
        return cells

    def light(self, canvas: Canvas, top: int, left: int, shape: tuple[int, int]) -> list[FloatArray]:
        """Light on the camera over a window of the image, three planes."""
        form = fluorescence if self.spec.stain == "if" else brightfield
        planes = form(canvas, self.spec, self.ground)
        return [self.grid.image_plane(plane, canvas, top, left, shape) for plane in planes]

    def expose(self, light: list[FloatArray], rng: np.random.Generator) -> Pixels:
        """Light to numbers, before compression."""
        if self.spec.stain == "if":
            return expose_fluorescence(light, self.spec, rng)
        return expose_brightfield(light, self.spec, rng)


def optics_margin_px(spec: FieldSpec, canvas_mpp_um: float) -> int:
    """Canvas pixels around a window whose light reaches into it."""
    reach = 3 * (spec.optics.blur_um + spec.optics.defocus_um) + abs(spec.optics.colour_shift_um)
    if spec.stain == "if" and spec.fluorescence.haze > 0:
        reach += 3 * spec.fluorescence.haze_um
    return int(np.ceil((reach + 1.5) / canvas_mpp_um)) + 3


def render_field(spec: FieldSpec, rng: np.random.Generator) -> Field:
    """Draw one field of view.

    Parameters
    ----------
    spec : FieldSpec
        See `draw_spec`.
    rng : numpy.random.Generator
        Decides places, shapes and noise; the same state gives the same field.
    """
    height, width = spec.size_px
    scene = Scene(spec, int(rng.integers(0, 2**62)))
    box = Box(-0.5 * spec.mpp_um, -0.5 * spec.mpp_um, width * spec.mpp_um, height * spec.mpp_um)
    items = place_field(rng, spec, box, MARGIN_UM)
    canvas = scene.canvas(0, 0, height, width)
    cells = scene.paint(canvas, items, box)
    image = compressed(scene.expose(scene.light(canvas, 0, 0, (height, width)), rng), spec)
    fluorescent = spec.stain == "if"
    vectors = np.array([] if fluorescent else [spec.staining.hematoxylin, spec.staining.chromogen], np.float32)
    return Field(
        image=image,
        channels=("DAPI", "CK", "CD45") if fluorescent else ("R", "G", "B"),
        mpp_um=spec.mpp_um,
        cells=tuple(cells),
        nucleus_labels=scene.grid.image_labels(canvas.nuclei, canvas, 0, 0, (height, width)),
        ck_labels=scene.grid.image_labels(canvas.objects, canvas, 0, 0, (height, width)),
        stain_vectors=vectors.reshape(-1, 3),
    )
