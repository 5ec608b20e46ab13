"""DICOM whole-slide images: a folder of .dcm files (one a level), or one file."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import imagecodecs
import numpy as np

from dtcseg.errors import SlideError, UnreadableSlide, UnsuitableSlide
from dtcseg.slide._common import (
    ASK_FOR_COPY,
    RGB,
    DamagedSlide,
    FileSlide,
    FoundResolution,
    check_segment,
    check_size,
    make_levels,
    name_channels,
)
from dtcseg.slide._jpeg import check_coded_size, jpeg_is_rgb
from dtcseg.slide._tiff_planes import SegmentCache, paste

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from dtcseg.slide._base import PixelArray


_JPEG_BASELINE = "1.2.840.10008.1.2.4.50"
_CACHE_BYTES = 64 * 2**20


class DicomSlide(FileSlide):
    """A DICOM whole-slide image; see `Slide` for the contract. Optical paths are its channels."""

    _wsi: Any = None

    @property
    def references(self) -> dict[str, object]:
        """The unique identifiers of the full resolution; see `Slide`."""
        return {"dicom": self._uids}

    def _open(self) -> FoundResolution | None:
        from wsidicom import WsiDicom

        try:
            with warnings.catch_warnings():
                # Scanners write attributes that the standard does not allow; that harms no pixel.
                warnings.simplefilter("ignore")
                self._wsi = WsiDicom.open(_files(self.path))
                return self._parse()
        except SlideError:
            raise
        except Exception as error:  # the parsers below raise many kinds
            raise UnreadableSlide(
                self.path, f"is no DICOM whole-slide image, or damaged ({error}); {ASK_FOR_COPY}"
            ) from error

    def close(self) -> None:
        """Close the files; closing twice is allowed."""
        if self._wsi is not None:
            self._wsi.close()
            self._wsi = None

    def _parse(self) -> FoundResolution | None:
        if len(self._wsi.pyramids) > 1:
            raise UnsuitableSlide(
                self.path, f"holds {len(self._wsi.pyramids)} images; put the files of each into a folder of its own"
            )
        levels = list(self._wsi.pyramids[0])
        base = levels[0]
        image = base.default_instance.image_data
        if len(base.focal_planes) > 1:
            raise UnsuitableSlide(
                self.path, f"is a z-stack of {len(base.focal_planes)} planes, not a slide; export one plane"
            )
        for level in levels:
            check_size(self.path, level.size.width, level.size.height)
            check_segment(self.path, level.tile_size.width * level.tile_size.height * image.samples_per_pixel * 2)
        kept, self.levels = make_levels([(level.size.width, level.size.height) for level in levels])
        self._numbers = [levels[index].level for index in kept]
        self.format_name = "DICOM whole-slide image"
        self._uids = _uids(base.default_instance)
        self._paths: Sequence[str | None]
        self._tile = (base.tile_size.width, base.tile_size.height)
        self._photometric = str(image.photometric_interpretation)
        self._is_jpeg = image.samples_per_pixel == 3 and str(image.transfer_syntax) == _JPEG_BASELINE
        self._cache = SegmentCache(_CACHE_BYTES)
        if image.samples_per_pixel == 3:
            if len(base.optical_paths) > 1:
                raise UnsuitableSlide(self.path, f"holds {len(base.optical_paths)} RGB images; export one")
            self.kind, self.channels, self._paths = "brightfield", RGB, [None]
        else:
            self.kind, self._paths = "fluorescence", sorted(base.optical_paths)
            names = [_path_name(self._wsi, path) for path in self._paths if path is not None]
            self.channels = name_channels(self.path, self.settings, names, len(self._paths))
        mpp = base.mpp
        return FoundResolution(mpp.width, mpp.height, "vendor") if mpp is not None else None

    def _probe(self) -> None:
        """Read the corner farthest from the start of each file: of a file cut off it is missing."""
        for number, level in enumerate(self.levels):
            try:
                self._read(number, level.width_px - 1, level.height_px - 1, 1, 1)
            except Exception as error:
                raise DamagedSlide(
                    self.path, f"is truncated: the last tile of level {number} is not there ({error}); {ASK_FOR_COPY}"
                ) from error

    def _read(self, level: int, x_px: int, y_px: int, width_px: int, height_px: int) -> PixelArray:
        if self._wsi is None:
            raise ValueError("the slide is closed")
        if self._is_jpeg:
            return self._read_jpeg(level, x_px, y_px, width_px, height_px)
        planes = []
        for path in self._paths:
            image = self._wsi.read_region(
                (x_px, y_px), self._numbers[level], (width_px, height_px), path=path, threads=1
            )
            pixels = np.asarray(image)
            planes.append(pixels if pixels.ndim == 3 else pixels[:, :, None])
        region: PixelArray = planes[0] if len(planes) == 1 else np.concatenate(planes, axis=2)
        return region

    def _read_jpeg(self, level: int, x_px: int, y_px: int, width_px: int, height_px: int) -> PixelArray:
        """Decode JPEG tiles here, by the colours that the stream itself states.

        The library goes by the attribute of the file, and files are about whose attribute says RGB and whose
        streams are YCbCr: their colours would be wrong, and no error would tell.
        """
        tile_w, tile_h = self._tile
        out = np.empty((height_px, width_px, 3), dtype=np.uint8)
        for row in range(y_px // tile_h, (y_px + height_px - 1) // tile_h + 1):
            for column in range(x_px // tile_w, (x_px + width_px - 1) // tile_w + 1):
                key = (level, row * (1 << 24) + column)
                tile = self._cache.get(key)
                if tile is None:
                    data = self._wsi.read_encoded_tile(
                        self._numbers[level], (column, row), crop_to_image_boundary=False
                    )
                    tile = _decode_jpeg(data, tile_w, tile_h, self._photometric)
                    self._cache.put(key, tile)
                paste(tile, column * tile_w - x_px, row * tile_h - y_px, out)
        return out


def _decode_jpeg(data: bytes, width: int, height: int, photometric: str) -> PixelArray:
    check_coded_size(data, width, height)
    stored_as = "RGB" if jpeg_is_rgb(data, default=photometric == "RGB") else "YCBCR"
    pixels: PixelArray = imagecodecs.jpeg_decode(data, colorspace=stored_as, outcolorspace="RGB")
    if pixels.shape != (height, width, 3):
        raise ValueError(f"a tile has the shape {pixels.shape}, not {(height, width, 3)}")
    return pixels


def _uids(instance: Any) -> dict[str, str]:
    """Take an image's identifiers, under the names that slide.json has for them; empty text where it has none."""
    return {
        "study_uid": str(instance.uids.study_instance or ""),
        "series_uid": str(instance.uids.series_instance or ""),
        "frame_of_reference_uid": str(instance.uids.frame_of_reference or ""),
        "sop_instance_uid": str(instance.identifier or ""),
    }


def _files(path: Path) -> list[Path] | Path:
    """All DICOM files of a folder, and nothing else that may lie there."""
    if not path.is_dir():
        return path
    files = []
    for member in sorted(path.iterdir()):
        if member.is_file() and not member.name.startswith("."):
            with member.open("rb") as file:
                if file.read(132)[128:] == b"DICM":
                    files.append(member)
    return files


def _path_name(wsi: Any, path: str) -> str:
    """Describe an optical path in the scanner's words, where it has any."""
    for found in getattr(wsi.metadata, "optical_paths", None) or ():
        if getattr(found, "identifier", None) == path and getattr(found, "description", None):
            return str(found.description)
    return ""
