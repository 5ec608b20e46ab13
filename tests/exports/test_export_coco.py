"""COCO, read back by pycocotools."""

import contextlib
import io
import json

import pytest
from export_makers import some_cells
from pycocotools.coco import COCO
from shapely.geometry import Polygon

from dtcseg.cells import CALLS
from dtcseg.exports.coco import coco_json
from dtcseg.exports.command import export_results
from dtcseg.exports.slides import ExportError, read_slides


def read(path):
    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(str(path))


def test_cells_come_back(results):
    done = export_results(results.root, ["coco"])
    assert (done.written, done.problems) == ((results.root / "coco.json",), ())
    coco = read(results.root / "coco.json")
    images = {image["slide"]: image for image in coco.loadImgs(coco.getImgIds())}
    assert {name: image["file_name"] for name, image in images.items()} == {n: f"{n}.tif" for n in results.cells}
    assert {(image["width"], image["height"]) for image in images.values()} == {(40_000, 30_000)}
    assert [category["name"] for category in coco.loadCats(coco.getCatIds())] == list(CALLS)
    for name, cells in results.cells.items():
        found = coco.loadAnns(coco.getAnnIds(imgIds=[images[name]["id"]]))
        assert len(found) == len(cells)
        for annotation, cell in zip(found, cells, strict=True):
            truth = Polygon(cell.outline_px + 0.5)
            (ring,) = annotation["segmentation"]
            polygon = Polygon(list(zip(ring[::2], ring[1::2], strict=True)))
            assert polygon.area == pytest.approx(truth.area, rel=1e-3)
            assert annotation["area"] == pytest.approx(truth.area, rel=1e-3)
            assert polygon.centroid.distance(truth.centroid) < 0.01
            x, y, width, height = annotation["bbox"]
            assert (x, y, x + width, y + height) == pytest.approx(truth.bounds, abs=0.02)
            assert coco.loadCats(annotation["category_id"])[0]["name"] == cell.call
            assert annotation["score"] == cell.score


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools with NumPy 2
def test_masks_of_its_own_tool_lie_where_the_cell_is(make_results):
    cells = some_cells(3, 5, width_px=900, height_px=700)
    made = make_results({"small": cells}, width_px=900, height_px=700)
    export_results(made.root, ["coco"])
    coco = read(made.root / "coco.json")
    for annotation, cell in zip(coco.loadAnns(coco.getAnnIds()), cells, strict=True):
        mask = coco.annToMask(annotation)
        assert mask.shape == (700, 900)
        rows, columns = mask.nonzero()
        truth = Polygon(cell.outline_px)  # pixel centres, as indices of a mask are
        assert len(rows) == pytest.approx(truth.area, rel=0.05)
        assert (columns.mean(), rows.mean()) == pytest.approx((truth.centroid.x, truth.centroid.y), abs=0.2)


def test_calls_of_a_reader_take_the_place(results):
    slides, _ = read_slides(results.root)
    content = json.loads(coco_json(slides, {"b": {2: "tumour"}}))
    changed = [one for one in content["annotations"] if one["image_id"] == 2 and one["cell_id"] == 2]
    assert [(one["category_id"], one["program_call"]) for one in changed] == [(1, results.cells["b"][1].call)]
    assert sum(one["category_id"] == 1 for one in content["annotations"] if one["image_id"] == 1) == 6
    with pytest.raises(ExportError, match="empty: has no cell 1"):
        coco_json(slides, {"empty": {1: "tumour"}})


def test_a_slide_that_is_missing_is_named_in_the_file(results):
    (results.root / "b" / "cells.geojson").write_text("{")
    done = export_results(results.root, ["coco"])
    assert len(done.problems) == 1
    content = json.loads((results.root / "coco.json").read_bytes())
    assert [image["slide"] for image in content["images"]] == ["a", "empty"]
    assert content["info"]["slides_left_out"] == list(done.problems)
