"""OME-Zarr labels, read back by ome-zarr, its models and zarr: every cell, its place, size, call and colour."""

import json
import tracemalloc

import numpy as np
import pytest
import zarr
from export_makers import some_cells
from fake_scoring import candidate
from shapely.geometry import Polygon

from dtcseg.exports.command import export_results
from dtcseg.exports.labels import level_factors, write_labels
from dtcseg.exports.slides import read_slide
from dtcseg.results.candidates import CALL_COLOURS

FOLDERS = {"ome-zarr": "labels.ome.zarr", "ome-zarr-0.4": "labels-0.4.ome.zarr"}
WIDTH, HEIGHT = 2_600, 1_900


@pytest.fixture
def small(make_results):
    rng = np.random.default_rng(4)
    cells = some_cells(12, 6, WIDTH, HEIGHT)
    apart = [cell for i, cell in enumerate(cells) if all(_far(cell, other) for other in cells[:i])]
    assert len(apart) >= 8, rng
    return make_results({"s": apart}, width_px=WIDTH, height_px=HEIGHT)


def _far(cell, other):
    return Polygon(cell.outline_px).distance(Polygon(other.outline_px)) > 3


@pytest.mark.parametrize("form", FOLDERS)
def test_cells_come_back(small, form):
    done = export_results(small.root, [form])
    (place,) = done.written
    assert place == small.root / "s" / FOLDERS[form]
    pixels = zarr.open_array(str(place / "0"), mode="r")[:]
    assert (pixels.shape, pixels.dtype) == ((HEIGHT, WIDTH), np.uint32)
    assert set(np.unique(pixels)) == set(range(len(small.cells["s"]) + 1))
    for number, cell in enumerate(small.cells["s"], start=1):
        truth = Polygon(cell.outline_px)
        rows, columns = np.nonzero(pixels == number)
        assert len(rows) == pytest.approx(truth.area, rel=0.05)
        assert (columns.mean(), rows.mean()) == pytest.approx((truth.centroid.x, truth.centroid.y), abs=0.3)


@pytest.mark.parametrize("form", FOLDERS)
def test_every_cell_is_on_every_level_at_its_place(small, form):
    export_results(small.root, [form])
    place = small.root / "s" / FOLDERS[form]
    attributes = dict(zarr.open_group(str(place), mode="r").attrs)
    (multiscale,) = attributes.get("ome", attributes)["multiscales"]
    assert [axis["unit"] for axis in multiscale["axes"]] == ["micrometer"] * 2
    assert len(multiscale["datasets"]) == len(level_factors(WIDTH, HEIGHT)) == 3
    for dataset in multiscale["datasets"]:
        pixels = zarr.open_array(str(place / dataset["path"]), mode="r")[:]
        scale, translation = (one[one["type"]] for one in dataset["coordinateTransformations"])
        assert set(np.unique(pixels)) == set(range(len(small.cells["s"]) + 1))
        for number, cell in enumerate(small.cells["s"], start=1):
            rows, columns = np.nonzero(pixels == number)
            y_um = rows.mean() * scale[0] + translation[0]
            x_um = columns.mean() * scale[1] + translation[1]
            truth = Polygon(cell.outline_px).centroid
            assert (x_um, y_um) == pytest.approx((truth.x * 0.5, truth.y * 0.5), abs=scale[0])


@pytest.mark.parametrize("form", FOLDERS)
def test_calls_and_colours(small, form):
    export_results(small.root, [form], calls={"s": {1: "artefact"}})
    attributes = dict(zarr.open_group(str(small.root / "s" / FOLDERS[form]), mode="r").attrs)
    label = attributes.get("ome", attributes)["image-label"]
    calls = ["artefact", *(cell.call for cell in small.cells["s"][1:])]
    assert [one["label-value"] for one in label["properties"]] == list(range(1, len(calls) + 1))
    assert [one["call"] for one in label["properties"]] == calls
    assert label["properties"][0]["program_call"] == small.cells["s"][0].call
    assert [tuple(one["rgba"][:3]) for one in label["colors"]] == [CALL_COLOURS[call] for call in calls]


def test_models_of_the_specification_take_it(small):
    pytest.importorskip("ome_zarr_models", reason="it needs a newer zarr than the oldest that dtcseg takes")
    from ome_zarr_models.v04.image_label import ImageLabel as Label04
    from ome_zarr_models.v05.image_label import ImageLabel as Label05

    export_results(small.root, list(FOLDERS))
    for model, name in ((Label05, "labels.ome.zarr"), (Label04, "labels-0.4.ome.zarr")):
        label = model.from_zarr(zarr.open_group(str(small.root / "s" / name), mode="r"))
        assert label.attributes is not None


@pytest.mark.parametrize("form", FOLDERS)
def test_reader_of_ome_zarr_takes_it(small, form):
    from ome_zarr.io import parse_url
    from ome_zarr.reader import Reader

    export_results(small.root, [form])
    (node,) = Reader(parse_url(str(small.root / "s" / FOLDERS[form])))()
    assert len(node.data) == 3
    assert len(node.metadata["color"]) == len(small.cells["s"])
    assert node.metadata["properties"][1]["call"] == small.cells["s"][0].call
    assert int(node.data[0].max().compute()) == len(small.cells["s"])


def test_a_huge_slide_takes_little_room(make_results, tmp_path):
    side = 400_000
    cells = some_cells(6, 2, side, side)
    made = make_results({"huge": cells}, width_px=side, height_px=side)
    folder = tmp_path / "huge.zarr"
    folder.mkdir()
    slide = read_slide(made.root / "huge")
    tracemalloc.start()
    write_labels(slide, folder)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100 * 2**20
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "zarr.json"]
    levels = len(level_factors(side, side))
    assert len(cells) <= len(files) <= 4 * len(cells) * levels
    assert sum(path.stat().st_size for path in files) < 2**20
    array = zarr.open_array(str(folder / "0"), mode="r")
    assert array.shape == (side, side)
    cell = slide.cells[3]
    assert array[round(cell.y_px), round(cell.x_px)] == 4


def test_overlaps_and_edges(make_results):
    cells = [
        candidate(700.0, 700.0, score=0.9),
        candidate(710.0, 700.0, score=0.8),
        candidate(700.0, 700.0, score=0.7),  # wholly under the first
        candidate(0.0, 0.0, score=0.6),
        candidate(1199.0, 1099.0, score=0.5),
    ]
    made = make_results({"s": cells}, width_px=1_200, height_px=1_100)
    export_results(made.root, ["ome-zarr"])
    pixels = zarr.open_array(str(made.root / "s" / "labels.ome.zarr" / "0"), mode="r")[:]
    assert pixels[700, 700] == 1
    assert pixels[700, 725] == 2
    assert pixels[0, 0] == 4
    assert pixels[1099, 1199] == 5
    assert set(np.unique(pixels)) == {0, 1, 2, 4, 5}


def test_no_cell_is_a_valid_image(results):
    export_results(results.root, list(FOLDERS), names=["empty"])
    for name in FOLDERS.values():
        place = results.root / "empty" / name
        assert not zarr.open_array(str(place / "5"), mode="r")[:].any()
        assert not [path for path in place.rglob("*") if path.is_file() and not _is_metadata(path)]


def _is_metadata(path):
    return path.name == "zarr.json" or path.name.startswith(".z")


def test_written_again_it_is_replaced_whole(small):
    export_results(small.root, ["ome-zarr"])
    place = small.root / "s" / "labels.ome.zarr"
    (place / "stray").write_text("x")
    before = json.loads((place / "zarr.json").read_bytes())
    export_results(small.root, ["ome-zarr"])
    assert not (place / "stray").exists()
    assert json.loads((place / "zarr.json").read_bytes()) == before
    assert not list((small.root / "s").glob(".*"))
