"""The plugin in a real napari: slides and results are opened, and what is drawn is looked at."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import napari
import numpy as np
import numpy.typing as npt
import pytest
from napari.utils.notifications import notification_manager

from dtcseg.cells import CALLS
from dtcseg.errors import UnreadableSlide, UsageError

from .conftest import MPP_UM, QUARTERS, SIDE_PX, candidate, write_results

MakeViewer = Callable[..., napari.Viewer]


def drawn(viewer: napari.Viewer) -> npt.NDArray[np.uint8]:
    """What the canvas shows, RGB."""
    viewer.reset_view()
    return np.asarray(viewer.screenshot(canvas_only=True, flash=False))[..., :3]


def around_centre(picture: npt.NDArray[np.uint8], distance: int) -> list[tuple[int, ...]]:
    """Colours above left, above right, below left and below right of the middle."""
    y, x = picture.shape[0] // 2, picture.shape[1] // 2
    offsets = [(-distance, -distance), (-distance, distance), (distance, -distance), (distance, distance)]
    return [tuple(int(value) for value in picture[y + dy, x + dx]) for dy, dx in offsets]


def open_with_plugin(viewer: napari.Viewer, path: Path) -> list[Any]:
    return list(viewer.open(str(path), plugin="dtcseg"))


def test_brightfield_slide_is_drawn_in_its_colours(make_napari_viewer: MakeViewer, brightfield: Path) -> None:
    viewer = make_napari_viewer(show=True)
    (layer,) = open_with_plugin(viewer, brightfield)
    assert layer.rgb
    assert layer.multiscale
    assert [level.shape for level in layer.data] == [(1024, 1024, 3), (512, 512, 3), (256, 256, 3)]
    np.testing.assert_allclose(layer.scale, (MPP_UM, MPP_UM))
    assert [str(unit) for unit in layer.units] == ["micrometer", "micrometer"]
    assert around_centre(drawn(viewer), 40) == list(QUARTERS)


def test_fluorescence_slide_is_one_layer_a_channel(make_napari_viewer: MakeViewer, fluorescence: Path) -> None:
    viewer = make_napari_viewer(show=True)
    layers = open_with_plugin(viewer, fluorescence)
    assert [layer.name for layer in layers] == [f"{fluorescence.name} {name}" for name in ("DAPI", "pan-CK", "CD45")]
    assert [layer.colormap.name for layer in layers] == ["blue", "green", "red"]
    assert [layer.data[0].shape for layer in layers] == [(1024, 1024)] * 3
    assert layers[1].contrast_limits == [0, 30000]
    above_left, above_right, below_left, below_right = around_centre(drawn(viewer), 100)
    assert above_left == (0, 0, 255)
    assert above_right == (255, 0, 0)
    assert below_left == (0, 0, 0)
    assert below_right == (0, 255, 0)


def test_results_are_drawn_over_their_slide(make_napari_viewer: MakeViewer, brightfield: Path, tmp_path: Path) -> None:
    middle = SIDE_PX / 2
    candidates = (candidate(middle, middle, 0), *(candidate(100.0 * number, 200.0, number) for number in (1, 2, 3)))
    folder = write_results(tmp_path / "results", brightfield, candidates)
    viewer = make_napari_viewer(show=True)
    image, points = open_with_plugin(viewer, folder)
    bare = drawn(viewer)
    np.testing.assert_allclose(points.scale, image.scale)
    np.testing.assert_allclose(points.data[0], (middle, middle))
    np.testing.assert_allclose(points.data[1:], [(200, 100), (200, 200), (200, 300)])
    assert list(points.features["call"]) == list(CALLS)
    assert list(points.features["score"]) == pytest.approx([0.9, 0.7, 0.5, 0.3])
    points.visible = False
    changed = (drawn(viewer) != bare).any(axis=-1)
    y, x = changed.shape[0] // 2, changed.shape[1] // 2
    assert changed[y - 40 : y + 40, x - 40 : x + 40].any(), "a mark is drawn around the cell in the middle"
    assert not changed[y - 2 : y + 2, x - 2 : x + 2].any(), "the cell inside the mark stays free to be seen"
    tumour = np.array([0x00, 0x9E, 0x73])
    assert (np.abs(bare.astype(int) - tumour).sum(axis=-1) < 12).sum() > 20, "the tumour cell's mark has its colour"


def test_results_without_candidates_open(make_napari_viewer: MakeViewer, brightfield: Path, tmp_path: Path) -> None:
    write_results(tmp_path / "results", brightfield, ())
    viewer = make_napari_viewer()
    image, points = open_with_plugin(viewer, tmp_path / "results")
    assert image.rgb
    assert len(points.data) == 0


def test_results_open_by_their_cells_file(make_napari_viewer: MakeViewer, brightfield: Path, tmp_path: Path) -> None:
    folder = write_results(tmp_path / "results", brightfield, (candidate(10, 10, 0),))
    assert len(open_with_plugin(make_napari_viewer(), folder / "cells.csv")) == 2


def test_results_of_a_slide_that_moved_show_the_candidates(
    make_napari_viewer: MakeViewer, brightfield: Path, tmp_path: Path
) -> None:
    folder = write_results(tmp_path / "results", brightfield, (candidate(10, 10, 0),))
    brightfield.rename(tmp_path / "elsewhere.ome.tif")
    viewer = make_napari_viewer()
    (points,) = open_with_plugin(viewer, folder)
    assert "The slide itself is not shown: bright.ome.tif" in notification_manager.records[-1].message
    np.testing.assert_allclose(points.scale, (MPP_UM, MPP_UM))


def test_folder_of_several_slides_asks_for_one(
    make_napari_viewer: MakeViewer, brightfield: Path, fluorescence: Path, tmp_path: Path
) -> None:
    for slide in (brightfield, fluorescence):
        write_results(tmp_path / "results", slide, ())
    with pytest.raises(UsageError, match=r"2 slides.*bright, fluorescent"):
        open_with_plugin(make_napari_viewer(), tmp_path / "results")


def test_text_file_named_svs_is_refused_in_words(make_napari_viewer: MakeViewer, tmp_path: Path) -> None:
    path = tmp_path / "notes.svs"
    path.write_text("not a slide")
    with pytest.raises(UnreadableSlide, match=r"notes\.svs: is of no known format"):
        open_with_plugin(make_napari_viewer(), path)
