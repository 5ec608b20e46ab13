"""Outlines as a DICOM Microscopy Bulk Simple Annotations object, one group of polygons for each call.

Codes of public schemes are taken where they mean what is meant. For the four calls and for what dtcseg alone measures
there are none, so these are in a scheme of its own, 99DTCSEG, which the file declares.
"""

from __future__ import annotations

import io
import uuid
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from dtcseg.cells import CALLS, Call
from dtcseg.errors import UsageError
from dtcseg.exports.dicom_source import Source, short_text, source_of
from dtcseg.exports.slides import Calls, ExportedCell, ExportedSlide, ExportError, NothingToExport
from dtcseg.results.candidates import CALL_COLOURS
from dtcseg.results.text import one_line

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

SCHEME = "99DTCSEG"
_REFUSED = (ValueError, TypeError, AttributeError, KeyError, OverflowError)
_NAMESPACE = uuid.UUID("b0a4f6c2-0f37-5d8c-8a52-9a0c64f2c9d1")
_CATEGORIES = {  # CID 7150 of the standard
    "tumour": ("49755003", "SCT", "Morphologically Abnormal Structure"),
    "uninterpretable": ("91723000", "SCT", "Anatomical Structure"),
    "haematopoietic": ("91723000", "SCT", "Anatomical Structure"),
    "artefact": ("260787004", "SCT", "Physical object"),
}
_TYPES = {
    "tumour": ("tumour", SCHEME, "Suspected disseminated tumour cell"),
    "uninterpretable": ("uninterpretable", SCHEME, "Uninterpretable cytokeratin-positive cell"),
    "haematopoietic": ("haematopoietic", SCHEME, "Haematopoietic cell"),
    "artefact": ("artefact", SCHEME, "Artefact"),
}
_NO_UNIT = ("1", "UCUM", "no units")
_AREA_UNIT = ("um2", "UCUM", "square micrometer")
_MEASUREMENTS = {
    "cell_id": (("cell_id", SCHEME, "Number of the cell in cells.csv"), _NO_UNIT),
    "score": (("score", SCHEME, "Probability that it is a tumour cell"), _NO_UNIT),
    "diameter_um": (("81827009", "SCT", "Diameter"), ("um", "UCUM", "micrometer")),
    "area_um2": (("42798000", "SCT", "Area"), _AREA_UNIT),
    "nucleus_area_um2": (("nucleus_area", SCHEME, "Area of the nucleus"), _AREA_UNIT),
    "ck_od": (("ck_od", SCHEME, "Mean of the cytokeratin plane"), _NO_UNIT),
    "ck_over_nucleus": (("ck_over_nucleus", SCHEME, "Share of nucleus under cytokeratin"), _NO_UNIT),
    "nucleus_ratio": (("nucleus_ratio", SCHEME, "Area of nucleus over that of neighbours"), _NO_UNIT),
    "ck_granularity": (("ck_granularity", SCHEME, "Contrast of fine grains of cytokeratin"), _NO_UNIT),
    "cd45_ring": (("cd45_ring", SCHEME, "Leukocyte marker around the whole cell"), _NO_UNIT),
    "neighbours": (("neighbours", SCHEME, "Nucleated cells within 50 um"), _NO_UNIT),
}


def require_highdicom() -> None:
    """Make sure that the optional library is there.

    Raises
    ------
    UsageError
        It is not; says how to install it.
    """
    try:
        import highdicom  # noqa: F401
    except ImportError as error:
        raise UsageError(
            f'DICOM needs libraries that are not installed ({one_line(error)}): pip install "dtcseg[export]"'
        ) from error


def dicom_annotations(slide: ExportedSlide, calls: Calls | None = None) -> bytes:
    """Make the object, as the bytes of a DICOM file; the same results give the same bytes.

    Parameters
    ----------
    slide : ExportedSlide
    calls : mapping of int to Call, optional
        Calls by `cell_id` that take the place of the program's; the groups of such cells say SEMIAUTOMATIC.

    Returns
    -------
    bytes
        Coordinates are 2D, in pixels of the total pixel matrix; (0, 0) is the top left corner of the first pixel.

    Raises
    ------
    UsageError
        The library is not installed.
    NothingToExport
        The slide has no candidate: such an object must hold at least one.
    ExportError
        A call is given for a cell that is not there, or a text of the slide cannot be written in DICOM.
    """
    require_highdicom()
    slide = slide.with_calls(calls)
    if not slide.cells:
        raise NothingToExport(
            f"{one_line(slide.record.slide)}: no cells.dcm, it has no candidates and DICOM annotations may not be empty"
        )
    try:
        try:
            return _encoded(_annotations(slide, source_of(slide.record)))
        except _REFUSED:
            return _encoded(_annotations(slide, source_of(slide.record, bare=True)))
    except _REFUSED as error:
        raise ExportError(f"{one_line(slide.record.slide)}: cannot be written as DICOM ({one_line(error)})") from error


def _encoded(annotations: Dataset) -> bytes:
    file = io.BytesIO()
    annotations.save_as(file)
    return file.getvalue()


def _annotations(slide: ExportedSlide, source: Source) -> Dataset:
    from highdicom.ann import MicroscopyBulkSimpleAnnotations
    from highdicom.coding_schemes import CodingSchemeIdentificationItem

    record = slide.record
    finished = datetime.fromisoformat(record.finished)
    content = "|".join(f"{cell.uuid} {cell.call} {cell.score}" for cell in slide.cells)
    identity = f"{source.dataset.SOPInstanceUID}|{record.key}|{record.finished}|{content}"
    annotations = MicroscopyBulkSimpleAnnotations(
        source_images=[source.dataset],
        annotation_coordinate_type="2D",
        pixel_origin_interpretation="VOLUME",
        annotation_groups=_groups(slide, identity),
        series_instance_uid=_uid("series", identity),
        series_number=1,
        sop_instance_uid=_uid("instance", identity),
        instance_number=1,
        manufacturer="dtcseg",
        manufacturer_model_name="dtcseg",
        software_versions=short_text(record.program),
        device_serial_number=short_text(record.weights.sha256),  # what tells one such "device" from another
        specific_character_set="ISO_IR 192",  # UTF-8, whatever the image has: names of files may be in any script
        content_label="DTCSEG_CELLS",
        content_description=source.note,
        content_date=finished.date(),
        content_time=finished.time(),
        series_description=short_text(f"dtcseg candidates: {record.file}"),
        coding_schemes=[CodingSchemeIdentificationItem(SCHEME, name="Calls and measurements of dtcseg", version="1")],
    )
    annotations.InstanceCreationDate = annotations.ContentDate  # not now: the same results, the same bytes
    annotations.InstanceCreationTime = annotations.ContentTime
    for equipment in annotations.get("ContributingEquipmentSequence", ()):  # the library names itself, with the time
        equipment.ContributionDateTime = finished.strftime("%Y%m%d%H%M%S")
    if source.is_real:
        annotations.FrameOfReferenceUID = source.dataset.FrameOfReferenceUID
        annotations.PositionReferenceIndicator = (
            source.dataset.get("PositionReferenceIndicator", None) or "SLIDE_CORNER"
        )
    return annotations


def _groups(slide: ExportedSlide, identity: str) -> list[Any]:
    by_call: dict[Call, list[ExportedCell]] = {
        call: [cell for cell in slide.cells if cell.call == call] for call in CALLS
    }
    found = [(call, cells) for call, cells in by_call.items() if cells]
    return [_group(slide, number, call, cells, identity) for number, (call, cells) in enumerate(found, start=1)]


def _group(slide: ExportedSlide, number: int, call: Call, cells: list[ExportedCell], identity: str) -> Any:
    from highdicom import AlgorithmIdentificationSequence
    from highdicom.ann import AnnotationGroup
    from highdicom.color import CIELabColor
    from pydicom.sr.codedict import codes
    from pydicom.sr.coding import Code

    record = slide.record
    changed = any(cell.call != cell.program_call for cell in cells)
    return AnnotationGroup(
        number=number,
        uid=_uid(call, identity),
        label=call,
        annotated_property_category=Code(*_CATEGORIES[call]),
        annotated_property_type=Code(*_TYPES[call]),
        graphic_type="POLYGON",
        # doubles: on a wide slide a float32 has no room for hundredths of a pixel
        graphic_data=[cell.outline_px[:-1] for cell in cells],
        algorithm_type="SEMIAUTOMATIC" if changed else "AUTOMATIC",
        algorithm_identification=AlgorithmIdentificationSequence(
            name="dtcseg",
            family=codes.DCM.ArtificialIntelligence,
            version=short_text(record.program),
            parameters={
                "weights": short_text(record.weights.name),
                "weights_sha256": short_text(record.weights.sha256),
            },
        ),
        measurements=_measurements(cells),
        display_color=CIELabColor.from_rgb(*CALL_COLOURS[call]),
    )


def _measurements(cells: list[ExportedCell]) -> list[Any]:
    from highdicom.ann import Measurements
    from pydicom.sr.coding import Code

    found = []
    for column, (name, unit) in _MEASUREMENTS.items():
        values = np.array([_value(cell, column) for cell in cells], np.float64)
        if not np.isnan(values).all():
            found.append(Measurements(Code(*name), values, Code(*unit)))
    return found


def _value(cell: ExportedCell, column: str) -> float:
    if column in ("cell_id", "score"):
        return float(cell.cell_id if column == "cell_id" else cell.score)
    return cell.measurements.get(column, float("nan"))


def _uid(kind: str, identity: str) -> str:
    return f"2.25.{uuid.uuid5(_NAMESPACE, f'{kind}|{identity}').int}"
