"""The training set of one laboratory as a folder: a manifest that names everything by hash, and crops by slide.

`manifest.json` depends on what is taught alone: not on where folders lie, nor on the order in which they were given.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from skimage.draw import polygon2mask

from dtcseg.errors import DtcsegError, UsageError
from dtcseg.network.model import LOOK_CLASSES, LOOK_MPP_UM, LOOK_PX
from dtcseg.results.atomic import write_file, writing_to
from dtcseg.results.text import one_line
from dtcseg.review.profiles import read_profile
from dtcseg.slide import open_slide
from dtcseg.working import plan_grid
from dtcseg_training.fields import LOOK_MARGIN_PX, cut_crops
from dtcseg_training.learn.taught import CONTROL, TaughtCell, TaughtSlide, file_sha256

if TYPE_CHECKING:
    from dtcseg.network.laboratory import Signature
    from dtcseg.working import WorkingGrid

FORMAT, VERSION = "dtcseg training set", 3
MANIFEST = "manifest.json"
_SIDE_PX = LOOK_PX + 2 * LOOK_MARGIN_PX


@dataclass(frozen=True)
class SlideCrops:
    """What a slide of the set holds.

    Attributes
    ----------
    slide, key, patient : str
        Name, `slide_key`, patient ("" where it is not named).
    held_out : bool
        Kept for the gate.
    mnc : int
        Nucleated cells screened on the slide.
    cells : tuple of dict
        Its entries of the manifest, in the order of the arrays.
    crops : (N, 3, 152, 152) float16
    masks : (N, 2, 152, 152) bool
        Cell and nucleus, as far as they are told.
    told : (N, 2) bool
        Whether each mask was drawn by a person, or (cell) is the program's outline that nobody changed.
    calls : (N,) int64
        Index into `LOOK_CLASSES`.
    spreads : (N,) float32
    signature : Signature
        How the slide is stained.
    stain : str
    mpp_um : float
        Pixel size of level 0.
    """

    slide: str
    key: str
    patient: str
    held_out: bool
    mnc: int
    cells: tuple[dict[str, Any], ...]
    crops: npt.NDArray[np.float16]
    masks: npt.NDArray[np.bool_]
    told: npt.NDArray[np.bool_]
    calls: npt.NDArray[np.int64]
    spreads: npt.NDArray[np.float32]
    signature: Signature = ()
    stain: str = "new_fuchsin"
    mpp_um: float = LOOK_MPP_UM

    @property
    def said(self) -> npt.NDArray[np.bool_]:
        """Which cells (N,) somebody spoke of; the others are of a control slide."""
        return np.array([cell["source"] != CONTROL for cell in self.cells], bool)


@dataclass(frozen=True)
class TrainingSet:
    """A training set on disk, read back."""

    folder: Path
    sha256: str
    manifest: dict[str, Any]
    slides: tuple[SlideCrops, ...]

    @property
    def learned(self) -> list[SlideCrops]:
        """The slides to learn from."""
        return [slide for slide in self.slides if not slide.held_out]


def write_set(
    slides: Sequence[TaughtSlide],
    held_out: frozenset[str],
    left_out: Sequence[str],
    sets: Path,
    *,
    on_slide: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[TrainingSet, list[str]]:
    """Cut the crops of taught cells out of their slides.

    Parameters
    ----------
    slides : sequence of TaughtSlide
        As `collect` gives them.
    held_out : frozenset of str
        Keys (`slide_key`) of the slides that are kept for the gate.
    left_out : sequence of str
        What is not taught, for the manifest.
    sets : Path
        Gets the folder `<sha256 of the manifest, 16 digits>`; one that is there already is taken as it is.
    on_slide : callable
        Told how many slides are done, and of how many.

    Returns
    -------
    set : TrainingSet
    left_out : list of str
        `left_out`, and the slides that could not be read.

    Raises
    ------
    UsageError
        Nothing is left to learn from.
    """
    problems = list(left_out)
    taught = [slide for slide in slides if slide.cells]
    parts: list[tuple[str, dict[str, Any], bytes]] = []
    for done, slide in enumerate(taught):
        try:
            entry, content = _slide_part(slide, slide_key(slide) in held_out)
            parts.append((slide_key(slide), entry, content))
        except DtcsegError as error:
            problems.append(one_line(error))
        on_slide(done + 1, len(taught))
    if not parts:
        raise UsageError(
            "there is nothing to learn from: no cell of these results has a verdict that counts"
            + "".join(f"; {line}" for line in problems[:3])
        )
    parts.sort(key=lambda part: part[0])
    manifest = {
        "format": FORMAT,
        "version": VERSION,
        "slides": [entry for _, entry, _ in parts],
        "left_out": sorted(problems),
    }
    text = (json.dumps(manifest, indent=1, sort_keys=True, allow_nan=False) + "\n").encode("ascii")
    folder = sets / hashlib.sha256(text).hexdigest()[:16]
    with writing_to(sets):
        folder.mkdir(parents=True, exist_ok=True)
        for _, entry, content in parts:
            write_file(folder / entry["file"], content)
        write_file(folder / MANIFEST, text)
    return read_set(folder), problems


def slide_key(slide: TaughtSlide) -> str:
    """Name a slide by its files' names and sizes, wherever they lie."""
    return hashlib.sha256(json.dumps(slide.identity).encode("ascii")).hexdigest()[:16]


def read_set(folder: Path) -> TrainingSet:
    """Read a training set, and check every file against the manifest.

    Raises
    ------
    UsageError
        It is none, or was changed since.
    """
    try:
        text = (folder / MANIFEST).read_bytes()
        manifest = json.loads(text)
        if manifest["format"] != FORMAT or manifest["version"] != VERSION:
            raise ValueError("another format or version")
        slides = tuple(_read_part(folder, entry) for entry in manifest["slides"])
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise UsageError(f"{one_line(folder)}: is no training set of this dtcseg ({one_line(error)})") from error
    return TrainingSet(folder, hashlib.sha256(text).hexdigest(), manifest, slides)


def _slide_part(slide: TaughtSlide, held_out: bool) -> tuple[dict[str, Any], bytes]:
    """Make the entry of a slide in the manifest, and its file of crops."""
    cells = sorted(slide.cells, key=lambda cell: (cell.y_px, cell.x_px, cell.id))
    record = slide.record
    profile = read_profile(record)
    with open_slide(slide.files, mpp_um=record.mpp_um, mpp_source="flag", channels=record.channels) as opened:
        grid = plan_grid(opened, record.mpp_um, LOOK_MPP_UM)
        wanted = [(cell.x_px, cell.y_px, 0, cell.call) for cell in cells]
        crops, masks, calls, spreads = cut_crops(opened, profile, grid, wanted)
    told = np.zeros((len(cells), 2), bool)
    for i, cell in enumerate(cells):
        told[i] = _draw(masks[i], cell, grid)
    stream = io.BytesIO()
    np.savez(stream, crops=crops, masks=masks, told=told, calls=calls, spreads=spreads)
    content = stream.getvalue()
    entry = {
        "slide": one_line(slide.name),
        "key": slide_key(slide),
        "patient": one_line(record.patient),
        "role": record.role,
        "stain": record.stain,
        "mpp_um": record.mpp_um,
        "signature": list(profile.signature),
        "mnc": record.mnc,
        "files": [{"name": one_line(name), "size": size} for name, size in slide.identity],
        "split": "held_out" if held_out else "learn",
        "sources": [{"file": one_line(name), "sha256": sha256} for name, sha256 in slide.logs],
        "weights_sha256": record.weights.sha256,
        "file": f"{slide_key(slide)}.npz",
        "sha256": hashlib.sha256(content).hexdigest(),
        "cells": [_cell_entry(cell) for cell in cells],
    }
    return entry, content


def _cell_entry(cell: TaughtCell) -> dict[str, Any]:
    return {
        "id": cell.id,
        "x_px": round(cell.x_px, 2),
        "y_px": round(cell.y_px, 2),
        "call": cell.call,
        "source": one_line(cell.source),
        "score": round(cell.score, 4),
        "added": cell.added,
        "corrected": cell.outline_told and not cell.added,
        "deleted": cell.deleted,
    }


def _draw(masks: npt.NDArray[np.bool_], cell: TaughtCell, grid: WorkingGrid) -> tuple[bool, bool]:
    """Draw the outlines of a cell into its masks (2, 152, 152); says which of them are told."""
    left, top = (
        int(np.round((v + 0.5) / grid.downsample - 0.5)) - LOOK_PX // 2 - LOOK_MARGIN_PX for v in (cell.x_px, cell.y_px)
    )
    for mask, ring in zip(masks, (cell.outline_px, cell.nucleus_px or ()), strict=True):
        if len(ring) > 3:
            points = (np.asarray(ring, np.float64)[:, ::-1] + 0.5) / grid.downsample - 0.5 - (top, left)
            mask[:] = polygon2mask((_SIDE_PX, _SIDE_PX), points)  # type: ignore[no-untyped-call]
    return len(cell.outline_px) > 3, cell.nucleus_px is not None


def _read_part(folder: Path, entry: dict[str, Any]) -> SlideCrops:
    name = str(entry["file"])
    if name != Path(name).name or not name.endswith(".npz"):
        raise ValueError(f"{name} is no file of a training set")
    if file_sha256(folder / name) != entry["sha256"]:
        raise ValueError(f"{name} was changed")
    with np.load(folder / name, allow_pickle=False) as arrays:
        crops, masks, told, calls, spreads = (arrays[k] for k in ("crops", "masks", "told", "calls", "spreads"))
    if not len(crops) == len(masks) == len(told) == len(calls) == len(spreads) == len(entry["cells"]):
        raise ValueError(f"{name} does not hold the cells that the manifest names")
    if len(calls) and not 0 <= calls.min() <= calls.max() < len(LOOK_CLASSES):
        raise ValueError(f"{name} holds calls that are not known")
    return SlideCrops(
        slide=str(entry["slide"]),
        key=str(entry["key"]),
        patient=str(entry["patient"]),
        held_out=entry["split"] == "held_out",
        mnc=int(entry["mnc"]),
        cells=tuple(entry["cells"]),
        crops=crops,
        masks=masks,
        told=told,
        calls=calls,
        spreads=spreads,
        signature=tuple(float(value) for value in entry["signature"]),
        stain=str(entry["stain"]),
        mpp_um=float(entry["mpp_um"]),
    )
