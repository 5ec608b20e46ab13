"""Make the picture of learn_dock.md: learns from reviewed results in the dock Learn, and shows what came of it.

    python docs/learn_picture.py RESULTS WEIGHTS_FOLDER      # under Linux without a screen: put `xvfb-run -a` before it

WEIGHTS_FOLDER is a laboratory's folder of weights for this alone (`DTCSEG_WEIGHTS`); learning goes on there where an
earlier call stopped. The picture goes beside this file.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import napari
import numpy as np
from dtcseg_napari._learn_dock import LearnDock
from PIL import Image
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication, QMessageBox

HERE = Path(__file__).parent
SIZE_PX = (900, 760)
COLOURS = 256
_MOST_S = 4 * 3600.0


def settle(seconds: float) -> None:
    """Let the window draw."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        QApplication.processEvents()
        time.sleep(0.01)


def shoot(dock: LearnDock, name: str) -> None:
    """Write the dock as a small PNG."""
    settle(1.0)
    image = dock.grab().toImage().convertToFormat(dock.grab().toImage().Format.Format_RGB888)
    pixels = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), image.bytesPerLine())
    pixels = pixels[:, : 3 * image.width()].reshape(image.height(), image.width(), 3)
    picture = Image.fromarray(np.ascontiguousarray(pixels)).quantize(
        COLOURS, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE
    )
    picture.save(HERE / f"{name}.png", optimize=True)


def main(results: Path, weights: Path) -> None:
    """Learn and take the picture."""
    os.environ["DTCSEG_WEIGHTS"] = str(weights)
    viewer = napari.Viewer(show=True)
    viewer.window.resize(*SIZE_PX)
    dock = LearnDock(viewer)
    area = viewer.window.add_dock_widget(dock, name="Learn", area="right")
    area.setMinimumWidth(460)
    viewer.window.activate()
    dock.choose.add_folder(results)
    end = time.monotonic() + _MOST_S
    while not dock.choose.start.isEnabled() and time.monotonic() < end:
        settle(0.2)
    dock.choose.start.click()
    while dock.page is dock.progress and time.monotonic() < end:
        settle(0.2)
    for box in QApplication.topLevelWidgets():
        if isinstance(box, QMessageBox) and box.isVisible():
            print(box.text(), box.informativeText(), file=sys.stderr)
    shoot(dock, "learn_dock")
    dock.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    viewer.close()


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
