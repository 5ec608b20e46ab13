"""cells.csv, cells.geojson and nuclei.parquet: exact bytes, and rings that QuPath takes."""

import csv
import io
import json
import uuid

import numpy as np
import pyarrow.parquet as pq
import pytest
from fake_scoring import candidate
from hypothesis import given
from hypothesis import strategies as st
from shapely.geometry import LinearRing, Polygon, shape

from dtcseg.results.candidates import cells_csv, cells_geojson, nuclei_parquet, simple_ring

SQUARE = [(10, 10), (10, 20), (20, 20), (20, 10), (10, 10)]
FIXED_COLUMNS = (
    "cell_id,x_px,y_px,x_um,y_um,score,call,diameter_um,area_um2,nucleus_area_um2,ck_od,ck_over_nucleus,"
    "neighbours,cluster_id"
)


def test_cells_csv_is_exact():
    cells = [
        candidate(15.0, 15.0, outline=SQUARE),
        candidate(2.345, 1.0, "artefact", 0.1, SQUARE, ck_od=-1e-9, cluster_id=3),
    ]
    text = cells_csv("a", cells, 0.25).decode()
    lines = text.split("\n")
    assert lines[0].startswith(FIXED_COLUMNS)
    assert lines[1].startswith("1,15.00,15.00,3.75,3.75,0.9000,tumour,20.00,314.16,120.50,0.4321,0.7500,7,0,")
    assert lines[2].startswith("2,2.35,1.00,0.59,0.25,0.1000,artefact,20.00,314.16,120.50,0.0000,0.7500,7,3,")
    assert lines[3:] == [""]


def test_no_candidate_is_a_valid_result():
    assert cells_csv("a", [], 0.5).decode().count("\n") == 1
    assert json.loads(cells_geojson("a", [], 0.5)) == {"type": "FeatureCollection", "features": []}
    assert pq.read_table(io.BytesIO(nuclei_parquet(np.empty((0, 2), np.float32)))).num_rows == 0


def test_geojson_is_exact():
    text = cells_geojson("a", [candidate(15.0, 15.0, outline=SQUARE)], 0.5).decode()
    assert text == (
        '{"type":"FeatureCollection","features":[\n'
        '{"type":"Feature","id":"e1005048-9471-5c79-bebe-d8fcedb3d01c","geometry":{"type":"Polygon","coordinates":'
        "[[[10.5,10.5],[20.5,10.5],[20.5,20.5],[10.5,20.5],[10.5,10.5]]]},"
        '"properties":{"objectType":"annotation","name":"cell 1",'
        '"classification":{"name":"tumour","color":[214,39,40]},'
        '"measurements":{"score":0.9,"diameter_um":20.0,"area_um2":314.16,"nucleus_area_um2":120.5,"ck_od":0.4321,'
        '"ck_over_nucleus":0.75,"neighbours":7,"cluster_id":0,"nucleus_ratio":0.0,"ck_granularity":0.0,"cd45_ring":0.0}}}\n'
        "]}\n"
    )


@pytest.mark.parametrize(
    ("call", "kind"),
    [
        ("tumour", "annotation"),
        ("uninterpretable", "annotation"),
        ("haematopoietic", "detection"),
        ("artefact", "detection"),
    ],
)
def test_object_types(call, kind):
    feature = json.loads(cells_geojson("a", [candidate(call=call)], 0.5))["features"][0]
    assert feature["properties"]["objectType"] == kind
    assert feature["properties"]["classification"]["name"] == call


def test_names_are_stable_and_shared_by_both_files():
    cells = [candidate(1, 1), candidate(1, 1, score=0.8), candidate(2, 2, score=0.7)]
    ids = [feature["id"] for feature in json.loads(cells_geojson("a", cells, 0.5))["features"]]
    rows = list(csv.DictReader(io.StringIO(cells_csv("a", cells, 0.5).decode())))
    assert [row["uuid"] for row in rows] == ids
    assert len({uuid.UUID(one).version for one in ids}) == 1
    assert len(set(ids)) == 3
    again = [candidate(2, 2, "artefact", 0.95), candidate(1, 1)]
    assert [f["id"] for f in json.loads(cells_geojson("a", again, 0.5))["features"]] == [ids[2], ids[0]]
    assert json.loads(cells_geojson("b", cells, 0.5))["features"][0]["id"] != ids[0]


@pytest.mark.parametrize(
    "outline",
    [
        [(0, 0), (10, 10), (10, 0), (0, 10), (0, 0)],  # a bow tie
        [(0, 0), (10, 0), (10, 10), (0, 10)],  # not closed
        [(0, 0), (10, 0), (10, 10), (5, 0), (0, 10), (0, 0)],  # touches itself
        [(0, 0), (10, 0), (0, 0)],  # no area
        [(3, 3), (3, 3), (3, 3), (3, 3)],
        [(0, 0), (1e-4, 0), (0, 1e-4), (0, 0)],  # smaller than the grid
        [(0, 0)],
        [],
        [(0, 0), (np.nan, 5), (10, 0), (10, 10), (0, 0)],
    ],
)
def test_bad_outlines_become_simple_rings(outline):
    cell = candidate(5.0, 5.0, outline=np.array(outline, dtype=float).reshape(-1, 2))
    assert_good_ring(simple_ring(cell, 0.5))


@given(st.lists(st.tuples(st.floats(-50, 50), st.floats(-50, 50)), max_size=12))
def test_any_outline_becomes_a_simple_ring(points):
    assert_good_ring(simple_ring(candidate(outline=np.array(points).reshape(-1, 2)), 0.5))


def assert_good_ring(ring):
    assert ring[0] == ring[-1]
    assert len(ring) >= 4
    assert Polygon(ring).is_valid
    assert LinearRing(ring).is_simple
    assert LinearRing(ring).is_ccw
    assert Polygon(ring).area > 0
    assert json.loads(json.dumps(ring)) == ring
    assert all(round(value, 2) == value for point in ring for value in point)


def test_outline_keeps_its_place_and_area():
    cell = candidate(100.0, 200.0)
    polygon = shape(json.loads(cells_geojson("a", [cell], 0.5))["features"][0]["geometry"])
    assert polygon.centroid.distance(Polygon(cell.outline_px + 0.5).centroid) < 0.01
    assert polygon.area == pytest.approx(Polygon(cell.outline_px).area, rel=1e-3)


def test_measurements_that_are_no_numbers_are_left_out():
    feature = json.loads(cells_geojson("a", [candidate(ck_od=float("nan"))], 0.5))["features"][0]
    assert "ck_od" not in feature["properties"]["measurements"]
    assert ",,0.7500," in cells_csv("a", [candidate(ck_od=float("nan"))], 0.5).decode()


def test_nuclei_come_back():
    nuclei = np.array([[1.5, 2.25], [3.0, 4.0]], np.float32)
    content = nuclei_parquet(nuclei)
    assert content == nuclei_parquet(nuclei.copy(order="F"))
    table = pq.read_table(io.BytesIO(content))
    assert table.column_names == ["x_px", "y_px"]
    assert {str(kind) for kind in table.schema.types} == {"float"}
    assert table["x_px"].to_pylist() == [1.5, 3.0]
    assert table["y_px"].to_pylist() == [2.25, 4.0]
