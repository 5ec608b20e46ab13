"""Reviewing in a real napari: keys that are pressed, a canvas that is clicked, and logs that hold what was said."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from dtcseg.verdicts import replay, review, verify

from .review_window import APART_PX, PINK, RADIUS_PX, Window, make_results

if TYPE_CHECKING:
    import napari

KEYS = {"T": "tumour", "P": "probable", "U": "uninterpretable", "H": "haematopoietic", "A": "artefact", "S": "skip"}


@pytest.fixture
def window(make_napari_viewer: Callable[..., napari.Viewer], preferences: None) -> Iterator[Window]:
    opened = Window(make_napari_viewer(show=True))
    yield opened
    opened.dock.leave()
    opened.wait(0.05)


def area(ring: object) -> float:
    points = np.asarray(ring)
    x, y = points[:-1].T
    return 0.5 * abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1)))


def test_two_hundred_cells_are_read_corrected_and_found_again(
    window: Window, make_napari_viewer: Callable[..., napari.Viewer], tmp_path: Path
) -> None:
    results = make_results(tmp_path, 200)
    window.begin(results)
    session = window.session
    order = list(session.queue)
    letters = [list(KEYS)[k % 6] for k in range(200)]
    for number, letter in enumerate(letters):
        assert session.current.id == order[number]
        if number % 50 == 10:
            item = session.current
            window.press("E")
            window.drag((item.cell.x_px, item.cell.y_px), (item.cell.x_px + 40, item.cell.y_px))
            window.press("E")
            assert area(session.outline_px(item)) > area(item.cell.outline_px) + 50
        window.press(letter)
    assert [session.say_of(key) for key in order] == [KEYS[letter] for letter in letters]
    assert session.progress() == (200, 0)
    assert "Every cell of this list is read" in window.said
    window.press("Z", "Z", "Z", "Y")
    assert [session.say_of(key) for key in order[197:]] == [KEYS[letters[197]], "", ""]
    before = window.state()
    window.dock.leave()
    assert verify(results).sound
    again = Window(make_napari_viewer(show=True)).begin(results, "anna")
    assert again.state() == before
    assert again.session.current.id == order[198], "it goes on where something is left to be read"
    again.dock.leave()


def test_the_cell_is_in_the_middle_at_full_resolution_with_its_outline(window: Window, tmp_path: Path) -> None:
    window.begin(make_results(tmp_path, 9))
    window.press("T", "T")
    picture = window.picture().astype(int)
    y, x = picture.shape[0] // 2, picture.shape[1] // 2
    assert np.abs(picture[y - 3 : y + 3, x - 3 : x + 3] - PINK).max() < 12, "the cell is seen in its own colours"
    (shown,) = [layer for layer in window.viewer.layers if layer.name == "a"]
    assert shown.data_level == 0
    radius = round(RADIUS_PX * 0.5 * window.viewer.scene.camera.zoom)
    ring = picture[y, x + radius - 5 : x + radius + 5]
    assert (np.abs(ring - (0x00, 0xE5, 0xFF)).max(axis=1) < 60).any(), "its outline is drawn"
    window.press("O")
    ring = window.picture().astype(int)[y, x + radius - 5 : x + radius + 5]
    assert not (np.abs(ring - (0x00, 0xE5, 0xFF)).max(axis=1) < 60).any(), "and can be taken away"
    facts = {label.text(): value.text() for label, value in window.page.panel._facts if label.text()}
    assert facts["Cell"] == "24.0 µm across"
    assert facts["Over nucleus"] == "40 %"
    assert facts["Program"].startswith("tumour, score 0.")


def test_one_stroke_corrects_and_one_key_takes_it_back(window: Window, tmp_path: Path) -> None:
    window.begin(make_results(tmp_path, 4))
    item = window.session.current
    x, y = item.cell.x_px, item.cell.y_px
    whole = area(window.session.outline_px(item))
    window.press("E")
    assert "begin inside the outline to add" in window.said
    window.drag((x + 45, y), (x + 20, y), (x + 10, y))
    assert area(window.session.outline_px(item)) < whole - 50, "a stroke from outside takes away"
    window.press("Z")
    assert area(window.session.outline_px(item)) == whole
    centre = window.viewer.scene.camera.center
    window.press("D")
    window.drag((x + RADIUS_PX, y), (x + RADIUS_PX + 15, y))
    assert area(window.session.outline_px(item)) > whole + 50
    assert window.viewer.scene.camera.center == centre, "the slide does not move under the stroke"
    window.press(Qt.Key.Key_Escape)
    window.drag((x, y), (x + 20, y))
    assert window.viewer.scene.camera.center != centre, "and moves again when the tool is laid down"


def test_split_join_and_delete(window: Window, tmp_path: Path) -> None:
    results = make_results(tmp_path, 4)
    window.begin(results)
    first, second, third, _ = window.session.queue
    item = window.session.current
    window.press("X")
    window.drag(
        (item.cell.x_px, item.cell.y_px - 40), (item.cell.x_px, item.cell.y_px), (item.cell.x_px, item.cell.y_px + 40)
    )
    assert "Two cells drawn: a verdict keeps it" in window.said
    window.press("P")
    parts = [key for key in window.session.queue if window.session.say_of(key) == "probable"]
    assert len(parts) == 2
    assert window.session.say_of(first) == "not_an_object"
    window.session.go_to(parts[0])
    window.page.show_current()
    other = window.session.item(parts[1])
    window.press("J")
    window.click(other.cell.x_px, other.cell.y_px)
    assert "One cell drawn" in window.said
    window.press("T")
    assert window.session.current.id == second
    window.press(Qt.Key.Key_Delete)
    assert window.session.say_of(second) == "not_an_object"
    assert window.session.current.id == third
    window.press("X")
    window.drag((5000, 5000), (5010, 5000))
    assert "does not cross the cell" in window.said
    window.dock.leave()
    assert review(results / "a").counts == {"tumour": 1}


def test_a_missed_cell_is_outlined_by_the_network_at_one_click(window: Window, tmp_path: Path) -> None:
    results = make_results(tmp_path, 4)
    _forget_last(results)
    window.begin(results)
    window.press("N")
    window.click(2 * APART_PX, 2 * APART_PX)
    window.wait_for(lambda: window.session.proposal is not None, 180)
    (ring,) = window.session.proposal.rings
    assert np.hypot(*(np.mean(ring[:-1], axis=0) - 2 * APART_PX)) < RADIUS_PX, "an outline of what was clicked"
    assert "elsewhere, which scored the slide, is not installed" in window.said, "the results name other weights"
    window.press("T")
    window.dock.leave()
    (added,) = [cell for cell in review(results / "a").cells if cell.added]
    assert added.verdict == "tumour"


def _forget_last(results: Path) -> None:
    """Take the last candidate out of the results, so that it was missed."""
    import json

    folder = results / "a"
    lines = (folder / "cells.csv").read_bytes().splitlines(keepends=True)
    (folder / "cells.csv").write_bytes(b"".join(lines[:-1]))
    shapes = json.loads((folder / "cells.geojson").read_bytes())
    shapes["features"].pop()
    (folder / "cells.geojson").write_text(json.dumps(shapes))


def test_without_weights_a_circle_stands_in_and_says_why(
    window: Window, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dtcseg.errors import UsageError
    from dtcseg.review import missed

    def none(model: str = "") -> object:
        raise UsageError("the weights index cannot be read; install dtcseg again")

    monkeypatch.setattr(missed, "resolve", none)
    window.begin(make_results(tmp_path, 4))
    window.press("N")
    window.click(90, 90)
    window.wait_for(lambda: window.session.proposal is not None, 180)
    assert "install dtcseg again" in window.said
    assert "A circle stands in" in window.said
    window.press("E")
    before = area(window.session.proposal.rings[0])
    window.drag((90, 90), (130, 90))
    assert area(window.session.proposal.rings[0]) > before, "and is painted to fit"
    window.press(Qt.Key.Key_Escape)
    assert window.session.proposal is None


def test_gallery_filters_comment_and_stain(window: Window, tmp_path: Path) -> None:
    window.begin(make_results(tmp_path, 30))
    page, session = window.page, window.session
    window.wait_for(lambda: page.gallery.tiles.tile(0).image is not None)
    image = page.gallery.tiles.tile(0).image
    middle = image.pixelColor(image.width() // 2, image.height() // 2)
    assert max(abs(a - b) for a, b in zip(middle.getRgb()[:3], PINK, strict=True)) < 12
    window.press("T", "A")
    place = page.gallery.visualRect(page.gallery.tiles.index(4, 0)).center()
    QTest.mouseClick(page.gallery.viewport(), Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, place)
    assert session.position == 4
    window.press("C")
    window.type("Type PUH, no keys")
    window.press(Qt.Key.Key_Return)
    assert session.comment_of(session.current) == "Type PUH, no keys"
    assert session.progress() == (2, 28), "letters of a comment are no verdicts"
    page.bar.standing.setCurrentText("commented")
    assert [session.comment_of(session.item(key)) for key in session.queue] == ["Type PUH, no keys"]
    page.bar.standing.setCurrentText("all cells")
    page.bar.call.setCurrentText("called artefact")
    assert {session.item(key).cell.call for key in session.queue} == {"artefact"}
    assert page.gallery.tiles.rowCount() == len(session.queue)
    window.press("V")
    assert [layer.name for layer in window.viewer.layers if layer.visible and layer.name.startswith("a")] == [
        "a nuclear"
    ]
    window.press("V")
    plane = next(layer for layer in window.viewer.layers if layer.name == "a cytokeratin")
    assert plane.visible
    item = session.current
    values = plane.data[0][
        round(item.cell.y_px) - 2 : round(item.cell.y_px) + 2, round(item.cell.x_px) - 40 : round(item.cell.x_px)
    ]
    assert values[:, -5:].mean() > 0.3 > 0.05 > abs(values[:, :5].mean()), "stain in the cell and none beside it"


def test_thousands_of_cells_ask_for_a_screen_full_of_thumbnails(window: Window, tmp_path: Path) -> None:
    window.begin(make_results(tmp_path, 1200))
    window.wait(1.0)
    thumbnails = window.page.pictures.thumbnails
    assert window.page.gallery.tiles.rowCount() == 1200
    assert len(thumbnails._images) + len(thumbnails._wishes) < 100


def test_a_blind_reader_sees_nothing_of_what_program_and_others_say(window: Window, tmp_path: Path) -> None:
    from dtcseg.verdicts import open_log, read_candidates

    results = make_results(tmp_path, 9)
    with open_log(results / "a", "Bo") as log:
        log.give(read_candidates(results / "a")[0], "artefact")
    window.dock.open_results(results)
    window.dock.start.ways["blind"].setChecked(True)
    window.dock.start.reader.setCurrentText("Anna")
    window.dock.start.begin.click()
    window.wait(0.05)
    window.answer("Begin as Anna")
    page = window.page
    assert [page.bar.order.itemText(k) for k in range(page.bar.order.count())] == ["by place"]
    assert not page.bar.call.isVisible()
    texts = [label.text() for pair in page.panel._facts for label in pair] + [page.panel.says.text()]
    texts += [page.gallery.tiles.tile(row).caption for row in range(9)]
    assert not any(word in text for text in texts for word in ("tumour", "artefact", "score", "0.9"))
    marks = next(layer for layer in window.viewer.layers if layer.name == "cells")
    assert len(np.unique(np.asarray(marks.border_color), axis=0)) == 1
    window.press("T")
    window.dock.leave()
    assert [status.blind for status in review(results / "a").readers] == [True, False]


def test_adjudication_shows_what_differs_and_agreement_as_it_grows(window: Window, tmp_path: Path) -> None:
    from dtcseg.verdicts import open_log, read_candidates

    results = make_results(tmp_path, 4)
    cells = read_candidates(results / "a")
    for reader, words in (("Anna", ("tumour", "tumour", "artefact")), ("Bo", ("tumour", "artefact", "artefact"))):
        with open_log(results / "a", reader) as log:
            for cell, word in zip(cells, words, strict=False):
                log.give(cell, word)
    window.begin(results, "Cleo", way="adjudicate")
    panel = window.page.panel
    assert window.session.queue == [cells[1].id]
    assert "Anna: tumour" in panel.says.text()
    assert "Bo: artefact" in panel.says.text()
    assert "same word on 2 of 3 cells (67 %)" in panel.agreement.text()
    assert "kappa 0.40" in panel.agreement.text()
    with open_log(results / "a", "Bo") as log:
        log.give(cells[3], "artefact")
    with open_log(results / "a", "Anna") as log:
        log.give(cells[3], "tumour")
    window.wait_for(lambda: "of 4 cells (50 %)" in panel.agreement.text(), 30)
    window.press("X")
    assert "draws no cells of its own" in window.said
    window.press("T", "H")
    window.dock.leave()
    assert review(results / "a").counts == {"tumour": 2, "artefact": 1, "haematopoietic": 1}


def test_known_cells_are_shown_with_their_own_pixels_and_do_not_stand_out(window: Window, tmp_path: Path) -> None:
    from dtcseg.verdicts import open_log, read_candidates

    make_results(tmp_path, 4)
    results = make_results(tmp_path, 1, name="b")
    for reader in ("x", "y"):
        with open_log(results / "b", reader) as log:
            log.give(read_candidates(results / "b")[0], "tumour")
    window.dock.open_results(results)
    window.dock.begin(window.dock.start.choice().__class__(results, "x", "read", 3, 2))
    window.wait(0.1)
    session = window.session
    seeded = next(item for item in session.items_on("a") if item.seeded)
    for item in session.items_on("a"):
        session.go_to(item.id)
        window.page.show_current()
        assert [layer.name for layer in window.viewer.layers].count("detail") == 1, "every cell looks alike"
    window.dock.page.session.go_to(seeded.id)
    window.page.show_current()
    picture = window.picture().astype(int)
    y, x = picture.shape[0] // 2, picture.shape[1] // 2
    assert np.abs(picture[y, x] - PINK).max() < 12, "the known cell is seen where ordinary cells are"
    assert "seeded" not in window.page.panel.title.text()


def test_a_signed_read_asks_for_a_reason(window: Window, tmp_path: Path) -> None:
    results = make_results(tmp_path, 4)
    window.begin(results)
    window.press("T")
    window.dock._sign_off()
    assert "3 cells are not read yet" in window.dialogs()[0].informativeText()
    window.answer("Sign off as Anna")
    window.press("A")
    from qtpy.QtWidgets import QApplication, QInputDialog

    asked = next(box for box in QApplication.topLevelWidgets() if isinstance(box, QInputDialog) and box.isVisible())
    assert window.session.progress() == (1, 3), "nothing was written"
    asked.setTextValue("seen again at the microscope")
    asked.accept()
    window.wait(0.05)
    window.press("A")
    assert window.session.progress() == (2, 2)
    window.dock.leave()
    kinds = [entry.kind for entry in replay(results / "a").reads[0].entries]
    assert kinds == ["verdict", "sign_off", "reopen", "verdict"]


# Reviews until it is killed, and tells each verdict once its key has been worked off.
_REVIEWER = """
import sys
from pathlib import Path
import napari
sys.path.insert(0, sys.argv[2])
from napari_plugin.review_window import Window
window = Window(napari.Viewer(show=True)).begin(Path(sys.argv[1]), "anna")
print("open", flush=True)
while window.session.progress()[1]:
    window.press("T")
    print(window.session.progress()[0], flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no kill -9")
def test_killed_in_the_middle_nothing_is_lost_but_the_key_being_pressed(tmp_path: Path) -> None:
    if "DISPLAY" not in os.environ:
        pytest.fail("GUI tests need an X display")
    results = make_results(tmp_path, 120)
    code = [sys.executable, "-c", _REVIEWER, str(results), str(Path(__file__).parents[1])]
    own = {**os.environ, "NAPARI_CONFIG": str(tmp_path / "settings.yaml")}
    child = subprocess.Popen(code, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=own)
    assert child.stdout is not None
    heard: list[int] = []
    for line in child.stdout:
        if line.strip().isdigit():
            heard.append(int(line))
        if len(heard) == 20:
            time.sleep(random.Random(2).uniform(0.0, 0.2))
            break
    child.send_signal(signal.SIGKILL)
    rest, errors = child.communicate()
    heard += [int(line) for line in rest[: rest.rfind("\n") + 1].split()]
    assert len(heard) >= 20, errors
    (read,) = replay(results / "a").reads
    assert heard[-1] <= len(read.cells) <= heard[-1] + 1
    assert [state.verdict for state in read.cells.values()] == ["tumour"] * len(read.cells)
    from dtcseg.review.session import ReviewSession
    from dtcseg.review.slides import open_results

    session = ReviewSession(open_results(results), "anna")
    assert session.progress()[0] == len(read.cells)
    session.give("artefact")
    session.close()
    assert verify(results).sound
