"""Real images with known nuclei (`shared/data`), read as slides: to learn from where allowed, and to be tested on.

None holds a cytokeratin-stained tumour cell, so every tumour call on one of them is false.
"""

from __future__ import annotations

import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

from dtcseg_training.fields import ArraySlide

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_NUCLEUS_UM = 8.0
"""What the median labelled nucleus is taken to be wide where the pixel size is unknown; in marrow it is 6 to 10 µm."""
_RED_CELL_UM = 7.5
_WHITE_CELL_UM = 12.0
_CULTURED_UM = 11.0
_OIL_MPP_UM = 0.1  # 63 x objective, Kromp et al. 2020
_IMMUNOHISTOCHEMISTRY_MPP_UM = 0.4
_H_AND_E_MPP_UM = 0.25


@dataclass(frozen=True)
class RealField:
    """One real image.

    Attributes
    ----------
    name, source : str
        Of the image, and of its set.
    slide : ArraySlide
        The image with the pixel size that is known or assumed.
    centres : (N, 2) float64 or None
        x, y of every nucleus in pixels; None where they are not labelled.
    nucleus_px : float
        Median diameter of a nucleus in pixels.
    held_out : bool
        Not to be learned from.
    """

    name: str
    source: str
    slide: ArraySlide
    centres: npt.NDArray[np.float64] | None
    nucleus_px: float
    held_out: bool


def shared_data() -> Path | None:
    """Return the folder of the real images: `DTCSEG_SHARED`, or `../shared/data` beside the checkout."""
    named = os.environ.get("DTCSEG_SHARED")
    folder = Path(named) if named else Path(__file__).resolve().parents[3] / "shared" / "data"
    return folder if folder.is_dir() else None


def real_fields(folder: Path, source: str) -> Iterator[RealField]:
    """Read a set, image by image.

    Parameters
    ----------
    folder : Path
        `shared/data`.
    source : str
        One of `SOURCES`.
    """
    yield from SOURCES[source](folder)


def _held_out(names: list[str]) -> frozenset[str]:
    """Keep back a third of the images of a set, in no order that means anything, and the same ones for ever."""
    return frozenset(sorted(names, key=lambda name: zlib.crc32(name.encode()))[: -(-len(names) // 3)])


def _labelled(folder: Path, source: str, *, mpp_um: float | None, width_um: float, grey: bool) -> Iterator[RealField]:
    paths = sorted((folder / source).glob("*_labels.png"))
    kept_back = _held_out([path.name.removesuffix("_labels.png") for path in paths])
    for path in paths:
        name = path.name.removesuffix("_labels.png")
        image = next(p for p in path.parent.glob(f"{name}.*") if p.suffix in (".png", ".jpg"))
        labels = np.asarray(Image.open(path)).astype(np.int32)
        sizes = np.bincount(labels.ravel())[1:]
        known = np.flatnonzero(sizes) + 1
        if not len(known):
            continue
        centres = np.array(ndimage.center_of_mass(labels > 0, labels, known))[:, ::-1]
        nucleus_px = float(np.median(2 * np.sqrt(sizes[known - 1] / np.pi)))
        size = float(np.clip(mpp_um or width_um / nucleus_px, 0.1, 1.1))
        pixels = np.asarray(Image.open(image).convert("L" if grey else "RGB"))
        slide = _nuclear_only(pixels, size) if grey else ArraySlide(pixels, size)
        yield RealField(name, source, slide, centres, nucleus_px, name in kept_back)


def _nuclear_only(grey: npt.NDArray[np.uint8], mpp_um: float) -> ArraySlide:
    """Return a fluorescence slide without any cytokeratin or leukocyte marker."""
    nothing = np.zeros_like(grey)
    return ArraySlide(np.stack([grey, nothing, nothing], axis=-1), mpp_um, ("DAPI", "CK", "CD45"))


def _cytospin_dapi(folder: Path) -> Iterator[RealField]:
    return _labelled(folder, "cytospin_dapi", mpp_um=_OIL_MPP_UM, width_um=0, grey=True)


def _marrow_cells(folder: Path) -> Iterator[RealField]:
    return _labelled(folder, "marrow_cells_brightfield", mpp_um=None, width_um=_NUCLEUS_UM, grey=False)


def _nuclei_fluorescence(folder: Path) -> Iterator[RealField]:
    return _labelled(folder, "nuclei_fluorescence", mpp_um=None, width_um=_CULTURED_UM, grey=True)


def _tissue_purple(folder: Path) -> Iterator[RealField]:
    return _labelled(folder, "tissue_purple", mpp_um=None, width_um=_NUCLEUS_UM, grey=False)


def _marrow_he(folder: Path) -> Iterator[RealField]:
    for path in sorted((folder / "marrow_he").glob("*.txt")):
        if not path.with_suffix(".png").exists():
            continue
        rows = np.loadtxt(path)
        centres = rows[rows[:, 2] > 0, :2]
        pixels = np.asarray(Image.open(path.with_suffix(".png")).convert("RGB"))
        yield RealField(
            path.stem, "marrow_he", ArraySlide(pixels, _H_AND_E_MPP_UM), centres, _NUCLEUS_UM / _H_AND_E_MPP_UM, True
        )


def _leukocytes(folder: Path) -> Iterator[RealField]:
    """CellaVision: one white cell in the middle of each image, and perhaps others that are not labelled."""
    for path in sorted((folder / "leukocytes" / "cellavision").glob("*_mask.png")):
        mask = np.asarray(Image.open(path).convert("L"))
        nucleus = mask > 200
        cell = mask > 60
        diameter = 2 * np.sqrt(cell.sum() / np.pi)
        centre = np.array(ndimage.center_of_mass(nucleus))[::-1]
        pixels = np.asarray(Image.open(str(path).replace("_mask", "_image")).convert("RGB"))
        mpp_um = float(np.clip(_WHITE_CELL_UM / diameter, 0.1, 1.1))
        name = path.name.removesuffix("_mask.png")
        yield RealField(
            name,
            "leukocytes",
            ArraySlide(pixels, mpp_um),
            centre[None],
            2 * float(np.sqrt(nucleus.sum() / np.pi)),
            True,
        )


def _smears(folder: Path) -> Iterator[RealField]:
    """Blood smears: white cells are nucleated; the pixel size is that of its red cells."""
    for name, kept_back, pixels, kinds, boxes in _labelled_smears(folder):
        red = kinds == 1
        across = float(np.median(boxes[red, 2:])) if red.any() else 60.0
        mpp_um = float(np.clip(_RED_CELL_UM / across, 0.1, 1.1))
        centres = boxes[kinds == 0, :2]
        yield RealField(name, "smears", ArraySlide(pixels, mpp_um), centres, _NUCLEUS_UM / mpp_um, kept_back)


def white_cell_boxes(folder: Path) -> Iterator[tuple[npt.NDArray[np.uint8], npt.NDArray[np.float64]]]:
    """Read the blood smears that may be learned from, with the boxes of their white cells.

    Parameters
    ----------
    folder : Path
        `shared/data`.

    Yields
    ------
    pixels : (H, W, 3) uint8
    boxes : (N, 4) float64
        x, y of the middle, width and height in pixels.
    """
    for _, kept_back, pixels, kinds, boxes in _labelled_smears(folder):
        if not kept_back:
            yield pixels, boxes[kinds == 0]


def _labelled_smears(
    folder: Path,
) -> Iterator[tuple[str, bool, npt.NDArray[np.uint8], npt.NDArray[np.intp], npt.NDArray[np.float64]]]:
    """Name, whether it is kept back, pixels, kinds (0 white cell, 1 red cell, 2 platelet) and boxes in pixels."""
    paths = sorted((folder / "smears").glob("*.txt"))
    kept_back = _held_out([path.stem for path in paths])
    for path in paths:
        labels = np.loadtxt(path, ndmin=2)
        pixels = np.asarray(Image.open(path.with_suffix(".jpg")).convert("RGB"))
        height, width = pixels.shape[:2]
        boxes = labels[:, 1:] * (width, height, width, height)
        yield path.stem, path.stem in kept_back, pixels, labels[:, 0].astype(np.intp), boxes


def _immunohistochemistry(_: Path) -> Iterator[RealField]:
    """scikit-image's colon tissue, DAB and hematoxylin: nothing is labelled, and nothing on it is a tumour cell."""
    from skimage.data import immunohistochemistry

    pixels = np.asarray(immunohistochemistry())  # type: ignore[no-untyped-call]
    mpp_um = _IMMUNOHISTOCHEMISTRY_MPP_UM
    yield RealField("ihc", "immunohistochemistry", ArraySlide(pixels, mpp_um), None, _NUCLEUS_UM / mpp_um, True)


SOURCES: dict[str, Callable[[Path], Iterator[RealField]]] = {
    "cytospin_dapi": _cytospin_dapi,
    "marrow_cells_brightfield": _marrow_cells,
    "nuclei_fluorescence": _nuclei_fluorescence,
    "tissue_purple": _tissue_purple,
    "marrow_he": _marrow_he,
    "leukocytes": _leukocytes,
    "smears": _smears,
    "immunohistochemistry": _immunohistochemistry,
}
TRAINABLE = {
    "cytospin_dapi": "S-BSST265, Kromp et al. 2020, CC0",
    "marrow_cells_brightfield": "BBBC038, Data Science Bowl 2018, CC0",
    "nuclei_fluorescence": "BBBC038, Data Science Bowl 2018, CC0",
    "tissue_purple": "BBBC038, Data Science Bowl 2018, CC0",
    "smears": "TXL-PBC, MIT",
}
"""Sets whose licences let released weights learn from them."""
