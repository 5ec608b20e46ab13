"""DICOM whole-slide images: a folder of .dcm files (one a level), or one file."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from dtcseg.slide._base import PixelArray


class DicomSlide(FileSlide):
    """A DICOM whole-slide image; see `Slide` for the contract. Optical paths are its channels."""

    _wsi: Any = None

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
        self._paths: Sequence[str | None]
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
        planes = []
        for path in self._paths:
            image = self._wsi.read_region(
                (x_px, y_px), self._numbers[level], (width_px, height_px), path=path, threads=1
            )
            pixels = np.asarray(image)
            planes.append(pixels if pixels.ndim == 3 else pixels[:, :, None])
        region: PixelArray = planes[0] if len(planes) == 1 else np.concatenate(planes, axis=2)
        return region


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
