"""Readers that napari calls: each looks at a path and gives the function that reads it, or None."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dtcseg.errors import DtcsegError

if TYPE_CHECKING:
    from collections.abc import Callable

    from dtcseg_napari._layers import LayerTuple

PathOrPaths = str | list[str]


def get_slide_reader(path: PathOrPaths) -> Callable[[PathOrPaths], list[LayerTuple]] | None:
    """Reader of one slide file; what is wrong with the file is said when it is read."""
    return _read_slide if _single(path) else None


def get_folder_reader(path: PathOrPaths) -> Callable[[PathOrPaths], list[LayerTuple]] | None:
    """Reader of a results folder, or of a slide that is a folder (OME-Zarr, DICOM); None for any other folder."""
    from dtcseg_napari._results import is_results

    single = _single(path)
    if single is None:
        return None
    if is_results(_folder(single)):
        return _read_results
    if single.is_dir() and _is_slide(single):
        return _read_slide
    return None


def _single(path: PathOrPaths) -> Path | None:
    """One path, None for a stack of several: slides do not stack."""
    if isinstance(path, str):
        return Path(path)
    return Path(path[0]) if len(path) == 1 else None


def _folder(path: Path) -> Path:
    """Return the folder, also where a file in it was opened."""
    return path if path.is_dir() else path.parent


def _is_slide(path: Path) -> bool:
    from dtcseg.slide import open_slide

    try:
        open_slide(path, check=False).close()
    except DtcsegError:
        return False
    return True


def _read_slide(path: PathOrPaths) -> list[LayerTuple]:
    from dtcseg_napari._slides import open_layers

    return open_layers((Path(path if isinstance(path, str) else path[0]),), _warn)


def _read_results(path: PathOrPaths) -> list[LayerTuple]:
    from dtcseg_napari._results import results_layers

    return results_layers(_folder(Path(path if isinstance(path, str) else path[0])), _warn)


def _warn(message: str) -> None:
    from napari.utils.notifications import show_warning

    show_warning(message)
