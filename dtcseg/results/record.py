"""What the results folder knows about a slide: one record, from which every table and the report are made."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dtcseg.cells import CALLS, MANY_TUMOUR_CALLS, SlideScore
from dtcseg.results.text import one_line
from dtcseg.trial.quick import as_screened, rate_of

if TYPE_CHECKING:
    from dtcseg.config import SlideJob
    from dtcseg.statistics import Rate

RESULTS_VERSION = 10
"""Raised whenever the same slide, weights and settings give other results, so that old ones are made again."""

NOT_ASSESSABLE = "not_assessable"
"""The qc flag of a slide on which a negative result means nothing."""


@dataclass(frozen=True)
class Weights:
    """Which network made the results."""

    name: str
    sha256: str


@dataclass(frozen=True)
class FileIdentity:
    """What tells one slide file from another without reading it: name, bytes and time of last change."""

    name: str
    size: int
    mtime_ns: int


@dataclass(frozen=True)
class SlideRecord:
    """One finished slide: the content of its `slide.json`.

    Attributes mirror `SlideJob` and `SlideScore`; beside them:

    Attributes
    ----------
    key : str
        Hash of everything the results depend on; the same key means that nothing needs to be done again.
    identity : tuple of FileIdentity
        Of the slide's files.
    files : tuple of str
        Where the files are, for the review.
    calls : dict of str to int
        Candidates by call.
    seconds : float
        Time the scoring took.
    finished : str
        UTC, ISO 8601.
    expected : float or None
        Tumour cells spiked, of a positive control.
    """

    slide: str
    key: str
    files: tuple[str, ...]
    identity: tuple[FileIdentity, ...]
    channels: tuple[str, ...]
    patient: str
    timepoint: str
    role: str
    stain: str
    stain_source: str
    mpp_um: float
    mpp_source: str
    width_px: int
    height_px: int
    area_mm2: float
    mnc: int
    mnc_low: float
    mnc_high: float
    calls: dict[str, int]
    qc: tuple[str, ...]
    excluded_mm2: dict[str, float]
    weights: Weights
    program: str
    seconds: float
    finished: str
    details: dict[str, Any]
    expected: float | None = None

    @property
    def file(self) -> str:
        """The names of its files, as an input's slides.csv has them."""
        return "; ".join(entry.name for entry in self.identity)

    @property
    def candidates(self) -> int:
        """Objects a reader should be shown."""
        return sum(self.calls.values())

    @property
    def tumour(self) -> int:
        """Objects called tumour cells."""
        return self.calls.get("tumour", 0)

    @property
    def assessable(self) -> bool:
        """Whether nothing found would mean anything."""
        return self.mnc > 0 and self.area_mm2 > 0 and NOT_ASSESSABLE not in self.qc

    @property
    def doubted(self) -> bool:
        """Whether so many cells are called tumour that the slide itself is in doubt."""
        return any(flag.startswith(MANY_TUMOUR_CALLS) for flag in self.qc)

    @property
    def remarks(self) -> tuple[str, ...]:
        """Its qc flags as a person reads them: `blurred:23%` is "blurred 23%"."""
        return tuple(flag.replace("_", " ").replace(":", " ") for flag in self.qc)

    @property
    def rate(self) -> Rate | None:
        """Cells called tumour per 10^6; None where the slide cannot be judged."""
        if not self.assessable:
            return None
        return rate_of(self.tumour, as_screened(self.mnc, self.mnc_low, self.mnc_high))


@dataclass(frozen=True)
class FailedSlide:
    """One slide that could not be scored, with its reason in one line."""

    slide: str
    file: str
    reason: str
    patient: str = ""
    timepoint: str = ""
    role: str = "sample"
    stain: str = ""


def now_utc() -> str:
    """Say the time now: UTC, ISO 8601, whole seconds."""
    return datetime.now(UTC).replace(microsecond=0).isoformat().replace("+00:00", "Z")


def make_record(
    job: SlideJob, score: SlideScore, *, key: str, weights: Weights, program: str, seconds: float
) -> SlideRecord:
    """Make the record of a slide just scored."""
    assessable = score.mnc > 0 and score.area_mm2 > 0
    qc = score.qc if assessable or NOT_ASSESSABLE in score.qc else (NOT_ASSESSABLE, *score.qc)
    return SlideRecord(
        slide=job.name,
        key=key,
        files=tuple(str(path) for path in job.files),
        identity=file_identity(job.files),
        channels=job.channels,
        patient=job.patient,
        timepoint=job.timepoint,
        role=job.role,
        stain=score.stain,
        stain_source=score.stain_source,
        mpp_um=float(score.mpp_um),
        mpp_source=score.mpp_source,
        width_px=int(score.width_px),
        height_px=int(score.height_px),
        area_mm2=float(score.area_mm2),
        mnc=int(score.mnc),
        mnc_low=float(score.mnc_low),
        mnc_high=float(score.mnc_high),
        calls={call: sum(cell.call == call for cell in score.candidates) for call in CALLS},
        qc=tuple(one_line(flag) for flag in qc),
        excluded_mm2={one_line(reason): float(area) for reason, area in sorted(score.excluded_mm2.items())},
        weights=weights,
        program=program,
        seconds=round(seconds, 2),
        finished=now_utc(),
        details={str(name): plain_json(value) for name, value in score.details.items()},
        expected=job.expected,
    )


def failed_slide(job: SlideJob, reason: str) -> FailedSlide:
    """Make the record of a slide that could not be scored."""
    return FailedSlide(
        slide=job.name,
        file="; ".join(path.name for path in job.files),
        reason=one_line(reason),
        patient=job.patient,
        timepoint=job.timepoint,
        role=job.role,
        stain=job.stain or "",
    )


def to_json(record: SlideRecord) -> bytes:
    """Write a record; file names that are not text survive the way there and back."""
    return (json.dumps(asdict(record), indent=1, allow_nan=False) + "\n").encode("ascii")


def from_json(content: bytes) -> SlideRecord:
    """Read a record back.

    Raises
    ------
    ValueError, TypeError, KeyError
        It is not one, or one of a version that this program does not know.
    """
    values = json.loads(content)
    values["identity"] = tuple(FileIdentity(**entry) for entry in values["identity"])
    values["weights"] = Weights(**values["weights"])
    for name in ("files", "channels", "qc"):
        values[name] = tuple(values[name])
    known = {field.name for field in fields(SlideRecord)}
    return SlideRecord(**{name: value for name, value in values.items() if name in known})


def resume_key(job: SlideJob, weights: Weights, count: str = "all") -> str:
    """Hash everything the results of a slide depend on.

    The files count by name, size and time of last change, not by their folder: slides may move. Patient, time point,
    role and cells expected are left out, they change no cell; nor does the device, the number of workers or the tile
    size.
    """
    parts = {
        "results": RESULTS_VERSION,
        "files": [asdict(entry) for entry in file_identity(job.files)],
        "channels": job.channels,
        "weights": weights.sha256,
        "stain": job.stain,
        "mpp_um": job.mpp_um,
    }
    if count != "all":
        parts["count"] = count
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode("ascii")).hexdigest()


def file_identity(paths: tuple[Path, ...]) -> tuple[FileIdentity, ...]:
    """Look up name, size and time of every file; a folder (OME-Zarr, DICOM, MIRAX) counts with all that is in it.

    Raises
    ------
    OSError
        A file is not there or cannot be looked at.
    """
    return tuple(_identity(path) for path in paths)


def _identity(path: Path) -> FileIdentity:
    stat = path.stat()
    if path.is_dir():  # size and time of a folder itself differ from file system to file system
        size, mtime_ns = _sum_up(path)
    else:
        size, mtime_ns = stat.st_size, stat.st_mtime_ns
    pixels = path.with_suffix("")  # a MIRAX file keeps its pixels in a folder of its name
    if path.suffix.lower() == ".mrxs" and pixels.is_dir():
        more, latest = _sum_up(pixels)
        size, mtime_ns = size + more, max(mtime_ns, latest)
    return FileIdentity(path.name, size, mtime_ns)


def _sum_up(folder: Path) -> tuple[int, int]:
    stats = [entry.stat() for entry in folder.rglob("*") if entry.is_file()]
    return sum(entry.st_size for entry in stats), max((entry.st_mtime_ns for entry in stats), default=0)


def plain_json(value: object) -> Any:
    """Reduce a value to what JSON knows: NumPy numbers and arrays become numbers and lists, NaN becomes null."""
    if isinstance(value, Mapping):
        return {str(name): plain_json(inner) for name, inner in value.items()}
    if hasattr(value, "tolist"):
        return plain_json(value.tolist())
    if isinstance(value, list | tuple | set | frozenset):
        return [plain_json(inner) for inner in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    return str(value)
