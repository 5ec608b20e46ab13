"""The rest of the plugin: scoring from the window, the writer, sample data, and where napari finds them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import fake_scoring
import pytest
from dtcseg_napari._review_dock import ReviewDock
from dtcseg_napari._score_dock import ScoreDock
from dtcseg_napari._scoring import ScoringRun

from dtcseg.results.folder import read_records

from .review_window import Window

if TYPE_CHECKING:
    import napari

MakeViewer = Callable[..., "napari.Viewer"]


@pytest.fixture
def slides(tmp_path: Path) -> Path:
    folder = tmp_path / "slides"
    folder.mkdir()
    for name in ("a", "bad", "c"):
        (folder / f"{name}.tif").write_bytes(b"pixels")
    return folder


def start(dock: ScoreDock, slides: Path, results: Path) -> None:
    dock.slides.setText(str(slides))
    dock.results.setText(str(results))
    dock.start.click()


def test_slides_are_scored_beside_the_window_and_reviewed(
    make_napari_viewer: MakeViewer,
    preferences: None,
    slides: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ScoringRun, "scorer", staticmethod(fake_scoring.score))
    viewer = make_napari_viewer(show=True)
    window = Window(viewer)
    dock = ScoreDock(viewer)
    viewer.window.add_dock_widget(dock, name="Score", area="right")
    told: list[tuple[str, float]] = []
    dock.progressed.connect(lambda name, share: told.append((name, share)))
    start(dock, slides, tmp_path / "results")
    assert not dock.start.isEnabled()
    window.wait_for(dock.start.isEnabled)
    assert ("a", 0.5) in told
    assert "2 slides scored" in dock.message.text()
    assert "bad.tif: the file is cut off; copy it again" in window.dialog()
    assert set(read_records(tmp_path / "results")) == {"a", "c"}
    dock.review.click()
    window.wait(0.05)
    docks = [widget for widget in window.dock.window().findChildren(ReviewDock) if widget is not window.dock]
    assert "2 slides, " in docks[0].start.about.text()


def test_a_run_that_is_stopped_keeps_what_is_finished(
    make_napari_viewer: MakeViewer,
    preferences: None,
    slides: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ScoringRun, "scorer", staticmethod(fake_scoring.score))
    monkeypatch.setenv("DTCSEG_TEST_SLEEP", "600")
    (slides / "c.tif").rename(slides / "slow.tif")
    told: list[str] = []
    viewer = make_napari_viewer(show=True)
    window = Window(viewer)
    dock = ScoreDock(viewer)
    viewer.window.add_dock_widget(dock, name="Score", area="right")
    dock.progressed.connect(lambda name, share: told.append(name))
    start(dock, slides, tmp_path / "results")
    window.wait_for(lambda: "slow" in told)
    dock.cancel.click()
    window.wait_for(dock.start.isEnabled)
    assert "1 slides scored; stopped" in dock.message.text()
    assert set(read_records(tmp_path / "results")) == {"a"}


def test_what_cannot_be_scored_is_said(make_napari_viewer: MakeViewer, preferences: None, tmp_path: Path) -> None:
    viewer = make_napari_viewer(show=True)
    window = Window(viewer)
    dock = ScoreDock(viewer)
    viewer.window.add_dock_widget(dock, name="Score", area="right")
    dock.start.click()
    assert "Choose the slides" in window.dialog()
    start(dock, tmp_path / "nothing", tmp_path / "results")
    window.wait_for(dock.start.isEnabled)
    assert "nothing" in window.dialog()


def test_napari_finds_docks_writer_and_sample(
    make_napari_viewer: MakeViewer, preferences: None, tmp_path: Path
) -> None:
    viewer = make_napari_viewer()
    for name, kind in (("Review", ReviewDock), ("Score", ScoreDock)):
        _, widget = viewer.window.add_plugin_dock_widget("dtcseg", name)
        assert isinstance(widget, kind)
    image, points = viewer.open_sample("dtcseg", "simulated_field")
    assert image.data.shape == (1024, 1024, 3)
    assert len(points.data) > 3
    path = tmp_path / "cells.geojson"
    assert points.save(str(path), plugin="dtcseg") == [str(path)]
    features = json.loads(path.read_text())["features"]
    assert len(features) == len(points.data)
    x, y = features[0]["geometry"]["coordinates"]
    assert (x, y) == pytest.approx((points.data[0][1] + 0.5, points.data[0][0] + 0.5), abs=0.01)
    assert features[0]["properties"]["classification"]["name"] == points.features["call"][0]


def test_outlines_are_saved_as_closed_polygons(make_napari_viewer: MakeViewer, tmp_path: Path) -> None:
    viewer = make_napari_viewer()
    shapes = viewer.add_shapes([[(0, 0), (0, 10), (10, 10)]], shape_type="polygon")
    shapes.save(str(tmp_path / "one.geojson"), plugin="dtcseg")
    (feature,) = json.loads((tmp_path / "one.geojson").read_text())["features"]
    (ring,) = feature["geometry"]["coordinates"]
    assert ring == [[0.5, 0.5], [10.5, 0.5], [10.5, 10.5], [0.5, 0.5]]
