"""From folders and tables to slides: names that are safe and distinct, problems that stop one slide and not the run."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from shared_data import READERS, needs_readers

from dtcseg.errors import UsageError
from dtcseg.manifest import LONGEST_NAME, find_slides, result_name, safe_name


def image(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((4, 5, 3), np.uint8)).save(path, format="PNG")
    return path


def table(folder: Path, text: str, encoding: str = "utf-8") -> None:
    (folder / "slides.csv").write_bytes(text.encode(encoding))


def only_failure(folder: Path) -> str:
    jobs, failures = find_slides([folder])
    assert jobs == []
    (failure,) = failures
    assert "\n" not in failure.reason
    return failure.reason


def test_folder_without_a_table(tmp_path: Path) -> None:
    for name in ("b.svs", "a.ome.tif", ".hidden.tif", "a.truth.png", "note.txt", "a_label.png", "b-macro.jpg", "c.csv"):
        image(tmp_path / name)
    image(tmp_path / "deeper" / "c.tif")
    image(tmp_path / "strange.extension")
    (tmp_path / "LICENSE").write_text("text", encoding="utf-8")
    jobs, failures = find_slides([tmp_path])
    assert failures == []
    assert [job.name for job in jobs] == ["a", "b", "strange"]
    first = jobs[0]
    assert first.files == (tmp_path / "a.ome.tif",)
    assert (first.role, first.stain, first.stain_source, first.mpp_um, first.mpp_source) == (
        "sample",
        None,
        "",
        None,
        "",
    )


def test_table_describes_slides_and_the_rest_are_samples(tmp_path: Path) -> None:
    for name in ("a.tif", "b.tif", "c.tif"):
        image(tmp_path / name)
    table(
        tmp_path,
        "file,patient,timepoint,role,stain,mpp,remark\n"
        "a.tif,P 1,diagnosis,isotype_control,new_fuchsin,0.5,x\n"
        "b.tif,P 1,,,New Fuchsin,,\n",
    )
    jobs, failures = find_slides([tmp_path])
    assert failures == []
    a, b, c = jobs
    assert (a.patient, a.timepoint, a.role, a.stain, a.stain_source) == (
        "P 1", "diagnosis", "isotype_control", "new_fuchsin", "slides.csv",
    )  # fmt: skip
    assert (a.mpp_um, a.mpp_source) == (0.5, "slides.csv")
    assert (b.role, b.stain, b.mpp_um) == ("sample", "new_fuchsin", None)
    assert (c.patient, c.role, c.stain) == ("", "sample", None)


def test_flags_override_the_table(tmp_path: Path) -> None:
    image(tmp_path / "a.tif")
    table(tmp_path, "file,stain,mpp\na.tif,aec,0.5\n")
    (job,), _ = find_slides([tmp_path], stain="dab", mpp_um=0.3)
    assert (job.stain, job.stain_source, job.mpp_um, job.mpp_source) == ("dab", "flag", 0.3, "flag")


def test_rows_of_one_slide_are_its_channels(tmp_path: Path) -> None:
    for name in ("x1.png", "x2.png", "x3.png"):
        image(tmp_path / name)
    table(
        tmp_path,
        "file,slide,channel,patient,stain\nx2.png,S/1,CK,P,if\nx1.png,S/1,DAPI,,\nx3.png,,DAPI|CK|CD45,,\n",
    )
    jobs, failures = find_slides([tmp_path])
    assert failures == []
    group, single = jobs
    assert group.name == "S_1"
    assert group.files == (tmp_path / "x2.png", tmp_path / "x1.png")
    assert group.channels == ("CK", "DAPI")
    assert (group.patient, group.stain) == ("P", "if")
    assert single.channels == ("DAPI", "CK", "CD45")


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16"])
def test_tables_as_spreadsheets_save_them(separator: str, encoding: str, tmp_path: Path) -> None:
    image(tmp_path / "Müller 1.tif")
    rows = [
        ["File", "Patient", "MPP"],
        ["Müller 1.tif", "Frau Müller", "0,5" if separator != "," else "0.5"],
        ["", "", ""],
    ]
    table(tmp_path, "\r\n".join(separator.join(row) for row in rows) + "\r\n", encoding)
    (job,), failures = find_slides([tmp_path])
    assert failures == []
    assert (job.name, job.patient, job.mpp_um) == ("Müller 1", "Frau Müller", 0.5)


def test_separator_line_of_spreadsheets(tmp_path: Path) -> None:
    image(tmp_path / "a.tif")
    table(tmp_path, "sep=;\nfile;patient\na.tif;P\n")
    (job,), _ = find_slides([tmp_path])
    assert job.patient == "P"


def test_umlauts_encoded_another_way_are_found(tmp_path: Path) -> None:
    image(tmp_path / "Mu\u0308ller.tif")  # as macOS stores it
    table(tmp_path, "file,patient\nMüller.tif,P\n")
    jobs, failures = find_slides([tmp_path])
    assert failures == []
    assert [(job.name, job.patient) for job in jobs] == [("Müller", "P")]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("a.tif,,,patient_sample,,", "unknown role 'patient_sample' in slides.csv; one of sample"),
        ("a.tif,,,,giemsa,", "unknown stain 'giemsa' in slides.csv; one of new_fuchsin"),
        ("a.tif,,,,,20x", "mpp '20x' in slides.csv is not a number between 0.05 and 2"),
        ("a.tif,,,,,0", "mpp '0'"),
        ("a.tif,,,,,nan", "mpp 'nan'"),
        ("../a.tif,,,,,", "lies outside the folder"),
        ("/etc/passwd,,,,,", "lies outside the folder"),
        ("C:\\a.tif,,,,,", "lies outside the folder"),
        ("..\\a.tif,,,,,", "lies outside the folder"),
        ("gone.tif,,,,,", "no such file, though slides.csv lists it"),
        (",P,,,,", "row 2 of slides.csv names no file"),
    ],
)
def test_a_bad_row_fails_its_slide_alone(row: str, words: str, tmp_path: Path) -> None:
    image(tmp_path / "s" / "a.tif")
    image(tmp_path / "s" / "good.tif")
    table(tmp_path / "s", f"file,patient,timepoint,role,stain,mpp\n{row}\ngood.tif,G,,,,\n")
    jobs, failures = find_slides([tmp_path / "s"])
    (failure,) = failures
    assert words in failure.reason
    assert "G" in [job.patient for job in jobs]
    assert not any(job.files == failure for job in jobs)


def test_a_slip_of_the_pen_gets_a_hint(tmp_path: Path) -> None:
    image(tmp_path / "slide_01.tif")
    table(tmp_path, "file\nslide_O1.tif\n")
    _, (failure,) = find_slides([tmp_path])
    assert "did you mean 'slide_01.tif'?" in failure.reason


def test_rows_that_contradict_each_other(tmp_path: Path) -> None:
    image(tmp_path / "a.tif")
    table(tmp_path, "file,role\na.tif,sample\na.tif,isotype_control\n")
    assert "is listed twice in slides.csv, differently (rows 2 and 3)" in only_failure(tmp_path)
    table(tmp_path, "file,role\na.tif,sample\na.tif,sample\n")
    assert len(find_slides([tmp_path])[0]) == 1
    image(tmp_path / "b.tif")
    table(tmp_path, "file,slide,channel,patient\na.tif,S,DAPI,P1\nb.tif,S,CK,P2\n")
    assert "several values of patient for one slide: P1, P2" in only_failure(tmp_path)
    table(tmp_path, "file,slide,channel\na.tif,S,DAPI\na.tif,S,CK\nb.tif,,\n")
    assert "one file for several channels" in find_slides([tmp_path])[1][0].reason
    table(tmp_path, "file,slide,channel\na.tif,S,DAPI\nb.tif,S,\n")
    assert "row 3 of slides.csv names no channel for b.tif" in only_failure(tmp_path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name,patient\na.tif,P\n", "has no column 'file'"),
        ("file,stian\na.tif,aec\n", "column 'stian' is unknown; did you mean 'stain'?"),
        ("file,role,role\na.tif,,\n", "has the column 'role' 2 times"),
        ('file\n"a.tif\n', "is not a CSV table"),
        ("", "has no column 'file'"),
        ("slide,file,status,mnc,mnc_low\na,a.tif,done,1,1\n", "is the table of a results folder"),
    ],
)
def test_tables_that_cannot_be_used_stop_the_run(text: str, words: str, tmp_path: Path) -> None:
    image(tmp_path / "a.tif")
    table(tmp_path, text)
    with pytest.raises(UsageError, match=words.replace("?", r"\?")):
        find_slides([tmp_path])


def test_unusable_arguments(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file or folder"):
        find_slides([tmp_path / "none"])
    with pytest.raises(UsageError, match="holds no slide"):
        find_slides([tmp_path])
    with pytest.raises(UsageError, match="no slides given"):
        find_slides([])
    image(tmp_path / "a.tif")
    with pytest.raises(UsageError, match="unknown stain 'blue'"):
        find_slides([tmp_path], stain="blue")
    for mpp in (0.0, -1.0, 40.0, float("nan")):
        with pytest.raises(UsageError, match="is not between"):
            find_slides([tmp_path], mpp_um=mpp)


def test_two_slides_of_one_name_are_distinct_in_any_order(tmp_path: Path) -> None:
    files = [image(tmp_path / name) for name in ("one/a.tif", "two/a.tif", "two/A.svs", "two/b.tif")]
    jobs, _ = find_slides(files)
    names = {job.files[0]: job.name for job in jobs}
    assert len({name.casefold() for name in names.values()}) == 4
    assert names[files[3]] == "b"
    assert all(names[file].casefold().startswith("a-") for file in files[:3])
    again, _ = find_slides(files[::-1])
    assert {job.files[0]: job.name for job in again} == names


def test_a_slide_given_twice_is_scored_once(tmp_path: Path) -> None:
    file = image(tmp_path / "a.tif")
    jobs, _ = find_slides([tmp_path, file, tmp_path / "." / "a.tif"])
    assert len(jobs) == 1


def test_a_file_given_alone_is_what_the_table_beside_it_says(tmp_path: Path) -> None:
    first, second, third = (image(tmp_path / name) for name in ("a.png", "b.png", "c.png"))
    table(tmp_path, "file,slide,channel,patient\na.png,S,DAPI,P\nb.png,S,CK,P\n")
    (job,), _ = find_slides([second])
    assert (job.name, job.files, job.patient) == ("S", (first, second), "P")
    (job,), _ = find_slides([third])
    assert (job.name, job.patient) == ("c", "")


def test_two_rows_of_one_missing_name_are_told_apart(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        table(tmp_path / folder, "file\ngone.tif\n")
    jobs, failures = find_slides([tmp_path / "one", tmp_path / "two"])
    assert jobs == []
    assert len({failure.name for failure in failures}) == 2


def test_folders_that_are_slides(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    zarr = folder / "a.ome.zarr"
    zarr.mkdir(parents=True)
    (zarr / "zarr.json").write_text("{}", encoding="utf-8")
    (folder / "plain").mkdir()
    (job,), _ = find_slides([folder])
    assert (job.name, job.files) == ("a", (zarr,))
    (job,), _ = find_slides([zarr])
    assert (job.name, job.files) == ("a", (zarr,))


def test_parts_of_a_vms_slide_are_no_slides(tmp_path: Path) -> None:
    for name in ("x.jpg", "x_map2.jpg", "other.png"):
        image(tmp_path / name)
    (tmp_path / "x.vms").write_text(
        "[Virtual Microscope Specimen]\nImageFile=x.jpg\nMapFile=x_map2.jpg\n", encoding="utf-8"
    )
    assert [job.name for job in find_slides([tmp_path])[0]] == ["other", "x"]


@pytest.mark.realdata
@needs_readers
def test_dicom_files_are_one_slide(tmp_path: Path) -> None:
    source = READERS / "dicom" / "cmu-1-small-region"
    for given_path in (source, source.parent):
        (job,), failures = find_slides([given_path])
        assert failures == []
        assert (job.name, job.files) == ("cmu-1-small-region", (source,))
    shutil.copyfile(source / "level-1-frames-0-9.dcm", tmp_path / "x.dcm")
    image(tmp_path / "y.png")
    jobs, _ = find_slides([tmp_path])
    assert [job.files for job in jobs] == [(tmp_path,), (tmp_path / "y.png",)]


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("a.ome.tif", "a"),
        ("a.b.svs", "a.b"),
        ("with space.tif", "with space"),
        ("Müller.ndpi", "Müller"),
        ("切片.svs", "切片"),
        ("=1+1.svs", "_1+1"),
        ("-rf.svs", "_rf"),
        ("x\ny\r.svs", "x_y_"),
        ('it\'s "q".tif', "it_s _q_"),
        ("..svs", "_"),
        ("CON.tif", "_CON"),
        ("com1.x.tif", "_com1.x"),
        ("run.json.svs", "_run.json"),
        ("slides.csv.tif", "_slides.csv"),
        ("tail. .tif", "tail"),
        ("a\u202egpj.svs", "a_gpj"),
        ("noextension", "noextension"),
        ("\U0001f610.svs", "\U0001f610"),
    ],
)
def test_result_names(file: str, name: str) -> None:
    assert result_name(Path(file)) == name


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # the machine may be busy
@given(st.text(min_size=1, max_size=300))
def test_every_name_is_safe(text: str) -> None:
    name = safe_name(text)
    assert 1 <= len(name) <= LONGEST_NAME
    assert len(name.encode()) <= 200
    assert not set(name) & set("/\\:*?\"'`<>|\n\r\0")
    assert name[0] not in "=+-@. "
    assert name[-1] not in ". "
    assert name.isprintable()
    assert safe_name(name) == name


def test_long_names_stay_distinct() -> None:
    first, second = (result_name(Path("x" * 200 + tail + ".svs")) for tail in ("a", "b"))
    assert first != second
    assert len(first) <= LONGEST_NAME


@pytest.mark.skipif(os.name == "nt", reason="no such names on Windows")
def test_names_that_only_posix_allows_are_read(tmp_path: Path) -> None:
    for name in ("a\nb.tif", 'q"uote.tif', "=1+1.tif", "ümlaut.tif"):
        image(tmp_path / name)
    jobs, failures = find_slides([tmp_path])
    assert failures == []
    assert sorted(job.name for job in jobs) == ["_1+1", "a_b", "q_uote", "ümlaut"]
