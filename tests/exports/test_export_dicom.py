"""DICOM annotations, read back by highdicom, pydicom and wsidicom."""

import builtins
import json
import shutil
import warnings
from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom
import pytest
from export_makers import some_cells
from highdicom.ann import annread
from pydicom.sr.codedict import codes
from shapely.geometry import Polygon
from wsidicom import WsiDicom

from dtcseg.cells import CALLS
from dtcseg.errors import UsageError
from dtcseg.exports.command import export_results
from dtcseg.exports.dicom import SCHEME, dicom_annotations
from dtcseg.exports.slides import ExportError, NothingToExport, read_slide
from dtcseg.slide import open_slide

UIDS = {
    "study_uid": "1.2.3.1",
    "series_uid": "1.2.3.2",
    "frame_of_reference_uid": "1.2.3.3",
    "sop_instance_uid": "1.2.3.4",
}


def groups_of(path):
    annotations = annread(path)
    return {group.label: group for group in annotations.get_annotation_groups()}, annotations


def values(group, meaning):
    names, found, units = group.get_measurements()
    column = [name.meaning for name in names].index(meaning)
    return found[:, column], units[column]


def test_cells_come_back(results):
    done = export_results(results.root, ["dicom"])
    assert [path.parent.name for path in done.written] == ["a", "b"]
    for name in ("a", "b"):
        groups, annotations = groups_of(results.root / name / "cells.dcm")
        assert annotations.SOPClassUID == "1.2.840.10008.5.1.4.1.1.91.1"
        assert annotations.AnnotationCoordinateType == "2D"
        assert annotations.PixelOriginInterpretation == "VOLUME"
        assert list(groups) == list(CALLS)
        for call, group in groups.items():
            truth = [(number, cell) for number, cell in enumerate(results.cells[name], 1) if cell.call == call]
            polygons = group.get_graphic_data(coordinate_type="2D")
            assert len(polygons) == len(truth) == group.number_of_annotations
            ids, _ = values(group, "Number of the cell in cells.csv")
            scores, _ = values(group, "Probability that it is a tumour cell")
            assert ids.tolist() == [number for number, _ in truth]
            assert scores.tolist() == pytest.approx([cell.score for _, cell in truth])
            for ring, (_, cell) in zip(polygons, truth, strict=True):
                polygon, expected = Polygon(ring), Polygon(cell.outline_px + 0.5)
                assert not np.array_equal(ring[0], ring[-1])
                assert polygon.area == pytest.approx(expected.area, rel=1e-3)
                assert polygon.centroid.distance(expected.centroid) < 0.01


def test_measurements_have_units_and_codes(results):
    export_results(results.root, ["dicom"])
    groups, annotations = groups_of(results.root / "a" / "cells.dcm")
    group = groups["tumour"]
    areas, unit = values(group, "Area")
    assert (unit.value, unit.scheme_designator) == ("um2", "UCUM")
    assert areas.tolist() == pytest.approx([314.16] * 6)
    diameters, unit = values(group, "Diameter")
    assert (unit.value, diameters[0]) == ("um", 20.0)
    shares, unit = values(group, "Share of nucleus under cytokeratin")
    truth = [cell.ck_over_nucleus for cell in results.cells["a"] if cell.call == "tumour"]
    assert np.isnan(truth).any()
    np.testing.assert_allclose(shares, truth)
    assert unit.value == "1"
    assert group.annotated_property_category == codes.SCT.MorphologicallyAbnormalStructure
    assert groups["artefact"].annotated_property_category == codes.SCT.PhysicalObject
    assert group.annotated_property_type.scheme_designator == SCHEME
    assert [item.CodingSchemeDesignator for item in annotations.CodingSchemeIdentificationSequence] == [SCHEME]
    assert group.algorithm_type.value == "AUTOMATIC"
    assert group.algorithm_identification.name == "dtcseg"
    assert len(group.RecommendedDisplayCIELabValue) == 3


def test_same_results_give_same_bytes_and_valid_values(results):
    slide = read_slide(results.root / "a")
    content = dicom_annotations(slide)
    assert content == dicom_annotations(read_slide(results.root / "a"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dataset = pydicom.dcmread(BytesIO(content))
        for element in dataset.iterall():  # reads, and so checks, every value
            assert element.value is not element
    other = pydicom.dcmread(BytesIO(dicom_annotations(slide, {1: "artefact"})))
    assert other.SOPInstanceUID != dataset.SOPInstanceUID


def test_a_slide_that_is_no_dicom_has_stand_ins_and_says_so(make_results):
    made = make_results({"a": some_cells(4)}, patient="Zoë\\Å" + 80 * "x")
    dataset = pydicom.dcmread(BytesIO(dicom_annotations(read_slide(made.root / "a"))))
    (image,) = dataset.ReferencedImageSequence
    assert image.ReferencedSOPInstanceUID.startswith("2.25.")
    assert "stand-ins" in dataset.ContentDescription
    assert "FrameOfReferenceUID" not in dataset
    assert dataset.SeriesDescription == "dtcseg candidates: a.tif"
    assert dataset.PatientID == ("Zoë/Å" + 80 * "x")[:64]


def test_uids_that_scoring_noted_are_referred_to(make_results):
    made = make_results({"a": some_cells(4)}, details={"references": {"dicom": UIDS}})
    dataset = pydicom.dcmread(BytesIO(dicom_annotations(read_slide(made.root / "a"))))
    assert dataset.StudyInstanceUID == UIDS["study_uid"]
    assert dataset.FrameOfReferenceUID == UIDS["frame_of_reference_uid"]
    assert dataset.ReferencedImageSequence[0].ReferencedSOPInstanceUID == UIDS["sop_instance_uid"]
    assert dataset.ReferencedSeriesSequence[0].SeriesInstanceUID == UIDS["series_uid"]
    assert "stand-ins" not in dataset.ContentDescription


@pytest.mark.parametrize("bad", [None, {}, {**UIDS, "study_uid": "x"}, {**UIDS, "series_uid": 5}, "no"])
def test_uids_that_are_none_are_not_taken(make_results, bad):
    made = make_results({"a": some_cells(4)}, details={"references": {"dicom": bad}})
    dataset = pydicom.dcmread(BytesIO(dicom_annotations(read_slide(made.root / "a"))))
    assert "stand-ins" in dataset.ContentDescription


@pytest.mark.realdata
@pytest.mark.filterwarnings("ignore")  # this scanner's attributes are not all as the standard wants them
def test_a_real_dicom_slide_is_referred_to(make_results, shared_data, tmp_path):
    folder = tmp_path / "wsi"
    shutil.copytree(shared_data / "readers" / "dicom" / "cmu-1-small-region", folder)
    with open_slide(folder) as slide:
        uids, level = slide.references["dicom"], slide.levels[0]
    size = {"width_px": level.width_px, "height_px": level.height_px}
    cells = some_cells(6, 1, **size)
    made = make_results({"wsi": cells}, files={"wsi": folder}, details={"references": {"dicom": uids}}, **size)
    content = dicom_annotations(read_slide(made.root / "wsi"))
    from_file = pydicom.dcmread(BytesIO(content))
    headers = [pydicom.dcmread(path, stop_before_pixels=True) for path in sorted(folder.glob("*.dcm"))]
    (base,) = [
        header
        for header in headers
        if header.ImageType[2] == "VOLUME" and header.TotalPixelMatrixColumns == level.width_px
    ]
    assert from_file.ReferencedImageSequence[0].ReferencedSOPInstanceUID == base.SOPInstanceUID
    assert from_file.StudyInstanceUID == base.StudyInstanceUID == uids["study_uid"]
    assert from_file.FrameOfReferenceUID == base.FrameOfReferenceUID

    (folder / "cells.dcm").write_bytes(content)  # another reader finds the cells beside the image
    with WsiDicom.open(sorted(folder.glob("*.dcm"))) as wsi:
        (instance,) = wsi.annotations
        assert sum(len(group.annotations) for group in instance.groups) == len(cells)
        first = next(group for group in instance.groups if group.label == "tumour").annotations[0]
        found = Polygon(first.geometry.to_coords())
        assert found.area == pytest.approx(Polygon(cells[0].outline_px).area, rel=1e-3)
    (folder / "cells.dcm").unlink()

    shutil.rmtree(folder)  # without the file, what scoring noted
    from_notes = pydicom.dcmread(BytesIO(dicom_annotations(read_slide(made.root / "wsi"))))
    for keyword in ("StudyInstanceUID", "FrameOfReferenceUID", "ReferencedImageSequence"):
        assert from_notes[keyword].value == from_file[keyword].value


def fake_wsi(path, width_px=40_000, height_px=30_000, **changes):
    """A header like that of a scanner's file, without pixels."""
    header = pydicom.Dataset()
    header.SOPClassUID = "1.2.840.10008.5.1.4.1.1.77.1.6"
    header.SOPInstanceUID, header.StudyInstanceUID, header.SeriesInstanceUID = "1.2.3.4", "1.2.3.1", "1.2.3.2"
    header.FrameOfReferenceUID = "1.2.3.3"
    header.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    header.TotalPixelMatrixColumns, header.TotalPixelMatrixRows = width_px, height_px
    header.Modality = "SM"
    for keyword, value in changes.items():
        setattr(header, keyword, value)
    header.file_meta = pydicom.dataset.FileMetaDataset()
    header.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    header.save_as(path, enforce_file_format=True)
    return path


def test_patient_and_specimen_come_from_the_file(make_results, tmp_path):
    file = fake_wsi(
        tmp_path / "スライド.dcm",
        SpecificCharacterSet="ISO_IR 100",
        PatientName="Müller^Zoë",
        PatientID="77",
        ContainerIdentifier="S-1",
    )
    made = make_results({"a": some_cells(4)}, files={"a": file}, patient="other")
    dataset = pydicom.dcmread(BytesIO(dicom_annotations(read_slide(made.root / "a"))))
    assert (dataset.PatientName, dataset.PatientID, dataset.ContainerIdentifier) == ("Müller^Zoë", "77", "S-1")
    assert dataset.SeriesDescription == "dtcseg candidates: スライド.dcm"
    assert dataset.ReferencedImageSequence[0].ReferencedSOPInstanceUID == "1.2.3.4"


@pytest.mark.filterwarnings("ignore:Invalid value:UserWarning")
@pytest.mark.parametrize("wrong", [{"PatientSex": "X"}, {"StudyDate": "yesterday"}])
def test_values_that_the_standard_forbids_cost_only_the_patient(make_results, tmp_path, wrong):
    file = fake_wsi(tmp_path / "a.dcm", **wrong)
    made = make_results({"a": some_cells(4)}, files={"a": file}, patient="P1")
    dataset = pydicom.dcmread(BytesIO(dicom_annotations(read_slide(made.root / "a"))))
    assert dataset.ReferencedImageSequence[0].ReferencedSOPInstanceUID == "1.2.3.4"
    assert dataset.StudyInstanceUID == "1.2.3.1"
    assert dataset.PatientID == "P1"
    assert "stand-ins" not in dataset.ContentDescription


def test_another_slide_at_the_same_place_is_not_taken_for_it(make_results, tmp_path):
    file = fake_wsi(tmp_path / "a.dcm", PatientID="77", SOPInstanceUID="1.2.3.99")
    made = make_results({"a": some_cells(4)}, files={"a": file}, details={"references": {"dicom": UIDS}})
    dataset = pydicom.dcmread(BytesIO(dicom_annotations(read_slide(made.root / "a"))))
    assert dataset.ReferencedImageSequence[0].ReferencedSOPInstanceUID == UIDS["sop_instance_uid"]
    assert dataset.PatientID == ""
    smaller = fake_wsi(tmp_path / "b.dcm", width_px=100)
    made = make_results({"b": some_cells(4)}, files={"b": smaller})
    dataset = pydicom.dcmread(BytesIO(dicom_annotations(read_slide(made.root / "b"))))
    assert "stand-ins" in dataset.ContentDescription


def test_damaged_dicom_beside_the_results_is_no_error(make_results, tmp_path):
    file = tmp_path / "a.dcm"
    file.write_bytes(128 * b"\0" + b"DICM" + b"\xff" * 500)
    made = make_results({"a": some_cells(4)}, files={"a": file})
    dataset = pydicom.dcmread(BytesIO(dicom_annotations(read_slide(made.root / "a"))))
    assert "stand-ins" in dataset.ContentDescription


def test_calls_of_a_reader_take_the_place(results):
    slide = read_slide(results.root / "b")
    dataset = annread(BytesIO(dicom_annotations(slide, {2: "tumour"})))
    groups = {group.label: group for group in dataset.get_annotation_groups()}
    ids, _ = values(groups["tumour"], "Number of the cell in cells.csv")
    assert ids.tolist() == [1, 2, 5, 9]
    assert groups["tumour"].algorithm_type.value == "SEMIAUTOMATIC"
    assert groups["artefact"].algorithm_type.value == "AUTOMATIC"
    with pytest.raises(ExportError, match="no cell 77"):
        dicom_annotations(slide, {77: "tumour"})


def test_no_cell_is_no_fault_and_leaves_no_older_file(results):
    place = results.root / "empty" / "cells.dcm"
    place.write_bytes(b"older")
    done = export_results(results.root, ["dicom"])
    assert done.problems == ()
    assert len(done.notes) == 1
    assert done.notes[0].startswith("empty: no cells.dcm")
    assert not place.exists()
    with pytest.raises(NothingToExport):
        dicom_annotations(read_slide(results.root / "empty"))


def test_without_the_library_one_line_names_the_extra(results, monkeypatch):
    real = builtins.__import__

    def without(name, *arguments, **keywords):
        if name.startswith("highdicom"):
            raise ModuleNotFoundError("No module named 'highdicom'")
        return real(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UsageError, match=r'pip install "dtcseg\[export\]"'):
        export_results(results.root, ["stage", "dicom"])
    assert not (results.root / "a" / "stage.csv").exists()
    assert export_results(results.root, ["stage", "coco", "qupath"]).problems == ()


def test_records_of_scoring_hold_no_patient_of_the_file(results):
    assert "PatientName" not in json.dumps(json.loads((Path(results.root) / "a" / "slide.json").read_text()))
