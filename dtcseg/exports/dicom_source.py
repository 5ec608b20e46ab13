"""The image that DICOM annotations refer to: the slide's own where it is DICOM, else a stand-in that says it is one."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dtcseg.results.text import one_line

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from dtcseg.results.record import SlideRecord

WSI_CLASS_UID = "1.2.840.10008.5.1.4.1.1.77.1.6"
_NAMESPACE = uuid.UUID("4f0f9c4e-7a44-5f0b-b3c6-2d2f7f9d6a11")
_UID_KEYWORDS = {
    "study_uid": "StudyInstanceUID",
    "series_uid": "SeriesInstanceUID",
    "frame_of_reference_uid": "FrameOfReferenceUID",
    "sop_instance_uid": "SOPInstanceUID",
}
_TEXT_KEYWORDS = (
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "AccessionNumber",
    "StudyID",
    "StudyDate",
    "StudyTime",
)
_NOTE = "Candidates found by dtcseg; research use only"
_LONGEST_ID = 64
_UID = re.compile(r"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))+")


@dataclass(frozen=True)
class Source:
    """The image referred to.

    Attributes
    ----------
    dataset : pydicom Dataset
        Its header: identifiers, patient, study, specimen. No pixels.
    is_real : bool
        Whether a DICOM image of these identifiers exists.
    note : str
        For people, at most 64 characters.
    """

    dataset: Dataset
    is_real: bool
    note: str


def source_of(record: SlideRecord, *, bare: bool = False) -> Source:
    """Find what to refer to.

    The file itself comes first, for it also knows the patient and the specimen; then the identifiers that scoring
    noted; and for a slide that is no DICOM, identifiers made from the slide's name, size and time, the same each time.

    Parameters
    ----------
    record : SlideRecord
    bare : bool, optional
        Take nothing but the identifiers from the file: scanners write values that the standard does not allow.
    """
    from pydicom.dataset import Dataset

    noted = _noted_uids(record)
    for path in record.files:
        for file in _dicom_files(Path(path)):
            header = _header(file, record)
            if header is not None and noted in ({}, dicom_uids(header)):  # else another slide lies there now
                if not bare:
                    _fill(header)
                    return Source(header, True, _NOTE)
                noted = dicom_uids(header)
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID = WSI_CLASS_UID
    dataset.Modality = "SM"
    identity = "|".join(f"{entry.name} {entry.size} {entry.mtime_ns}" for entry in record.identity) or record.slide
    for key, keyword in _UID_KEYWORDS.items():
        made = f"2.25.{uuid.uuid5(_NAMESPACE, f'{keyword}|{identity}').int}"
        setattr(dataset, keyword, noted.get(key, made))
    dataset.PatientID = short_text(record.patient)
    _fill(dataset)
    if noted:
        return Source(dataset, True, _NOTE)
    return Source(dataset, False, "dtcseg; slide is no DICOM, image UIDs are stand-ins")


def dicom_uids(header: Any) -> dict[str, str]:
    """Take the identifiers that annotations need from the header of a whole-slide image (its full resolution)."""
    concatenation = header.get("SOPInstanceUIDOfConcatenationSource", None)
    uids = {key: str(header.get(keyword, "")) for key, keyword in _UID_KEYWORDS.items()}
    if concatenation:
        uids["sop_instance_uid"] = str(concatenation)
    return uids


def _dicom_files(path: Path) -> Iterator[Path]:
    """All files that begin as DICOM does: the file itself, or those of the folder."""
    with suppress(OSError):
        for member in sorted(path.iterdir()) if path.is_dir() else [path]:
            if member.is_file():
                with member.open("rb") as file:
                    if file.read(132)[128:] == b"DICM":
                        yield member


def _header(file: Path, record: SlideRecord) -> Dataset | None:
    """Read the header if the file is the full resolution of this slide."""
    from pydicom import dcmread

    try:
        header = dcmread(file, stop_before_pixels=True)
        size = (int(header.TotalPixelMatrixColumns), int(header.TotalPixelMatrixRows))
        kind = str(header.ImageType[2])
        uids = dicom_uids(header)
    except Exception:  # a damaged file, as likely here as anywhere; the identifiers are then sought elsewhere
        return None
    if header.SOPClassUID != WSI_CLASS_UID or kind != "VOLUME" or size != (record.width_px, record.height_px):
        return None
    if not all(uids.values()):
        return None
    header.SOPInstanceUID = uids["sop_instance_uid"]
    return header


def _noted_uids(record: SlideRecord) -> dict[str, str]:
    references = record.details.get("references")
    noted = references.get("dicom") if isinstance(references, dict) else None
    if not isinstance(noted, dict):
        return {}
    uids = {key: str(noted.get(key, "")) for key in _UID_KEYWORDS}
    return uids if all(len(uid) <= _LONGEST_ID and _UID.fullmatch(uid) for uid in uids.values()) else {}


def _fill(dataset: Dataset) -> None:
    """Give every attribute that must be there a value, if an empty one."""
    for keyword in _TEXT_KEYWORDS:
        if keyword not in dataset:
            setattr(dataset, keyword, "")


def short_text(text: str) -> str:
    """Shorten text to what an identifier or a description may hold; a backslash would make two of it."""
    return one_line(text).replace("\\", "/")[:_LONGEST_ID]
