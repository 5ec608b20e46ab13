"""Real images that were kept back: what is counted of them, and the page that shows what went wrong."""

import base64
import io
import re
from types import SimpleNamespace

import numpy as np
import pytest
from dtcseg_training.evaluate_real import COLUMNS, JudgedImage, SourceFigures, judge, main
from dtcseg_training.fields import ArraySlide
from dtcseg_training.real import RealField
from dtcseg_training.real_page import _AGREED, _EXTRA, _MISSED, Album, _worst_part, page
from PIL import Image, ImageColor

from dtcseg.cells import Candidate
from dtcseg.network.weights import resolve

SIDE, NUCLEUS = 280, 16.0
BOTH, MISSED, EXTRA = (80.0, 60.0), (250.0, 240.0), (60.0, 250.0)


def an_image(name="one", *, labelled=(BOTH, MISSED), found=(BOTH, EXTRA), candidates=(), held=True):
    pixels = np.full((SIDE, SIDE, 3), 230, np.uint8)
    image = RealField(name, "set", ArraySlide(pixels, 0.5), np.array(labelled).reshape(-1, 2), NUCLEUS, held)
    nuclei = np.array(found, np.float32).reshape(-1, 2)
    return JudgedImage(image, SimpleNamespace(nuclei_px=nuclei, candidates=tuple(candidates), mpp_um=0.5))


def a_candidate(call):
    ring = np.array([(140.0, 140.0), (170.0, 140.0), (170.0, 170.0), (140.0, 170.0), (140.0, 140.0)])
    return Candidate(155.0, 155.0, 0.91, call, ring, 17.0, 225.0, 90.0, 0.5, 0.4, neighbours=3, cluster_id=0)


def decoded(picture):
    return Image.open(io.BytesIO(base64.b64decode(picture.image.split(",")[1]))).convert("RGB")


def test_what_agrees_is_missing_and_is_too_much_is_counted():
    figures = SourceFigures("set")
    figures.add(an_image(candidates=[a_candidate("tumour"), a_candidate("artefact")]))
    figures.add(an_image(found=(BOTH, MISSED, EXTRA, (BOTH[0] + NUCLEUS, BOTH[1]))))
    figures.add(JudgedImage(an_image().image, None))
    row = dict(zip(COLUMNS[:6], figures.cells(), strict=False))
    assert row["set"] == "set (1 refused)"
    assert row["images"] == "3"
    assert row["nuclei (inner)"] == "4 (4)"
    assert row["F1"] == f"{2 * 3 / (6 + 4):.3f}"
    assert row["count error"] == "+50.0 %"
    assert row["of an image"] == "50.0 %"
    assert figures.cells()[-2:] == ["2", "1"]
    assert len(figures.cells()) == len(COLUMNS)


def test_each_nucleus_is_marked_where_it_lies_as_what_it_is():
    album = Album()
    album.add(an_image())
    (picture,) = album.images()
    assert picture.text == "one: 2 labelled, 2 found, F1 0.50"
    drawn = decoded(picture)
    right = np.asarray(drawn.crop((drawn.width - drawn.height, 0, drawn.width, drawn.height))).astype(int)
    left = np.asarray(drawn.crop((0, 0, drawn.height, drawn.height))).astype(int)
    assert np.ptp(left) < 20, "the bare image holds no mark"
    zoom = right.shape[0] / SIDE
    places = {_AGREED: BOTH, _MISSED: MISSED, _EXTRA: EXTRA}
    for colour, (x, y) in places.items():
        near = np.abs(right - ImageColor.getrgb(colour)).sum(-1) < 90
        rows, columns = np.nonzero(near)
        assert rows.size >= 8
        assert abs(columns.mean() / zoom - x) < 2
        assert abs(rows.mean() / zoom - y) < 2


def test_of_a_large_image_the_part_with_most_mistakes_is_shown():
    wrong = np.array([(100.0, 100.0), (1500.0, 900.0), (1540.0, 930.0), (1990.0, 20.0)])
    left, top, right, bottom = _worst_part(wrong, (2000, 1000), 400)
    assert (right - left, bottom - top) == (400, 400)
    inside = [left <= x < right and top <= y < bottom for x, y in wrong]
    assert inside == [False, True, True, False]
    assert right <= 2000
    assert bottom <= 1000
    assert _worst_part(wrong, (2000, 300), 400)[1::2] == (0, 300)
    assert _worst_part(wrong[:0], (500, 500), 400) == (0, 0, 400, 400)
    assert _worst_part(wrong, (300, 200), 400) == (0, 0, 300, 200)


def test_the_worst_images_are_kept_the_worst_first(monkeypatch):
    monkeypatch.setattr("dtcseg_training.real_page._MOST_IMAGES", 2)
    album = Album()
    for name, found in (("half", (BOTH, EXTRA)), ("all", (BOTH, MISSED)), ("none", (EXTRA,)), ("also", (BOTH, MISSED))):
        album.add(an_image(name, found=found))
    assert [picture.text.split(":")[0] for picture in album.images()] == ["none", "half"]


def test_a_page_shows_every_tumour_call_and_cannot_be_written_into():
    album, figures = Album(), SourceFigures("set")
    for judged in (an_image("<script>alert(1)</script>", candidates=[a_candidate("tumour")]), an_image("two")):
        album.add(judged)
        figures.add(judged)
    text = page(resolve(), [(figures, album)], COLUMNS)
    assert "Research use only" in text
    assert "<script" not in text
    assert "Called tumour (1):" in text
    assert "score 0.91, 17 µm across" in text
    assert decoded(album.calls[0]).size == (128, 128)
    assert re.search(r"<td>set</td><td>2</td><td>4 \(4\)</td><td>0.500</td>", text)
    empty = page(resolve(), [(SourceFigures("set"), Album())], COLUMNS)
    assert "No tumour call." in empty


def test_a_page_without_a_folder_is_refused_before_the_work(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("DTCSEG_SHARED", str(tmp_path))
    with pytest.raises(SystemExit):
        main(["--out", str(tmp_path / "none" / "page.html")])
    assert "there is no such folder" in capsys.readouterr().err


@pytest.mark.realdata
def test_real_marrow_is_judged_and_shown(shared_data, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("DTCSEG_SHARED", str(shared_data))
    figures = SourceFigures("cytospin_dapi")
    for judged in judge(resolve(), shared_data, "cytospin_dapi"):
        figures.add(judged)
    out = tmp_path / "real.html"
    main(["--sources", "cytospin_dapi", "--out", str(out)])
    printed = capsys.readouterr().out
    assert "| " + " | ".join(figures.cells()) + " |" in printed
    assert str(out) in printed
    assert float(figures.cells()[3]) > 0.85
    text = out.read_text("utf-8")
    assert text.count("<img") == figures.images == 3
    assert "All images, the worst first" in text
