"""GeoJSON for QuPath, read back by shapely: rings, calls, names, and where it counts from."""

import gzip
import json
import uuid
from dataclasses import replace

import openslide
import pytest
from export_makers import some_cells
from shapely.geometry import LinearRing, Polygon, shape
from slide.makers import mirax

from dtcseg.exports import command
from dtcseg.exports.command import export_results
from dtcseg.exports.qupath import offset_px, qupath_geojson
from dtcseg.exports.slides import ExportError, read_slide
from dtcseg.results.candidates import CALL_COLOURS
from dtcseg.slide import open_slide


def features(content):
    return json.loads(content)["features"]


def test_cells_come_back(results):
    done = export_results(results.root, ["qupath"])
    assert done.problems == ()
    assert [path.relative_to(results.root).as_posix() for path in done.written] == [
        f"{name}/qupath.geojson" for name in ("a", "b", "empty")
    ]
    for name, cells in results.cells.items():
        found = features((results.root / name / "qupath.geojson").read_bytes())
        assert len(found) == len(cells)
        for number, (feature, cell) in enumerate(zip(found, cells, strict=True), start=1):
            polygon, truth = shape(feature["geometry"]), Polygon(cell.outline_px + 0.5)
            assert polygon.is_valid
            assert LinearRing(polygon.exterior).is_simple
            assert polygon.exterior.coords[0] == polygon.exterior.coords[-1]
            assert polygon.area == pytest.approx(truth.area, rel=1e-3)
            assert polygon.centroid.distance(truth.centroid) < 0.01
            properties = feature["properties"]
            assert properties["name"] == f"cell {number}"
            assert properties["classification"] == {"name": cell.call, "color": list(CALL_COLOURS[cell.call])}
            assert properties["measurements"]["score"] == cell.score
            assert properties["measurements"]["area_um2"] == 314.16
            shown = cell.call in ("tumour", "uninterpretable")
            assert properties["objectType"] == ("annotation" if shown else "detection")


def test_names_stay_and_same_results_give_same_bytes(results):
    slide = read_slide(results.root / "a")
    content = qupath_geojson(slide)
    assert content == qupath_geojson(read_slide(results.root / "a"))
    ids = [feature["id"] for feature in features(content)]
    assert ids == [feature["id"] for feature in features((results.root / "a" / "cells.geojson").read_bytes())]
    assert {uuid.UUID(one).version for one in ids} == {5}
    assert len(set(ids)) == 23


def test_calls_of_a_reader_take_the_place(results):
    slide = read_slide(results.root / "a")
    found = features(qupath_geojson(slide, {1: "artefact", 3: "tumour"}))
    names = [feature["properties"]["classification"]["name"] for feature in found]
    assert names[0] == "artefact"
    assert names[2] == "tumour"
    assert names[1] == slide.cells[1].call
    assert [found[i]["properties"]["objectType"] for i in (0, 2)] == ["detection", "annotation"]
    with pytest.raises(ExportError, match="a: has no cell 99"):
        qupath_geojson(slide, {99: "tumour"})
    with pytest.raises(ExportError, match="'blue' is no call"):
        qupath_geojson(slide, {1: "blue"})


def test_large_files_are_compressed(results, monkeypatch):
    export_results(results.root, ["qupath"])
    plain = results.root / "a" / "qupath.geojson"
    content = plain.read_bytes()
    monkeypatch.setattr(command, "GZIP_FROM_BYTES", len(content) - 1)
    export_results(results.root, ["qupath"])
    assert not plain.exists()
    assert gzip.decompress((results.root / "a" / "qupath.geojson.gz").read_bytes()) == content
    assert (results.root / "empty" / "qupath.geojson").exists()


def test_counts_from_the_bounds_where_the_slide_has_some(make_results):
    cells = some_cells(5)
    made = make_results({"m": cells}, details={"references": {"bounds_px": [30, 20, 39_000, 29_000]}})
    slide = read_slide(made.root / "m")
    content = json.loads(qupath_geojson(slide))
    assert content["dtcseg"]["offset_px"] == [30, 20]
    for feature, cell in zip(content["features"], cells, strict=True):
        truth = Polygon(cell.outline_px + 0.5).centroid
        centre = shape(feature["geometry"]).centroid
        assert (centre.x + 30, centre.y + 20) == pytest.approx((truth.x, truth.y), abs=0.01)
    assert json.loads(qupath_geojson(slide, origin="slide"))["dtcseg"]["offset_px"] == [0, 0]


def test_mirax_of_older_results_asks(make_results, tmp_path):
    file = tmp_path / "m.mrxs"
    file.write_bytes(b"x")
    made = make_results({"m": some_cells(2)}, files={"m": file})
    done = export_results(made.root, ["qupath"])
    assert done.written == ()
    assert len(done.problems) == 1
    assert "--origin slide" in done.problems[0]
    assert export_results(made.root, ["qupath"], origin="slide").problems == ()
    slide = read_slide(made.root / "m")
    unbounded = replace(slide, record=replace(slide.record, details={"references": {"bounds_px": None}}))
    assert offset_px(unbounded, "auto") == (0, 0)
    with pytest.raises(ExportError, match="bounds"):
        offset_px(unbounded, "bounds")


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        ({}, None),
        ({"x": "64", "y": "0", "width": "320", "height": "256"}, [64, 0, 320, 256]),
        ({"x": "64", "y": "0"}, None),
        ({"x": "a", "y": "0", "width": "320", "height": "256"}, None),
    ],
)
def test_slides_tell_their_bounds(tmp_path, monkeypatch, stated, expected):
    """Versions of the library differ on the bounds of the MIRAX written here, so a scanner's are put in their place."""
    file = mirax(tmp_path).path
    with openslide.OpenSlide(str(file)) as handle:
        own = {name: value for name, value in handle.properties.items() if ".bounds-" not in name}
        properties = own | {f"openslide.bounds-{name}": value for name, value in stated.items()}
    monkeypatch.setattr(openslide.OpenSlide, "properties", property(lambda self: properties))
    with open_slide(file) as slide:
        assert slide.references == {"bounds_px": expected}
