"""Make the pictures of review.md: scores the sample slides, and shows the review of them in napari.

    python docs/review_pictures.py FOLDER      # under Linux without a screen: put `xvfb-run -a` before it

FOLDER takes the results, and is scored anew only where something is missing. The pictures go beside this file.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from pathlib import Path

import napari
import numpy as np
from dtcseg_napari._review_dock import ReviewDock
from PIL import Image
from qtpy.QtCore import QPoint, Qt
from qtpy.QtOpenGLWidgets import QOpenGLWidget
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from dtcseg.batch import score_jobs
from dtcseg.config import ScoreConfig
from dtcseg.manifest import find_slides
from dtcseg.verdicts import open_log, read_candidates

HERE = Path(__file__).parent
SLIDE = "P01_baseline_new_fuchsin"
SIZE_PX = (1366, 768)
COLOURS = 256


def settle(seconds: float) -> None:
    """Let the window draw."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        QApplication.processEvents()
        time.sleep(0.01)


class Camera:
    """A viewer with the dock Review, and what a hand does in it."""

    def __init__(self, theme: str) -> None:
        self.viewer = napari.Viewer(show=True)
        self.viewer.theme = theme
        self.viewer.window.resize(*SIZE_PX)
        self.dock = ReviewDock(self.viewer)
        self.viewer.window.add_dock_widget(self.dock, name="Review", area="right")
        self.viewer.window.activate()
        settle(0.5)

    def shoot(self, name: str) -> None:
        """Write the window as a small PNG."""
        settle(1.0)
        pixels = self.viewer.screenshot(canvas_only=False, flash=False)[..., :3]
        picture = Image.fromarray(np.ascontiguousarray(pixels)).quantize(
            COLOURS, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE
        )
        picture.save(HERE / f"review_{name}.png", optimize=True)

    def press(self, *keys: object) -> None:
        """Press keys."""
        for key in keys:
            QTest.keyClick(self.dock, key)
            settle(0.3)

    def drag(self, *ways: tuple[float, float]) -> None:
        """Draw a stroke; places in µm from the middle of the canvas."""
        canvas = next(w for w in QApplication.allWidgets() if isinstance(w, QOpenGLWidget) and w.isVisible())
        zoom = self.viewer.scene.camera.zoom
        points = [QPoint(round(canvas.width() / 2 + x * zoom), round(canvas.height() / 2 + y * zoom)) for x, y in ways]
        none, button = Qt.KeyboardModifier.NoModifier, Qt.MouseButton.LeftButton
        QTest.mousePress(canvas, button, none, points[0])
        for point in points[1:]:
            QTest.mouseMove(canvas, point)
            settle(0.05)
        QTest.mouseRelease(canvas, button, none, points[-1])
        settle(0.3)

    def close(self) -> None:
        """Close the window."""
        self.dock.leave()
        self.viewer.close()


def read_by_two(folder: Path) -> None:
    """Let two readers differ on some cells."""
    for reader, words in (("Bo", "ttpuhhaa"), ("Cleo", "tthuphaa")):
        meaning = {"t": "tumour", "p": "probable", "u": "uninterpretable", "h": "haematopoietic", "a": "artefact"}
        with open_log(folder, reader) as log:
            for cell, letter in zip(read_candidates(folder), words, strict=False):
                log.give(cell, meaning[letter])
                if reader == "Cleo" and letter == "p":
                    log.comment(cell, "nucleus enlarged, stain over it")


def main() -> None:
    """Make all pictures."""
    scored = Path(sys.argv[1])
    jobs, failures = find_slides([HERE.parent / "data_samples"])
    score_jobs(jobs, failures, ScoreConfig(out=scored))
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "results"
        shutil.copytree(scored, results, ignore=shutil.ignore_patterns("*.jsonl", "*.head.json"))
        camera = Camera("dark")
        camera.dock.open_results(results)
        camera.dock.start.reader.setCurrentText("Anna")
        camera.shoot("start")
        camera.close()
        for theme, name in (("dark", "read"), ("light", "read_light")):
            shutil.rmtree(results / SLIDE / "verdicts")
            camera = Camera(theme)
            camera.dock.open_results(results / SLIDE, "Anna")
            settle(1.0)
            camera.press("T", "T", "U", "H")
            camera.shoot(name)
            if theme == "dark":
                camera.press("E")
                camera.drag((6, 0), (11, 0), (14, 2))
                camera.shoot("paint")
                camera.press("Z", "X")
                camera.drag((-1, -20), (-1, 0), (-1, 20))
                camera.shoot("split")
            camera.close()
        shutil.rmtree(results / SLIDE / "verdicts")
        read_by_two(results / SLIDE)
        camera = Camera("dark")
        camera.dock.open_results(results / SLIDE)
        camera.dock.start.ways["adjudicate"].setChecked(True)
        camera.dock.start.reader.setCurrentText("Dora")
        camera.dock.start.begin.click()
        camera.shoot("adjudicate")
        camera.close()


if __name__ == "__main__":
    main()
