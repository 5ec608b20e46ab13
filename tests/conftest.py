"""What all tests share: no GUI test passes by not running, and the real images where there are any."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from dtcseg.config import SlideJob

_GUI_FIXTURES = {"qapp", "qtbot", "make_napari_viewer"}


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object | None:
    """Keep a file in one process, and all that open windows: two of these would take the keys off each other."""
    if config.getoption("dist") != "loadscope":
        return None
    from xdist.scheduler import LoadScopeScheduling

    class OneWithWindows(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return "windows" if "napari_plugin/" in file else file

    return OneWithWindows(config, log)


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


@pytest.fixture(scope="session", autouse=True)
def no_own_weights(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep the weights that the user of this machine took into use out of every test, in other processes too."""
    os.environ["DTCSEG_WEIGHTS"] = str(tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the real images; tests that need it carry the mark `realdata`."""
    folder = Path(os.environ.get("DTCSEG_SHARED", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real images at {folder}; set DTCSEG_SHARED")
    return folder


@pytest.fixture
def slides(tmp_path):
    """Make slide files of these names and the jobs that score them."""

    def make(*names, folder="slides") -> list[SlideJob]:
        place = tmp_path / folder
        place.mkdir(exist_ok=True)
        jobs = []
        for name in names:
            path = place / f"{name}.tif"
            path.write_text(name)
            jobs.append(SlideJob(name=name, files=(path,)))
        return jobs

    return make


@pytest.fixture
def marks(tmp_path, monkeypatch):
    """A folder where scorers leave marks, and a function that tells which slides were scored."""
    folder = tmp_path / "marks"
    folder.mkdir()
    monkeypatch.setenv("DTCSEG_TEST_MARKS", str(folder))

    def scored():
        try:
            return sorted((folder / "scored").read_text().splitlines())
        except FileNotFoundError:
            return []
        finally:
            (folder / "scored").unlink(missing_ok=True)

    return scored
