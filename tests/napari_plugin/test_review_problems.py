"""What is wrong with results, slides, logs or folders: a dialog says what to do, and nothing is lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from dtcseg_napari import _keys

from dtcseg.verdicts import open_log, read_candidates, replay, verify

from .review_window import PINK, Window, make_results

if TYPE_CHECKING:
    import napari


@pytest.fixture
def window(make_napari_viewer: Callable[..., napari.Viewer], preferences: None) -> Iterator[Window]:
    opened = Window(make_napari_viewer(show=True))
    yield opened
    opened.dock.leave()
    opened.wait(0.05)


def test_results_of_another_version(window: Window, tmp_path: Path) -> None:
    results = make_results(tmp_path, 4)
    make_results(tmp_path, 4, name="b")
    (results / "b" / "slide.json").write_text('{"version": 99}')
    window.dock.open_results(results)
    assert "another version wrote it" in window.dialog()
    assert "1 slides, 4 cells" in window.dock.start.about.text(), "the others can be read"
    (results / "a" / "slide.json").write_text("{}")
    window.dock.open_results(results)
    assert "cannot be opened" in window.dialog()
    window.dock.open_results(tmp_path)
    assert "is no results folder of dtcseg; make one with" in window.dialog()
    assert window.dock.page is None


def test_a_slide_that_moved_is_found_again(window: Window, tmp_path: Path) -> None:
    results = make_results(tmp_path, 4)
    elsewhere = tmp_path / "elsewhere" / "renamed.ome.tif"
    elsewhere.parent.mkdir()
    (tmp_path / "slides" / "a.ome.tif").rename(elsewhere)
    window.begin(results)
    (box,) = window.dialogs()
    assert "the slide has moved" in box.text()
    assert "Put it back there or beside the results folder" in box.informativeText()
    window.answer("Go on without")
    window.press("T")
    assert window.session.progress() == (1, 3), "verdicts can be given all the same"
    wrong = tmp_path / "wrong.tif"
    wrong.write_bytes(b"another")
    window.page.find_slide("a", str(wrong))
    assert "is not the file that was scored" in window.dialog()
    window.page.find_slide("a", str(elsewhere))
    picture = window.picture().astype(int)
    y, x = picture.shape[0] // 2, picture.shape[1] // 2
    assert np.abs(picture[y, x] - PINK).max() < 12
    window.wait_for(lambda: window.page.gallery.tiles.tile(0).image is not None)


def test_a_log_of_an_unknown_reader_and_one_that_was_changed(window: Window, tmp_path: Path) -> None:
    results = make_results(tmp_path, 4)
    cells = read_candidates(results / "a")
    for reader in ("Bo", "Cleo"):
        with open_log(results / "a", reader) as log:
            for cell in cells:
                log.give(cell, "tumour")
    folder = results / "a" / "verdicts"
    (folder / "bo.jsonl").rename(folder / "stranger.jsonl")
    content = (folder / "cleo.jsonl").read_bytes()
    at = content.rindex(b'"after":"tumour"') + 10
    (folder / "cleo.jsonl").write_bytes(content[:at] + b"x" + content[at + 1 :])
    window.dock.open_results(results)
    told = window.dialog()
    assert "is the log of the reader 'Bo', so the file must not have this name" in told
    assert "a/verdicts/cleo.jsonl, line 5: entry altered" in told
    window.begin(results, "Anna")
    window.dialog()
    window.press("T")
    assert window.session.progress() == (1, 3), "who reads is not kept from reading by others' logs"
    window.dock._verify()
    assert "a/verdicts/cleo.jsonl:5" in window.dialog()
    window.dock.leave()
    window.begin(results, "Cleo")
    assert any("cannot begin" in box.text() for box in window.dialogs())
    for box in window.dialogs():
        box.close()
    assert window.dock.page is None


def test_a_read_only_folder(window: Window, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = make_results(tmp_path, 4)

    def refuse(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    with monkeypatch.context() as patched:
        patched.setattr("pathlib.Path.write_bytes", refuse)
        window.begin(results)
    assert "ask for write permission, or copy RESULTS" in window.dialog()
    assert window.dock.page is None


def test_a_disk_that_fills_up_keeps_the_cell_on_the_screen(
    window: Window, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = make_results(tmp_path, 4)
    window.begin(results)
    window.press("T")
    shown = window.session.current.id

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", full)
        window.press("A")
    assert "the disk is full; make room and give the last verdict again" in window.dialog()
    assert window.session.current.id == shown
    window.press("A")
    window.dock.leave()
    (read,) = replay(results / "a").reads
    assert [state.verdict for state in read.cells.values()] == ["tumour", "artefact"]
    assert verify(results).sound


def test_a_log_that_is_open_elsewhere(window: Window, tmp_path: Path) -> None:
    results = make_results(tmp_path, 4)
    with open_log(results / "a", "Anna"):
        window.begin(results)
        window.press("T")
        assert "is open in another window or process" in window.dialog()
        assert window.session.progress() == (0, 4)
    window.press("T")
    assert window.session.progress() == (1, 3)


def test_a_new_name_is_asked_about_where_others_have_read(window: Window, tmp_path: Path) -> None:
    results = make_results(tmp_path, 4)
    with open_log(results / "a", "Anna") as log:
        log.give(read_candidates(results / "a")[0], "tumour")
    window.begin(results, "Ana")
    assert "A slip of the finger would make a new reader" in window.dialogs()[0].informativeText()
    window.answer("Change the name")
    assert window.dock.page is None
    window.begin(results, " anna ")
    assert window.session.progress() == (1, 3)


def test_the_window_that_is_closed_lets_go_of_the_logs(
    make_napari_viewer: Callable[..., napari.Viewer], preferences: None, tmp_path: Path
) -> None:
    results = make_results(tmp_path, 4)
    viewer = make_napari_viewer(show=True)
    opened = Window(viewer).begin(results)
    opened.press("T")
    thread = opened.page.pictures.thumbnails._thread
    viewer.close()
    opened.wait(0.2)
    with open_log(results / "a", "Anna") as log:
        assert len(log.state.cells) == 1
    thread.join(5)
    assert not thread.is_alive()


def test_keys_and_reader_are_preferences(window: Window, tmp_path: Path) -> None:
    from napari.settings import get_plugin_settings

    settings = get_plugin_settings("dtcseg")
    assert {name: getattr(settings.keys, name) for name in _keys.ACTIONS} == _keys.ACTIONS, "napari.yaml says the same"
    settings.keys.tumour = "1"
    settings.keys.artefact = "H"
    window.begin(make_results(tmp_path, 4), "Dora")
    told = window.dialog()
    assert "'H' for haematopoietic is none, or is used twice; H is taken" in told
    assert "'H' for artefact is none, or is used twice; A is taken" in told
    window.press("1", "T", "A")
    assert [window.session.say_of(key) for key in window.session.queue] == ["tumour", "artefact", "", ""]
    assert window.page.panel.buttons["tumour"].text().startswith("1 ")
    assert settings.review.reader == "Dora"
