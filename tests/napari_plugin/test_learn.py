"""The dock Learn in a real window: counts, learns in another process, stops, takes into use, goes back."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import fake_learning
import numpy as np
import pytest
from dtcseg_napari._curves import CurveView
from dtcseg_napari._learn_dock import LearnDock
from dtcseg_napari._learn_words import left_text
from dtcseg_napari._learning import LearningRun
from dtcseg_training.learn import Curve

from dtcseg.network.weights import load, released_weights, resolve, save
from dtcseg.registry import use
from dtcseg.verdicts import open_log, read_candidates

from .review_window import Window, make_results

if TYPE_CHECKING:
    import napari

RELEASED = released_weights()[0]
MakeViewer = Callable[..., "napari.Viewer"]
PATIENCE_S = 600.0
"""Another process starts and loads torch, which takes seconds, and minutes where all cores are busy."""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The laboratory's folder of weights."""
    monkeypatch.setenv("DTCSEG_WEIGHTS", str(tmp_path / "own"))
    monkeypatch.setattr(LearningRun, "learner", staticmethod(fake_learning.learn))
    return tmp_path / "own"


def reviewed(root: Path, name: str = "results", verdicts: int = 24) -> Path:
    """Results of which the first cells are read, half of them as tumour cells."""
    results = make_results(root, 30)
    with open_log(results / "a", "Anna") as log:
        for number, cell in enumerate(read_candidates(results / "a")[:verdicts]):
            log.give(cell, "tumour" if number % 2 else "artefact")
    return results.rename(root / name)


class Learn:
    """A viewer with the docks Review and Learn."""

    def __init__(self, viewer: napari.Viewer) -> None:
        self.window = Window(viewer)
        self.dock = LearnDock(viewer)
        viewer.window.add_dock_widget(self.dock, name="Learn", area="right")
        self.window.wait(0.1)

    def choose(self, *folders: Path) -> Learn:
        for folder in folders:
            self.dock.choose.add_folder(folder)
        self.window.wait_for(lambda: "Counting" not in self.dock.choose.about.text())
        return self

    def learn(self) -> Learn:
        self.dock.choose.start.click()
        assert self.dock.page is self.dock.progress
        self.window.wait_for(lambda: self.dock.page is not self.dock.progress, PATIENCE_S)
        return self


@pytest.fixture
def learn(make_napari_viewer: MakeViewer, preferences: None, own: Path) -> Learn:
    return Learn(make_napari_viewer(show=True))


def test_weights_are_learned_taken_into_use_and_given_up(learn: Learn, own: Path, tmp_path: Path) -> None:
    dock, window = learn.dock, learn.window
    assert f"{RELEASED} (released)" in dock.in_use.text()
    assert not dock.back.isEnabled()
    learn.choose(reviewed(tmp_path))
    assert "24 cells with a verdict (12 tumour, 12 other) on 1 slide of 1 patient" in dock.choose.about.text()
    shares: list[float] = []
    dock.relay.progressed.connect(lambda told: shares.append(told.share))
    learn.learn()
    assert len(shares) > 1
    assert shares == sorted(shares)
    assert dock.page is dock.outcome
    assert "better" in dock.outcome.title.text()
    text = dock.outcome.text.text()
    for words in (
        "On your own slides that were kept back: of 60 tumour cells 44 were found before, 55 now",
        "On simulated slides like yours: of 60 tumour cells 41 were found before, 53 now",
        "about 12 false calls per 10^6",
        "its file is gone",
    ):
        assert words in text
    assert "The call of 12 cells changes: 10 now as readers say, 2 no longer" in dock.outcome.about.text()
    assert dock.outcome.changed.count() == 12
    first = dock.outcome.changed.item(0)
    assert first.text().startswith("-"), "what got worse is shown first"
    assert not first.icon().isNull()
    assert resolve().name == RELEASED, "nothing changes until a person says so"
    dock.outcome.use.click()
    window.wait_for(lambda: bool(window.dialogs()), PATIENCE_S)
    assert "ours is in use" in window.dialog()
    assert resolve().name == "ours"
    assert "In use: ours" in dock.in_use.text()
    assert dock.page is dock.choose
    dock.back.click()
    window.answer("Go back")
    window.wait_for(lambda: RELEASED in dock.in_use.text(), PATIENCE_S)
    assert resolve().name == RELEASED


def test_what_is_refused_cannot_be_used(learn: Learn, tmp_path: Path) -> None:
    learn.choose(reviewed(tmp_path, "refused")).learn()
    dock = learn.dock
    assert "not better" in dock.outcome.title.text()
    assert "Recall on the reference set is lower" in dock.outcome.text.text()
    assert not dock.outcome.use.isVisible()
    dock.outcome.keep.click()
    assert dock.page is dock.choose
    assert resolve().name == RELEASED


def test_a_run_that_is_stopped_goes_on(learn: Learn, tmp_path: Path) -> None:
    learn.choose(reviewed(tmp_path, "slow"))
    dock, window = learn.dock, learn.window
    dock.choose.start.click()
    window.wait_for(lambda: "waiting to be stopped" in dock.progress.text.text(), PATIENCE_S)
    assert dock.progress.left.text() == "about 50 seconds left"
    dock.progress.stop.click()
    window.wait_for(lambda: dock.page is dock.choose, PATIENCE_S)
    assert dock.choose.start.text() == "Go on learning"
    learn.learn()
    assert dock.page is dock.outcome


def test_learning_ends_with_the_window(learn: Learn, tmp_path: Path) -> None:
    learn.choose(reviewed(tmp_path, "slow"))
    dock, window = learn.dock, learn.window
    dock.choose.start.click()
    window.wait_for(lambda: "waiting to be stopped" in dock.progress.text.text(), PATIENCE_S)
    (child,) = multiprocessing.active_children()
    window.viewer.close()
    end = time.monotonic() + PATIENCE_S
    while child.is_alive() and time.monotonic() < end:
        window.wait(0.05)
    assert child.exitcode == 0


def test_what_goes_wrong_is_said(learn: Learn, tmp_path: Path) -> None:
    for name, said in (
        ("empty", "there is no verdict to learn from"),
        ("bug", "a fault of the program (ZeroDivisionError: a fault"),
        ("crash", "ended by itself (exit status 3)"),
    ):
        learn.choose(reviewed(tmp_path, name))
        learn.dock.choose.start.click()
        learn.window.wait_for(lambda: bool(learn.window.dialogs()), PATIENCE_S)
        assert said in learn.window.dialog()
        assert learn.dock.page is learn.dock.choose
        learn.dock.choose.folders.setCurrentRow(0)
        learn.dock.choose.remove.click()


def test_too_few_verdicts_and_other_folders_are_told_at_once(learn: Learn, tmp_path: Path) -> None:
    dock = learn.dock
    learn.choose(reviewed(tmp_path, verdicts=6))
    assert "Too few to learn from: read at least 20 cells" in dock.choose.about.text()
    assert not dock.choose.start.isEnabled()
    (tmp_path / "other").mkdir()
    dock.choose.folders.setCurrentRow(0)
    dock.choose.remove.click()
    learn.choose(tmp_path / "other")
    assert "is no results folder" in dock.choose.about.text()
    assert not dock.choose.start.isEnabled()


def test_the_open_results_are_offered(
    make_napari_viewer: MakeViewer, preferences: None, own: Path, tmp_path: Path
) -> None:
    viewer = make_napari_viewer(show=True)
    window = Window(viewer)
    results = reviewed(tmp_path)
    window.dock.open_results(results)
    dock = LearnDock(viewer)
    viewer.window.add_dock_widget(dock, name="Learn", area="right")
    window.wait_for(lambda: "24 cells" in dock.choose.about.text())
    assert dock.choose.chosen() == [results]


def test_weights_that_are_gone_are_told_and_given_up(learn: Learn, own: Path, tmp_path: Path) -> None:
    released = resolve()
    ours = tmp_path / "ours.safetensors"
    save(ours, *load(released), replace(released.card, name="ours", parent=released.sha256))
    use(str(ours))
    next(path for path in own.glob("*.safetensors")).unlink()
    window, again = learn.window, LearnDock(learn.window.viewer)
    window.viewer.window.add_dock_widget(again, name="Again", area="right")
    assert "cannot be read" in again.in_use.text()
    again.back.click()
    window.answer("Go back")
    window.wait_for(lambda: RELEASED in again.in_use.text(), PATIENCE_S)


def test_curves_are_painted_inside_their_frame(make_napari_viewer: MakeViewer, preferences: None) -> None:
    viewer = make_napari_viewer(show=True)
    view = CurveView()
    viewer.window.add_dock_widget(view, name="Curves", area="right")
    view.resize(320, 150)
    assert view.points() == {}
    view.show_curves([Curve(0, 2.0, 1.0), Curve(5, float("nan"), 1.05), Curve(10, 1.0, 1.1)])
    lines = view.points()
    assert {name: len(line) for name, line in lines.items()} == {"learned": 2, "aside": 3}
    (x0, y0), (x1, y1) = lines["learned"]
    assert x0 < x1 <= view.width()
    assert y0 < y1 <= view.height(), "a falling loss falls on the screen"
    image = view.grab().toImage()
    colours = {image.pixelColor(x, y).name() for x in range(image.width()) for y in range(image.height())}
    assert {"#56b4e9", "#009e73"} <= colours
    assert np.isfinite(lines["aside"]).all()


def test_time_left_is_told_as_people_do() -> None:
    assert [left_text(s) for s in (None, 4, 61, 600, 9000)] == [
        "measuring how long it will take …",
        "about 10 seconds left",
        "about 60 seconds left",
        "about 10 minutes left",
        "about 2.5 hours left",
    ]
