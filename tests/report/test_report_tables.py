"""Records, and what the tables make of them."""

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from fake_scoring import WEIGHTS, candidate, slide_score

from dtcseg.cells import CALLS
from dtcseg.config import SlideJob
from dtcseg.report.specimens import specimens as by_patient
from dtcseg.report.study import make_study
from dtcseg.report.tables import patients_csv as study_csv
from dtcseg.report.tables import slides_csv
from dtcseg.results.record import (
    FailedSlide,
    failed_slide,
    file_identity,
    from_json,
    make_record,
    plain_json,
    resume_key,
    to_json,
)
from dtcseg.results.summary import summary_text

SLIDE_COLUMNS = (
    "slide,file,patient,timepoint,role,stain,status,reason,mpp,area_mm2,mnc,mnc_low,mnc_high,candidates,tumour,"
    "uninterpretable,haematopoietic,artefact,per_million,per_million_low,per_million_high,qc,seconds,probable,unsettled,"
    "reviewed,expected"
)
PATIENT_COLUMNS = "patient,timepoint,slides,mnc,dtc,per_million,per_million_low,per_million_high,result,reviewed"


@pytest.fixture
def record(tmp_path):
    def make(name="a", tumours=0, others=(), job=None, **score):
        path = tmp_path / f"{name}.tif"
        path.write_bytes(b"x" * 10)
        cells = [candidate(call="tumour")] * tumours + [candidate(call=call) for call in others]
        job = replace(SlideJob(name=name, files=(path,)), **(job or {}))
        return make_record(job, slide_score(cells, **score), key="k", weights=WEIGHTS, program="0.1.0", seconds=1.234)

    return make


def patients_csv(slides) -> bytes:
    return study_csv(make_study(Path("/nowhere"), slides))


def rows(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode("utf-8"), newline="")))


def test_record_comes_back_from_json(record):
    one = record("Köln", 2, ["artefact"], qc=("pale",), job={"channels": ("DAPI",)})
    assert from_json(to_json(one)) == one
    assert one.calls == {"tumour": 2, "uninterpretable": 0, "haematopoietic": 0, "artefact": 1}
    assert one.details == {"device": "cpu", "white": [250.0, 251.0, None], "spots": [[1, 2]]}


def test_record_keeps_paths_that_are_not_text(record):
    one = replace(record(), files=("/slides/\udcff.tif",))
    assert from_json(to_json(one)).files == one.files


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b'{"slide": "a"}', b"\xff"])
def test_what_is_no_record_is_refused(content):
    with pytest.raises((ValueError, TypeError, KeyError)):
        from_json(content)


def test_plain_json_ends_in_json():
    value = {"a": {1, 2}, "path": Path("x"), "inf": float("inf"), "deep": [(1, float("nan"))], "b": True, 3: None}
    assert json.loads(json.dumps(plain_json(value), allow_nan=False)) == {
        "a": [1, 2],
        "path": "x",
        "inf": None,
        "deep": [[1, None]],
        "b": True,
        "3": None,
    }


def test_slides_csv_is_exact(record):
    table = slides_csv([record("a", 1, ["artefact"], mnc=2_000_000, job={"patient": "P1", "timepoint": "0"})]).decode()
    assert table == (
        f"{SLIDE_COLUMNS}\n"
        "a,a.tif,P1,0,sample,new_fuchsin,done,,0.5,240.0000,2000000,1960000.0,2040000.0,2,1,0,0,1,"
        "0.5000,0.0127,2.7863,,1.23,0,0,no,\n"
    )


def test_failed_slide_is_a_row_with_its_reason():
    job = SlideJob(name="b", files=(Path("b.svs"),), patient="P", role="negative_control", stain="dab")
    (row,) = rows(slides_csv([failed_slide(job, "cut off\nat byte 7")]))
    assert row["status"] == "failed"
    assert row["reason"] == r"cut off\nat byte 7"
    assert (row["role"], row["stain"], row["patient"]) == ("negative_control", "dab", "P")
    assert row["mnc"] == row["tumour"] == row["per_million"] == row["seconds"] == ""


def test_slide_without_cells_is_a_valid_result(record):
    (row,) = rows(slides_csv([record(mnc=400_000)]))
    assert (row["status"], row["candidates"], row["tumour"], row["per_million"]) == ("done", "0", "0", "0.0000")
    assert row["per_million_high"] == "9.2235"  # 9.2222 (Garwood), and the error of the denominator
    assert row["qc"] == ""


@pytest.mark.parametrize("score", [{"mnc": 0}, {"area_mm2": 0.0}, {"qc": ("blurred:62%", "not_assessable")}])
def test_slide_that_cannot_be_judged_has_no_rate(record, score):
    (row,) = rows(slides_csv([record(**score)]))
    assert row["status"] == "done"
    assert "not_assessable" in row["qc"].split("; ")
    assert row["per_million"] == row["per_million_low"] == row["per_million_high"] == ""


def test_hostile_text_is_neutralised(record):
    job = {"patient": "=HYPERLINK(1)", "timepoint": '@"x",\ny'}
    (row,) = rows(slides_csv([record("-a", job=job)]))
    assert row["slide"] == "'-a"
    assert row["file"] == "'-a.tif"
    assert row["patient"] == "'=HYPERLINK(1)"
    assert row["timepoint"] == '\'@"x",\ny'
    (row,) = rows(patients_csv([record("-a", job=job)]))
    assert row["patient"] == "'=HYPERLINK(1)"


def test_patients_add_up(record):
    p1 = {"patient": "P1", "timepoint": "0"}
    table = patients_csv(
        [
            record("a", 0, job=p1, mnc=1_000_000),
            record("b", 1, ["uninterpretable"], job=p1, mnc=1_000_000),
            record("c", 5, job={**p1, "role": "isotype_control"}),
            record("d", 0, job={"patient": "P1", "timepoint": "1"}, mnc=2_000_000),
            record("e", 0, mnc=2_000_000),
        ]
    )
    assert table.decode().splitlines()[0].startswith(PATIENT_COLUMNS)
    first, second, third = rows(table)
    assert (first["patient"], first["timepoint"], first["slides"], first["dtc"]) == ("P1", "0", "2", "1")
    assert (first["mnc"], first["per_million"], first["per_million_high"]) == ("2000000", "0.5000", "2.7863")
    assert (first["result"], first["reviewed"], first["uninterpretable"]) == ("DTC detected", "no", "1")
    assert (second["timepoint"], second["result"]) == ("1", "not detected, < 1.50 per 10^6 (95 %)")
    assert (third["patient"], third["result"]) == ("e", "not detected, < 1.50 per 10^6 (95 %)")


def test_unnamed_slide_is_not_the_patient_of_its_name(record):
    named, unnamed = by_patient([record("x", job={"patient": "a"}), record("a", 1)])
    assert {(named.patient, named.dtc), (unnamed.patient, unnamed.dtc)} == {("a", 0), ("a", 1)}


def test_bad_slides_neither_thin_nor_hide(record):
    good = record("a", 0, mnc=1_000_000, job={"patient": "P"})
    bad = record("b", 0, mnc=1_000_000, qc=("not_assessable",), job={"patient": "P"})
    (patient,) = by_patient([good, bad])
    assert (patient.slides, patient.not_assessable, patient.mnc) == (1, 1, 1_000_000)
    assert patient.result == "not detected, < 3.00 per 10^6 (95 %)"
    (patient,) = by_patient([bad])
    assert (patient.result, patient.rate) == ("not assessable", None)
    found = record("c", 1, mnc=1_000_000, qc=("not_assessable",), job={"patient": "P"})
    (patient,) = by_patient([good, found])
    assert (patient.result, patient.dtc, patient.mnc) == ("DTC detected", 1, 2_000_000)
    (patient,) = by_patient([record("d", 1, mnc=0)])
    assert (patient.result, patient.rate) == ("DTC detected", None)


def test_patient_of_failed_slides_only():
    (row,) = rows(patients_csv([FailedSlide("a", "a.tif", "bad", patient="P")]))
    assert (row["slides"], row["slides_failed"], row["result"]) == ("0", "1", "not assessable")
    assert row["per_million"] == ""


def test_key_follows_what_changes_results(tmp_path):
    path = tmp_path / "a.tif"
    path.write_bytes(b"12345")
    job = SlideJob(name="a", files=(path,))
    key = resume_key(job, WEIGHTS)
    assert resume_key(replace(job, name="b", patient="P", timepoint="1", role="isotype_control"), WEIGHTS) == key
    for other in (
        replace(job, stain="dab"),
        replace(job, mpp_um=0.5),
        replace(job, channels=("DAPI",)),
    ):
        assert resume_key(other, WEIGHTS) != key
    assert resume_key(job, replace(WEIGHTS, sha256="0" * 64)) != key
    assert resume_key(job, replace(WEIGHTS, name="renamed")) == key
    path.write_bytes(b"123456")
    assert resume_key(job, WEIGHTS) != key


def test_folders_and_their_companions_count_whole(tmp_path):
    zarr = tmp_path / "a.zarr"
    (zarr / "0").mkdir(parents=True)
    (zarr / "0" / "c").write_bytes(b"123")
    assert file_identity((zarr,))[0].size == 3
    mrxs = tmp_path / "b.mrxs"
    mrxs.write_bytes(b"1")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "Data0000.dat").write_bytes(b"1234")
    assert file_identity((mrxs,))[0].size == 5


def test_summary_is_lined_up_and_safe(record):
    text = summary_text(
        [
            record("a", 0, mnc=2_000_000),
            record("Zürich 日本", 3, mnc=2_000_000, qc=("pale", "crowded")),
            record("c", mnc=0),
            FailedSlide("evil\x1b[31m\nname", "f", "the file is cut off " * 9),
        ],
        Path("out/report.html"),
    )
    lines = text.split("\n")
    assert len(lines) == 1 + 4 + 1 + 2
    assert "2 000 000    0  < 1.50" in lines[1]
    assert "1.50 (0.31\N{EN DASH}4.38)     pale; crowded" in lines[2]
    assert lines[3].endswith("-                    not assessable")
    assert r"evil\x1b[31m\nname" in lines[4]
    assert lines[6] == "3 slides done, 1 failed. Research use only."
    assert lines[7] == "out/report.html"
    assert "\x1b" not in text


def test_calls_are_the_columns():
    assert all(call in SLIDE_COLUMNS.split(",") for call in CALLS)
