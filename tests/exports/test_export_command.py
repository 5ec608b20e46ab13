"""The export command: where files go, what it says to bad input, and that nothing is half written."""

import csv
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from export_makers import some_cells
from fake_scoring import WEIGHTS, slide_score

from dtcseg import cli
from dtcseg.config import SlideJob
from dtcseg.errors import UsageError
from dtcseg.exports import labels
from dtcseg.exports.command import FORMATS, export_results
from dtcseg.exports.qupath import ORIGINS
from dtcseg.exports.slides import read_slide, read_slides
from dtcseg.results.atomic import remove_leftovers, writing_folder
from dtcseg.results.folder import EXPORTED, ResultsFolder
from dtcseg.results.record import FailedSlide, make_record, resume_key

SAMPLE = Path(__file__).parents[2] / "data_samples" / "P01_baseline_new_fuchsin.ome.tif"


@pytest.fixture
def dtcseg(monkeypatch, capsys):
    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["dtcseg", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return end.value.code, out.splitlines(), err.splitlines()

    return run


def all_formats():
    return [word for form in FORMATS for word in ("--to", form)]


def test_words_are_those_of_the_library():
    assert tuple(form.value for form in cli.ExportFormat) == FORMATS
    assert tuple(origin.value for origin in cli.ExportOrigin) == ORIGINS


def test_beside_the_results_or_elsewhere(dtcseg, results, tmp_path):
    before = {path: path.read_bytes() for path in results.root.rglob("*") if path.is_file()}
    status, out, err = dtcseg("export", results.root, *all_formats(), "--out", tmp_path / "deep" / "elsewhere")
    assert status == 0
    assert err == ["empty: no cells.dcm, it has no candidates and DICOM annotations may not be empty"]
    assert {path: path.read_bytes() for path in results.root.rglob("*") if path.is_file()} == before
    assert len(out) == 3 * 5 - 1 + 1
    assert all(Path(line).exists() for line in out)
    assert sorted(os.listdir(tmp_path / "deep" / "elsewhere")) == ["a", "b", "coco.json", "empty"]

    status, out, _ = dtcseg("export", results.root, *all_formats())
    assert status == 0
    names = {path.name for path in (results.root / "a").iterdir()} - {"verdicts"}
    assert names == {path.name for path in before if path.parent.name == "a"} | (set(EXPORTED) - {"qupath.geojson.gz"})
    for path, content in before.items():
        assert path.read_bytes() == content
    assert not [path for path in results.root.rglob(".*") if not path.name.startswith(".z")]


def test_marks_and_slides(dtcseg, results):
    marks = ["--mark", "0,0=0,0", "--mark", "1000,0=500,0", "--mirrored"]
    status, _, err = dtcseg("export", results.root, "--to", "stage", *marks)
    assert (status, len(err)) == (2, 1)
    assert "--slide" in err[0]
    status, out, err = dtcseg("export", results.root, "--to", "stage", *marks, "--slide", "b")
    assert (status, out, err) == (0, [str(results.root / "b" / "stage.csv")], [])
    assert dtcseg("export", results.root, "--to", "stage", "--slide", "none")[0] == 2
    assert dtcseg("export", results.root, "--to", "stage", "--mark", "here")[0] == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["{out}"], "Missing option '--to'"),
        (["{out}", "--to", "pdf"], "pdf"),
        (["{out}/none", "--to", "coco"], "is no results folder"),
        (["{out}/a", "--to", "coco"], "is no results folder"),
        (["{out}", "--to", "qupath", "--origin", "there"], "there"),
        (["{out}", "--to", "coco", "--out", "{out}/run.json"], "give --out another folder"),
    ],
)
def test_arguments_that_cannot_be_used(dtcseg, results, arguments, words):
    status, out, err = dtcseg("export", *(text.format(out=results.root) for text in arguments))
    assert (status, out, len(err)) == (2, [], 1)
    assert words in err[0]


def test_a_results_folder_without_slides(dtcseg, make_results):
    made = make_results({})
    status, _, err = dtcseg("export", made.root, "--to", "coco")
    assert (status, err) == (2, [f"dtcseg: {made.root}: holds no slide that was scored"])


def edit(path, change):
    path.write_text(change(path.read_text()))


def drop_key(key):
    def change(text):
        values = json.loads(text)
        del values[key]
        return json.dumps(values)

    return change


def put(key, value):
    return lambda text: json.dumps(json.loads(text) | {key: value})


def geometry(change):
    def edited(text):
        values = json.loads(text)
        change(values["features"][2]["geometry"])
        return json.dumps(values)

    return edited


def line(number, old, new):
    def change(text):
        lines = text.split("\n")
        assert old in lines[number - 1]
        lines[number - 1] = lines[number - 1].replace(old, new, 1)
        return "\n".join(lines)

    return change


BAD = [
    ("slide.json", drop_key("weights"), "a/slide.json: is of another version of dtcseg, or damaged ('weights')"),
    ("slide.json", lambda text: text[:40], "a/slide.json: is of another version of dtcseg, or damaged"),
    ("slide.json", lambda text: "[]", "a/slide.json: is of another version of dtcseg, or damaged"),
    ("slide.json", put("mpp_um", 0), "a/slide.json: its sizes cannot be used"),
    ("slide.json", put("mpp_um", "wide"), "a/slide.json: is of another version of dtcseg, or damaged"),
    ("slide.json", put("details", []), "a/slide.json: its sizes cannot be used"),
    ("slide.json", put("slide", "../b"), "a/slide.json: is the record of another slide (../b)"),
    ("cells.csv", line(1, ",uuid", ",name"), "a/cells.csv: has no column uuid, another version of dtcseg wrote it"),
    ("cells.csv", line(3, "uninterpretable", "perhaps"), "a/cells.csv: line 3 cannot be read ('perhaps' is no call)"),
    ("cells.csv", line(4, "3,", "x,"), "a/cells.csv: line 4 cannot be read"),
    ("cells.csv", line(4, "20.00", "inf"), "a/cells.csv: line 4 cannot be read (diameter_um is 'inf', not a number)"),
    ("cells.csv", lambda text: text[: len(text) // 2], "a/cells.csv: line "),
    ("cells.csv", lambda text: text.partition("\n")[0] + "\n", "a: cells.csv has 0 cells, cells.geojson 23"),
    ("cells.csv", lambda text: text + text.split("\n")[1] + "\n", "a/cells.csv: names a cell twice"),
    ("cells.csv", lambda text: text.replace("a", "\0"), "a/cells.csv: "),
    ("cells.geojson", lambda text: text[:1000], "a/cells.geojson: cannot be read"),
    ("cells.geojson", lambda text: "[" * 100_000, "a/cells.geojson: cannot be read"),
    ("cells.geojson", lambda text: "{}", "a/cells.geojson: cannot be read ('features')"),
    ("cells.geojson", geometry(lambda g: g.update(type="Point")), "a/cells.geojson: outline 3 cannot be read"),
    ("cells.geojson", geometry(lambda g: g["coordinates"][0].pop()), "a/cells.geojson: outline 3 cannot be read"),
    ("cells.geojson", geometry(lambda g: g["coordinates"][0][4].pop()), "a/cells.geojson: outline 3 cannot be read"),
]


@pytest.mark.parametrize(("file", "change", "words"), BAD)
def test_a_slide_that_cannot_be_read_is_named_and_the_others_go_on(dtcseg, results, file, change, words):
    path = results.root / "a" / file
    edit(path, change)
    status, out, err = dtcseg("export", results.root, "--to", "stage", "--to", "qupath")
    assert status == 1
    assert [Path(line).parent.name for line in out] == ["b", "b", "empty", "empty"]
    assert len(err) == 1
    assert words in err[0]
    assert not (results.root / "a" / "stage.csv").exists()


@pytest.mark.parametrize("file", ["cells.csv", "cells.geojson"])
def test_a_file_that_is_missing(dtcseg, results, file):
    (results.root / "a" / file).unlink()
    status, _, err = dtcseg("export", results.root, "--to", "stage")
    assert status == 1
    assert err == [f"a/{file}: cannot be read ([Errno 2] No such file or directory: '{results.root}/a/{file}')"]


def test_failed_slides_are_not_exported(results):
    with ResultsFolder(results.root) as folder:
        info = folder.info
        folder.note_failure(FailedSlide("b", "b.tif", "cut off"))
        folder.note_failure(FailedSlide("c", "c.tif", "empty"))
        folder.write_summaries(info, last=True)
    slides, problems = read_slides(results.root)
    assert [slide.record.slide for slide in slides] == ["a", "empty"]
    assert [problem.partition(":")[0] for problem in problems] == ["b", "c"]
    assert "cut off" in problems[0]


def test_links_out_of_the_folder_are_not_followed(results, tmp_path):
    (results.root / "linked").symlink_to(results.root / "a")
    assert len(read_slides(results.root)[0]) == 3
    out, elsewhere = tmp_path / "target", tmp_path / "elsewhere"
    out.mkdir()
    elsewhere.mkdir()
    (out / "a").symlink_to(elsewhere)
    (elsewhere / "kept").write_text("kept")
    (out / "b").mkdir()
    (out / "b" / "stage.csv").symlink_to(elsewhere / "kept")
    done = export_results(results.root, ["stage"], out=out)
    assert len(done.problems) == 1
    assert "in the way" in done.problems[0]
    assert os.listdir(elsewhere) == ["kept"]
    assert (elsewhere / "kept").read_text() == "kept"
    assert not (out / "b" / "stage.csv").is_symlink()


def test_scoring_again_removes_what_was_exported(results):
    export_results(results.root, FORMATS)
    (results.root / "a" / "verdicts" / "r.jsonl").write_text("said")
    job = SlideJob(name="a", files=(results.root.parent / "slides" / "a.tif",))
    score = slide_score(some_cells(2))
    record = make_record(job, score, key=resume_key(job, WEIGHTS), weights=WEIGHTS, program="0.1.0", seconds=1.0)
    with ResultsFolder(results.root) as folder:
        folder.write_slide(job, score, record)
    assert not set(os.listdir(results.root / "a")) & set(EXPORTED)
    assert (results.root / "a" / "verdicts" / "r.jsonl").read_text() == "said"
    assert set(os.listdir(results.root / "b")) >= {"stage.csv", "labels.ome.zarr"}


def test_an_error_leaves_the_older_files_whole(results, monkeypatch):
    export_results(results.root, ["ome-zarr"])
    place = results.root / "a" / "labels.ome.zarr"
    before = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}

    def fail(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(labels, "_draw_level", fail)
    with pytest.raises(Exception, match="disk is full"):
        export_results(results.root, ["ome-zarr"])
    assert {path: path.read_bytes() for path in place.rglob("*") if path.is_file()} == before
    assert not list(results.root.rglob(".*"))


def test_folders_left_by_a_kill_go(tmp_path):
    with writing_folder(tmp_path / "x.zarr") as stage:
        (stage / "file").write_text("1")
        left = shutil.copytree(stage, stage.with_name(stage.name.replace(".dtcseg-tmp", "0.dtcseg-tmp")))
    assert (tmp_path / "x.zarr" / "file").read_text() == "1"
    assert left.exists()
    remove_leftovers(tmp_path)
    assert os.listdir(tmp_path) == ["x.zarr"]


def test_a_run_in_the_folder_keeps_the_export_out(results):
    with ResultsFolder(results.root), pytest.raises(UsageError, match="another run is writing here"):
        export_results(results.root, ["stage"])


def test_hostile_names_stay_in_their_columns_and_folders(make_results, tmp_path):
    name = '=cmd|"x", <b>\\\u202e'
    made = make_results({name.replace("\\", ""): some_cells(5)})
    done = export_results(made.root, FORMATS)
    assert done.problems == ()
    assert all(made.root in path.parents for path in done.written)
    with open(done.written[-2], encoding="utf-8") as file:
        assert "cmd" not in file.read()
    assert b"\xe2\x80\xae" not in (made.root / "coco.json").read_bytes()


def test_calls_reach_every_format(results):
    slides, _ = read_slides(results.root, ["a"])
    calls = {cell.cell_id: "artefact" for cell in slides[0].cells}
    assert {cell.call for cell in slides[0].with_calls(calls).cells} == {"artefact"}
    assert slides[0].with_calls(None) is slides[0]
    assert replace(slides[0]) == slides[0]
    export_results(results.root, FORMATS, calls={"a": calls})
    stage = (results.root / "a" / "stage.csv").read_text()
    assert (stage.count(",artefact,"), stage.count(",tumour,")) == (23, 0)
    assert (results.root / "b" / "stage.csv").read_text().count(",tumour,") == 3


@pytest.mark.slow
def test_a_slide_from_its_file_to_every_format(tmp_path):
    def run(*arguments):
        command = [sys.executable, "-m", "dtcseg.cli", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)

    run("score", SAMPLE, "--out", tmp_path / "out", "--device", "cpu")
    run("export", tmp_path / "out", *all_formats())
    (slide,), _ = read_slides(tmp_path / "out")
    assert sum(cell.call == "tumour" for cell in slide.cells) > 0
    coco = json.loads((tmp_path / "out" / "coco.json").read_bytes())
    assert len(coco["annotations"]) == len(slide.cells) == slide.record.candidates
    assert slide.record.details["references"] == {}


def test_results_of_earlier_versions_lack_some_measurements(results):
    path = results.root / "a" / "cells.csv"
    with path.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    kept = [name for name in rows[0] if name not in ("nucleus_ratio", "ck_granularity")]
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, kept, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    cells = read_slide(path.parent).cells
    assert len(cells) == 23
    assert "nucleus_ratio" not in cells[0].measurements
    assert "ck_od" in cells[0].measurements
