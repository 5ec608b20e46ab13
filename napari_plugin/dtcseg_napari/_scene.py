"""What napari shows of a review: the slide of the current cell, marks for all cells, outlines for those in view.

Only public parts of napari are used. Marks are hidden while the view is close: a software renderer needs 40 ms for
5,000 of them at every step. Outlines are one Vectors layer, since Shapes take four times as long to replace.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from napari.layers import Layer, Points, Vectors

from dtcseg.errors import DtcsegError
from dtcseg_napari._colours import DRAWN_COLOUR, OTHER_OUTLINES, OUTLINE_COLOUR
from dtcseg_napari._layers import MARK_SCREEN_PX, MARK_UM, PLANES
from dtcseg_napari._results import picture_layers

if TYPE_CHECKING:
    from pathlib import Path

    from napari import Viewer

    from dtcseg.review.slides import ReviewSlide
    from dtcseg.verdicts.cells import Ring

FIELD_UM = 110.0
"""Height of the first view of a cell: itself and some twenty cells around it."""
_CLOSE_UM = 400.0
"""While no more than this is seen, outlines are drawn instead of marks."""
_LINE_SCREEN_PX = 3.0
Look = tuple[str, str]
"""Colour and symbol of a mark."""
VIEWS = ("slide", *PLANES)
"""What can be looked at; fluorescence has its channels as layers instead."""


class Scene:
    """The layers of one review in a viewer.

    Parameters
    ----------
    viewer : Viewer
    on_problem : callable
        Told what cannot be shown, in a line for a person.
    """

    def __init__(self, viewer: Viewer, on_problem: Callable[[str], None]) -> None:
        self.viewer = viewer
        self.slide: ReviewSlide | None = None
        self.view = "slide"
        self._on_problem = on_problem
        self._pictures: dict[str, list[Layer]] = {}
        self._planes: dict[str, tuple[Any, dict[str, Any]]] = {}
        self._marks: Points | None = None
        self._lines: Vectors | None = None
        self._detail: Layer | None = None
        self._scale: tuple[float, float] = (1.0, 1.0)
        self._ids: list[str] = []
        self._new_looks: dict[str, Look] = {}
        self._row: dict[str, int] = {}
        self._places: npt.NDArray[np.float64] = np.zeros((0, 2))
        self._centred = False
        viewer.scene.camera.events.zoom.connect(self._on_zoom)

    @property
    def mpp_yx_um(self) -> tuple[float, float]:
        """Pixel size of what is shown along y and x."""
        return self._scale

    def show_slide(self, slide: ReviewSlide, files: Sequence[Path] | None) -> None:
        """Replace the layers by those of a slide; without files there are only marks, which `show_marks` makes."""
        zoom = self.viewer.scene.camera.zoom
        self.clear()
        self.slide = slide
        self._scale = (slide.record.mpp_um, slide.record.mpp_um)
        tuples = []
        try:
            tuples = picture_layers(slide.record, files, self._on_problem) if files else []
        except DtcsegError as error:
            self._on_problem(f"The slide itself is not shown: {error}")
        for data, settings, kind in tuples:
            name = next((stain for stain in PLANES if settings["name"].endswith(f" {stain}")), "slide")
            self._scale = settings.get("scale", self._scale)
            if name == "slide":
                self._pictures.setdefault(name, []).append(self.viewer.add_layer(Layer.create(data, settings, kind)))
            else:
                self._planes[name] = (data, settings)
        self.choose_view(self.view)
        if self._centred:
            self.viewer.scene.camera.zoom = zoom  # napari fits the first layer of an empty viewer into the window
        self.viewer.canvas.overlays.scale_bar.visible = True

    def show_marks(self, ids: Sequence[str], places_px: npt.NDArray[np.float64], looks: Sequence[Look]) -> None:
        """Mark cells.

        Parameters
        ----------
        ids : sequence of str
        places_px : (N, 2) float64
            (x, y) level-0 pixels.
        looks : sequence of (str, str)
            Colour and symbol of each mark.
        """
        self._remove(self._marks, self._lines)
        self._ids, self._row = list(ids), {key: row for row, key in enumerate(ids)}
        self._new_looks = {}
        self._places = places_px[:, ::-1].copy()
        shared: dict[str, Any] = {"scale": self._scale, "units": ("um", "um")}
        looked: dict[str, Any] = (
            {"border_color": [c for c, _ in looks], "symbol": [s for _, s in looks]} if looks else {}
        )
        self._marks = self.viewer.add_points(
            self._places,
            name="cells",
            size=MARK_UM / float(np.sqrt(self._scale[0] * self._scale[1])),
            face_color="transparent",
            border_width=0.06,
            canvas_size_limits=(MARK_SCREEN_PX, 10_000),
            **shared,
            **looked,
        )
        self._lines = self.viewer.add_vectors(
            np.zeros((0, 2, 2)),
            name="outlines",
            vector_style="line",
            edge_color=OUTLINE_COLOUR,
            edge_width=1.0,
            **shared,
        )
        self.viewer.layers.selection.active = self._pictures.get("slide", [self._marks])[0]

    def holds(self, ids: Sequence[str]) -> bool:
        """Tell whether these cells are marked already."""
        return self._marks is not None and self._ids == list(ids)

    def clear(self) -> None:
        """Take this review's layers out of the viewer."""
        self._remove(*(layer for layers in self._pictures.values() for layer in layers))
        self._remove(self._detail, self._marks, self._lines)
        self._pictures, self._marks, self._lines, self._detail, self.slide = {}, None, None, None, None
        self._planes = {}

    def close(self) -> None:
        """Let go of the viewer."""
        self.viewer.scene.camera.events.zoom.disconnect(self._on_zoom)
        self.clear()

    def centre(self, x_px: float, y_px: float) -> None:
        """Bring a place into the middle; the first time close up, later as close as the reader has chosen."""
        mpp_y, mpp_x = self.mpp_yx_um
        camera = self.viewer.scene.camera
        if not self._centred:
            camera.zoom = min(self.viewer.canvas.size) / FIELD_UM
            self._centred = True
        camera.center = (0.0, y_px * mpp_y, x_px * mpp_x)
        self._fit_marks()

    def show_outlines(
        self, current: Sequence[Ring], others: Sequence[Ring] = (), *, drawn: bool = False, line: Sequence[Any] = ()
    ) -> None:
        """Draw outlines.

        Parameters
        ----------
        current : sequence of Ring
            Of the current cell; two where it is being split.
        others : sequence of Ring
            Of the cells in view.
        drawn : bool
            Whether the current ones are not said yet.
        line : sequence of (x, y)
            A stroke that is being drawn.
        """
        if self._lines is None:
            return
        colour = DRAWN_COLOUR if drawn else OUTLINE_COLOUR
        parts = [(ring, colour) for ring in current] + [(ring, OTHER_OUTLINES) for ring in others]
        if len(line) > 1:
            parts.append((tuple(line), DRAWN_COLOUR))
        segments = [_segments(ring) for ring, _ in parts]
        self._lines.data = np.concatenate(segments) if segments else np.zeros((0, 2, 2))
        if parts:
            lengths = [len(part) for part in segments]
            rgba = np.array([_rgba(value, 0.45 if value == OTHER_OUTLINES else 1.0) for _, value in parts])
            self._lines.edge_color = np.repeat(rgba, lengths, axis=0)
        self._fit_line_width()

    def recolour(self, looks: Mapping[str, Look]) -> None:
        """Change the marks of some cells: colour and symbol by id; at once where they are seen, else when they are."""
        self._new_looks |= {key: look for key, look in looks.items() if key in self._row}
        if self._marks is not None and self._marks.visible:
            self._apply_looks(self._marks)

    def _apply_looks(self, marks: Points) -> None:
        if not self._new_looks:
            return
        colours, symbols = np.array(marks.border_color), np.array(marks.symbol)
        for key, (colour, symbol) in self._new_looks.items():
            colours[self._row[key]], symbols[self._row[key]] = _rgba(colour), symbol
        self._new_looks = {}
        marks.border_color = colours
        marks.symbol = symbols

    def choose_view(self, view: str) -> None:
        """Show the slide, or one of its stain planes."""
        self.view = view if view in self.views() else "slide"
        if self.view in self._planes:
            self._add_plane(self.view)
        for name, layers in self._pictures.items():
            for layer in layers:
                layer.visible = name == self.view
        if self._detail is not None:
            self._detail.visible = self.view == "slide"

    def views(self) -> tuple[str, ...]:
        """List what can be shown of this slide."""
        return tuple(name for name in VIEWS if name in self._pictures or name in self._planes)

    def _add_plane(self, name: str) -> None:
        """Make a stain plane a layer when it is first asked for, right over the slide: each costs time at the start."""
        data, settings = self._planes.pop(name)
        layer = Layer.create(data, settings, "image")
        self._pictures[name] = [layer]
        active = self.viewer.layers.selection.active
        self.viewer.layers.insert(self.viewer.layers.index(self._pictures["slide"][-1]) + 1, layer)
        self.viewer.layers.selection.active = active

    def show_detail(self, pixels: npt.NDArray[np.uint8], x_px: float, y_px: float) -> None:
        """Lay a square of pixels over the slide, centred on a place."""
        if self._marks is None:
            return
        corner = [round(place) - side // 2 for place, side in zip((y_px, x_px), pixels.shape[:2], strict=True)]
        translate = [value * mpp for value, mpp in zip(corner, self.mpp_yx_um, strict=True)]
        if self._detail is None:
            layer = Layer.create(
                pixels, {"rgb": True, "name": "detail", "scale": self.mpp_yx_um, "units": ("um", "um")}, "image"
            )
            self.viewer.layers.insert(self.viewer.layers.index(self._marks), layer)
            self._detail = layer
        self._detail.data = pixels
        self._detail.translate = translate
        self._detail.visible = self.view == "slide"

    def place_px(self, position: Sequence[float]) -> tuple[float, float]:
        """Turn a place of the canvas (world, µm) into (x, y) level-0 pixels."""
        mpp_y, mpp_x = self.mpp_yx_um
        return float(position[-1]) / mpp_x, float(position[-2]) / mpp_y

    def screen_px(self, length: float) -> float:
        """Tell how many level-0 pixels a length on the screen covers."""
        return float(length / self.viewer.scene.camera.zoom / self.mpp_yx_um[1])

    def nearest(self, x_px: float, y_px: float, within_px: float) -> str:
        """Find the mark that is nearest to a place; empty where none is near enough."""
        if not len(self._places):
            return ""
        distances = np.hypot(*(self._places - (y_px, x_px)).T)
        row = int(np.argmin(distances))
        return self._ids[row] if distances[row] <= within_px else ""

    def near(self, x_px: float, y_px: float, within_px: float, most: int) -> list[str]:
        """List the marks around a place, nearest first."""
        if not len(self._places):
            return []
        distances = np.hypot(*(self._places - (y_px, x_px)).T)
        rows = np.argsort(distances, kind="stable")[:most]
        return [self._ids[row] for row in rows.tolist() if distances[row] <= within_px]

    def _remove(self, *layers: Layer | None) -> None:
        for layer in layers:
            if layer is not None and layer in self.viewer.layers:
                self.viewer.layers.remove(layer)

    def _on_zoom(self, event: object = None) -> None:
        self._fit_marks()
        self._fit_line_width()

    def _fit_marks(self) -> None:
        """Show marks from afar; close by they would hide what is to be judged, and outlines are drawn there."""
        if self._marks is None:
            return
        height_um = min(self.viewer.canvas.size) / max(self.viewer.scene.camera.zoom, 1e-9)
        far = height_um > _CLOSE_UM
        if self._marks.visible != far:
            if far:
                self._apply_looks(self._marks)
            self._marks.visible = far

    def _fit_line_width(self) -> None:
        """Keep lines as wide on the screen however close the view is."""
        if self._lines is None:
            return
        width = round(self.screen_px(_LINE_SCREEN_PX), 3)
        if width and abs(self._lines.edge_width / width - 1) > 0.1:
            self._lines.edge_width = width


def _segments(ring: Sequence[Any]) -> npt.NDArray[np.float64]:
    """Sides of a ring or line as napari's vectors: (N, start and way, (y, x))."""
    points = np.asarray(ring, np.float64)[:, ::-1]
    return np.stack([points[:-1], np.diff(points, axis=0)], axis=1)


def _rgba(colour: str, alpha: float = 1.0) -> list[float]:
    return [*(int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)), alpha]
