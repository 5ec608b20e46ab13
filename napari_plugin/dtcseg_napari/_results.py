"""A slide's results as napari layers: the slide, and its candidates over it."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING

from dtcseg.errors import DtcsegError, UsageError
from dtcseg.results.record import SlideRecord, from_json
from dtcseg.review.profiles import read_profile
from dtcseg.review.slides import slide_files
from dtcseg_napari._layers import LayerTuple, candidate_layer
from dtcseg_napari._slides import open_layers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_RECORD = "slide.json"


def is_results(path: Path) -> bool:
    """Whether a folder is a results folder, or one slide's folder in it."""
    return (path / _RECORD).is_file() or (path / "run.json").is_file()


def results_layers(path: Path, warn: Callable[[str], None]) -> list[LayerTuple]:
    """Layers of one slide's results.

    Parameters
    ----------
    path : Path
        A slide's folder, or a results folder that holds one slide.
    warn : callable
        Told what could not be shown: the slide itself when its file has moved, a region that cannot be decoded.

    Raises
    ------
    UsageError
        It holds no slide or several, or its files are not those of dtcseg.
    """
    folder = _slide_folder(path)
    record = _read_record(folder)
    layers: list[LayerTuple] = []
    mpp_yx_um = (record.mpp_um, record.mpp_um)
    try:
        layers = picture_layers(record, slide_files(folder.parent, record), warn)
        mpp_yx_um = layers[0][1].get("scale", mpp_yx_um)
    except DtcsegError as error:
        warn(f"The slide itself is not shown: {error}")
    return [*layers, candidate_layer(_read_rows(folder), f"{record.slide} candidates", mpp_yx_um)]


def picture_layers(record: SlideRecord, files: Sequence[Path], warn: Callable[[str], None]) -> list[LayerTuple]:
    """Layers of a slide that was scored: its pixels, and its stain planes, hidden.

    Raises
    ------
    SlideError
        It cannot be opened.
    """
    given_um = record.mpp_um if record.mpp_source in ("flag", "slides.csv") else None
    try:
        profile = read_profile(record)
    except UsageError:  # the slide can be shown without
        profile = None
    return open_layers(files, warn, name=record.slide, channels=record.channels, mpp_um=given_um, profile=profile)


def _slide_folder(path: Path) -> Path:
    if (path / _RECORD).is_file():
        return path
    folders = sorted(file.parent for file in path.glob(f"*/{_RECORD}"))
    if not folders:
        raise UsageError(f"{path.name}: holds no slide that was scored")
    if len(folders) > 1:
        names = ", ".join(folder.name for folder in folders)
        raise UsageError(f"{path.name}: holds {len(folders)} slides; open the folder of one of them ({names})")
    return folders[0]


def _read_record(folder: Path) -> SlideRecord:
    try:
        return from_json((folder / _RECORD).read_bytes())
    except (ValueError, TypeError, KeyError) as error:
        raise UsageError(f"{folder.name}: its {_RECORD} cannot be read ({error}); score the slide again") from error


def _read_rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "cells.csv").open(newline="", encoding="utf-8-sig") as file:
        return list(csv.DictReader(file))
