"""What the mouse does on the canvas: choose a cell, or correct the current one by a stroke.

The mouse draws on napari's canvas through its public callbacks; what a stroke means is decided in `dtcseg.review`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args

if TYPE_CHECKING:
    from napari import Viewer

    from dtcseg_napari._scene import Scene

Tool = Literal["", "paint", "drag", "split", "join", "new_cell"]
TOOLS: tuple[Tool, ...] = get_args(Tool)
HINTS: dict[Tool, str] = {
    "paint": "Paint: begin inside the outline to add, outside to take away. Zoom in for a finer brush.",
    "drag": "Drag the outline where it should be.",
    "split": "Draw a line across the cell.",
    "join": "Click the cell that belongs to this one.",
    "new_cell": "Click the cell that was missed.",
}
BRUSH_SCREEN_PX = 12.0
PULL_SCREEN_PX = 28.0
_CLICK_SCREEN_PX = 24.0
_STILL_SCREEN_PX = 4.0

Point = tuple[float, float]


class Tools:
    """The mouse on the canvas.

    Parameters
    ----------
    viewer : Viewer
    scene : Scene
    on_stroke : callable
        Told the tool, the stroke so far in level-0 pixels, and whether it has ended.
    on_click : callable
        Told the tool and the place of a click, level-0 pixels.
    """

    def __init__(
        self,
        viewer: Viewer,
        scene: Scene,
        on_stroke: Callable[[Tool, Sequence[Point], bool], None],
        on_click: Callable[[Tool, Point], None],
    ) -> None:
        self.tool: Tool = ""
        self._viewer = viewer
        self._scene = scene
        self._on_stroke = on_stroke
        self._on_click = on_click
        viewer.mouse_drag_callbacks.append(self._dragged)
        viewer.layers.selection.events.active.connect(self._hold_still)

    def take(self, tool: Tool) -> None:
        """Take a tool into the hand; the same one again lays it down."""
        self.tool = "" if tool == self.tool else tool
        self._hold_still()
        self._viewer.cursor.style = "crosshair" if self.tool else "standard"

    def close(self) -> None:
        """Leave the canvas to napari."""
        self.take("")
        self._viewer.layers.selection.events.active.disconnect(self._hold_still)
        if self._dragged in self._viewer.mouse_drag_callbacks:
            self._viewer.mouse_drag_callbacks.remove(self._dragged)

    @property
    def reach_px(self) -> float:
        """Radius of the brush, or reach of a pull, in level-0 pixels."""
        return self._scene.screen_px(BRUSH_SCREEN_PX if self.tool == "paint" else PULL_SCREEN_PX)

    def click_reach_px(self) -> float:
        """Tell how far from a cell's centre a click still means it."""
        return self._scene.screen_px(_CLICK_SCREEN_PX)

    def _hold_still(self, event: object = None) -> None:
        """Keep the picture from moving under a stroke; napari lets it go whenever another layer is chosen."""
        self._viewer.scene.camera.mouse_pan = self.tool not in ("paint", "drag", "split")

    def _dragged(self, viewer: Viewer, event: Any) -> Generator[None]:
        if event.button != 1 or event.modifiers:
            return
        stroke = [self._scene.place_px(event.position)]
        tool = self.tool
        yield
        moved = False
        while event.type == "mouse_move":
            stroke.append(self._scene.place_px(event.position))
            moved = moved or _length(stroke[0], stroke[-1]) > self._scene.screen_px(_STILL_SCREEN_PX)
            if tool in ("paint", "drag", "split"):
                self._on_stroke(tool, stroke, False)
            yield
        if tool in ("paint", "drag", "split"):
            self._on_stroke(tool, stroke, True)
        elif not moved:
            self._on_click(tool, stroke[0])


def _length(one: Point, other: Point) -> float:
    return float(((one[0] - other[0]) ** 2 + (one[1] - other[1]) ** 2) ** 0.5)
