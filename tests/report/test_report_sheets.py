"""The laboratory's tables: a bad row is one line, the others count."""

import pytest

from dtcseg.errors import UsageError
from dtcseg.report.sheets import SheetFiles, read_sheets


def sheets_of(tmp_path, **texts):
    for name, text in texts.items():
        (tmp_path / f"{name}.csv").write_text(text, "utf-8")
    return read_sheets(tmp_path)


def test_assays(tmp_path):
    sheets = sheets_of(
        tmp_path,
        assays="Patient;Timepoint;Assay;Value;Unit;Detected\n"
        "P1;C3;ctDNA;0,12;% VAF;yes\nP1;C6;ctDNA;<0,01;% VAF;\nP2;C3;CTC;3;/7.5 mL;\nP2;C6;CTC;;;no\n",
    )
    assert [(v.patient, v.value, v.detected) for v in sheets.assays] == [
        ("P1", 0.12, True),
        ("P1", None, False),
        ("P2", 3.0, True),
        ("P2", None, False),
    ]
    assert sheets.warnings == ()


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (",C3,ctDNA,1,,", "names no patient"),
        ("P1,C3,,1,,", "names no assay"),
        ("P1,C3,ctDNA,many,,", "value 'many' is no number"),
        ("P1,C3,ctDNA,nan,,", "value 'nan' is no number"),
        ("P1,C3,ctDNA,,,", "has neither a value nor yes or no"),
        ("P1,C3,ctDNA,1,,perhaps", "detected is 'perhaps', not yes or no"),
        ("P0,C3,CTDNA,1,,", "repeats the assay, patient and time point of row 3"),
    ],
)
def test_bad_rows_of_assays(tmp_path, row, words):
    table = f"patient,timepoint,assay,value,unit,detected\nP9,C3,ctDNA,1,,\nP0,C3,ctDNA,2,,\n{row}\n"
    sheets = sheets_of(tmp_path, assays=table)
    assert [v.value for v in sheets.assays][-1] == 2.0
    (warning,) = sheets.warnings
    assert words in warning
    assert warning.endswith("; the row is left out")


def test_a_flood_of_bad_rows_is_bounded(tmp_path):
    sheets = sheets_of(tmp_path, assays="patient,assay,value\n" + "P1,,1\n" * 500)
    assert len(sheets.warnings) == 21
    assert sheets.warnings[-1] == "assays.csv: 480 more rows cannot be used"


def test_arms(tmp_path):
    sheets = sheets_of(tmp_path, arms="patient,arm,control\nP1,A,no\nP2,obs,yes\nP2,A,no\nP3,,\n")
    assert sheets.arms == {"P1": "A", "P2": "obs"}
    assert sheets.control == "obs"
    assert "row 4: puts patient 'P2' into a second arm" in sheets.warnings[0]
    assert "row 5: names no arm" in sheets.warnings[1]


def test_arms_without_a_control(tmp_path):
    sheets = sheets_of(tmp_path, arms="patient,arm\nP1,A\nP2,B\n")
    assert sheets.control == ""
    assert "one arm must be the control" in sheets.warnings[0]


def test_order(tmp_path):
    sheets = sheets_of(tmp_path, timepoints="timepoint,order\nBM1,1\nBM2,2\nBM2,3\nBM3,later\n")
    assert sheets.order == {"BM1": 1.0, "BM2": 2.0}
    assert [w.partition(": ")[2].partition(";")[0] for w in sheets.warnings] == [
        "gives time point 'BM2' a second place",
        "order 'later' is no number",
    ]


def test_table_without_its_columns_is_left_out_in_one_line(tmp_path):
    sheets = sheets_of(tmp_path, arms="name,group\nP1,A\n")
    assert sheets.arms is None
    assert sheets.warnings == ("arms.csv: has no column 'patient', 'arm'; it is left out",)


def test_table_that_was_named_must_be_there(tmp_path):
    with pytest.raises(UsageError, match="No such file"):
        read_sheets(tmp_path, SheetFiles(assays=tmp_path / "none.csv"))


def test_windows_and_empty_tables(tmp_path):
    (tmp_path / "arms.csv").write_bytes("patient;arm;control\r\nMüller;A;yes\r\n".encode("cp1252"))
    (tmp_path / "assays.csv").write_bytes(b"")
    sheets = read_sheets(tmp_path)
    assert sheets.arms == {"Müller": "A"}
    assert sheets.warnings == ("assays.csv: has no column 'patient', 'assay'; it is left out",)


def test_apostrophe_of_a_result_table_is_no_part_of_a_name(tmp_path):
    sheets = sheets_of(tmp_path, assays="patient,timepoint,assay,value\n'=cmd,'+6 mo,ctDNA,1\nO'Hara,'s,ctDNA,1\n")
    assert [(v.patient, v.timepoint) for v in sheets.assays] == [("=cmd", "+6 mo"), ("O'Hara", "'s")]
