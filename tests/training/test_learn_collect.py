"""From verdicts and annotations to a training set."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import shapely
import tifffile
from dtcseg_training.learn.foreign import add_annotations
from dtcseg_training.learn.split import hold_out
from dtcseg_training.learn.taught import CONTROL, collect
from dtcseg_training.learn.training_set import read_set, slide_key, write_set
from fake_results import score, square
from making_reviews import make_results, read_all
from skimage.draw import polygon2mask

from dtcseg.errors import UsageError
from dtcseg.exports.command import export_results
from dtcseg.network.model import LOOK_CLASSES
from dtcseg.verdicts import new_cell, open_log, read_candidates


@pytest.fixture(scope="module")
def reviewed(tmp_path_factory):
    results = make_results(tmp_path_factory.mktemp("reviewed"))
    read_all(results)
    return results


def calls_of(slides):
    return {cell.id: cell.call for slide in slides for cell in slide.cells}


def test_what_readers_settled_is_taught_and_nothing_else(tmp_path):
    folder, cells = score(tmp_path, tuple((100 * i, 200) for i in range(1, 8)))
    with open_log(folder, "Anna") as log:
        log.give(cells[0], "tumour")
        log.give(cells[1], "probable")
        log.give(cells[2], "artefact")
        log.give(cells[3], "skip")
        log.delete(cells[4])
        log.split(cells[5], [(new_cell(590, 200, square(590, 200, 8)), "haematopoietic")])
        log.correct(cells[0], square(100, 200))
        log.add(900, 900, square(900, 900), "uninterpretable")
    with open_log(folder, "Ben") as log:
        log.give(cells[0], "tumour")
        log.give(cells[2], "tumour")
    slides, left_out = collect([folder.parent])
    taught = {cell.id: cell for cell in slides[0].cells}
    assert {key: taught[key].call for key in taught if key in {c.id for c in cells}} == {
        cells[0].id: "tumour",
        cells[1].id: "tumour",
        cells[4].id: "artefact",
    }
    drawn = sorted(cell.call for cell in taught.values() if cell.added)
    assert drawn == ["haematopoietic", "uninterpretable"]
    assert (taught[cells[0].id].outline_told, taught[cells[1].id].outline_told) == (True, False)
    assert taught[cells[0].id].outline_px[0] == (85.0, 185.0)
    assert taught[cells[4].id].deleted
    assert taught[cells[0].id].source == "agreed"
    assert any("1 cells on which readers differ" in line for line in left_out)
    with open_log(folder, "Cleo", role="adjudication") as log:
        entries = [(r, log_state(folder, r, cells[2])) for r in ("Anna", "Ben")]
        log.adjudicate(cells[2], "haematopoietic", entries)
    slides, left_out = collect([folder.parent])
    assert {c.id: (c.call, c.source) for c in slides[0].cells}[cells[2].id] == ("haematopoietic", "adjudicated")
    assert not left_out


def log_state(folder, reader, cell):
    from dtcseg.verdicts import replay

    read = next(read for read in replay(folder).reads if read.reader == reader)
    return read.cells[cell.id].entry


def test_a_tumour_cell_on_a_control_slide_is_not_taught(tmp_path):
    folder, cells = score(tmp_path)
    record = json.loads((folder / "slide.json").read_text())
    record["role"] = "isotype_control"
    (folder / "slide.json").write_text(json.dumps(record))
    with open_log(folder, "Anna") as log:
        log.give(cells[0], "tumour")
        log.give(cells[1], "uninterpretable")
    slides, left_out = collect([folder.parent])
    unread = dict.fromkeys((cell.id for cell in cells[2:]), "haematopoietic")
    assert calls_of(slides) == {cells[1].id: "uninterpretable", **unread}
    assert "control slide" in left_out[0]


def test_a_control_slide_teaches_without_a_reader(tmp_path, monkeypatch):
    """It holds no tumour cell: what looks most like one there is none, whoever calls it so; readers' words go first."""
    results = make_results(tmp_path, control="c")
    read_all(results)
    control = read_candidates(results / "c")
    monkeypatch.setattr("dtcseg_training.learn.taught._FROM_CONTROL", 4)
    slides, left_out = collect([results])
    assert not left_out
    of = {slide.name: slide for slide in slides}
    assert all(cell.said for cell in of["a"].cells)
    assert of["a"].cells
    best = sorted(control, key=lambda cell: -cell.score)[:4]
    assert {cell.id: cell.call for cell in of["c"].cells} == dict.fromkeys((c.id for c in best), "haematopoietic")
    assert not any(cell.said for cell in of["c"].cells)
    held_out, by = hold_out(slides, 1)
    assert by == "patient"
    assert slide_key(of["c"]) not in held_out
    twin = tmp_path / "again"
    shutil.copytree(results, twin)
    with open_log(twin / "c", "Ben") as log:
        log.give(best[1], "artefact")
    for order in ([results, twin], [twin, results]):
        (slide,) = [slide for slide in collect(order)[0] if slide.name == "c"]
        assert {cell.id: (cell.call, cell.source) for cell in slide.cells}[best[1].id] == ("artefact", "single")
        assert sum(cell.source == CONTROL for cell in slide.cells) == 4  # three, and the next of the folder with a word


def test_one_slide_in_two_results_folders_counts_once(tmp_path):
    folder, cells = score(tmp_path)
    with open_log(folder, "Anna") as log:
        log.give(cells[0], "tumour")
        log.give(cells[1], "artefact")
    twin = tmp_path / "again"
    shutil.copytree(folder.parent, twin)
    shutil.rmtree(twin / "a" / "verdicts")
    with open_log(twin / "a", "Ben") as log:
        log.give(read_candidates(twin / "a")[0], "haematopoietic")
        log.give(read_candidates(twin / "a")[2], "artefact")
    slides, left_out = collect([folder.parent, twin])
    assert len(slides) == 1
    assert calls_of(slides) == {cells[1].id: "artefact", cells[2].id: "artefact"}
    assert any("two sources" in line for line in left_out)


def test_the_same_inputs_give_the_same_set_wherever_they_lie(reviewed, tmp_path):
    slides, left_out = collect([reviewed])
    first, _ = write_set(slides, frozenset({slide_key(slides[0])}), left_out, tmp_path / "one")
    moved = tmp_path / "elsewhere"
    shutil.copytree(reviewed.parent, moved)
    again, left_out = collect([moved / "out"])
    second, _ = write_set(again[::-1], frozenset({slide_key(slides[0])}), left_out, tmp_path / "two")
    assert first.sha256 == second.sha256
    assert str(tmp_path) not in (first.folder / "manifest.json").read_text()
    other, _ = write_set(again, frozenset(), left_out, tmp_path / "two")
    assert other.sha256 != first.sha256
    with open_log(moved / "out" / "a", "Anna") as log:
        log.give(read_candidates(moved / "out" / "a")[0], "artefact")
    changed, _ = collect([moved / "out"])
    assert write_set(changed, frozenset({slide_key(slides[0])}), [], tmp_path / "two")[0].sha256 != first.sha256


def test_crops_hold_what_the_manifest_says(reviewed, tmp_path):
    slides, _ = collect([reviewed])
    data, _ = write_set(slides, frozenset(), [], tmp_path)
    for part in data.slides:
        assert [LOOK_CLASSES[call] for call in part.calls] == [cell["call"] for cell in part.cells]
        tumour = part.calls == LOOK_CLASSES.index("tumour")
        assert tumour.sum() == 3
        assert part.told[:, 0].all()
        assert not part.told[:, 1].any()
        middle = part.crops[tumour][:, 1, 66:86, 66:86].astype(np.float32).mean((1, 2))
        assert (middle > 3 * np.abs(part.crops[:, 1, :20, :20]).mean()).mean() > 0.7  # cytokeratin where the cell is
        rows, columns = np.nonzero(part.masks[np.flatnonzero(tumour)[0], 0])
        assert abs(rows.mean() - 76) < 6
        assert abs(columns.mean() - 76) < 6
    file = data.folder / data.manifest["slides"][0]["file"]
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(UsageError, match="was changed"):
        read_set(data.folder)


def test_a_slide_that_is_gone_is_named_and_the_others_go_on(reviewed, tmp_path):
    moved = tmp_path / "study"
    shutil.copytree(reviewed.parent, moved)
    record = json.loads((moved / "out" / "b" / "slide.json").read_text())
    record["files"] = [str(tmp_path / "gone" / "b.ome.tif")]
    (moved / "out" / "b" / "slide.json").write_text(json.dumps(record))
    (moved / "slides" / "b.ome.tif").unlink()
    slides, left_out = collect([moved / "out"])
    assert [slide.name for slide in slides] == ["a", "c"]
    assert "no longer at" in left_out[0]
    with pytest.raises(UsageError, match="nothing to learn from"):
        write_set([replace(slide, cells=()) for slide in slides], frozenset(), [], tmp_path / "sets")


def test_patients_are_never_split(reviewed):
    slides, _ = collect([reviewed])
    copies = [
        replace(
            slide,
            record=replace(
                slide.record,
                patient=f"p{n % 4}",
                identity=tuple(replace(entry, name=f"{n}-{entry.name}") for entry in slide.record.identity),
            ),
        )
        for n, slide in enumerate(slides * 4)
    ]
    for seed in range(8):
        held_out, by = hold_out(copies, seed)
        assert by == "patient"
        inside = {s.record.patient for s in copies if slide_key(s) in held_out}
        outside = {s.record.patient for s in copies if slide_key(s) not in held_out}
        assert inside
        assert outside
        assert not inside & outside
    assert hold_out([replace(s, record=replace(s.record, patient="one")) for s in copies], 1) == (frozenset(), "none")
    assert hold_out([replace(s, record=replace(s.record, patient="")) for s in slides], 1)[1] == "slide"


@pytest.mark.parametrize("form", ["qupath", "coco", "ome-zarr", "ome-zarr-0.4"])
def test_what_was_exported_is_read_back(reviewed, tmp_path, form):
    export_results(reviewed, [form], out=tmp_path)
    names = {"qupath": "a/qupath.geojson", "coco": "coco.json"}
    file = tmp_path / names.get(form, f"a/labels{'-0.4' if form.endswith('0.4') else ''}.ome.zarr")
    slides = [replace(slide, cells=()) for slide in collect([reviewed])[0]]
    left_out = []
    found = add_annotations(slides, [file], left_out)
    assert not left_out
    cells = {slide.name: slide.cells for slide in found}["a"]
    shown = read_candidates(reviewed / "a")
    assert len(cells) == len(shown)
    for cell in cells:
        assert cell.call == "tumour"
        mine = shapely.Polygon(cell.outline_px)
        best = max(shapely.Polygon(c.outline_px).intersection(mine).area / mine.area for c in shown)
        assert best > (0.9 if form.startswith("ome") else 0.999)


def test_label_images_of_napari_and_imagej(reviewed, tmp_path):
    slides = [replace(slide, cells=()) for slide in collect([reviewed])[0]]
    ring = np.asarray(read_candidates(reviewed / "b")[0].outline_px)
    labels = np.zeros((640, 640), np.uint16)
    labels[polygon2mask(labels.shape, ring[:, ::-1])] = 7
    tifffile.imwrite(tmp_path / "b.debris.tif", labels)
    tifffile.imwrite(tmp_path / "b.tumour.tif", labels[::2, ::2])
    tifffile.imwrite(tmp_path / "c.tif", labels)
    tifffile.imwrite(tmp_path / "d.tumour.tif", labels)
    tifffile.imwrite(tmp_path / "a.tumour.tif", labels[:300])
    left_out = []
    for name, call in (("b.debris.tif", "artefact"), ("b.tumour.tif", "tumour")):
        found = add_annotations(slides, [tmp_path / name], left_out)
        (cell,) = next(slide.cells for slide in found if slide.name == "b")
        assert cell.call == call
        mine, theirs = shapely.Polygon(cell.outline_px), shapely.Polygon(ring)
        assert mine.intersection(theirs).area / mine.union(theirs).area > 0.85
    assert not left_out
    add_annotations(slides, [tmp_path / f"{n}.tif" for n in ("c", "d.tumour", "a.tumour")], left_out)
    assert len(left_out) == 3
    assert any("names no class" in line for line in left_out)
    assert any("no slide of these results" in line for line in left_out)
    assert any("whole slide" in line for line in left_out)


def test_annotations_that_cannot_be_taught_are_listed(reviewed, tmp_path):
    slides, _ = collect([reviewed])
    ring = [[10, 10], [30, 10], [30, 30], [10, 10]]
    shape = {"type": "Polygon", "coordinates": [ring]}
    features = [
        {"geometry": shape, "properties": {"classification": {"name": "Tumor cell"}}},
        {"geometry": shape, "properties": {"classification": {"name": "<b>Stroma"}}},
        {"geometry": shape, "properties": {}},
        {"geometry": {"type": "Point", "coordinates": [1, 2]}, "properties": {"classification": {"name": "tumour"}}},
        {
            "geometry": {"type": "Polygon", "coordinates": [[[9e9, 0], [9e9, 9], [9e9 + 9, 9], [9e9, 0]]]},
            "properties": {"classification": {"name": "tumour"}},
        },
    ]
    (tmp_path / "c.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    (tmp_path / "a.geojson").write_text("{" * 5)
    (tmp_path / "b.json").write_text(json.dumps({"images": [], "annotations": [{"image_id": 4}], "categories": []}))
    left_out = []
    files = [tmp_path / n for n in ("c.geojson", "a.geojson", "b.json")]
    found = add_annotations(slides, files, left_out)
    new = {c.id for s in found for c in s.cells} - {c.id for s in slides for c in s.cells}
    assert len(new) == 1
    assert any("'<b>Stroma'" in line for line in left_out)
    assert any("1 objects without a class" in line for line in left_out)
    assert any("2 objects without an outline" in line for line in left_out)
    assert any(line.startswith("a.geojson: cannot be read") for line in left_out)
    assert any(line.startswith("b.json: is no COCO file") for line in left_out)
    with pytest.raises(UsageError, match="no such file"):
        add_annotations(slides, [tmp_path / "nothing.geojson"], left_out)
