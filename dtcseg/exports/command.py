"""The `export` command: which slides, which formats, where the files go, and what could not be written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dtcseg.errors import UsageError
from dtcseg.exports.qupath import GZIP_FROM_BYTES, Origin, compressed, qupath_geojson
from dtcseg.exports.slides import Calls, ExportedSlide, ExportError, NothingToExport, read_slides
from dtcseg.exports.stage import Similarity, scale_doubt, stage_csv
from dtcseg.results.atomic import remove_leftovers, write_file, writing_folder, writing_to
from dtcseg.results.folder import COCO_FILE
from dtcseg.results.lock import FolderLock
from dtcseg.results.text import one_line

Format = Literal["qupath", "coco", "dicom", "ome-zarr", "ome-zarr-0.4", "stage"]
FORMATS: tuple[Format, ...] = ("qupath", "coco", "dicom", "ome-zarr", "ome-zarr-0.4", "stage")


@dataclass(frozen=True)
class Exported:
    """What came of an export.

    Attributes
    ----------
    written : tuple of Path
        Files and OME-Zarr folders, in the order of slides and formats.
    problems : tuple of str
        One line for each slide, or format of a slide, that is not among them.
    notes : tuple of str
        What is no fault and should be known all the same.
    """

    written: tuple[Path, ...]
    problems: tuple[str, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Job:
    """One slide, where its files go, and what they depend on."""

    slide: ExportedSlide
    folder: Path
    calls: Calls | None
    origin: Origin
    fit: Similarity | None


def export_results(
    root: Path,
    formats: Sequence[Format],
    *,
    out: Path | None = None,
    names: Sequence[str] = (),
    origin: Origin = "auto",
    fit: Similarity | None = None,
    calls: Mapping[str, Calls] | None = None,
) -> Exported:
    """Write a results folder in other formats.

    Parameters
    ----------
    root : Path
        The results folder.
    formats : sequence of Format
        In any order; twice is once.
    out : Path, optional
        Where the folders of the slides, and coco.json, go; the results folder itself by default.
    names : sequence of str, optional
        Only these slides; all by default.
    origin : Origin, optional
        See `qupath_geojson`.
    fit : Similarity, optional
        From image to stage, for one slide.
    calls : mapping of str to (mapping of int to Call), optional
        By slide, then by `cell_id`: calls that take the place of the program's.

    Raises
    ------
    UsageError
        It is no results folder, a library is not installed, marks are given for several slides, or the files cannot go
        where they should.
    OutputError
        The disk is full or gone.
    """
    chosen = [form for form in FORMATS if form in formats]
    if "dicom" in chosen:
        from dtcseg.exports.dicom import require_highdicom

        require_highdicom()
    read_slides(root, names)  # what cannot be used is said before anything is made
    target = out if out is not None else root
    written: list[Path] = []
    with _locked(target), writing_to(target):
        slides, left_out = read_slides(root, names)  # no run changes them any more
        if fit is not None and len(slides) > 1:
            raise UsageError("marks belong to one slide on the stage: name it with --slide")
        problems = list(left_out)
        notes = [doubt for slide in slides if fit is not None and (doubt := scale_doubt(slide, fit))]
        remove_leftovers(target)
        for slide in slides:
            job = _Job(slide, target / slide.record.slide, (calls or {}).get(slide.record.slide), origin, fit)
            for form in chosen:
                try:
                    written += _write(form, job)
                except NothingToExport as nothing:
                    notes.append(str(nothing))
                except ExportError as error:
                    problems.append(str(error))
        if "coco" in chosen:
            from dtcseg.exports.coco import coco_json

            try:
                written.append(_replace(target / COCO_FILE, coco_json(slides, calls, left_out)))
            except ExportError as error:
                problems.append(str(error))
    return Exported(tuple(written), tuple(problems), tuple(notes))


@contextmanager
def _locked(target: Path) -> Iterator[None]:
    """Keep scoring runs and other exports out of the folder, which is made when it is not there."""
    lock = FolderLock(target)
    try:
        target.mkdir(parents=True, exist_ok=True)
        lock.__enter__()
    except OSError as error:
        reason = one_line(error.strerror or error)
        raise UsageError(f"{one_line(target)}: cannot be written ({reason}); give --out another folder") from error
    try:
        yield
    finally:
        lock.__exit__(None, None, None)


def _write(form: Format, job: _Job) -> list[Path]:
    """Write one format of one slide, and say what was written."""
    folder = job.folder
    if form == "coco":  # one file for all slides
        return []
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise ExportError(f"{one_line(folder)}: is in the way of the slide's folder; move it away")
    folder.mkdir(exist_ok=True)
    remove_leftovers(folder)
    if form == "qupath":
        return [_write_qupath(job)]
    if form == "stage":
        return [_replace(folder / "stage.csv", stage_csv(job.slide, job.calls, job.fit))]
    if form == "dicom":
        from dtcseg.exports.dicom import dicom_annotations

        with suppress(FileNotFoundError):  # what is refused now must not leave an older file that seems to be it
            (folder / "cells.dcm").unlink()
        return [_replace(folder / "cells.dcm", dicom_annotations(job.slide, job.calls))]
    from dtcseg.exports.labels import write_labels

    place = folder / ("labels.ome.zarr" if form == "ome-zarr" else "labels-0.4.ome.zarr")
    with writing_folder(place) as stage:
        write_labels(job.slide, stage, job.calls, version="0.5" if form == "ome-zarr" else "0.4")
    return [place]


def _write_qupath(job: _Job) -> Path:
    """Write the outlines, compressed when large, and remove the other of the two files."""
    content = qupath_geojson(job.slide, job.calls, job.origin)
    plain, packed = job.folder / "qupath.geojson", job.folder / "qupath.geojson.gz"
    large = len(content) > GZIP_FROM_BYTES
    place, other = (packed, plain) if large else (plain, packed)
    _replace(place, compressed(content) if large else content)
    other.unlink(missing_ok=True)
    return place


def _replace(place: Path, content: bytes) -> Path:
    write_file(place, content)
    return place
