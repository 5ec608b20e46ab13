"""The results folder: complete or missing at every moment, whatever was there before."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from fake_scoring import WEIGHTS, candidate, slide_score

from dtcseg.config import SlideJob
from dtcseg.errors import SlideError, UsageError
from dtcseg.manifest import SlideFailure
from dtcseg.results.folder import ResultsFolder, RunInfo, read_records, refresh
from dtcseg.results.placing import free_name, place_failure, place_jobs
from dtcseg.results.record import FailedSlide, file_identity, make_record, resume_key

INFO = RunInfo("0.1.0", {"name": "fake", "sha256": "f" * 64}, "cpu", {}, "2026-01-01T00:00:00Z")
FILES = {"cells.csv", "cells.geojson", "nuclei.parquet", "slide.json", "verdicts"}


def job_of(tmp_path, name="a", folder="slides", content=b"pixels") -> SlideJob:
    path = tmp_path / folder / f"{name}.tif"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    return SlideJob(name=name, files=(path,))


def write(folder, job, tumours=1, crops=()):
    score = slide_score([candidate(x_px=10.0 * n) for n in range(1, tumours + 1)])
    record = make_record(job, score, key=resume_key(job, WEIGHTS), weights=WEIGHTS, program="0.1.0", seconds=1.0)
    folder.write_slide(job, score, record, crops)
    return record


def test_new_slide(tmp_path):
    out = tmp_path / "deep" / "out"
    with ResultsFolder(out) as folder:
        record = write(folder, job_of(tmp_path), crops=[b"png1", b"png2"])
        folder.write_summaries(INFO, last=True)
    assert set(os.listdir(out)) == {"a", "run.json", "slides.csv", "patients.csv", "report.html"}
    assert set(os.listdir(out / "a")) == FILES | {"crops"}
    assert (out / "a" / "crops" / "002.png").read_bytes() == b"png2"
    assert read_records(out) == {"a": record}


def test_slide_scored_again_keeps_its_verdicts(tmp_path):
    job = job_of(tmp_path)
    with ResultsFolder(tmp_path / "out") as folder:
        write(folder, job, 1, [b"old crop"])
        verdict = tmp_path / "out" / "a" / "verdicts" / "reader.jsonl"
        verdict.write_text("said")
        inode = os.stat(verdict.parent).st_ino
        write(folder, job, 3)
    assert verdict.read_text() == "said"
    assert os.stat(verdict.parent).st_ino == inode
    assert set(os.listdir(tmp_path / "out" / "a")) == FILES
    assert read_records(tmp_path / "out")["a"].tumour == 3


@pytest.mark.parametrize("before", [False, True])
def test_kill_at_any_moment_leaves_the_slide_complete_or_missing(tmp_path, monkeypatch, before):
    """The folder is copied before every step that changes the disk: each copy is what kill -9 would have left."""
    out, copies, copying = tmp_path / "out", [], []
    job = job_of(tmp_path)
    if before:
        with ResultsFolder(out) as folder:
            write(folder, job, 1, [b"crop"])
            folder.write_summaries(INFO, last=True)
            (out / "a" / "verdicts" / "r.jsonl").write_text("said")

    def copy_before(function):
        def wrapped(*args, **kwargs):
            if not copying:
                copying.append(True)
                copies.append(tmp_path / f"copy{len(copies)}")
                shutil.copytree(out, copies[-1])
                copying.clear()
            return function(*args, **kwargs)

        return wrapped

    with ResultsFolder(out) as folder, monkeypatch.context() as patch:
        for name in ("rename", "replace", "fsync", "mkdir", "unlink", "rmdir"):
            patch.setattr(os, name, copy_before(getattr(os, name)))
        write(folder, job, 3)
    assert len(copies) > 10
    seen = set()
    for copy in copies:
        with ResultsFolder(copy) as folder:
            seen.add(tumours := {name: record.tumour for name, record in folder.records.items()}.get("a"))
            rows = folder.rows()
            folder.write_summaries(INFO, last=True)
        assert len(rows) == (tumours is not None)
        assert not list(copy.glob("**/.*"))
        if before:
            assert (copy / "a" / "verdicts" / "r.jsonl").read_text() == "said"
        if tumours is None:
            assert not (copy / "a" / "slide.json").exists()
        else:
            assert set(os.listdir(copy / "a")) - {"crops"} == FILES
            assert (copy / "a" / "cells.csv").read_text().count("\n") == 1 + tumours
    assert seen == ({1, None, 3} if before else {None, 3})


def test_what_is_not_complete_is_missing(tmp_path):
    out = tmp_path / "out"
    with ResultsFolder(out) as folder:
        for name in "abcd":
            write(folder, job_of(tmp_path, name))
    (out / "a" / "cells.csv").unlink()
    (out / "b" / "slide.json").write_text("{")
    shutil.copytree(out / "c", out / "moved")
    (out / "link").symlink_to(out / "c")
    assert set(read_records(out)) == {"c", "d"}


def test_leftovers_of_a_killed_run_go(tmp_path):
    out = tmp_path / "out"
    with ResultsFolder(out) as folder:
        write(folder, job_of(tmp_path))
    (out / ".partial" / "slide").mkdir(parents=True)
    (out / ".abc.dtcseg-tmp").touch()
    (out / "a" / ".abc.dtcseg-tmp").touch()
    (out / "mine.txt").touch()
    with ResultsFolder(out):
        pass
    assert set(os.listdir(out)) == {"a", "mine.txt"}
    assert set(os.listdir(out / "a")) == FILES


def test_failures_stay_until_the_slide_is_done(tmp_path):
    out = tmp_path / "out"
    job = job_of(tmp_path)
    with ResultsFolder(out) as folder:
        folder.note_failure(FailedSlide("a", "a.tif", "cut off"))
        folder.write_summaries(INFO, last=True)
    with ResultsFolder(out) as folder:
        assert folder.rows() == [FailedSlide("a", "a.tif", "cut off")]
        write(folder, job)
        folder.write_summaries(INFO, last=True)
        assert not folder.failures
        folder.note_failure(FailedSlide("a", "a.tif", "cut off"))
        folder.write_summaries(INFO, last=True)
    with ResultsFolder(out) as folder:
        (row,) = folder.rows()
        assert row.reason == "cut off (its folder still holds the older results)"
        assert set(os.listdir(out / "a")) == FILES
        folder.forget_failure("a")
        assert [row.slide for row in folder.rows()] == ["a"]
    assert json.loads((out / "run.json").read_text())["failed"][0]["slide"] == "a"


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"failed": 1}', '{"failed": [{}]}'])
def test_broken_run_json_is_no_obstacle(tmp_path, text):
    (tmp_path / "run.json").write_text(text)
    with ResultsFolder(tmp_path) as folder:
        assert folder.info is None
        assert not folder.failures
    with pytest.raises(UsageError, match="is no results folder"):
        refresh(tmp_path)


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "a\\b", ".hidden", "run.json", "slides.csv", "x" * 255])
def test_nothing_escapes_the_folder(tmp_path, name):
    with (
        ResultsFolder(tmp_path / "out") as folder,
        pytest.raises(SlideError, match="cannot be the name of a results folder"),
    ):
        write(folder, replace(job_of(tmp_path), name=name))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "slides"]
    assert not list((tmp_path / "out").iterdir())


def test_link_in_the_way_is_not_followed(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a").symlink_to(elsewhere)
    (tmp_path / "out" / "b").touch()
    with ResultsFolder(tmp_path / "out") as folder:
        for name in "ab":
            with pytest.raises(SlideError, match="is in the way"):
                write(folder, job_of(tmp_path, name))
    assert not list(elsewhere.iterdir())


def test_a_file_or_someone_elses_table_cannot_be_the_results_folder(tmp_path):
    file = tmp_path / "file"
    file.touch()
    for out in (file, file / "below"):
        with pytest.raises(UsageError, match="out"), ResultsFolder(out):
            pass
    table = tmp_path / "slides.csv"
    table.write_text("file,patient\na.tif,P\n")
    with pytest.raises(UsageError, match=r"slides\.csv that is no result"), ResultsFolder(tmp_path):
        pass
    assert table.read_text() == "file,patient\na.tif,P\n"
    assert sorted(os.listdir(tmp_path)) == ["file", "slides.csv"]


def test_folder_that_cannot_be_written(tmp_path, monkeypatch):
    def read_only(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("dtcseg.results.lock.os.open", read_only)
    with (
        pytest.raises(UsageError, match=r"results cannot be written here \(Permission denied\)"),
        ResultsFolder(tmp_path),
    ):
        pass


def test_refresh_writes_everything_again(tmp_path):
    out = tmp_path / "out"
    with ResultsFolder(out) as folder:
        write(folder, job_of(tmp_path))
        folder.write_summaries(INFO, last=True)
    content = {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}
    for name in ("slides.csv", "patients.csv", "report.html"):
        (out / name).unlink()
    assert refresh(out).report == out / "report.html"
    assert {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()} == content


def records_of(*jobs):
    return {job.name: make_record(job, slide_score(), key="k", weights=WEIGHTS, program="0", seconds=0) for job in jobs}


def names(jobs):
    return [job.name for job in jobs]


def test_another_slide_of_the_same_name_gets_its_own_folder(tmp_path):
    first, second = job_of(tmp_path, "a", "one"), job_of(tmp_path, "a", "two", b"other pixels")
    records = records_of(first)
    assert names(place_jobs([second], records)) == ["a-2"]
    records |= records_of(replace(second, name="a-2"))
    assert names(place_jobs([second], records)) == ["a-2"]
    assert names(place_jobs([second, first], records)) == ["a-2", "a"]
    assert names(place_jobs([replace(first, name="a-1234"), replace(second, name="a-5678")], records)) == ["a", "a-2"]


def test_copy_beside_the_slide_is_another_slide_but_a_moved_one_is_the_same(tmp_path):
    job = job_of(tmp_path, "a", "one")
    records = records_of(job)
    (tmp_path / "two").mkdir()
    copied = Path(shutil.copy2(job.files[0], tmp_path / "two" / "a.tif"))
    assert file_identity((copied,)) == records["a"].identity
    assert names(place_jobs([replace(job, files=(copied,))], records)) == ["a-2"]
    job.files[0].unlink()
    assert names(place_jobs([replace(job, files=(copied,))], records)) == ["a"]
    os.utime(copied, (1, 1))  # a copy that lost its time of last change
    assert names(place_jobs([replace(job, files=(copied,))], records)) == ["a"]
    copied.write_bytes(b"another slide on another drive")
    assert names(place_jobs([replace(job, files=(copied,))], records)) == ["a-2"]
    assert names(place_jobs([replace(job, files=(tmp_path / "gone" / "a.tif",))], records)) == ["a-2"]


def test_slide_changed_in_its_place_keeps_its_folder(tmp_path):
    job = job_of(tmp_path)
    records = records_of(job)
    job.files[0].write_bytes(b"scanned again")
    assert names(place_jobs([job], records)) == ["a"]


def test_slide_named_twice_is_one(tmp_path, monkeypatch):
    job = job_of(tmp_path)
    monkeypatch.chdir(tmp_path / "slides")
    placed = place_jobs([job, replace(job, name="b", files=(Path("a.tif"),))], {})
    assert placed == [job]


def test_free_names_are_free_on_every_file_system():
    assert free_name("a", {"A", "a-2"}) == "a-3"
    assert free_name("b", {"A"}) == "b"


def test_input_that_failed_stands_for_no_other_slide(tmp_path):
    records = records_of(job_of(tmp_path, "a", "one"))
    elsewhere = SlideFailure(
        "a", tmp_path / "two" / "a.tif", "no\nsuch file", patient="P", role="rubbish", stain="blue"
    )
    row = place_failure(elsewhere, records, [])
    assert (row.slide, row.file, row.reason) == ("a-2", "a.tif", r"no\nsuch file")
    assert (row.patient, row.role, row.stain) == ("P", "", "")
    same = place_failure(SlideFailure("x", tmp_path / "one" / "a.tif", "gone"), records, [])
    assert (same.slide, same.role) == ("a", "sample")
