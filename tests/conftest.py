"""What all tests share: no GUI test passes by not running, and the real images where there are any."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

_GUI_FIXTURES = {"qapp", "qtbot", "make_napari_viewer"}


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Fail a GUI test that has no display; Qt itself would abort the whole run, and offscreen it draws nothing."""
    if sys.platform != "linux" or not _GUI_FIXTURES & set(getattr(item, "fixturenames", ())):
        return
    platform = os.environ.get("QT_QPA_PLATFORM", "xcb")
    if "DISPLAY" not in os.environ or platform != "xcb":
        pytest.fail(
            f"GUI tests need an X display (DISPLAY is {os.environ.get('DISPLAY', 'not set')}, QT_QPA_PLATFORM is "
            f"{platform}): run `make test` or `make pytest`, or put `xvfb-run -a` before pytest",
            pytrace=False,
        )


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the real images; tests that need it carry the mark `realdata`."""
    folder = Path(os.environ.get("DTCSEG_SHARED", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real images at {folder}; set DTCSEG_SHARED")
    return folder
