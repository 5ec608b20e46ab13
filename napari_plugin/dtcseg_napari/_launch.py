"""`dtcseg review`: napari with the review of a results folder."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from dtcseg.errors import UsageError


def launch(results: Path, reader: str = "") -> None:
    """Open napari on a results folder, and stay until its window is closed.

    Parameters
    ----------
    results : Path
    reader : str
        Begins at once where it is given.

    Raises
    ------
    UsageError
        There is no napari, no Qt, or no screen; or it is no results folder.
    """
    from dtcseg.review.slides import open_results

    open_results(results)  # what is wrong is said here, before a window opens
    if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise UsageError("there is no screen here (DISPLAY is not set); run dtcseg review where you sit, or with X11")
    try:
        import napari
        from qtpy import QtWidgets  # noqa: F401
    except ImportError as error:  # qtpy says by an ImportError of its own that there is no Qt
        raise UsageError(f"napari with Qt is not installed ({error}); pip install 'dtcseg[gui]'") from error
    from dtcseg_napari._review_dock import ReviewDock

    viewer = napari.Viewer(title=f"dtcseg review {results.name}")
    dock = ReviewDock(viewer)
    viewer.window.add_dock_widget(dock, name="Review", area="right")
    dock.open_results(results, reader)
    napari.run()
    dock.leave()
