"""The real files, each opened or refused, and its pixels beside those of a second reader.

Used by the tests and by `docs/readers_table.py`, so that the table in the docs is what the tests saw.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dtcseg.errors import SlideError, UnreadableRegion
from dtcseg.slide import Slide, open_slide

Region = tuple[int, int, int, int]
Other = Callable[[Path, int, Region, Slide], np.ndarray]


@dataclass(frozen=True)
class Real:
    """A real file (or files), the independent reader that can read it too, and words of its refusal if any."""

    files: tuple[str, ...]
    other_name: str = ""
    other: Other | None = None
    refusal: str = ""
    channels: tuple[str, ...] = ()
    levels: int | None = None

    @property
    def name(self) -> str:
        return " + ".join(self.files)

    def open(self, root: Path) -> Slide:
        paths = [root / file for file in self.files]
        return open_slide(paths if len(paths) > 1 else paths[0], channels=self.channels, check=False)


def largest_difference(real: Real, slide: Slide) -> int:
    """Over all levels that the other reader has, in a region of up to 1000 x 1000 px that does not start on a tile."""
    assert real.other is not None
    worst = 0
    for number, level in enumerate(slide.levels[: real.levels]):
        # Level 0 is compared in its middle; at smaller levels the readers round the corner of a region differently.
        x = (level.width_px // 3) if number == 0 else 0
        y = (level.height_px // 3) if number == 0 else 0
        region = (x, y, min(1000, level.width_px - x), min(1000, level.height_px - y))
        ours = slide.read(number, *region)
        theirs = real.other(slide.path, number, region, slide)
        assert ours.shape == theirs.shape
        worst = max(worst, int(np.abs(ours.astype(int) - theirs.astype(int)).max()))
    return worst


def by_openslide(path: Path, number: int, region: Region, slide: Slide) -> np.ndarray:
    import openslide

    x, y, width, height = region
    level = slide.levels[number]
    with openslide.OpenSlide(str(path)) as other:
        theirs = list(other.level_dimensions).index((level.width_px, level.height_px))
        factor = round(level.downsample)
        return np.asarray(other.read_region((x * factor, y * factor), theirs, (width, height)))[..., :3]


def by_openslide_as_channels(path: Path, number: int, region: Region, slide: Any) -> np.ndarray:
    return np.stack([by_openslide(part, number, region, slide).max(axis=2) for part in slide.paths], axis=2)


def by_pydicom(path: Path, number: int, region: Region, slide: Slide) -> np.ndarray:
    """Frames put side by side by hand: tiles of a full grid are stored row by row."""
    import pydicom

    with warnings.catch_warnings():
        # The file says RGB and its JPEG streams carry a JFIF marker; both readers take the file's word.
        warnings.simplefilter("ignore", UserWarning)
        data = pydicom.dcmread(path / f"level-{number}-frames-0-{ {0: 30, 1: 9, 2: 4}[number] }.dcm")
        frames = data.pixel_array
    across = -(-data.TotalPixelMatrixColumns // data.Columns)
    rows = [np.concatenate(list(frames[at : at + across]), axis=1) for at in range(0, len(frames), across)]
    x, y, width, height = region
    return np.concatenate(rows, axis=0)[y : y + height, x : x + width]


def by_czifile(path: Path, number: int, region: Region, slide: Slide) -> np.ndarray:
    """Subblocks laid on a canvas by hand; the reader is older than ZSTD in CZI, so that is decoded here."""
    assert number == 0
    import czifile
    import imagecodecs

    canvas = np.zeros((slide.levels[0].height_px, slide.levels[0].width_px, len(slide.channels)), np.uint16)
    with czifile.CziFile(path) as file:
        for entry in sorted(file.filtered_subblock_directory, key=lambda one: one.mosaic_index or 0):
            segment = entry.data_segment()
            raw = segment.data(raw=True)
            kind = np.dtype(entry.dtype)
            if entry.compression == 0:
                pixels = np.frombuffer(raw, kind)
            else:
                packed = entry.compression == 6 and raw[0] == 3 and raw[2] & 1
                body = imagecodecs.zstd_decode(raw[raw[0] :] if entry.compression == 6 else raw)
                if packed:  # low bytes first, then high bytes
                    halves = np.frombuffer(body, np.uint8).reshape(2, -1)
                    body = np.ascontiguousarray(halves.T).tobytes()
                pixels = np.frombuffer(body, kind)
            places = dict(zip(entry.axes, entry.start, strict=True))
            sizes = dict(zip(entry.axes, entry.shape, strict=True))
            x, y = places["X"] - file.start[file.axes.index("X")], places["Y"] - file.start[file.axes.index("Y")]
            block = pixels.reshape(sizes["Y"], sizes["X"])
            canvas[y : y + sizes["Y"], x : x + sizes["X"], places["C"]] = block
    x, y, width, height = region
    return canvas[y : y + height, x : x + width]


REAL = [
    Real(("aperio/CMU-1-Small-Region.svs",), "OpenSlide", by_openslide),
    Real(("aperio/tcga-cr-7395-01a-01-ts1.svs",), "OpenSlide", by_openslide),
    Real(("hamamatsu/test3-DAPI.ndpi",), "OpenSlide", by_openslide),
    Real(("hamamatsu/test3-TRITC.ndpi",), "OpenSlide", by_openslide),
    Real(
        ("hamamatsu/test3-DAPI.ndpi", "hamamatsu/test3-TRITC.ndpi"), "OpenSlide, largest of RGB",
        by_openslide_as_channels, channels=("DAPI", "CK"),
    ),
    Real(("dicom/cmu-1-small-region",), "pydicom", by_pydicom),
    Real(("zeiss/DAPI_GFP.czi",), "czifile", by_czifile, levels=1),
    Real(("zeiss/S3_1Pos_2Mosaic_T1_Z1_CH1.czi",), "czifile + zstd", by_czifile, levels=1),
    Real(("zeiss/WellD6_S1.czi",), "czifile", by_czifile, levels=1),
    Real(("zeiss/newCZI_compressed.czi",), "czifile + zstd", by_czifile, levels=1),
    Real(("zeiss/nuc_small.czi",), "czifile", by_czifile, levels=1),
    Real(("zeiss/CellDivision_T3_Z6_CH1_X300_Y200_DCV_ZSTD.czi",), refusal="time series of 3 images"),
    Real(("ome/4D-series.ome.tiff",), refusal="time series of 7 images"),
    Real(("ome/multi-channel-z-series.ome.tif",), refusal="z-stack of 5 planes"),
    Real(("broken/boxes.tiff",), "OpenSlide", by_openslide),
    Real(("broken/small.svs",), "OpenSlide", by_openslide),
    Real(("broken/\U0001f610.svs",), "OpenSlide", by_openslide),
    Real(("broken/unreadable.svs",), refusal="cannot be decoded"),
    Real(("broken/unopenable.tiff",), refusal="OpenSlide:"),
    Real(("broken/broken.svs",), refusal="of no known format"),
]  # fmt: skip


def report(real: Real, root: Path) -> tuple[Slide | None, str, int | None]:
    """Open a real file; what it is, why it is refused, and the largest difference to the other reader."""
    try:
        slide = real.open(root)
    except SlideError as error:
        return None, error.problem, None
    with slide:
        if real.other is not None:
            return slide, "", largest_difference(real, slide)
        try:
            slide.read(0, 0, 0, slide.levels[0].width_px, slide.levels[0].height_px)
        except UnreadableRegion as error:
            return slide, error.problem, None
    return slide, "", None


if __name__ == "__main__":
    for one in REAL:
        sys.stdout.write(f"{one.name}: {report(one, Path(sys.argv[1]))}\n")
