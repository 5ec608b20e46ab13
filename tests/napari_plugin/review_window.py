"""A review in a real window: results over a painted slide, and hands that press keys and move the mouse."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from dtcseg_napari._review_dock import ReviewDock
from qtpy.QtCore import QPoint, Qt
from qtpy.QtOpenGLWidgets import QOpenGLWidget
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QMessageBox, QWidget

from dtcseg.cells import CALLS, Candidate, SlideScore
from dtcseg.config import SlideJob
from dtcseg.results.folder import ResultsFolder, RunInfo
from dtcseg.results.record import Weights, make_record
from dtcseg.stain.brightfield import CHROMOGENS, HEMATOXYLIN, BrightfieldProfile

from .conftest import MPP_UM, write_ome_tiff

if TYPE_CHECKING:
    import napari

APART_PX = 120
RADIUS_PX = 24
PINK = (200, 40, 120)
GROUND = (238, 232, 236)


def make_results(root: Path, cells: int, name: str = "a", weights: Weights | None = None) -> Path:
    """A slide with a grid of pink discs, and results that outline them; gives RESULTS."""
    columns = int(np.ceil(np.sqrt(cells)))
    side_px = max(APART_PX * (columns + 1), 1024)
    places = [((k % columns + 1) * APART_PX, (k // columns + 1) * APART_PX) for k in range(cells)]
    pixels = np.empty((side_px, side_px, 3), np.uint8)
    pixels[:] = GROUND
    y, x = np.mgrid[-RADIUS_PX : RADIUS_PX + 1, -RADIUS_PX : RADIUS_PX + 1]
    disc = x**2 + y**2 <= RADIUS_PX**2
    for cx, cy in places:
        pixels[cy - RADIUS_PX : cy + RADIUS_PX + 1, cx - RADIUS_PX : cx + RADIUS_PX + 1][disc] = PINK
    folder = root / "slides"
    folder.mkdir(parents=True, exist_ok=True)
    path = write_ome_tiff(folder / f"{name}.ome.tif", pixels, {"axes": "YXS"}, "rgb")
    angles = np.linspace(0, 2 * np.pi, 41)
    circle = RADIUS_PX * np.column_stack([np.cos(angles), np.sin(angles)])
    candidates = tuple(
        Candidate(
            x_px=float(cx),
            y_px=float(cy),
            score=round(0.99 - 0.9 * k / cells, 4),
            call=CALLS[min(4 * k // cells, 3)],
            outline_px=circle + np.array([cx, cy]),
            diameter_um=24.0,
            area_um2=452.0,
            nucleus_area_um2=90.0,
            ck_od=0.5,
            ck_over_nucleus=0.4,
            neighbours=8,
            cluster_id=0,
            nucleus_ratio=1.5,
        )
        for k, (cx, cy) in enumerate(places)
    )
    return _write(root / "results", name, path, candidates, side_px, weights or Weights("elsewhere", "0" * 64))


def _write(out: Path, name: str, path: Path, candidates: tuple[Candidate, ...], side_px: int, weights: Weights) -> Path:
    profile = BrightfieldProfile(
        "new_fuchsin", "flag", (240.0, 240.0, 240.0), HEMATOXYLIN, CHROMOGENS["new_fuchsin"], 1.0, estimated=False
    )
    score = SlideScore(
        stain="new_fuchsin",
        stain_source="flag",
        mpp_um=MPP_UM,
        mpp_source="vendor",
        width_px=side_px,
        height_px=side_px,
        area_mm2=1.0,
        mnc=500,
        mnc_low=490.0,
        mnc_high=510.0,
        candidates=candidates,
        nuclei_px=np.random.default_rng(1).uniform(0, side_px, (500, 2)).astype(np.float32),
        excluded_mm2={},
        qc=(),
        details={"profile": profile.to_json()},
    )
    job = SlideJob(name=name, files=(path,))
    record = make_record(job, score, key=f"key of {name}", weights=weights, program="0", seconds=1.0)
    with ResultsFolder(out) as folder:
        folder.write_slide(job, score, record)
        folder.write_summaries(
            RunInfo("0", {"name": "w", "sha256": "0" * 64}, "cpu", {}, "2026-01-01T00:00:00Z"), last=True
        )
    return out


class Window:
    """A viewer with the dock Review in it, and hands."""

    def __init__(self, viewer: napari.Viewer) -> None:
        self.viewer = viewer
        viewer.window.resize(1100, 800)
        self.dock = ReviewDock(viewer)
        viewer.window.add_dock_widget(self.dock, name="Review", area="right")
        viewer.window.activate()
        QTest.qWaitForWindowActive(self.dock.window())
        self.wait(0.1)

    def begin(self, results: Path, reader: str = "Anna", **choice: Any) -> Window:
        """Open results and begin, also where a name is new."""
        self.dock.open_results(results)
        self.dock.begin(replace(self.dock.start.choice(), reader=reader, **choice))
        self.wait(0.1)
        return self

    @property
    def page(self) -> Any:
        assert self.dock.page is not None
        return self.dock.page

    @property
    def session(self) -> Any:
        return self.page.session

    @property
    def canvas(self) -> QWidget:
        inside = [widget for widget in QApplication.allWidgets() if isinstance(widget, QOpenGLWidget)]
        return next(widget for widget in inside if widget.isVisible() and widget.window() is self.dock.window())

    @property
    def said(self) -> str:
        """What the panel tells."""
        return str(self.page.panel.message.text())

    def press(self, *keys: Any) -> None:
        """Press keys on whatever has the focus, the canvas if nothing has."""
        if QApplication.activeWindow() is None:  # no window manager is there that would do it when a dialog goes
            self.viewer.window.activate()
            QTest.qWaitForWindowActive(self.dock.window())
        for key in keys:
            QTest.keyClick(QApplication.focusWidget() or self.canvas, key)

    def type(self, text: str) -> None:
        QTest.keyClicks(QApplication.focusWidget(), text)

    def at(self, x_px: float, y_px: float) -> QPoint:
        """Where a place of the slide is on the canvas."""
        camera = self.viewer.scene.camera
        y, x = (
            (place * MPP_UM - centre) * camera.zoom
            for place, centre in zip((y_px, x_px), camera.center[-2:], strict=True)
        )
        return QPoint(round(self.canvas.width() / 2 + x), round(self.canvas.height() / 2 + y))

    def click(self, x_px: float, y_px: float) -> None:
        point = self.at(x_px, y_px)
        QTest.mouseClick(self.canvas, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, point)
        self.wait(0.05)

    def drag(self, *places: tuple[float, float]) -> None:
        """Press the button at the first place, go over the others, let go at the last."""
        points = [self.at(*place) for place in places]
        none, button = Qt.KeyboardModifier.NoModifier, Qt.MouseButton.LeftButton
        QTest.mousePress(self.canvas, button, none, points[0])
        for point in points[1:]:
            QTest.mouseMove(self.canvas, point)
            self.wait(0.02)
        QTest.mouseRelease(self.canvas, button, none, points[-1])
        self.wait(0.05)

    def wait(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            QApplication.processEvents()
            time.sleep(0.002)

    def wait_for(self, condition: Any, seconds: float = 60.0) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, "it did not happen"
            self.wait(0.02)

    def picture(self) -> np.ndarray:
        """What the canvas shows, RGB."""
        self.wait(0.1)
        return np.asarray(self.viewer.screenshot(canvas_only=True, flash=False))[..., :3]

    def dialogs(self) -> list[QMessageBox]:
        return [box for box in QApplication.topLevelWidgets() if isinstance(box, QMessageBox) and box.isVisible()]

    def dialog(self) -> str:
        """Words of the one dialog that is open; closes it."""
        (box,) = self.dialogs()
        text = f"{box.text()}\n{box.informativeText()}"
        box.close()
        self.wait(0.05)
        return text

    def answer(self, words: str) -> None:
        """Press the button of the open dialog that begins so."""
        (box,) = self.dialogs()
        next(button for button in box.buttons() if button.text().startswith(words)).click()
        self.wait(0.05)

    def state(self) -> dict[str, tuple[Any, ...]]:
        """What is said of every cell, with outline and comment."""
        session = self.session
        return {
            key: (session.say_of(key), session.outline_px(session.item(key)), session.comment_of(session.item(key)))
            for key in session.queue
        }
